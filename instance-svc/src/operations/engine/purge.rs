//! Destroying what was deleted softly, when its time has come.
//!
//! The operation that deleted an instance is kept until then. The destruction's id follows from the
//! instance and the time, so that several replicas that find it due begin one; and it names the time, so
//! that it destroys nothing that was brought back in between: the record decides when it is taken.

use std::sync::Arc;

use couch::{Document, Exchange};
use sha2::{Digest as _, Sha256};

use super::Inner;
use crate::{
    domain::operation::{Operation, Phase, Work},
    error::Error,
    operations::taking::require_idle,
};

impl Inner {
    pub(super) async fn purge_due(self: &Arc<Self>) {
        let due = match self.store.due_operations(&self.settings.clock.now()).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot look for what is to be destroyed now"
                );
                return;
            }
        };
        for deletion in due {
            if let Err(error) = self.purge(deletion).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "what was deleted softly could not be destroyed; it is tried again"
                );
            }
        }
    }

    async fn purge(self: &Arc<Self>, deletion: Document<Operation>) -> Result<(), Error> {
        let Some(due) = &deletion.body.look_again else {
            return Ok(());
        };
        let record = self.store.record(&deletion.body.instance).await?;
        let Some(record) = record.filter(|found| found.body.purge_at.as_ref() == Some(due)) else {
            // It is gone, was brought back, or is kept for longer.
            return self.close(deletion).await;
        };
        match require_idle(&self.store, &deletion.body.domain, &record.body).await {
            Ok(()) => {}
            Err(Error::Busy { .. }) => return Ok(()),
            Err(error) => return Err(error),
        }
        // One that failed did not get the instance: there is room for another.
        for attempt in 0_u32.. {
            let id = destruction_id(&deletion.body.instance, due, attempt);
            match self.store.operation(&id).await? {
                Some(found) if found.body.phase == Phase::Failed => {}
                Some(_) => return Ok(()),
                None => return self.begin_destruction(id, &deletion.body, due).await,
            }
        }
        Ok(())
    }

    async fn begin_destruction(
        self: &Arc<Self>,
        id: String,
        deletion: &Operation,
        due: &str,
    ) -> Result<(), Error> {
        let destruction = Operation {
            work: Work::Destroy {
                etag: String::new(),
                due: Some(due.to_owned()),
            },
            instance: deletion.instance.clone(),
            domain: deletion.domain.clone(),
            prefix: deletion.prefix.clone(),
            couch_cluster: deletion.couch_cluster,
            ..Operation::new(String::new(), self.settings.clock.now())
        };
        super::Engine(Arc::clone(self))
            .accept(id, destruction, std::future::ready(Ok(Vec::new())))
            .await?;
        Ok(())
    }

    /// Nothing is left to be done for a soft deletion.
    async fn close(&self, deletion: Document<Operation>) -> Result<(), Error> {
        let mut operation = deletion.body;
        operation.look_again = None;
        operation.beat += 1;
        operation.updated_at = self.settings.clock.now();
        match self
            .store
            .transition(&deletion.id, &deletion.rev, &operation)
            .await?
        {
            Exchange::Won(_) | Exchange::Lost => Ok(()),
        }
    }
}

/// The id of the destruction of an instance at a time.
fn destruction_id(instance: &str, due: &str, attempt: u32) -> String {
    let mut hash = Sha256::new();
    for part in ["purge", instance, due, &attempt.to_string()] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let mut id = hex::encode(hash.finalize());
    id.truncate(32);
    id
}
