//! An instance with all its documents.

use couch::Document;
use serde_json::{Map, Value};

use super::Store;
use crate::domain::{claim::NameKind, etag::etag, instance::InstanceDocument, record::Record};

/// The documents of an instance.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The id that its documents share.
    pub id: String,
    /// The instance document.
    pub document: Document<InstanceDocument>,
    /// The record; `None` for an instance that other software has just made.
    pub record: Option<Document<Record>>,
    /// The owner's settings, with their revision.
    pub settings: Option<Document<Map<String, Value>>>,
    /// How the requested name belongs to the instance.
    pub kind: NameKind,
}

impl Found {
    /// The etag. It changes with every change of the documents that Hamlet writes.
    #[must_use]
    pub(crate) fn etag(&self) -> String {
        // The record's copies of the document's fields may be updated a moment later.
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
    /// Reads the documents of an instance except the owner's settings; `None` when it does not exist.
    pub(crate) async fn found_without_settings(
        &self,
        id: &str,
        kind: NameKind,
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

    /// Reads all documents of an instance; `None` when it does not exist.
    pub(crate) async fn found(
        &self,
        id: &str,
        kind: NameKind,
    ) -> Result<Option<Found>, couch::Error> {
        let Some(mut found) = self.found_without_settings(id, kind).await? else {
            return Ok(None);
        };
        found.settings = self.settings(found.document.body.location()).await?;
        Ok(Some(found))
    }
}
