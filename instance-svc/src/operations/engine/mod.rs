//! The engine: accepts operations, drives them, takes over what others left, shows how far they are.
//!
//! An operation is one document; a transition is one write with its revision, and who wins that write
//! owns the operation. An owner shows signs of life by writing; a lease has lapsed when the revision has
//! not changed for a while on the *observer's* monotonic clock. Two owners may still overlap for a moment
//! (a process that was stopped and woken): every step may therefore be done more than once, and what was
//! made is looked at before it is published.

mod drive;
mod scan;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use couch::{Claim as Claiming, Rev};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    change::Changing, create::Creation, destroy::Destruction, failpoints::Failpoints, line::Line,
};
use crate::{
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
    /// How often to look for operations that need somebody.
    pub scan_every: Duration,
    /// After what time to look once more at what was unwound.
    pub look_again_after: Duration,
    /// Where tests make operations fail.
    pub failpoints: Failpoints,
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
            look_again_after: Duration::from_secs(600),
            failpoints: Failpoints::default(),
        }
    }

    /// How often an owner shows a sign of life.
    fn beat_every(&self) -> Duration {
        self.lease / 4
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
    settings: Settings,
    line: Line,
    /// The operations that this replica drives, or that wait in its line.
    driven: Mutex<HashMap<String, watch::Sender<Arc<Operation>>>>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
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
            },
            line: Line::new(creation.config.creations_at_once),
            creation,
            destruction,
            settings,
            driven: Mutex::new(HashMap::new()),
            tasks: TaskTracker::new(),
            shutdown,
        }))
    }

    /// Writes an operation down and begins to drive it. Once this returns it is never lost.
    ///
    /// # Errors
    /// When the database fails; it may then be accepted all the same, and the same `id` finds out.
    pub async fn accept(&self, id: String, mut operation: Operation) -> Result<Accepted, Error> {
        let limited = matches!(operation.work, Work::Create { .. });
        let turn = self.0.line.try_turn(limited);
        if turn.is_some() {
            operation.phase = Phase::Running;
            operation.owner = Some(self.0.settings.replica.clone());
        } else {
            operation.phase = Phase::Queued;
        }
        match self.0.store.accept(&id, &operation).await? {
            Claiming::Won(rev) => {
                tracing::info!(
                    operation = id,
                    kind = operation.kind(),
                    domain = operation.domain,
                    "accepted"
                );
                let accepted = Accepted::Operation {
                    id: id.clone(),
                    operation: Box::new(operation.clone()),
                };
                match turn {
                    Some(turn) => Inner::start(&self.0, id, operation, rev, turn),
                    None => Inner::queue(&self.0, id, operation, rev),
                }
                Ok(accepted)
            }
            Claiming::Taken(found) if found.arguments_mac == operation.arguments_mac => {
                Ok(Accepted::Operation {
                    id,
                    operation: Box::new(found),
                })
            }
            Claiming::Taken(_) => Ok(Accepted::Reused),
        }
    }

    /// Follows an operation that this replica drives: its latest state, and every change.
    #[must_use]
    pub fn follow(&self, id: &str) -> Option<watch::Receiver<Arc<Operation>>> {
        self.0
            .driven
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(id)
            .map(watch::Sender::subscribe)
    }

    /// Looks for operations that need somebody, until the shutdown; then hands back what it drives.
    pub async fn run(&self) {
        Inner::scan(&self.0).await;
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

impl Inner {
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
            Some(sender) => {
                sender.send_replace(state);
            }
            None => {
                driven.insert(id.to_owned(), watch::Sender::new(state));
            }
        }
    }

    fn forget(&self, id: &str) {
        self.driven
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
    }

    /// Begins to drive an operation that this replica owns.
    fn start(
        self: &Arc<Self>,
        id: String,
        operation: Operation,
        rev: Rev,
        turn: super::line::Turn,
    ) {
        self.show(&id, &operation);
        let engine = Arc::clone(self);
        self.tasks.spawn(async move {
            let mut held = drive::Held::new(id, operation, rev);
            engine.drive(&mut held).await;
            engine.forget(held.id());
            drop(turn);
        });
    }

    /// Lets an operation wait in line. Nobody owns it meanwhile: any replica with a free place takes it.
    fn queue(self: &Arc<Self>, id: String, operation: Operation, rev: Rev) {
        self.show(&id, &operation);
        let engine = Arc::clone(self);
        self.tasks.spawn(async move {
            let turn = tokio::select! {
                turn = engine.line.turn() => turn,
                () = engine.shutdown.cancelled() => None,
            };
            let Some(turn) = turn else {
                engine.forget(&id);
                return;
            };
            match engine.take(&id, operation, &rev).await {
                Some((operation, rev)) => Self::start(&engine, id, operation, rev, turn),
                None => engine.forget(&id),
            }
        });
    }
}
