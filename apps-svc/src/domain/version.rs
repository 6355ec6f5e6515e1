//! Versions and channels of registries.

use std::fmt;

/// A channel of a registry. `beta` offers what `stable` has too, and `dev` offers all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Channel {
    /// Released versions.
    Stable,
    /// Versions to be tried.
    Beta,
    /// Versions in the making.
    Dev,
}

impl Channel {
    /// Reads a channel's name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "stable" => Some(Self::Stable),
            "beta" => Some(Self::Beta),
            "dev" => Some(Self::Dev),
            _ => None,
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stable => "stable",
            Self::Beta => "beta",
            Self::Dev => "dev",
        })
    }
}

/// A version as registries publish it: `1.2.3`, `1.2.3-beta.4` or `1.2.3-dev.0a1b`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    text: String,
    channel: Channel,
}

impl Version {
    /// Reads a version; a leading `v` is left out, as registries do.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let (core, channel) = match text.split_once('-') {
            None => (text, Channel::Stable),
            Some((core, rest)) => {
                if let Some(number) = rest.strip_prefix("beta.") {
                    is_number(number).then_some((core, Channel::Beta))?
                } else {
                    let hash = rest.strip_prefix("dev.")?;
                    is_hash(hash).then_some((core, Channel::Dev))?
                }
            }
        };
        let mut numbers = core.split('.');
        let three = [numbers.next()?, numbers.next()?, numbers.next()?];
        (numbers.next().is_none() && three.into_iter().all(is_number)).then(|| Self {
            text: text.to_owned(),
            channel,
        })
    }

    /// The narrowest channel that offers it.
    pub(crate) const fn channel(&self) -> Channel {
        self.channel
    }

    /// As registries write it.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

fn is_number(text: &str) -> bool {
    (1..=5).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'))
}

fn is_hash(text: &str) -> bool {
    (1..=40).contains(&text.len())
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether a text may be the version of a manifest. Looser than what registries publish, because manifests
/// of other sources say what they like; it can neither be a path nor break a line.
pub(crate) fn is_plain(text: &str) -> bool {
    text.len() <= 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+' | b'_'))
        && !text.contains("..")
}
