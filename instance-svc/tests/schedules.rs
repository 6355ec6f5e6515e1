//! Seeded random schedules of faults over two replicas: whatever happens, each instance ends whole or absent.
//!
//! `HAMLET_TEST_SCHEDULES` says how many (a few by default), `HAMLET_TEST_SEED` runs one again.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a failed expectation is the test failing, and its seed has to be known"
)]

mod support;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering},
};

use hamlet_proto::hamlet::instance::v1::GetInstanceRequest;
use instance_svc::operations::failpoints::{Failpoints, Order};
use support::{World, failure};
use tonic::Code;

/// How many schedules run when nobody says.
const SCHEDULES: u64 = 12;

/// SplitMix64 (Steele, Lea, Flood, 2014): small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % sides
    }
}

/// Faults at random moments; fewer with time, so that every schedule ends.
fn random_faults(seed: u64) -> Failpoints {
    let dice = Arc::new(Mutex::new(Dice(seed)));
    let left = Arc::new(AtomicU32::new(12));
    Failpoints::new(move |_, _| {
        let thrown = dice.lock().unwrap().throw(24);
        let order = match thrown {
            0 => Order::Fail,
            1 => Order::Twice,
            2 => Order::Die,
            3 => Order::FailForGood,
            _ => return Order::Go,
        };
        let spent = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            left.checked_sub(1)
        });
        if spent.is_ok() { order } else { Order::Go }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_schedule_ends_whole_or_absent() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let (first, count) = match number("HAMLET_TEST_SEED") {
        Some(seed) => (seed, 1),
        None => (
            u64::from(std::process::id()) << 20,
            number("HAMLET_TEST_SCHEDULES").unwrap_or(SCHEDULES),
        ),
    };
    let world = World::new().await;
    for seed in first..first + count {
        println!("HAMLET_TEST_SEED={seed}");
        let one = world
            .replica(&format!("one-{seed}"), random_faults(seed))
            .await;
        let two = world
            .replica(&format!("two-{seed}"), random_faults(seed ^ u64::MAX))
            .await;
        let domain = format!("s{seed}.example");
        let accepted = one.ask_to_create(&domain, "").await.unwrap();
        let created = two.end_of(&accepted.name).await;
        let shown = two
            .instances
            .clone()
            .get_instance(GetInstanceRequest {
                name: format!("instances/{domain}"),
            })
            .await;
        match failure(&created) {
            None => {
                let prefix = format!("{}/", shown.unwrap().into_inner().prefix);
                let databases = world.couch.databases_with_prefix(&prefix).await.unwrap();
                assert_eq!(databases.len(), 16, "not whole; seed {seed}");
                let destroyed = two.destroy(&domain).await.unwrap();
                assert!(
                    failure(&destroyed).is_none_or(|why| why == "a test says so"),
                    "seed {seed}"
                );
                if failure(&destroyed).is_some() {
                    // It was refused before it began; a second one finds no fault any more.
                    one.stop().await;
                    two.stop().await;
                    let healthy = world
                        .replica(&format!("healthy-{seed}"), Failpoints::default())
                        .await;
                    assert_eq!(
                        failure(&healthy.destroy(&domain).await.unwrap()),
                        None,
                        "seed {seed}"
                    );
                    healthy.stop().await;
                    assert_eq!(world.leftovers().await, Vec::<String>::new(), "seed {seed}");
                    continue;
                }
            }
            Some(_) => assert_eq!(shown.unwrap_err().code(), Code::NotFound, "seed {seed}"),
        }
        one.stop().await;
        two.stop().await;
        assert_eq!(world.leftovers().await, Vec::<String>::new(), "seed {seed}");
    }
}
