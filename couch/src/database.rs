//! One database: reading and writing documents by id.

use std::fmt;

use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::document::{
    ABOVE_MARK, Document, Leaf, MARK, REMOVED, Rev, WITHDRAWN, Write, decode, decode_leaves,
    encode, split,
};
use crate::error::{Call, Result};
use crate::names::{DbName, encode_document_id};
use crate::server::Couch;
use crate::transport::{Request, Response};

/// A handle of a database, cheap to clone. The database need not exist: then calls fail with
/// [`crate::Error::DatabaseMissing`].
#[derive(Clone)]
pub struct Database {
    pub(crate) couch: Couch,
    pub(crate) name: DbName,
}

#[derive(Deserialize)]
struct WriteResponse {
    rev: Rev,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Database")
            .field(&self.name.as_str())
            .finish()
    }
}

impl Couch {
    /// A handle of the database `name`, which need not exist.
    #[must_use]
    pub fn database(&self, name: &DbName) -> Database {
        Database {
            couch: self.clone(),
            name: name.clone(),
        }
    }
}

impl Database {
    /// The name of the database.
    #[must_use]
    pub fn name(&self) -> &DbName {
        &self.name
    }

    /// The server of the database.
    #[must_use]
    pub fn couch(&self) -> &Couch {
        &self.couch
    }

    pub(crate) fn call(&self, verb: &'static str) -> Call {
        Call::database(verb, self.name.as_str())
    }

    pub(crate) fn path(&self, below: &str) -> String {
        format!("{}/{below}", self.name.encoded())
    }

    /// Reads the winning revision of a document, as a majority of the nodes has it. `None` if the document
    /// does not exist or is deleted.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] if the document cannot be deserialized as `T`.
    pub async fn get<T: DeserializeOwned>(&self, id: &str) -> Result<Option<Document<T>>> {
        self.read(id, None).await
    }

    /// Reads one revision of a document. `None` if it does not exist or was compacted away.
    ///
    /// # Errors
    /// As [`Database::get`].
    pub async fn get_with_rev<T: DeserializeOwned>(
        &self,
        id: &str,
        rev: &Rev,
    ) -> Result<Option<Document<T>>> {
        self.read(id, Some(rev)).await
    }

    /// Reads the winning revision of a document, and whether its tree has other leaves, live or deleted.
    pub(crate) async fn get_and_see_rivals(
        &self,
        id: &str,
    ) -> Result<Option<(Document<Value>, bool)>> {
        let call = self.call("get document");
        let request = Request::new(&call, Method::GET, self.path(&encode_document_id(id)?))
            .query("conflicts", "true")
            .query("deleted_conflicts", "true");
        let response = self.couch.transport.send_idempotent(&request).await?;
        if response.status == StatusCode::NOT_FOUND && !response.is_database_missing() {
            return Ok(None);
        }
        let document: Value = response.success(&call)?.json(&call)?;
        let has_rivals = ["_conflicts", "_deleted_conflicts"]
            .iter()
            .any(|member| document.get(member).is_some());
        let (id, rev, body) = split(&call, document)?;
        Ok(Some((Document { id, rev, body }, has_rivals)))
    }

    async fn read<T: DeserializeOwned>(
        &self,
        id: &str,
        rev: Option<&Rev>,
    ) -> Result<Option<Document<T>>> {
        let call = self.call("get document");
        let mut request = Request::new(&call, Method::GET, self.path(&encode_document_id(id)?));
        if let Some(rev) = rev {
            request = request.query("rev", rev.as_str());
        }
        let response = self.couch.transport.send_idempotent(&request).await?;
        if response.status == StatusCode::NOT_FOUND && !response.is_database_missing() {
            return Ok(None);
        }
        decode(&call, response.success(&call)?.json(&call)?).map(Some)
    }

    /// Writes a new document or, with `rev`, the successor of that revision. `_id` and `_rev` in `body` are
    /// ignored.
    ///
    /// The request is sent once. If the response is lost, [`crate::Error::is_outcome_unknown`] is true;
    /// [`Database::compare_and_set`] would find out whether the write succeeded.
    ///
    /// # Errors
    /// [`crate::Error::Encode`] if `body` is not a JSON object.
    pub async fn put<T: Serialize + ?Sized>(
        &self,
        id: &str,
        rev: Option<&Rev>,
        body: &T,
    ) -> Result<Write> {
        let call = self.call("put document");
        let mut members = encode(&call, body)?;
        members.insert("_id".to_owned(), json!(id));
        if let Some(rev) = rev {
            members.insert("_rev".to_owned(), json!(rev));
        }
        let request = Request::new(&call, Method::PUT, self.path(&encode_document_id(id)?))
            .json(&Value::Object(members));
        write_outcome(&call, &self.couch.transport.send_once(&request).await?)
    }

    /// Deletes a document by writing a tombstone as the successor of `rev`. Sent once, as
    /// [`Database::put`]. The outcome for a document that does not exist is [`Write::Conflict`].
    pub async fn delete(&self, id: &str, rev: &Rev) -> Result<Write> {
        let call = self.call("delete document");
        let request = Request::new(&call, Method::DELETE, self.path(&encode_document_id(id)?))
            .query("rev", rev.as_str());
        let response = self.couch.transport.send_once(&request).await?;
        if response.status == StatusCode::NOT_FOUND && !response.is_database_missing() {
            return Ok(Write::Conflict);
        }
        write_outcome(&call, &response)
    }

    /// Takes back a revision that lost a race: as [`Database::delete`], but the tombstone is marked, so that
    /// readers can distinguish it from a deletion of the document ([`Leaf::is_withdrawn`]).
    pub async fn withdraw(&self, id: &str, rev: &Rev) -> Result<Write> {
        let call = self.call("withdraw document");
        let request = Request::new(&call, Method::PUT, self.path(&encode_document_id(id)?))
            .json(&json!({ "_id": id, "_rev": rev, "_deleted": true, WITHDRAWN: true }));
        write_outcome(&call, &self.couch.transport.send_once(&request).await?)
    }

    /// Writes the tombstone of a document whose id is never used again.
    pub(crate) async fn write_removal(&self, id: &str, rev: &Rev) -> Result<Write> {
        let call = self.call("remove document");
        let tombstone = json!({ "_id": id, "_rev": rev, "_deleted": true, REMOVED: true });
        let request =
            Request::new(&call, Method::PUT, self.path(&encode_document_id(id)?)).json(&tombstone);
        write_outcome(&call, &self.couch.transport.send_once(&request).await?)
    }

    /// Writes the mark beside the tree of a document whose id is never used again, and where it `is_alone` a tombstone that
    /// wins over it. Returns whether a majority of the nodes has it.
    pub(crate) async fn write_mark(&self, id: &str, is_alone: bool) -> Result<bool> {
        let call = self.call("mark removed document");
        let tombstone = |rev| json!({ "_id": id, "_rev": rev, "_deleted": true, REMOVED: true });
        let above = is_alone.then(|| tombstone(ABOVE_MARK));
        let documents: Vec<Value> = above.into_iter().chain([tombstone(MARK)]).collect();
        let request = Request::new(&call, Method::POST, self.path("_bulk_docs"))
            .json(&json!({ "new_edits": false, "docs": documents }));
        let response = self.couch.transport.send_idempotent(&request).await?;
        let status = response.status;
        // Only failures are listed.
        let failed: Vec<Value> = response.success(&call)?.json(&call)?;
        Ok(status == StatusCode::CREATED && failed.is_empty())
    }

    /// All leaves of the document's revision tree, tombstones included, as a majority of the nodes has
    /// them. Empty if the document never existed.
    pub async fn leaves(&self, id: &str) -> Result<Vec<Leaf>> {
        let call = self.call("read leaves");
        // `r=n` would wait for every node: one that hangs would use up the whole time limit.
        let request = Request::new(&call, Method::GET, self.path(&encode_document_id(id)?))
            .query("open_revs", "all")
            .query("revs", "true");
        let response = self.couch.transport.send_idempotent(&request).await?;
        if response.status == StatusCode::NOT_FOUND && !response.is_database_missing() {
            return Ok(Vec::new());
        }
        decode_leaves(&call, response.success(&call)?.json(&call)?)
    }
}

/// The outcome that the response to the write of one document stands for.
fn write_outcome(call: &Call, response: &Response) -> Result<Write> {
    match response.status {
        StatusCode::OK | StatusCode::CREATED => {
            Ok(Write::Committed(response.json::<WriteResponse>(call)?.rev))
        }
        StatusCode::ACCEPTED => Ok(Write::Contested(response.json::<WriteResponse>(call)?.rev)),
        StatusCode::CONFLICT => Ok(Write::Conflict),
        _ => Err(response.to_error(call)),
    }
}
