//! Wrong tries of secrets: register tokens and the admin credential.
//!
//! A client may be wrong a few times. Then each further try has to wait, twice as long each time, and who does not wait is
//! refused unseen. A right try is refused alike meanwhile: otherwise waiting would cost a guesser nothing. A program that was
//! left with an old credential says the same wrong thing again and again; that is no guess, and is not counted again.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{caller::CallerKey, refusal::Refusal};

/// How many wrong tries are free.
const FREE: u32 = 10;

/// How long the first further try waits, and the longest wait.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// After so long without a wrong try, a client begins anew.
const FORGOTTEN_AFTER: Duration = Duration::from_mins(10);

/// The most clients that are remembered. Beyond it, the one whose last wrong try is oldest is forgotten.
const REMEMBERED: usize = 10_000;

/// The wrong tries of clients.
#[derive(Debug, Default)]
pub(crate) struct Guesses {
    clients: Mutex<HashMap<CallerKey, Wrong>>,
    /// Makes the marks of what was tried, of this process only.
    marks: RandomState,
}

#[derive(Clone, Copy, Debug)]
struct Wrong {
    tries: u32,
    last: Instant,
    /// The marks of what was tried last.
    seen: [u64; 4],
}

impl Wrong {
    fn wait(&self) -> Duration {
        match self.tries.checked_sub(FREE) {
            None => Duration::ZERO,
            Some(further) => FIRST_WAIT
                .saturating_mul(1 << further.min(20))
                .min(LONGEST_WAIT),
        }
    }
}

impl Guesses {
    /// Whether the client may try now.
    ///
    /// # Errors
    /// [`Refusal::TooManyGuesses`] while it has to wait.
    pub(crate) fn may_try(&self, client: CallerKey) -> Result<(), Refusal> {
        let wrong = self.wrong();
        let Some(known) = wrong.get(&client) else {
            return Ok(());
        };
        let wait = (known.last + known.wait()).saturating_duration_since(Instant::now());
        if wait.is_zero() {
            Ok(())
        } else {
            Err(Refusal::TooManyGuesses { wait })
        }
    }

    /// Notes that `tried` was wrong.
    pub(crate) fn was_wrong(&self, client: CallerKey, tried: &[u8]) {
        let now = Instant::now();
        let mark = self.marks.hash_one(tried);
        let mut wrong = self.wrong();
        if wrong.len() >= REMEMBERED && !wrong.contains_key(&client) {
            wrong.retain(|_, known| now.duration_since(known.last) < FORGOTTEN_AFTER);
            if wrong.len() >= REMEMBERED
                && let Some(oldest) = wrong
                    .iter()
                    .min_by_key(|(_, known)| known.last)
                    .map(|(oldest, _)| *oldest)
            {
                wrong.remove(&oldest);
            }
        }
        let known = wrong.entry(client).or_insert(Wrong {
            tries: 0,
            last: now,
            seen: [0; 4],
        });
        if known.seen.contains(&mark) {
            return;
        }
        known.seen.rotate_right(1);
        if let Some(newest) = known.seen.first_mut() {
            *newest = mark;
        }
        if now.duration_since(known.last) >= FORGOTTEN_AFTER {
            known.tries = 0;
        }
        known.tries = known.tries.saturating_add(1);
        known.last = now;
    }

    fn wrong(&self) -> std::sync::MutexGuard<'_, HashMap<CallerKey, Wrong>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv4Addr, Ipv6Addr},
        time::Duration,
    };

    use super::{FREE, Guesses, REMEMBERED};
    use crate::caller::CallerKey;

    #[tokio::test(start_paused = true)]
    async fn a_guesser_waits_longer_each_time_and_others_do_not() {
        let guesses = Guesses::default();
        let guesser = CallerKey::of(Ipv4Addr::new(192, 0, 2, 1).into());
        let other = CallerKey::of(Ipv4Addr::new(192, 0, 2, 2).into());
        for _ in 0..1000 {
            // A program with an old credential.
            assert!(guesses.may_try(guesser).is_ok());
            guesses.was_wrong(guesser, b"old");
        }
        for number in 1..FREE {
            assert!(guesses.may_try(guesser).is_ok());
            guesses.was_wrong(guesser, &number.to_le_bytes());
        }
        let mut tried = 0;
        // An hour of trying every 10 ms.
        for number in 0..360_000_u32 {
            if guesses.may_try(guesser).is_ok() {
                guesses.was_wrong(guesser, &(number + 1000).to_le_bytes());
                tried += 1;
            }
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        assert!((100..200).contains(&tried), "{tried}");
        assert!(guesses.may_try(other).is_ok());
        tokio::time::advance(Duration::from_secs(31)).await;
        assert!(guesses.may_try(guesser).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_memory_is_bounded() {
        let guesses = Guesses::default();
        for number in 0..REMEMBERED + 100 {
            let address = Ipv6Addr::from_bits((number as u128) << 64);
            guesses.was_wrong(CallerKey::of(address.into()), b"x");
        }
        assert_eq!(guesses.wrong().len(), REMEMBERED);
    }
}
