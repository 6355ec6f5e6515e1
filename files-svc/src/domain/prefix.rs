//! The prefix of an instance: the first part of its databases' names, and the folder of its contents.

/// A prefix that is safe in a database name and as a folder name: a lower-case letter, then lower-case letters, digits,
/// `_` and `-`. The dots and colons of old prefixes are replaced by dashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prefix(String);

/// Prefixes of the installation's own databases, which belong to no instance.
const RESERVED: [&str; 2] = ["global", "secrets"];

impl Prefix {
    /// Parses a prefix. `None` when it is not valid: a purge with an empty or foreign prefix would remove other
    /// instances.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let safe = text.replace(['.', ':'], "-");
        let mut letters = safe.bytes();
        let first = letters.next()?;
        let sound = first.is_ascii_lowercase()
            && letters.all(|byte| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')
            })
            && safe.len() <= 200
            && !RESERVED.contains(&safe.as_str());
        sound.then_some(Self(safe))
    }

    /// The prefix as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the instance's database for a doctype such as `io.cozy.files`.
    pub(crate) fn database(&self, doctype: &str) -> String {
        format!("{}/{}", self.0, doctype.replace(['.', ':'], "-"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use super::Prefix;

    #[test]
    fn databases_are_named_after_prefix_and_doctype() {
        let prefix = Prefix::parse("cozye2ec20e7a4d9b4e95c9d48d1db4f84dc").unwrap();
        assert_eq!(
            prefix.database("io.cozy.files.versions"),
            "cozye2ec20e7a4d9b4e95c9d48d1db4f84dc/io-cozy-files-versions"
        );
        let old = Prefix::parse("alice.example.com:8080").unwrap();
        assert_eq!(old.as_str(), "alice-example-com-8080");
    }

    #[test]
    fn a_prefix_that_could_reach_others_is_refused() {
        for bad in [
            "", "/", "a/b", "..", "Cozy", "1a", "global", "secrets", "a b", "a%2f", "é", "_users",
        ] {
            assert_eq!(Prefix::parse(bad), None, "{bad:?}");
        }
    }
}
