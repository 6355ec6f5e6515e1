//! Changes that other software makes to the documents of instances.

use std::collections::HashMap;

use couch::{AllDocs, ChangesQuery, Document, Row, Since};
use futures::TryStreamExt as _;
use serde_json::Value;

use super::Store;
use crate::domain::{instance::InstanceDocument, record::Record};

impl Store {
    /// The ids of all instances.
    pub async fn instance_ids(&self) -> Result<Vec<String>, couch::Error> {
        self.instances
            .all_docs(AllDocs::new())
            .map_ok(|row: Row| row.id)
            .try_filter(|id| std::future::ready(is_instance(id)))
            .try_collect()
            .await
    }

    /// The current end of the feed of the instances' changes.
    pub async fn present_sequence(&self) -> Result<String, couch::Error> {
        let query = ChangesQuery::since(Since::Now);
        Ok(self.instances.changes_page(&query, 1).await?.1)
    }

    /// The ids of the instances whose documents have changed after `since`, without deleted ones, and the
    /// position up to which the feed was read. `None` when nothing has changed.
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
            // A page that holds only deleted documents is not the end of the feed.
            if end || !ids.is_empty() {
                return Ok((ids, next));
            }
            since = next;
        }
    }

    /// The documents of some instances. One that cannot be read does not affect the others.
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

    /// The records of some instances.
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
