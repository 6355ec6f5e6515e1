//! The instances that have something to follow, by the time at which they are looked at next.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;

use super::{GRACE, adopter::Checked};

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    waiting: HashMap<String, Waiting>,
    in_order: BTreeSet<(Turn, String)>,
}

/// The order in which instances are looked at: those that somebody waits for, then those that are due for the longest.
type Turn = (Rank, Instant);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// Somebody waits for it.
    Urgent,
    /// Nobody does.
    Usual,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    rank: Rank,
    /// When it is looked at next.
    next: Instant,
    /// From when on it counts as known: what writes it had the time to write the rest.
    known_from: Instant,
    /// Whether it is known to have no record.
    is_new: bool,
    /// What the last look came to.
    last: Option<Checked>,
    /// How often it was heard of. A change that is heard while an earlier one is looked at is looked at too.
    heard: u64,
}

/// An instance that is due.
#[derive(Clone, Debug)]
pub(super) struct Due {
    pub(super) id: String,
    /// How often it was heard of before.
    heard: u64,
}

impl Queue {
    /// An instance that was there at the start.
    pub(super) fn note_known(&self, id: &str, is_new: bool) {
        let now = Instant::now();
        self.table().set(
            id,
            Waiting {
                rank: Rank::Usual,
                next: now,
                known_from: now,
                is_new,
                last: None,
                heard: 0,
            },
        );
    }

    /// An instance that changes now.
    pub(super) fn note_heard(&self, id: &str) {
        let known_from = Instant::now() + GRACE;
        let mut table = self.table();
        if let Some(mut waiting) = table.waiting.get(id).copied() {
            waiting.heard += 1;
            // What it was put off for may be done now.
            waiting.next = waiting.next.min(known_from);
            table.set(id, waiting);
            return;
        }
        table.set(
            id,
            Waiting {
                rank: Rank::Usual,
                next: known_from,
                known_from,
                is_new: false,
                last: None,
                heard: 0,
            },
        );
    }

    /// An instance that somebody waits for: it comes before all others, however many are due.
    pub(super) fn note_urgent(&self, id: &str) {
        self.update(id, |waiting| {
            waiting.rank = Rank::Urgent;
            waiting.next = Instant::now();
        });
    }

    /// There is something left to do for an instance: it is looked at again at `next`, or when it is known for long
    /// enough. Whether the last look came to something else.
    pub(super) fn put_off(&self, id: &str, checked: Checked, next: Instant) -> bool {
        let mut is_news = false;
        self.update(id, |waiting| {
            is_news = waiting.last != Some(checked);
            waiting.last = Some(checked);
            waiting.rank = Rank::Usual;
            waiting.next = match checked {
                Checked::New => waiting.known_from,
                _ => next,
            };
            match checked {
                Checked::New | Checked::Bare => waiting.is_new = true,
                Checked::Contested | Checked::Lost | Checked::Done => waiting.is_new = false,
                Checked::Busy | Checked::Failed => {}
            }
        });
        is_news
    }

    /// Several instances could not be looked at.
    pub(super) fn put_off_all(&self, due: &[Due], next: Instant) {
        for due in due {
            self.update(&due.id, |waiting| {
                waiting.rank = Rank::Usual;
                waiting.next = next;
            });
        }
    }

    /// Nothing is left to do for an instance: it is removed, unless it was heard of since it was due. Whether it was
    /// removed.
    pub(super) fn finish(&self, due: &Due) -> bool {
        let mut table = self.table();
        let Some(mut waiting) = table.waiting.get(&due.id).copied() else {
            return true;
        };
        if waiting.heard == due.heard {
            table.waiting.remove(&due.id);
            table.in_order.remove(&(waiting.turn(), due.id.clone()));
            return true;
        }
        waiting.rank = Rank::Usual;
        waiting.next = Instant::now() + GRACE;
        table.set(&due.id, waiting);
        false
    }

    /// Whether an instance is known for long enough to be judged.
    pub(super) fn is_known(&self, id: &str) -> bool {
        let waiting = self.table().waiting.get(id).copied();
        waiting.is_some_and(|waiting| waiting.known_from <= Instant::now())
    }

    /// Those that are due, in the order of their [`Turn`]; at most `limit`. They stay in the queue.
    pub(super) fn due(&self, limit: usize) -> Vec<Due> {
        let now = Instant::now();
        let table = self.table();
        // What is urgent is always due, so the order of turns is that of times from the first usual one on.
        let due = table
            .in_order
            .iter()
            .take_while(|((_, next), _)| *next <= now);
        due.take(limit)
            .map(|(_, id)| Due {
                id: id.clone(),
                heard: table.waiting.get(id).map_or(0, |waiting| waiting.heard),
            })
            .collect()
    }

    /// How many have no record, and how many of them no database either.
    pub(super) fn counts(&self) -> (u64, u64) {
        let table = self.table();
        let new = table.waiting.values().filter(|waiting| waiting.is_new);
        new.fold((0, 0), |(new, bare), waiting| {
            if waiting.last == Some(Checked::Bare) {
                (new, bare + 1)
            } else {
                (new + 1, bare)
            }
        })
    }

    fn update(&self, id: &str, change: impl FnOnce(&mut Waiting)) {
        let mut table = self.table();
        if let Some(mut waiting) = table.waiting.get(id).copied() {
            change(&mut waiting);
            table.set(id, waiting);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn set(&mut self, id: &str, waiting: Waiting) {
        if let Some(before) = self.waiting.insert(id.to_owned(), waiting) {
            self.in_order.remove(&(before.turn(), id.to_owned()));
        }
        self.in_order.insert((waiting.turn(), id.to_owned()));
    }
}

impl Waiting {
    const fn turn(&self) -> Turn {
        (self.rank, self.next)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Checked, GRACE, Queue};

    fn ids(queue: &Queue) -> Vec<String> {
        queue.due(10).into_iter().map(|due| due.id).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_due_when_its_writer_had_time_for_the_rest() {
        let queue = Queue::default();
        queue.note_heard("1");
        queue.note_known("2", true);
        assert_eq!(ids(&queue), ["2"]);
        assert!(queue.is_known("2") && !queue.is_known("1"));
        tokio::time::sleep(Duration::from_millis(1)).await;
        queue.note_urgent("1");
        assert_eq!(ids(&queue), ["1", "2"], "somebody waits for it");
        queue.put_off("1", Checked::New, Instant::now());
        assert_eq!(ids(&queue), ["2"]);
        tokio::time::sleep(GRACE).await;
        assert_eq!(ids(&queue), ["2", "1"]);
        assert!(queue.is_known("1"));
        assert_eq!(queue.counts(), (2, 0));
        let next = Instant::now() + Duration::from_secs(60);
        assert!(queue.put_off("2", Checked::Bare, next));
        assert!(!queue.put_off("2", Checked::Bare, next));
        assert_eq!(queue.counts(), (1, 1));
        assert_eq!(ids(&queue), ["1"]);
        queue.note_heard("2");
        tokio::time::sleep(GRACE).await;
        assert_eq!(ids(&queue), ["1", "2"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_changes_during_a_look_is_looked_at_again() {
        let queue = Queue::default();
        queue.note_known("1", false);
        let due = queue.due(1);
        queue.note_heard("1");
        assert!(due.iter().all(|due| !queue.finish(due)));
        assert!(ids(&queue).is_empty());
        tokio::time::sleep(GRACE).await;
        let due = queue.due(1);
        assert!(due.iter().all(|due| queue.finish(due)));
        tokio::time::sleep(GRACE).await;
        assert!(ids(&queue).is_empty());
    }
}
