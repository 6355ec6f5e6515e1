//! Conflicts: names that several instances have.

/// A name that several instances have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The name's host.
    pub name: String,
    /// The instances that have it, by the ids of their documents. The original's server finds the first one.
    pub contenders: Vec<Contender>,
}

/// One of several instances that have a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contender {
    /// The id of its document.
    pub id: String,
    /// Its main domain.
    pub domain: String,
    /// Whether the name is an alias of it.
    pub is_alias: bool,
    /// Whether the name is claimed for it: Hamlet's name leads there.
    pub has_claim: bool,
}
