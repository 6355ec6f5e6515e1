//! One operation at a time on an instance that exists.
//!
//! The record's `operation` says which. Taking it is one write with the record's revision, so that of two
//! operations one wins. An operation that has ended, or that nobody knows any more, holds nothing: its
//! owner died between its end and its freeing.

use std::time::Duration;

use couch::Exchange;
use tokio::time::Instant;

use super::StepError;
use crate::{
    domain::{
        etag::etag,
        operation::Operation,
        record::{Record, Refusal},
    },
    error::Error,
    store::Store,
};

/// For how long to wait in place for the end of a creation: as a rule it is on its way, since the answer comes
/// before it.
const ENDING: Duration = Duration::from_millis(500);

/// What has to hold for an instance to be taken.
pub(super) struct Terms<'a> {
    /// The instance must be what it was when this was read; empty when that does not matter.
    pub etag: &'a str,
    /// What its state has to allow.
    pub allows: &'a (dyn Fn(&Record) -> Result<(), Refusal> + Sync),
}

/// Takes the instance for this operation. Once taken it stays so, and the terms are not asked again.
///
/// # Errors
/// For good: there is no such instance, another operation has it, it has changed, or its state does not
/// allow it.
pub(super) async fn take(
    store: &Store,
    id: &str,
    operation: &Operation,
    terms: Terms<'_>,
) -> Result<Record, StepError> {
    loop {
        let Some(found) = store.record(&operation.instance).await? else {
            return Err(Error::NoSuchInstance(operation.domain.clone()).into());
        };
        let mut record = found.body;
        if record.operation.as_deref() == Some(id) {
            return Ok(record);
        }
        require_idle(store, &operation.domain, &record).await?;
        require_created(store, &record).await?;
        (terms.allows)(&record).map_err(|why| Error::Refused {
            domain: operation.domain.clone(),
            why,
        })?;
        if !terms.etag.is_empty() {
            require_unchanged(store, operation, &record, terms.etag).await?;
        }
        record.operation = Some(id.to_owned());
        match store
            .replace_record(&operation.instance, &found.rev, &record)
            .await?
        {
            Exchange::Won(_) => return Ok(record),
            Exchange::Lost => {}
        }
    }
}

/// Whether this operation has the instance.
///
/// A process that was stopped and woken may be in the middle of a step of an operation that somebody else
/// has finished since. Before it writes to a document it asks this, *after* it read the document: whatever
/// a later operation wrote then has another revision than the one read, or this says no.
pub(super) async fn has(
    store: &Store,
    id: &str,
    operation: &Operation,
) -> Result<bool, couch::Error> {
    let record = store.record(&operation.instance).await?;
    Ok(record.is_some_and(|record| record.body.operation.as_deref() == Some(id)))
}

/// Writes the record a last time and frees the instance, both in one write. Nothing to do when this
/// operation does not have it.
pub(super) async fn free(
    store: &Store,
    id: &str,
    operation: &Operation,
    last: impl Fn(&mut Record) + Send,
) -> Result<(), StepError> {
    loop {
        let Some(found) = store.record(&operation.instance).await? else {
            return Ok(());
        };
        let mut record = found.body;
        if record.operation.as_deref() != Some(id) {
            return Ok(());
        }
        last(&mut record);
        record.operation = None;
        match store
            .replace_record(&operation.instance, &found.rev, &record)
            .await?
        {
            Exchange::Won(_) => return Ok(()),
            Exchange::Lost => {}
        }
    }
}

/// Refuses an instance that another operation has.
///
/// # Errors
/// [`Error::Busy`]; any fault of the database.
pub(crate) async fn require_idle(
    store: &Store,
    domain: &str,
    record: &Record,
) -> Result<(), Error> {
    let Some(other) = &record.operation else {
        return Ok(());
    };
    let running = store
        .operation(other)
        .await?
        .is_some_and(|other| !other.body.phase.is_end());
    if running {
        return Err(Error::Busy {
            domain: domain.to_owned(),
            operation: other.clone(),
        });
    }
    Ok(())
}

/// Waits for the end of the creation. Its owner may have died between the publication and that: whoever goes
/// on with it makes again what a destruction has removed meanwhile.
async fn require_created(store: &Store, record: &Record) -> Result<(), StepError> {
    let patience = Instant::now() + ENDING;
    loop {
        let creation = store.operation(&record.created_by).await?;
        if creation.is_none_or(|creation| creation.body.phase.is_end()) {
            return Ok(());
        }
        if Instant::now() >= patience {
            let wait = format!("operations/{} is not at its end yet", record.created_by);
            return Err(StepError::Later(wait));
        }
        tokio::time::sleep(ENDING / 20).await;
    }
}

async fn require_unchanged(
    store: &Store,
    operation: &Operation,
    record: &Record,
    wanted: &str,
) -> Result<(), StepError> {
    let (document, settings) = tokio::try_join!(
        store.instance(&operation.instance),
        store.settings(operation.place())
    )?;
    let Some(document) = document else {
        return Err(Error::NoSuchInstance(operation.domain.clone()).into());
    };
    let settings = settings.as_ref().map(|settings| settings.rev.as_str());
    if etag(document.rev.as_str(), Some(record), settings) != wanted {
        return Err(Error::EtagMismatch(operation.domain.clone()).into());
    }
    Ok(())
}
