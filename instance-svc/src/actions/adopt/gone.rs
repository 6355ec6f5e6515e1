//! Removing what is left of an instance that other software has destroyed.

use super::{Adoption, adopter::Checked};
use crate::{
    domain::{
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
        // One that failed never had the instance, so another one may follow.
        for attempt in 0_u32.. {
            let operation = automatic_id(&["gone", id, &attempt.to_string()]);
            match self.store.operation(&operation).await? {
                Some(found) if found.body.phase == Phase::Failed => {}
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

    async fn begin(&self, id: &str, record: Record, operation: String) -> Result<(), Error> {
        let prefix = if record.prefix.is_empty() {
            record.domain.clone()
        } else {
            record.prefix
        };
        tracing::info!(
            domain = record.domain,
            instance = id,
            operation,
            "other software has destroyed the instance; what is left of it is removed"
        );
        let subject = Subject {
            instance: id.to_owned(),
            couch_cluster: self.store.cluster_with(&prefix).await?,
            domain: record.domain,
            prefix,
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
