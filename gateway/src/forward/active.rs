//! The calls at work at one service, each of which can be ended from outside.
//!
//! A call whose caller reads nothing is not polled by its connection, so it cannot notice by itself that its time is over.
//! It is noticed here: the streams to the service and the turn are taken from it. A caller that has stalled its call for
//! long loses it when others wait for a turn.

use std::{
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::Waker,
    time::Duration,
};

use h2::RecvStream;
use hyper::body::Incoming;
use slab::Slab;
use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};

use super::turns::Turn;
use crate::{caller::CallerKey, directory::HostEntry, gate::Passage, refusal::Refusal};

/// How long a caller may stall its call before the call may lose its turn.
const STALLED: Duration = Duration::from_secs(2);

/// How many stalled calls lose their turns at once for a call that waits.
const AT_ONCE: usize = 8;

/// How often calls are looked at whose time is over.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What times are counted from, so that one fits into an atomic.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Milliseconds since the start, at least one: 0 stands for never.
fn now() -> u64 {
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX) + 1
}

/// Which calls compete for the same turns.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scope<'a> {
    Caller(CallerKey),
    Instance(&'a str),
    Service,
}

/// Why a call was ended from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Its time is over.
    Late,
    /// Its caller stalled it while others waited.
    Stalled,
    /// The state of its instance does not let it pass any more.
    Withdrawn,
}

impl From<End> for Refusal {
    fn from(end: End) -> Self {
        match end {
            End::Late => Self::DeadlineExceeded,
            End::Stalled => Self::Stalled,
            End::Withdrawn => Self::Withdrawn,
        }
    }
}

/// The calls at work at one service.
pub(super) struct Active {
    calls: Mutex<Slab<Arc<Exchange>>>,
    /// Told when there is a call after there was none.
    begun: Notify,
}

/// One call at work.
pub(super) struct Exchange {
    deadline: Instant,
    whose: Holder,
    /// Since when the caller has not read what was sent to it; 0 when it has.
    unread_since: AtomicU64,
    /// Since when the caller is waited for to send more; 0 when it is not.
    unsent_since: AtomicU64,
    state: Mutex<State>,
    over: Notify,
}

/// Whose call it is, and what it wants.
#[derive(Clone, Debug)]
pub(super) struct Holder {
    pub(super) caller: CallerKey,
    pub(super) instance: Option<Arc<HostEntry>>,
    pub(super) passage: Passage,
}

/// The response of a service.
pub(super) enum Stream {
    Grpc(RecvStream),
    Http(Incoming),
}

#[derive(Default)]
struct State {
    stream: Option<Stream>,
    /// Who waits for more of the stream.
    reader: Option<Waker>,
    turn: Option<Turn>,
    end: Option<End>,
    is_over: bool,
}

/// Ends the call when it is dropped.
pub(super) struct Running {
    exchange: Arc<Exchange>,
    active: Arc<Active>,
    place: usize,
}

impl Active {
    pub(super) fn new() -> Self {
        Self {
            calls: Mutex::default(),
            begun: Notify::new(),
        }
    }

    /// Adds a call.
    pub(super) fn begin(self: &Arc<Self>, deadline: Instant, whose: Holder, turn: Turn) -> Running {
        let exchange = Arc::new(Exchange {
            deadline,
            whose,
            unread_since: AtomicU64::new(0),
            unsent_since: AtomicU64::new(0),
            state: Mutex::new(State {
                turn: Some(turn),
                ..State::default()
            }),
            over: Notify::new(),
        });
        let place = {
            let mut calls = self.calls();
            if calls.is_empty() {
                self.begun.notify_one();
            }
            calls.insert(Arc::clone(&exchange))
        };
        Running {
            place,
            active: Arc::clone(self),
            exchange,
        }
    }

    /// Ends the calls in `scope` that their callers have stalled longest, if some have for long.
    pub(super) fn end_stalled(&self, scope: Scope<'_>) {
        let mut stalled: Vec<_> = {
            let calls = self.calls();
            let stalled = calls.iter().map(|(_, call)| (call.stalled(), call));
            stalled
                .filter(|(time, call)| *time >= STALLED && call.is_in(scope) && call.has_turn())
                .map(|(time, call)| (time, Arc::clone(call)))
                .collect()
        };
        stalled.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
        for (_, call) in stalled.into_iter().take(AT_ONCE) {
            call.end(Some(End::Stalled));
        }
    }

    /// The calls for instances.
    pub(super) fn of_instances(&self) -> Vec<Arc<Exchange>> {
        let calls = self.calls();
        let of_instances = calls
            .iter()
            .map(|(_, call)| call)
            .filter(|call| call.whose.instance.is_some());
        of_instances.map(Arc::clone).collect()
    }

    /// Ends calls whose time is over, without end. Without calls it rests.
    pub(super) async fn watch(&self) {
        loop {
            if self.calls().is_empty() {
                self.begun.notified().await;
            }
            sleep(LOOK_EVERY).await;
            let now = Instant::now();
            let late: Vec<_> = self
                .calls()
                .iter()
                .map(|(_, call)| call)
                // Most notice it by themselves, at the right moment.
                .filter(|call| call.deadline + LOOK_EVERY <= now)
                .map(Arc::clone)
                .collect();
            for call in late {
                call.end(Some(End::Late));
            }
        }
    }

    fn calls(&self) -> MutexGuard<'_, Slab<Arc<Exchange>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Exchange {
    /// Whose call it is.
    pub(super) const fn whose(&self) -> &Holder {
        &self.whose
    }

    /// Gives the call the response's stream. Does nothing when the call is over.
    pub(super) fn receive(&self, stream: Stream) {
        let mut state = self.state();
        if !state.is_over {
            state.stream = Some(stream);
        }
    }

    /// Looks at the response's stream, or at the reason for which there is none. Who looks is woken when the call is ended
    /// from outside: a stream may be quiet for hours.
    pub(super) fn with_stream<T>(
        &self,
        looks: &Waker,
        look: impl FnOnce(&mut Stream) -> T,
    ) -> Result<T, Option<End>> {
        let mut state = self.state();
        let State { stream, reader, .. } = &mut *state;
        match stream {
            Some(stream) => {
                if !reader.as_ref().is_some_and(|it| it.will_wake(looks)) {
                    *reader = Some(looks.clone());
                }
                Ok(look(stream))
            }
            None => Err(state.end.take()),
        }
    }

    /// Looks at the response's stream without changing anything; `None` when there is none.
    pub(super) fn peek<T>(&self, look: impl FnOnce(&Stream) -> T) -> Option<T> {
        self.state().stream.as_ref().map(look)
    }

    /// Why the call was ended from outside.
    pub(super) fn end_reason(&self) -> Option<End> {
        self.state().end
    }

    /// Takes the turn for another attempt.
    pub(super) fn take_turn(&self) -> Option<Turn> {
        self.state().turn.take()
    }

    /// Notes that the service has said something: a call at which it works is not stalled by a caller that has nothing to
    /// say.
    pub(super) fn has_answered(&self) {
        if self.unsent_since.load(Ordering::Relaxed) != 0 {
            self.unsent_since.store(now(), Ordering::Relaxed);
        }
    }

    /// Notes that the first message has arrived.
    pub(super) fn has_arrived(&self) {
        if let Some(turn) = &mut self.state().turn {
            turn.has_arrived();
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.state().is_over
    }

    /// Returns when nothing was waited for from the caller for `limit`: the service is silent.
    pub(super) async fn silence(&self, limit: Duration) {
        let mut waited = Duration::ZERO;
        let pause = LOOK_EVERY.min(limit);
        while waited < limit {
            sleep(pause).await;
            let is_callers_turn = self.unsent_since.load(Ordering::Relaxed) != 0;
            waited = if is_callers_turn {
                Duration::ZERO
            } else {
                waited + pause
            };
        }
    }

    /// Notes whether the caller has to read before the response goes on.
    pub(super) fn is_unread(&self, is_unread: bool) {
        let since = if is_unread { now() } else { 0 };
        self.unread_since.store(since, Ordering::Relaxed);
    }

    /// Notes whether the caller has to send before the request goes on.
    pub(super) fn is_unsent(&self, is_unsent: bool) {
        let since = if is_unsent { now() } else { 0 };
        self.unsent_since.store(since, Ordering::Relaxed);
    }

    /// Returns when the call is over.
    pub(super) async fn over(&self) {
        let mut over = std::pin::pin!(self.over.notified());
        // Registered before the look, so that no notice is missed.
        over.as_mut().enable();
        if !self.state().is_over {
            over.await;
        }
    }

    /// Ends the call: gives back its turn, and resets it at the service if it has not ended there.
    pub(super) fn end(&self, why: Option<End>) {
        let (stream, turn, reader) = {
            let mut state = self.state();
            if state.is_over {
                return;
            }
            state.is_over = true;
            state.end = why;
            (state.stream.take(), state.turn.take(), state.reader.take())
        };
        self.over.notify_waiters();
        if let Some(reader) = reader
            && why.is_some()
        {
            reader.wake();
        }
        // Outside of the lock: dropping a stream takes the lock of its connection.
        drop(stream);
        drop(turn);
    }

    fn stalled(&self) -> Duration {
        let now = now();
        let since = |at: &AtomicU64| match at.load(Ordering::Relaxed) {
            0 => 0,
            since => now.saturating_sub(since),
        };
        Duration::from_millis(since(&self.unread_since).max(since(&self.unsent_since)))
    }

    /// An event stream has none.
    fn has_turn(&self) -> bool {
        self.state().turn.is_some()
    }

    fn is_in(&self, scope: Scope<'_>) -> bool {
        match scope {
            Scope::Caller(key) => self.whose.caller == key,
            Scope::Instance(id) => self
                .whose
                .instance
                .as_ref()
                .is_some_and(|it| it.tenant.id.as_str() == id),
            Scope::Service => true,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    pub(super) const fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.active.calls().try_remove(self.place);
        self.exchange.end(None);
    }
}
