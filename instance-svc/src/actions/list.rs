//! Listing instances, a page at a time.

use couch::Document;

use crate::{
    domain::{instance::InstanceDocument, operation::Phase, record::Record},
    error::Error,
    operations::{Operation, Work, taking::forget_ended},
    store::{OperationLog, Store},
};

/// One row of a list.
#[derive(Debug)]
pub(crate) struct Row {
    /// The id that its documents share.
    pub id: String,
    /// The instance document.
    pub document: InstanceDocument,
    /// Its revision.
    pub rev: String,
    /// The record.
    pub record: Record,
}

/// A page of a list.
#[derive(Debug)]
pub(crate) struct Page {
    /// The rows, in the order of creation.
    pub rows: Vec<Row>,
    /// The id after which the next page begins; `None` on the last page.
    pub next: Option<String>,
}

/// Lists instances in the order of creation, beginning after `after`; softly deleted ones only with
/// `show_deleted`.
///
/// An instance that is being created has a place in the list before it exists. Whether it exists is decided by
/// its own document, so that no incomplete instance is shown. A page may therefore be shorter than `size`.
pub(crate) async fn list(
    store: &Store,
    after: Option<&str>,
    size: usize,
    show_deleted: bool,
) -> Result<Page, Error> {
    let (mut records, next) = read_records(store, after, size, show_deleted).await?;
    for record in &mut records {
        // An instance is freed after the end of its operation is reported.
        forget_ended(store, &mut record.body).await?;
    }
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
                rev: document.rev.as_str().to_owned(),
                document: document.body,
                record: record.body,
            })
        })
        .collect();
    Ok(Page { rows, next })
}

/// The creations whose instances do not exist yet, in the order of the ids of those instances, beginning after `after`.
/// They follow the instances in a list. Whoever reads both reads them first: an instance that is created meanwhile is
/// then in both and not in none.
pub(crate) async fn creations(
    store: &Store,
    log: &OperationLog<Work>,
    after: Option<&str>,
) -> Result<Vec<Document<Operation>>, Error> {
    let mut open = log.open().await?;
    open.retain(|found| {
        matches!(found.body.work, Work::Create(_))
            && matches!(found.body.phase, Phase::Queued | Phase::Running)
            && after.is_none_or(|after| found.body.instance.as_str() > after)
    });
    open.sort_by(|a, b| a.body.instance.cmp(&b.body.instance));
    if open.is_empty() {
        return Ok(open);
    }
    let ids: Vec<&str> = open.iter().map(|it| it.body.instance.as_str()).collect();
    let existing = store.instances(&ids).await?;
    open.retain(|found| !existing.contains_key(&found.body.instance));
    Ok(open)
}

/// The records of a page, and the id after which the next page begins. Hidden instances do not shorten a page.
async fn read_records(
    store: &Store,
    after: Option<&str>,
    size: usize,
    show_deleted: bool,
) -> Result<(Vec<Document<Record>>, Option<String>), Error> {
    let mut shown = Vec::with_capacity(size);
    let mut after = after.map(str::to_owned);
    loop {
        let read = store.records_after(after.as_deref(), size).await?;
        let last_read = read.len() < size;
        for record in read {
            after = Some(record.id.clone());
            if show_deleted || record.body.deleted_at.is_none() {
                shown.push(record);
            }
            if shown.len() == size {
                return Ok((shown, after));
            }
        }
        if last_read {
            return Ok((shown, None));
        }
    }
}
