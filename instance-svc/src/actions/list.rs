//! Listing instances, a page at a time.

use crate::{
    domain::{instance::InstanceDocument, record::Record},
    error::Error,
    store::Store,
};

/// One row of a list.
#[derive(Debug)]
pub(crate) struct Row {
    /// The id of its documents.
    pub id: String,
    /// Its own document.
    pub document: InstanceDocument,
    /// What Hamlet knows beyond.
    pub record: Record,
}

/// A page of a list.
#[derive(Debug)]
pub(crate) struct Page {
    /// The rows, in the order of creation.
    pub rows: Vec<Row>,
    /// After which id the next page begins; `None` at the end.
    pub next: Option<String>,
}

/// Lists instances in the order of creation, from the one after `after`.
///
/// An instance that is being created has a place in the list before it exists; whether it exists is asked
/// of its own document, so that nobody sees half an instance. A page may so be shorter than `size`.
///
/// # Errors
/// Any fault of the database.
pub(crate) async fn list(store: &Store, after: Option<&str>, size: usize) -> Result<Page, Error> {
    let records = store.records_after(after, size).await?;
    let full = records.len() == size;
    let next = records
        .last()
        .filter(|_| full)
        .map(|record| record.id.clone());
    let ids: Vec<&str> = records.iter().map(|record| record.id.as_str()).collect();
    let mut documents = if ids.is_empty() {
        std::collections::HashMap::new()
    } else {
        store.instances(&ids).await?
    };
    let rows = records
        .into_iter()
        .filter_map(|record| {
            let document = documents.remove(&record.id)?;
            Some(Row {
                id: record.id,
                document: document.body,
                record: record.body,
            })
        })
        .collect();
    Ok(Page { rows, next })
}
