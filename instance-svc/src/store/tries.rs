//! Counters of wrong tries that have reached their limit, for the other replicas: one document in `global/hamlet-tries`.

use std::collections::BTreeMap;

use couch::{BulkDoc, Database, DbName, Document, Exchange};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Store;

/// The database. The first counter at its limit makes it.
const DATABASE: &str = "hamlet-tries";
/// The document.
const ID: &str = "counters";

/// The counters by their names.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Counters {
    /// Each with its last try.
    #[serde(default)]
    pub(crate) counters: BTreeMap<String, Counter>,
}

/// A counter that has no free tries left.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Counter {
    /// How many tries were wrong.
    pub(crate) tries: u32,
    /// When a replica noted that, in seconds since 1970.
    pub(crate) at: i64,
}

impl Store {
    fn of_tries(&self) -> Result<Database, couch::Error> {
        let couch = self.couch.global();
        Ok(couch.database(&DbName::global(DATABASE)?))
    }

    /// The counters of all replicas. `None` before the first is at its limit.
    pub(crate) async fn tries(&self) -> Result<Option<Document<Counters>>, couch::Error> {
        let found = match self.of_tries()?.get::<Value>(ID).await {
            Err(couch::Error::DatabaseMissing { .. }) => None,
            found => found?,
        };
        // What another version has written in another form is as good as nothing, and is replaced.
        Ok(found.map(|Document { id, rev, body }| Document {
            id,
            rev,
            body: serde_json::from_value(body).unwrap_or_default(),
        }))
    }

    /// Writes the counters in the place of those that were read. Another replica may be faster; then nothing is written.
    pub(crate) async fn replace_tries(
        &self,
        before: Option<&Document<Counters>>,
        counters: &Counters,
    ) -> Result<(), couch::Error> {
        let database = self.of_tries()?;
        if let Some(before) = before {
            return match database.compare_and_set(ID, &before.rev, counters).await? {
                Exchange::Won(_) | Exchange::Lost => Ok(()),
            };
        }
        self.couch.global().create_database(database.name()).await?;
        let document = BulkDoc::create(ID, counters)?;
        database.bulk_create_missing(&[document]).await
    }
}
