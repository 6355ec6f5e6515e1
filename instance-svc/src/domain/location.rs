//! Where the databases of an instance lie.

use sha2::{Digest as _, Sha256};

/// A CouchDB server of the configuration, and the prefix of an instance's databases there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatabaseLocation<'a> {
    /// The position of the server in the list of the configuration, from 0.
    pub couch_cluster: i64,
    /// The prefix of the names of the databases.
    pub prefix: &'a str,
}

/// Whether the original's server would give this prefix to an instance of this domain: `cozy` and the first 16 bytes
/// of the SHA-256 of the domain in hex. Its next instance of the same domain has the same prefix then.
#[must_use]
pub fn is_derived(prefix: &str, domain: &str) -> bool {
    let hash = hex::encode(Sha256::digest(domain));
    prefix
        .strip_prefix("cozy")
        .is_some_and(|rest| hash.get(..32) == Some(rest))
}

#[cfg(test)]
mod tests {
    use super::is_derived;

    #[test]
    fn the_prefixes_of_the_original_follow_from_the_domain() {
        for (prefix, domain) in [
            ("cozy0d88385e5e731af27c0f1c0a312135b9", "alice.example.com"),
            (
                "cozye2ec20e7a4d9b4e95c9d48d1db4f84dc",
                "alice.example.com:8080",
            ),
            ("cozyd967c7459bf32663d835bbf7a23e518a", "élodie.example.org"),
        ] {
            assert!(is_derived(prefix, domain), "{domain}");
            assert!(!is_derived(prefix, "bob.example.com"), "{domain}");
        }
        for prefix in ["", "cozy", "alice.example.com"] {
            assert!(!is_derived(prefix, "alice.example.com"), "{prefix}");
        }
    }
}
