//! Random faults of steps and of the database.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use embedded_couchdb::faults::{Fault, Race, Rule, Side};
use instance_svc::operations::failpoints::{Failpoints, Order};
use test_kit::dice::Rng;

/// Random faults of steps, which become rarer over time so that every schedule ends.
pub(crate) fn random_failpoints(seed: u64) -> Failpoints {
    let dice = Arc::new(Mutex::new(Rng::with_seed(seed)));
    let left = Arc::new(AtomicU32::new(4));
    Failpoints::new(move |_, at| {
        let thrown = dice.lock().unwrap().u64(..40);
        let order = match thrown {
            0 => Order::Fail,
            1 => Order::Twice,
            2 => Order::Die,
            // Taking an instance fails for good only if no owner has begun the operation.
            3 if ["destroy", "change"].contains(&at.step.kind) => Order::Fail,
            3 => Order::FailForGood,
            _ => return Order::Go,
        };
        let spent = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            left.checked_sub(1)
        });
        if spent.is_ok() { order } else { Order::Go }
    })
}

/// A fault of the database.
pub(crate) fn random_rule(dice: &mut Rng) -> Rule {
    let skip = dice.u32(..12);
    let race = |ours| Fault::Race(Race { ours, other: None });
    // Only writes of single documents can race.
    let documents = *dice
        .choice(&[
            "hamlet-claims/",
            "hamlet-operations/",
            "hamlet-instances/",
            "instances/",
        ])
        .unwrap();
    let anything = *dice
        .choice(&[
            "",
            "cozy",
            "hamlet-operations",
            "hamlet-claims",
            "_bulk_docs",
        ])
        .unwrap();
    let rule = match dice.u64(..7) {
        0 => Rule::once("PUT", documents, race(Side::Loses)),
        1 => Rule::once("PUT", documents, race(Side::Wins)),
        2 => Rule::once("", anything, Fault::Fail),
        3 => Rule::once("", anything, Fault::DropBefore),
        4 | 5 => Rule::once("", anything, Fault::DropAfter),
        _ => Rule::once(
            "",
            anything,
            Fault::Delay(Duration::from_millis(dice.u64(..400))),
        ),
    };
    let method = rule.method.clone().filter(|method| !method.is_empty());
    Rule { method, ..rule }.after(skip)
}
