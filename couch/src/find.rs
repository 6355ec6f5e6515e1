//! Mango: documents by their fields, and the indexes for that.

use futures::stream::{self, Stream, TryStreamExt};
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::database::Database;
use crate::document::{Document, decode};
use crate::error::{Call, Error, Result};
use crate::transport::Outgoing;

/// Documents asked for in one call.
const PAGE: usize = 200;

/// An order of documents by one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sort {
    /// Smallest first.
    Ascending(String),
    /// Greatest first.
    Descending(String),
}

/// A query. Unless told otherwise it must be answered from an index: see [`Find::allow_scan`].
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
    /// All documents that fit a Mango selector.
    #[must_use]
    pub fn new(selector: Value) -> Self {
        Self {
            selector,
            sort: Vec::new(),
            fields: Vec::new(),
            use_index: None,
            limit: None,
            page: PAGE,
            bookmark: None,
            scan: false,
        }
    }

    /// In this order; an index must have the same.
    #[must_use]
    pub fn sort(mut self, by: impl IntoIterator<Item = Sort>) -> Self {
        self.sort = by.into_iter().collect();
        self
    }

    /// Only these fields (and `_id` and `_rev`); all if not said.
    #[must_use]
    pub fn fields(mut self, fields: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.fields = fields.into_iter().map(Into::into).collect();
        self
    }

    /// Take the index of this design document (without `_design/`), or one of its indexes by name.
    #[must_use]
    pub fn use_index(mut self, design_document: impl Into<String>, name: Option<String>) -> Self {
        self.use_index = Some((design_document.into(), name));
        self
    }

    /// No more than this many documents.
    #[must_use]
    pub fn limit(mut self, documents: usize) -> Self {
        self.limit = Some(documents);
        self
    }

    /// Documents asked for in one call; 200 if not said.
    #[must_use]
    pub fn page_size(mut self, documents: usize) -> Self {
        self.page = documents.max(1);
        self
    }

    /// Go on after a [`Page`].
    #[must_use]
    pub fn after(mut self, bookmark: impl Into<String>) -> Self {
        self.bookmark = Some(bookmark.into());
        self
    }

    /// Let the query read the whole database when no index fits, rather than fail with
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

/// Some of the documents of a query.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The documents.
    pub documents: Vec<Document<T>>,
    /// Where the next page begins ([`Find::after`]); `None` after the last.
    pub bookmark: Option<String>,
}

#[derive(Deserialize)]
struct Answered {
    docs: Vec<Value>,
    #[serde(default)]
    bookmark: Option<String>,
    #[serde(default)]
    warning: Option<String>,
}

impl Database {
    /// One page of a query, of [`Find::page_size`] documents at most.
    ///
    /// # Errors
    /// [`Error::NoIndex`]; [`Error::Refused`] for a selector that the server does not understand, or
    /// a sort without an index; any other that a call can have.
    pub async fn find_page<T: DeserializeOwned>(&self, query: &Find) -> Result<Page<T>> {
        let call = self.call("find documents");
        let limit = query
            .limit
            .map_or(query.page, |limit| limit.min(query.page));
        self.ask(&call, query, limit, query.bookmark.as_deref())
            .await
    }

    /// All documents of a query, page by page.
    pub fn find<T: DeserializeOwned + Send>(
        &self,
        query: Find,
    ) -> impl Stream<Item = Result<Document<T>>> + Send + use<T> {
        let database = self.clone();
        let call = self.call("find documents");
        let left = query.limit.unwrap_or(usize::MAX);
        let bookmark = query.bookmark.clone();
        stream::try_unfold((left, bookmark, false), move |(left, bookmark, over)| {
            let (database, call, query) = (database.clone(), call.clone(), query.clone());
            async move {
                if over || left == 0 {
                    return Ok(None);
                }
                let page: Page<T> = database
                    .ask(&call, &query, query.page.min(left), bookmark.as_deref())
                    .await?;
                let left = left.saturating_sub(page.documents.len());
                let over = page.bookmark.is_none();
                let documents = stream::iter(page.documents.into_iter().map(Ok));
                Ok::<_, Error>(Some((documents, (left, page.bookmark, over))))
            }
        })
        .try_flatten()
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        call: &Call,
        query: &Find,
        limit: usize,
        bookmark: Option<&str>,
    ) -> Result<Page<T>> {
        let outgoing = Outgoing::new(call, Method::POST, self.path("_find"))
            .json(&query.request(limit, bookmark));
        let answer = self
            .couch
            .transport
            .repeatable(&outgoing)
            .await?
            .success(call)?;
        let answered: Answered = answer.json(call)?;
        if let Some(warning) = answered.warning
            && warning.to_ascii_lowercase().contains("no matching index")
            && !query.scan
        {
            return Err(Error::NoIndex { call: call.clone() });
        }
        // CouchDB gives a bookmark after the last page too.
        let bookmark = answered.bookmark.filter(|it| {
            answered.docs.len() >= limit && limit > 0 && !it.is_empty() && it != "nil"
        });
        let documents = answered.docs.into_iter().map(|doc| decode(call, doc));
        Ok(Page {
            documents: documents.collect::<Result<_>>()?,
            bookmark,
        })
    }

    /// Makes sure that Mango indexes exist, each in its design document.
    ///
    /// # Errors
    /// Any that a call can have.
    pub async fn ensure_indexes(&self, indexes: &[Index]) -> Result<()> {
        let call = self.call("create index");
        for index in indexes {
            let mut definition = json!({ "fields": index.fields });
            if let (Some(members), Some(partial)) = (definition.as_object_mut(), &index.partial) {
                members.insert("partial_filter_selector".to_owned(), partial.clone());
            }
            let request = json!({
                "index": definition, "type": "json", "ddoc": index.design_document, "name": index.name,
            });
            let outgoing = Outgoing::new(&call, Method::POST, self.path("_index")).json(&request);
            self.couch
                .transport
                .repeatable(&outgoing)
                .await?
                .success(&call)?;
        }
        Ok(())
    }
}

/// A Mango index.
#[derive(Debug, Clone, PartialEq)]
pub struct Index {
    design_document: String,
    name: String,
    fields: Vec<String>,
    partial: Option<Value>,
}

impl Index {
    /// An index over `fields` in ascending order, in a design document of the same name.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        fields: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        let name = name.into();
        Self {
            design_document: name.clone(),
            name,
            fields: fields.into_iter().map(Into::into).collect(),
            partial: None,
        }
    }

    /// Only over documents that fit `selector`.
    #[must_use]
    pub fn partial(mut self, selector: Value) -> Self {
        self.partial = Some(selector);
        self
    }
}
