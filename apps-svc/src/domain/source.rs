//! The sources of apps.

use std::{
    fmt,
    path::{Component, PathBuf},
};

use url::Url;

use super::{
    slug,
    version::{Channel, Version},
};

/// The form of a registry source, for messages.
const REGISTRY_FORM: &str = "write registry://SLUG, registry://SLUG/CHANNEL, registry://SLUG/VERSION or \
                             registry://SLUG/CHANNEL/VERSION";

/// The longest source, in bytes; that of a creation's apps is the same.
const LONGEST: usize = 1024;

/// The form of a folder source, for messages.
const FOLDER_FORM: &str = "write file:///FOLDER with an absolute path of the server's machine";

/// The source of an app. `Display` gives the form that is stored in the app's document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A registry of the instance's context.
    Registry(RegistryApp),
    /// An archive that is downloaded.
    Web(WebArchive),
    /// A folder of the server.
    Folder(PathBuf),
}

/// An app in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RegistryApp {
    /// Its slug in the registry.
    pub(crate) slug: String,
    /// The channel of its updates.
    pub(crate) channel: Channel,
    /// A specific version; the latest of the channel when absent.
    pub(crate) version: Option<Version>,
}

/// An archive that is downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WebArchive {
    /// Its URL, without the fragment.
    pub(crate) url: Url,
    /// The expected SHA-256, in lower-case hex.
    pub(crate) sha256: Option<String>,
}

/// Why a source is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// A message that says what is wrong and what a valid source looks like.
    Invalid(String),
    /// The source is valid, but this kind of source is not supported yet.
    NotBuilt(String),
}

impl Source {
    /// Parses a slug, `registry://SLUG[/CHANNEL][/VERSION]`, `file:///FOLDER` or `http(s)://…[#SHA256]`.
    pub(crate) fn parse(text: &str) -> Result<Self, Wrong> {
        if text.len() > LONGEST {
            return Err(Wrong::Invalid(format!(
                "is longer than {LONGEST} bytes; give a slug or a shorter address"
            )));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return match slug::wrong(text) {
                None => Ok(Self::Registry(RegistryApp {
                    slug: text.to_owned(),
                    channel: Channel::Stable,
                    version: None,
                })),
                Some(wrong) => Err(Wrong::Invalid(format!(
                    "{wrong} (or give an address: registry://, file:///, http:// or https://)"
                ))),
            };
        };
        match scheme {
            "registry" => registry(rest).map_err(Wrong::Invalid),
            "file" => folder(text, rest).map_err(Wrong::Invalid),
            "http" | "https" => web(text).map_err(Wrong::Invalid),
            "git" | "git+https" | "git+ssh" | "ssh+git" => Err(Wrong::NotBuilt(format!(
                "{scheme}:// cannot be installed from yet; give an archive by http:// or https://, or a \
                 folder by file:///"
            ))),
            _ => Err(Wrong::Invalid(format!(
                "{scheme:?} is no known scheme; give a slug, registry://, file:///, http:// or https://"
            ))),
        }
    }
}

fn registry(rest: &str) -> Result<Source, String> {
    let mut parts = rest.strip_suffix('/').unwrap_or(rest).split('/');
    let slug = parts.next().unwrap_or_default();
    if let Some(wrong) = slug::wrong(slug) {
        return Err(format!("the slug {wrong}; {REGISTRY_FORM}"));
    }
    let channel = |text: &str| {
        Channel::parse(text)
            .ok_or_else(|| format!("{text:?} is no channel; they are stable, beta and dev"))
    };
    let version = |text: &str| match text {
        "latest" => Ok(None),
        _ => Version::parse(text).map(Some).ok_or_else(|| {
            format!("{text:?} is no version; one looks like 1.2.3, 1.2.3-beta.4 or 1.2.3-dev.0a1b")
        }),
    };
    let extra: Vec<&str> = parts.collect();
    let (channel, version) = match *extra.as_slice() {
        [] => (Channel::Stable, None),
        [one] if one.starts_with(|c: char| c.is_ascii_digit() || c == 'v') => {
            (Channel::Stable, version(one)?)
        }
        [one] => (channel(one)?, None),
        [first, second] => (channel(first)?, version(second)?),
        _ => return Err(format!("there are too many parts; {REGISTRY_FORM}")),
    };
    if let Some(version) = &version
        && extra.len() == 2
        && version.channel() > channel
    {
        return Err(format!(
            "version {} is never in the channel {channel}",
            version.as_str()
        ));
    }
    Ok(Source::Registry(RegistryApp {
        slug: slug.to_owned(),
        channel,
        version,
    }))
}

fn folder(text: &str, rest: &str) -> Result<Source, String> {
    if !rest.starts_with('/') {
        return Err(format!("{text:?} names a host; {FOLDER_FORM}"));
    }
    let url = Url::parse(text).map_err(|error| format!("{text:?}: {error}; {FOLDER_FORM}"))?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{text:?} has a ? or a #; {FOLDER_FORM}"));
    }
    let path = url
        .to_file_path()
        .map_err(|()| format!("{text:?} is no path; {FOLDER_FORM}"))?;
    // An address has no `..` any more, but a slash in it may be encoded.
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(format!("{text:?} has a .. in it; {FOLDER_FORM}"));
    }
    Ok(Source::Folder(path))
}

fn web(text: &str) -> Result<Source, String> {
    let mut url = Url::parse(text).map_err(|error| format!("it is no address: {error}"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it holds credentials, which would be stored; give one without".to_owned());
    }
    let sha256 = url.fragment().map(str::to_ascii_lowercase);
    if sha256.as_deref().is_some_and(|sum| !is_sha256(sum)) {
        return Err("what follows # is no SHA-256; give 64 hex digits, or nothing".to_owned());
    }
    url.set_fragment(None);
    Ok(Source::Web(WebArchive { url, sha256 }))
}

/// Whether a text is a SHA-256 in lower-case hex.
pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(app) => {
                write!(f, "registry://{}", app.slug)?;
                match &app.version {
                    Some(version) if app.channel == Channel::Stable => {
                        write!(f, "/{}", version.as_str())
                    }
                    Some(version) => write!(f, "/{}/{}", app.channel, version.as_str()),
                    None => write!(f, "/{}", app.channel),
                }
            }
            Self::Web(archive) => match &archive.sha256 {
                Some(sum) => write!(f, "{}#{sum}", archive.url),
                None => write!(f, "{}", archive.url),
            },
            Self::Folder(path) => match Url::from_file_path(path) {
                Ok(url) => write!(f, "{url}"),
                // Cannot fail for a path that was parsed from a URL.
                Err(()) => write!(f, "file://{}", path.display()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use proptest::prelude::*;

    use super::{Source, Wrong};

    fn stored(text: &str) -> String {
        Source::parse(text).unwrap().to_string()
    }

    #[test]
    fn a_source_is_stored_in_one_form() {
        for (given, kept) in [
            ("notes", "registry://notes/stable"),
            ("registry://notes", "registry://notes/stable"),
            ("registry://notes/", "registry://notes/stable"),
            ("registry://notes/beta", "registry://notes/beta"),
            ("registry://notes/2.4.0", "registry://notes/2.4.0"),
            ("registry://notes/v2.4.0", "registry://notes/2.4.0"),
            (
                "registry://notes/2.4.0-beta.3",
                "registry://notes/2.4.0-beta.3",
            ),
            ("registry://notes/beta/2.4.0", "registry://notes/beta/2.4.0"),
            ("registry://notes/stable/latest", "registry://notes/stable"),
            (
                "registry://notes/dev/2.4.0-dev.0a1b",
                "registry://notes/dev/2.4.0-dev.0a1b",
            ),
            ("file:///apps/home", "file:///apps/home"),
            ("https://x.example/a.tar.gz", "https://x.example/a.tar.gz"),
        ] {
            assert_eq!(stored(given), kept);
        }
        let sum = "AB".repeat(32);
        assert_eq!(
            stored(&format!("http://x.example/a.tar#{sum}")),
            format!("http://x.example/a.tar#{}", sum.to_lowercase())
        );
    }

    #[test]
    fn invalid_sources_are_refused() {
        for bad in [
            "",
            "No",
            "a/b",
            "registry:///stable",
            "registry://notes/latest",
            "registry://notes/nightly",
            "registry://notes/stable/2.4",
            "registry://notes/stable/2.4.0/extra",
            "registry://notes/stable/2.4.0-dev.0a",
            "registry://../stable",
            "file://host/apps",
            "file:///apps?x",
            "file:///apps/..%2F..%2Fetc",
            "ftp://x.example/a",
            "http://user:password@x.example/a",
            "http://x.example/a#123",
        ] {
            assert!(
                matches!(Source::parse(bad), Err(Wrong::Invalid(_))),
                "{bad}"
            );
        }
        assert!(matches!(
            Source::parse("git://x.example/a.git"),
            Err(Wrong::NotBuilt(_))
        ));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_what_is_read_stays(
            text in prop_oneof![
                "(registry|file|https?|git)?(://)?[a-z0-9/.v#:@-]{0,20}(/stable|/beta|/1\\.2\\.3)?",
                "registry://[a-z0-9-]{1,4}(/(stable|beta|dev))?(/v?[0-9]\\.[0-9]\\.[0-9](-beta\\.[0-9]|-dev\\.[0-9a-f]{1,3})?)?/?",
            ],
        ) {
            if let Ok(source) = Source::parse(&text) {
                prop_assert_eq!(Source::parse(&source.to_string()), Ok(source));
            }
        }
    }
}
