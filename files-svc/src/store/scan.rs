//! Scans all documents of an instance for a check.
//!
//! Findings are decided by documents that are read by id. The index gives only the order of directories.

use std::collections::HashMap;

use couch::{AllDocs, Document, Find, Sort};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};

use super::{Named, Store};
use crate::{
    domain::{
        databases::BY_PARENT,
        integrity::{Entry, Parent},
    },
    error::Error,
};

/// How many documents are held in memory at once.
const CHUNK: usize = 200;

/// A child of any directory.
#[derive(Debug)]
pub(crate) struct Child {
    /// The id of its document.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// The id of the directory.
    pub(crate) directory: String,
}

impl Store {
    /// All documents of the tree in the order of their ids, in chunks, each with the number of its conflicting
    /// revisions.
    pub(crate) fn entries_by_id(
        &self,
    ) -> impl Stream<Item = Result<Vec<(Entry, usize)>, Error>> + Send + use<> {
        self.files
            .all_docs_with_conflicts::<Value>(AllDocs::new().page_size(CHUNK))
            .map_err(Error::from)
            .try_filter(|(document, _)| std::future::ready(!document.id.starts_with('_')))
            .map_ok(|(document, conflicts)| {
                (Entry::read(document.id, document.body), conflicts.len())
            })
            .try_chunks(CHUNK)
            .map_err(|stopped| stopped.1)
    }

    /// The documents with these ids. Missing documents are not in the map.
    pub(crate) async fn entries(&self, ids: &[&str]) -> Result<HashMap<String, Entry>, Error> {
        let found = self.files.get_many::<Value>(ids).await?;
        Ok(found
            .into_iter()
            .map(|(id, document)| (id.clone(), Entry::read(id, document.body)))
            .collect())
    }

    /// The parent directories that these documents name, by id, in one call.
    pub(crate) async fn parents_of(
        &self,
        entries: impl Iterator<Item = &Entry> + Send,
    ) -> Result<HashMap<String, Parent>, Error> {
        let mut ids: Vec<&str> = entries.map(Entry::parent_id).collect();
        ids.sort_unstable();
        ids.dedup();
        let asked: Vec<&str> = ids.iter().copied().filter(|id| !id.is_empty()).collect();
        let found = self.entries(&asked).await?;
        Ok(ids
            .into_iter()
            .map(|id| (id.to_owned(), Parent::of(id, found.get(id))))
            .collect())
    }

    /// The children of all directories, grouped by directory, in the order of their ids.
    pub(crate) fn children_by_directory(
        &self,
    ) -> impl Stream<Item = Result<Child, Error>> + Send + use<> {
        self.children_where(json!({ "dir_id": { "$gt": null } }))
    }

    /// The children of one directory, in the order of their ids.
    pub(crate) fn children_of(
        &self,
        directory: &str,
    ) -> impl Stream<Item = Result<Child, Error>> + Send + use<> {
        self.children_where(json!({ "dir_id": directory }))
    }

    fn children_where(
        &self,
        selector: Value,
    ) -> impl Stream<Item = Result<Child, Error>> + Send + use<> {
        let order = ["dir_id", "_id"].map(|field| Sort::Ascending(field.to_owned()));
        let query = Find::new(selector)
            .sort(order)
            .use_index(BY_PARENT, None)
            .fields(["name", "dir_id"])
            .page_size(1000);
        self.files
            .find::<Value>(query)
            .map_err(Error::from)
            .try_filter_map(|Document { id, body, .. }| {
                // A document with fields of other types has no name. Another part of the check reports it.
                let named = serde_json::from_value::<Named>(body).ok();
                std::future::ready(Ok(named.map(|named| Child {
                    id,
                    name: named.name,
                    directory: named.dir_id,
                })))
            })
    }

    /// All documents of old versions, in chunks. Empty when the database of versions does not exist: very old software
    /// created none.
    pub(crate) fn versions_by_id(
        &self,
    ) -> impl Stream<Item = Result<Vec<Document<Value>>, Error>> + Send + use<> {
        self.versions
            .all_docs_with_bodies::<Value>(AllDocs::new().page_size(CHUNK))
            .try_filter(|document| std::future::ready(!document.id.starts_with('_')))
            .map_err(Error::from)
            .filter(|found| {
                let missing = found.as_ref().is_err_and(Error::is_database_missing);
                std::future::ready(!missing)
            })
            .try_chunks(CHUNK)
            .map_err(|stopped| stopped.1)
    }

    /// The documents of old versions with these ids. Missing documents are not in the map.
    pub(crate) async fn versions(
        &self,
        ids: &[&str],
    ) -> Result<HashMap<String, Document<Value>>, Error> {
        match self
            .versions
            .get_many::<Value>(ids)
            .await
            .map_err(Error::from)
        {
            Err(error) if error.is_database_missing() => Ok(HashMap::new()),
            found => found,
        }
    }
}
