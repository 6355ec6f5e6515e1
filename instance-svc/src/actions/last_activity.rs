//! The day on which an instance was used last.

use crate::{
    domain::time::Time,
    error::Error,
    store::{Found, Store},
};

/// The day that is told of an instance that nobody has used: 2018-01-01, as at the original.
const FLOOR: i64 = 1_514_764_800;

/// The latest of: each login, each use of a session, each time a client got a token or synchronized.
///
/// # Errors
/// When the database fails.
pub(crate) async fn last_activity(store: &Store, found: &Found) -> Result<String, Error> {
    let instance = &found.document.body;
    let used = store.times_of_use(instance.location()).await?;
    let deleted_clients = instance.last_activity_of_deleted_clients();
    let latest = used.into_iter().chain(deleted_clients).max();
    let floor = Time::from_unix(FLOOR, 0).unwrap_or(Time::MIN);
    let latest = latest.map_or(floor, |latest| latest.max(floor));
    Ok(latest.to_string().chars().take(10).collect())
}
