//! Which documents lie in which database.

mod changes;
mod feed;
pub(crate) mod scan;
mod vault;

use std::collections::{HashMap, HashSet};

use couch::{
    AllDocs, BulkDoc, Claim as Claiming, Clusters, Couch, Creation, Database, DbName, Document,
    Exchange, Find, Rev, Row,
    design::{Index, View},
};
use futures::{Stream, TryStreamExt as _};
use serde_json::{Map, Value, json};

use crate::{
    domain::{
        claim::Claim,
        databases::{INSTANCES_INDEXES, INSTANCES_VIEWS, SETTINGS},
        instance::{InstanceDocument, SETTINGS_ID},
        operation::Operation,
        place::Place,
        record::Record,
    },
    error::Error,
};

/// Finds the operations that somebody still has to look at.
const OPEN_OPERATIONS: Index = Index::new(
    "open",
    "8181d20eec946f330549459eed128ae3a70bee8b",
    &["created_at"],
)
.only_where(|| json!({"open": true}), || json!({"open": {"$eq": true}}));

/// Finds operations in the order of acceptance.
const OPERATIONS_BY_TIME: Index = Index::new(
    "by-created-at",
    "be3e58282956584764cbe91f81a5824eee278c60",
    &["created_at"],
);

/// Finds the operations whose instances are to be destroyed at a time: those that deleted them softly.
const DUE_OPERATIONS: Index = Index::new("due", "due", &["look_again"]);

/// An operation as all of its leaves tell it.
#[derive(Debug)]
pub enum Settled {
    /// There is one live leaf: this is the operation.
    One(Box<Document<Operation>>),
    /// Writers race for it: it is not told yet who wins.
    Contested,
    /// There is none.
    Missing,
}

/// The databases of the instance service.
#[derive(Clone, Debug)]
pub struct Store {
    couch: Clusters,
    instances: Database,
    claims: Database,
    operations: Database,
    records: Database,
}

impl Store {
    /// The store on these database servers. Nothing is sent yet.
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
            couch,
        })
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
    pub fn couch(&self, place: Place<'_>) -> Result<&Couch, couch::Error> {
        self.couch.at(place.couch_cluster)
    }

    /// Makes the global databases with their indexes and views. May be repeated.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn prepare(&self) -> Result<(), couch::Error> {
        for database in [
            &self.instances,
            &self.claims,
            &self.operations,
            &self.records,
        ] {
            database.couch().create_database(database.name()).await?;
        }
        ensure_designs(&self.instances, INSTANCES_INDEXES, INSTANCES_VIEWS).await?;
        ensure_designs(
            &self.operations,
            &[OPEN_OPERATIONS, OPERATIONS_BY_TIME, DUE_OPERATIONS],
            &[],
        )
        .await
    }

    // Claims

    /// Claims a host. Only one claimant wins.
    ///
    /// # Errors
    /// When the database fails; the claim may then be ours all the same.
    pub async fn claim(&self, host: &str, claim: &Claim) -> Result<Claiming<Claim>, couch::Error> {
        self.claims
            .claim(host, claim, |found: &Claim| {
                found.operation == claim.operation && found.instance == claim.instance
            })
            .await
    }

    /// Reads who has a host.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim_of(&self, host: &str) -> Result<Option<Claim>, couch::Error> {
        Ok(self.claims.get(host).await?.map(|document| document.body))
    }

    /// Claims a host for an instance that exists already, whoever did so before.
    ///
    /// # Errors
    /// When the database fails; the claim may then be made all the same.
    pub async fn claim_for_instance(
        &self,
        host: &str,
        claim: &Claim,
    ) -> Result<Claiming<Claim>, couch::Error> {
        self.claims
            .claim(host, claim, |found: &Claim| {
                found.instance == claim.instance
            })
            .await
    }

    /// Reads who has which of some hosts, in one call. It may lag: claims decide.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claims_of(&self, hosts: &[&str]) -> Result<HashMap<String, Claim>, couch::Error> {
        let found = self.claims.get_many(hosts).await?;
        Ok(found
            .into_iter()
            .map(|(host, document)| (host, document.body))
            .collect())
    }

    /// Gives a host back if `is_ours` says so of its claim. Whether there was such a claim.
    ///
    /// # Errors
    /// When a claim of ours may still be there.
    pub async fn release(
        &self,
        host: &str,
        is_ours: impl Fn(&Claim) -> bool + Send + Sync,
    ) -> Result<bool, couch::Error> {
        self.claims.release(host, is_ours).await
    }

    // Instances

    /// Reads the document of an instance.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn instance(
        &self,
        id: &str,
    ) -> Result<Option<Document<InstanceDocument>>, couch::Error> {
        self.instances.get(id).await
    }

    /// Reads the documents of some instances.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn instances(
        &self,
        ids: &[&str],
    ) -> Result<HashMap<String, Document<InstanceDocument>>, couch::Error> {
        self.instances.get_many(ids).await
    }

    /// Publishes an instance. One that is published already stays as it is: its secrets may have been
    /// read. What is published now.
    ///
    /// # Errors
    /// When the database fails; it may then be published all the same.
    pub async fn publish(
        &self,
        id: &str,
        document: InstanceDocument,
    ) -> Result<InstanceDocument, couch::Error> {
        match self.instances.claim(id, &document, |_| false).await? {
            Claiming::Won(_) => Ok(document),
            Claiming::Taken(published) => Ok(published),
        }
    }

    /// Flags an instance as being destroyed. Nothing to do when it is flagged or gone.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn flag_deleting(&self, id: &str) -> Result<(), couch::Error> {
        loop {
            let Some(mut found) = self.instance(id).await? else {
                return Ok(());
            };
            if found.body.deleting {
                return Ok(());
            }
            found.body.deleting = true;
            match self
                .instances
                .compare_and_set(id, &found.rev, &found.body)
                .await?
            {
                Exchange::Won(_) => return Ok(()),
                // Somebody changed it in between: the flag goes onto what they wrote.
                Exchange::Lost => {}
            }
        }
    }

    /// Removes the document of an instance. Whether there was one.
    ///
    /// # Errors
    /// When it may still be there.
    pub async fn unpublish(&self, id: &str) -> Result<bool, couch::Error> {
        self.instances.release(id, |_: &Value| true).await
    }

    /// The instances of which we know nothing: other software made them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unrecorded_instances(&self) -> Result<Vec<String>, couch::Error> {
        let known: HashSet<String> = self
            .records
            .all_docs(AllDocs::new())
            .map_ok(|row: Row| row.id)
            .try_collect()
            .await?;
        let mut unknown = self.instance_ids().await?;
        unknown.retain(|id| !known.contains(id));
        Ok(unknown)
    }

    /// How many instances there are: documents without design documents.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn count_instances(&self) -> Result<u64, couch::Error> {
        let count = self
            .instances
            .all_docs(AllDocs::new())
            .try_filter(|row: &Row| std::future::ready(!row.id.starts_with("_design/")))
            .try_fold(0_u64, |count, _| std::future::ready(Ok(count + 1)))
            .await?;
        Ok(count)
    }

    // Records

    /// Reads what we know of an instance.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn record(&self, id: &str) -> Result<Option<Document<Record>>, couch::Error> {
        self.records.get(id).await
    }

    /// Writes down a new instance.
    ///
    /// # Errors
    /// When the database fails; it may then be written all the same.
    pub async fn write_record(&self, id: &str, record: &Record) -> Result<(), couch::Error> {
        match self
            .records
            .claim(id, record, |found: &Record| {
                found.created_by == record.created_by
            })
            .await?
        {
            Claiming::Won(_) | Claiming::Taken(_) => Ok(()),
        }
    }

    /// Replaces what we know of an instance, if it is still at `rev`.
    ///
    /// # Errors
    /// When the database fails and it stays open who won.
    pub async fn replace_record(
        &self,
        id: &str,
        rev: &Rev,
        record: &Record,
    ) -> Result<Exchange, couch::Error> {
        self.records.compare_and_set(id, rev, record).await
    }

    /// Removes what we know of an instance. Whether there was anything.
    ///
    /// # Errors
    /// When it may still be there.
    pub async fn remove_record(&self, id: &str) -> Result<bool, couch::Error> {
        self.records.release(id, |_: &Value| true).await
    }

    /// Some records in the order of creation, from the one after `after`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn records_after(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Document<Record>>, couch::Error> {
        let mut query = AllDocs::new().limit(limit);
        if let Some(after) = after {
            // The next possible id after this one.
            query = query.from(format!("{after}\u{0}"));
        }
        self.records.all_docs_with_bodies(query).try_collect().await
    }

    // Operations

    /// Writes down a new operation, unless there is one of that id already.
    ///
    /// # Errors
    /// When the database fails; it may then be written all the same.
    pub async fn accept(
        &self,
        id: &str,
        operation: &Operation,
    ) -> Result<Claiming<Operation>, couch::Error> {
        self.operations
            .claim(id, operation, |found: &Operation| {
                found.instance == operation.instance
                    && found.arguments_mac == operation.arguments_mac
                    && found.phase == operation.phase
                    && found.created_at == operation.created_at
            })
            .await
    }

    /// Reads an operation.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn operation(&self, id: &str) -> Result<Option<Document<Operation>>, couch::Error> {
        self.operations.get(id).await
    }

    /// A transition: replaces an operation, if it is still at `rev`.
    ///
    /// # Errors
    /// When the database fails and it stays open who won.
    pub async fn transition(
        &self,
        id: &str,
        rev: &Rev,
        operation: &Operation,
    ) -> Result<Exchange, couch::Error> {
        self.operations.compare_and_set(id, rev, operation).await
    }

    /// The operations that somebody still has to look at, the oldest first. It may lag: who acts on one
    /// has to win its transition first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_operations(&self) -> Result<Vec<Document<Operation>>, couch::Error> {
        let query = Find::new(json!({"open": true, "created_at": {"$gt": null}}))
            .sort([couch::Sort::Ascending("created_at".to_owned())])
            .use_index("open", None);
        self.operations.find(query).try_collect().await
    }

    /// Reads an operation whose owner has lost a write: who wrote instead? A reading by id shows the leaf
    /// that wins for now, which may be one of a writer that has lost and steps back in a moment.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn settled_operation(&self, id: &str) -> Result<Settled, Error> {
        let leaves = self.operations.leaves(id).await?;
        let mut alive = leaves.into_iter().filter(|leaf| !leaf.deleted);
        Ok(match (alive.next(), alive.next()) {
            (None, _) => Settled::Missing,
            (Some(_), Some(_)) => Settled::Contested,
            (Some(leaf), None) => Settled::One(Box::new(Document {
                id: id.to_owned(),
                rev: leaf.rev,
                body: serde_json::from_value(leaf.body)?,
            })),
        })
    }

    /// Operations, the newest first, from those accepted at `until` (all without it); only those that
    /// somebody still has to look at, with `open`. They are read by pages, as far as they are asked for.
    pub fn newest_operations(
        &self,
        until: Option<&str>,
        open: bool,
        page: usize,
    ) -> impl Stream<Item = Result<Document<Operation>, couch::Error>> + Send + use<> {
        let created_at = match until {
            Some(until) => json!({"$lte": until}),
            None => json!({"$gt": null}),
        };
        let (selector, index) = if open {
            (json!({"open": true, "created_at": created_at}), "open")
        } else {
            (json!({"created_at": created_at}), "by-created-at")
        };
        let query = Find::new(selector)
            .sort([couch::Sort::Descending("created_at".to_owned())])
            .use_index(index, None)
            .page_size(page);
        self.operations.find(query)
    }

    /// The operations that were accepted at `until` or before, the oldest first.
    pub fn operations_until(
        &self,
        until: &str,
    ) -> impl Stream<Item = Result<Document<Operation>, couch::Error>> + Send + use<> {
        let query = Find::new(json!({"created_at": {"$lte": until}}))
            .sort([couch::Sort::Ascending("created_at".to_owned())])
            .use_index("by-created-at", None);
        self.operations.find(query)
    }

    /// Forgets an operation that has ended, if it is still at `rev`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget(&self, id: &str, rev: &Rev) -> Result<Exchange, couch::Error> {
        self.operations.compare_and_delete(id, rev).await
    }

    // Databases of instances

    /// Makes one database of an instance with its indexes, views and first documents, in two requests.
    /// May be repeated. Returns its name and how many documents it must hold at least.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn make_database(
        &self,
        place: Place<'_>,
        doctype: &str,
        indexes: &[Index],
        views: &[View],
        documents: &[(String, Map<String, Value>)],
    ) -> Result<(String, u64), Error> {
        let couch = self.couch(place)?;
        let name = DbName::instance(place.prefix, doctype)?;
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

    /// The owner's settings.
    ///
    /// # Errors
    /// When the database fails. Settings whose database is gone (the instance is being destroyed) are
    /// none.
    pub async fn settings(
        &self,
        place: Place<'_>,
    ) -> Result<Option<Document<Map<String, Value>>>, couch::Error> {
        let name = DbName::instance(place.prefix, SETTINGS)?;
        match self.couch(place)?.database(&name).get(SETTINGS_ID).await {
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

async fn ensure_designs(
    database: &Database,
    indexes: &[Index],
    views: &[View],
) -> Result<(), couch::Error> {
    database.bulk_ensure(&designs(indexes, views)?).await?;
    Ok(())
}
