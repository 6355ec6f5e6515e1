//! Mango queries.

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

/// A Mango query. It fails if no index fits, except with [`Find::allow_scan`].
#[derive(Debug, Clone)]
pub struct Find {
    selector: Value,
    sort: Vec<Sort>,
    fields: Vec<String>,
    use_index: Option<(String, Option<String>)>,
    limit: Option<usize>,
    page: usize,
    bookmark: Option<String>,
    scan: bool,
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
            scan: false,
        }
    }

    /// Sorts the documents. An index must have the same order.
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

    /// Lets the query scan the whole database if no index fits, instead of failing with
    /// [`Error::NoIndex`].
    #[must_use]
    pub fn allow_scan(mut self) -> Self {
        self.scan = true;
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
    /// [`Error::NoIndex`] if no index fits. [`Error::Refused`] for an invalid selector, or a sort order that no
    /// index has.
    pub async fn find_page<T: DeserializeOwned>(&self, query: &Find) -> Result<Page<T>> {
        let call = self.call("find documents");
        let limit = query
            .limit
            .map_or(query.page, |limit| limit.min(query.page));
        self.query_page(&call, query, limit, query.bookmark.as_deref())
            .await
    }

    /// All documents of a query. Pages are read on demand.
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
                let page: Page<T> = database
                    .query_page(&call, &query, query.page.min(left), bookmark.as_deref())
                    .await?;
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
            && !query.scan
        {
            return Err(Error::NoIndex { call: call.clone() });
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
}
