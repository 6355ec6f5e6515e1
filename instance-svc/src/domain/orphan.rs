//! Orphans: data that belongs to no instance and to no running operation.

/// An item that belongs to no instance and to no running operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// Its type.
    pub kind: OrphanKind,
    /// Its name: that of the database, the claimed host, the document as `database/id`, or the prefix of the
    /// contents.
    pub name: String,
    /// Why it counts as an orphan.
    pub reason: String,
    /// How many objects or documents it contains.
    pub count: u64,
}

/// The type of an orphan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrphanKind {
    /// A database.
    Database,
    /// A claim of a name.
    Claim,
    /// Contents of the files or apps service.
    Contents,
    /// A document of Hamlet's own.
    Document,
}

/// The beginning of the prefixes of instances, except old ones. Databases without it are never looked at: other
/// software may keep them on the same server.
pub const PREFIXES: &str = "cozy";

/// The prefix of an instance in the name of a database; `None` for other databases.
#[must_use]
pub fn prefix_in(database: &str) -> Option<&str> {
    let (prefix, doctype) = database.split_once('/')?;
    (prefix.starts_with(PREFIXES) && !doctype.is_empty()).then_some(prefix)
}

#[cfg(test)]
mod tests {
    use super::prefix_in;

    #[test]
    fn databases_of_other_software_have_no_prefix() {
        for name in [
            "_users",
            "_replicator",
            "global/instances",
            "secrets/konnectors",
            "wiki",
            "cozy",
            "cozyabc/",
            "alice-example-org/io-cozy-files",
        ] {
            assert_eq!(prefix_in(name), None, "{name}");
        }
        assert_eq!(prefix_in("cozyabc/io-cozy-files"), Some("cozyabc"));
    }
}
