//! Finding the instance of a host, for the gateway.

use service_kit::contexts::Contexts;

use crate::{
    domain::{
        claim::redirect_id,
        instance::InstanceDocument,
        name::{AppHost, Name, app_domain, app_hosts},
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
    /// Where to go instead, when the host is a former address: a domain.
    pub redirect: Option<String>,
    /// The host in the form in which it is looked up.
    pub canonical_host: String,
}

/// Finds the instance of `host`: the host itself first, then, if it may name an app, the instances whose
/// app that would be, named as their contexts have it; and at last those that had the host before.
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
        redirect: None,
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
    match redirected(store, contexts, &name).await? {
        Some((claimed, to)) => Ok(Resolved {
            redirect: Some(to),
            ..resolved(claimed, String::new())
        }),
        None => Err(Error::NoSuchInstance(name.to_string())),
    }
}

/// The instance whose former address a host is, itself or as one of its apps, and where it is now.
async fn redirected(
    store: &Store,
    contexts: &Contexts,
    name: &Name,
) -> Result<Option<(Claimed, String)>, Error> {
    let apps = app_hosts(name.host());
    let ids: Vec<String> = [name.host()]
        .into_iter()
        .chain(apps.iter().map(|app| app.instance.as_str()))
        .map(redirect_id)
        .collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    // Hardly any host has a redirect: one look for all of them.
    let known = store.claims_of(&ids).await?;
    let known = |host: &str| known.contains_key(&redirect_id(host));
    if known(name.host())
        && let Some(claimed) = moved(store, name.host()).await?
    {
        let to = claimed.document.domain.clone();
        return Ok(Some((claimed, to)));
    }
    for app in apps.iter().filter(|app| known(&app.instance)) {
        if let Some(claimed) = moved(store, &app.instance).await?
            && contexts.get(&claimed.document.context).subdomains == app.subdomains
        {
            let to = app_domain(&claimed.document.domain, &app.slug, app.subdomains);
            return Ok(Some((claimed, to)));
        }
    }
    Ok(None)
}

/// The instance that had a host before, and tells so.
async fn moved(store: &Store, host: &str) -> Result<Option<Claimed>, Error> {
    let found = claimed(store, &redirect_id(host)).await?;
    Ok(found.filter(|found| {
        let old = found.document.old_domain.parse::<Name>();
        old.is_ok_and(|old| old.host() == host)
    }))
}

/// The instance that has claimed a host.
struct Claimed {
    id: String,
    document: InstanceDocument,
    record: Option<Record>,
}

/// The instance that has made a claim. A claim without an instance belongs to a creation that has not
/// ended.
async fn claimed(store: &Store, id: &str) -> Result<Option<Claimed>, Error> {
    let Some(claim) = store.claim_of(id).await? else {
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
