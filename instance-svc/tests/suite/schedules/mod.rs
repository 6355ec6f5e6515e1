//! Seeded random schedules of faults over two replicas: whatever happens, each instance ends whole or absent,
//! and each change of one is wholly there or wholly absent.
//!
//! The database fails before and after it has done what it was asked, drops answers, is slow, and answers
//! that a race was lost; replicas are killed, stand still for longer than their leases and wake again; their
//! clocks jump; steps fail, run twice, lose their owner. Meanwhile instances are created, cancelled,
//! changed, deleted softly and brought back, destroyed; and they want each other's names.
//!
//! `HAMLET_TEST_SCHEDULES` says how many (a few by default), `HAMLET_TEST_SEED` runs one again.
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

/// How many schedules run when nobody says.
const SCHEDULES: u64 = 24;
/// How many run at once: they mostly wait.
const AT_ONCE: usize = 24;

/// A world in which the first replica has prepared the database.
async fn prepared() -> World {
    let world = World::new().await;
    let store = instance_svc::Store::new(world.couch.clone().into()).unwrap();
    while let Err(error) = store.prepare().await {
        assert!(error.is_retryable(), "{error}");
    }
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn every_schedule_ends_whole_or_absent() {
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
                    // What went wrong here is not to be held against the next one.
                    world = prepared().await;
                }
            }
        }
    };
    // A real server is one for all worlds.
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
