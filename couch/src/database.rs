//! One database: documents by id.

use std::fmt;

use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::document::{Document, Leaf, Rev, WITHDRAWN, Write, decode, decode_leaves, encode};
use crate::error::{Call, Result};
use crate::names::{DbName, encode_document_id};
use crate::server::Couch;
use crate::transport::{Answer, Outgoing};

/// A handle to a database, cheap to clone. It exists whether the database does or not: calls on
/// one that does not exist fail with [`crate::Error::DatabaseMissing`].
#[derive(Clone)]
pub struct Database {
    pub(crate) couch: Couch,
    pub(crate) name: DbName,
}

#[derive(Deserialize)]
struct Written {
    rev: Rev,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Database")
            .field(&self.name.as_str())
            .finish()
    }
}

impl Database {
    pub(crate) fn new(couch: Couch, name: DbName) -> Self {
        Self { couch, name }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &DbName {
        &self.name
    }

    /// The server it lies on.
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

    /// Reads a document: its winning revision, as a majority of the nodes has it.
    /// `None` when there is none, or it is deleted.
    ///
    /// # Errors
    /// [`crate::Error::Corrupt`] when it does not fit `T`; any other that a call can have.
    pub async fn get<T: DeserializeOwned>(&self, id: &str) -> Result<Option<Document<T>>> {
        self.read(id, None).await
    }

    /// Reads one revision of a document, while the server still has it (until it is compacted away).
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

    async fn read<T: DeserializeOwned>(
        &self,
        id: &str,
        rev: Option<&Rev>,
    ) -> Result<Option<Document<T>>> {
        let call = self.call("get document");
        let mut outgoing = Outgoing::new(&call, Method::GET, self.path(&encode_document_id(id)?));
        if let Some(rev) = rev {
            outgoing = outgoing.query("rev", rev.as_str());
        }
        let answer = self.couch.transport.repeatable(&outgoing).await?;
        if answer.status == StatusCode::NOT_FOUND && !answer.is_database_missing() {
            return Ok(None);
        }
        decode(&call, answer.success(&call)?.json(&call)?).map(Some)
    }

    /// Writes a document: a new one, or with `rev` the successor of that revision. `_id` and `_rev`
    /// inside `body` are ignored. Sent once: when the answer is lost, the error says so
    /// ([`crate::Error::is_outcome_unknown`]), and [`Database::compare_and_set`] is the call that finds out.
    ///
    /// # Errors
    /// [`crate::Error::Encode`] when `body` is not a JSON object; any other that a call can have.
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
        let outgoing = Outgoing::new(&call, Method::PUT, self.path(&encode_document_id(id)?))
            .json(&Value::Object(members));
        written(&call, &self.couch.transport.write(&outgoing).await?)
    }

    /// Deletes a revision: on success a tombstone is its successor. Sent once, as [`Database::put`].
    /// A document that does not exist is a [`Write::Conflict`].
    ///
    /// # Errors
    /// Any that a call can have.
    pub async fn delete(&self, id: &str, rev: &Rev) -> Result<Write> {
        let call = self.call("delete document");
        let outgoing = Outgoing::new(&call, Method::DELETE, self.path(&encode_document_id(id)?))
            .query("rev", rev.as_str());
        let answer = self.couch.transport.write(&outgoing).await?;
        if answer.status == StatusCode::NOT_FOUND && !answer.is_database_missing() {
            return Ok(Write::Conflict);
        }
        written(&call, &answer)
    }

    /// Takes back a revision that lost a race: as [`Database::delete`], with a mark in the
    /// tombstone that tells it from a deletion that was meant ([`Leaf::is_withdrawn`]).
    ///
    /// # Errors
    /// Any that a call can have.
    pub async fn withdraw(&self, id: &str, rev: &Rev) -> Result<Write> {
        let call = self.call("withdraw document");
        let outgoing = Outgoing::new(&call, Method::PUT, self.path(&encode_document_id(id)?))
            .json(&json!({ "_id": id, "_rev": rev, "_deleted": true, WITHDRAWN: true }));
        written(&call, &self.couch.transport.write(&outgoing).await?)
    }

    /// All ends of the document's revision tree, tombstones included, as a majority of the nodes
    /// has them. Empty when there never was such a document.
    ///
    /// # Errors
    /// Any that a call can have.
    pub async fn leaves(&self, id: &str) -> Result<Vec<Leaf>> {
        let call = self.call("read leaves");
        // Never with `r=n`: one node that hangs would then cost the server's whole time limit.
        let outgoing = Outgoing::new(&call, Method::GET, self.path(&encode_document_id(id)?))
            .query("open_revs", "all")
            .query("revs", "true");
        let answer = self.couch.transport.repeatable(&outgoing).await?;
        if answer.status == StatusCode::NOT_FOUND && !answer.is_database_missing() {
            return Ok(Vec::new());
        }
        decode_leaves(&call, answer.success(&call)?.json(&call)?)
    }
}

/// What an answer to a write of one document means.
fn written(call: &Call, answer: &Answer) -> Result<Write> {
    match answer.status {
        StatusCode::OK | StatusCode::CREATED => {
            Ok(Write::Committed(answer.json::<Written>(call)?.rev))
        }
        StatusCode::ACCEPTED => Ok(Write::Contested(answer.json::<Written>(call)?.rev)),
        StatusCode::CONFLICT => Ok(Write::Conflict),
        _ => Err(answer.refusal(call)),
    }
}
