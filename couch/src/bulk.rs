//! Writing many documents in one call.

use std::collections::HashMap;

use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::database::Database;
use crate::document::{Rev, encode};
use crate::error::{BulkFailure, Call, Error, FailedDocument, Result};
use crate::transport::Request;

/// One document of a bulk write.
#[derive(Debug, Clone, PartialEq)]
pub struct BulkDoc {
    id: String,
    members: Map<String, Value>,
}

impl BulkDoc {
    /// A new document.
    ///
    /// # Errors
    /// [`Error::Encode`] if `body` is not a JSON object.
    pub fn create<T: Serialize + ?Sized>(id: impl Into<String>, body: &T) -> Result<Self> {
        let id = id.into();
        let mut members = encode(&Call::server("prepare bulk document"), body)?;
        members.insert("_id".to_owned(), json!(id));
        Ok(Self { id, members })
    }

    /// The successor of `rev`.
    ///
    /// # Errors
    /// [`Error::Encode`] if `body` is not a JSON object.
    pub fn update<T: Serialize + ?Sized>(
        id: impl Into<String>,
        rev: &Rev,
        body: &T,
    ) -> Result<Self> {
        let mut doc = Self::create(id, body)?;
        doc.members.insert("_rev".to_owned(), json!(rev));
        Ok(doc)
    }

    /// A tombstone as the successor of `rev`.
    #[must_use]
    pub fn delete(id: impl Into<String>, rev: &Rev) -> Self {
        let id = id.into();
        let mut members = Map::new();
        members.insert("_id".to_owned(), json!(id));
        members.insert("_rev".to_owned(), json!(rev));
        members.insert("_deleted".to_owned(), json!(true));
        Self { id, members }
    }

    /// The id of the document.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// Which documents count as written although they existed before.
#[derive(Clone, Copy, Debug)]
enum Existing {
    /// Those with the wanted content.
    Same,
    /// All.
    Any,
}

/// The outcome of a bulk write, for each document.
#[must_use = "each document of a bulk write can fail: call `all_committed`"]
#[derive(Debug)]
pub struct BulkOutcome {
    call: Call,
    revs: HashMap<String, Rev>,
    failure: BulkFailure,
}

impl BulkOutcome {
    /// The new revision of each document, if a majority holds all of them.
    ///
    /// # Errors
    /// [`Error::Bulk`] if a document was not written, or the response was 202.
    pub fn all_committed(self) -> Result<HashMap<String, Rev>> {
        if self.failure.failed.is_empty() && !self.failure.contested {
            Ok(self.revs)
        } else {
            Err(Error::Bulk {
                call: self.call,
                failure: self.failure,
            })
        }
    }

    /// The new revisions of the documents that were written, and what failed.
    #[must_use]
    pub fn into_parts(self) -> (HashMap<String, Rev>, BulkFailure) {
        (self.revs, self.failure)
    }
}

#[derive(Deserialize)]
struct Row {
    id: Option<String>,
    rev: Option<Rev>,
    error: Option<String>,
    reason: Option<String>,
}

/// What a bulk write refused, from the rows of its answer.
pub(crate) fn failures(rows: &[Value]) -> Vec<FailedDocument> {
    let text = |row: &Value, member: &str| {
        let found = row.get(member).and_then(Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    rows.iter()
        .map(|row| FailedDocument {
            id: text(row, "id"),
            error: text(row, "error"),
            reason: text(row, "reason"),
        })
        .collect()
}

impl Database {
    /// Writes many documents in one call, which is not a transaction: each document can fail on its own.
    /// Sent once. If the response is lost, [`Error::is_outcome_unknown`] is true.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if the server refuses a request of this size. Refused documents are in the
    /// outcome.
    pub async fn bulk(&self, docs: &[BulkDoc]) -> Result<BulkOutcome> {
        let call = self.call("write documents");
        let mut outcome = BulkOutcome {
            call: call.clone(),
            revs: HashMap::with_capacity(docs.len()),
            failure: BulkFailure {
                failed: Vec::new(),
                contested: false,
            },
        };
        if docs.is_empty() {
            return Ok(outcome);
        }
        let members: Vec<&Map<String, Value>> = docs.iter().map(|doc| &doc.members).collect();
        let request = Request::new(&call, Method::POST, self.path("_bulk_docs"))
            .json(&json!({ "docs": members }));
        let response = self
            .couch
            .transport
            .send_once(&request)
            .await?
            .success(&call)?;
        outcome.failure.contested = response.status == StatusCode::ACCEPTED;
        let rows: Vec<Row> = response.json(&call)?;
        for row in rows {
            match row {
                Row {
                    id: Some(id),
                    rev: Some(rev),
                    error: None,
                    ..
                } => {
                    outcome.revs.insert(id, rev);
                }
                Row {
                    id, error, reason, ..
                } => outcome.failure.failed.push(FailedDocument {
                    id: id.unwrap_or_default(),
                    error: error.unwrap_or_default(),
                    reason: reason.unwrap_or_default(),
                }),
            }
        }
        for doc in docs {
            let answered = outcome.revs.contains_key(&doc.id)
                || outcome.failure.failed.iter().any(|it| it.id == doc.id);
            if !answered {
                outcome.failure.failed.push(FailedDocument {
                    id: doc.id.clone(),
                    error: "no_answer".to_owned(),
                    reason: "the answer has no row for this document".to_owned(),
                });
            }
        }
        Ok(outcome)
    }

    /// Ensures that the first documents of a new database exist. Idempotent: a document that already exists
    /// with the same content counts as written. Nobody else may write these documents.
    ///
    /// Repeats after a lost response, and for some seconds while a node of a cluster does not know the new
    /// database yet.
    ///
    /// # Errors
    /// [`Error::Bulk`] with the documents that were refused or exist with another content.
    pub async fn bulk_ensure(&self, docs: &[BulkDoc]) -> Result<HashMap<String, Rev>> {
        self.bulk_until_there(docs, Existing::Same).await
    }

    /// Ensures that documents exist, as [`Self::bulk_ensure`] does, in a database that other software uses too: a
    /// document that exists is left as it is, whatever its content.
    ///
    /// # Errors
    /// [`Error::Bulk`] with the documents that were refused.
    pub async fn bulk_create_missing(&self, docs: &[BulkDoc]) -> Result<()> {
        self.bulk_until_there(docs, Existing::Any).await?;
        Ok(())
    }

    /// Writes documents until all of them exist. Returns the revisions of those that are known.
    async fn bulk_until_there(
        &self,
        docs: &[BulkDoc],
        existing: Existing,
    ) -> Result<HashMap<String, Rev>> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let error = match self.bulk(docs).await {
                Ok(outcome) if outcome.failure.failed.is_empty() && !outcome.failure.contested => {
                    return Ok(outcome.revs);
                }
                Ok(outcome)
                    if outcome
                        .failure
                        .failed
                        .iter()
                        .all(|it| it.error == "conflict") =>
                {
                    match (existing, outcome.failure.contested) {
                        (Existing::Any, false) => return Ok(outcome.revs),
                        // The next attempt meets what a majority has.
                        (Existing::Any, true) => Error::Bulk {
                            call: outcome.call,
                            failure: BulkFailure {
                                failed: Vec::new(),
                                contested: true,
                            },
                        },
                        (Existing::Same, _) => match self.same_content(docs, outcome).await {
                            Ok(Ok(revs)) => return Ok(revs),
                            Ok(Err(error)) | Err(error) => error,
                        },
                    }
                }
                Ok(outcome) => {
                    return Err(Error::Bulk {
                        call: outcome.call,
                        failure: outcome.failure,
                    });
                }
                Err(error) => error,
            };
            let attempts = match &error {
                Error::DatabaseMissing { .. } => 8,
                error if error.is_retryable() => 4,
                _ => 1,
            };
            if attempt >= attempts {
                return Err(error);
            }
            let pause = self
                .couch
                .transport
                .random
                .backoff(attempt, std::time::Duration::from_secs(1));
            tokio::time::sleep(pause).await;
        }
    }

    /// The revisions, if every document in conflict already has the wanted content.
    async fn same_content(
        &self,
        docs: &[BulkDoc],
        outcome: BulkOutcome,
    ) -> Result<Result<HashMap<String, Rev>>> {
        let BulkOutcome {
            call,
            mut revs,
            mut failure,
        } = outcome;
        for refused in std::mem::take(&mut failure.failed) {
            let wanted = docs.iter().find(|doc| doc.id == refused.id);
            let found = self.get::<Map<String, Value>>(&refused.id).await?;
            match (wanted, found) {
                (Some(wanted), Some(found)) if encode(&call, &wanted.members)? == found.body => {
                    revs.insert(refused.id, found.rev);
                }
                _ => failure.failed.push(refused),
            }
        }
        // After a 202 the next attempt meets only conflicts and reads what a majority has.
        let settled = failure.failed.is_empty() && !failure.contested;
        Ok(if settled {
            Ok(revs)
        } else {
            Err(Error::Bulk { call, failure })
        })
    }
}
