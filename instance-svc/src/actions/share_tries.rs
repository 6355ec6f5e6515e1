//! Tells other replicas of those who guess passphrases, and hears of them.
//!
//! A replica counts in its memory. Only a counter that has no free tries left is written, into one document for all, which
//! holds a limited number of counters. It is read at most once in two seconds, and only while somebody tries.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use identity::tries::{Guesser, Told, Tries};

use crate::{
    clock::Clock,
    error::Error,
    store::{Counter, Store},
};

/// How long what was read is used.
const FRESH: Duration = Duration::from_secs(2);
/// How long a replica waits between two writes.
const PAUSE: Duration = Duration::from_millis(500);
/// After so many seconds, a counter is forgotten, as it is in memory.
const FORGOTTEN: i64 = 15 * 60;
/// The most counters of the document. Beyond it, the oldest are forgotten.
const MOST: usize = 1000;

/// What is known of the counters of all replicas.
#[derive(Debug, Default)]
pub(crate) struct SharedTries(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    read: Option<Instant>,
    written: Option<Instant>,
    counters: BTreeMap<String, Counter>,
}

impl SharedTries {
    /// Begins a try: [`Tries::begin`], with what other replicas know of the guesser.
    ///
    /// # Errors
    /// [`Error::TooManyTries`]. While the database fails, this replica counts alone.
    pub(crate) async fn begin(
        &self,
        store: &Store,
        clock: &Clock,
        tries: &Tries,
        guesser: Guesser<'_>,
    ) -> Result<(), Error> {
        // Who is known by a mark in the browser is counted by this replica alone.
        if guesser.device.is_none() {
            self.hear(store, clock).await;
            let seconds = clock.now().to_unix().0;
            let told = |name: &str| {
                let counter = *self.known().counters.get(name)?;
                let age = seconds.saturating_sub(counter.at);
                Some(Told {
                    tries: counter.tries,
                    age: Duration::from_secs(u64::try_from(age).unwrap_or(0)),
                })
            };
            tries.learn(guesser, told, Instant::now());
        }
        tries
            .begin(guesser, Instant::now())
            .map_err(|wait| Error::TooManyTries { wait })
    }

    /// Tells others of a try that was wrong, when the guesser has no free tries left. Of a right one, nobody hears: it would be
    /// counted as a wrong one everywhere.
    pub(crate) async fn was_wrong(
        &self,
        store: &Store,
        clock: &Clock,
        tries: &Tries,
        guesser: Guesser<'_>,
    ) {
        self.tell(store, clock, &tries.steps(guesser)).await;
    }

    /// Reads what others have told, unless that was done a moment ago.
    async fn hear(&self, store: &Store, clock: &Clock) {
        {
            let mut known = self.known();
            if known.read.is_some_and(|read| read.elapsed() < FRESH) {
                return;
            }
            // Whoever comes meanwhile does not wait for the answer.
            known.read = Some(Instant::now());
        }
        match store.tries().await {
            Ok(found) => {
                let now = clock.now().to_unix().0;
                let mut counters = found.map(|found| found.body.counters).unwrap_or_default();
                counters.retain(|_, counter| now.saturating_sub(counter.at) < FORGOTTEN);
                self.known().counters = counters;
            }
            Err(error) => unheard(&error),
        }
    }

    /// Tells others of counters that have no free tries left.
    async fn tell(&self, store: &Store, clock: &Clock, steps: &[(String, u32)]) {
        {
            let mut known = self.known();
            let is_known = |(name, tries): &(String, u32)| {
                let known = known.counters.get(name);
                known.is_some_and(|counter| counter.tries >= *tries)
            };
            let is_early = known
                .written
                .is_some_and(|written| written.elapsed() < PAUSE);
            // What is left out is told with the next try, for which the guesser has to wait anyway.
            if steps.iter().all(is_known) || is_early {
                return;
            }
            known.written = Some(Instant::now());
        }
        if let Err(error) = self.write(store, clock, steps).await {
            unheard(&error);
        }
    }

    async fn write(
        &self,
        store: &Store,
        clock: &Clock,
        steps: &[(String, u32)],
    ) -> Result<(), couch::Error> {
        let before = store.tries().await?;
        let now = clock.now().to_unix().0;
        let mut next = before
            .as_ref()
            .map(|before| before.body.clone())
            .unwrap_or_default();
        let counters = &mut next.counters;
        counters.retain(|_, counter| now.saturating_sub(counter.at) < FORGOTTEN);
        for (name, tries) in steps {
            let there = counters.get(name).map_or(0, |counter| counter.tries);
            let tries = there.max(*tries);
            counters.insert(name.clone(), Counter { tries, at: now });
        }
        while counters.len() > MOST {
            let oldest = counters.iter().min_by_key(|(_, counter)| counter.at);
            let Some(oldest) = oldest.map(|(name, _)| name.clone()) else {
                break;
            };
            counters.remove(&oldest);
        }
        store.replace_tries(before.as_ref(), &next).await?;
        self.known().counters = next.counters;
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A replica that cannot hear of others goes on counting. It says so as often as it tries to hear.
fn unheard(error: &couch::Error) {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "wrong tries are counted without those of other replicas"
    );
}
