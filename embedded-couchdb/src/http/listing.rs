//! The parameters of a listing of documents.

use super::{request::Query, view_query};
use crate::{api_error::ApiError, json::Json, rendering::DocOptions};

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
    pub(crate) doc_options: DocOptions,
}

/// Greater than every id.
const AFTER_ALL_IDS: char = '\u{10ffff}';

impl Listing {
    pub(crate) fn new(
        set: DocumentSet,
        query: &Query,
        body: Option<&Json>,
    ) -> Result<Self, ApiError> {
        // Parameters of the body take precedence over those of the query.
        let mut merged = Query::default();
        for (key, value) in query.pairs() {
            merged.push(key, value.clone());
        }
        let mut keys = query.json(&["keys"])?;
        for (key, value) in body.and_then(Json::as_obj).unwrap_or_default() {
            match key.as_str() {
                "keys" => keys = Some(value.clone()),
                // In a query these are JSON too.
                "key" | "startkey" | "start_key" | "endkey" | "end_key" => {
                    merged.push(key, value.to_string());
                }
                key => merged.push(
                    key,
                    value
                        .as_str()
                        .map_or_else(|| value.to_string(), str::to_owned),
                ),
            }
        }
        let keys = match keys {
            None => None,
            Some(Json::Arr(keys)) => Some(keys),
            Some(_) => {
                return Err(ApiError::bad_request(
                    "`keys` body member must be an array.",
                ));
            }
        };
        let descending = merged.on("descending")?;
        let mut listing = Self {
            set,
            keys,
            start: None,
            end: None,
            inclusive_end: merged.flag("inclusive_end")?.unwrap_or(true),
            descending,
            limit: merged.count("limit")?.unwrap_or(i64::MAX),
            skip: merged.count("skip")?.unwrap_or(0),
            include_docs: merged.on("include_docs")?,
            update_seq: merged.on("update_seq")?,
            doc_options: DocOptions {
                conflicts: merged.on("conflicts")?,
                attachments: merged.on("attachments")?,
                att_encoding_info: merged.on("att_encoding_info")?,
                ..DocOptions::default()
            },
        };
        let key = merged.json(&["key"])?;
        let bound = |names: &[&str]| -> Result<Option<String>, ApiError> {
            let given = match &key {
                Some(key) => Some(key.clone()),
                None => merged.json(names)?,
            };
            Ok(given.map(|key| match key {
                Json::Str(text) => text,
                // In CouchDB's collation, strings come after these types.
                Json::Null | Json::Bool(_) | Json::Int(_) | Json::Big(_) | Json::Float(_) => {
                    String::new()
                }
                Json::Arr(_) | Json::Obj(_) => AFTER_ALL_IDS.to_string(),
            }))
        };
        listing.start = bound(&["startkey", "start_key"])?;
        listing.end = bound(&["endkey", "end_key"])?;
        let contradicts = |bound: &Option<String>| match (listing.keys.as_deref(), bound) {
            (None | Some([]), _) | (_, None) => false,
            (Some([only]), Some(bound)) => only.as_str() != Some(bound),
            (Some(_), Some(_)) => true,
        };
        if contradicts(&listing.start) || contradicts(&listing.end) {
            return Err(view_query::keys_and_range());
        }
        if key.is_some() {
            listing.inclusive_end = true;
        }
        Ok(listing)
    }

    /// The lowest and the highest id of the range.
    pub(crate) fn bounds(&self) -> (Option<String>, Option<String>) {
        let (low, high) = if self.descending {
            (&self.end, &self.start)
        } else {
            (&self.start, &self.end)
        };
        if self.set != DocumentSet::Designs {
            return (low.clone(), high.clone());
        }
        let low = low
            .as_deref()
            .unwrap_or_default()
            .max("_design/")
            .to_owned();
        let high = high
            .as_deref()
            .map_or("_design0", |high| high.min("_design0"))
            .to_owned();
        (Some(low), Some(high))
    }

    pub(crate) fn table(&self) -> &'static str {
        if self.set == DocumentSet::Locals {
            "locals"
        } else {
            "docs"
        }
    }
}
