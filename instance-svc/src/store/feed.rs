//! Changes that other software makes to the documents of instances.

use std::collections::HashMap;

use couch::{AllDocs, Change, ChangesQuery, Document, Feed, Row, Since};
use futures::{Stream, TryStreamExt as _};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Store, host_feeds::MARKER};
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

    /// The changes of the documents of instances after `since`, without end.
    pub(crate) fn instance_changes(
        &self,
        since: String,
    ) -> impl Stream<Item = Feed> + Send + use<> {
        let query = ChangesQuery::since(Since::Sequence(since)).include_docs();
        self.instances.changes(query)
    }

    /// The documents of some instances. One that cannot be read does not affect the others.
    pub async fn readable_instances(
        &self,
        ids: &[&str],
    ) -> Result<Vec<Document<InstanceDocument>>, couch::Error> {
        let found = self.instances.get_many(ids).await?;
        Ok(readable(found).collect())
    }

    /// The records of some instances. One that cannot be read does not affect the others.
    pub async fn readable_records(
        &self,
        ids: &[&str],
    ) -> Result<HashMap<String, Document<Record>>, couch::Error> {
        let found = self.records.get_many(ids).await?;
        Ok(readable(found)
            .map(|record| (record.id.clone(), record))
            .collect())
    }
}

/// Those documents that can be read. The log tells of the others.
pub(super) fn readable<T: DeserializeOwned>(
    found: HashMap<String, Document<Value>>,
) -> impl Iterator<Item = Document<T>> {
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
        })
}

/// A change of the document of an instance.
#[derive(Debug)]
pub(crate) enum InstanceChange {
    /// It is written.
    Written(String, Box<InstanceDocument>),
    /// It is written, and cannot be read.
    Unreadable(String),
    /// It is deleted.
    Gone(String),
}

impl InstanceChange {
    /// What a change in `global/instances` says of an instance; `None` when it is about something else.
    pub(crate) fn of(change: Change) -> Option<Self> {
        let Change {
            id, doc, deleted, ..
        } = change;
        if !is_instance(&id) {
            return None;
        }
        if deleted {
            return Some(Self::Gone(id));
        }
        Some(match serde_json::from_value(doc.unwrap_or_default()) {
            Ok(document) => Self::Written(id, document),
            Err(_) => Self::Unreadable(id),
        })
    }

    /// The id of the instance.
    pub(crate) fn id(&self) -> &str {
        match self {
            Self::Written(id, _) | Self::Unreadable(id) | Self::Gone(id) => id,
        }
    }
}

/// Whether a document in `global/instances` is one of an instance: neither a design document nor a marker.
fn is_instance(id: &str) -> bool {
    !id.starts_with('_') && !id.starts_with(MARKER)
}
