//! A bounded cache whose entries live for a short time.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Keeps values for a fixed time after their insertion. When it is full, the oldest entry goes: all entries
/// live equally long, so the order of insertion is the order of expiry.
pub(super) struct Cache<V> {
    ttl: Duration,
    capacity: usize,
    inner: Mutex<Inner<V>>,
}

struct Inner<V> {
    kept: HashMap<Arc<str>, (Instant, V)>,
    /// May contain keys that were removed or inserted again; the instants tell them apart.
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

    /// The value kept for `key` at the time `now`, or a new one.
    pub(super) fn get_or_insert_with(
        &self,
        key: &str,
        now: Instant,
        make: impl FnOnce() -> V,
    ) -> V {
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

    /// Removes the value of `key` if `is` accepts it.
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

    use tokio::time::Instant;

    use super::Cache;

    #[test]
    fn a_value_expires() {
        let cache = Cache::new(Duration::from_millis(500), 10);
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        assert_eq!(cache.get_or_insert_with("a", at(0), || 1), 1);
        assert_eq!(cache.get_or_insert_with("a", at(499), || 2), 1);
        assert_eq!(cache.get_or_insert_with("a", at(500), || 3), 3);
        cache.remove_if("a", |value| *value == 2);
        assert_eq!(cache.get_or_insert_with("a", at(501), || 4), 3);
        cache.remove_if("a", |value| *value == 3);
        assert_eq!(cache.get_or_insert_with("a", at(502), || 5), 5);
    }

    #[test]
    fn a_full_cache_drops_its_oldest_entry() {
        let cache = Cache::new(Duration::from_millis(500), 100);
        let now = Instant::now();
        for number in 0..10_000 {
            cache.get_or_insert_with(&format!("host-{number}"), now, || number);
            assert!(cache.len() <= 100);
        }
        assert_eq!(cache.get_or_insert_with("host-9950", now, || -1), 9950);
        assert_eq!(cache.get_or_insert_with("host-1", now, || -1), -1);
    }
}
