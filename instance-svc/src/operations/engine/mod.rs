//! The engine: accepts operations, drives them, takes over what others left, shows how far they are.
//!
//! An operation is one document; a transition is one write with its revision, and who wins that write
//! owns the operation. An owner shows signs of life by writing; a lease has lapsed when the revision has
//! not changed for a while on the *observer's* monotonic clock. Two owners may still overlap for a moment
//! (a process that was stopped and woken): every step may therefore be done more than once, and what was
//! made is looked at before it is published.

mod drive;
mod owner;
mod perform;
mod purge;
mod scan;
mod waiting;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use couch::{ClaimOutcome as Claiming, Exchange, Rev};
use service_kit::telemetry;
use tokio::sync::{Notify, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::waiting::Waiting;
use super::{
    Peers,
    change::Changing,
    claims::EarlyClaim,
    create::Creation,
    destroy::Destruction,
    failpoints::Failpoints,
    line::{Line, Turn},
    orphans::Orphans,
};
use crate::{
    clock::Clock,
    domain::operation::{Operation, Phase, Work},
    error::Error,
    store::Store,
};

/// How an engine behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of this replica, different from all others.
    pub replica: String,
    /// Whether it is certain that nobody else of this name is alive, so that what it left can be taken
    /// over at once: the lock on a data folder proves it.
    pub alone: bool,
    /// How long a lease lasts without a sign of life. Longer than any one call to a database or service.
    pub lease: Duration,
    /// How often to look for operations that need somebody, and for marks on those that are driven here.
    pub scan_every: Duration,
    /// The pause before a step that failed is tried again; it doubles with every try, up to
    /// [`Settings::longest_pause`].
    pub first_pause: Duration,
    /// The longest pause between two tries.
    pub longest_pause: Duration,
    /// After what time to look once more at what had more than one owner.
    pub look_again_after: Duration,
    /// For how long something has to belong to nobody before it is taken for an orphan.
    pub orphan_grace: Duration,
    /// Where tests make operations fail.
    pub failpoints: Failpoints,
    /// The wall clock: it shows, schedules and lets things expire, and decides nothing between replicas.
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
            orphan_grace: Duration::from_secs(10),
            failpoints: Failpoints::default(),
            clock: Clock::system(),
        }
    }

    /// How often an owner shows a sign of life.
    fn beat_every(&self) -> Duration {
        self.lease / 4
    }

    /// The pause before the next try of what has failed so often in a row.
    fn pause(&self, attempts: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(attempts.saturating_sub(1).min(16));
        self.first_pause
            .saturating_mul(doubled)
            .min(self.longest_pause)
    }

    /// How long an observer waits for a sign of life: the lease, and the longest call that an owner may
    /// have begun at its end.
    fn takeover_after(&self) -> Duration {
        self.lease + self.lease * 3 / 4
    }
}

/// What became of a request for an operation.
#[derive(Debug)]
pub enum Accepted {
    /// It is accepted, or was before with the same arguments.
    Operation {
        /// Its id.
        id: String,
        /// How far it is.
        operation: Box<Operation>,
    },
    /// The request id belongs to other arguments.
    Reused,
}

/// Drives operations. Clones are the same engine.
#[derive(Clone, Debug)]
pub struct Engine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    creation: Creation,
    destruction: Destruction,
    changing: Changing,
    orphans: Orphans,
    settings: Settings,
    line: Line,
    waiting: Waiting,
    /// The operations that this replica drives, or that it accepted and that wait in line.
    driven: Mutex<HashMap<String, Driven>>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

/// An operation in the hands of this replica.
#[derive(Debug)]
struct Driven {
    /// Its latest state.
    state: watch::Sender<Arc<Operation>>,
    /// Tells its driver that somebody set a mark.
    nudged: Arc<Notify>,
}

impl Engine {
    /// An engine that drives nothing yet; see [`Engine::run`].
    #[must_use]
    pub fn new(
        creation: Creation,
        destruction: Destruction,
        settings: Settings,
        shutdown: CancellationToken,
    ) -> Self {
        Self(Arc::new(Inner {
            store: creation.store.clone(),
            changing: Changing {
                store: creation.store.clone(),
                sealing: creation.sealing.clone(),
            },
            line: Line::new(creation.config.creations_at_once),
            orphans: Orphans {
                store: destruction.store.clone(),
                peers: destruction.peers.clone(),
                grace: settings.orphan_grace,
            },
            creation,
            destruction,
            settings,
            waiting: Waiting::new(),
            driven: Mutex::default(),
            tasks: TaskTracker::new(),
            shutdown,
        }))
    }

    /// Writes an operation down while `check` looks whether it can be done at all, and begins to drive it.
    /// Once this returns it is never lost. `check` gives the warnings for it; what it refuses is forgotten.
    ///
    /// # Errors
    /// The refusal; when the database fails, and it may then be accepted all the same: the same `id` finds
    /// out.
    pub async fn accept(
        &self,
        id: String,
        mut operation: Operation,
        check: impl Future<Output = Result<Vec<String>, Error>>,
    ) -> Result<Accepted, Error> {
        let limited = matches!(operation.work, Work::Create { .. });
        // Nobody passes those who stand in line already.
        let turn = if limited && !self.0.waiting.is_empty() {
            None
        } else {
            self.0.line.try_turn(limited)
        };
        if turn.is_some() {
            operation.phase = Phase::Running;
            operation.owner = Some(self.0.settings.replica.clone());
        } else {
            operation.phase = Phase::Queued;
        }
        operation.traceparent = telemetry::traceparent();
        let store = &self.0.store;
        // Who waits in line claims nothing before its turn.
        let early = async {
            if turn.is_some() {
                EarlyClaim::make(store, &id, &operation).await
            } else {
                None
            }
        };
        let (written, checked, early) = tokio::join!(store.accept(&id, &operation), check, early);
        let answer = match (written, checked) {
            (Ok(Claiming::Won(rev)), Ok(warnings)) => {
                operation.warnings = warnings;
                operation.names.extend(early.and_then(EarlyClaim::keep));
                self.0.begin(&id, &operation, rev, turn);
                return Ok(Accepted::Operation {
                    id,
                    operation: Box::new(operation),
                });
            }
            (Ok(Claiming::Won(rev)), Err(refusal)) => {
                self.0.withdraw(&id, &rev).await;
                Err(refusal)
            }
            (Ok(Claiming::Taken(found)), _) if found.arguments_mac == operation.arguments_mac => {
                Ok(Accepted::Operation {
                    id,
                    operation: Box::new(found),
                })
            }
            (Ok(Claiming::Taken(_)), _) => Ok(Accepted::Reused),
            (Err(error), checked) => checked.and(Err(error.into())),
        };
        if let Some(early) = early {
            early.release(store).await;
        }
        answer
    }

    /// The wall clock of this replica.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.0.settings.clock
    }

    /// Follows an operation that this replica drives: its latest state, and every change.
    #[must_use]
    pub fn follow(&self, id: &str) -> Option<watch::Receiver<Arc<Operation>>> {
        self.0
            .driven
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .map(|driven| driven.state.subscribe())
    }

    /// How many operations go before this one while it waits in line, from 0. It may lag by
    /// [`Settings::scan_every`] where other replicas accept or drive.
    #[must_use]
    pub fn position(&self, id: &str, operation: &Operation) -> Option<usize> {
        (operation.phase == Phase::Queued)
            .then(|| self.0.waiting.position(&operation.created_at, id))
    }

    /// Tells of every change of the line.
    #[must_use]
    pub fn line_changes(&self) -> watch::Receiver<()> {
        self.0.waiting.changes()
    }

    /// Tells whoever drives this operation here that somebody set a mark on it. One that is driven elsewhere
    /// is found by the next look at the database there.
    pub fn nudge(&self, id: &str) {
        self.0.nudge(id);
    }

    /// Takes an operation out of the line: it has ended before its turn.
    pub fn leave_line(&self, id: &str, ended: &Operation) {
        if self.0.waiting.remove(id) {
            self.0.show(id, ended);
            self.0.forget(id);
        }
    }

    /// The other services.
    pub(crate) fn peers(&self) -> &Peers {
        &self.0.orphans.peers
    }

    /// What finds and removes orphans.
    pub(crate) fn orphans(&self) -> &Orphans {
        &self.0.orphans
    }

    /// Looks for operations that need somebody, until the shutdown; then hands back what it drives.
    pub async fn run(&self) {
        tokio::join!(Inner::scan(&self.0), Inner::serve_line(&self.0));
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

impl Inner {
    /// Drives an operation that was accepted just now, or lets it wait in line.
    fn begin(self: &Arc<Self>, id: &str, operation: &Operation, rev: Rev, turn: Option<Turn>) {
        tracing::info!(
            operation = id,
            kind = operation.kind(),
            domain = operation.domain,
            "accepted"
        );
        match turn {
            Some(turn) => self.start(id.to_owned(), operation.clone(), rev, turn),
            None => {
                self.show(id, operation);
                self.waiting.add(id.to_owned(), operation.clone(), rev);
            }
        }
    }

    /// Forgets an operation that was written down and refused. Should that fail, whoever finds it later
    /// comes to the same refusal.
    async fn withdraw(&self, id: &str, rev: &Rev) {
        match self.store.forget(id, rev).await {
            Ok(Exchange::Won(_) | Exchange::Lost) => {}
            Err(error) => tracing::warn!(
                operation = id,
                error = &error as &dyn std::error::Error,
                "a refused operation could not be forgotten"
            ),
        }
    }

    fn is_driven(&self, id: &str) -> bool {
        self.driven
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains_key(id)
    }

    fn show(&self, id: &str, operation: &Operation) {
        let mut driven = self.driven.lock().unwrap_or_else(PoisonError::into_inner);
        let state = Arc::new(operation.clone());
        match driven.get(id) {
            Some(known) => {
                known.state.send_replace(state);
            }
            None => {
                let begun = Driven {
                    state: watch::Sender::new(state),
                    nudged: Arc::default(),
                };
                driven.insert(id.to_owned(), begun);
            }
        }
    }

    fn nudge(&self, id: &str) {
        let driven = self.driven.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(driven) = driven.get(id) {
            driven.nudged.notify_one();
        }
    }

    /// What tells the driver of an operation that somebody set a mark on it.
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
    fn start(self: &Arc<Self>, id: String, operation: Operation, rev: Rev, turn: Turn) {
        self.show(&id, &operation);
        let engine = Arc::clone(self);
        self.tasks.spawn(async move {
            let nudged = engine.nudges_of(&id);
            let mut held = drive::Held::new(id, operation, rev, turn, nudged);
            engine.drive(&mut held).await;
            engine.forget(&held.id);
        });
    }

    /// Gives every turn that comes free to the first in line, whichever replica accepted it.
    async fn serve_line(self: &Arc<Self>) {
        loop {
            let turn = async {
                self.waiting.somebody().await;
                self.line.turn().await
            };
            let turn = tokio::select! {
                turn = turn => turn,
                () = self.shutdown.cancelled() => None,
            };
            let Some(turn) = turn else {
                return;
            };
            let Some((id, operation, rev)) = self.waiting.pop_first() else {
                continue;
            };
            match self.take(&id, operation, &rev).await {
                Some((operation, rev)) => self.start(id, operation, rev, turn),
                None => self.forget(&id),
            }
        }
    }
}
