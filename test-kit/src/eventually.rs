//! Waiting for what has to happen.
//!
//! A test looks again and again instead of sleeping for a time that is hoped to be long enough. What it waits for
//! either happens, or the test fails and says what was there instead.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

/// How long a test waits before it fails. Generous, since machines are slow and shared: it measures nothing.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The pauses between two looks double from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// What a look can find: it has happened, or not yet.
///
/// | type | it has happened | shown in the message otherwise |
/// |---|---|---|
/// | `bool` | `true` | |
/// | `Option<T>` | `Some` | |
/// | `Result<T, E>` | `Ok` | `E`: what was there instead |
pub trait Look {
    /// What is found when it has happened.
    type Found;

    /// What was found, or what was there instead.
    ///
    /// # Errors
    /// When it has not happened yet.
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

/// Looks until it has happened.
///
/// # Panics
/// When it does not happen within [`PATIENCE`].
pub async fn eventually<L: Look>(what: &str, look: impl AsyncFnMut() -> L) -> L::Found {
    eventually_within(PATIENCE, what, look).await
}

/// The same with another time limit. A look that does not end counts against it.
///
/// # Panics
/// When it does not happen in time.
pub async fn eventually_within<L: Look>(
    patience: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> L,
) -> L::Found {
    let mut instead = "the first look did not end".to_owned();
    let looking = async {
        let mut pause = FIRST_PAUSE;
        loop {
            match look().await.found() {
                Ok(found) => return found,
                Err(other) => instead = other,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    };
    let outcome = tokio::time::timeout(patience, looking).await;
    outcome.unwrap_or_else(|_| panic!("{what}: not within {patience:?}; {instead}"))
}

/// [`eventually()`] for tests without a runtime: it blocks the thread.
///
/// # Panics
/// When it does not happen within [`PATIENCE`].
#[track_caller]
pub fn eventually_blocking<L: Look>(what: &str, look: impl FnMut() -> L) -> L::Found {
    eventually_blocking_within(PATIENCE, what, look)
}

/// The same with another time limit. A look is never interrupted.
///
/// # Panics
/// When it does not happen in time.
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
    async fn what_happens_is_found() {
        let mut looks = 0;
        let found = eventually("the third look", async || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(found.await, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "a light: not within 20ms; instead: \"dark\"")]
    async fn what_never_happens_fails_with_what_was_there() {
        eventually_within(SHORT, "a light", async || Err::<(), _>("dark")).await;
    }

    #[tokio::test]
    #[should_panic(expected = "an answer: not within 20ms; the first look did not end")]
    async fn a_look_that_hangs_fails_too() {
        eventually_within(SHORT, "an answer", std::future::pending::<bool>).await;
    }

    #[test]
    #[should_panic(expected = "a light: not within 20ms; it did not happen")]
    fn a_blocked_thread_gives_up_too() {
        eventually_blocking_within(SHORT, "a light", || false);
    }
}
