//! The folders of the versions of an app on a file store that other software uses, too.

/// The first letters of the name of what is not complete.
pub(crate) const ASIDE: &str = "tmp";

/// The folder of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VersionFolder {
    /// Its name: the version, and the checksum if there is one.
    pub(crate) name: String,
    /// Whether the name has a checksum, so that all code of this name is the same.
    pub(crate) is_certain: bool,
}

impl VersionFolder {
    /// The folder of a version.
    pub(crate) fn of(version: &str, checksum: &str) -> Self {
        let is_certain = !checksum.is_empty();
        let name = if is_certain {
            format!("{version}-{checksum}")
        } else {
            version.to_owned()
        };
        Self { name, is_certain }
    }
}

#[cfg(test)]
mod tests {
    use super::VersionFolder;

    #[test]
    fn a_checksum_follows_the_version() {
        assert_eq!(VersionFolder::of("1.0.0", "abc").name, "1.0.0-abc");
        assert_eq!(VersionFolder::of("1.0.0", "").name, "1.0.0");
    }
}
