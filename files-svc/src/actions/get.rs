//! Finds one file or directory.

use crate::{
    domain::{node::Node, path::AbsolutePath},
    error::Error,
    store::Store,
};

/// How a request names a file or directory.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// By the id of its document.
    Id(String),
    /// By its path.
    Path(AbsolutePath),
}

/// Finds a file or directory.
///
/// # Errors
/// [`Error::NotFound`] when it does not exist, and [`Error::Broken`] when its document does not fit into the tree.
pub(crate) async fn get(store: &Store, target: &Target) -> Result<Node, Error> {
    let (found, name) = match target {
        Target::Id(id) => (store.by_id(id).await?, format!("with the id {id}")),
        Target::Path(path) => (store.by_path(path).await?, format!("at {}", path.as_str())),
    };
    found.ok_or(Error::NotFound(name))
}
