//! The frames of an HTTP/2 connection, counted as their bytes pass.
//!
//! Some frames cost their sender nine bytes, open nothing, and are answered by nothing: `PRIORITY`, `WINDOW_UPDATE`,
//! kinds that nobody knows. `h2` takes as many of them as arrive. Here each is paid from an [`Allowance`].

use std::time::Instant;

/// The length of a frame's header, in bytes (RFC 9113, section 4.1).
const HEADER: usize = 9;

/// Kinds of frames (RFC 9113, section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

/// The error code of a peer that is told to do less (RFC 9113, section 7).
const ENHANCE_YOUR_CALM: u8 = 0x0b;

/// How many frames that carry nothing a connection may begin with, and how many come back a second. A client that
/// answers for each piece of what it reads sends some hundreds a second.
const AT_FIRST: u64 = 10_000;
const A_SECOND: u64 = 1_000;

/// How many a frame of data that was sent to the client gives back, and how many a request does. A client sends two at
/// most for a frame that it read, one for the stream and one for the connection. Ten is what Envoy gives
/// (`max_inbound_window_update_frames_per_data_frame_sent`).
const FOR_SOMETHING: u64 = 10;

/// The header of a frame, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    length: usize,
    kind: u8,
    stream: u32,
}

/// One direction of a connection.
#[derive(Debug, Default)]
struct Direction {
    header: [u8; HEADER],
    /// How much of the header has passed, in bytes.
    known: usize,
    /// How much of the payload has not passed yet, in bytes.
    payload: usize,
}

impl Direction {
    /// A direction that begins with something else than a frame, of this length in bytes.
    const fn after(length: usize) -> Self {
        Self {
            header: [0; HEADER],
            known: 0,
            payload: length,
        }
    }

    /// Tells `seen` of each frame that begins in these bytes.
    fn pass(&mut self, mut bytes: &[u8], mut seen: impl FnMut(Header)) {
        loop {
            let skipped = self.payload.min(bytes.len());
            self.payload -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            if bytes.is_empty() {
                return;
            }
            let room = self.header.get_mut(self.known..).unwrap_or_default();
            let taken = room.len().min(bytes.len());
            let (now, later) = bytes.split_at(taken);
            room.iter_mut().zip(now).for_each(|(to, from)| *to = *from);
            self.known += taken;
            bytes = later;
            if self.known == HEADER {
                self.known = 0;
                let [a, b, c, kind, _flags, stream @ ..] = self.header;
                let length = u32::from_be_bytes([0, a, b, c]);
                self.payload = usize::try_from(length).unwrap_or(usize::MAX);
                seen(Header {
                    length: self.payload,
                    kind,
                    stream: u32::from_be_bytes(stream) & 0x7fff_ffff,
                });
            }
        }
    }

    /// Whether the next byte begins a frame.
    const fn is_between_frames(&self) -> bool {
        self.known == 0 && self.payload == 0
    }
}

/// How many frames that carry nothing a client may still send.
#[derive(Debug)]
struct Allowance {
    left: u64,
    /// Up to when what comes back with time is counted in `left`.
    counted: Instant,
}

impl Allowance {
    const fn new(now: Instant) -> Self {
        Self {
            left: AT_FIRST,
            counted: now,
        }
    }

    const fn earn(&mut self) {
        self.left = self.left.saturating_add(FOR_SOMETHING);
    }

    /// Pays for some frames. Returns whether there was enough.
    fn pay(&mut self, frames: u64, now: impl FnOnce() -> Instant) -> bool {
        if self.left < frames {
            let now = now();
            let passed = now.saturating_duration_since(self.counted);
            let back = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX) * A_SECOND / 1000;
            self.left = self.left.saturating_add(back.min(AT_FIRST));
            self.counted = now;
        }
        let is_enough = self.left >= frames;
        self.left = self.left.saturating_sub(frames);
        is_enough
    }
}

/// A client has sent too many frames that carry nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flood;

/// Both directions of a connection of HTTP/2, from its first byte on.
#[derive(Debug)]
pub(super) struct Frames {
    received: Direction,
    sent: Direction,
    allowance: Allowance,
    /// The newest stream that the client has opened.
    last_stream: u32,
}

impl Frames {
    /// `preface` is what the client sends before its first frame, in bytes.
    pub(super) fn new(preface: usize) -> Self {
        Self {
            received: Direction::after(preface),
            sent: Direction::default(),
            allowance: Allowance::new(Instant::now()),
            last_stream: 0,
        }
    }

    /// Counts what the client has sent.
    ///
    /// # Errors
    /// When the client has sent more for nothing than it may. The connection has to end.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Result<(), Flood> {
        let (mut for_nothing, last_stream, allowance) =
            (0, &mut self.last_stream, &mut self.allowance);
        self.received.pass(bytes, |header| match header.kind {
            HEADERS => {
                *last_stream = header.stream.max(*last_stream);
                allowance.earn();
            }
            // `h2` bounds both.
            CONTINUATION => {}
            DATA if header.length > 0 => {}
            _ => for_nothing += 1,
        });
        if self.allowance.pay(for_nothing, Instant::now) {
            Ok(())
        } else {
            Err(Flood)
        }
    }

    /// Counts what was sent to the client.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        let allowance = &mut self.allowance;
        self.sent.pass(bytes, |header| {
            if header.kind == DATA && header.length > 0 {
                allowance.earn();
            }
        });
    }

    /// The frame that tells the client why the connection ends (`GOAWAY`), if one may be sent now.
    pub(super) fn goodbye(&self) -> Option<[u8; HEADER + 8]> {
        let [a, b, c, d] = self.last_stream.to_be_bytes();
        let frame = [
            0,
            0,
            8,
            GOAWAY,
            0,
            0,
            0,
            0,
            0,
            a,
            b,
            c,
            d,
            0,
            0,
            0,
            ENHANCE_YOUR_CALM,
        ];
        self.sent.is_between_frames().then_some(frame)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::{A_SECOND, AT_FIRST, Allowance, DATA, Direction, Frames, GOAWAY, HEADERS};

    const PRIORITY: u8 = 2;
    const WINDOW_UPDATE: u8 = 8;

    fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let [_, a, b, c] = u32::try_from(payload.len()).unwrap_or(0).to_be_bytes();
        let mut frame = vec![a, b, c, kind, 0];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    #[test]
    fn who_sends_nothing_but_priorities_is_stopped() {
        let mut frames = Frames::new(0);
        let flood = frame(PRIORITY, 1, &[0; 5]);
        let taken = (0..20_000)
            .take_while(|_| frames.receive(&flood).is_ok())
            .count();
        // Some come back while the test runs.
        assert!((10_000..20_000).contains(&taken), "{taken}");
        assert!(frames.goodbye().is_some());
    }

    #[test]
    fn who_reads_much_may_answer_for_each_piece() {
        let mut frames = Frames::new(0);
        let piece = frame(DATA, 1, &[0; 40]);
        let answers = [
            frame(WINDOW_UPDATE, 0, &[0, 0, 0, 40]),
            frame(WINDOW_UPDATE, 1, &[0, 0, 0, 40]),
        ]
        .concat();
        // All that is on its way first, and its answers at once.
        for _ in 0..50_000 {
            frames.send(&piece);
        }
        for _ in 0..50_000 {
            assert_eq!(frames.receive(&answers), Ok(()));
        }
    }

    #[test]
    fn what_was_paid_comes_back_with_time() {
        let start = Instant::now();
        let mut allowance = Allowance::new(start);
        assert!(allowance.pay(AT_FIRST, || start));
        assert!(!allowance.pay(1, || start));
        let later = start + Duration::from_secs(2);
        assert!(allowance.pay(2 * A_SECOND, || later));
        assert!(!allowance.pay(1, || later));
        let much_later = later + Duration::from_hours(1);
        assert!(allowance.pay(AT_FIRST, || much_later));
        assert!(!allowance.pay(1, || much_later));
    }

    #[test]
    fn nothing_is_said_within_a_frame() {
        let mut frames = Frames::new(0);
        let sent = frame(DATA, 1, b"hello");
        for (position, byte) in sent.iter().enumerate() {
            assert_eq!(frames.goodbye().is_some(), position == 0);
            frames.send(&[*byte]);
        }
        let _ = frames.receive(&frame(HEADERS, 7, b"head"));
        assert_eq!(
            frames.goodbye().as_ref().map(<[u8; 17]>::as_slice),
            Some(frame(GOAWAY, 0, &[0, 0, 0, 7, 0, 0, 0, 11]).as_slice())
        );
    }

    proptest! {
        #[test]
        fn frames_are_seen_in_any_pieces(
            sent in prop::collection::vec((any::<u8>(), 0_u32..0x8000_0000, 0_usize..40), 0..20),
            preface in 0_usize..30,
            cuts in prop::collection::vec(0_usize..200, 0..10),
        ) {
            let mut bytes = vec![7; preface];
            for (kind, stream, length) in &sent {
                bytes.extend(frame(*kind, *stream, &vec![9; *length]));
            }
            let mut direction = Direction::after(preface);
            let mut seen = Vec::new();
            let mut rest = bytes.as_slice();
            for cut in cuts {
                let (now, later) = rest.split_at(cut.min(rest.len()));
                direction.pass(now, |header| seen.push((header.kind, header.stream, header.length)));
                rest = later;
            }
            direction.pass(rest, |header| seen.push((header.kind, header.stream, header.length)));
            prop_assert_eq!(seen, sent);
            prop_assert!(direction.is_between_frames());
        }
    }
}
