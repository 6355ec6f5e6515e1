//! Listing documents in the order of their ids, with `_all_docs`.

use std::collections::HashMap;

use futures::stream::{self, Stream, TryStreamExt};
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::database::Database;
use crate::document::{Document, Rev, decode};
use crate::error::{Call, Error, Result};
use crate::transport::Request;

/// The default page size, in rows.
const DEFAULT_PAGE_SIZE: usize = 500;

/// A range of the documents of a database.
#[derive(Debug, Clone, Default)]
pub struct AllDocs {
    start: Option<String>,
    end: Option<String>,
    exclusive_end: bool,
    descending: bool,
    limit: Option<usize>,
    page: Option<usize>,
    conflicts: bool,
}

impl AllDocs {
    /// All documents.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The documents whose id begins with `prefix`.
    #[must_use]
    pub fn prefix(prefix: &str) -> Self {
        Self::new().from(prefix).to(format!("{prefix}\u{fff0}"))
    }

    /// Begins with this id, inclusive; in descending order the greatest id.
    #[must_use]
    pub fn from(mut self, id: impl Into<String>) -> Self {
        self.start = Some(id.into());
        self
    }

    /// Ends with this id, inclusive; in descending order the smallest id.
    #[must_use]
    pub fn to(mut self, id: impl Into<String>) -> Self {
        self.end = Some(id.into());
        self.exclusive_end = false;
        self
    }

    /// Ends before this id.
    #[must_use]
    pub fn before(mut self, id: impl Into<String>) -> Self {
        self.end = Some(id.into());
        self.exclusive_end = true;
        self
    }

    /// Lists from the greatest id to the smallest.
    #[must_use]
    pub fn descending(mut self) -> Self {
        self.descending = true;
        self
    }

    /// At most this many documents.
    #[must_use]
    pub fn limit(mut self, rows: usize) -> Self {
        self.limit = Some(rows);
        self
    }

    /// The number of rows of one call. Default: 500.
    #[must_use]
    pub fn page_size(mut self, rows: usize) -> Self {
        self.page = Some(rows.max(1));
        self
    }
}

/// The id and revision of a listed document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its `_id`.
    pub id: String,
    /// Its winning revision.
    pub rev: Rev,
}

#[derive(Deserialize)]
struct AllDocsResponse {
    rows: Vec<ResponseRow>,
}

#[derive(Deserialize)]
struct ResponseRow {
    id: Option<String>,
    #[serde(default)]
    value: Option<ResponseValue>,
    #[serde(default)]
    doc: Option<Value>,
}

#[derive(Deserialize)]
struct ResponseValue {
    rev: Rev,
    #[serde(default)]
    deleted: bool,
}

struct Paging {
    query: AllDocs,
    /// The last id of the previous page.
    seen: Option<String>,
    left: usize,
    done: bool,
}

impl Database {
    /// The id and revision of each document. Pages are read on demand.
    pub fn all_docs(&self, query: AllDocs) -> impl Stream<Item = Result<Row>> + Send + use<> {
        let call = self.call("list documents");
        self.rows(call.clone(), query, false).and_then(move |row| {
            let decoded = match (row.id, row.value) {
                (Some(id), Some(value)) => Ok(Row { id, rev: value.rev }),
                _ => Err(without_rev(&call)),
            };
            std::future::ready(decoded)
        })
    }

    /// The documents with bodies, including design documents in the range. Pages are read on demand.
    ///
    /// An item is [`Error::Corrupt`] if the document cannot be deserialized as `T`.
    pub fn all_docs_with_bodies<T: DeserializeOwned + Send>(
        &self,
        query: AllDocs,
    ) -> impl Stream<Item = Result<Document<T>>> + Send + use<T> {
        let call = self.call("list documents");
        self.rows(call.clone(), query, true)
            .try_filter_map(move |row| {
                // CouchDB returns a row without a document if it is deleted while the page is read.
                let document = row.doc.filter(|doc| !doc.is_null());
                std::future::ready(document.map(|doc| decode(&call, doc)).transpose())
            })
    }

    /// As [`Database::all_docs_with_bodies`], each document with its conflicts: the live leaves beside the
    /// winning revision.
    pub fn all_docs_with_conflicts<T: DeserializeOwned + Send>(
        &self,
        mut query: AllDocs,
    ) -> impl Stream<Item = Result<(Document<T>, Vec<Rev>)>> + Send + use<T> {
        let call = self.call("list documents");
        query.conflicts = true;
        self.rows(call.clone(), query, true)
            .try_filter_map(move |row| {
                let document = row.doc.filter(|doc| !doc.is_null());
                let decoded = document.map(|doc| {
                    let conflicts = doc
                        .get("_conflicts")
                        .map(Vec::<Rev>::deserialize)
                        .transpose()
                        .map_err(|source| Error::Corrupt {
                            call: call.clone(),
                            detail: "the conflicts of a document should be revisions".to_owned(),
                            source: Some(source),
                        })?;
                    Ok((decode(&call, doc)?, conflicts.unwrap_or_default()))
                });
                std::future::ready(decoded.transpose())
            })
    }

    /// The documents with these ids, by id, without those that do not exist. One call for 500 ids.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a document cannot be deserialized as `T`.
    pub async fn get_many<T: DeserializeOwned>(
        &self,
        ids: &[&str],
    ) -> Result<HashMap<String, Document<T>>> {
        let call = self.call("get documents");
        let mut found = HashMap::with_capacity(ids.len());
        for chunk in ids.chunks(DEFAULT_PAGE_SIZE) {
            let request = Request::new(&call, Method::POST, self.path("_all_docs"))
                .query("include_docs", "true")
                .json(&json!({ "keys": chunk }));
            let response = self
                .couch
                .transport
                .send_idempotent(&request)
                .await?
                .success(&call)?;
            for row in response.json::<AllDocsResponse>(&call)?.rows {
                let alive = row.value.is_some_and(|value| !value.deleted);
                if let Some(doc) = row.doc.filter(|doc| alive && !doc.is_null()) {
                    let document: Document<T> = decode(&call, doc)?;
                    found.insert(document.id.clone(), document);
                }
            }
        }
        Ok(found)
    }

    fn rows(
        &self,
        call: Call,
        query: AllDocs,
        bodies: bool,
    ) -> impl Stream<Item = Result<ResponseRow>> + Send + use<> {
        let database = self.clone();
        let first = Paging {
            left: query.limit.unwrap_or(usize::MAX),
            query,
            seen: None,
            done: false,
        };
        stream::try_unfold(first, move |mut paging| {
            let database = database.clone();
            let call = call.clone();
            async move {
                if paging.done || paging.left == 0 {
                    return Ok(None);
                }
                let rows = database.next_rows(&call, &mut paging, bodies).await?;
                let rows = stream::iter(rows.into_iter().map(Ok));
                Ok::<_, Error>(Some((rows, paging)))
            }
        })
        .try_flatten()
    }

    async fn next_rows(
        &self,
        call: &Call,
        paging: &mut Paging,
        bodies: bool,
    ) -> Result<Vec<ResponseRow>> {
        let page = paging
            .query
            .page
            .unwrap_or(DEFAULT_PAGE_SIZE)
            .min(paging.left);
        // Each page begins with the last row of the previous page, which is dropped below. A numeric skip
        // would lose or repeat rows if documents are written between two pages.
        let requested = page + usize::from(paging.seen.is_some());
        let mut request = Request::new(call, Method::GET, self.path("_all_docs"))
            .query("limit", requested.to_string());
        if bodies {
            request = request.query("include_docs", "true");
        }
        if paging.query.conflicts {
            request = request.query("conflicts", "true");
        }
        if paging.query.descending {
            request = request.query("descending", "true");
        }
        if let Some(start) = paging.seen.as_ref().or(paging.query.start.as_ref()) {
            request = request.query("start_key", json!(start).to_string());
        }
        if let Some(end) = &paging.query.end {
            request = request.query("end_key", json!(end).to_string());
            if paging.query.exclusive_end {
                request = request.query("inclusive_end", "false");
            }
        }
        let response = self
            .couch
            .transport
            .send_idempotent(&request)
            .await?
            .success(call)?;
        let mut rows = response.json::<AllDocsResponse>(call)?.rows;
        paging.done = rows.len() < requested;
        if paging.seen.is_some() && rows.first().is_some_and(|row| row.id == paging.seen) {
            rows.remove(0);
        }
        rows.truncate(page);
        paging.left -= rows.len();
        if let Some(last) = rows.last() {
            paging.seen = Some(last.id.clone().ok_or_else(|| without_rev(call))?);
        }
        Ok(rows)
    }
}

fn without_rev(call: &Call) -> Error {
    Error::Corrupt {
        call: call.clone(),
        detail: "a row of the list should have an id and a revision".to_owned(),
        source: None,
    }
}
