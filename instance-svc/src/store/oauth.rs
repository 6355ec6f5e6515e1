//! OAuth clients, and the codes with which they fetch their tokens.

use couch::{BulkDoc, Document, Exchange};
use futures::TryStreamExt as _;
use identity::grant::Code;
use serde_json::{Map, Value};

use super::Store;
use crate::domain::location::DatabaseLocation;

/// The doctype of OAuth clients.
const CLIENTS: &str = "io.cozy.oauth.clients";
/// The doctype of codes. Its database is made with the first of them, as in other software.
const CODES: &str = "io.cozy.oauth.access_codes";

impl Store {
    /// An OAuth client of an instance.
    pub async fn oauth_client(
        &self,
        location: DatabaseLocation<'_>,
        id: &str,
    ) -> Result<Option<Document<Map<String, Value>>>, couch::Error> {
        self.of_instance(location, CLIENTS, id).await
    }

    /// All OAuth clients of an instance.
    pub(crate) async fn oauth_clients(
        &self,
        location: DatabaseLocation<'_>,
    ) -> Result<Vec<Document<Map<String, Value>>>, couch::Error> {
        match self.all_of(location, CLIENTS)?.try_collect().await {
            Err(couch::Error::DatabaseMissing { .. }) => Ok(Vec::new()),
            read => read,
        }
    }

    /// Writes a new OAuth client of an instance. A client that has this id already is left as it is.
    ///
    /// # Errors
    /// When the database fails; the write may have succeeded all the same.
    pub(crate) async fn add_oauth_client(
        &self,
        location: DatabaseLocation<'_>,
        id: &str,
        client: &Map<String, Value>,
    ) -> Result<(), couch::Error> {
        self.database_of(location, CLIENTS)?
            .bulk_create_missing(&[BulkDoc::create(id, client)?])
            .await
    }

    /// Replaces an OAuth client, if it is still at its revision.
    ///
    /// # Errors
    /// When the database fails; the write may have succeeded all the same.
    pub async fn replace_oauth_client(
        &self,
        location: DatabaseLocation<'_>,
        client: &Document<Map<String, Value>>,
    ) -> Result<Exchange, couch::Error> {
        self.database_of(location, CLIENTS)?
            .compare_and_set(&client.id, &client.rev, &client.body)
            .await
    }

    /// Removes an OAuth client, if it is still at its revision.
    ///
    /// # Errors
    /// When the database fails; the client may be gone all the same.
    pub(crate) async fn remove_oauth_client(
        &self,
        location: DatabaseLocation<'_>,
        client: &Document<Map<String, Value>>,
    ) -> Result<Exchange, couch::Error> {
        self.database_of(location, CLIENTS)?
            .compare_and_delete(&client.id, &client.rev)
            .await
    }

    /// Writes a new code, which nobody else has.
    ///
    /// # Errors
    /// When the database fails; the write may have succeeded all the same.
    pub(crate) async fn add_code(
        &self,
        location: DatabaseLocation<'_>,
        code: &str,
        document: &Code,
    ) -> Result<(), couch::Error> {
        self.add_to(location, CODES, &BulkDoc::create(code, document)?)
            .await
    }

    /// A code. `None` also for a document that is none.
    pub(crate) async fn code(
        &self,
        location: DatabaseLocation<'_>,
        code: &str,
    ) -> Result<Option<Document<Code>>, couch::Error> {
        let found = self.of_instance::<Value>(location, CODES, code).await?;
        Ok(found.and_then(readable))
    }

    /// All codes that nobody has used.
    pub(crate) async fn codes(
        &self,
        location: DatabaseLocation<'_>,
    ) -> Result<Vec<Document<Code>>, couch::Error> {
        let all = self.all_of::<Value>(location, CODES)?;
        let all: Vec<Document<Value>> = match all.try_collect().await {
            Err(couch::Error::DatabaseMissing { .. }) => return Ok(Vec::new()),
            read => read?,
        };
        Ok(all.into_iter().filter_map(readable).collect())
    }

    /// Uses a code up. Only one caller wins.
    ///
    /// # Errors
    /// When the database fails; the code may be gone all the same.
    pub(crate) async fn use_up(
        &self,
        location: DatabaseLocation<'_>,
        code: &Document<Code>,
    ) -> Result<Exchange, couch::Error> {
        self.database_of(location, CODES)?
            .compare_and_delete(&code.id, &code.rev)
            .await
    }
}

/// A code that can be read. What other software writes in another form is left alone.
fn readable(found: Document<Value>) -> Option<Document<Code>> {
    let Document { id, rev, body } = found;
    let body = serde_json::from_value(body).ok()?;
    Some(Document { id, rev, body })
}
