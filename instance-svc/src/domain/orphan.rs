//! What belongs to no instance and to no operation at work.

/// Something that belongs to nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// What it is.
    pub kind: OrphanKind,
    /// Its name: of the database, of the claimed host, of the document as `database/id`, or the prefix
    /// under which contents lie.
    pub name: String,
    /// Why it belongs to nobody.
    pub reason: String,
    /// How many objects or documents it holds.
    pub count: u64,
}

/// What an orphan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrphanKind {
    /// A database.
    Database,
    /// A claim of a name.
    Claim,
    /// Contents of files or apps.
    Contents,
    /// A document of ours.
    Document,
}

/// What the prefixes of the databases of instances begin with, unless they are old. Databases without it
/// are never looked at: other software may keep them on the same server.
pub const PREFIXES: &str = "cozy";

/// The prefix of an instance in the name of a database; `None` for databases of anybody else.
#[must_use]
pub fn prefix_in(database: &str) -> Option<&str> {
    let (prefix, doctype) = database.split_once('/')?;
    (prefix.starts_with(PREFIXES) && !doctype.is_empty()).then_some(prefix)
}

#[cfg(test)]
mod tests {
    use super::prefix_in;

    #[test]
    fn what_other_software_keeps_on_the_server_is_none_of_ours() {
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
