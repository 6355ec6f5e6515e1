//! The store: which documents lie in which database.

mod accounts;
mod activity;
mod changes;
mod claims;
mod designs;
mod features;
mod feed;
mod found;
mod host_feeds;
mod instances;
pub(crate) mod newcomers;
mod oauth;
mod operations;
mod returned;
pub(crate) mod scan;
mod sessions;
mod tries;
mod vault;

use couch::{
    BulkDoc, Clusters, Couch, Creation, Database, DbName, Document,
    design::{Index, View},
};
use serde_json::{Map, Value};

pub use self::operations::OperationLog;
use self::operations::{DUE_OPERATIONS, OPEN_OPERATIONS, OPERATIONS_BY_TIME};
pub(crate) use self::{
    features::FlagsOf,
    feed::InstanceChange,
    found::Found,
    host_feeds::{HOST_FEEDS, HostFeed},
    newcomers::Newcomers,
    operations::Settled,
    returned::LeafFeed,
    sessions::{Login, Use},
    tries::Counter,
};
use crate::{
    domain::{
        databases::{INSTANCES_BY_DOMAIN, INSTANCES_INDEXES, INSTANCES_VIEWS, SETTINGS},
        instance::SETTINGS_ID,
        location::DatabaseLocation,
    },
    error::Error,
};

/// The databases of the instance service.
#[derive(Clone, Debug)]
pub struct Store {
    couch: Clusters,
    instances: Database,
    claims: Database,
    operations: Database,
    records: Database,
    newcomers: Newcomers,
}

impl Store {
    /// A store on these database servers. Sends nothing yet.
    ///
    /// # Errors
    /// Never in practice: the names are constants.
    pub fn new(couch: Clusters) -> Result<Self, couch::Error> {
        let open =
            |name: &str| Ok::<_, couch::Error>(couch.global().database(&DbName::global(name)?));
        Ok(Self {
            instances: open("instances")?,
            claims: open("hamlet-claims")?,
            operations: open("hamlet-operations")?,
            records: open("hamlet-instances")?,
            newcomers: Newcomers::default(),
            couch,
        })
    }

    /// The instances of other software that are not adopted yet.
    pub(crate) const fn newcomers(&self) -> &Newcomers {
        &self.newcomers
    }

    /// The servers on which the databases of instances may lie.
    #[must_use]
    pub const fn clusters(&self) -> &Clusters {
        &self.couch
    }

    /// The server on which the databases of an instance lie.
    ///
    /// # Errors
    /// [`couch::Error::NoSuchCluster`] when the configuration does not list it.
    pub fn couch(&self, location: DatabaseLocation<'_>) -> Result<&Couch, couch::Error> {
        self.couch.at(location.couch_cluster)
    }

    /// Whether all nodes of the servers that hold something of an instance are connected and work.
    ///
    /// # Errors
    /// When a server does not answer.
    pub async fn is_whole(&self, location: DatabaseLocation<'_>) -> Result<bool, couch::Error> {
        let (global, own) = tokio::try_join!(
            self.couch.global().is_whole(),
            self.couch(location)?.is_whole()
        )?;
        Ok(global && own)
    }

    /// Makes the global databases with their indexes and views. May be repeated.
    pub async fn prepare(&self) -> Result<(), couch::Error> {
        for database in [
            &self.instances,
            &self.claims,
            &self.operations,
            &self.records,
        ] {
            database.couch().create_database(database.name()).await?;
        }
        // Other software has most of these design documents too, in its own form, and changes them. Hamlet reads the last one.
        let mut designs_there = designs(INSTANCES_INDEXES, INSTANCES_VIEWS)?;
        designs_there.extend(designs(&[INSTANCES_BY_DOMAIN], &[])?);
        self.instances.bulk_create_missing(&designs_there).await?;
        ensure_own_designs(
            &self.operations,
            &[OPEN_OPERATIONS, OPERATIONS_BY_TIME, DUE_OPERATIONS],
        )
        .await
    }

    /// Makes one database of an instance with its indexes, views and first documents, in two requests. May be
    /// repeated. Returns its name and the minimum number of documents that it must hold.
    pub async fn make_database(
        &self,
        location: DatabaseLocation<'_>,
        doctype: &str,
        indexes: &[Index],
        views: &[View],
        documents: &[(String, Map<String, Value>)],
    ) -> Result<(String, u64), Error> {
        let couch = self.couch(location)?;
        let name = DbName::instance(location.prefix, doctype)?;
        match couch.create_database(&name).await? {
            Creation::Created | Creation::AlreadyExists => {}
        }
        let mut first = designs(indexes, views)?;
        for (id, body) in documents {
            first.push(BulkDoc::create(id, body)?);
        }
        if !first.is_empty() {
            couch.database(&name).bulk_ensure(&first).await?;
        }
        Ok((name.as_str().to_owned(), first.len() as u64))
    }

    /// The owner's settings. `None` also when their database is gone, because the instance is being destroyed.
    pub async fn settings(
        &self,
        location: DatabaseLocation<'_>,
    ) -> Result<Option<Document<Map<String, Value>>>, couch::Error> {
        let name = DbName::instance(location.prefix, SETTINGS)?;
        match self.couch(location)?.database(&name).get(SETTINGS_ID).await {
            Err(couch::Error::DatabaseMissing { .. }) => Ok(None),
            found => found,
        }
    }
}

fn designs(indexes: &[Index], views: &[View]) -> Result<Vec<BulkDoc>, couch::Error> {
    let indexes = indexes.iter().map(|index| (index.id(), index.body()));
    let views = views.iter().map(|view| (view.id(), view.body()));
    indexes
        .chain(views)
        .map(|(id, body)| BulkDoc::create(id, &body))
        .collect()
}

/// Makes the indexes of a database of our own, and replaces what stands in their place.
async fn ensure_own_designs(database: &Database, indexes: &[Index]) -> Result<(), couch::Error> {
    database
        .bulk_create_missing(&designs(indexes, &[])?)
        .await?;
    for index in indexes {
        let Some(found) = database.get::<Value>(&index.id()).await? else {
            continue;
        };
        if found.body == index.body() {
            continue;
        }
        tracing::warn!(
            database = database.name().as_str(),
            design = index.id(),
            "the definition of an index is not this version's; it is replaced"
        );
        // Another replica may do the same.
        let _ = database
            .compare_and_set(&index.id(), &found.rev, &index.body())
            .await?;
    }
    Ok(())
}
