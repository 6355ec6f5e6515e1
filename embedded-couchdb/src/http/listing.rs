//! The parameters of a listing of documents.

use super::{
    request::Query,
    view_query::{self, ViewQuery},
};
use crate::{api_error::ApiError, json::Json, rendering::DocOptions, storage::partitions};

/// Which documents are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DocumentSet {
    Documents,
    Designs,
    Locals,
}

/// The parameters.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    pub(crate) set: DocumentSet,
    pub(crate) keys: Option<Vec<Json>>,
    pub(crate) start: Option<String>,
    pub(crate) end: Option<String>,
    pub(crate) inclusive_end: bool,
    pub(crate) descending: bool,
    pub(crate) limit: i64,
    pub(crate) skip: i64,
    pub(crate) include_docs: bool,
    pub(crate) update_seq: bool,
    pub(crate) partition: Option<String>,
    pub(crate) doc_options: DocOptions,
}

impl Listing {
    /// The parameters of a request for one listing.
    pub(crate) fn new(
        set: DocumentSet,
        query: &Query,
        body: Option<&Json>,
    ) -> Result<Self, ApiError> {
        let keys = match body {
            None => match query.json(&["keys"])? {
                Some(Json::Arr(keys)) => Some(keys),
                None => None,
                Some(_) => {
                    return Err(ApiError::bad_request("`keys` parameter must be an array."));
                }
            },
            Some(body) => match body.get("keys") {
                Some(Json::Arr(keys)) => Some(keys.clone()),
                None => None,
                Some(_) => {
                    return Err(ApiError::bad_request(
                        "`keys` body member must be an array.",
                    ));
                }
            },
        };
        let parsed = ViewQuery::parse(query, body, false)?;
        if let Some([only]) = keys.as_deref()
            && [&parsed.start.key, &parsed.end.key]
                .into_iter()
                .flatten()
                .any(|bound| bound != only)
        {
            return Err(view_query::keys_and_range());
        }
        let mut listing = Self::of(set, parsed)?;
        listing.keys = keys.or(listing.keys);
        Ok(listing)
    }

    /// The parameters of one of several listings.
    pub(crate) fn one_of_several(
        set: DocumentSet,
        query: &Query,
        own: &Json,
    ) -> Result<Self, ApiError> {
        Self::of(set, ViewQuery::parse(query, Some(own), true)?)
    }

    fn of(set: DocumentSet, query: ViewQuery) -> Result<Self, ApiError> {
        query.check(false)?;
        Ok(Self {
            set,
            start: query.start.as_id(),
            end: query.end.as_id(),
            keys: query.keys,
            inclusive_end: query.inclusive_end,
            descending: query.descending,
            limit: query.limit,
            skip: query.skip,
            include_docs: query.include_docs,
            update_seq: query.update_seq,
            partition: query.partition,
            doc_options: DocOptions {
                conflicts: query.conflicts == Some(true),
                attachments: query.attachments,
                att_encoding_info: query.att_encoding_info,
                ..DocOptions::default()
            },
        })
    }

    /// The lowest and the highest id of the range.
    pub(crate) fn bounds(&self) -> (Option<String>, Option<String>) {
        let (low, high) = if self.descending {
            (&self.end, &self.start)
        } else {
            (&self.start, &self.end)
        };
        let (mut low, mut high) = (low.clone(), high.clone());
        let mut narrow = |from: String, to: String| {
            low = Some(low.take().map_or(from.clone(), |low| low.max(from)));
            high = Some(high.take().map_or(to.clone(), |high| high.min(to)));
        };
        if self.set == DocumentSet::Designs {
            narrow("_design/".to_owned(), "_design0".to_owned());
        }
        if let Some(partition) = &self.partition {
            let (from, to) = partitions::ids(partition);
            narrow(from, to);
        }
        (low, high)
    }

    pub(crate) fn table(&self) -> &'static str {
        if self.set == DocumentSet::Locals {
            "locals"
        } else {
            "docs"
        }
    }
}
