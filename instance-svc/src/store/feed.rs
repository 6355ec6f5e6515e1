//! What other software does to the documents of instances.

use std::collections::HashMap;

use couch::{AllDocs, ChangesQuery, Document, Row, Since};
use futures::TryStreamExt as _;
use serde_json::Value;

use super::Store;
use crate::domain::{instance::InstanceDocument, record::Record};

impl Store {
    /// The ids of all instances.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn instance_ids(&self) -> Result<Vec<String>, couch::Error> {
        self.instances
            .all_docs(AllDocs::new())
            .map_ok(|row: Row| row.id)
            .try_filter(|id| std::future::ready(is_instance(id)))
            .try_collect()
            .await
    }

    /// Up to where the feed of the instances' changes has come.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn present_sequence(&self) -> Result<String, couch::Error> {
        let query = ChangesQuery::since(Since::Now);
        Ok(self.instances.changes_page(&query, 1).await?.1)
    }

    /// The ids of instances whose documents have changed after `since`, those that are gone left out, and
    /// up to where the feed was read. None when nothing has changed.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn changed_instances(
        &self,
        since: &str,
        limit: usize,
    ) -> Result<(Vec<String>, String), couch::Error> {
        let mut since = since.to_owned();
        loop {
            let query = ChangesQuery::since(Since::Sequence(since.clone()));
            let (changes, next) = self.instances.changes_page(&query, limit).await?;
            let end = changes.is_empty();
            let ids: Vec<String> = changes
                .into_iter()
                .filter(|change| !change.deleted && is_instance(&change.id))
                .map(|change| change.id)
                .collect();
            // A page of nothing but what is gone is not the end.
            if end || !ids.is_empty() {
                return Ok((ids, next));
            }
            since = next;
        }
    }

    /// The documents of some instances. One that cannot be read hides nothing but itself.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn readable_instances(
        &self,
        ids: &[&str],
    ) -> Result<Vec<Document<InstanceDocument>>, couch::Error> {
        let found: HashMap<String, Document<Value>> = self.instances.get_many(ids).await?;
        let readable =
            found
                .into_values()
                .filter_map(|found| match serde_json::from_value(found.body) {
                    Ok(body) => Some(Document {
                        id: found.id,
                        rev: found.rev,
                        body,
                    }),
                    Err(error) => {
                        tracing::warn!(
                            instance = found.id,
                            error = &error as &dyn std::error::Error,
                            "a document of an instance cannot be read"
                        );
                        None
                    }
                });
        Ok(readable.collect())
    }

    /// What we know of some instances.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn records(
        &self,
        ids: &[&str],
    ) -> Result<HashMap<String, Document<Record>>, couch::Error> {
        self.records.get_many(ids).await
    }
}

fn is_instance(id: &str) -> bool {
    !id.starts_with("_design/")
}
