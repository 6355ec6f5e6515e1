//! Finding the instance of a host, for the gateway.

use std::collections::HashSet;

use service_kit::contexts::Contexts;

use crate::{
    actions::find::{Candidate, Candidates},
    domain::{
        claim::redirect_id,
        instance::InstanceDocument,
        name::{AppHost, Name, app_domain, app_hosts},
        record::Record,
    },
    error::Error,
    store::Store,
};

/// The instance that a host belongs to.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// The id that the instance's documents share.
    pub id: String,
    /// The instance document.
    pub document: InstanceDocument,
    /// The record; `None` for an instance that other software has just made.
    pub record: Option<Record>,
    /// The app that the host names; empty for the instance itself.
    pub app_slug: String,
    /// The domain to redirect to, when the host is a former address.
    pub redirect: Option<String>,
    /// The host in the form used for look-ups.
    pub canonical_host: String,
}

/// Finds the instance of `host`. The host itself is tried first. If it may name an app, the instances that
/// could have the app follow, by the naming scheme of their contexts. Instances that had the host formerly come
/// last.
///
/// # Errors
/// [`Error::NoSuchInstance`], also when `host` is not a valid host.
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

/// The instance whose former address a host is (its own or that of an app), and its present address.
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
    // Hardly any host has a redirect, so one call looks for all of them.
    let mut known: HashSet<String> = store.claims_of(&ids).await?.into_keys().collect();
    for id in ids {
        if !store.newcomers().with_name(id).await?.is_empty() {
            known.insert(id.to_owned());
        }
    }
    let known = |host: &str| known.contains(&redirect_id(host));
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

/// The instance that had a host formerly and redirects from it.
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

/// The instance of a claim. A claim without an existing instance belongs to a creation that has not ended.
async fn claimed(store: &Store, id: &str) -> Result<Option<Claimed>, Error> {
    let mut candidates = Candidates::new(store, id);
    while let Some(Candidate { instance, .. }) = candidates.next().await? {
        let (document, record) =
            tokio::try_join!(store.instance(&instance), store.record(&instance))?;
        if let Some(document) = document {
            return Ok(Some(Claimed {
                id: instance,
                document: document.body,
                record: record.map(|record| record.body),
            }));
        }
    }
    Ok(None)
}
