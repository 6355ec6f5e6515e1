//! Finding the instance of a host, for the gateway.

use crate::{
    domain::{
        instance::InstanceDocument,
        name::{Name, app_hosts},
    },
    error::Error,
    store::Store,
};

/// Whose a host is.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// The id of the instance's documents.
    pub id: String,
    /// Its document.
    pub document: InstanceDocument,
    /// The app that the host names; empty for the instance itself.
    pub app_slug: String,
    /// The host in the form in which it is looked up.
    pub canonical_host: String,
}

/// Finds the instance of `host`: the host itself first, then, if it may name an app, the instances whose
/// app that would be.
///
/// # Errors
/// [`Error::NoSuchInstance`], also for what is no host; any fault of the database.
pub(crate) async fn resolve(store: &Store, host: &str) -> Result<Resolved, Error> {
    let name: Name = host
        .parse()
        .map_err(|_| Error::NoSuchInstance(host.chars().take(80).collect()))?;
    let own = [(name.host().to_owned(), String::new())];
    for (candidate, app_slug) in own.into_iter().chain(app_hosts(name.host())) {
        let Some(claim) = store.claim_of(&candidate).await? else {
            continue;
        };
        // A claim without an instance belongs to a creation that has not ended.
        if let Some(document) = store.instance(&claim.instance).await? {
            return Ok(Resolved {
                id: claim.instance,
                document: document.body,
                app_slug,
                canonical_host: name.host().to_owned(),
            });
        }
    }
    Err(Error::NoSuchInstance(name.to_string()))
}
