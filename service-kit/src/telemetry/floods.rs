//! How many warnings and errors one place in the code may write.
//!
//! Most of these lines can be caused by callers, also by strangers, as often as they like. The lines of a place that
//! come too fast are left out, and a line a minute says how many.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracing::{Level, Metadata, callsite::Identifier};

/// How many lines a place may write at once.
const AT_ONCE: u32 = 30;

/// After what time it may write another one.
const ANOTHER_AFTER: Duration = Duration::from_secs(2);

/// How often what was left out is told.
const TOLD_EVERY: Duration = Duration::from_mins(1);

/// What one place has written.
#[derive(Debug)]
struct Written {
    metadata: &'static Metadata<'static>,
    /// How many lines it may write now.
    left: u32,
    /// Up to when lines that come back with time are counted in `left`.
    counted: Instant,
    /// Lines left out since this was told.
    unseen: u64,
}

/// The lines of all places. There are as many places as the code has, so this is bounded.
#[derive(Debug, Default)]
pub(super) struct Floods {
    places: Mutex<HashMap<Identifier, Written>>,
}

impl Floods {
    /// Starts telling what is left out, for as long as the process lives.
    pub(super) fn watched() -> Arc<Self> {
        let floods = Arc::new(Self::default());
        let told = Arc::clone(&floods);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(TOLD_EVERY).await;
                told.tell();
            }
        });
        floods
    }

    /// Whether a line of this place may be written.
    pub(super) fn admit(&self, metadata: &'static Metadata<'static>) -> bool {
        // More talkative levels are switched on by somebody who wants all of it, or are what administrators do.
        *metadata.level() > Level::WARN || self.admit_at(metadata, Instant::now())
    }

    fn admit_at(&self, metadata: &'static Metadata<'static>, now: Instant) -> bool {
        let mut places = self.places();
        let written = places
            .entry(metadata.callsite())
            .or_insert_with(|| Written {
                metadata,
                left: AT_ONCE,
                counted: now,
                unseen: 0,
            });
        let passed = now.saturating_duration_since(written.counted);
        let back = passed.as_millis() / ANOTHER_AFTER.as_millis();
        if let Some(back) = u32::try_from(back).ok().filter(|back| *back < AT_ONCE) {
            written.left = (written.left + back).min(AT_ONCE);
            written.counted += back * ANOTHER_AFTER;
        } else {
            written.left = AT_ONCE;
            written.counted = now;
        }
        if let Some(left) = written.left.checked_sub(1) {
            written.left = left;
            return true;
        }
        written.unseen += 1;
        false
    }

    /// Writes a line about each place whose lines were left out.
    pub(super) fn tell(&self) {
        for (metadata, unseen) in self.take() {
            tracing::warn!(
                unseen,
                target_of_lines = metadata.target(),
                line_of_code = metadata.line(),
                "lines of the log were left out: there were too many like them"
            );
        }
    }

    /// The places whose lines were left out, and how many were.
    fn take(&self) -> Vec<(&'static Metadata<'static>, u64)> {
        self.places()
            .values_mut()
            .map(|written| (written.metadata, std::mem::take(&mut written.unseen)))
            .filter(|(_, unseen)| *unseen > 0)
            .collect()
    }

    fn places(&self) -> MutexGuard<'_, HashMap<Identifier, Written>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use tracing::{Metadata, callsite::Callsite as _};

    use super::{AT_ONCE, Floods};

    fn a_place() -> &'static Metadata<'static> {
        tracing::callsite! { name: "a", kind: tracing::metadata::Kind::EVENT, target: "t", level: tracing::Level::WARN, fields: }
            .metadata()
    }

    fn another_place() -> &'static Metadata<'static> {
        tracing::callsite! { name: "b", kind: tracing::metadata::Kind::EVENT, target: "t", level: tracing::Level::INFO, fields: }
            .metadata()
    }

    #[test]
    fn a_flood_of_one_place_is_cut_and_counted() {
        let floods = Floods::default();
        let start = Instant::now();
        let written = |since: u64, lines: u32| {
            let now = start + Duration::from_secs(since);
            (0..lines)
                .filter(|_| floods.admit_at(a_place(), now))
                .count()
        };
        assert_eq!(
            written(0, 1000),
            usize::try_from(AT_ONCE).unwrap_or_default()
        );
        // One after two seconds, thirty after a long time.
        assert_eq!(written(1, 10), 0);
        assert_eq!(written(2, 10), 1);
        assert_eq!(written(5, 10), 1);
        assert_eq!(written(6, 10), 1);
        assert_eq!(written(100_000, 31), 30);
        let unseen: Vec<_> = floods.take().iter().map(|(_, unseen)| *unseen).collect();
        assert_eq!(unseen, [970 + 10 + 9 + 9 + 9 + 1]);
        assert!(floods.take().is_empty());
    }

    #[test]
    fn other_places_and_what_is_no_warning_are_not_cut() {
        let floods = Floods::default();
        for _ in 0..100 {
            floods.admit(a_place());
        }
        assert!(!floods.admit(a_place()));
        for _ in 0..1000 {
            assert!(floods.admit(another_place()));
        }
        assert!(floods.admit_at(another_place(), Instant::now()));
    }
}
