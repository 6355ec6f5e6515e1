//! Changing an instance that exists. Updating, blocking, deleting softly, setting a passphrase and the like are
//! verbs of this one kind.
//!
//! Each step may be done any number of times, and may be resumed by an owner that was paused in the middle of
//! it: see [`taking::has`].
//!
//! Most changes are decided when the instance is taken ([`Change::is_decided_when_taken`]), and an idle
//! instance is taken in parallel with the write that accepts the operation ([`early`]). The copies that lists
//! read are updated by the write that frees the instance, after the caller was answered; if that write is
//! missing, adoption updates them. So a change of one field costs four writes: two of them run at the same
//! time, and nobody waits for one.

mod early;
mod outcome;
mod secrets;
mod work;

use std::time::Duration;

use couch::{Document, Exchange};
use futures::future::BoxFuture;
use prost_types::Any;

pub use self::work::{ChangeWork, Seen};
use super::{
    Sealing, Work, claims,
    engine::{
        Afterwards, Detail, Due, EarlyFuture, Kind, LookFuture, Looked, Report, Step, StepError,
        Task, kind::position_of, nothing,
    },
    taking::{self, Conditions, CreatedInstances, Standing},
};
use crate::{
    clock::Clock,
    config::Config,
    domain::{
        change::{Change, ChangeKind},
        instance::{InstanceDocument, SETTINGS_ID},
        operation::Phase,
        record::Record,
        time::Time,
    },
    error::Error,
    operations::sealing::Carried,
    store::Store,
};

/// What a change needs to run.
#[derive(Clone, Debug)]
pub struct Changing {
    pub(crate) store: Store,
    pub(crate) sealing: Sealing,
    pub(crate) config: Config,
    pub(crate) created: CreatedInstances,
    pub(crate) clock: Clock,
}

const TAKE: usize = position_of::<Changing>("take");

impl Kind for Changing {
    type Work = ChangeWork;
    type All = Work;

    /// A step with nothing to do sends no request to the database.
    const STEPS: &'static [Step<Self>] = &[
        Step::<Self>::new("take", |it, task| Box::pin(it.take(task)))
            .undone_by(|it, task| Box::pin(it.free(task))),
        // The next owner has to know which names to release.
        Step::<Self>::new("claims", |it, task| Box::pin(it.claim_names(task)))
            .undone_by(|it, task| Box::pin(it.release_stray(task)))
            .written_before_if(|work| !work.change.added.is_empty()),
        // The point of no return.
        Step::<Self>::new("settings", |it, task| Box::pin(it.write_settings(task)))
            .written_before_if(|work| !work.change.is_decided_when_taken()),
        Step::<Self>::new("sessions", |it, task| Box::pin(it.end_sessions(task))),
        // The number of removed items has to be written, because the result reports it.
        Step::<Self>::new("document", |it, task| Box::pin(it.write_document(task)))
            .written_before_if(|work| work.change.kind == ChangeKind::Sessions),
        Step::<Self>::new("release", |it, task| Box::pin(it.release_names(task))),
        Step::<Self>::new("record", |it, task| Box::pin(it.write_record(task))),
    ];

    const NAMES: &'static [&'static str] = ChangeKind::NAMES;

    fn name(work: &ChangeWork) -> &'static str {
        work.change.kind.name()
    }

    fn reversible_steps(work: &ChangeWork) -> usize {
        if work.change.is_decided_when_taken() {
            0
        } else {
            2
        }
    }

    fn refuses_cancel(work: &ChangeWork, irreversible: bool) -> Option<&'static str> {
        (irreversible || work.change.is_decided_when_taken())
            .then_some("the change is being written; change it back once it has ended")
    }

    /// A change that is decided when the instance is taken may have begun, although the previous owner has not
    /// written that.
    fn patience(&self, task: Task<'_, ChangeWork>) -> Option<Duration> {
        (!task.work.change.is_decided_when_taken()).then(|| self.config.creation_patience())
    }

    fn begin_early<'a>(&'a self, task: Task<'a, ChangeWork>) -> EarlyFuture<'a, ChangeWork> {
        Box::pin(self.take_early(task))
    }

    fn afterwards(task: Task<'_, ChangeWork>, end: Phase) -> Afterwards {
        // A softly deleted instance is destroyed when its time has come.
        let purge_at = task
            .work
            .change
            .record
            .purge_at()
            .filter(|_| end == Phase::Succeeded);
        match purge_at {
            Some(purge_at) => Afterwards::FallsDue(purge_at),
            // A second owner may have claimed a name, or taken the instance, after the end.
            None if task.envelope.taken_over => Afterwards::LookAgain,
            None => Afterwards::Nothing,
        }
    }

    fn tidy<'a>(&'a self, task: Task<'a, ChangeWork>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if let Err(error) = self.free_with_copies(task).await {
                tracing::debug!(
                    operation = task.id,
                    error = &error as &dyn std::error::Error,
                    "the instance could not be freed; the next operation on it ignores the ended one"
                );
            }
        })
    }

    fn look_again<'a>(&'a self, task: Task<'a, ChangeWork>) -> LookFuture<'a, ChangeWork> {
        Box::pin(async move {
            let report = self.release_stray(task).await?;
            taking::free(&self.store, task.id, task.envelope).await?;
            Ok(Looked::Over(report))
        })
    }

    fn fall_due<'a>(
        &'a self,
        task: Task<'a, ChangeWork>,
        now: Time,
    ) -> BoxFuture<'a, Result<Due<Work>, Error>> {
        Box::pin(self.destroy_when_due(task, now))
    }

    fn respond<'a>(
        &'a self,
        task: Task<'a, ChangeWork>,
        detail: Detail,
    ) -> BoxFuture<'a, Result<Any, Error>> {
        Box::pin(self.outcome(task, detail))
    }
}

impl Changing {
    async fn take(&self, task: Task<'_, ChangeWork>) -> Result<Report<ChangeWork>, StepError> {
        let mut conditions = ChangeConditions {
            changing: self,
            task,
            carried: self.carried(task)?,
            document: None,
        };
        let created = &self.created;
        let record = taking::take(
            &self.store,
            created,
            task.id,
            task.envelope,
            &mut conditions,
        )
        .await?;
        if conditions.document.is_none() {
            // The instance was taken in an earlier run of the step.
            conditions.read_document().await?;
        }
        let settled = settled(
            &task.work.change,
            conditions.document.as_ref(),
            &record.body,
        );
        Ok(Box::new(move |work| work.settle(settled)))
    }

    async fn free(&self, task: Task<'_, ChangeWork>) -> Result<Report<ChangeWork>, StepError> {
        taking::free(&self.store, task.id, task.envelope).await?;
        Ok(nothing())
    }

    /// Frees the instance after the end, and brings the copies in the record up to date with what was changed.
    async fn free_with_copies(&self, task: Task<'_, ChangeWork>) -> Result<(), couch::Error> {
        let (store, envelope) = (&self.store, task.envelope);
        let is_made = envelope.phase == Phase::Succeeded;
        let document = task.work.seen.get().map(|seen| &seen.document.body);
        let write = |record: &mut Record| {
            if !is_made {
                return;
            }
            task.work.change.apply_to_record(record);
            if let (Some(own), Some(document)) = (&mut record.own_block, document)
                && own.is_empty()
                && document.blocked
            {
                own.clone_from(&document.blocking_reason);
            }
        };
        if let Some(seen) = task.work.seen.get()
            && taking::free_at(store, envelope, &seen.record, write).await?
        {
            return Ok(());
        }
        // What was seen is not what is there now.
        taking::free_and(store, task.id, envelope, write).await
    }

    /// Claims the added names, one at a time, in byte order.
    async fn claim_names(
        &self,
        task: Task<'_, ChangeWork>,
    ) -> Result<Report<ChangeWork>, StepError> {
        let change = &task.work.change;
        if change.added.is_empty() || !taking::has(&self.store, task.id, task.envelope).await? {
            return Ok(nothing());
        }
        for wanted in &change.added {
            let claim = claims::of_operation(wanted, task.id, task.envelope, &self.clock);
            claims::claim(&self.store, wanted, &claim).await?;
        }
        if taking::has(&self.store, task.id, task.envelope).await? {
            return Ok(nothing());
        }
        self.release_stray(task).await
    }

    /// Releases the names that this operation claimed and the instance does not have. Either the change was
    /// undone, or another owner finished it and a later change removed the name again.
    async fn release_stray(
        &self,
        task: Task<'_, ChangeWork>,
    ) -> Result<Report<ChangeWork>, StepError> {
        if task.work.change.added.is_empty() {
            return Ok(nothing());
        }
        let document = self.store.instance(&task.envelope.instance).await?;
        let kept = document.map_or_else(Vec::new, |found| found.body.wanted());
        for name in task.work.change.added.iter().rev() {
            if !kept.iter().any(|kept| kept.id == name.id) {
                self.store
                    .release(&name.id, |claim| claim.operation == task.id)
                    .await?;
            }
        }
        Ok(nothing())
    }

    /// Releases the removed names, in reverse order.
    async fn release_names(
        &self,
        task: Task<'_, ChangeWork>,
    ) -> Result<Report<ChangeWork>, StepError> {
        for name in task.work.change.removed.iter().rev() {
            let Some(seen) = self.store.claim_of(&name.id).await? else {
                continue;
            };
            let ours = seen.instance == task.envelope.instance
                && taking::has(&self.store, task.id, task.envelope).await?;
            if ours {
                // The claim of a later operation differs from the one that was read.
                self.store.release(&name.id, |found| *found == seen).await?;
            }
        }
        Ok(nothing())
    }

    /// Whether a write may be tried. A document that still has the revision read when the instance was taken
    /// has not been changed since. A document that was read again may have been written after the end of this
    /// operation.
    async fn may_write(
        &self,
        task: Task<'_, ChangeWork>,
        read_again: bool,
    ) -> Result<bool, StepError> {
        if !read_again {
            return Ok(true);
        }
        match taking::standing(&self.store, task.id, task.envelope).await? {
            Standing::Has => Ok(true),
            // The instance was destroyed, or another owner has finished the change.
            Standing::Gone => Ok(false),
            Standing::HasNot if task.envelope.taken_over => Ok(false),
            Standing::HasNot => Err(lost()),
        }
    }

    async fn write_settings(
        &self,
        task: Task<'_, ChangeWork>,
    ) -> Result<Report<ChangeWork>, StepError> {
        let report = if task.work.change.changes_settings() {
            self.write_own_settings(task).await?
        } else {
            nothing()
        };
        self.write_vault(task).await?;
        Ok(report)
    }

    async fn write_own_settings(
        &self,
        task: Task<'_, ChangeWork>,
    ) -> Result<Report<ChangeWork>, StepError> {
        let location = task.envelope.location();
        let mut known = task.work.seen.get().and_then(|seen| seen.settings.clone());
        let mut read_again = known.is_none();
        loop {
            let found = match known.take() {
                Some(known) => known,
                None => self.store.settings(location).await?,
            };
            let (rev, mut settings) = match found {
                Some(found) => (Some(found.rev), found.body),
                None => (None, serde_json::Map::new()),
            };
            let changed = task.work.change.apply_to_settings(&mut settings);
            if !changed && !read_again {
                // What was seen beside the record may be older than that.
                read_again = true;
                continue;
            }
            if !changed || !self.may_write(task, read_again).await? {
                return Ok(nothing());
            }
            match self
                .store
                .write_settings(location, rev.as_ref(), &settings)
                .await?
            {
                Exchange::Won(rev) => {
                    let written = Document {
                        id: SETTINGS_ID.to_owned(),
                        rev,
                        body: settings,
                    };
                    return Ok(Box::new(move |work| work.see_settings(written)));
                }
                // Another writer changed the settings meanwhile: the change is applied to what it wrote.
                Exchange::Lost => read_again = true,
            }
        }
    }

    async fn write_document(
        &self,
        task: Task<'_, ChangeWork>,
    ) -> Result<Report<ChangeWork>, StepError> {
        let change = &task.work.change;
        if !change.changes_document() && task.envelope.sealed.is_none() {
            return Ok(nothing());
        }
        let carried = self.carried(task)?;
        let instance = &task.envelope.instance;
        let mut known = task.work.seen.get().map(|seen| seen.document.clone());
        let mut read_again = known.is_none();
        loop {
            let found = match known.take() {
                Some(known) => Some(known),
                None => self.store.instance(instance).await?,
            };
            // Other software may have removed the document: then there is nothing to change.
            let Some(mut found) = found else {
                return Ok(nothing());
            };
            let mut changed = change.apply_to_document(&mut found.body);
            if let Some(carried) = &carried {
                changed |= carried.apply(&mut found.body);
            }
            if !changed && !read_again {
                // What was seen beside the record may be older than that.
                read_again = true;
                continue;
            }
            if !changed || !self.may_write(task, read_again).await? {
                return Ok(nothing());
            }
            match self
                .store
                .replace_instance(instance, &found.rev, &found.body)
                .await?
            {
                Exchange::Won(rev) => {
                    let written = Document { rev, ..found };
                    return Ok(Box::new(move |work| work.see_document(written)));
                }
                // Another writer changed the document meanwhile: the change is applied to what it wrote.
                Exchange::Lost => read_again = true,
            }
        }
    }

    /// Writes the changes of the record. Its copies of fields of the instance document are written later where
    /// only lists read them.
    async fn write_record(
        &self,
        task: Task<'_, ChangeWork>,
    ) -> Result<Report<ChangeWork>, StepError> {
        let change = &task.work.change;
        if change.is_decided_when_taken() && !change.changes_record() {
            return Ok(nothing());
        }
        let known = task.work.seen.get().map(|seen| &seen.record);
        let written = taking::write_record(&self.store, task.id, task.envelope, known, |record| {
            change.apply_to_record(record);
        })
        .await?;
        match written {
            Some(written) => Ok(Box::new(move |work| work.see_record(written))),
            None if self.may_write(task, true).await? => Err(lost()),
            None => Ok(nothing()),
        }
    }
}

/// The instance was taken by another operation, although this one has not ended: it is taken once more.
fn lost() -> StepError {
    StepError::Again(TAKE, "another operation took the instance".to_owned())
}

/// What has to hold for a change to begin.
struct ChangeConditions<'a> {
    changing: &'a Changing,
    task: Task<'a, ChangeWork>,
    carried: Option<Carried>,
    /// The instance document, if the change depends on it.
    document: Option<InstanceDocument>,
}

impl ChangeConditions<'_> {
    async fn read_document(&mut self) -> Result<(), StepError> {
        if !self.task.work.change.needs_settling() && self.carried.is_none() {
            return Ok(());
        }
        let envelope = self.task.envelope;
        let found = self.changing.store.instance(&envelope.instance).await?;
        let found = found.ok_or_else(|| Error::NoSuchInstance(envelope.domain.clone()))?;
        self.document = Some(found.body);
        Ok(())
    }
}

impl Conditions for ChangeConditions<'_> {
    async fn look(&mut self, record: &Record) -> Result<(), StepError> {
        let (envelope, change) = (self.task.envelope, &self.task.work.change);
        if envelope.irreversible {
            // It had the instance before, and lost it: what has begun goes on.
            return self.read_document().await;
        }
        change.may_begin(record).map_err(|why| Error::Refused {
            domain: envelope.domain.clone(),
            why,
        })?;
        taking::require_unchanged(&self.changing.store, envelope, record, &change.etag).await?;
        self.read_document().await?;
        if let (Some(carried), Some(document)) = (&self.carried, &self.document) {
            carried.may_go_on(document)?;
        }
        Ok(())
    }

    fn mark(&self, record: &mut Record) {
        let change = &self.task.work.change;
        // What can still be undone leaves no mark.
        if change.is_decided_when_taken() {
            change.announce_block(record);
        }
    }
}

/// Completes a change with what follows from the instance at the moment it is taken.
fn settled(change: &Change, document: Option<&InstanceDocument>, record: &Record) -> Change {
    let mut settled = change.clone();
    if let Some(document) = document
        && change.needs_settling()
    {
        settled.settle(document, record);
    }
    settled
}
