//! Making the databases of files.

use futures::future::try_join_all;

use crate::{
    domain::{
        databases::{FILES, PLANS},
        default_tree::Directory,
    },
    error::Error,
    store::Store,
};

/// Makes all databases at once, that of the tree with these directories in the same write. Each with the
/// number of documents it then holds. May be repeated.
///
/// # Errors
/// When the database fails; [`Error::MadeByAnother`] when another operation made the directories.
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
