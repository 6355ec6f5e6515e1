//! Finding the instance of a host, for the gateway.

use service_kit::contexts::Contexts;

use crate::{
    domain::{
        instance::InstanceDocument,
        name::{AppHost, Name, app_hosts},
        record::Record,
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
    /// What Hamlet knows beyond; `None` for one that other software made just now.
    pub record: Option<Record>,
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
    let resolved = |claimed: Claimed, app_slug| Resolved {
        id: claimed.id,
        document: claimed.document,
        record: claimed.record,
        app_slug,
        canonical_host: name.host().to_owned(),
    };
    if let Some(claimed) = claimed(store, name.host()).await? {
        return Ok(resolved(claimed, String::new()));
    }
    for AppHost {
        instance,
        slug,
        subdomains,
    } in app_hosts(name.host())
    {
        if let Some(claimed) = claimed(store, &instance).await?
            && contexts.get(&claimed.document.context).subdomains == subdomains
        {
            return Ok(resolved(claimed, slug));
        }
    }
    Err(Error::NoSuchInstance(name.to_string()))
}

/// The instance that has claimed a host.
struct Claimed {
    id: String,
    document: InstanceDocument,
    record: Option<Record>,
}

/// The instance that has claimed a host. A claim without an instance belongs to a creation that has not
/// ended.
async fn claimed(store: &Store, host: &str) -> Result<Option<Claimed>, Error> {
    let Some(claim) = store.claim_of(host).await? else {
        return Ok(None);
    };
    let (document, record) = tokio::try_join!(
        store.instance(&claim.instance),
        store.record(&claim.instance)
    )?;
    Ok(document.map(|document| Claimed {
        id: claim.instance,
        document: document.body,
        record: record.map(|record| record.body),
    }))
}
