//! All faults of all steps of all operations, generated from the tables of steps: the step fails once, fails
//! for good, runs twice, or its owner dies before or after it. In each case the instance is complete or absent
//! in the end, and nothing is left over. The converse is tested as well: if a step loses its idempotence or its
//! undo, the same checks fail.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::StreamExt as _;

use crate::support::{
    Clients, World,
    changes::{ask_for, prepare, require_done, require_undone},
    failure, hasty,
    steps::{is_head_start_over, step, steps, steps_before},
};
use hamlet_proto::{
    google::longrunning::Operation, hamlet::instance::v1::operation_metadata::Phase,
};
use instance_svc::{
    Settings,
    domain::change::ChangeKind,
    operations::{
        Work,
        failpoints::{Failpoints, Order, Point, StepId},
    },
};

/// What is taken away from an operation, to verify that the checks notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sabotage {
    /// Nothing.
    None,
    /// The step cannot be repeated: what it made is in its way.
    Idempotence(StepId),
    /// The step is not undone.
    Undo(StepId),
}

impl Sabotage {
    /// What happens at a step.
    fn of(self, done: &Mutex<HashSet<String>>, id: &str, at: Point) -> Option<Order> {
        match self {
            Self::Idempotence(step) if at.step == step && !at.undo && !at.after => {
                let first = done.lock().unwrap().insert(id.to_owned());
                (!first).then_some(Order::FailForGood)
            }
            Self::Undo(step) if at.step == step && at.undo && !at.after => Some(Order::Skip),
            _ => None,
        }
    }
}

/// A fault that happens once, and what is taken away throughout.
#[derive(Clone)]
struct Plan {
    /// A step that fails for good, so that the operation unwinds.
    turn_back_at: Option<Point>,
    fault: Option<(Point, Order)>,
    sabotage: Sabotage,
    reached: Arc<AtomicBool>,
    done: Arc<Mutex<HashSet<String>>>,
}

impl Plan {
    fn new(fault: Option<(Point, Order)>, sabotage: Sabotage) -> Self {
        Self {
            turn_back_at: None,
            fault,
            sabotage,
            reached: Arc::default(),
            done: Arc::default(),
        }
    }

    /// For the replica with the fault.
    fn faulty(&self) -> Failpoints {
        let plan = self.clone();
        Failpoints::new(move |id, at| {
            if plan
                .fault
                .is_some_and(|(point, _)| is_head_start_over(point.step, at))
            {
                return Order::Fail;
            }
            if let Some((point, order)) = plan.fault
                && at == point
                && !plan.reached.swap(true, Ordering::SeqCst)
            {
                return order;
            }
            if plan.turn_back_at == Some(at) {
                return Order::FailForGood;
            }
            plan.sabotage.of(&plan.done, id, at).unwrap_or(Order::Go)
        })
    }

    /// For the replica that takes over: it has no fault, but the same is taken away.
    fn healthy(&self) -> Failpoints {
        let plan = self.clone();
        Failpoints::new(move |id, at| plan.sabotage.of(&plan.done, id, at).unwrap_or(Order::Go))
    }

    /// The settings of a replica. What a step leaves that is not undone is removed by the later look, on a busy machine
    /// before anybody has seen it: where it is to be seen, nobody looks later.
    fn settings(&self, name: &str, failpoints: Failpoints) -> Settings {
        let hasty = hasty(name, failpoints);
        match self.sabotage {
            Sabotage::Undo(_) => Settings {
                look_again_after: Duration::from_secs(600),
                ..hasty
            },
            Sabotage::None | Sabotage::Idempotence(_) => hasty,
        }
    }

    fn require_reached(&self) -> Result<(), String> {
        let reached = self.fault.is_none() || self.reached.load(Ordering::SeqCst);
        reached
            .then_some(())
            .ok_or_else(|| format!("{:?} was not reached", self.fault))
    }
}

/// How often a step may fail in a row before it counts as endless.
const STUCK: i32 = 5;

/// Waits until the operation has ended.
async fn end_of(clients: &Clients, name: &str) -> Result<Operation, String> {
    let so = clients
        .until(name, |now| {
            now.phase() == Phase::Done || now.attempt >= STUCK
        })
        .await;
    if so.phase() == Phase::Done {
        Ok(clients.end_of(name).await)
    } else {
        Err(format!("it does not come to its end: {}", so.last_error))
    }
}

/// After one fault, a creation ends well, and so does the destruction after it. Nothing is left.
async fn check_creation(plan: Plan) -> Result<(), String> {
    let world = World::new().await;
    let healthy = world
        .replica_with(plan.settings("healthy", plan.healthy()))
        .await;
    let faulty = world
        .replica_with(plan.settings("faulty", plan.faulty()))
        .await;
    let accepted = faulty
        .ask_to_create_with("a.example", &["b.example"], &["home"], "")
        .await
        .map_err(|refused| refused.to_string())?;
    let created = end_of(&healthy, &accepted.name).await?;
    plan.require_reached()?;
    if let Some(turned_back_at) = plan.turn_back_at {
        if failure(&created).is_none() {
            return Err(format!("it did not unwind at {turned_back_at:?}"));
        }
    } else if let Some(failed) = failure(&created) {
        return Err(format!("the creation failed: {failed}"));
    } else {
        let destroyed = healthy.destroy("a.example").await.unwrap();
        if let Some(failed) = failure(&destroyed) {
            return Err(format!("the destruction failed: {failed}"));
        }
    }
    nothing_left(&world).await?;
    // The names are free.
    let again = healthy.create("b.example").await.unwrap();
    failure(&again).map_or(Ok(()), |failed| {
        Err(format!("a name is not free: {failed}"))
    })
}

/// After one fault, a destruction ends well, and nothing is left.
async fn check_destruction(plan: Plan) -> Result<(), String> {
    let world = World::new().await;
    let healthy = world
        .replica_with(plan.settings("healthy", plan.healthy()))
        .await;
    let created = healthy
        .ask_to_create_with("a.example", &["b.example"], &["home"], "")
        .await
        .unwrap();
    assert_eq!(failure(&healthy.end_of(&created.name).await), None);
    let faulty = world
        .replica_with(plan.settings("faulty", plan.faulty()))
        .await;
    let name = faulty.ask_to_destroy("a.example").await.unwrap();
    let destroyed = end_of(&healthy, &name).await?;
    plan.require_reached()?;
    if let Some(failed) = failure(&destroyed) {
        return Err(format!("the destruction failed: {failed}"));
    }
    nothing_left(&world).await
}

/// After one fault, a change succeeds, and the instance can be destroyed afterwards.
async fn check_change(plan: Plan) -> Result<(), String> {
    let world = World::new().await;
    let healthy = world
        .replica_with(plan.settings("healthy", plan.healthy()))
        .await;
    let prepared = prepare(&world, &healthy, ChangeKind::Update).await;
    let faulty = world
        .replica_with(plan.settings("faulty", plan.faulty()))
        .await;
    let accepted = ask_for(&faulty, ChangeKind::Update, &prepared.domain)
        .await
        .unwrap();
    let changed = end_of(&healthy, &accepted.name).await?;
    plan.require_reached()?;
    match (failure(&changed), plan.turn_back_at) {
        (None, Some(at)) => return Err(format!("it did not unwind at {at:?}")),
        (Some(failed), None) => return Err(format!("the change failed: {failed}")),
        (None, None) | (Some(_), Some(_)) => {}
    }
    match healthy.destroy(&prepared.domain).await {
        Ok(destroyed) => {
            if let Some(failed) = failure(&destroyed) {
                return Err(format!("left over: the destruction failed: {failed}"));
            }
        }
        Err(refused) => return Err(format!("left over: the destruction was refused: {refused}")),
    }
    nothing_left(&world).await
}

async fn nothing_left(world: &World) -> Result<(), String> {
    let left = world.leftovers().await;
    if left.is_empty() {
        Ok(())
    } else {
        Err(format!("left over: {left:?}"))
    }
}

const ORDERS: [(Order, bool); 5] = [
    (Order::Twice, false),
    (Order::Fail, false),
    (Order::Fail, true),
    (Order::Die, false),
    (Order::Die, true),
];

/// Every fault of every step.
fn faults(steps: &[StepId], undo: bool) -> Vec<(Point, Order)> {
    let all = steps.iter().flat_map(|&step| {
        ORDERS.into_iter().map(move |(order, after)| {
            let point = Point { step, undo, after };
            (point, order)
        })
    });
    all.collect()
}

/// Every fault of every step of a kind, and an owner that dies after its head start.
fn faults_of(kind: &'static str) -> Vec<(Point, Order)> {
    let after_head_start = Point {
        step: StepId::early(kind),
        undo: false,
        after: true,
    };
    let mut all = faults(&steps(kind), false);
    all.push((after_head_start, Order::Die));
    all
}

/// The steps of a creation that can be undone.
fn reversible() -> Vec<StepId> {
    steps_before("create", "look")
}

/// The steps of a change that can be undone: those of a change that adds names. A change that is decided when
/// the instance is taken has none.
fn reversible_of(verb: ChangeKind) -> Vec<StepId> {
    match verb {
        ChangeKind::Update
        | ChangeKind::Delete
        | ChangeKind::Undelete
        | ChangeKind::RegisterLink
        | ChangeKind::Passphrase
        | ChangeKind::Tokens
        | ChangeKind::ResetLink => steps_before("change", "settings"),
        ChangeKind::Block | ChangeKind::Unblock | ChangeKind::Sessions => Vec::new(),
    }
}

/// The last point at which an operation with these reversible steps can unwind.
fn last_moment(reversible: &[StepId]) -> Point {
    Point {
        step: *reversible.last().unwrap(),
        undo: false,
        after: true,
    }
}

/// Every registered kind is among these tests: kinds are tested here by name.
#[test]
fn every_registered_kind_is_tested_here() {
    let registered: Vec<_> = Work::kinds().iter().map(|kind| kind.name).collect();
    // The removal of orphans is tested in `orphans.rs`, also with all faults of all steps, and relays in `behind.rs`.
    let tested = ["create", "destroy", "change", "purge_orphans", "relay"];
    assert_eq!(registered, tested);
}

/// How many worlds a test has at once: most of the time is spent waiting for leases to lapse.
const AT_ONCE: usize = 4;

/// Checks each of `all`, several at once.
async fn for_each<T>(all: impl IntoIterator<Item = T>, check: impl AsyncFn(T)) {
    futures::stream::iter(all)
        .for_each_concurrent(AT_ONCE, |one| check(one))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_survives_every_fault_of_every_step() {
    for_each(faults_of("create"), async |(point, order)| {
        let found = check_creation(Plan::new(Some((point, order)), Sabotage::None)).await;
        assert_eq!(found, Ok(()), "{point:?} {order:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destruction_survives_every_fault_of_every_step() {
    for_each(faults(&steps("destroy"), false), async |(point, order)| {
        let found = check_destruction(Plan::new(Some((point, order)), Sabotage::None)).await;
        assert_eq!(found, Ok(()), "{point:?} {order:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_fails_for_good_leaves_nothing_and_its_name_free() {
    for_each(reversible(), async |step| {
        let plan = Plan {
            turn_back_at: Some(Point {
                step,
                undo: false,
                after: true,
            }),
            ..Plan::new(None, Sabotage::None)
        };
        assert_eq!(check_creation(plan).await, Ok(()), "{step:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_undo_survives_every_fault() {
    for_each(faults(&reversible(), true), async |(point, order)| {
        let plan = Plan {
            turn_back_at: Some(last_moment(&reversible())),
            ..Plan::new(Some((point, order)), Sabotage::None)
        };
        assert_eq!(check_creation(plan).await, Ok(()), "{point:?} {order:?}");
    })
    .await;
}

/// A step that was done but not written is done again: a step that cannot be repeated fails these checks.
#[tokio::test(flavor = "multi_thread")]
async fn the_checks_notice_a_step_that_cannot_be_repeated() {
    // Not the removal of orphans: each of its steps removes what may be gone already.
    let steps = ["create", "destroy", "change"].map(steps);
    for_each(steps.concat(), async |step| {
        let after = Point {
            step,
            undo: false,
            after: true,
        };
        for order in [Order::Fail, Order::Die] {
            let plan = Plan::new(Some((after, order)), Sabotage::Idempotence(step));
            let found = match step.kind {
                "create" => check_creation(plan).await,
                "destroy" => check_destruction(plan).await,
                _ => check_change(plan).await,
            };
            assert!(found.is_err(), "{step:?} {order:?} was not noticed");
        }
    })
    .await;
}

/// A step that is not undone leaves something behind, and the check for leftovers finds it.
#[tokio::test(flavor = "multi_thread")]
async fn the_checks_notice_a_step_that_is_not_undone() {
    // Not the taking of an instance: what it leaves is harmless once the operation has ended.
    let claims = step("change", "claims");
    let all = reversible().into_iter().map(|step| (step, reversible()));
    let all = all.chain([(claims, vec![claims])]);
    for_each(all, async |(step, reversible)| {
        let plan = Plan {
            turn_back_at: Some(last_moment(&reversible)),
            ..Plan::new(None, Sabotage::Undo(step))
        };
        let found = match step.kind {
            "change" => check_change(plan).await,
            _ => check_creation(plan).await,
        };
        assert!(
            found
                .as_ref()
                .is_err_and(|found| found.contains("left over")),
            "{step:?} was not noticed: {found:?}"
        );
    })
    .await;
}

/// Gives `order` the first time that `point` is reached. Records whether it was.
fn once(point: Point, order: Order) -> (Failpoints, Arc<AtomicBool>) {
    let plan = Plan::new(Some((point, order)), Sabotage::None);
    (plan.faulty(), plan.reached)
}

/// All kinds run in parallel, each in its own world: most of the time is spent waiting for leases to lapse.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_every_kind_survives_every_fault_of_every_step() {
    futures::future::join_all(ChangeKind::ALL.iter().map(|&kind| survive(kind))).await;
}

async fn survive(kind: ChangeKind) {
    let world = World::new().await;
    let healthy = world.replica("healthy", Failpoints::default()).await;
    let prepared = prepare(&world, &healthy, kind).await;
    for (number, (point, order)) in faults_of("change").into_iter().enumerate() {
        let head_start = point.step == StepId::early("change");
        if head_start && !reversible_of(kind).is_empty() {
            // This kind of change has none.
            continue;
        }
        let how = format!("{kind:?} {point:?} {order:?}");
        let (failpoints, reached) = once(point, order);
        let faulty = world.replica(&format!("faulty-{number}"), failpoints).await;
        let accepted = ask_for(&faulty, kind, &prepared.domain).await.unwrap();
        let operation = healthy.end_of(&accepted.name).await;
        assert_eq!(failure(&operation), None, "{how}");
        assert!(reached.load(Ordering::SeqCst), "{how} was not reached");
        faulty.stop().await;
        require_done(&world, kind, &prepared, &how).await;
        prepared.restore(&world).await;
    }
    let destroyed = healthy.destroy(&prepared.domain).await.unwrap();
    assert_eq!(failure(&destroyed), None, "{kind:?}");
    assert_eq!(world.leftovers().await, Vec::<String>::new(), "{kind:?}");
    healthy.stop().await;
}

/// Each step that has an undo, with each fault of the undo, for a change that fails for good after each later
/// step.
fn undos(reversible: &[StepId]) -> Vec<(StepId, Point, Order)> {
    let mut all = Vec::new();
    for (failing, &last) in reversible.iter().enumerate() {
        for &step in reversible.iter().take(failing + 1) {
            for (order, after) in ORDERS {
                let undo = Point {
                    step,
                    undo: true,
                    after,
                };
                all.push((last, undo, order));
            }
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_fails_for_good_changes_nothing_and_every_undo_survives_every_fault() {
    futures::future::join_all(ChangeKind::ALL.iter().map(|&kind| unwind(kind))).await;
}

async fn unwind(kind: ChangeKind) {
    let world = World::new().await;
    let healthy = world.replica("healthy", Failpoints::default()).await;
    let prepared = prepare(&world, &healthy, kind).await;
    let take = step("change", "take");
    let failpoints = Failpoints::new(move |_, at| {
        if at.step == StepId::early("change") && !at.after {
            return Order::Fail;
        }
        if at.step == take && !at.undo && !at.after {
            return Order::FailForGood;
        }
        Order::Go
    });
    let faulty = world.replica("refusing", failpoints).await;
    let accepted = ask_for(&faulty, kind, &prepared.domain).await.unwrap();
    let operation = healthy.end_of(&accepted.name).await;
    assert!(failure(&operation).is_some(), "{kind:?}");
    faulty.stop().await;
    require_undone(&world, &prepared, &format!("{kind:?} did not begin")).await;
    for (number, (last, undo, order)) in undos(&reversible_of(kind)).into_iter().enumerate() {
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
        let faulty = world.replica(&format!("faulty-{number}"), failpoints).await;
        let accepted = ask_for(&faulty, kind, &prepared.domain).await.unwrap();
        let operation = healthy.end_of(&accepted.name).await;
        let how = format!("{kind:?} {last:?} {undo:?} {order:?}");
        assert!(failure(&operation).is_some(), "{how}");
        assert!(reached.load(Ordering::SeqCst), "{how} was not reached");
        faulty.stop().await;
        require_undone(&world, &prepared, &how).await;
    }
    let destroyed = healthy.destroy(&prepared.domain).await.unwrap();
    assert_eq!(failure(&destroyed), None, "{kind:?}");
    assert_eq!(world.leftovers().await, Vec::<String>::new(), "{kind:?}");
    healthy.stop().await;
}
