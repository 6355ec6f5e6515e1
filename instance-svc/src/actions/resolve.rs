//! Finding the instance of a host, for the gateway.

use service_kit::contexts::Contexts;

use crate::{
    domain::{
        instance::InstanceDocument,
        name::{AppHost, Name, app_hosts},
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
/// app that would be, named as their contexts have it.
///
/// # Errors
/// [`Error::NoSuchInstance`], also for what is no host; any fault of the database.
pub(crate) async fn resolve(
    store: &Store,
    contexts: &Contexts,
    host: &str,
) -> Result<Resolved, Error> {
    let name: Name = host
        .parse()
        .map_err(|_| Error::NoSuchInstance(host.chars().take(80).collect()))?;
    let resolved = |id, document, app_slug| Resolved {
        id,
        document,
        app_slug,
        canonical_host: name.host().to_owned(),
    };
    if let Some((id, document)) = claimed(store, name.host()).await? {
        return Ok(resolved(id, document, String::new()));
    }
    for AppHost {
        instance,
        slug,
        subdomains,
    } in app_hosts(name.host())
    {
        if let Some((id, document)) = claimed(store, &instance).await?
            && contexts.get(&document.context).subdomains == subdomains
        {
            return Ok(resolved(id, document, slug));
        }
    }
    Err(Error::NoSuchInstance(name.to_string()))
}

/// The instance that has claimed a host. A claim without an instance belongs to a creation that has not
/// ended.
async fn claimed(store: &Store, host: &str) -> Result<Option<(String, InstanceDocument)>, Error> {
    let Some(claim) = store.claim_of(host).await? else {
        return Ok(None);
    };
    let document = store.instance(&claim.instance).await?;
    Ok(document.map(|document| (claim.instance, document.body)))
}
