//! The settings of the vault.

use couch::{ClaimOutcome, DbName, Document, Exchange, Removal, Rev};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Store;
use crate::domain::{
    databases::SETTINGS, location::DatabaseLocation, passphrase::credentials::VAULT_SETTINGS_ID,
};

impl Store {
    /// The settings of the vault.
    pub async fn vault_settings(
        &self,
        location: DatabaseLocation<'_>,
    ) -> Result<Option<Document<Map<String, Value>>>, couch::Error> {
        self.of_instance(location, SETTINGS, VAULT_SETTINGS_ID)
            .await
    }

    /// Replaces the settings of the vault, if they are still at `rev`; `None` writes the first ones.
    ///
    /// # Errors
    /// When the database fails; the write may have succeeded all the same.
    pub async fn write_vault_settings(
        &self,
        location: DatabaseLocation<'_>,
        rev: Option<&Rev>,
        settings: &Map<String, Value>,
    ) -> Result<Exchange, couch::Error> {
        let name = DbName::instance(location.prefix, SETTINGS)?;
        let database = self.couch(location)?.database(&name);
        if let Some(rev) = rev {
            return database
                .compare_and_set(VAULT_SETTINGS_ID, rev, settings)
                .await;
        }
        let first: ClaimOutcome<Map<String, Value>> = database
            .claim(VAULT_SETTINGS_ID, settings, |found| found == settings)
            .await?;
        Ok(match first {
            ClaimOutcome::Won(rev) => Exchange::Won(rev),
            ClaimOutcome::Taken(_) => Exchange::Lost,
        })
    }

    /// Removes a database of an instance. Returns whether there was one.
    ///
    /// # Errors
    /// When the database fails; the database may still exist.
    pub async fn remove_database(
        &self,
        location: DatabaseLocation<'_>,
        doctype: &str,
    ) -> Result<bool, couch::Error> {
        let name = DbName::instance(location.prefix, doctype)?;
        let removal = self.couch(location)?.delete_database(&name).await?;
        Ok(removal == Removal::Deleted)
    }

    /// A document of an instance; `None` also when its database does not exist.
    pub(super) async fn of_instance<T: DeserializeOwned>(
        &self,
        location: DatabaseLocation<'_>,
        doctype: &str,
        id: &str,
    ) -> Result<Option<Document<T>>, couch::Error> {
        let name = DbName::instance(location.prefix, doctype)?;
        match self.couch(location)?.database(&name).get(id).await {
            Err(couch::Error::DatabaseMissing { .. }) => Ok(None),
            found => found,
        }
    }
}
