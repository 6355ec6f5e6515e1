//! Waits for conditions.
//!
//! A test polls a condition instead of sleeping for a fixed time. If the condition does not become true in time, the
//! test fails with the last observed state.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

/// How long a test waits before it fails. Generous, because test machines are slow and shared; it is not a performance
/// bound.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The first and the longest pause between two polls. Pauses double from one to the other.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// The result of a poll: the condition is met, or not yet.
///
/// | type | met | shown in the failure message otherwise |
/// |---|---|---|
/// | `bool` | `true` | |
/// | `Option<T>` | `Some` | |
/// | `Result<T, E>` | `Ok` | `E`: the observed state |
pub trait Look {
    /// The value when the condition is met.
    type Found;

    /// Returns the value when the condition is met.
    ///
    /// # Errors
    /// The observed state, when the condition is not met yet.
    fn found(self) -> Result<Self::Found, String>;
}

impl Look for bool {
    type Found = ();

    fn found(self) -> Result<(), String> {
        self.then_some(()).found()
    }
}

impl<T> Look for Option<T> {
    type Found = T;

    fn found(self) -> Result<T, String> {
        self.ok_or_else(|| "it did not happen".to_owned())
    }
}

impl<T, E: Debug> Look for Result<T, E> {
    type Found = T;

    fn found(self) -> Result<T, String> {
        self.map_err(|instead| format!("instead: {instead:#?}"))
    }
}

/// Polls until the condition is met. `what` describes the condition in the failure message.
///
/// # Panics
/// When it is not met within [`PATIENCE`].
pub async fn eventually<L: Look>(what: &str, look: impl AsyncFnMut() -> L) -> L::Found {
    eventually_within(PATIENCE, what, look).await
}

/// As [`eventually()`], with another time limit. A poll that hangs counts against the limit.
///
/// # Panics
/// When the condition is not met in time.
pub async fn eventually_within<L: Look>(
    patience: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> L,
) -> L::Found {
    let mut instead = "the first look did not end".to_owned();
    let mut looked = Instant::now();
    let looking = async {
        let mut pause = FIRST_PAUSE;
        loop {
            match look().await.found() {
                Ok(found) => return found,
                Err(other) => instead = other,
            }
            looked = Instant::now();
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    };
    let outcome = tokio::time::timeout(patience, looking).await;
    outcome.unwrap_or_else(|_| {
        // A look that hangs shows nothing itself.
        let ago = looked.elapsed();
        panic!("{what}: not within {patience:?}; {instead} (the last look ended {ago:.0?} ago)")
    })
}

/// [`eventually()`] for tests without a runtime. Blocks the thread.
///
/// # Panics
/// When the condition is not met within [`PATIENCE`].
#[track_caller]
pub fn eventually_blocking<L: Look>(what: &str, look: impl FnMut() -> L) -> L::Found {
    eventually_blocking_within(PATIENCE, what, look)
}

/// As [`eventually_blocking`], with another time limit. A running poll is never interrupted.
///
/// # Panics
/// When the condition is not met in time.
#[track_caller]
pub fn eventually_blocking_within<L: Look>(
    patience: Duration,
    what: &str,
    mut look: impl FnMut() -> L,
) -> L::Found {
    let begun = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        match look().found() {
            Ok(found) => return found,
            Err(instead) => assert!(
                begun.elapsed() < patience,
                "{what}: not within {patience:?}; {instead}"
            ),
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_condition_that_becomes_true_is_found() {
        let mut looks = 0;
        let found = eventually("the third look", async || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(found.await, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "a light: not within 20ms; instead: \"dark\"")]
    async fn a_condition_that_stays_false_fails_with_the_last_state() {
        eventually_within(SHORT, "a light", async || Err::<(), _>("dark")).await;
    }

    #[tokio::test]
    #[should_panic(expected = "an answer: not within 20ms; the first look did not end")]
    async fn a_hanging_poll_fails_too() {
        eventually_within(SHORT, "an answer", std::future::pending::<bool>).await;
    }

    #[test]
    #[should_panic(expected = "a light: not within 20ms; it did not happen")]
    fn blocking_polls_time_out_too() {
        eventually_blocking_within(SHORT, "a light", || false);
    }
}
