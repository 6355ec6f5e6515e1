//! Ending the sessions of an owner: logging out.

use crate::{domain::instance::InstanceDocument, error::Error, store::Store};

/// Ends one session. Returns whether there was one.
///
/// # Errors
/// When the database fails.
pub(crate) async fn end_one(
    store: &Store,
    document: &InstanceDocument,
    id: &str,
) -> Result<bool, Error> {
    // Ids that begin with `_` are reserved by CouchDB.
    if id.is_empty() || id.starts_with('_') {
        return Ok(false);
    }
    Ok(store.end_session(document.location(), id).await?)
}

/// Ends all sessions but one.
///
/// # Errors
/// When the database fails; some may have ended.
pub(crate) async fn end_others(
    store: &Store,
    document: &InstanceDocument,
    kept: &str,
) -> Result<(), Error> {
    let location = document.location();
    for session in store.sessions(location).await? {
        if session.id != kept {
            store.end_session(location, &session.id).await?;
        }
    }
    Ok(())
}
