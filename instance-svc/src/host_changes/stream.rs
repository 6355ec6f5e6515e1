//! What one watcher is told.

use std::collections::VecDeque;

use futures::{Stream, stream};
use tokio::{
    sync::watch,
    time::{Duration, Instant, Interval, MissedTickBehavior, interval},
};

use super::{HEARTBEAT_EVERY, HostChanges, PROOF_LIFE, Position, Reading};
use crate::domain::outdated::Outdated;

/// What a watcher is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Answers are outdated. The position is known after the last of several.
    Outdated(Outdated, Option<Position>),
    /// Changes may have been missed before this position.
    Reset(Position),
    /// All changes have been told, as far as proofs of this age can tell.
    Heartbeat(Duration, Position),
}

struct Watcher {
    changes: HostChanges,
    reading: watch::Receiver<Reading>,
    position: Option<Position>,
    ready: VecDeque<Notice>,
    beat: Interval,
    is_beat_due: bool,
}

impl HostChanges {
    /// Watches from `position` on, or from now with a [`Notice::Reset`].
    pub(crate) fn watch(
        &self,
        position: Option<Position>,
    ) -> impl Stream<Item = Notice> + Send + use<> {
        self.0.watchers.send_modify(|count| *count += 1);
        let mut beat = interval(HEARTBEAT_EVERY);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let watcher = Watcher {
            changes: self.clone(),
            reading: self.0.reading.subscribe(),
            position,
            ready: VecDeque::new(),
            beat,
            is_beat_due: false,
        };
        stream::unfold(watcher, |mut watcher| async {
            let notice = watcher.next().await;
            Some((notice, watcher))
        })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.changes.0.watchers.send_modify(|count| *count -= 1);
    }
}

impl Watcher {
    async fn next(&mut self) -> Notice {
        loop {
            if let Some(notice) = self.ready.pop_front() {
                return notice;
            }
            let run = self.reading.borrow_and_update().run;
            if let Some(run) = run {
                // Asked before the ring: what the proof covers is in the ring by then.
                let proof = self.changes.0.proof().age(Instant::now());
                let is_behind = self.catch_up(run);
                if let (false, true, Some(age), Some(position)) =
                    (is_behind, self.is_beat_due, proof, self.position)
                    && age < PROOF_LIFE
                {
                    self.is_beat_due = false;
                    return Notice::Heartbeat(age, position);
                }
                if is_behind {
                    continue;
                }
            }
            tokio::select! {
                // It fails only without a sender, which this watcher holds.
                _changed = self.reading.changed() => {}
                _ = self.beat.tick() => self.is_beat_due = true,
            }
        }
    }

    /// Prepares what is to be told next. Returns whether there is anything.
    fn catch_up(&mut self, run: u64) -> bool {
        let ring = self.changes.0.ring();
        let now = Position {
            run,
            at: ring.end(),
        };
        let known = self.position.filter(|position| position.run == run);
        match known.map(|position| ring.after(position.at)) {
            Some(Some(changes)) => {
                let last = changes.len().saturating_sub(1);
                let told = changes.into_iter().enumerate();
                self.ready.extend(told.map(|(number, change)| {
                    Notice::Outdated(change, (number == last).then_some(now))
                }));
            }
            Some(None) | None => self.ready.push_back(Notice::Reset(now)),
        }
        self.position = Some(now);
        !self.ready.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "a failed expectation is the test failing")]

    use std::pin::pin;

    use futures::{FutureExt as _, Stream, StreamExt as _};
    use tokio::time::{Duration, Instant, advance};

    use super::{HostChanges, Notice, PROOF_LIFE, Position};
    use crate::{domain::outdated::Outdated, host_changes::KEPT, store::HOST_FEEDS};

    fn prove(changes: &HostChanges) {
        let number = changes.0.next_marker();
        let mut proof = changes.0.proof();
        for feed in 0..HOST_FEEDS {
            proof.begin(feed, number, Instant::now());
            proof.committed(feed, number);
            proof.seen(feed, number);
        }
    }

    async fn told(stream: &mut (impl Stream<Item = Notice> + Unpin)) -> Vec<Notice> {
        let mut told = Vec::new();
        while let Some(Some(notice)) = stream.next().now_or_never() {
            told.push(notice);
        }
        told
    }

    #[tokio::test(start_paused = true)]
    async fn a_watcher_is_told_changes_at_once_and_continues_where_it_was() {
        let changes = HostChanges::default();
        let position = |at| Position { run: 7, at };
        let [a, b] = ["a.example", "b.example"].map(Outdated::host);
        {
            let mut watching = pin!(changes.watch(None));
            assert_eq!(told(&mut watching).await, [], "the feeds have not begun");
            changes.0.begin(7);
            assert_eq!(told(&mut watching).await, [Notice::Reset(position(0))]);
            changes.0.publish(vec![a.clone(), b.clone()]);
            assert_eq!(
                told(&mut watching).await,
                [
                    Notice::Outdated(a.clone(), None),
                    Notice::Outdated(b.clone(), Some(position(2)))
                ]
            );
        }
        assert_eq!(*changes.0.watchers.borrow(), 0);
        changes.0.publish(vec![a.clone()]);
        let mut again = pin!(changes.watch(Some(position(2))));
        assert_eq!(
            told(&mut again).await,
            [Notice::Outdated(a.clone(), Some(position(3)))]
        );
        let mut of_another = pin!(changes.watch(Some(Position { run: 8, at: 2 })));
        assert_eq!(told(&mut of_another).await, [Notice::Reset(position(3))]);
        for _ in 0..=KEPT {
            changes.0.publish(vec![b.clone()]);
        }
        let mut late = pin!(changes.watch(Some(position(3))));
        let end = position(4 + KEPT as u64);
        assert_eq!(told(&mut late).await, [Notice::Reset(end)]);
        // A run after a pause may have missed changes.
        changes.0.end();
        changes.0.begin(9);
        assert_eq!(
            told(&mut late).await,
            [Notice::Reset(Position { run: 9, at: end.at })]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_heartbeats_while_the_feeds_are_proven() {
        let changes = HostChanges::default();
        changes.0.begin(1);
        let position = Position { run: 1, at: 0 };
        let mut watching = pin!(changes.watch(Some(position)));
        advance(Duration::from_secs(1)).await;
        assert_eq!(told(&mut watching).await, [], "nothing is proven yet");
        prove(&changes);
        let mut beats = 0;
        let mut last = Duration::ZERO;
        for _ in 0..100 {
            for notice in told(&mut watching).await {
                let Notice::Heartbeat(age, at) = notice else {
                    panic!("{notice:?}");
                };
                assert_eq!(at, position);
                last = age;
                beats += 1;
            }
            advance(Duration::from_millis(100)).await;
        }
        assert!((25..=32).contains(&beats), "{beats}");
        assert!(last < PROOF_LIFE && last > PROOF_LIFE - Duration::from_millis(300));
        prove(&changes);
        advance(Duration::from_millis(200)).await;
        assert_eq!(told(&mut watching).await.len(), 1);
    }
}
