//! An instance as its documents were read.

use couch::Document;
use serde_json::{Map, Value};

use super::Store;
use crate::domain::{claim::Kind, etag::etag, instance::InstanceDocument, record::Record};

/// All that is known of an instance.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The id of its documents.
    pub id: String,
    /// Its own document.
    pub document: Document<InstanceDocument>,
    /// What Hamlet knows beyond; `None` for one that other software made just now.
    pub record: Option<Document<Record>>,
    /// The owner's settings, with their revision.
    pub settings: Option<Document<Map<String, Value>>>,
    /// What the name that was asked for is to it.
    pub kind: Kind,
}

impl Found {
    /// Changes with every change of the documents that are ours to change.
    #[must_use]
    pub(crate) fn etag(&self) -> String {
        // Copies of the document's fields may follow it a moment later.
        let record = self
            .record
            .as_ref()
            .map(|record| record.body.following(&self.document.body));
        etag(
            self.document.rev.as_str(),
            record.as_ref(),
            self.settings.as_ref().map(|settings| settings.rev.as_str()),
        )
    }
}

impl Store {
    /// Reads the documents of an instance, without the owner's settings; `None` when there is none.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn found_without_settings(
        &self,
        id: &str,
        kind: Kind,
    ) -> Result<Option<Found>, couch::Error> {
        let (document, record) = tokio::try_join!(self.instance(id), self.record(id))?;
        Ok(document.map(|document| Found {
            id: id.to_owned(),
            document,
            record,
            settings: None,
            kind,
        }))
    }

    /// Reads all documents of an instance; `None` when there is none.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn found(&self, id: &str, kind: Kind) -> Result<Option<Found>, couch::Error> {
        let Some(mut found) = self.found_without_settings(id, kind).await? else {
            return Ok(None);
        };
        found.settings = self.settings(found.document.body.place()).await?;
        Ok(Some(found))
    }
}
