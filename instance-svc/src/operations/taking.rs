//! Exclusive access to an existing instance: one operation at a time works on it.
//!
//! The record's `operation` names that operation. An operation takes the instance with one write at the
//! record's revision, so that one of two operations wins. It frees the instance after its end is written, and
//! an operation that has ended holds nothing. So an operation that has not ended has the instance exactly if
//! the record names it.
//!
//! The instance may be taken in parallel with the write that accepts the operation. If a record names an
//! operation that does not exist, other operations wait up to [`GRACE`] for it to appear.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use couch::{Document, Exchange};
use tokio::time::Instant;

use super::engine::StepError;
use crate::{
    domain::{etag::etag, operation::Envelope, record::Record},
    error::Error,
    store::Store,
};

/// How long to wait in place for the end of a creation, which normally follows within moments.
const ENDING: Duration = Duration::from_millis(500);

/// How long a record may name an operation that does not exist before the entry is ignored.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// What has to hold for an instance to be taken.
pub(super) trait Conditions: Send + Sync {
    /// Checks whether the instance may be taken. The check is made on the revision of the record that the
    /// taking write replaces.
    ///
    /// # Errors
    /// Fails for good when the instance or its state does not allow the operation.
    fn look(&mut self, record: &Record) -> impl Future<Output = Result<(), StepError>> + Send;

    /// Notes what has to be in the record before the operation writes anything else.
    fn mark(&self, _: &mut Record) {}
}

/// Takes the instance for this operation and returns the current record. If the operation has the instance
/// already, the conditions are not checked again.
///
/// # Errors
/// Fails for good when the instance does not exist, another operation has it, or the conditions do not hold.
pub(super) async fn take(
    store: &Store,
    created: &CreatedInstances,
    id: &str,
    operation: &Envelope,
    conditions: &mut impl Conditions,
) -> Result<Document<Record>, StepError> {
    loop {
        let Some(found) = store.record(&operation.instance).await? else {
            return Err(Error::NoSuchInstance(operation.domain.clone()).into());
        };
        if found.body.operation.as_deref() == Some(id) {
            return Ok(found);
        }
        require_idle(store, &operation.domain, &found.body).await?;
        if !created.know(&operation.instance, &found.body) {
            require_created(store, &found.body).await?;
            created.note(&operation.instance);
        }
        conditions.look(&found.body).await?;
        let conditions = &*conditions;
        let mark = |record: &mut Record| conditions.mark(record);
        if let Some(taken) = try_take(store, id, operation, found, mark).await? {
            return Ok(taken);
        }
    }
}

/// Takes an instance in one write, given its record as it was read while the instance was idle, and writes into the
/// record with it. `None` when the record has changed since.
pub(super) async fn try_take(
    store: &Store,
    id: &str,
    operation: &Envelope,
    found: Document<Record>,
    mark: impl FnOnce(&mut Record) + Send,
) -> Result<Option<Document<Record>>, couch::Error> {
    let mut record = found.body;
    mark(&mut record);
    record.operation = Some(id.to_owned());
    record.created = true;
    let written = store
        .replace_record(&operation.instance, &found.rev, &record)
        .await?;
    Ok(match written {
        Exchange::Won(rev) => Some(Document {
            id: found.id,
            rev,
            body: record,
        }),
        Exchange::Lost => None,
    })
}

/// How an operation stands to the instance that it works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has the instance.
    Has,
    /// It does not: another owner has finished it, or another operation has taken the instance.
    HasNot,
    /// There is no such instance any more.
    Gone,
}

/// Whether this operation has the instance.
///
/// A process that was paused and resumed may be in the middle of a step of an operation that another replica
/// has finished since. It calls this after reading a document and before writing it. If a later operation has
/// written the document since, either the document's revision differs from the one read, or this says that the
/// operation does not have the instance.
pub(super) async fn standing(
    store: &Store,
    id: &str,
    operation: &Envelope,
) -> Result<Standing, couch::Error> {
    let (record, now) = tokio::try_join!(store.record(&operation.instance), store.operation(id))?;
    let Some(record) = record else {
        return Ok(Standing::Gone);
    };
    let is_named = record.body.operation.as_deref() == Some(id);
    let has_ended = now.is_some_and(|now| now.body.phase.is_end());
    Ok(if is_named && !has_ended {
        Standing::Has
    } else {
        Standing::HasNot
    })
}

/// Whether this operation has the instance, see [`standing`].
pub(super) async fn has(
    store: &Store,
    id: &str,
    operation: &Envelope,
) -> Result<bool, couch::Error> {
    Ok(standing(store, id, operation).await? == Standing::Has)
}

/// Writes the record while this operation has the instance; otherwise does nothing.
///
/// `known` is the record as it was last seen, which saves a read.
pub(super) async fn write_record(
    store: &Store,
    id: &str,
    operation: &Envelope,
    known: Option<&Document<Record>>,
    write: impl Fn(&mut Record) + Send,
) -> Result<Option<Document<Record>>, couch::Error> {
    let mut known = known.cloned();
    loop {
        let found = match known.take() {
            Some(known) => Some(known),
            None => store.record(&operation.instance).await?,
        };
        let Some(found) = found.filter(|found| found.body.operation.as_deref() == Some(id)) else {
            return Ok(None);
        };
        let mut record = found.body.clone();
        write(&mut record);
        if record == found.body {
            return Ok(Some(found));
        }
        match store
            .replace_record(&operation.instance, &found.rev, &record)
            .await?
        {
            Exchange::Won(rev) => {
                return Ok(Some(Document {
                    id: found.id,
                    rev,
                    body: record,
                }));
            }
            // Another owner may have ended the operation meanwhile.
            Exchange::Lost if !has(store, id, operation).await? => return Ok(None),
            Exchange::Lost => {}
        }
    }
}

/// Frees the instance. Nothing to do when the record does not name this operation.
pub(super) async fn free(
    store: &Store,
    id: &str,
    operation: &Envelope,
) -> Result<(), couch::Error> {
    free_and(store, id, operation, |_| {}).await
}

/// Frees the instance, and writes into the record with it. Nothing to do when the record does not name this operation.
pub(super) async fn free_and(
    store: &Store,
    id: &str,
    operation: &Envelope,
    write: impl Fn(&mut Record) + Send + Sync,
) -> Result<(), couch::Error> {
    loop {
        let found = store.record(&operation.instance).await?;
        let Some(found) = found.filter(|found| found.body.operation.as_deref() == Some(id)) else {
            return Ok(());
        };
        if free_at(store, operation, &found, &write).await? {
            return Ok(());
        }
    }
}

/// Frees the instance with one write, if its record is still as it was seen, and writes into the record with it.
/// Whether it was.
pub(super) async fn free_at(
    store: &Store,
    operation: &Envelope,
    seen: &Document<Record>,
    write: impl FnOnce(&mut Record),
) -> Result<bool, couch::Error> {
    let mut record = seen.body.clone();
    write(&mut record);
    if let Some(ended) = record.operation.take() {
        record.last_operation = Some(ended);
    }
    let freed = store
        .replace_record(&operation.instance, &seen.rev, &record)
        .await?;
    Ok(matches!(freed, Exchange::Won(_)))
}

/// Refuses an instance that another operation has.
///
/// # Errors
/// [`Error::Busy`].
pub(crate) async fn require_idle(
    store: &Store,
    domain: &str,
    record: &Record,
) -> Result<(), Error> {
    let Some(other) = &record.operation else {
        return Ok(());
    };
    let end = Instant::now() + GRACE;
    loop {
        // Asked before the look: a look that took long shows what was there when it began.
        let is_over = Instant::now() >= end;
        match store.operation(other).await? {
            Some(found) if found.body.phase.is_end() => return Ok(()),
            Some(_) => {
                return Err(Error::Busy {
                    domain: domain.to_owned(),
                    operation: other.clone(),
                });
            }
            // The operation is about to be written, or was forgotten long ago.
            None if is_over => return Ok(()),
            None => tokio::time::sleep(GRACE / 8).await,
        }
    }
}

/// Clears the record's operation if that operation has ended or does not exist: it holds nothing any more.
pub(crate) async fn forget_ended(store: &Store, record: &mut Record) -> Result<(), couch::Error> {
    if let Some(operation) = &record.operation {
        let found = store.operation(operation).await?;
        if found.is_none_or(|found| found.body.phase.is_end()) {
            record.operation = None;
        }
    }
    Ok(())
}

/// Waits for the end of the creation. Its owner may have died after the publication and before the end; the
/// replica that resumes it would make again what a destruction had removed.
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

/// Refuses an instance whose etag differs from `wanted`. An empty `wanted` matches any.
///
/// # Errors
/// [`Error::NoSuchInstance`], [`Error::EtagMismatch`].
pub(super) async fn require_unchanged(
    store: &Store,
    operation: &Envelope,
    record: &Record,
    wanted: &str,
) -> Result<(), StepError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let (document, settings) = tokio::try_join!(
        store.instance(&operation.instance),
        store.settings(operation.location())
    )?;
    let Some(document) = document else {
        return Err(Error::NoSuchInstance(operation.domain.clone()).into());
    };
    let settings = settings.as_ref().map(|settings| settings.rev.as_str());
    let record = record.following(&document.body);
    if etag(document.rev.as_str(), Some(&record), settings) != wanted {
        return Err(Error::EtagMismatch(operation.domain.clone()).into());
    }
    Ok(())
}

/// The latest instances whose creation is known by this process to have ended. Without it every operation would
/// spend a request to find out. For other instances the record may tell.
#[derive(Clone, Debug, Default)]
pub(crate) struct CreatedInstances(Arc<Mutex<(HashSet<String>, VecDeque<String>)>>);

impl CreatedInstances {
    /// How many are remembered.
    const MOST: usize = 10_000;

    /// Whether the creation of this instance is known to have ended.
    pub(super) fn know(&self, instance: &str, record: &Record) -> bool {
        record.created
            || self
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .0
                .contains(instance)
    }

    /// Notes that the creation of this instance has ended.
    pub(super) fn note(&self, instance: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (set, order) = &mut *known;
        if set.insert(instance.to_owned()) {
            order.push_back(instance.to_owned());
            if order.len() > Self::MOST
                && let Some(oldest) = order.pop_front()
            {
                set.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CreatedInstances, Record};

    #[test]
    fn the_latest_creations_are_remembered_in_bounded_memory() {
        let created = CreatedInstances::default();
        let record = Record::default();
        for number in 0..=CreatedInstances::MOST {
            created.note(&number.to_string());
        }
        assert!(!created.know("0", &record));
        assert!(created.know("1", &record));
        let told = Record {
            created: true,
            ..Record::default()
        };
        assert!(created.know("0", &told));
    }
}
