//! The parts of a change that are about secrets: what it carries sealed is written, sessions are ended.

use couch::Exchange;

use super::{Report, StepError, change::Changing, nothing, sealing::Carried, taking};
use crate::{
    clock,
    domain::{databases::SESSIONS, operation::Operation},
    error::Error,
};

impl Changing {
    pub(super) fn carried(
        &self,
        id: &str,
        operation: &Operation,
    ) -> Result<Option<Carried>, StepError> {
        Ok(self.sealing.open(id, operation.sealed.as_ref())?)
    }

    /// Looks, once the instance is taken, whether it still is one to which this may be done.
    pub(super) async fn look_at_carried(
        &self,
        id: &str,
        operation: &Operation,
    ) -> Result<(), StepError> {
        let Some(carried) = self.carried(id, operation)? else {
            return Ok(());
        };
        let document = self
            .store
            .instance(&operation.instance)
            .await?
            .ok_or_else(|| Error::NoSuchInstance(operation.domain.clone()))?;
        Ok(carried.may_go_on(&document.body)?)
    }

    /// Writes the settings of the vault, when a passphrase is set.
    pub(super) async fn write_vault(
        &self,
        id: &str,
        operation: &Operation,
    ) -> Result<(), StepError> {
        let carried = self.carried(id, operation)?;
        let Some(credentials) = carried.as_ref().and_then(Carried::credentials) else {
            return Ok(());
        };
        loop {
            let found = self.store.vault_settings(operation.place()).await?;
            let (rev, before) = match found {
                Some(found) => (Some(found.rev), Some(found.body)),
                None => (None, None),
            };
            let written = before
                .as_ref()
                .is_some_and(|settings| credentials.are_in(settings));
            if written || !taking::has(&self.store, id, operation).await? {
                return Ok(());
            }
            let settings = credentials.vault_settings(before, &clock::now());
            match self
                .store
                .write_vault_settings(operation.place(), rev.as_ref(), &settings)
                .await?
            {
                Exchange::Won(_) => return Ok(()),
                // Somebody changed them in between: the keys go onto what they wrote.
                Exchange::Lost => {}
            }
        }
    }

    /// Removes the databases of sessions and of logins: without its document no session is worth anything.
    /// Other software makes them again when it needs them.
    pub(super) async fn end_sessions(
        &self,
        id: &str,
        operation: &Operation,
    ) -> Result<Report, StepError> {
        if !taking::has(&self.store, id, operation).await? {
            return Ok(nothing());
        }
        let mut removed = 0;
        for doctype in SESSIONS {
            let was_there = self
                .store
                .remove_database(operation.place(), doctype)
                .await?;
            removed += u64::from(was_there);
        }
        Ok(Box::new(move |operation| {
            operation.removed.databases += removed;
        }))
    }
}
