//! Creates the databases of the files service.

use futures::future::try_join_all;

use crate::{
    domain::{
        databases::{FILES, PLANS},
        default_tree::Directory,
    },
    error::Error,
    store::Store,
};

/// Creates all databases in parallel, and returns each with the number of documents that it then holds. The directories
/// are written in the same request as the database of the tree. Idempotent.
///
/// # Errors
/// [`Error::MadeByAnother`] when another operation created the directories.
pub(crate) async fn prepare(
    store: &Store,
    directories: &[Directory],
) -> Result<Vec<(String, usize)>, Error> {
    try_join_all(PLANS.iter().map(|plan| {
        let directories = if plan.doctype == FILES {
            directories
        } else {
            &[]
        };
        store.prepare(plan, directories)
    }))
    .await
}
