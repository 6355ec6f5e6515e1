//! The steps of a change, done and undone.
//!
//! Each may be done any number of times, and by an owner that was stopped in its middle: see
//! [`taking::has`].

use couch::Exchange;

use super::{
    Report, Sealing, StepError, claims, nothing,
    taking::{self, Terms},
};
use crate::{
    domain::{
        change::{Change, ChangeKind},
        operation::{Operation, Work},
        steps::ChangeStep,
    },
    error::Error,
    store::Store,
};

/// What a change works with.
#[derive(Clone, Debug)]
pub struct Changing {
    pub(crate) store: Store,
    pub(crate) sealing: Sealing,
}

impl Changing {
    pub(crate) async fn perform(
        &self,
        step: ChangeStep,
        id: &str,
        operation: &Operation,
        change: &Change,
    ) -> Result<Report, StepError> {
        match step {
            ChangeStep::Take => return self.take(id, operation, change).await,
            ChangeStep::Claims => self.claim_names(id, operation, change).await?,
            ChangeStep::Settings => {
                if change.changes_settings() {
                    self.write_settings(id, operation, change).await?;
                }
                self.write_vault(id, operation).await?;
            }
            ChangeStep::Sessions if change.kind == ChangeKind::Sessions => {
                return self.end_sessions(id, operation).await;
            }
            ChangeStep::Document if change.changes_document() || operation.sealed.is_some() => {
                self.write_document(id, operation, change).await?;
            }
            ChangeStep::Sessions | ChangeStep::Document => {}
            ChangeStep::Release => self.release_names(id, operation, change).await?,
            ChangeStep::Record => {
                taking::free(&self.store, id, operation, |record| {
                    change.apply_to_record(record);
                })
                .await?;
            }
        }
        Ok(nothing())
    }

    pub(crate) async fn undo(
        &self,
        step: ChangeStep,
        id: &str,
        operation: &Operation,
        change: &Change,
    ) -> Result<Report, StepError> {
        match step {
            ChangeStep::Take => taking::free(&self.store, id, operation, |_| {}).await?,
            ChangeStep::Claims => self.release_stray(id, operation, change).await?,
            // Beyond the point of no return nothing is taken back.
            ChangeStep::Settings
            | ChangeStep::Sessions
            | ChangeStep::Document
            | ChangeStep::Release
            | ChangeStep::Record => {}
        }
        Ok(nothing())
    }

    /// Looks once more at what has ended: an owner that was stopped may have claimed a name, or taken the
    /// instance, after it was given back.
    pub(crate) async fn clean_again(
        &self,
        id: &str,
        operation: &Operation,
        change: &Change,
    ) -> Result<(), StepError> {
        self.release_stray(id, operation, change).await?;
        taking::free(&self.store, id, operation, |_| {}).await
    }

    async fn take(
        &self,
        id: &str,
        operation: &Operation,
        change: &Change,
    ) -> Result<Report, StepError> {
        let terms = Terms {
            etag: &change.etag,
            allows: &|record| change.may_begin(record),
        };
        let record = taking::take(&self.store, id, operation, terms).await?;
        self.look_at_carried(id, operation).await?;
        if !change.needs_settling() {
            return Ok(nothing());
        }
        let document = self
            .store
            .instance(&operation.instance)
            .await?
            .ok_or_else(|| Error::NoSuchInstance(operation.domain.clone()))?;
        let mut settled = change.clone();
        settled.settle(&document.body, &record);
        Ok(Box::new(move |operation| {
            operation.names = settled
                .added
                .iter()
                .map(|wanted| wanted.id.clone())
                .collect();
            operation.work = Work::Change {
                change: Box::new(settled),
            };
        }))
    }

    /// Claims the added names, one at a time, in byte order.
    async fn claim_names(
        &self,
        id: &str,
        operation: &Operation,
        change: &Change,
    ) -> Result<(), StepError> {
        if change.added.is_empty() || !taking::has(&self.store, id, operation).await? {
            return Ok(());
        }
        for wanted in &change.added {
            let claim = claims::of_operation(wanted, id, operation);
            claims::claim(&self.store, &wanted.id, &claim).await?;
        }
        if taking::has(&self.store, id, operation).await? {
            return Ok(());
        }
        self.release_stray(id, operation, change).await
    }

    /// Gives back what this operation claimed and the instance does not have: its change was turned back,
    /// or another owner had finished it and a later change removed the name again.
    async fn release_stray(
        &self,
        id: &str,
        operation: &Operation,
        change: &Change,
    ) -> Result<(), StepError> {
        let document = self.store.instance(&operation.instance).await?;
        let kept = document.map_or_else(Vec::new, |found| found.body.wanted());
        for name in change.added.iter().rev() {
            if !kept.iter().any(|kept| kept.id == name.id) {
                self.store
                    .release(&name.id, |claim| claim.operation == id)
                    .await?;
            }
        }
        Ok(())
    }

    /// Gives the removed names back, in reverse order.
    async fn release_names(
        &self,
        id: &str,
        operation: &Operation,
        change: &Change,
    ) -> Result<(), StepError> {
        for name in change.removed.iter().rev() {
            let Some(seen) = self.store.claim_of(&name.id).await? else {
                continue;
            };
            let ours = seen.instance == operation.instance
                && taking::has(&self.store, id, operation).await?;
            if ours {
                // A claim that a later operation made is another one than the one seen.
                self.store.release(&name.id, |found| *found == seen).await?;
            }
        }
        Ok(())
    }

    async fn write_settings(
        &self,
        id: &str,
        operation: &Operation,
        change: &Change,
    ) -> Result<(), StepError> {
        loop {
            let found = self.store.settings(operation.place()).await?;
            let (rev, mut settings) = match found {
                Some(found) => (Some(found.rev), found.body),
                None => (None, serde_json::Map::new()),
            };
            let write = change.apply_to_settings(&mut settings)
                && taking::has(&self.store, id, operation).await?;
            if !write {
                return Ok(());
            }
            match self
                .store
                .write_settings(operation.place(), rev.as_ref(), &settings)
                .await?
            {
                Exchange::Won(_) => return Ok(()),
                // Somebody changed them in between: the change goes onto what they wrote.
                Exchange::Lost => {}
            }
        }
    }

    async fn write_document(
        &self,
        id: &str,
        operation: &Operation,
        change: &Change,
    ) -> Result<(), StepError> {
        let carried = self.carried(id, operation)?;
        loop {
            // Other software may have removed it: then there is nothing to change.
            let Some(mut found) = self.store.instance(&operation.instance).await? else {
                return Ok(());
            };
            let mut changed = change.apply_to_document(&mut found.body);
            if let Some(carried) = &carried {
                changed |= carried.apply(&mut found.body);
            }
            let write = changed && taking::has(&self.store, id, operation).await?;
            if !write {
                return Ok(());
            }
            match self
                .store
                .replace_instance(&operation.instance, &found.rev, &found.body)
                .await?
            {
                Exchange::Won(_) => return Ok(()),
                // Somebody changed it in between: the change goes onto what they wrote.
                Exchange::Lost => {}
            }
        }
    }
}
