//! Changes of the documents of an instance that exists.

use couch::{ClaimOutcome as Claiming, DbName, Document, Exchange, Find, Rev};
use futures::TryStreamExt as _;
use serde_json::{Map, Value, json};

use super::Store;
use crate::domain::{
    databases::SETTINGS,
    instance::{InstanceDocument, SETTINGS_ID},
    operation::Operation,
    place::Place,
};

impl Store {
    /// Replaces the document of an instance, if it is still at `rev`.
    ///
    /// # Errors
    /// When the database fails and it stays open who won.
    pub async fn replace_instance(
        &self,
        id: &str,
        rev: &Rev,
        document: &InstanceDocument,
    ) -> Result<Exchange, couch::Error> {
        self.instances.compare_and_set(id, rev, document).await
    }

    /// Replaces the owner's settings, if they are still at `rev`; `None` writes the first ones, in a
    /// database that is made when it is missing.
    ///
    /// # Errors
    /// When the database fails and it stays open who won.
    pub async fn write_settings(
        &self,
        place: Place<'_>,
        rev: Option<&Rev>,
        settings: &Map<String, Value>,
    ) -> Result<Exchange, couch::Error> {
        let name = DbName::instance(place.prefix, SETTINGS)?;
        let couch = self.couch(place)?;
        let database = couch.database(&name);
        if let Some(rev) = rev {
            return database.compare_and_set(SETTINGS_ID, rev, settings).await;
        }
        couch.create_database(&name).await?;
        let first: Claiming<Map<String, Value>> =
            database.claim(SETTINGS_ID, settings, |_| false).await?;
        Ok(match first {
            Claiming::Won(rev) => Exchange::Won(rev),
            Claiming::Taken(_) => Exchange::Lost,
        })
    }

    /// The operations that were to be looked at once more before `now`, RFC 3339, and are closed: soft
    /// deletions. It may lag: the instance's record decides.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn due_operations(
        &self,
        now: &str,
    ) -> Result<Vec<Document<Operation>>, couch::Error> {
        let query =
            Find::new(json!({"look_again": {"$lte": now}, "open": false})).use_index("due", None);
        self.operations.find(query).try_collect().await
    }
}
