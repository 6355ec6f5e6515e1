//! Making the databases of files.

use futures::future::try_join_all;

use crate::{domain::databases::PLANS, error::Error, store::Store};

/// Makes all databases at once. Each with the number of documents it then holds. May be repeated.
///
/// # Errors
/// When the database fails.
pub(crate) async fn prepare(store: &Store) -> Result<Vec<(String, usize)>, Error> {
    try_join_all(PLANS.iter().map(|plan| store.prepare(plan))).await
}
