//! Up to when the feeds were read, as markers prove.
//!
//! A replica writes a marker to each database and waits for it to come through the feed of that database. What was
//! committed before the write of the marker began has then been read. Times are those of the replica's own monotonic
//! clock.

use std::collections::VecDeque;

use tokio::time::{Duration, Instant};

/// How many markers are remembered. One that comes later proves nothing: it is too old.
const REMEMBERED: usize = 4;

/// A marker of one database.
#[derive(Clone, Copy, Debug)]
struct Marker {
    number: u64,
    /// When its write began.
    begun: Instant,
    /// Whether a majority of the database's nodes holds it.
    is_committed: bool,
}

/// What is known of one feed.
#[derive(Debug, Default)]
struct FeedProof {
    markers: VecDeque<Marker>,
    /// The last marker that came through.
    seen: u64,
}

/// What is known of all feeds.
#[derive(Debug)]
pub(super) struct Proof<const FEEDS: usize>([FeedProof; FEEDS]);

impl<const FEEDS: usize> Default for Proof<FEEDS> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| FeedProof::default()))
    }
}

impl<const FEEDS: usize> Proof<FEEDS> {
    /// A write of a marker begins.
    pub(super) fn begin(&mut self, feed: usize, number: u64, begun: Instant) {
        if let Some(feed) = self.0.get_mut(feed) {
            if feed.markers.len() >= REMEMBERED {
                feed.markers.pop_front();
            }
            feed.markers.push_back(Marker {
                number,
                begun,
                is_committed: false,
            });
        }
    }

    /// The write has succeeded. A marker that no majority holds proves nothing, even if it comes through.
    pub(super) fn committed(&mut self, feed: usize, number: u64) {
        let markers = self.0.get_mut(feed).map(|feed| feed.markers.iter_mut());
        for marker in markers.into_iter().flatten() {
            marker.is_committed |= marker.number == number;
        }
    }

    /// A marker came through the feed.
    pub(super) fn seen(&mut self, feed: usize, number: u64) {
        if let Some(feed) = self.0.get_mut(feed) {
            feed.seen = feed.seen.max(number);
        }
    }

    /// The age of the oldest of the feeds' proofs; `None` if a feed has none.
    pub(super) fn age(&self, now: Instant) -> Option<Duration> {
        let begun = |feed: &FeedProof| {
            let proven = |marker: &&Marker| marker.is_committed && marker.number <= feed.seen;
            feed.markers.iter().rev().find(proven).map(|it| it.begun)
        };
        let oldest = self.0.iter().map(begun).min().flatten()?;
        Some(now.saturating_duration_since(oldest))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Duration, Instant};

    use super::Proof;

    #[test]
    fn every_feed_needs_a_marker_that_is_held_and_came_through() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut proof = Proof::<2>::default();
        assert_eq!(proof.age(begin), None);
        for feed in [0, 1] {
            proof.begin(feed, 1, begin);
        }
        proof.committed(0, 1);
        proof.seen(0, 1);
        assert_eq!(proof.age(at(1)), None, "nothing is known of the other feed");
        proof.seen(1, 1);
        assert_eq!(proof.age(at(1)), None, "a majority may not hold it");
        proof.committed(1, 1);
        assert_eq!(proof.age(at(1)), Some(Duration::from_secs(1)));

        // A feed that falls behind keeps its old proof.
        for feed in [0, 1] {
            proof.begin(feed, 2, at(5));
            proof.committed(feed, 2);
        }
        proof.seen(0, 2);
        assert_eq!(proof.age(at(6)), Some(Duration::from_secs(6)));
        proof.seen(1, 2);
        assert_eq!(proof.age(at(6)), Some(Duration::from_secs(1)));

        // So does one whose markers are not held.
        for number in 3..9 {
            proof.begin(1, number, at(number * 5));
            proof.seen(1, number);
        }
        assert_eq!(proof.age(at(50)), None);
    }
}
