//! The outcome of a change: its response, and what falls due later.

use hamlet_proto::{
    hamlet::instance::v1::{
        CleanSessionsResult, DeleteInstanceResult, Instance, RegisterLink, ResetLink,
    },
    pack,
};
use prost_types::Any;

use super::{ChangeWork, Changing};
use crate::{
    domain::{
        change::ChangeKind,
        claim::NameKind,
        operation::{Envelope, Operation, Phase, Subject},
        time::Time,
    },
    error::Error,
    messages,
    operations::{
        Work,
        destroy::{DestroyWork, automatic_id},
        engine::{Detail, Due, Task},
        taking::require_idle,
    },
    store::Found,
};

impl Changing {
    /// The response of a change that succeeded: usually the current instance, with the etag for the next
    /// request.
    pub(super) async fn outcome(
        &self,
        task: Task<'_, ChangeWork>,
        detail: Detail,
    ) -> Result<Any, Error> {
        let (domain, change) = (&task.envelope.domain, &task.work.change);
        Ok(match change.kind {
            ChangeKind::Sessions => pack(&CleanSessionsResult {
                domain: domain.clone(),
                removed: messages::removed(&task.work.removed)
                    .into_iter()
                    .filter(|removed| removed.kind == "databases")
                    .collect(),
            }),
            ChangeKind::Delete => pack(&DeleteInstanceResult {
                domain: domain.clone(),
                purge_time: change.record.purge_at().map(messages::timestamp),
                ..DeleteInstanceResult::default()
            }),
            // A link is stored in no result: a later caller gets the link that is valid then.
            ChangeKind::RegisterLink => {
                let found = self.found(task, detail).await?;
                let link = found.and_then(|found| messages::link_of(&self.config, &found));
                pack::<RegisterLink>(&link.unwrap_or_default())
            }
            ChangeKind::ResetLink => {
                let found = self.found(task, detail).await?;
                let link = found.map(|found| {
                    messages::reset_link(&self.config, &self.clock, &found.document.body)
                });
                pack::<ResetLink>(&link.unwrap_or_default())
            }
            ChangeKind::Update
            | ChangeKind::Block
            | ChangeKind::Unblock
            | ChangeKind::Undelete
            | ChangeKind::Passphrase
            | ChangeKind::Tokens => {
                let found = self.found(task, detail).await?;
                pack(&found.map_or_else(
                    // In a list, or after the instance was destroyed, only the name of the instance is
                    // returned.
                    || Instance {
                        name: format!("instances/{domain}"),
                        domain: domain.clone(),
                        ..Instance::default()
                    },
                    |found| messages::instance(&found),
                ))
            }
        })
    }

    /// The instance as the change left it, if that is known; otherwise as it is now.
    async fn found(
        &self,
        task: Task<'_, ChangeWork>,
        detail: Detail,
    ) -> Result<Option<Found>, Error> {
        if detail == Detail::Listed {
            return Ok(None);
        }
        let seen = task.work.seen.get().cloned();
        if let Some(seen) = seen
            && let Some(settings) = seen.settings
        {
            let mut record = seen.record;
            // The operation has ended and is freeing the instance at this moment.
            record.body.operation = None;
            task.work.change.apply_to_record(&mut record.body);
            return Ok(Some(Found {
                id: task.envelope.instance.clone(),
                document: seen.document,
                record: Some(record),
                settings,
                kind: NameKind::Domain,
            }));
        }
        let mut found = self
            .store
            .found(&task.envelope.instance, NameKind::Domain)
            .await?;
        let record = found.as_mut().and_then(|found| found.record.as_mut());
        if let Some(record) = record
            && record.body.operation.as_deref() == Some(task.id)
        {
            record.body.operation = None;
        }
        Ok(found)
    }

    /// Destroys a softly deleted instance when its time has come.
    ///
    /// The id of the destruction is derived from the instance and the time, so that several replicas that find
    /// it due begin only one. The destruction also names the time: taking the instance fails if its record no
    /// longer has that time, so an instance that was restored meanwhile is not destroyed.
    pub(super) async fn destroy_when_due(
        &self,
        task: Task<'_, ChangeWork>,
        now: Time,
    ) -> Result<Due<Work>, Error> {
        let deletion = task.envelope;
        let Some(due) = deletion.look_again else {
            return Ok(Due::Close);
        };
        let record = self.store.record(&deletion.instance).await?;
        let Some(record) = record.filter(|found| found.body.purge_at == Some(due)) else {
            // The instance is gone, was restored, or is kept for longer.
            return Ok(Due::Close);
        };
        match require_idle(&self.store, &deletion.domain, &record.body).await {
            Ok(()) => {}
            Err(Error::Busy { .. }) => return Ok(Due::Wait),
            Err(error) => return Err(error),
        }
        // A failed destruction never had the instance, so another one may follow.
        for attempt in 0_u32.. {
            let id = automatic_id(&[
                "purge",
                &deletion.instance,
                &due.to_string(),
                &attempt.to_string(),
            ]);
            match self.store.operation(&id).await? {
                Some(found) if found.body.phase == Phase::Failed => {}
                Some(_) => return Ok(Due::Wait),
                None => {
                    let operation = Box::new(destruction(deletion, due, now));
                    return Ok(Due::Begin { id, operation });
                }
            }
        }
        Ok(Due::Wait)
    }
}

fn destruction(deletion: &Envelope, due: Time, now: Time) -> Operation<Work> {
    let subject = Subject {
        instance: deletion.instance.clone(),
        domain: deletion.domain.clone(),
        prefix: deletion.prefix.clone(),
        couch_cluster: deletion.couch_cluster,
    };
    Operation {
        envelope: Envelope::new(subject, String::new(), now),
        work: Work::Destroy(DestroyWork {
            due: Some(due),
            ..DestroyWork::default()
        }),
    }
}
