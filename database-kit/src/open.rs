//! From the settings of a service to the servers of its databases.

use std::time::Duration;

use couch::{Clusters, Couch, CouchFlags, CouchOptions, Member, Result};
use service_kit::clusters::CouchCluster;

/// How long a starting service waits for the database.
const PATIENCE: Duration = Duration::from_secs(60);

/// The global server of `flags` and the servers of the `[[couch-clusters]]` list. Nothing is sent yet.
///
/// `overlap` is how long a replaced password is still tried.
///
/// # Errors
/// [`couch::Error::Config`] when a setting cannot be used, within [`couch::Error::Cluster`] when it
/// belongs to a server of the list.
pub fn connect(flags: &CouchFlags, list: &[CouchCluster], overlap: Duration) -> Result<Clusters> {
    let members = members(flags.options(), list, overlap)?;
    Clusters::connect(&flags.config(overlap)?, members)
}

/// As [`connect`], for a program whose global server is connected already.
///
/// # Errors
/// As [`connect`].
pub fn connect_members(
    global: Couch,
    options: &CouchOptions,
    list: &[CouchCluster],
    overlap: Duration,
) -> Result<Clusters> {
    Clusters::with_global(global, members(options, list, overlap)?)
}

fn members(
    options: &CouchOptions,
    list: &[CouchCluster],
    overlap: Duration,
) -> Result<Vec<Member>> {
    list.iter()
        .map(|cluster| {
            options.member(
                &cluster.url,
                cluster.user.as_deref(),
                cluster.password_file.as_deref(),
                cluster.instance_creation,
                overlap,
            )
        })
        .collect()
}

/// Waits for the database of a service that starts, for one minute at most.
///
/// # Errors
/// When the global server does not answer within that time, or when waiting cannot help, as when a
/// server refuses the credentials.
pub async fn wait_until_up(clusters: &Clusters) -> Result<()> {
    clusters.wait_until_up(PATIENCE).await
}
