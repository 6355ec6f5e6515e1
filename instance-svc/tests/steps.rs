//! Every step of every operation, generated from the lists of steps: it fails once, it fails for good, it
//! runs twice, its owner dies before or after it. However it goes, the instance is whole or absent, and
//! nothing is left over.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use instance_svc::{
    domain::{
        change::ChangeKind,
        steps::{ChangeStep, CreateStep, DestroyStep, Step},
    },
    operations::failpoints::{Failpoints, Order, Point},
};
use support::{
    World,
    changes::{ask_for, prepare, require_done, require_undone},
    failure,
};

/// Gives `order` the first time that `point` is reached. Tells whether it was.
fn once(point: Point, order: Order) -> (Failpoints, Arc<AtomicBool>) {
    let reached = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&reached);
    let failpoints = Failpoints::new(move |_, at| {
        if at == point && !seen.swap(true, Ordering::SeqCst) {
            order
        } else {
            Order::Go
        }
    });
    (failpoints, reached)
}

const ORDERS: [(Order, bool); 5] = [
    (Order::Twice, false),
    (Order::Fail, false),
    (Order::Fail, true),
    (Order::Die, false),
    (Order::Die, true),
];

fn points(steps: &[Step]) -> impl Iterator<Item = (Point, Order)> {
    steps.iter().flat_map(|&step| {
        ORDERS.into_iter().map(move |(order, after)| {
            let point = Point {
                step,
                undo: false,
                after,
            };
            (point, order)
        })
    })
}

/// The steps of a creation that can be taken back.
fn reversible() -> impl Iterator<Item = &'static Step> {
    CreateStep::ALL.iter().take(CreateStep::POINT_OF_NO_RETURN)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_survives_every_fault_of_every_step() {
    let world = World::new().await;
    // The one that goes on with what the other left.
    let healthy = world.replica("healthy", Failpoints::default()).await;
    for (number, (point, order)) in points(CreateStep::ALL).enumerate() {
        let (failpoints, reached) = once(point, order);
        let faulty = world.replica(&format!("faulty-{number}"), failpoints).await;
        let domain = format!("create-{number}.example");
        let accepted = faulty.ask_to_create(&domain, "").await.unwrap();
        let operation = healthy.end_of(&accepted.name).await;
        assert_eq!(failure(&operation), None, "{point:?} {order:?}");
        assert!(reached.load(Ordering::SeqCst), "{point:?} was not reached");
        faulty.stop().await;
        let destroyed = healthy.destroy(&domain).await.unwrap();
        assert_eq!(failure(&destroyed), None, "{point:?} {order:?}");
    }
    assert_eq!(world.leftovers().await, Vec::<String>::new());
    healthy.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destruction_survives_every_fault_of_every_step() {
    let world = World::new().await;
    let healthy = world.replica("healthy", Failpoints::default()).await;
    for (number, (point, order)) in points(DestroyStep::ALL).enumerate() {
        let domain = format!("destroy-{number}.example");
        let created = healthy.create(&domain).await.unwrap();
        assert_eq!(failure(&created), None);
        let (failpoints, reached) = once(point, order);
        let faulty = world.replica(&format!("faulty-{number}"), failpoints).await;
        let name = {
            use hamlet_proto::hamlet::instance::v1::DeleteInstanceRequest;
            faulty
                .instances
                .clone()
                .delete_instance(DeleteInstanceRequest {
                    name: format!("instances/{domain}"),
                    ..DeleteInstanceRequest::default()
                })
                .await
                .unwrap()
                .into_inner()
                .name
        };
        let operation = healthy.end_of(&name).await;
        assert_eq!(failure(&operation), None, "{point:?} {order:?}");
        assert!(reached.load(Ordering::SeqCst), "{point:?} was not reached");
        faulty.stop().await;
        assert_eq!(
            world.leftovers().await,
            Vec::<String>::new(),
            "{point:?} {order:?}"
        );
    }
    healthy.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_fails_for_good_leaves_nothing_and_its_name_free() {
    let world = World::new().await;
    let healthy = world.replica("healthy", Failpoints::default()).await;
    for (number, &step) in reversible().enumerate() {
        let point = Point {
            step,
            undo: false,
            after: true,
        };
        let (failpoints, reached) = once(point, Order::FailForGood);
        let faulty = world.replica(&format!("faulty-{number}"), failpoints).await;
        let operation = faulty.create("unlucky.example").await.unwrap();
        assert_eq!(failure(&operation), Some("a test says so"), "{step:?}");
        assert!(reached.load(Ordering::SeqCst), "{step:?} was not reached");
        assert_eq!(world.leftovers().await, Vec::<String>::new(), "{step:?}");
        faulty.stop().await;
    }
    let operation = healthy.create("unlucky.example").await.unwrap();
    assert_eq!(failure(&operation), None);
    healthy.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_undo_survives_every_fault() {
    let world = World::new().await;
    let healthy = world.replica("healthy", Failpoints::default()).await;
    let mut number = 0;
    for &step in reversible() {
        for (order, after) in ORDERS {
            number += 1;
            let undo = Point {
                step,
                undo: true,
                after,
            };
            let reached = Arc::new(AtomicBool::new(false));
            let seen = Arc::clone(&reached);
            let failpoints = Failpoints::new(move |_, at| {
                if Some(&at.step) == reversible().last() && !at.undo && at.after {
                    return Order::FailForGood;
                }
                if at == undo && !seen.swap(true, Ordering::SeqCst) {
                    return order;
                }
                Order::Go
            });
            let faulty = world.replica(&format!("faulty-{number}"), failpoints).await;
            let domain = format!("undo-{number}.example");
            let accepted = faulty.ask_to_create(&domain, "").await.unwrap();
            let operation = healthy.end_of(&accepted.name).await;
            assert!(failure(&operation).is_some(), "{undo:?} {order:?}");
            assert!(reached.load(Ordering::SeqCst), "{undo:?} was not reached");
            faulty.stop().await;
            assert_eq!(
                world.leftovers().await,
                Vec::<String>::new(),
                "{undo:?} {order:?}"
            );
        }
    }
    healthy.stop().await;
}

/// The kinds of changes that can be asked for, in the order of their list.
fn kinds() -> impl Iterator<Item = ChangeKind> {
    ChangeKind::ALL.iter().copied().filter(|kind| {
        // Not built yet.
        !matches!(
            kind,
            ChangeKind::RegisterLink | ChangeKind::Passphrase | ChangeKind::Sessions
        )
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_every_kind_survives_every_fault_of_every_step() {
    let world = World::new().await;
    let healthy = world.replica("healthy", Failpoints::default()).await;
    for kind in kinds() {
        let prepared = prepare(&world, &healthy, kind).await;
        for (number, (point, order)) in points(ChangeStep::ALL).enumerate() {
            let (failpoints, reached) = once(point, order);
            let faulty = world
                .replica(&format!("faulty-{}-{number}", kind.name()), failpoints)
                .await;
            let accepted = ask_for(&faulty, kind, &prepared.domain).await.unwrap();
            let operation = healthy.end_of(&accepted.name).await;
            assert_eq!(failure(&operation), None, "{kind:?} {point:?} {order:?}");
            assert!(reached.load(Ordering::SeqCst), "{point:?} was not reached");
            faulty.stop().await;
            let how = format!("{kind:?} {point:?} {order:?}");
            require_done(&world, kind, &prepared, &how).await;
            prepared.restore(&world).await;
        }
        assert_eq!(
            failure(&healthy.destroy(&prepared.domain).await.unwrap()),
            None
        );
    }
    assert_eq!(world.leftovers().await, Vec::<String>::new());
    healthy.stop().await;
}

/// Each step that can be undone, with each fault of its undo, for a change that fails for good after each
/// step from it on.
fn undos() -> impl Iterator<Item = (Step, Point, Order)> {
    let reversible = ChangeStep::ALL.iter().take(ChangeStep::POINT_OF_NO_RETURN);
    reversible.enumerate().flat_map(|(failing, &last)| {
        let undone = ChangeStep::ALL.iter().take(failing + 1);
        undone.flat_map(move |&step| {
            ORDERS.into_iter().map(move |(order, after)| {
                let undo = Point {
                    step,
                    undo: true,
                    after,
                };
                (last, undo, order)
            })
        })
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_fails_for_good_changes_nothing_and_every_undo_survives_every_fault() {
    let world = World::new().await;
    let healthy = world.replica("healthy", Failpoints::default()).await;
    for kind in kinds() {
        let prepared = prepare(&world, &healthy, kind).await;
        for (number, (last, undo, order)) in undos().enumerate() {
            let reached = Arc::new(AtomicBool::new(false));
            let seen = Arc::clone(&reached);
            let failpoints = Failpoints::new(move |_, at| {
                if at.step == last && !at.undo && at.after {
                    return Order::FailForGood;
                }
                if at == undo && !seen.swap(true, Ordering::SeqCst) {
                    return order;
                }
                Order::Go
            });
            let faulty = world
                .replica(&format!("faulty-{}-{number}", kind.name()), failpoints)
                .await;
            let accepted = ask_for(&faulty, kind, &prepared.domain).await.unwrap();
            let operation = healthy.end_of(&accepted.name).await;
            let how = format!("{kind:?} {last:?} {undo:?} {order:?}");
            assert!(failure(&operation).is_some(), "{how}");
            assert!(reached.load(Ordering::SeqCst), "{how} was not reached");
            faulty.stop().await;
            require_undone(&world, &prepared, &how).await;
        }
        assert_eq!(
            failure(&healthy.destroy(&prepared.domain).await.unwrap()),
            None
        );
    }
    assert_eq!(world.leftovers().await, Vec::<String>::new());
    healthy.stop().await;
}
