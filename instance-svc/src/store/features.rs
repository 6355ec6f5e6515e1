//! The feature flags of contexts and of all instances: `global/io-cozy-settings`, which other software has, too.

use couch::{ClaimOutcome, Database, DbName, Document, Exchange, Rev};
use serde_json::{Map, Value};

use super::Store;

const DATABASE: &str = "io-cozy-settings";

/// Whose flags a document holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FlagsOf<'a> {
    /// Those of all instances.
    Everyone,
    /// Those of a context.
    Context(&'a str),
}

impl FlagsOf<'_> {
    fn id(self) -> String {
        match self {
            Self::Everyone => "io.cozy.settings.flags.default".to_owned(),
            Self::Context(name) => format!("io.cozy.settings.flags.context.{name}"),
        }
    }
}

impl Store {
    fn shared_settings(&self) -> Result<Database, couch::Error> {
        Ok(self.couch.global().database(&DbName::global(DATABASE)?))
    }

    /// The flags of a context or of all instances. `None` when there never were any.
    pub(crate) async fn flags(
        &self,
        of: FlagsOf<'_>,
    ) -> Result<Option<Document<Map<String, Value>>>, couch::Error> {
        match self.shared_settings()?.get(&of.id()).await {
            Err(couch::Error::DatabaseMissing { .. }) => Ok(None),
            found => found,
        }
    }

    /// Replaces these flags, if they are still at `rev`; `None` writes the first ones.
    ///
    /// # Errors
    /// When the database fails; the write may have succeeded all the same.
    pub(crate) async fn write_flags(
        &self,
        of: FlagsOf<'_>,
        rev: Option<&Rev>,
        flags: &Map<String, Value>,
    ) -> Result<Exchange, couch::Error> {
        let database = self.shared_settings()?;
        if let Some(rev) = rev {
            return database.compare_and_set(&of.id(), rev, flags).await;
        }
        database.couch().create_database(database.name()).await?;
        let first: ClaimOutcome<Map<String, Value>> = database
            .claim(&of.id(), flags, |found| found == flags)
            .await?;
        Ok(match first {
            ClaimOutcome::Won(rev) => Exchange::Won(rev),
            ClaimOutcome::Taken(_) => Exchange::Lost,
        })
    }
}
