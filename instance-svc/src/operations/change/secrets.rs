//! The steps of a change that concern secrets: writing what it carries sealed, and ending sessions.

use couch::Exchange;

use super::{ChangeWork, Changing};
use crate::{
    domain::{change::ChangeKind, databases::SESSIONS},
    operations::{
        engine::{Report, StepError, Task, nothing},
        sealing::Carried,
    },
};

impl Changing {
    pub(super) fn carried(&self, task: Task<'_, ChangeWork>) -> Result<Option<Carried>, StepError> {
        Ok(self.sealing.open(task.id, task.envelope.sealed.as_ref())?)
    }

    /// Writes the settings of the vault, if a passphrase is set.
    pub(super) async fn write_vault(&self, task: Task<'_, ChangeWork>) -> Result<(), StepError> {
        let operation = task.envelope;
        let carried = self.carried(task)?;
        let Some(credentials) = carried.as_ref().and_then(Carried::credentials) else {
            return Ok(());
        };
        loop {
            let found = self.store.vault_settings(operation.location()).await?;
            let (rev, before) = match found {
                Some(found) => (Some(found.rev), Some(found.body)),
                None => (None, None),
            };
            let written = before
                .as_ref()
                .is_some_and(|settings| credentials.are_in(settings));
            if written || !self.may_write(task, true).await? {
                return Ok(());
            }
            let settings = credentials.vault_settings(before, operation.created_at);
            match self
                .store
                .write_vault_settings(operation.location(), rev.as_ref(), &settings)
                .await?
            {
                Exchange::Won(_) => return Ok(()),
                // Another writer changed the settings meanwhile: the keys are added to what it wrote.
                Exchange::Lost => {}
            }
        }
    }

    /// Removes the databases of sessions and logins: a session is invalid without its document. The next login makes them
    /// again. New keys end all sessions, so only their documents are removed.
    pub(super) async fn end_sessions(
        &self,
        task: Task<'_, ChangeWork>,
    ) -> Result<Report<ChangeWork>, StepError> {
        let [sessions, _] = &SESSIONS;
        let ended = match task.work.change.kind {
            ChangeKind::Sessions => SESSIONS.as_slice(),
            ChangeKind::Passphrase | ChangeKind::Tokens => std::slice::from_ref(sessions),
            _ => return Ok(nothing()),
        };
        if !self.may_write(task, true).await? {
            return Ok(nothing());
        }
        let mut removed = 0;
        for doctype in ended {
            let was_there = self
                .store
                .remove_database(task.envelope.location(), doctype)
                .await?;
            removed += u64::from(was_there);
        }
        Ok(Box::new(move |work| work.removed.databases += removed))
    }
}
