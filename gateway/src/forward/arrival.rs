//! The first message of a call, which has to arrive before the call takes anybody's turn.
//!
//! What has arrived is held here, so it is bounded: for each call, for each caller and for all.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::{Bytes, BytesMut};
use futures::future::poll_immediate;
use http::HeaderMap;
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use crate::caller::CallerKey;

/// A call that has sent so much takes its turn, whether its first message is whole or not. In bytes.
const ENOUGH: usize = 128 * 1024;

/// Smaller pieces are copied together: each keeps the whole buffer of its connection in memory. In bytes.
pub(super) const SMALL: usize = 4 * 1024;

/// What a call counts of which nothing has arrived, in bytes.
const EMPTY: usize = 512;

/// What all calls that arrive slowly may hold, and those of one caller, in bytes.
const HELD_BY_ALL: usize = 64 * 1024 * 1024;
const HELD_BY_ONE: usize = 8 * 1024 * 1024;

/// The length of a message's prefix: a flag, and the length in four bytes (gRPC over HTTP/2, `Length-Prefixed-Message`).
const PREFIX: usize = 5;

/// What has arrived of a call's body, and the rest.
pub(super) struct Arrival {
    /// Complete after [`Self::has_turn`] only.
    pub(super) pieces: Vec<Bytes>,
    pub(super) trailers: Option<HeaderMap>,
    /// Whether the caller has sent everything.
    pub(super) is_whole: bool,
    pub(super) rest: Incoming,
    size: usize,
    /// The end of what has arrived, if it came in small pieces.
    tail: BytesMut,
    prefix: Vec<u8>,
    held: Option<Held>,
}

/// How far a call has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// All of it, or enough.
    Arrived,
    /// The memory for calls that arrive slowly is used up.
    NoRoom,
}

/// The caller reset the call or went away.
#[derive(Debug)]
pub(super) struct Gone;

impl Arrival {
    pub(super) fn new(rest: Incoming) -> Self {
        Self {
            pieces: Vec::new(),
            trailers: None,
            is_whole: rest.is_end_stream(),
            rest,
            size: 0,
            tail: BytesMut::new(),
            prefix: Vec::new(),
            held: None,
        }
    }

    /// How much has arrived, in bytes.
    pub(super) const fn size(&self) -> usize {
        self.size
    }

    /// Reads until the first message is whole, as far as there is room. This can be dropped and called again.
    pub(super) async fn first_message(
        &mut self,
        room: &Room,
        caller: CallerKey,
    ) -> Result<Progress, Gone> {
        while !self.is_whole && !self.has_message() && self.size < ENOUGH {
            // What is here already needs no room: it is sent on at once.
            let frame = match poll_immediate(self.rest.frame()).await {
                Some(frame) => frame,
                None if self.hold(room, caller) => self.rest.frame().await,
                None => return Ok(Progress::NoRoom),
            };
            self.take(frame)?;
        }
        // Most calls are one message: its end may be here too.
        if !self.is_whole
            && let Some(frame) = poll_immediate(self.rest.frame()).await
        {
            self.take(frame)?;
        }
        Ok(Progress::Arrived)
    }

    fn take(&mut self, frame: Option<Result<Frame<Bytes>, hyper::Error>>) -> Result<(), Gone> {
        let Some(frame) = frame else {
            self.is_whole = true;
            return Ok(());
        };
        match frame.map_err(|_| Gone)?.into_data() {
            Ok(data) => self.push(data),
            Err(frame) => {
                self.trailers = frame.into_trailers().ok();
                self.is_whole = true;
            }
        }
        self.is_whole |= self.rest.is_end_stream();
        Ok(())
    }

    fn push(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        self.size += data.len();
        let wanted = PREFIX.saturating_sub(self.prefix.len());
        self.prefix.extend(data.iter().take(wanted));
        let is_first = self.pieces.is_empty() && self.tail.is_empty();
        if data.len() >= SMALL {
            self.close_tail();
            self.pieces.push(data);
        } else if is_first && self.held.is_none() {
            // Most calls are one small piece, and soon over.
            self.pieces.push(data);
        } else {
            if let Some(last) = self.pieces.pop_if(|last| last.len() < SMALL) {
                self.tail.extend_from_slice(&last);
            }
            self.tail.extend_from_slice(&data);
        }
    }

    /// Small pieces are sent on together: services close a connection on which too many of them wait.
    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push(self.tail.split().freeze());
        }
    }

    fn has_message(&self) -> bool {
        let length = self
            .prefix
            .get(1..PREFIX)
            .and_then(|length| length.try_into().ok())
            .map(u32::from_be_bytes);
        length.is_some_and(|length| {
            self.size
                >= usize::try_from(length)
                    .unwrap_or(usize::MAX)
                    .saturating_add(PREFIX)
        })
    }

    /// Notes that the call has its turn: all that has arrived is in `pieces` from here on. What was reserved is given back,
    /// because turns bound the call now.
    pub(super) fn has_turn(&mut self) {
        self.close_tail();
        self.held = None;
    }

    /// Reserves what this call may hold while it waits, unless it is small.
    pub(super) fn may_wait(&mut self, room: &Room, caller: CallerKey) -> bool {
        self.size < SMALL || self.hold(room, caller)
    }

    /// Reserves what this call holds while it arrives.
    fn hold(&mut self, room: &Room, caller: CallerKey) -> bool {
        let Some(held) = &mut self.held else {
            self.held = room.hold(caller, EMPTY + self.size);
            if self.held.is_some() {
                // What came first may keep a large buffer.
                if let Some(first) = self.pieces.pop_if(|first| first.len() < SMALL) {
                    self.tail.extend_from_slice(&first);
                }
            }
            return self.held.is_some();
        };
        held.grow(EMPTY + self.size)
    }
}

/// The memory for calls that arrive slowly. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Room(Arc<Used>);

#[derive(Default)]
struct Used {
    all: AtomicUsize,
    callers: Mutex<HashMap<CallerKey, usize>>,
}

/// The room of one call; given back when it is dropped.
struct Held {
    used: Arc<Used>,
    caller: CallerKey,
    bytes: usize,
}

impl Room {
    /// Room for so many bytes, if there is some.
    fn hold(&self, caller: CallerKey, bytes: usize) -> Option<Held> {
        let mut held = Held {
            used: Arc::clone(&self.0),
            caller,
            bytes: 0,
        };
        held.grow(bytes).then_some(held)
    }
}

impl Held {
    /// Takes what is missing to so many bytes, if there is some.
    fn grow(&mut self, bytes: usize) -> bool {
        let missing = bytes.saturating_sub(self.bytes);
        let mut callers = self.used.callers();
        let own = callers.get(&self.caller).copied().unwrap_or_default() + missing;
        let all = self.used.all.load(Ordering::Relaxed) + missing;
        if own > HELD_BY_ONE || all > HELD_BY_ALL {
            return false;
        }
        if missing > 0 {
            callers.insert(self.caller, own);
            self.used.all.store(all, Ordering::Relaxed);
            self.bytes = bytes;
        }
        true
    }
}

impl Used {
    fn callers(&self) -> std::sync::MutexGuard<'_, HashMap<CallerKey, usize>> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut callers = self.used.callers();
        if let Some(own) = callers.get_mut(&self.caller) {
            *own = own.saturating_sub(self.bytes);
            if *own == 0 {
                callers.remove(&self.caller);
            }
        }
        self.used.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, sync::atomic::Ordering};

    use super::{EMPTY, ENOUGH, HELD_BY_ALL, HELD_BY_ONE, Room};
    use crate::caller::CallerKey;

    #[test]
    fn one_caller_has_a_part_of_the_room() {
        let room = Room::default();
        let caller = |last| CallerKey::of(Ipv4Addr::new(192, 0, 2, last).into());
        let mut held = Vec::new();
        for last in 0..20 {
            let own = (0..1000).map_while(|_| room.hold(caller(last), ENOUGH));
            let own: Vec<_> = own.collect();
            assert!(own.len() <= HELD_BY_ONE / ENOUGH);
            held.extend(own);
        }
        assert_eq!(held.len(), HELD_BY_ALL / ENOUGH);
        held.clear();
        let mut one = room.hold(caller(1), EMPTY);
        assert!(one.as_mut().is_some_and(|one| one.grow(ENOUGH)));
        assert!(room.0.callers().len() <= 1);
        drop(one);
        assert_eq!(room.0.all.load(Ordering::Relaxed), 0);
        assert!(room.0.callers().is_empty());
    }
}
