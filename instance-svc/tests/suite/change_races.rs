//! Concurrent changes of one instance, on two replicas.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::support::{
    Replica, World, failure, hasty,
    steps::{step, steps},
};
use couch::DbName;
use hamlet_proto::{
    google::longrunning::{Operation, operation},
    hamlet::instance::v1::Instance,
};
use instance_svc::{
    Settings,
    clock::Clock,
    operations::failpoints::{Failpoints, Order, StepId},
};
use serde_json::{Value, json};
use service_kit::status;
use test_kit::eventually;
use tonic::{Code, Status};

/// The status code of a refused request or failed operation; `None` when it succeeded.
fn code(outcome: Result<Operation, Status>) -> Option<Code> {
    match outcome {
        Ok(operation) => match operation.result.unwrap() {
            operation::Result::Response(_) => None,
            operation::Result::Error(error) => Some(Code::from_i32(error.code)),
        },
        Err(status) => Some(status.code()),
    }
}

/// Sets an alias and the owner's name in one change.
async fn set_both(replica: &Replica, number: usize) -> Option<Code> {
    let instance = Instance {
        domain_aliases: vec![format!("x{number}.example")],
        public_name: format!("{number}"),
        ..Instance::default()
    };
    let paths = ["domain_aliases", "public_name"];
    code(replica.update("a.example", &paths, instance).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_updates_never_mix() {
    let world = World::new().await;
    let one = world.replica("one", Failpoints::default()).await;
    let two = world.replica("two", Failpoints::default()).await;
    assert_eq!(failure(&one.create("a.example").await.unwrap()), None);
    for round in 0..8 {
        let asks = (0..4).map(|number| {
            let replica = if number % 2 == 0 { &one } else { &two };
            set_both(replica, round * 4 + number)
        });
        let outcomes = futures::future::join_all(asks).await;
        assert!(outcomes.contains(&None), "nobody won: {outcomes:?}");
        assert!(
            outcomes.iter().flatten().all(|&code| code == Code::Aborted),
            "{outcomes:?}"
        );
        // Alias, name, record and claims all belong to the same change, the last one.
        let now = world.settled("a.example").await;
        let number = now
            .settings
            .get("public_name")
            .and_then(Value::as_str)
            .unwrap();
        let alias = format!("x{number}.example");
        assert_eq!(now.instance.get("domain_aliases"), Some(&json!([alias])));
        assert_eq!(now.record.get("domain_aliases"), Some(&json!([alias])));
        assert_eq!(now.record.get("operation"), None);
        let claimed: Vec<&str> = now.claims.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(claimed, ["a.example", alias.as_str()]);
    }
    assert_eq!(failure(&one.destroy("a.example").await.unwrap()), None);
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_concurrent_update_and_destruction_leave_nothing_behind() {
    let world = World::new().await;
    let one = world.replica("one", Failpoints::default()).await;
    let two = world.replica("two", Failpoints::default()).await;
    for _ in 0..6 {
        assert_eq!(failure(&one.create("a.example").await.unwrap()), None);
        let destroy = async { code(two.destroy("a.example").await) };
        let (updated, destroyed) = tokio::join!(set_both(&one, 0), destroy);
        for refused in [updated, destroyed].into_iter().flatten() {
            assert!(
                [Code::Aborted, Code::NotFound].contains(&refused),
                "{refused:?}"
            );
        }
        if destroyed.is_some() {
            assert_eq!(updated, None, "nobody won");
            assert_eq!(failure(&two.destroy("a.example").await.unwrap()), None);
        }
        assert_eq!(world.leftovers().await, Vec::<String>::new());
    }
}

/// Holds an operation before a step until it is released.
struct Gate {
    open: Arc<AtomicBool>,
    reached: Arc<AtomicBool>,
}

impl Gate {
    fn at(step: StepId) -> (Self, Failpoints) {
        let gate = Self {
            open: Arc::new(AtomicBool::new(false)),
            reached: Arc::new(AtomicBool::new(false)),
        };
        let (open, reached) = (Arc::clone(&gate.open), Arc::clone(&gate.reached));
        let failpoints = Failpoints::new(move |_, at| {
            if at.step != step || at.after || open.load(Ordering::SeqCst) {
                return Order::Go;
            }
            reached.store(true, Ordering::SeqCst);
            // The step is tried again after a short pause.
            Order::Fail
        });
        (gate, failpoints)
    }

    async fn reached(&self) {
        eventually("the step is reached", async || {
            self.reached.load(Ordering::SeqCst)
        })
        .await;
    }

    fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_instance_names_the_operation_that_has_it() {
    let world = World::new().await;
    let (gate, failpoints) = Gate::at(step("change", "document"));
    let slow = world.replica("slow", failpoints).await;
    let other = world.replica("other", Failpoints::default()).await;
    assert_eq!(failure(&other.create("a.example").await.unwrap()), None);
    let locale = Instance {
        locale: "fr".to_owned(),
        ..Instance::default()
    };
    let running = slow
        .ask_to_update("a.example", &["locale"], locale.clone())
        .await
        .unwrap();
    gate.reached().await;
    assert_eq!(
        other.get("a.example").await.unwrap().operation,
        running.name
    );
    let refused = other
        .ask_to_update("a.example", &["locale"], locale)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
    assert_eq!(status::reason(&refused).unwrap(), "INSTANCE_BUSY");
    assert!(refused.message().contains(&running.name), "{refused:?}");
    assert_eq!(
        other.destroy("a.example").await.unwrap_err().code(),
        Code::Aborted
    );
    gate.open();
    assert_eq!(failure(&other.end_of(&running.name).await), None);
    let now = other.get("a.example").await.unwrap();
    assert_eq!((now.locale.as_str(), now.operation.as_str()), ("fr", ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writes_of_other_software_are_kept() {
    let world = World::new().await;
    let (gate, failpoints) = Gate::at(step("change", "document"));
    let replica = world.replica("one", failpoints).await;
    assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
    let locale = Instance {
        locale: "fr".to_owned(),
        ..Instance::default()
    };
    let running = replica
        .ask_to_update("a.example", &["locale"], locale)
        .await
        .unwrap();
    gate.reached().await;
    let before = world.documents("a.example").await;
    let instances = world.couch.database(&DbName::global("instances").unwrap());
    let mut found: couch::Document<serde_json::Map<String, Value>> =
        instances.get(&before.id).await.unwrap().unwrap();
    found
        .body
        .insert("feature_flags".to_owned(), json!({"x": 1}));
    found.body.insert("uuid".to_owned(), json!("theirs"));
    let written = instances
        .compare_and_set(&before.id, &found.rev, &found.body)
        .await
        .unwrap();
    assert!(matches!(written, couch::Exchange::Won(_)));
    gate.open();
    assert_eq!(failure(&replica.end_of(&running.name).await), None);
    let now = world.documents("a.example").await;
    let expected = before.with_instance(json!({
        "feature_flags": {"x": 1}, "uuid": "theirs", "locale": "fr"
    }));
    assert_eq!(now.instance, expected.instance);
}

/// An owner is paused at each step, as by SIGSTOP. Another replica takes over and finishes the operation, and a
/// later operation changes the same fields. Only then the first owner resumes its step.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_and_resumed_owner_overwrites_no_later_change() {
    let world = World::new().await;
    let healthy = world.replica("healthy", Failpoints::default()).await;
    for step in steps("change") {
        assert_eq!(failure(&healthy.create("a.example").await.unwrap()), None);
        let (sleeper, failpoints) = Sleeper::at(step);
        let settings = Settings {
            // The paused owner shows no sign of life, and does not notice that after it resumes. So it does its
            // step before it learns that it has lost the operation.
            lease: Duration::from_secs(600),
            failpoints,
            ..Settings::new(format!("sleeper-{step:?}"))
        };
        let sleepy = world.replica_with(settings).await;
        let instance = Instance {
            domain_aliases: vec!["x1.example".to_owned()],
            public_name: "1".to_owned(),
            ..Instance::default()
        };
        let paths = ["domain_aliases", "public_name"];
        let accepted = sleepy
            .ask_to_update("a.example", &paths, instance)
            .await
            .unwrap();
        let operation = healthy.end_of(&accepted.name).await;
        assert_eq!(failure(&operation), None, "{step:?}");
        assert_eq!(set_both(&healthy, 2).await, None, "{step:?}");
        let later = world.settled("a.example").await;
        sleeper.wake();
        sleeper.has_done_its_step().await;
        sleepy.stop().await;
        // The record may name the ended operation as having the instance; the next operation ignores that.
        let now = world.documents("a.example").await;
        let now = now.with_record(json!({"operation": null}));
        assert_eq!(now, later, "{step:?}");
        assert_eq!(failure(&healthy.destroy("a.example").await.unwrap()), None);
        assert_eq!(world.leftovers().await, Vec::<String>::new(), "{step:?}");
    }
    healthy.stop().await;
}

/// An owner is paused and resumed while it claims a name, and dies right after the claim. A later change has
/// released the name meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_claimed_late_by_a_resumed_owner_is_released() {
    let world = World::new().await;
    let clock = Clock::adjustable();
    let settings = Settings {
        look_again_after: Duration::from_secs(600),
        clock: clock.clone(),
        ..hasty("healthy", Failpoints::default())
    };
    let healthy = world.replica_with(settings).await;
    assert_eq!(failure(&healthy.create("a.example").await.unwrap()), None);
    let failpoints = Failpoints::new(|_, at| {
        if at.step == step("change", "claims") && at.after {
            Order::Die
        } else {
            Order::Go
        }
    });
    let mortal = world.replica("mortal", failpoints).await;
    let with_alias = Instance {
        domain_aliases: vec!["x.example".to_owned()],
        ..Instance::default()
    };
    let accepted = mortal
        .ask_to_update("a.example", &["domain_aliases"], with_alias)
        .await
        .unwrap();
    assert_eq!(failure(&healthy.end_of(&accepted.name).await), None);
    let claim = world
        .document(&DbName::global("hamlet-claims").unwrap(), "x.example")
        .await;
    let without = healthy
        .update("a.example", &["domain_aliases"], Instance::default())
        .await;
    assert_eq!(failure(&without.unwrap()), None);
    assert_eq!(world.ids("hamlet-claims").await, ["a.example"]);
    // The delayed request of the paused owner arrives now.
    world.put("hamlet-claims", "x.example", claim.into()).await;
    clock.jump(600_000);
    eventually("the claim that came late is gone", async || {
        let claims = world.ids("hamlet-claims").await;
        if claims == ["a.example"] {
            Ok(())
        } else {
            Err(claims)
        }
    })
    .await;
}

/// The owner of a creation is paused and resumed in the step that writes the record.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_and_resumed_creation_overwrites_no_later_change() {
    let world = World::new().await;
    let healthy = world.replica("healthy", Failpoints::default()).await;
    let (sleeper, failpoints) = Sleeper::at(step("create", "databases"));
    let settings = Settings {
        lease: Duration::from_secs(600),
        failpoints,
        ..Settings::new("sleeper")
    };
    let sleepy = world.replica_with(settings).await;
    let accepted = sleepy.ask_to_create("a.example", "").await.unwrap();
    assert_eq!(failure(&healthy.end_of(&accepted.name).await), None);
    let lock = Instance {
        locked: true,
        ..Instance::default()
    };
    let locked = healthy.update("a.example", &["locked"], lock).await;
    assert_eq!(failure(&locked.unwrap()), None);
    let later = world.settled("a.example").await;
    sleeper.wake();
    sleeper.has_done_its_step().await;
    sleepy.stop().await;
    assert_eq!(world.documents("a.example").await, later);
}

/// Pauses the first owner that reaches a step, until it is resumed.
struct Sleeper {
    woken: Arc<(Mutex<bool>, Condvar)>,
    done: Arc<AtomicBool>,
}

impl Sleeper {
    fn at(step: StepId) -> (Self, Failpoints) {
        let sleeper = Self {
            woken: Arc::default(),
            done: Arc::default(),
        };
        let (woken, done) = (Arc::clone(&sleeper.woken), Arc::clone(&sleeper.done));
        let failpoints = Failpoints::new(move |_, at| {
            if at.step == step && !at.undo {
                if at.after {
                    done.store(true, Ordering::SeqCst);
                } else {
                    tokio::task::block_in_place(|| {
                        let (woken, bell) = &*woken;
                        let asleep = woken.lock().unwrap();
                        drop(bell.wait_while(asleep, |woken| !*woken).unwrap());
                    });
                }
            }
            Order::Go
        });
        (sleeper, failpoints)
    }

    fn wake(&self) {
        *self.woken.0.lock().unwrap() = true;
        self.woken.1.notify_all();
    }

    async fn has_done_its_step(&self) {
        eventually("the step is done", async || {
            self.done.load(Ordering::SeqCst)
        })
        .await;
    }
}
