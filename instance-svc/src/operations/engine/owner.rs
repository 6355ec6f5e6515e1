//! Writes of an owner: transitions, signs of life, giving an operation back, taking one.

use std::time::Duration;

use couch::{Document, Exchange};
use tokio::time::Instant;

use super::{Inner, Kinds, Written, drive::Held};
use crate::{domain::operation::Operation, error::Error, store::Settled};

/// This replica no longer owns the operation, or must stop driving it.
#[derive(Debug)]
pub(super) struct Gone;

/// How long to wait for the losers of a race to remove their leaves.
const SETTLING: Duration = Duration::from_millis(50);

impl<K: Kinds> Inner<K> {
    /// Writes a transition. While the database is unavailable the write is tried again, for no longer than the
    /// lease lasts.
    ///
    /// The write is lost when another replica took the operation over, or when a caller set a mark on it. In
    /// the second case the mark is applied and the write is tried again: `held` may be unwinding afterwards.
    pub(super) async fn write(&self, held: &mut Held<K::Work>) -> Result<(), Gone> {
        let end = held.written + self.settings.lease;
        let mut attempt = 0;
        loop {
            let begun = Instant::now();
            held.operation.updated_at = self.settings.clock.now();
            // No two writes of one owner are equal, so a writer recognizes its own.
            held.operation.beat += 1;
            let written = self
                .log
                .transition(&held.id, &held.rev, &held.operation)
                .await;
            let fault = match written {
                Ok(Exchange::Won(rev)) => {
                    held.rev = rev;
                    held.written = begun;
                    held.beat = held.operation.beat;
                    self.trust(&held.id, begun);
                    self.show(&held.id, &held.operation);
                    return Ok(());
                }
                Ok(Exchange::Lost) => match self.read_marks(held).await {
                    Ok(true) => continue,
                    Ok(false) => None,
                    Err(error) => Some(error),
                },
                Err(error) => Some(Error::from(error)),
            };
            attempt += 1;
            let pause = match &fault {
                Some(_) => self.settings.pause(attempt).min(Duration::from_secs(1)),
                None => SETTLING,
            };
            if let Some(error) = fault {
                tracing::warn!(
                    operation = held.id,
                    error = &error as &dyn std::error::Error,
                    "a transition could not be written"
                );
            }
            if held.lost || Instant::now() + pause >= end || self.shutdown.is_cancelled() {
                return Err(Gone);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// After a lost write: applies the marks if the document has no other changes. Returns whether the write
    /// can be tried again now. Sets `held.lost` when another replica owns the operation.
    ///
    /// This can only be told when the document has a single live leaf: a second leaf may be that of a new
    /// owner.
    async fn read_marks(&self, held: &mut Held<K::Work>) -> Result<bool, Error> {
        match self.log.settled(&held.id).await? {
            Settled::Contested => Ok(false),
            Settled::One(found) if self.is_mine(held, &found.body) => {
                held.rev = found.rev;
                held.operation.apply_marks_of(&found.body);
                Ok(true)
            }
            Settled::One(_) | Settled::Missing => {
                held.lost = true;
                Ok(false)
            }
        }
    }

    /// Whether `found` is what this owner wrote, apart from marks: no other writer uses its name with this
    /// beat.
    fn is_mine(&self, held: &Held<K::Work>, found: &Operation<K::Work>) -> bool {
        found.owner.as_deref() == Some(self.settings.replica.as_str())
            && (held.beat..=held.operation.beat).contains(&found.beat)
    }

    /// Gives up the operation, so that another replica can take it without waiting for the lease to lapse.
    pub(super) async fn release(&self, held: &mut Held<K::Work>) {
        held.operation.owner = None;
        if self.write(held).await.is_err() {
            tracing::warn!(
                operation = held.id,
                "could not be given up; it is taken over when the lease has lapsed"
            );
        }
    }

    /// Takes an operation without an owner. `None` when another replica was faster.
    pub(super) async fn take(
        &self,
        found: Document<Operation<K::Work>>,
    ) -> Option<Written<K::Work>> {
        let Document {
            id,
            rev,
            body: mut operation,
        } = found;
        let at = Instant::now();
        operation.take_over(self.settings.replica.clone());
        operation.updated_at = self.settings.clock.now();
        match self.log.transition(&id, &rev, &operation).await {
            Ok(Exchange::Won(rev)) => Some(Written { operation, rev, at }),
            Ok(Exchange::Lost) => None,
            Err(error) => {
                tracing::warn!(
                    operation = id,
                    error = &error as &dyn std::error::Error,
                    "could not be taken"
                );
                None
            }
        }
    }

    /// Takes an operation that a list shows. A list also shows one that was forgotten and that a node of the database
    /// has brought back; reading it by id removes that one.
    pub(super) async fn take_found(
        &self,
        found: Document<Operation<K::Work>>,
    ) -> Option<Written<K::Work>> {
        match self.log.read(&found.id).await {
            Ok(Some(now)) if now.rev == found.rev => self.take(found).await,
            Ok(_) => None,
            Err(error) => {
                tracing::warn!(
                    operation = found.id,
                    error = &error as &dyn std::error::Error,
                    "could not be read before it is taken"
                );
                None
            }
        }
    }
}
