//! Versions and channels of registries.

use std::{cmp::Reverse, fmt};

/// A channel of a registry. `beta` also contains the versions of `stable`; `dev` contains all versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Channel {
    /// Released versions.
    Stable,
    /// Versions for testing before a release.
    Beta,
    /// Development versions.
    Dev,
}

impl Channel {
    /// Parses the name of a channel.
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

/// A version in the form that registries publish: `1.2.3`, `1.2.3-beta.4` or `1.2.3-dev.0a1b`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    text: String,
    channel: Channel,
}

impl Version {
    /// Parses a version. A leading `v` is dropped, as registries do.
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

    /// The most stable channel that contains the version.
    pub(crate) const fn channel(&self) -> Channel {
        self.channel
    }

    /// Whether this one came before the other. Versions of the channel dev have no order among themselves.
    pub(crate) fn is_older_than(&self, other: &Self) -> bool {
        self.order() < other.order()
    }

    /// The three numbers, then the channel, the most stable last, then the number of a beta.
    fn order(&self) -> ([u32; 3], Reverse<Channel>, u32) {
        let (core, rest) = self.text.split_once('-').unwrap_or((&self.text, ""));
        // `parse` lets only numbers of up to five digits through.
        let number = |text: &str| text.parse().unwrap_or(0);
        let mut numbers = core.split('.').map(number);
        let mut next = || numbers.next().unwrap_or(0);
        let core = [next(), next(), next()];
        let beta = rest.strip_prefix("beta.").map_or(0, number);
        (core, Reverse(self.channel), beta)
    }

    /// The version in the form of registries.
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

/// Whether a text is acceptable as the version of a manifest. This is less strict than for registries, because
/// manifests of other sources have versions of any form. It excludes paths and line breaks.
pub(crate) fn is_plain(text: &str) -> bool {
    text.len() <= 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+' | b'_'))
        && !text.contains("..")
}

#[cfg(test)]
mod tests {
    use super::Version;

    #[test]
    fn versions_have_the_order_of_their_release() {
        let ordered = [
            "1.9.9",
            "1.10.0-dev.0a",
            "1.10.0-beta.2",
            "1.10.0-beta.10",
            "1.10.0",
            "2.0.0-beta.1",
        ];
        let versions: Vec<Version> = ordered.iter().filter_map(|it| Version::parse(it)).collect();
        assert_eq!(versions.len(), ordered.len());
        for (at, older) in versions.iter().enumerate() {
            for (place, newer) in versions.iter().enumerate() {
                assert_eq!(
                    older.is_older_than(newer),
                    at < place,
                    "{older:?} {newer:?}"
                );
            }
        }
    }
}
