//! Asks a registry for a version of an app.

use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::Client;
use crate::{
    domain::{
        manifest, path,
        source::{RegistryApp, is_sha256},
        version::Version,
    },
    error::Error,
};

/// A version that a registry offers.
#[derive(Debug)]
pub(crate) struct Offer {
    /// The version.
    pub(crate) version: String,
    /// The manifest.
    pub(crate) manifest: Value,
    /// The URL of the archive.
    pub(crate) url: Url,
    /// The archive's SHA-256, in lower-case hex.
    pub(crate) sha256: String,
    /// The folder of the archive that contains the app; empty for the top.
    pub(crate) folder: String,
}

#[derive(Deserialize)]
struct Response {
    version: String,
    url: String,
    sha256: String,
    manifest: Value,
    #[serde(default)]
    tar_prefix: String,
}

/// Asks one registry. `None` when it has no such version.
///
/// # Errors
/// When the registry cannot be reached, or its answer is invalid.
pub(crate) async fn ask(
    client: &Client,
    registry: &str,
    app: &RegistryApp,
) -> Result<Option<Offer>, Error> {
    let address = address(registry, app)?;
    let shown = super::download::shown(&address);
    let wrong = |why: String| Error::RegistryAnswer {
        registry: shown.clone(),
        why,
    };
    let Some(bytes) = client.json(&address, manifest::LARGEST).await? else {
        return Ok(None);
    };
    let response: Response = serde_json::from_slice(&bytes)
        .map_err(|error| wrong(format!("answered what is no version of an app: {error}")))?;
    let version = Version::parse(&response.version).ok_or_else(|| {
        wrong(format!(
            "answered the version {:?}, which is none",
            response.version
        ))
    })?;
    if app
        .version
        .as_ref()
        .is_some_and(|wanted| *wanted != version)
    {
        return Err(wrong(format!(
            "answered version {:?} when asked for another",
            response.version
        )));
    }
    let sha256 = response.sha256.to_ascii_lowercase();
    if !is_sha256(&sha256) {
        return Err(wrong("announced no SHA-256 of the archive".to_owned()));
    }
    let url = Url::parse(&response.url)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"))
        .ok_or_else(|| wrong("gave no address of the archive".to_owned()))?;
    let folder = path::plain(response.tar_prefix.trim_start_matches('/').as_bytes())
        .map_err(|why| wrong(format!("gave a wrong folder of the archive: {why}")))?;
    Ok(Some(Offer {
        version: version.as_str().to_owned(),
        manifest: response.manifest,
        url,
        sha256,
        folder,
    }))
}

/// The URL of a version. The path of the registry's URL is kept.
fn address(registry: &str, app: &RegistryApp) -> Result<Url, Error> {
    let unusable = || Error::RegistryAnswer {
        registry: "of the configuration".to_owned(),
        why: "has an address that cannot be used; it looks like https://apps.example.org"
            .to_owned(),
    };
    let mut url = Url::parse(registry).map_err(|_| unusable())?;
    let channel = app.channel.to_string();
    {
        let mut segments = url.path_segments_mut().map_err(|()| unusable())?;
        segments.pop_if_empty().extend(["registry", &app.slug]);
        match &app.version {
            Some(version) => segments.push(version.as_str()),
            None => segments.push(&channel).push("latest"),
        };
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::panic,
        reason = "a failed expectation is the test failing"
    )]

    use super::address;
    use crate::domain::source::Source;

    fn asked(registry: &str, source: &str) -> String {
        let Source::Registry(app) = Source::parse(source).unwrap() else {
            panic!("{source} names a registry");
        };
        address(registry, &app).unwrap().to_string()
    }

    #[test]
    fn the_path_of_a_registry_is_kept() {
        assert_eq!(
            asked("http://r.example/main", "home"),
            "http://r.example/main/registry/home/stable/latest"
        );
        assert_eq!(
            asked("http://r.example/main/", "registry://home/1.0.0"),
            "http://r.example/main/registry/home/1.0.0"
        );
        assert_eq!(
            asked("http://r.example", "registry://home/beta"),
            "http://r.example/registry/home/beta/latest"
        );
    }
}
