//! Questions to the instance service: one at a time for a host, and a bounded number of them.
//!
//! Hosts that have an answer and hosts that have none have shares of their own: invented hosts do not keep known
//! ones waiting. After a restart no host is known, so a stranger waits for its turn, within limits.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{future::BoxFuture, future::Shared};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{entry::Resolution, freshness::Moment};

/// How many known hosts are asked for at once.
const OF_KNOWN: usize = 96;
/// How many known hosts may be asked for or wait for their turn.
const PLACES_OF_KNOWN: usize = 8192;
/// How many hosts without an answer are asked for at once.
const OF_STRANGERS: usize = 32;
/// How many of those may be asked for or wait for their turn.
const PLACES_OF_STRANGERS: usize = 1024;

/// How often one line says that questions fail.
const LINE_EVERY: u64 = 10_000_000;
/// After a failure, hosts that can do without an answer are not asked for during this time.
const PAUSE: u64 = 100_000;

pub(super) type Question = Shared<BoxFuture<'static, Resolution>>;

/// The questions that have no answer yet.
pub(super) struct Questions {
    open: Mutex<HashMap<Arc<str>, Question>>,
    known: Share,
    strangers: Share,
    /// Whether the instance service did not answer the last question.
    is_away: AtomicBool,
    failed_at: AtomicU64,
    logged_at: AtomicU64,
}

/// How many questions of a kind there may be.
struct Share {
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

/// A place in the queue for a turn.
pub(super) struct Place {
    turns: Arc<Semaphore>,
    _place: OwnedSemaphorePermit,
}

impl Place {
    /// Waits for the turn, which lasts as long as the result is kept.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        // It fails only when the semaphore is closed, which it never is.
        Arc::clone(&self.turns).acquire_owned().await.ok()
    }
}

impl Share {
    fn new(turns: usize, places: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places)),
            turns: Arc::new(Semaphore::new(turns)),
        }
    }

    fn place(&self) -> Option<Place> {
        Some(Place {
            _place: Arc::clone(&self.places).try_acquire_owned().ok()?,
            turns: Arc::clone(&self.turns),
        })
    }
}

impl Questions {
    pub(super) fn new() -> Self {
        Self {
            open: Mutex::default(),
            known: Share::new(OF_KNOWN, PLACES_OF_KNOWN),
            strangers: Share::new(OF_STRANGERS, PLACES_OF_STRANGERS),
            is_away: AtomicBool::new(false),
            failed_at: AtomicU64::new(0),
            logged_at: AtomicU64::new(0),
        }
    }

    /// The question about `host` that is open, or a new one, which has to call [`Self::end`]. `None` when too many are
    /// open.
    pub(super) fn ask(
        &self,
        host: &str,
        is_known: bool,
        begin: impl FnOnce(Arc<str>, Place) -> Question,
    ) -> Option<Question> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(question) = open.get(host) {
            return Some(question.clone());
        }
        let share = if is_known {
            &self.known
        } else {
            &self.strangers
        };
        let place = share.place()?;
        let host: Arc<str> = host.into();
        let question = begin(Arc::clone(&host), place);
        open.insert(host, question.clone());
        Some(question)
    }

    /// The question about `host` has its answer.
    pub(super) fn end(&self, host: &str) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(host);
    }

    /// The instance service answers.
    pub(super) fn answered(&self) {
        if self.is_away.load(Ordering::Relaxed) {
            self.is_away.store(false, Ordering::Relaxed);
        }
    }

    /// A question failed, perhaps because the instance service does not answer any. Returns whether to log it.
    pub(super) fn failed(&self, now: Moment, is_away: bool) -> bool {
        if is_away {
            self.is_away.store(true, Ordering::Relaxed);
            self.failed_at.store(now, Ordering::Relaxed);
        }
        let logged_at = self.logged_at.load(Ordering::Relaxed);
        (logged_at == 0 || now.saturating_sub(logged_at) >= LINE_EVERY)
            && self
                .logged_at
                .compare_exchange(logged_at, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Whether the instance service did not answer the last question.
    pub(super) fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Relaxed)
    }

    /// Whether that was a moment ago.
    pub(super) fn pauses(&self, now: Moment) -> bool {
        self.is_away() && now.saturating_sub(self.failed_at.load(Ordering::Relaxed)) < PAUSE
    }
}

/// How long a host that can do without an answer waits for it.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
