//! How often something may happen, such as mails to somebody or registrations from somewhere: so many times in a window, which
//! the first one opens.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The most windows that are remembered. Beyond it, the oldest is forgotten.
const REMEMBERED: usize = 10_000;

/// The windows of everybody, in the memory of this process.
#[derive(Debug)]
pub struct Ration {
    window: Duration,
    open: Mutex<HashMap<String, Window>>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    since: Instant,
    times: u32,
}

impl Ration {
    /// A ration for windows of this length.
    #[must_use]
    pub fn new(window: Duration) -> Self {
        Self {
            window,
            open: Mutex::default(),
        }
    }

    /// Takes one time of the `limit` that `who` has in a window.
    ///
    /// # Errors
    /// How long it takes until there is a new window.
    pub fn take(&self, who: &str, limit: u32, now: Instant) -> Result<(), Duration> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= REMEMBERED && !open.contains_key(who) {
            open.retain(|_, it| now.duration_since(it.since) < self.window);
            let oldest = open.iter().min_by_key(|(_, it)| it.since);
            if open.len() >= REMEMBERED
                && let Some(oldest) = oldest.map(|(who, _)| who.clone())
            {
                open.remove(&oldest);
            }
        }
        let fresh = Window {
            since: now,
            times: 0,
        };
        let window = open.entry(who.to_owned()).or_insert(fresh);
        if now.duration_since(window.since) >= self.window {
            *window = fresh;
        }
        if window.times >= limit {
            return Err((window.since + self.window).saturating_duration_since(now));
        }
        window.times += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use std::time::{Duration, Instant};

    use super::{REMEMBERED, Ration};

    #[test]
    fn a_window_has_so_many_times() {
        let ration = Ration::new(Duration::from_secs(60));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(ration.take("a", 2, at(0)), Ok(()));
        assert_eq!(ration.take("a", 2, at(10)), Ok(()));
        assert_eq!(ration.take("a", 2, at(20)), Err(Duration::from_secs(40)));
        assert_eq!(ration.take("b", 2, at(20)), Ok(()));
        assert_eq!(ration.take("a", 2, at(60)), Ok(()));
    }

    #[test]
    fn the_memory_is_bounded() {
        let ration = Ration::new(Duration::from_secs(60));
        let now = Instant::now();
        for number in 0..REMEMBERED + 10 {
            assert!(ration.take(&number.to_string(), 1, now).is_ok());
        }
        assert_eq!(ration.open.lock().unwrap().len(), REMEMBERED);
    }
}
