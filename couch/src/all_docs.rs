//! Documents in the order of their ids.

use std::collections::HashMap;

use futures::stream::{self, Stream, TryStreamExt};
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::database::Database;
use crate::document::{Document, Rev, decode};
use crate::error::{Call, Error, Result};
use crate::transport::Outgoing;

/// Rows asked for in one call.
const PAGE: usize = 500;

/// Which documents of a database to list.
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
    /// All of them.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Those whose id begins with `prefix`.
    #[must_use]
    pub fn prefix(prefix: &str) -> Self {
        Self::new().from(prefix).to(format!("{prefix}\u{fff0}"))
    }

    /// Begin at this id, itself included. (In descending order: the greatest.)
    #[must_use]
    pub fn from(mut self, id: impl Into<String>) -> Self {
        self.start = Some(id.into());
        self
    }

    /// End at this id, itself included. (In descending order: the smallest.)
    #[must_use]
    pub fn to(mut self, id: impl Into<String>) -> Self {
        self.end = Some(id.into());
        self.exclusive_end = false;
        self
    }

    /// End before this id.
    #[must_use]
    pub fn before(mut self, id: impl Into<String>) -> Self {
        self.end = Some(id.into());
        self.exclusive_end = true;
        self
    }

    /// From the greatest id to the smallest.
    #[must_use]
    pub fn descending(mut self) -> Self {
        self.descending = true;
        self
    }

    /// No more than this many.
    #[must_use]
    pub fn limit(mut self, rows: usize) -> Self {
        self.limit = Some(rows);
        self
    }

    /// Rows asked for in one call; 500 if not said.
    #[must_use]
    pub fn page_size(mut self, rows: usize) -> Self {
        self.page = Some(rows.max(1));
        self
    }
}

/// A document in a list, without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its `_id`.
    pub id: String,
    /// Its winning revision.
    pub rev: Rev,
}

#[derive(Deserialize)]
struct Answered {
    rows: Vec<AnsweredRow>,
}

#[derive(Deserialize)]
struct AnsweredRow {
    id: Option<String>,
    #[serde(default)]
    value: Option<AnsweredValue>,
    #[serde(default)]
    doc: Option<Value>,
}

#[derive(Deserialize)]
struct AnsweredValue {
    rev: Rev,
    #[serde(default)]
    deleted: bool,
}

struct Walk {
    query: AllDocs,
    /// The id that the last page ended with.
    seen: Option<String>,
    left: usize,
    over: bool,
}

impl Database {
    /// Ids and revisions, page by page.
    pub fn all_docs(&self, query: AllDocs) -> impl Stream<Item = Result<Row>> + Send + use<> {
        let call = self.call("list documents");
        self.walk(call.clone(), query, false).and_then(move |row| {
            let decoded = match (row.id, row.value) {
                (Some(id), Some(value)) => Ok(Row { id, rev: value.rev }),
                _ => Err(without_rev(&call)),
            };
            std::future::ready(decoded)
        })
    }

    /// Whole documents, page by page. Design documents are among them when the range holds them.
    ///
    /// An item is [`Error::Corrupt`] for a document that does not fit `T`.
    pub fn all_docs_with_bodies<T: DeserializeOwned + Send>(
        &self,
        query: AllDocs,
    ) -> impl Stream<Item = Result<Document<T>>> + Send + use<T> {
        let call = self.call("list documents");
        self.walk(call.clone(), query, true)
            .try_filter_map(move |row| {
                // A document deleted between the reading of index and body comes without one.
                let document = row.doc.filter(|doc| !doc.is_null());
                std::future::ready(document.map(|doc| decode(&call, doc)).transpose())
            })
    }

    /// As [`Database::all_docs_with_bodies`], each document with the revisions that lie beside the winning
    /// one: what replication or a race left behind.
    pub fn all_docs_with_conflicts<T: DeserializeOwned + Send>(
        &self,
        mut query: AllDocs,
    ) -> impl Stream<Item = Result<(Document<T>, Vec<Rev>)>> + Send + use<T> {
        let call = self.call("list documents");
        query.conflicts = true;
        self.walk(call.clone(), query, true)
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

    /// The documents with these ids, in one call; those that do not exist are not in the map.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when one does not fit `T`; any other that a call can have.
    pub async fn get_many<T: DeserializeOwned>(
        &self,
        ids: &[&str],
    ) -> Result<HashMap<String, Document<T>>> {
        let call = self.call("get documents");
        let mut found = HashMap::with_capacity(ids.len());
        for chunk in ids.chunks(PAGE) {
            let outgoing = Outgoing::new(&call, Method::POST, self.path("_all_docs"))
                .query("include_docs", "true")
                .json(&json!({ "keys": chunk }));
            let answer = self
                .couch
                .transport
                .repeatable(&outgoing)
                .await?
                .success(&call)?;
            for row in answer.json::<Answered>(&call)?.rows {
                let alive = row.value.is_some_and(|value| !value.deleted);
                if let Some(doc) = row.doc.filter(|doc| alive && !doc.is_null()) {
                    let document: Document<T> = decode(&call, doc)?;
                    found.insert(document.id.clone(), document);
                }
            }
        }
        Ok(found)
    }

    fn walk(
        &self,
        call: Call,
        query: AllDocs,
        bodies: bool,
    ) -> impl Stream<Item = Result<AnsweredRow>> + Send + use<> {
        let database = self.clone();
        let first = Walk {
            left: query.limit.unwrap_or(usize::MAX),
            query,
            seen: None,
            over: false,
        };
        stream::try_unfold(first, move |mut walk| {
            let database = database.clone();
            let call = call.clone();
            async move {
                if walk.over || walk.left == 0 {
                    return Ok(None);
                }
                let rows = database.next_rows(&call, &mut walk, bodies).await?;
                let rows = stream::iter(rows.into_iter().map(Ok));
                Ok::<_, Error>(Some((rows, walk)))
            }
        })
        .try_flatten()
    }

    async fn next_rows(
        &self,
        call: &Call,
        walk: &mut Walk,
        bodies: bool,
    ) -> Result<Vec<AnsweredRow>> {
        let page = walk.query.page.unwrap_or(PAGE).min(walk.left);
        // The row that the last page ended with comes again, unless it was deleted meanwhile:
        // so the pages stay whole whatever happens between them.
        let asked = page + usize::from(walk.seen.is_some());
        let mut outgoing = Outgoing::new(call, Method::GET, self.path("_all_docs"))
            .query("limit", asked.to_string());
        if bodies {
            outgoing = outgoing.query("include_docs", "true");
        }
        if walk.query.conflicts {
            outgoing = outgoing.query("conflicts", "true");
        }
        if walk.query.descending {
            outgoing = outgoing.query("descending", "true");
        }
        if let Some(start) = walk.seen.as_ref().or(walk.query.start.as_ref()) {
            outgoing = outgoing.query("start_key", json!(start).to_string());
        }
        if let Some(end) = &walk.query.end {
            outgoing = outgoing.query("end_key", json!(end).to_string());
            if walk.query.exclusive_end {
                outgoing = outgoing.query("inclusive_end", "false");
            }
        }
        let answer = self
            .couch
            .transport
            .repeatable(&outgoing)
            .await?
            .success(call)?;
        let mut rows = answer.json::<Answered>(call)?.rows;
        walk.over = rows.len() < asked;
        if walk.seen.is_some() && rows.first().is_some_and(|row| row.id == walk.seen) {
            rows.remove(0);
        }
        rows.truncate(page);
        walk.left -= rows.len();
        if let Some(last) = rows.last() {
            walk.seen = Some(last.id.clone().ok_or_else(|| without_rev(call))?);
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
