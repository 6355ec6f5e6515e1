//! A head start of a change: taking the instance in parallel with the write that accepts the operation.
//!
//! The record then names an operation that does not exist yet. Other operations wait up to
//! [`GRACE`](taking::GRACE) for it. If the acceptance took longer than half of that, the operation does not
//! rely on its head start.

use futures::future::BoxFuture;
use tokio::time::Instant;

use super::{ChangeWork, Changing, Seen, settled};
use crate::{
    domain::{change::Change, operation::Envelope, record::Record},
    operations::{
        engine::{Early, Task},
        taking,
    },
    store::Store,
};

/// An instance that was taken in a head start.
#[derive(Debug)]
struct EarlyTaking {
    store: Store,
    id: String,
    envelope: Envelope,
    begun: Instant,
    /// What the record said of the block before.
    own_block_before: Option<String>,
    settled: Change,
    seen: Seen,
}

impl Changing {
    /// Takes an instance that was idle when the request read it, and reads what the answer needs beyond that.
    /// `None` when the step has to take the instance itself, and
    /// for a request that is sent again after its operation has ended.
    pub(super) async fn take_early(
        &self,
        task: Task<'_, ChangeWork>,
    ) -> Option<Box<dyn Early<ChangeWork>>> {
        let seen = task.work.seen.get()?;
        let (envelope, change) = (task.envelope, &task.work.change);
        let record = &seen.record.body;
        let was_here = [&record.operation, &record.last_operation]
            .into_iter()
            .any(|earlier| earlier.as_deref() == Some(task.id));
        // The document was read beside the record and may be older: what depends on it is left to the step.
        if was_here
            || !change.is_decided_when_taken()
            || !change.etag.is_empty()
            || !self.is_created(envelope, record).await
        {
            return None;
        }
        let begun = Instant::now();
        let mark = |record: &mut Record| change.announce_block(record);
        let take = taking::try_take(&self.store, task.id, envelope, seen.record.clone(), mark);
        let settings = async {
            match &seen.settings {
                Some(known) => Some(known.clone()),
                // Without the settings, the answer is read when it is asked for.
                None => self.store.settings(envelope.location()).await.ok(),
            }
        };
        let (taken, settings) = tokio::join!(take, settings);
        let record = match taken {
            Ok(record) => record?,
            Err(error) => {
                // The write may have succeeded all the same; the step then finds the instance taken.
                tracing::debug!(
                    operation = task.id,
                    error = &error as &dyn std::error::Error,
                    "the instance was not taken in the head start; the step takes it"
                );
                return None;
            }
        };
        let document = Some(&seen.document.body);
        Some(Box::new(EarlyTaking {
            store: self.store.clone(),
            id: task.id.to_owned(),
            envelope: envelope.clone(),
            begun,
            own_block_before: seen.record.body.own_block.clone(),
            settled: settled(change, document, &record.body),
            seen: Seen {
                document: seen.document.clone(),
                record,
                settings,
            },
        }))
    }
}

impl Changing {
    /// Whether a single look shows that the creation of the instance has ended.
    async fn is_created(&self, envelope: &Envelope, record: &Record) -> bool {
        if self.created.know(&envelope.instance, record) {
            return true;
        }
        let ended = match self.store.operation(&record.created_by).await {
            Ok(creation) => creation.is_none_or(|creation| creation.body.phase.is_end()),
            Err(_) => false,
        };
        if ended {
            self.created.note(&envelope.instance);
        }
        ended
    }
}

impl Early<ChangeWork> for EarlyTaking {
    fn keep(self: Box<Self>, envelope: &mut Envelope, work: &mut ChangeWork) {
        if self.begun.elapsed() < taking::GRACE / 2 {
            work.settle_as_seen(self.settled, self.seen);
            envelope.step = super::TAKE + 1;
            envelope.irreversible = true;
        }
    }

    fn give_back(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            if let Err(error) = self.free_unless_driven().await {
                tracing::warn!(
                    instance = self.envelope.instance,
                    operation = self.id,
                    error = &error as &dyn std::error::Error,
                    "an instance taken for an operation that was not accepted could not be freed"
                );
            }
        })
    }
}

impl EarlyTaking {
    /// An operation that does not exist may be about to be accepted by another replica that the same request has
    /// reached. The record then keeps naming it, and counts as idle after [`GRACE`](taking::GRACE).
    async fn free_unless_driven(&self) -> Result<(), couch::Error> {
        let Some(found) = self.store.operation(&self.id).await? else {
            return Ok(());
        };
        if found.body.instance == self.envelope.instance && !found.body.phase.is_end() {
            return Ok(());
        }
        let own_block = self.own_block_before.clone();
        taking::free_at(&self.store, &self.envelope, &self.seen.record, |record| {
            record.own_block = own_block;
        })
        .await?;
        Ok(())
    }
}
