//! Changes to the documents of an existing instance.

use couch::{ClaimOutcome, DbName, Exchange, Rev};
use serde_json::{Map, Value};

use super::Store;
use crate::domain::{
    databases::SETTINGS,
    instance::{InstanceDocument, SETTINGS_ID},
    location::DatabaseLocation,
};

impl Store {
    /// Replaces the document of an instance, if it is still at `rev`.
    ///
    /// # Errors
    /// When the database fails; the write may have succeeded all the same.
    pub async fn replace_instance(
        &self,
        id: &str,
        rev: &Rev,
        document: &InstanceDocument,
    ) -> Result<Exchange, couch::Error> {
        self.instances.compare_and_set(id, rev, document).await
    }

    /// Replaces the owner's settings, if they are still at `rev`. `None` writes the first ones; the database is
    /// made when it is missing.
    ///
    /// # Errors
    /// When the database fails; the write may have succeeded all the same.
    pub async fn write_settings(
        &self,
        location: DatabaseLocation<'_>,
        rev: Option<&Rev>,
        settings: &Map<String, Value>,
    ) -> Result<Exchange, couch::Error> {
        let name = DbName::instance(location.prefix, SETTINGS)?;
        let couch = self.couch(location)?;
        let database = couch.database(&name);
        if let Some(rev) = rev {
            return database.compare_and_set(SETTINGS_ID, rev, settings).await;
        }
        couch.create_database(&name).await?;
        let first: ClaimOutcome<Map<String, Value>> = database
            .claim(SETTINGS_ID, settings, |found| found == settings)
            .await?;
        Ok(match first {
            ClaimOutcome::Won(rev) => Exchange::Won(rev),
            ClaimOutcome::Taken(_) => Exchange::Lost,
        })
    }
}
