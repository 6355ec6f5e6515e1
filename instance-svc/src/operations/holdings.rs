//! What exists of one instance. One function serves two purposes: it counts what a destruction would remove,
//! and it verifies after a destruction that nothing is left.

use std::collections::BTreeSet;

use couch::DbName;
use hamlet_proto::hamlet::instance::v1::Tenant;

use super::{Peers, peers::Contents};
use crate::{
    domain::{databases, location::DatabaseLocation, removed::Removed},
    error::Error,
    store::Store,
};

/// The instance whose holdings are collected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holder<'a> {
    /// The id of the instance's document.
    pub(crate) instance: &'a str,
    /// The main domain.
    pub(crate) domain: &'a str,
    /// The CouchDB server of its databases.
    pub(crate) location: DatabaseLocation<'a>,
    /// The ids of the claims of all its present and former names.
    pub(crate) names: &'a [String],
}

/// What exists of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holdings {
    /// The names of its databases.
    pub(crate) databases: BTreeSet<String>,
    /// The contents, by the prefix under which they lie.
    pub(crate) contents: Vec<Contents>,
    /// Its documents, as `database/id`.
    pub(crate) documents: Vec<String>,
    /// The hosts claimed for it.
    pub(crate) claims: Vec<String>,
}

impl Holdings {
    /// Collects everything: databases by their known names and by listing, contents from all services,
    /// documents and claims by id.
    pub(crate) async fn of(
        store: &Store,
        peers: &Peers,
        holder: Holder<'_>,
    ) -> Result<Self, Error> {
        let (databases, contents, documents, claims) = tokio::try_join!(
            databases_of(store, holder),
            contents_of(store, peers, holder),
            documents_of(store, holder),
            claims_of(store, holder),
        )?;
        Ok(Self {
            databases,
            contents,
            documents,
            claims,
        })
    }

    /// The number of items, by type.
    pub(crate) fn count(&self) -> Removed {
        Removed {
            objects: self.contents.iter().map(Contents::count).sum(),
            databases: self.databases.len() as u64,
            documents: self.documents.len() as u64,
            claims: self.claims.len() as u64,
        }
    }

    /// One line for each item, for display.
    pub(crate) fn describe(&self) -> Vec<String> {
        let databases = self.databases.iter().map(|it| format!("database {it}"));
        let contents = self.contents.iter();
        let contents = contents.map(|it| format!("{} objects of {}", it.count(), it.prefix));
        let documents = self.documents.iter().map(|it| format!("document {it}"));
        let claims = self.claims.iter().map(|it| format!("claim of {it}"));
        databases
            .chain(contents)
            .chain(documents)
            .chain(claims)
            .collect()
    }
}

/// The databases of an instance.
pub(crate) async fn databases_of(
    store: &Store,
    holder: Holder<'_>,
) -> Result<BTreeSet<String>, Error> {
    let couch = store.couch(holder.location)?;
    let planned = databases::doctypes()
        .map(|doctype| DbName::instance(holder.location.prefix, doctype))
        .collect::<Result<Vec<_>, _>>()?;
    let below = format!("{}/", DbName::instance_prefix(holder.location.prefix)?);
    let (seen, there) = tokio::try_join!(
        couch.databases_with_prefix(&below),
        couch.database_infos(&planned),
    )?;
    let there = there.into_keys().map(|name| name.as_str().to_owned());
    Ok(seen.into_iter().chain(there).collect())
}

/// The contents of an instance in the other services.
pub(crate) async fn contents_of(
    store: &Store,
    peers: &Peers,
    holder: Holder<'_>,
) -> Result<Vec<Contents>, Error> {
    let tenant = Tenant {
        id: holder.instance.to_owned(),
        domain: holder.domain.to_owned(),
        prefix: holder.location.prefix.to_owned(),
        ..Tenant::default()
    };
    let (mut found, folder) = look_at(store, peers, &tenant).await?;
    if matches!(folder, Folder::OfAnother) {
        found.retain(|it| it.domain.is_empty() || it.objects > 0);
        for it in &mut found {
            it.domain.clear();
            it.domain_files = 0;
        }
    }
    Ok(found)
}

/// Whose the folder on a file store is that has the domain of an instance.
#[derive(Clone, Copy, Debug)]
enum Folder {
    /// The instance exists, and no other has its domain.
    Owned,
    /// The instance does not exist, or there is no folder. One is its own only if it was made for it.
    IfMade,
    /// Another instance has the same domain, and goes on.
    OfAnother,
}

async fn look_at(
    store: &Store,
    peers: &Peers,
    tenant: &Tenant,
) -> Result<(Vec<Contents>, Folder), Error> {
    let has_folder = |found: &[Contents]| found.iter().any(|it| !it.domain.is_empty());
    let mut found = peers.contents(Some(tenant), true).await?;
    if !has_folder(&found) {
        return Ok((found, Folder::IfMade));
    }
    // While its document exists, it has its names. Afterwards they are free for another instance.
    let exists = store.instance(&tenant.id).await?.is_some();
    if !exists {
        found = peers.contents(Some(tenant), false).await?;
    }
    let folder = if has_folder(&found) && store.is_domain_of_another(tenant).await? {
        Folder::OfAnother
    } else if exists {
        Folder::Owned
    } else {
        Folder::IfMade
    };
    Ok((found, folder))
}

/// Removes the folder of an instance on a file store, if there is one, and then the other contents as well. Returns the
/// number of objects and files. Idempotent.
pub(crate) async fn purge_folder(
    store: &Store,
    peers: &Peers,
    tenant: Tenant,
) -> Result<u64, Error> {
    let found = peers.contents(Some(&tenant), false).await?;
    if found.iter().all(|it| it.domain.is_empty()) {
        return Ok(0);
    }
    purge(store, peers, tenant).await
}

/// Removes the contents of an instance in the other services, with its folder on a file store. Returns the number of
/// objects and files. Idempotent.
pub(crate) async fn purge(store: &Store, peers: &Peers, mut tenant: Tenant) -> Result<u64, Error> {
    let (_, folder) = look_at(store, peers, &tenant).await?;
    let owns_domain = match folder {
        Folder::Owned => true,
        Folder::IfMade => false,
        Folder::OfAnother => {
            tracing::warn!(
                domain = tenant.domain,
                "another instance has the same domain, so its folder on the file store stays"
            );
            tenant.domain.clear();
            false
        }
    };
    Ok(peers.purge(&tenant, owns_domain).await?)
}

async fn documents_of(store: &Store, holder: Holder<'_>) -> Result<Vec<String>, Error> {
    let id = holder.instance;
    let (instance, record) = tokio::try_join!(store.instance(id), store.record(id))?;
    let instance = instance.map(|_| format!("global/instances/{id}"));
    let record = record.map(|_| format!("global/hamlet-instances/{id}"));
    Ok(instance.into_iter().chain(record).collect())
}

async fn claims_of(store: &Store, holder: Holder<'_>) -> Result<Vec<String>, Error> {
    let mut claims = Vec::new();
    for name in holder.names {
        let claim = store.claim_of(name).await?;
        if claim.is_some_and(|claim| claim.instance == holder.instance) {
            claims.push(name.clone());
        }
    }
    claims.sort();
    claims.dedup();
    Ok(claims)
}
