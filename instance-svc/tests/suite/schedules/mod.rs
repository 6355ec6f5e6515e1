//! Seeded random schedules of faults on two replicas: in the end each instance is complete or absent, and so is
//! each change.
//!
//! The database fails before and after it has executed a request, drops responses, is slow, and answers that a
//! race was lost. Replicas are killed, or paused for longer than their leases and resumed; their clocks jump;
//! steps fail, run twice, or lose their owner. Meanwhile instances are created, cancelled, changed, softly
//! deleted, restored and destroyed, and compete for each other's names.
//!
//! `HAMLET_TEST_SCHEDULES` sets the number of schedules (a few by default), `HAMLET_TEST_SEED` repeats one.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a failed expectation is the test failing, and its seed has to be known"
)]

mod changes;
mod faults;
mod schedule;
mod whole;

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use self::schedule::{Schedule, Tally};
use crate::support::World;
use test_kit::{database, dice};

/// The default number of schedules.
const SCHEDULES: u64 = 24;
/// How many run at once: most of their time is spent waiting.
const AT_ONCE: usize = 24;

/// A world whose database has been prepared by a first replica.
async fn prepared() -> World {
    let world = World::new().await;
    let store = instance_svc::Store::new(world.couch.clone().into()).unwrap();
    while let Err(error) = store.prepare().await {
        assert!(error.is_retryable(), "{error}");
    }
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn every_schedule_ends_with_instances_complete_or_absent() {
    let count = || {
        let count = std::env::var("HAMLET_TEST_SCHEDULES").ok();
        count.map_or(SCHEDULES, |count| count.parse().unwrap())
    };
    let (first, count) = match dice::given_seed() {
        Some(seed) => (seed, 1),
        None => (u64::from(std::process::id()) << 20, count()),
    };
    let next = AtomicU64::new(first);
    let tally = Mutex::new(Tally::default());
    let worker = async || {
        let mut failures = Vec::new();
        let mut world = prepared().await;
        loop {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            if seed >= first + count {
                return failures;
            }
            match Schedule::new(&world, seed).run().await {
                Ok(done) => *tally.lock().unwrap() += done,
                Err(wrong) => {
                    println!("HAMLET_TEST_SEED={seed} shows: {wrong}");
                    failures.push(seed);
                    // Faults of this schedule must not affect the next one.
                    world = prepared().await;
                }
            }
        }
    };
    // A real database server is shared by all worlds.
    let workers = database::named().map_or(AT_ONCE, |_| 1);
    let failures = futures::future::join_all((0..workers).map(|_| worker())).await;
    let failures = failures.concat();
    assert!(
        failures.is_empty(),
        "these went wrong, run one again with HAMLET_TEST_SEED=…: {failures:?}"
    );
    let tally = tally.into_inner().unwrap();
    assert!(
        count < SCHEDULES || tally.taken_over.min(tally.changes) > 0,
        "{count} schedules, and nothing of this: {tally:?}"
    );
    println!("{count} schedules: {tally:?}");
}
