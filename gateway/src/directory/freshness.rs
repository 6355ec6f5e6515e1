//! Until when answers may be used.
//!
//! An answer is used for a short life, counted from a moment at which it was certainly right: the beginning of its
//! question, or the last heartbeat of the stream, if the stream has carried every change since the question. So an
//! answer lives on at no cost while heartbeats come, and no longer than without a stream when they stop.
//!
//! A change is written down as a time, in a table that is indexed by a hash of what has changed. Two names that share
//! a slot make each other outdated now and then, which costs a question.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// The number of slots for changes. An index fits into 16 bits.
const SLOTS: usize = 1 << 16;

/// A question asked so soon after a change is asked once more: on a cluster, a feed may report a write before a
/// majority of the nodes has it.
const SETTLE: u64 = 500_000;

/// How long an answer is used at most without a question, changes or not. Nothing depends on it; it bounds the effect
/// of a change that the database did not report.
const LONGEST: u64 = 3_600_000_000;

/// A moment, in microseconds since the start of the directory.
pub(super) type Moment = u64;

/// What an answer depends on: slots of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slots([u16; 4]);

/// Whether an answer may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// It is right, or was a moment ago.
    Now,
    /// It was right so long ago.
    Aged(Duration),
    /// It was right before something changed.
    Outdated,
}

/// The times of changes and heartbeats. It is read and written without locks.
#[derive(Debug)]
pub(crate) struct Freshness {
    base: Instant,
    /// The life of an answer, in microseconds.
    life: u64,
    keys: RandomState,
    changed: Box<[AtomicU64]>,
    /// How many changes and resets there were.
    changes: AtomicU64,
    /// The stream has carried all changes since.
    complete_since: AtomicU64,
    /// When the last heartbeat of that stream came; 0 for never.
    beat: AtomicU64,
    /// The same of the stream before the last reset.
    earlier_since: AtomicU64,
    earlier_beat: AtomicU64,
}

impl Freshness {
    pub(super) fn new(life: Duration) -> Self {
        Self {
            base: Instant::now(),
            life: micros(life),
            keys: RandomState::new(),
            changed: std::iter::repeat_with(AtomicU64::default)
                .take(SLOTS)
                .collect(),
            changes: AtomicU64::new(0),
            complete_since: AtomicU64::new(u64::MAX),
            beat: AtomicU64::new(0),
            earlier_since: AtomicU64::new(u64::MAX),
            earlier_beat: AtomicU64::new(0),
        }
    }

    /// Now. Never 0, which stands for never.
    pub(super) fn now(&self) -> Moment {
        micros(self.base.elapsed()).saturating_add(1)
    }

    /// What an answer about `host` depends on. With `derived`, the host is not an instance's own, and any instance
    /// that takes a name to which the host could belong as an app changes the answer.
    pub(super) fn slots(&self, host: &str, instance: &str, derived: bool) -> Slots {
        let own = self.slot('h', host, "");
        let [nested, flat] = if derived {
            owners(host).map(|owner| owner.map_or(own, |(name, rest)| self.slot('h', name, rest)))
        } else {
            [own; 2]
        };
        Slots([own, self.slot('i', instance, ""), nested, flat])
    }

    /// Answers about this host are outdated.
    pub(super) fn host_changed(&self, host: &str) {
        self.change(self.slot('h', host, ""));
    }

    /// Answers that lead to this instance are outdated.
    pub(super) fn instance_changed(&self, id: &str) {
        self.change(self.slot('i', id, ""));
    }

    /// The stream may have missed changes before now, and carries all from now on.
    pub(super) fn reset(&self) {
        let beat = self.beat.swap(0, Ordering::AcqRel);
        if beat > 0 {
            // In this order: who sees the new heartbeat sees from when on it counts.
            let since = self.complete_since.load(Ordering::Acquire);
            self.earlier_since.store(since, Ordering::Release);
            self.earlier_beat.store(beat, Ordering::Release);
        }
        self.complete_since.store(self.now(), Ordering::Release);
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// How many changes and resets there were.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// The stream has carried everything up to now.
    pub(super) fn heartbeat(&self) {
        self.beat.fetch_max(self.now(), Ordering::AcqRel);
    }

    /// Whether the stream keeps answers true at present.
    pub(crate) fn is_fresh(&self) -> bool {
        let beat = self.beat.load(Ordering::Acquire);
        beat > 0 && self.now().saturating_sub(beat) < self.life
    }

    /// Whether an answer to a question that was asked then may be used. One that does not last changes with time, and
    /// the stream does not tell when.
    pub(super) fn judge(&self, asked: Moment, slots: Slots, lasts: bool, now: Moment) -> Use {
        // A heartbeat that comes while the changes are read does not cover them: it is read before.
        let earlier_beat = self.earlier_beat.load(Ordering::Acquire);
        let earlier_since = self.earlier_since.load(Ordering::Acquire);
        let beat = self.beat.load(Ordering::Acquire);
        let complete_since = self.complete_since.load(Ordering::Acquire);
        let changed = slots
            .0
            .iter()
            .filter_map(|slot| self.changed.get(usize::from(*slot)));
        let changed = changed.map(|at| at.load(Ordering::Acquire)).max();
        let changed = changed.unwrap_or_default();
        if asked <= changed {
            return Use::Outdated;
        }
        let settled = changed == 0 || asked >= changed.saturating_add(SETTLE);
        let right_at = if !lasts || !settled {
            asked
        } else if asked > complete_since {
            asked.max(beat)
        } else if asked > earlier_since {
            asked.max(earlier_beat)
        } else {
            asked
        };
        let age = now.saturating_sub(right_at);
        // Answers that came together do not age together.
        let share = u64::from(slots.0[0] & 0xff);
        let is_due = now.saturating_sub(asked) >= LONGEST - LONGEST / 512 * share;
        let life = self.life - self.life / 1024 * share;
        if age < life && !is_due {
            Use::Now
        } else {
            Use::Aged(Duration::from_micros(age))
        }
    }

    fn change(&self, slot: u16) {
        if let Some(changed) = self.changed.get(usize::from(slot)) {
            changed.fetch_max(self.now(), Ordering::AcqRel);
        }
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "a part of a hash is a hash"
    )]
    fn slot(&self, kind: char, name: &str, rest: &str) -> u16 {
        use std::hash::{Hash as _, Hasher as _};
        let mut hasher = self.keys.build_hasher();
        kind.hash(&mut hasher);
        // In pieces: two pieces are the same name as one.
        hasher.write(name.as_bytes());
        hasher.write(rest.as_bytes());
        hasher.finish() as u16
    }
}

/// The instances to which `host` could belong as an app, in the nested and the flat scheme, each in two pieces.
fn owners(host: &str) -> [Option<(&str, &str)>; 2] {
    let Some((label, rest)) = host.split_once('.') else {
        return [None; 2];
    };
    let flat = label.split_once('-').and_then(|(name, _)| {
        // With the dot.
        let rest = host.get(label.len()..)?;
        Some((name, rest))
    });
    [Some((rest, "")), flat]
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::{Freshness, Slots, Use};

    const LIFE: Duration = Duration::from_millis(500);
    /// The life of an answer differs a little between hosts.
    const SHORTEST: Duration = Duration::from_millis(370);

    fn judge(freshness: &Freshness, asked: u64, slots: Slots) -> Use {
        freshness.judge(asked, slots, true, freshness.now())
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_stream_an_answer_lives_shortly() {
        let freshness = Freshness::new(LIFE);
        let slots = freshness.slots("a.example", "1", false);
        let asked = freshness.now();
        // A heartbeat without a beginning says nothing.
        freshness.heartbeat();
        advance(SHORTEST).await;
        assert_eq!(judge(&freshness, asked, slots), Use::Now);
        freshness.heartbeat();
        advance(LIFE - SHORTEST).await;
        assert_eq!(judge(&freshness, asked, slots), Use::Aged(LIFE));
    }

    #[tokio::test(start_paused = true)]
    async fn heartbeats_keep_an_answer_until_something_changes() {
        let freshness = Freshness::new(LIFE);
        let slots = freshness.slots("a.example", "1", false);
        let before = freshness.now();
        freshness.reset();
        assert!(!freshness.is_fresh());
        advance(Duration::from_millis(1)).await;
        let asked = freshness.now();
        for _ in 0..1000 {
            advance(Duration::from_millis(200)).await;
            freshness.heartbeat();
            assert!(freshness.is_fresh());
        }
        assert_eq!(judge(&freshness, asked, slots), Use::Now);
        assert!(matches!(judge(&freshness, before, slots), Use::Aged(_)));
        let of_its_time = freshness.judge(asked, slots, false, freshness.now());
        assert!(matches!(of_its_time, Use::Aged(_)));
        freshness.instance_changed("1");
        assert_eq!(judge(&freshness, asked, slots), Use::Outdated);

        // What was asked right after a change is asked once more.
        advance(Duration::from_millis(1)).await;
        let soon = freshness.now();
        advance(LIFE).await;
        freshness.heartbeat();
        assert_eq!(judge(&freshness, soon, slots), Use::Aged(LIFE));
        let later = freshness.now();
        for _ in 0..10 {
            advance(Duration::from_millis(200)).await;
            freshness.heartbeat();
        }
        assert_eq!(judge(&freshness, later, slots), Use::Now);
        advance(LIFE).await;
        assert!(!freshness.is_fresh());
        assert_eq!(judge(&freshness, later, slots), Use::Aged(LIFE));
        // The stream goes on where it was.
        freshness.heartbeat();
        assert_eq!(judge(&freshness, later, slots), Use::Now);
        // After a reset it ages from the last heartbeat before.
        for _ in 0..2 {
            freshness.reset();
            advance(LIFE).await;
        }
        freshness.heartbeat();
        assert_eq!(judge(&freshness, later, slots), Use::Aged(LIFE * 2));
    }

    #[tokio::test(start_paused = true)]
    async fn no_answer_lives_for_ever() {
        let freshness = Freshness::new(LIFE);
        freshness.reset();
        advance(Duration::from_millis(1)).await;
        let asked = freshness.now();
        let slots = freshness.slots("a.example", "1", false);
        for (minutes, lives) in [(29, true), (31, false)] {
            advance(Duration::from_secs(minutes * 60)).await;
            freshness.heartbeat();
            assert_eq!(judge(&freshness, asked, slots) == Use::Now, lives);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_depends_on_the_names_that_come_before_its_own() {
        let freshness = Freshness::new(LIFE);
        advance(Duration::from_millis(1)).await;
        for (host, derived, changed) in [
            ("drive.a.example", true, "a.example"),
            ("a-drive.example", true, "a.example"),
            ("drive.a.example", true, "drive.a.example"),
            ("drive.a.example", false, "drive.a.example"),
        ] {
            advance(Duration::from_millis(1)).await;
            let asked = freshness.now();
            advance(Duration::from_millis(1)).await;
            let slots = freshness.slots(host, "1", derived);
            assert_eq!(judge(&freshness, asked, slots), Use::Now);
            freshness.host_changed(changed);
            assert_eq!(judge(&freshness, asked, slots), Use::Outdated, "{host}");
        }
        advance(Duration::from_millis(1)).await;
        let asked = freshness.now();
        freshness.host_changed("example");
        let own = freshness.slots("a.example", "1", false);
        assert_ne!(judge(&freshness, asked + 1, own), Use::Outdated);
    }
}
