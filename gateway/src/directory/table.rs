//! A bounded table of answers.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

/// The number of parts with a lock of their own, if the table is large.
const PARTS: usize = 16;
/// A table that is smaller than this has one part.
const LARGE: usize = 1024;

/// Keeps values by host. When it is full, a value that nobody has read for long goes.
pub(super) struct Table<V> {
    /// How many values each part keeps.
    capacity: usize,
    keys: RandomState,
    parts: Box<[RwLock<Part<V>>]>,
}

struct Part<V> {
    kept: HashMap<Arc<str>, Kept<V>, RandomState>,
    /// The order in which values go. May contain keys that were removed.
    order: VecDeque<Arc<str>>,
}

struct Kept<V> {
    value: V,
    /// Whether it was read since it was last due to go.
    is_used: AtomicBool,
}

impl<V: Clone> Table<V> {
    pub(super) fn new(capacity: usize) -> Self {
        let parts = if capacity < LARGE { 1 } else { PARTS };
        let even = capacity.div_ceil(parts);
        Self {
            // The parts do not fill evenly.
            capacity: if parts == 1 {
                even.max(1)
            } else {
                even + even / 32
            },
            keys: RandomState::new(),
            parts: std::iter::repeat_with(|| {
                RwLock::new(Part {
                    kept: HashMap::default(),
                    order: VecDeque::new(),
                })
            })
            .take(parts)
            .collect(),
        }
    }

    /// The value kept for `key`.
    pub(super) fn get(&self, key: &str) -> Option<V> {
        let part = self
            .part(key)
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let kept = part.kept.get(key)?;
        if !kept.is_used.load(Ordering::Relaxed) {
            kept.is_used.store(true, Ordering::Relaxed);
        }
        Some(kept.value.clone())
    }

    /// The text under which a value of `key` is or would be kept, to share it.
    pub(super) fn key(&self, key: &str) -> Arc<str> {
        let part = self
            .part(key)
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        match part.kept.get_key_value(key) {
            Some((kept, _)) => Arc::clone(kept),
            None => key.into(),
        }
    }

    /// Keeps a value.
    pub(super) fn insert(&self, key: Arc<str>, value: V) {
        let part = self.part(&key);
        let mut part = part.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = part.kept.get_mut(&key) {
            kept.value = value;
            return;
        }
        part.make_room(self.capacity);
        part.order.push_back(Arc::clone(&key));
        let is_used = AtomicBool::new(false);
        part.kept.insert(key, Kept { value, is_used });
    }

    /// Removes the value of `key`.
    pub(super) fn remove(&self, key: &str) {
        let part = self.part(key);
        let mut part = part.write().unwrap_or_else(PoisonError::into_inner);
        part.kept.remove(key);
    }

    fn part(&self, key: &str) -> &RwLock<Part<V>> {
        let hash = self.keys.hash_one(key);
        let index = usize::try_from(hash % self.parts.len() as u64).unwrap_or_default();
        // The remainder is smaller than the number of parts, and there is at least one.
        #[expect(clippy::indexing_slicing, reason = "proved in the line above")]
        &self.parts[index]
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let sizes = self.parts.iter().map(|part| {
            let part = part.read().unwrap_or_else(PoisonError::into_inner);
            assert!(part.kept.len() <= self.capacity && part.order.len() <= self.capacity * 2);
            part.kept.len()
        });
        sizes.sum()
    }
}

impl<V> Part<V> {
    fn make_room(&mut self, capacity: usize) {
        // Each value gets at most one further chance.
        let mut chances = self.order.len();
        while self.kept.len() >= capacity || self.order.len() >= capacity * 2 {
            let Some(key) = self.order.pop_front() else {
                return;
            };
            let kept = self.kept.get_mut(&key);
            let was_used = kept.is_some_and(|kept| std::mem::take(kept.is_used.get_mut()));
            if was_used && chances > 0 {
                self.order.push_back(key);
            } else {
                self.kept.remove(&key);
            }
            chances = chances.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn a_full_table_keeps_what_is_used() {
        for capacity in [100, 2000] {
            let table = Table::new(capacity);
            table.insert("used".into(), -1);
            for number in 0..capacity * 20 {
                table.insert(format!("host-{number}").into(), 1);
                assert_eq!(table.get("used"), Some(-1), "{number}");
            }
            assert!(table.len() <= capacity + capacity / 16);
            assert!(table.len() >= capacity - capacity / 4);
            assert_eq!(table.get("host-1"), None);
        }
    }

    #[test]
    fn what_is_removed_and_kept_again_takes_no_more_room() {
        let table = Table::new(10);
        for round in 0..1000 {
            table.insert("a".into(), round);
            assert_eq!(table.get("a"), Some(round));
            table.remove("a");
            assert_eq!(table.get("a"), None);
        }
        table.insert("a".into(), 1);
        table.insert("a".into(), 2);
        assert_eq!(table.len(), 1);
        assert_eq!(table.get("a"), Some(2));
    }

    #[test]
    fn a_table_for_one_value_keeps_the_last_one() {
        let table = Table::new(1);
        for number in 0..10 {
            table.insert(number.to_string().into(), number);
            table.get(&number.to_string());
        }
        assert_eq!(table.get("9"), Some(9));
        assert_eq!(table.len(), 1);
    }
}
