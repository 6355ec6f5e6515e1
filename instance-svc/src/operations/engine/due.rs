//! Follow-up work of ended operations that falls due at a set time.
//!
//! The ended operation is kept until then, and its kind decides what happens: usually the engine accepts the
//! operation that the kind names. The id of that operation is derived from what fell due, so several replicas
//! that find it due accept only one.

use std::sync::Arc;

use couch::{Document, Exchange};

use super::{Due, Engine, Inner, Kinds};
use crate::{domain::operation::Operation, error::Error};

impl<K: Kinds> Inner<K> {
    pub(super) async fn look_at_due(self: &Arc<Self>) {
        let due = match self.log.due(self.settings.clock.now()).await {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "operations that are due cannot be read"
                );
                return;
            }
        };
        for ended in due {
            let id = ended.id.clone();
            match self.log.read(&id).await {
                Ok(Some(now)) if now.rev == ended.rev => {}
                // The list lags, or shows what a node of the database has brought back.
                Ok(_) => continue,
                Err(error) => {
                    tracing::warn!(
                        operation = id,
                        error = &error as &dyn std::error::Error,
                        "an operation that is due cannot be read"
                    );
                    continue;
                }
            }
            if let Err(error) = self.fall_due(ended).await {
                tracing::warn!(
                    operation = id,
                    error = &error as &dyn std::error::Error,
                    "the follow-up of an operation could not be begun; it is tried again"
                );
            }
        }
    }

    async fn fall_due(self: &Arc<Self>, ended: Document<Operation<K::Work>>) -> Result<(), Error> {
        let now = self.settings.clock.now();
        let due = self
            .kinds
            .bind(&ended.id, &ended.body)
            .fall_due(now)
            .await?;
        match due {
            Due::Wait => Ok(()),
            Due::Close => self.close(ended).await,
            Due::Begin { id, operation } => {
                Engine(Arc::clone(self))
                    .accept(id, *operation, std::future::ready(Ok(Vec::new())))
                    .await?;
                Ok(())
            }
        }
    }

    /// There is nothing left to do for it.
    async fn close(&self, ended: Document<Operation<K::Work>>) -> Result<(), Error> {
        let mut operation = ended.body;
        operation.look_again = None;
        operation.beat += 1;
        operation.updated_at = self.settings.clock.now();
        match self
            .log
            .transition(&ended.id, &ended.rev, &operation)
            .await?
        {
            Exchange::Won(_) | Exchange::Lost => Ok(()),
        }
    }
}
