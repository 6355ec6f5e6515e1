//! Instances: their documents in `global/instances`, their records in `global/hamlet-instances`.

use std::collections::HashMap;

use couch::{AllDocs, ClaimOutcome, DbName, Document, Exchange, Rev, Row};
use futures::TryStreamExt as _;

use super::{Store, newcomers::Newcomer};
use crate::{
    domain::{
        claim::Wanted, instance::InstanceDocument, location::DatabaseLocation, record::Record,
    },
    error::Error,
};

impl Store {
    /// Reads the document of an instance. One that was removed, and came back with a node of the database, is
    /// removed again.
    pub async fn instance(
        &self,
        id: &str,
    ) -> Result<Option<Document<InstanceDocument>>, couch::Error> {
        self.instances.get_unless_removed(id).await
    }

    /// Reads the documents of some instances.
    pub async fn instances(
        &self,
        ids: &[&str],
    ) -> Result<HashMap<String, Document<InstanceDocument>>, couch::Error> {
        self.instances.get_many(ids).await
    }

    /// Publishes an instance and returns the published document. A document that exists already is kept,
    /// because its secrets may have been read.
    ///
    /// # Errors
    /// When the database fails; the instance may be published all the same.
    pub async fn publish(
        &self,
        id: &str,
        document: InstanceDocument,
    ) -> Result<InstanceDocument, couch::Error> {
        match self
            .instances
            .claim(id, &document, |found| *found == document)
            .await?
        {
            ClaimOutcome::Won(_) => Ok(document),
            ClaimOutcome::Taken(published) => Ok(published),
        }
    }

    /// Flags an instance as being destroyed. Does nothing when it is flagged already or does not exist. Returns the names
    /// in its document.
    pub async fn flag_deleting(&self, id: &str) -> Result<Vec<Wanted>, couch::Error> {
        loop {
            let Some(mut found) = self.instance(id).await? else {
                return Ok(Vec::new());
            };
            if found.body.deleting {
                return Ok(found.body.wanted());
            }
            found.body.deleting = true;
            match self
                .instances
                .compare_and_set(id, &found.rev, &found.body)
                .await?
            {
                Exchange::Won(_) => return Ok(found.body.wanted()),
                // Another writer changed the document meanwhile: the flag is added to what it wrote.
                Exchange::Lost => {}
            }
        }
    }

    /// Removes the document of an instance for good. Returns whether there was one.
    ///
    /// # Errors
    /// When the database fails; the document may still exist.
    pub async fn unpublish(&self, id: &str) -> Result<bool, couch::Error> {
        self.instances.remove_for_good(id).await
    }

    /// The ids of all records.
    pub async fn recorded_ids(&self) -> Result<Vec<String>, couch::Error> {
        self.records
            .all_docs(AllDocs::new())
            .map_ok(|row: Row| row.id)
            .try_filter(|id| std::future::ready(!id.starts_with('_')))
            .try_collect()
            .await
    }

    /// Whether other software made an instance: it has no record, and neither its document nor a record was removed
    /// for good. What came back of an instance that was destroyed is removed again.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_instance_of_others(&self, id: &str) -> Result<bool, couch::Error> {
        // The list that showed no record may lag.
        let (document, record) = tokio::try_join!(self.instance(id), self.record(id))?;
        if document.is_none() || record.is_some() {
            return Ok(false);
        }
        if self.records.remove_returned(id).await? {
            self.unpublish(id).await?;
            return Ok(false);
        }
        Ok(true)
    }

    /// Whether there is a database of an instance.
    pub async fn has_database(&self, location: DatabaseLocation<'_>) -> Result<bool, couch::Error> {
        let below = format!("{}/", DbName::instance_prefix(location.prefix)?);
        let found = self.couch(location)?.databases_with_prefix(&below).await?;
        Ok(!found.is_empty())
    }

    /// Whether a server has databases with this prefix.
    ///
    /// # Errors
    /// When one of the servers does not answer.
    pub(crate) async fn has_databases_anywhere(&self, prefix: &str) -> Result<bool, couch::Error> {
        let below = format!("{}/", DbName::instance_prefix(prefix)?);
        for couch in self.couch.iter() {
            if !couch.databases_with_prefix(&below).await?.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether somebody has deleted the document of an instance: there is a tombstone, and nothing alive.
    pub(crate) async fn was_deleted(&self, id: &str) -> Result<bool, couch::Error> {
        let leaves = self.instances.leaves(id).await?;
        Ok(!leaves.is_empty() && leaves.iter().all(|leaf| leaf.deleted))
    }

    /// A newcomer that has the name whose claim would have this id, as its documents say now. There is none when the
    /// instance is gone, was destroyed and came back, or has no database.
    ///
    /// # Errors
    /// [`Error::NewcomersUnknown`]; otherwise when the database fails.
    pub(crate) async fn newcomer_with(&self, claim: &str) -> Result<Option<Newcomer>, Error> {
        for newcomer in self.newcomers.with_name(claim).await? {
            let id = &newcomer.instance;
            let (document, record) = tokio::try_join!(self.instance(id), self.record(id))?;
            let Some(document) = document.map(|found| found.body) else {
                continue;
            };
            let has_it = |names: Vec<Wanted>| names.iter().any(|name| name.id == claim);
            if !has_it(document.wanted()) {
                continue;
            }
            let is_new = match record {
                // Its names are being claimed, or another instance has them.
                Some(record) if has_it(record.body.wanted()) => {
                    let holder = self.claim_of(claim).await?;
                    holder.is_none_or(|holder| holder.instance == *id)
                }
                // It has got the name since.
                Some(_) => true,
                None => {
                    self.is_instance_of_others(id).await?
                        && self.has_database(document.location()).await?
                }
            };
            if is_new {
                return Ok(Some(newcomer));
            }
        }
        Ok(None)
    }

    /// The number of instances: documents without design documents.
    pub async fn count_instances(&self) -> Result<u64, couch::Error> {
        let count = self
            .instances
            .all_docs(AllDocs::new())
            .try_filter(|row: &Row| std::future::ready(!row.id.starts_with("_design/")))
            .try_fold(0_u64, |count, _| std::future::ready(Ok(count + 1)))
            .await?;
        Ok(count)
    }

    /// Reads the record of an instance, as [`Self::instance`] reads its document.
    pub async fn record(&self, id: &str) -> Result<Option<Document<Record>>, couch::Error> {
        self.records.get_unless_removed(id).await
    }

    /// Writes the record of a new instance. An existing record is kept with its later changes: the writer may
    /// be an owner that was paused and has resumed.
    ///
    /// # Errors
    /// When the database fails; the record may be written all the same.
    pub async fn write_record(&self, id: &str, record: &Record) -> Result<(), couch::Error> {
        match self
            .records
            .claim(id, record, |found: &Record| found == record)
            .await?
        {
            ClaimOutcome::Won(_) | ClaimOutcome::Taken(_) => Ok(()),
        }
    }

    /// Replaces the record of an instance, if it is still at `rev`.
    ///
    /// # Errors
    /// When the database fails; the write may have succeeded all the same.
    pub async fn replace_record(
        &self,
        id: &str,
        rev: &Rev,
        record: &Record,
    ) -> Result<Exchange, couch::Error> {
        self.records.compare_and_set(id, rev, record).await
    }

    /// Removes the record of an instance for good. Returns whether there was one.
    ///
    /// # Errors
    /// When the database fails; the record may still exist.
    pub async fn remove_record(&self, id: &str) -> Result<bool, couch::Error> {
        self.records.remove_for_good(id).await
    }

    /// Some records in the order of creation, beginning after `after`.
    pub async fn records_after(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Document<Record>>, couch::Error> {
        let mut query = AllDocs::new().limit(limit);
        if let Some(after) = after {
            // The smallest id greater than this one.
            query = query.from(format!("{after}\u{0}"));
        }
        self.records.all_docs_with_bodies(query).try_collect().await
    }
}
