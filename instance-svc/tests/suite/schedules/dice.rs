//! What chance decides: numbers that a seed gives again, and the faults of steps and of the database.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use embedded_couchdb::faults::{Fault, Race, Rule, Side};
use instance_svc::operations::failpoints::{Failpoints, Order};

/// SplitMix64 (Steele, Lea, Flood, 2014): small, and the same everywhere.
#[derive(Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % sides
    }

    pub(crate) fn one_of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let at = usize::try_from(self.throw(choices.len() as u64)).unwrap();
        choices.get(at).unwrap()
    }

    pub(crate) fn millis(&mut self, upto: u64) -> Duration {
        Duration::from_millis(self.throw(upto))
    }
}

/// Faults of steps at random moments; fewer with time, so that every schedule ends.
pub(crate) fn random_failpoints(seed: u64) -> Failpoints {
    let dice = Arc::new(Mutex::new(Dice(seed)));
    let left = Arc::new(AtomicU32::new(4));
    Failpoints::new(move |_, at| {
        let thrown = dice.lock().unwrap().throw(40);
        let order = match thrown {
            0 => Order::Fail,
            1 => Order::Twice,
            2 => Order::Die,
            // What takes an instance fails for good only where no owner has done anything.
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
pub(crate) fn random_rule(dice: &mut Dice) -> Rule {
    let skip = u32::try_from(dice.throw(12)).unwrap();
    let race = |ours| Fault::Race(Race { ours, other: None });
    // Writes of one document: a race is made of nothing else.
    let documents = *dice.one_of(&[
        "hamlet-claims/",
        "hamlet-operations/",
        "hamlet-instances/",
        "instances/",
    ]);
    let anything = *dice.one_of(&[
        "",
        "cozy",
        "hamlet-operations",
        "hamlet-claims",
        "_bulk_docs",
    ]);
    let rule = match dice.throw(7) {
        0 => Rule::once("PUT", documents, race(Side::Loses)),
        1 => Rule::once("PUT", documents, race(Side::Wins)),
        2 => Rule::once("", anything, Fault::Fail),
        3 => Rule::once("", anything, Fault::DropBefore),
        4 | 5 => Rule::once("", anything, Fault::DropAfter),
        _ => Rule::once("", anything, Fault::Delay(dice.millis(400))),
    };
    let method = rule.method.clone().filter(|method| !method.is_empty());
    Rule { method, ..rule }.after(skip)
}
