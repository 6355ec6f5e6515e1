//! Where the databases of an instance lie.

/// A CouchDB server of the configuration, and the prefix of an instance's databases there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatabaseLocation<'a> {
    /// The position of the server in the list of the configuration, from 0.
    pub couch_cluster: i64,
    /// The prefix of the names of the databases.
    pub prefix: &'a str,
}
