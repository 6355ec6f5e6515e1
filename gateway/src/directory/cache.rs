//! Values that are kept for a moment, and never more than so many.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Keeps values for a fixed time from their insertion. When it is full, the oldest goes: as all live
/// equally long, the order of insertion is also the order of ageing.
pub(super) struct Cache<V> {
    ttl: Duration,
    capacity: usize,
    inner: Mutex<Inner<V>>,
}

struct Inner<V> {
    kept: HashMap<Arc<str>, (Instant, V)>,
    /// May hold names that were removed or inserted anew; their instants tell.
    order: VecDeque<(Instant, Arc<str>)>,
}

impl<V: Clone> Cache<V> {
    pub(super) fn new(ttl: Duration, capacity: usize) -> Self {
        Self {
            ttl,
            capacity: capacity.max(1),
            inner: Mutex::new(Inner {
                kept: HashMap::new(),
                order: VecDeque::new(),
            }),
        }
    }

    /// The value kept for `key`, or a new one.
    pub(super) fn get_or_insert_with(&self, key: &str, make: impl FnOnce() -> V) -> V {
        let now = Instant::now();
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, value)) = inner.kept.get(key)
            && now.duration_since(*at) < self.ttl
        {
            return value.clone();
        }
        inner.make_room(now, self.ttl, self.capacity);
        let value = make();
        let key: Arc<str> = key.into();
        inner.order.push_back((now, Arc::clone(&key)));
        inner.kept.insert(key, (now, value.clone()));
        value
    }

    /// Forgets the value of `key` when it is the one that `is` means.
    pub(super) fn remove_if(&self, key: &str, is: impl FnOnce(&V) -> bool) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.kept.get(key).is_some_and(|(_, value)| is(value)) {
            inner.kept.remove(key);
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(inner.kept.len() <= inner.order.len());
        inner.order.len()
    }
}

impl<V> Inner<V> {
    fn make_room(&mut self, now: Instant, ttl: Duration, capacity: usize) {
        while let Some((at, _)) = self.order.front()
            && (self.order.len() >= capacity || now.duration_since(*at) >= ttl)
        {
            let Some((at, key)) = self.order.pop_front() else {
                return;
            };
            if self.kept.get(&key).is_some_and(|(kept, _)| *kept == at) {
                self.kept.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Cache;

    #[tokio::test(start_paused = true)]
    async fn a_value_is_kept_for_its_time_only() {
        let cache = Cache::new(Duration::from_millis(500), 10);
        assert_eq!(cache.get_or_insert_with("a", || 1), 1);
        tokio::time::advance(Duration::from_millis(499)).await;
        assert_eq!(cache.get_or_insert_with("a", || 2), 1);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(cache.get_or_insert_with("a", || 3), 3);
        cache.remove_if("a", |value| *value == 2);
        assert_eq!(cache.get_or_insert_with("a", || 4), 3);
        cache.remove_if("a", |value| *value == 3);
        assert_eq!(cache.get_or_insert_with("a", || 5), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn it_never_holds_more_than_it_may_and_gives_up_the_oldest() {
        let cache = Cache::new(Duration::from_millis(500), 100);
        for number in 0..10_000 {
            cache.get_or_insert_with(&format!("host-{number}"), || number);
            assert!(cache.len() <= 100);
        }
        assert_eq!(cache.get_or_insert_with("host-9950", || -1), 9950);
        assert_eq!(cache.get_or_insert_with("host-1", || -1), -1);
    }
}
