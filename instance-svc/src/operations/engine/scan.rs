//! Scanning for operations that need attention: those without an owner, those whose owner is gone, those that
//! are to be looked at once more, those with follow-up work that is due, and those whose retention has ended.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use couch::{Document, Exchange, Rev};
use futures::TryStreamExt as _;
use tokio::time::Instant;

use super::{Inner, Kinds, kind::Looked};
use crate::{domain::operation::Operation, error::Error};

/// How often ended operations are removed.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

/// The revisions of operations that other replicas own, each with the time since which it has not changed, on
/// the local monotonic clock.
type Seen = HashMap<String, (Rev, Instant)>;

impl<K: Kinds> Inner<K> {
    pub(super) async fn scan(self: &Arc<Self>) {
        let mut seen = Seen::new();
        let mut first = self.settings.alone;
        let mut sweep = Instant::now() + SWEEP_EVERY;
        loop {
            let looked = Instant::now();
            match self.log.open().await {
                Ok(open) => {
                    seen.retain(|id, _| open.iter().any(|found| found.id == *id));
                    let mut in_line = Vec::new();
                    for found in open {
                        if let Some(waits) = self.consider(found, &mut seen, first).await {
                            in_line.push(waits);
                        }
                    }
                    for gone in self.waiting.refresh(looked, in_line) {
                        // Another replica took or cancelled it: callers that follow it read the document from
                        // now on.
                        self.forget(&gone);
                    }
                    first = false;
                }
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot look for operations"
                ),
            }
            self.look_at_due().await;
            if Instant::now() >= sweep {
                sweep = Instant::now() + SWEEP_EVERY;
                if let Err(error) = self.sweep().await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "ended operations could not be removed"
                    );
                }
            }
            tokio::select! {
                () = tokio::time::sleep(self.settings.scan_every) => {}
                () = self.shutdown.cancelled() => return,
            }
        }
    }

    /// Takes an operation that needs an owner, or queues it when it has to wait for a turn. The list may lag;
    /// the compare-and-set of the transition decides.
    async fn consider(
        self: &Arc<Self>,
        found: Document<Operation<K::Work>>,
        seen: &mut Seen,
        first: bool,
    ) -> Option<Document<Operation<K::Work>>> {
        if self.is_driven(&found.id) && !self.waiting.contains(&found.id) {
            seen.remove(&found.id);
            self.notice_marks(&found);
            return None;
        }
        let operation = &found.body;
        if operation.phase.is_end() {
            let now = self.settings.clock.now();
            if operation.look_again.is_some_and(|due| due <= now) {
                self.look_again(&found.id, found.body, &found.rev).await;
            }
            return None;
        }
        let free = match &operation.owner {
            None => true,
            // It is owned by this replica but not driven: the previous process left it, or it was let go.
            Some(owner) if first && *owner == self.settings.replica => {
                !self.is_accepting(&found.id)
            }
            Some(_) => self.has_lapsed(&found.id, &found.rev, seen),
        };
        if !free {
            return None;
        }
        let limited = self.kinds.bind(&found.id, operation).takes_a_turn();
        if limited {
            return Some(found);
        }
        let turn = self.turns.try_turn(limited)?;
        let id = found.id.clone();
        if let Some(written) = self.take_found(found).await {
            seen.remove(&id);
            Self::start(self, id, written, turn);
        }
        None
    }

    fn is_accepting(&self, id: &str) -> bool {
        self.accepting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(id)
    }

    /// Tells the driver of an operation that a mark was set through another replica.
    fn notice_marks(&self, found: &Document<Operation<K::Work>>) {
        let marked = found.body.retry_requested || found.body.cancel_requested;
        let news = marked
            && self
                .driven
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get(&found.id)
                .is_some_and(|driven| {
                    let known = driven.state.borrow();
                    // An older beat is a state that the driver has already replaced.
                    let recent = found.body.beat >= known.beat;
                    let cancel = found.body.cancel_requested && !known.cancel_requested;
                    recent && (cancel || found.body.retry_requested)
                });
        if news {
            self.nudge(&found.id);
        }
    }

    fn has_lapsed(&self, id: &str, rev: &Rev, seen: &mut Seen) -> bool {
        match seen.get(id) {
            Some((known, since)) if known == rev => {
                since.elapsed() >= self.settings.takeover_after()
            }
            _ => {
                seen.insert(id.to_owned(), (rev.clone(), Instant::now()));
                false
            }
        }
    }

    /// Looks once more at an ended operation.
    async fn look_again(&self, id: &str, mut operation: Operation<K::Work>, rev: &Rev) {
        let looked = self.kinds.bind(id, &operation).look_again().await;
        match looked {
            Ok(Looked::Over(report)) => {
                report(&mut operation.work);
                operation.open = false;
                operation.look_again = None;
            }
            Ok(Looked::Again(pause)) => {
                operation.look_again = Some(self.settings.clock.after(pause));
            }
            Err(error) => {
                tracing::warn!(operation = id, error = ?error, "could not be looked at once more");
                return;
            }
        }
        operation.beat += 1;
        operation.updated_at = self.settings.clock.now();
        match self.log.transition(id, rev, &operation).await {
            Ok(Exchange::Won(_) | Exchange::Lost) => {}
            Err(error) => tracing::warn!(
                operation = id,
                error = &error as &dyn std::error::Error,
                "a transition could not be written"
            ),
        }
    }

    /// Removes operations whose retention has ended.
    async fn sweep(&self) -> Result<(), Error> {
        let kept = self.settings.keep;
        let clock = &self.settings.clock;
        let mut old = std::pin::pin!(self.log.accepted_until(clock.before(kept)));
        while let Some(found) = old.try_next().await? {
            let old = found
                .body
                .ended_at
                .is_some_and(|ended| clock.since(ended) > kept);
            if old && !found.body.open && found.body.look_again.is_none() {
                match self.log.forget(&found.id, &found.rev).await? {
                    Exchange::Won(_) | Exchange::Lost => {}
                }
            }
        }
        Ok(())
    }
}
