//! Mango queries.

use std::cmp::Ordering;

use futures::stream::{self, Stream, TryStreamExt};
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::database::Database;
use crate::document::{Document, decode};
use crate::error::{Call, Error, Result};
use crate::transport::Request;

/// The default page size, in documents.
const DEFAULT_PAGE_SIZE: usize = 200;

/// A sort order by one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sort {
    /// From the smallest value to the greatest.
    Ascending(String),
    /// From the greatest value to the smallest.
    Descending(String),
}

/// A Mango query. If no index fits, because somebody has removed or changed it, the whole database is read, and the log
/// warns of it.
#[derive(Debug, Clone)]
pub struct Find {
    selector: Value,
    sort: Vec<Sort>,
    fields: Vec<String>,
    use_index: Option<(String, Option<String>)>,
    limit: Option<usize>,
    page: usize,
    bookmark: Option<String>,
}

impl Find {
    /// A query for all documents that match a Mango selector.
    #[must_use]
    pub fn new(selector: Value) -> Self {
        Self {
            selector,
            sort: Vec::new(),
            fields: Vec::new(),
            use_index: None,
            limit: None,
            page: DEFAULT_PAGE_SIZE,
            bookmark: None,
        }
    }

    /// Sorts the documents. An index should have the same order: without one, [`Database::find`] holds all documents in
    /// memory to sort them.
    #[must_use]
    pub fn sort(mut self, by: impl IntoIterator<Item = Sort>) -> Self {
        self.sort = by.into_iter().collect();
        self
    }

    /// Only these fields, besides `_id` and `_rev`. Default: all fields.
    #[must_use]
    pub fn fields(mut self, fields: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.fields = fields.into_iter().map(Into::into).collect();
        self
    }

    /// Uses an index of this design document (named without `_design/`), or only its index `name`.
    #[must_use]
    pub fn use_index(mut self, design_document: impl Into<String>, name: Option<String>) -> Self {
        self.use_index = Some((design_document.into(), name));
        self
    }

    /// At most this many documents.
    #[must_use]
    pub fn limit(mut self, documents: usize) -> Self {
        self.limit = Some(documents);
        self
    }

    /// The number of documents of one call. Default: 200.
    #[must_use]
    pub fn page_size(mut self, documents: usize) -> Self {
        self.page = documents.max(1);
        self
    }

    /// Continues after the [`Page`] with this bookmark.
    #[must_use]
    pub fn after(mut self, bookmark: impl Into<String>) -> Self {
        self.bookmark = Some(bookmark.into());
        self
    }

    fn request(&self, limit: usize, bookmark: Option<&str>) -> Value {
        let mut request = Map::new();
        request.insert("selector".to_owned(), self.selector.clone());
        request.insert("limit".to_owned(), json!(limit));
        if !self.sort.is_empty() {
            let sort: Vec<Value> = self
                .sort
                .iter()
                .map(|it| match it {
                    Sort::Ascending(field) => json!({ field.as_str(): "asc" }),
                    Sort::Descending(field) => json!({ field.as_str(): "desc" }),
                })
                .collect();
            request.insert("sort".to_owned(), json!(sort));
        }
        if !self.fields.is_empty() {
            let own = ["_id", "_rev"].iter().map(|it| (*it).to_owned());
            let fields: Vec<String> = own.chain(self.fields.iter().cloned()).collect();
            request.insert("fields".to_owned(), json!(fields));
        }
        if let Some((design_document, name)) = &self.use_index {
            let index = match name {
                Some(name) => json!([design_document, name]),
                None => json!(design_document),
            };
            request.insert("use_index".to_owned(), index);
        }
        if let Some(bookmark) = bookmark {
            request.insert("bookmark".to_owned(), json!(bookmark));
        }
        Value::Object(request)
    }
}

/// A page of the documents of a query.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The documents.
    pub documents: Vec<Document<T>>,
    /// The bookmark for the next page ([`Find::after`]); `None` on the last page.
    pub bookmark: Option<String>,
}

#[derive(Deserialize)]
struct FindResponse {
    docs: Vec<Value>,
    #[serde(default)]
    bookmark: Option<String>,
    #[serde(default)]
    warning: Option<String>,
}

impl Database {
    /// A page of at most [`Find::page_size`] documents.
    ///
    /// # Errors
    /// [`Error::Refused`] for an invalid selector, or a sort order that no index has.
    pub async fn find_page<T: DeserializeOwned>(&self, query: &Find) -> Result<Page<T>> {
        let call = self.call("find documents");
        let limit = query
            .limit
            .map_or(query.page, |limit| limit.min(query.page));
        self.query_page(&call, query, limit, query.bookmark.as_deref())
            .await
    }

    /// All documents of a query. Pages are read on demand.
    ///
    /// # Errors
    /// [`Error::Refused`] for an invalid selector.
    pub fn find<T: DeserializeOwned + Send>(
        &self,
        query: Find,
    ) -> impl Stream<Item = Result<Document<T>>> + Send + use<T> {
        let database = self.clone();
        let call = self.call("find documents");
        let left = query.limit.unwrap_or(usize::MAX);
        let bookmark = query.bookmark.clone();
        stream::try_unfold((left, bookmark, false), move |(left, bookmark, done)| {
            let (database, call, query) = (database.clone(), call.clone(), query.clone());
            async move {
                if done || left == 0 {
                    return Ok(None);
                }
                let page = database
                    .query_page(&call, &query, query.page.min(left), bookmark.as_deref())
                    .await;
                let page: Page<T> = match page {
                    Err(Error::Refused { error, .. })
                        if bookmark.is_none() && error == NO_SORTED_INDEX =>
                    {
                        database.find_and_sort(&call, &query, left).await?
                    }
                    page => page?,
                };
                let left = left.saturating_sub(page.documents.len());
                let done = page.bookmark.is_none();
                let documents = stream::iter(page.documents.into_iter().map(Ok));
                Ok::<_, Error>(Some((documents, (left, page.bookmark, done))))
            }
        })
        .try_flatten()
    }

    async fn query_page<T: DeserializeOwned>(
        &self,
        call: &Call,
        query: &Find,
        limit: usize,
        bookmark: Option<&str>,
    ) -> Result<Page<T>> {
        let request = Request::new(call, Method::POST, self.path("_find"))
            .json(&query.request(limit, bookmark));
        let response = self
            .couch
            .transport
            .send_idempotent(&request)
            .await?
            .success(call)?;
        let found: FindResponse = response.json(call)?;
        if let Some(warning) = found.warning
            && warning.to_ascii_lowercase().contains("no matching index")
        {
            warn_of_scan(call, query);
        }
        // CouchDB returns a bookmark on the last page too.
        let bookmark = found
            .bookmark
            .filter(|it| found.docs.len() >= limit && limit > 0 && !it.is_empty() && it != "nil");
        let documents = found.docs.into_iter().map(|doc| decode(call, doc));
        Ok(Page {
            documents: documents.collect::<Result<_>>()?,
            bookmark,
        })
    }

    /// The first documents of a query whose sort order no index has: all are read and sorted here.
    async fn find_and_sort<T: DeserializeOwned>(
        &self,
        call: &Call,
        query: &Find,
        limit: usize,
    ) -> Result<Page<T>> {
        warn_of_scan(call, query);
        let unsorted = Find {
            sort: Vec::new(),
            fields: Vec::new(),
            use_index: None,
            limit: None,
            ..query.clone()
        };
        let mut found: Vec<Document<Map<String, Value>>> = Vec::new();
        let mut bookmark = None;
        loop {
            let page = self
                .query_page(call, &unsorted, unsorted.page, bookmark.as_deref())
                .await?;
            found.extend(page.documents);
            bookmark = page.bookmark;
            if bookmark.is_none() {
                break;
            }
        }
        found.sort_by(|a, b| in_order(&query.sort, a, b));
        found.truncate(limit);
        let documents = found.into_iter().map(|Document { id, rev, mut body }| {
            if !query.fields.is_empty() {
                body.retain(|name, _| query.fields.iter().any(|field| field == name));
            }
            let body = serde_json::from_value(body.into()).map_err(|error| Error::Corrupt {
                call: call.clone(),
                detail: "a document has another form".to_owned(),
                source: Some(error),
            })?;
            Ok(Document { id, rev, body })
        });
        Ok(Page {
            documents: documents.collect::<Result<_>>()?,
            bookmark: None,
        })
    }
}

/// CouchDB's name of the error for a sort order that no index has.
const NO_SORTED_INDEX: &str = "no_usable_index";

fn warn_of_scan(call: &Call, query: &Find) {
    let index = query.use_index.as_ref().map(|(name, _)| name.as_str());
    tracing::warn!(
        %call,
        index,
        "no index fits a query, which therefore reads the whole database; somebody has removed or changed the index"
    );
}

/// The order of two documents by some fields. A document without a field comes before those that have it.
fn in_order(
    sort: &[Sort],
    a: &Document<Map<String, Value>>,
    b: &Document<Map<String, Value>>,
) -> Ordering {
    let value = |document: &Document<Map<String, Value>>, field: &str| match field {
        "_id" => Some(Value::from(document.id.as_str())),
        field => document.body.get(field).cloned(),
    };
    let orders = sort.iter().map(|by| match by {
        Sort::Ascending(field) => collate(value(a, field).as_ref(), value(b, field).as_ref()),
        Sort::Descending(field) => collate(value(b, field).as_ref(), value(a, field).as_ref()),
    });
    orders.fold(Ordering::Equal, Ordering::then)
}

/// The order of two values: by their types as CouchDB collates them, numbers by size, texts by their bytes.
fn collate(a: Option<&Value>, b: Option<&Value>) -> Ordering {
    let rank = |value: Option<&Value>| match value {
        None => 0,
        Some(Value::Null) => 1,
        Some(Value::Bool(is)) => 2 + u8::from(*is),
        Some(Value::Number(_)) => 4,
        Some(Value::String(_)) => 5,
        Some(Value::Array(_)) => 6,
        Some(Value::Object(_)) => 7,
    };
    match (a, b) {
        (Some(Value::Number(a)), Some(Value::Number(b))) => a
            .as_f64()
            .unwrap_or_default()
            .total_cmp(&b.as_f64().unwrap_or_default()),
        (Some(Value::String(a)), Some(Value::String(b))) => a.cmp(b),
        (a, b) => rank(a).cmp(&rank(b)),
    }
}
