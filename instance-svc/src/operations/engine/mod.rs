//! The engine: it accepts operations, drives them, takes over abandoned ones and shows their progress.
//!
//! The engine knows no kind of operation. A kind is a table of steps with some functions ([`Kind`]); an engine
//! drives the kinds that it is given ([`Kinds`]).
//!
//! An operation is one document. A transition is one write with its revision, and the winner of that write owns
//! the operation. An owner shows signs of life by writing; a lease has lapsed when the revision has not changed
//! for long enough on the *observer's* monotonic clock. Two owners may still overlap for a moment (a process
//! that was paused and resumed). Every step may therefore be done more than once, and what was made is looked
//! at before it is published.

mod drive;
mod due;
pub mod failpoints;
pub(crate) mod kind;
mod kinds;
mod owner;
mod perform;
mod scan;
mod step_error;
#[cfg(test)]
mod tests;
mod turns;
mod waiting;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use couch::{ClaimOutcome, Exchange, Rev};
use service_kit::telemetry;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use self::kinds::register_kinds;
use self::{
    failpoints::{Failpoints, Order, Point, StepId},
    turns::{Turn, Turns},
    waiting::Waiting,
};
pub use self::{
    kind::{
        Afterwards, Detail, Due, Early, EarlyFuture, Kind, LookFuture, Looked, Report, Step,
        StepFuture, Task, nothing,
    },
    kinds::{Bound, BoundTo, Describe, Described, Holds, KindFacts, Kinds},
    step_error::StepError,
};
use crate::{
    clock::Clock,
    domain::operation::{Operation, Phase, Work as _},
    error::Error,
    store::OperationLog,
};

/// The settings of an engine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of this replica; it is unique.
    pub replica: String,
    /// Whether no other process of this name can be alive, so that its operations can be taken over at once.
    /// The lock on a folder proves it.
    pub alone: bool,
    /// How long a lease lasts without a sign of life. It is longer than any single call to a database or
    /// service.
    pub lease: Duration,
    /// How often to scan for operations that need attention, and for marks on those that are driven here.
    pub scan_every: Duration,
    /// The pause before a failed step is tried again. It doubles with every try, up to
    /// [`Settings::longest_pause`].
    pub first_pause: Duration,
    /// The longest pause between two tries.
    pub longest_pause: Duration,
    /// How long after its end an operation that may have had more than one owner is looked at once more.
    pub look_again_after: Duration,
    /// How many operations of kinds that need a turn run at once.
    pub turns: u16,
    /// How long operations are kept after their end.
    pub keep: Duration,
    /// Points at which tests make operations fail.
    pub failpoints: Failpoints,
    /// The wall clock. It is used for display, scheduling and expiry; it decides nothing between replicas.
    pub clock: Clock,
}

impl Settings {
    /// The settings for a replica of this name.
    #[must_use]
    pub fn new(replica: impl Into<String>) -> Self {
        Self {
            replica: replica.into(),
            alone: false,
            lease: Duration::from_secs(20),
            scan_every: Duration::from_secs(2),
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(30),
            look_again_after: Duration::from_secs(600),
            turns: 16,
            keep: Duration::from_secs(7 * 86_400),
            failpoints: Failpoints::default(),
            clock: Clock::system(),
        }
    }

    /// How often an owner shows a sign of life.
    fn beat_every(&self) -> Duration {
        self.lease / 4
    }

    /// The pause before the next try, after this many failures in a row.
    fn pause(&self, attempts: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(attempts.saturating_sub(1).min(16));
        self.first_pause
            .saturating_mul(doubled)
            .min(self.longest_pause)
    }

    /// How long an observer waits for a sign of life: the lease, plus the longest call that an owner may have
    /// begun at the end of it.
    fn takeover_after(&self) -> Duration {
        self.lease + self.lease * 3 / 4
    }
}

/// The result of requesting an operation.
#[derive(Debug)]
pub enum Accepted<W> {
    /// It is accepted, or was accepted before with the same arguments.
    Operation {
        /// Its id.
        id: String,
        /// Its current state.
        operation: Box<Operation<W>>,
    },
    /// The request id was used before with other arguments.
    Reused,
}

/// Drives operations. Clones are the same engine.
#[derive(Clone, Debug)]
pub struct Engine<K: Kinds>(Arc<Inner<K>>);

#[derive(Debug)]
struct Inner<K: Kinds> {
    log: OperationLog<K::Work>,
    kinds: K,
    settings: Settings,
    turns: Turns,
    waiting: Waiting<K::Work>,
    /// The operations that this replica drives, and those that it accepted and that wait for a turn.
    driven: Mutex<HashMap<String, Driven<K::Work>>>,
    /// The operations that are being accepted. Their documents may be there already, owned by this replica, and the
    /// first scan must not take them for those of a process before this one.
    accepting: Mutex<HashSet<String>>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// An operation as this replica has written it.
#[derive(Debug)]
struct Written<W> {
    operation: Operation<W>,
    rev: Rev,
    /// When the write began. The lease counts from here, because the write may have taken effect long before its
    /// response arrived.
    at: Instant,
}

/// An operation that this replica drives or has queued.
#[derive(Debug)]
struct Driven<W> {
    /// Its latest state.
    state: watch::Sender<Arc<Operation<W>>>,
    /// Until when no other replica can have taken it over.
    trusted_until: Instant,
    /// Tells the driver that a mark was set.
    nudged: Arc<Notify>,
}

/// An operation that is being accepted, until this is dropped.
struct Accepting<'a> {
    all: &'a Mutex<HashSet<String>>,
    id: String,
}

impl<'a> Accepting<'a> {
    fn begin(all: &'a Mutex<HashSet<String>>, id: &str) -> Self {
        all.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id.to_owned());
        Self {
            all,
            id: id.to_owned(),
        }
    }
}

impl Drop for Accepting<'_> {
    fn drop(&mut self) {
        self.all
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.id);
    }
}

impl<K: Kinds> Engine<K> {
    /// An engine that drives nothing until [`Engine::run`] is called.
    #[must_use]
    pub fn new(
        log: OperationLog<K::Work>,
        kinds: K,
        settings: Settings,
        shutdown: CancellationToken,
    ) -> Self {
        Self(Arc::new(Inner {
            log,
            kinds,
            turns: Turns::new(settings.turns),
            settings,
            waiting: Waiting::new(),
            driven: Mutex::default(),
            accepting: Mutex::default(),
            tasks: TaskTracker::new(),
            shutdown,
        }))
    }

    /// Writes a new operation while `check` decides whether it is possible at all, and begins to drive it. An
    /// operation that was accepted is never lost. `check` returns the warnings for it; an operation that it
    /// refuses is removed again.
    ///
    /// # Errors
    /// The refusal of `check`, or an error of the database. After the latter the operation may be accepted all
    /// the same: a retry with the same `id` finds out.
    pub async fn accept(
        &self,
        id: String,
        mut operation: Operation<K::Work>,
        check: impl Future<Output = Result<Vec<String>, Error>>,
    ) -> Result<Accepted<K::Work>, Error> {
        let _accepting = Accepting::begin(&self.0.accepting, &id);
        let limited = self.0.kinds.bind(&id, &operation).takes_a_turn();
        // New operations do not overtake those that wait already.
        let turn = if limited && !self.0.waiting.is_empty() {
            None
        } else {
            self.0.turns.try_turn(limited)
        };
        if turn.is_some() {
            operation.phase = Phase::Running;
            operation.owner = Some(self.0.settings.replica.clone());
        } else {
            operation.phase = Phase::Queued;
        }
        operation.traceparent = telemetry::traceparent();
        let bound = self.0.kinds.bind(&id, &operation);
        let failpoints = &self.0.settings.failpoints;
        let mut at = Point {
            step: StepId::early(operation.work.registered_name()),
            undo: false,
            after: false,
        };
        // A queued operation makes no head start.
        let early = async {
            let may_begin = matches!(failpoints.ask(&id, at), Order::Go | Order::Twice);
            if turn.is_some() && may_begin {
                bound.begin_early().await
            } else {
                None
            }
        };
        let begun = Instant::now();
        let accept = self.0.log.accept(&id, &operation);
        let (written, checked, early) = tokio::join!(accept, check, early);
        drop(bound);
        let answer = match (written, checked) {
            (Ok(ClaimOutcome::Won(rev)), Ok(warnings)) => {
                operation.warnings = warnings;
                if let Some(early) = early {
                    early.keep(&mut operation.envelope, &mut operation.work);
                }
                at.after = true;
                if failpoints.ask(&id, at) != Order::Die {
                    let written = Written {
                        operation: operation.clone(),
                        rev,
                        at: begun,
                    };
                    self.0.begin(&id, written, turn);
                }
                return Ok(Accepted::Operation {
                    id,
                    operation: Box::new(operation),
                });
            }
            (Ok(ClaimOutcome::Won(rev)), Err(refusal)) => {
                self.0.withdraw(&id, &rev).await;
                Err(refusal)
            }
            (Ok(ClaimOutcome::Taken(found)), _)
                if found.arguments_mac == operation.arguments_mac =>
            {
                Ok(Accepted::Operation {
                    id,
                    operation: Box::new(found),
                })
            }
            (Ok(ClaimOutcome::Taken(_)), _) => Ok(Accepted::Reused),
            (Err(error), checked) => checked.and(Err(error.into())),
        };
        if let Some(early) = early {
            early.give_back().await;
        }
        answer
    }

    /// The wall clock of this replica.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.0.settings.clock
    }

    /// The store of operations.
    #[must_use]
    pub fn log(&self) -> &OperationLog<K::Work> {
        &self.0.log
    }

    /// The response of an operation that succeeded.
    ///
    /// # Errors
    /// The response may need documents of the instance; reading them may fail.
    pub async fn respond(
        &self,
        id: &str,
        operation: &Operation<K::Work>,
        detail: Detail,
    ) -> Result<prost_types::Any, Error> {
        self.0.kinds.bind(id, operation).respond(detail).await
    }

    /// Follows an operation that this replica drives: its latest state, and every change. `None` also when
    /// another replica may have taken it over.
    #[must_use]
    pub fn follow(&self, id: &str) -> Option<watch::Receiver<Arc<Operation<K::Work>>>> {
        self.0
            .driven
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .filter(|driven| Instant::now() < driven.trusted_until)
            .map(|driven| driven.state.subscribe())
    }

    /// How many operations are ahead of this one while it waits for a turn, from 0. The number may lag by
    /// [`Settings::scan_every`] where other replicas accept or drive operations.
    #[must_use]
    pub fn position(&self, id: &str, operation: &Operation<K::Work>) -> Option<usize> {
        (operation.phase == Phase::Queued)
            .then(|| self.0.waiting.position(operation.created_at, id))
    }

    /// Notifies of every change of the queue.
    #[must_use]
    pub fn queue_changes(&self) -> watch::Receiver<()> {
        self.0.waiting.changes()
    }

    /// Tells the driver of this operation, if it is driven here, that a mark was set. A driver on another
    /// replica finds the mark at its next look at the database.
    pub fn nudge(&self, id: &str) {
        self.0.nudge(id);
    }

    /// Removes an operation that ended before its turn from the queue.
    pub fn leave_queue(&self, id: &str, ended: &Operation<K::Work>) {
        if self.0.waiting.remove(id) {
            self.0.show(id, ended);
            self.0.forget(id);
        }
    }

    /// Scans for operations that need attention until the shutdown, then gives up those that it drives.
    pub async fn run(&self) {
        tokio::join!(Inner::scan(&self.0), Inner::serve_queue(&self.0));
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

impl<K: Kinds> Inner<K> {
    /// Begins to drive an operation that was just accepted, or queues it.
    fn begin(self: &Arc<Self>, id: &str, written: Written<K::Work>, turn: Option<Turn>) {
        let operation = &written.operation;
        tracing::info!(
            operation = id,
            kind = operation.kind(),
            domain = operation.domain,
            "accepted"
        );
        match turn {
            Some(turn) => self.start(id.to_owned(), written, turn),
            None => {
                self.show(id, operation);
                let Written { operation, rev, .. } = written;
                self.waiting.add(id.to_owned(), operation, rev);
            }
        }
    }

    /// Removes an operation that was written and then refused. If that fails, the replica that finds it later
    /// comes to the same refusal.
    async fn withdraw(&self, id: &str, rev: &Rev) {
        match self.log.take_back(id, rev).await {
            Ok(Exchange::Won(_) | Exchange::Lost) => {}
            Err(error) => tracing::warn!(
                operation = id,
                error = &error as &dyn std::error::Error,
                "a refused operation could not be removed"
            ),
        }
    }

    fn is_driven(&self, id: &str) -> bool {
        self.driven
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(id)
    }

    /// Shows the state of an operation to its followers on this replica.
    fn show(&self, id: &str, operation: &Operation<K::Work>) {
        let state = Arc::new(operation.clone());
        let mut driven = self.driven.lock().unwrap_or_else(PoisonError::into_inner);
        match driven.get(id) {
            Some(known) => {
                known.state.send_replace(state);
            }
            None => {
                let begun = Driven {
                    state: watch::Sender::new(state),
                    trusted_until: self.lease_from(Instant::now()),
                    nudged: Arc::default(),
                };
                driven.insert(id.to_owned(), begun);
            }
        }
    }

    /// Notes when an operation was written: no other replica takes it before the lease has lapsed.
    fn trust(&self, id: &str, written: Instant) {
        let mut driven = self.driven.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(driven) = driven.get_mut(id) {
            driven.trusted_until = self.lease_from(written);
        }
    }

    fn lease_from(&self, written: Instant) -> Instant {
        written + self.settings.lease
    }

    fn nudge(&self, id: &str) {
        let driven = self.driven.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(driven) = driven.get(id) {
            driven.nudged.notify_one();
        }
    }

    /// Notified when a mark is set on this operation.
    fn nudges_of(&self, id: &str) -> Arc<Notify> {
        self.driven
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .map(|driven| Arc::clone(&driven.nudged))
            .unwrap_or_default()
    }

    fn forget(&self, id: &str) {
        self.driven
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
    }

    /// Begins to drive an operation that this replica owns.
    fn start(self: &Arc<Self>, id: String, written: Written<K::Work>, turn: Turn) {
        self.show(&id, &written.operation);
        self.trust(&id, written.at);
        let engine = Arc::clone(self);
        self.tasks.spawn(async move {
            let nudged = engine.nudges_of(&id);
            let mut held = drive::Held::new(id, written, turn, nudged);
            engine.drive(&mut held).await;
            engine.forget(&held.id);
        });
    }

    /// Gives every free turn to the first operation in the queue, whichever replica accepted it.
    async fn serve_queue(self: &Arc<Self>) {
        loop {
            let turn = async {
                self.waiting.somebody().await;
                self.turns.turn().await
            };
            let turn = tokio::select! {
                turn = turn => turn,
                () = self.shutdown.cancelled() => None,
            };
            let Some(turn) = turn else {
                return;
            };
            let Some(first) = self.waiting.pop_first() else {
                continue;
            };
            let id = first.found.id.clone();
            let taken = if first.accepted_here {
                self.take(first.found).await
            } else {
                self.take_found(first.found).await
            };
            match taken {
                Some(written) => self.start(id, written, turn),
                None => self.forget(&id),
            }
        }
    }
}
