//! Seeded random schedules of faults on two replicas: in the end each instance is complete or absent, and so is
//! each change.
//!
//! The database fails before and after it has executed a request, drops responses, is slow, and answers that a
//! race was lost. Replicas are killed, or paused for longer than their leases and resumed; their clocks jump;
//! steps fail, run twice, or lose their owner. Meanwhile instances are created, cancelled, changed, softly
//! deleted, restored and destroyed, and compete for each other's names.
//!
//! In a storm, the database is a model of a cluster of three nodes, which die, hang and come back. With
//! `HAMLET_TEST_COUCHDB_CLUSTER`, `HAMLET_TEST_KILL_NODE` and `HAMLET_TEST_START_NODE` it is a real one.
//!
//! `HAMLET_TEST_SCHEDULES` and `HAMLET_TEST_STORMS` set how many are run (a few by default), `HAMLET_TEST_SEED` repeats
//! one.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a failed expectation is the test failing, and its seed has to be known"
)]

mod changes;
mod faults;
mod nodes;
mod schedule;
mod whole;

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use self::schedule::{Schedule, Tally};
use crate::support::World;
use test_kit::{database, dice, real_nodes::RealNodes};

/// The default number of schedules.
const SCHEDULES: u64 = 24;
/// With so many schedules, it is certain that some take over an operation and that some make a change: on a busy machine
/// three of ten do, on an idle one more.
const MANY: u64 = 100;
/// How many run at once: most of their time is spent waiting.
const AT_ONCE: usize = 24;

/// The default number of storms.
const STORMS: u64 = 1;
/// How many storms run at once: each has a cluster of its own.
const STORMS_AT_ONCE: usize = 6;

/// A database that has been prepared by a first replica.
async fn prepared(world: World) -> World {
    let store = instance_svc::Store::new(world.couch.clone().into()).unwrap();
    while let Err(error) = store.prepare().await {
        assert!(error.is_retryable(), "{error}");
    }
    world
}

/// Runs `count` seeds, several at once. `worlds` makes the world of a seed; it is used again for the next seed if
/// `shared`, and until something goes wrong in it.
async fn run_all<W: Future<Output = World>>(
    count: u64,
    at_once: usize,
    shared: bool,
    worlds: impl Fn(u64) -> W,
) -> Tally {
    let (first, count) = match dice::given_seed() {
        Some(seed) => (seed, 1),
        None => (u64::from(std::process::id()) << 20, count),
    };
    let next = AtomicU64::new(first);
    let tally = Mutex::new(Tally::default());
    let worker = async || {
        let mut failures = Vec::new();
        let mut world = None;
        loop {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            if seed >= first + count {
                return failures;
            }
            let here = match world.take() {
                Some(world) => world,
                None => prepared(worlds(seed).await).await,
            };
            match Schedule::new(&here, seed).run().await {
                Ok(done) => {
                    *tally.lock().unwrap() += done;
                    world = shared.then_some(here);
                }
                // Faults of this schedule must not affect the next one.
                Err(wrong) => {
                    println!("HAMLET_TEST_SEED={seed} shows: {wrong}");
                    failures.push(seed);
                }
            }
        }
    };
    let failures = futures::future::join_all((0..at_once).map(|_| worker())).await;
    let failures = failures.concat();
    assert!(
        failures.is_empty(),
        "these went wrong, run one again with HAMLET_TEST_SEED=…: {failures:?}"
    );
    tally.into_inner().unwrap()
}

fn count(variable: &str, default: u64) -> u64 {
    let count = std::env::var(variable).ok();
    count.map_or(default, |count| count.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_schedule_ends_with_instances_complete_or_absent() {
    let count = count("HAMLET_TEST_SCHEDULES", SCHEDULES);
    // A real database server is shared by all worlds.
    let workers = database::named().map_or(AT_ONCE, |_| 1);
    let tally = run_all(count, workers, true, |_| World::new()).await;
    assert!(
        count < MANY || tally.taken_over.min(tally.changes) > 0,
        "{count} schedules, and nothing of this: {tally:?}"
    );
    println!("{count} schedules: {tally:?}");
}

/// As above, while nodes of the database die before and after their own commit, hang, and come back with what they
/// had. What was destroyed stays destroyed, and what was acknowledged is there.
#[tokio::test(flavor = "multi_thread")]
async fn every_storm_ends_with_what_was_acknowledged_and_nothing_else() {
    let count = count("HAMLET_TEST_STORMS", STORMS);
    let tally = match RealNodes::named() {
        None => run_all(count, STORMS_AT_ONCE, false, World::of_three_nodes).await,
        Some(nodes) => {
            let world = |_| World::of_real_nodes(nodes.clone());
            run_all(count, 1, false, world).await
        }
    };
    println!("{count} storms: {tally:?}");
}
