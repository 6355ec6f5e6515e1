//! Removing what is left of an instance that other software has destroyed.
//!
//! Nobody has asked for this, so it needs proof. A document that is missing proves nothing: `global/instances` may have
//! been lost, or restored from an older backup. A tombstone says that somebody has deleted it. And the original deletes
//! the databases before the document: where there still are some, the document alone was deleted, perhaps by mistake.
//! What is not proved is left to `orphans`.

use super::{Adoption, adopter::Checked};
use crate::{
    domain::{
        location::is_derived,
        operation::{Envelope, Operation, Phase, Subject},
        record::Record,
    },
    error::Error,
    operations::{
        Work,
        destroy::{DestroyWork, automatic_id},
        taking::require_idle,
    },
};

impl Adoption {
    /// Destroys what is left of an instance whose document is gone. Nothing to do when it has no record: then an
    /// operation of ours has destroyed it.
    pub(super) async fn clear(&self, id: &str) -> Result<Checked, Error> {
        let Some(record) = self.store.record(id).await? else {
            return Ok(Checked::Done);
        };
        let record = record.body;
        // The list that showed no document may lag.
        if self.store.instance(id).await?.is_some() {
            return Ok(Checked::Done);
        }
        // The record of an instance that is being created precedes its document.
        if let Some(creation) = self.store.operation(&record.created_by).await? {
            match creation.body.phase {
                Phase::Queued | Phase::Running | Phase::Unwinding => return Ok(Checked::Busy),
                // Its end removes the record.
                Phase::Failed => return Ok(Checked::Done),
                Phase::Succeeded => {}
            }
        }
        match require_idle(&self.store, &record.domain, &record).await {
            Ok(()) => {}
            Err(Error::Busy { .. }) => return Ok(Checked::Busy),
            Err(error) => return Err(error),
        }
        if !self.is_destroyed(id, &record).await? {
            return Ok(Checked::Lost);
        }
        for attempt in 0_u32.. {
            let operation = automatic_id(&["gone", id, &attempt.to_string()]);
            match self.store.operation(&operation).await? {
                // It never had the instance, so another one may follow.
                Some(found) if found.body.phase == Phase::Failed => {}
                Some(found) if found.body.phase == Phase::Succeeded => {
                    if self.store.record(id).await?.is_none() {
                        return Ok(Checked::Done);
                    }
                    // A replica that was adopting the instance has written its record after that destruction.
                }
                Some(_) => break,
                None => {
                    self.begin(id, record, operation).await?;
                    break;
                }
            }
        }
        // Until it is at its end.
        Ok(Checked::Busy)
    }

    /// Whether somebody has deleted the document, and the databases before it.
    async fn is_destroyed(&self, id: &str, record: &Record) -> Result<bool, Error> {
        if !self.store.was_deleted(id).await? {
            return Ok(false);
        }
        let prefix = record.database_prefix();
        if is_derived(prefix, &record.domain) {
            // Databases may belong to the next instance of this domain. They are left alone.
            return Ok(true);
        }
        Ok(!self.store.has_databases_anywhere(prefix).await?)
    }

    async fn begin(&self, id: &str, record: Record, operation: String) -> Result<(), Error> {
        tracing::info!(
            domain = record.domain,
            instance = id,
            operation,
            "other software has destroyed the instance; what is left of it is removed"
        );
        let subject = Subject {
            instance: id.to_owned(),
            prefix: record.database_prefix().to_owned(),
            // Nothing is left on any server.
            couch_cluster: 0,
            domain: record.domain,
        };
        let destruction = Operation {
            envelope: Envelope::new(subject, String::new(), self.clock.now()),
            work: Work::Destroy(DestroyWork {
                gone: true,
                ..DestroyWork::default()
            }),
        };
        let nothing_to_check = std::future::ready(Ok(Vec::new()));
        self.engine
            .accept(operation, destruction, nothing_to_check)
            .await?;
        Ok(())
    }
}
