//! Requests concerning running and queued operations: cancelling, retrying, forgetting, and the order of the
//! queue.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation is the test failing"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::support::{
    World, config, failure, hasty, progress,
    steps::{step, steps, steps_before},
};
use hamlet_proto::{
    google::longrunning::{
        DeleteOperationRequest, GetOperationRequest, ListOperationsRequest, Operation, operation,
    },
    hamlet::instance::v1::{
        OperationMetadata, RetryOperationRequest, WatchOperationRequest, operation_metadata::Phase,
    },
};
use instance_svc::{
    Config, Settings,
    operations::failpoints::{Failpoints, Order, StepId},
};
use service_kit::status;
use test_kit::eventually;
use tonic::Code;

/// Fails before `step` until it is released. The pauses are so long that no test waits for one to end.
fn stuck_at(step: StepId) -> (Settings, Arc<AtomicBool>) {
    let through = Arc::new(AtomicBool::new(false));
    let open = Arc::clone(&through);
    let failpoints = Failpoints::new(move |_, at| {
        if at.step == step && !at.undo && !at.after && !open.load(Ordering::SeqCst) {
            Order::Fail
        } else {
            Order::Go
        }
    });
    (patient("stuck", failpoints), through)
}

fn patient(name: &str, failpoints: Failpoints) -> Settings {
    Settings {
        first_pause: Duration::from_secs(3600),
        longest_pause: Duration::from_secs(3600),
        ..hasty(name, failpoints)
    }
}

fn waits(metadata: &OperationMetadata) -> bool {
    metadata.phase() == Phase::Waiting
}

fn code(ended: &Operation) -> Option<Code> {
    match ended.result.as_ref().unwrap() {
        operation::Result::Response(_) => None,
        operation::Result::Error(error) => Some(Code::from_i32(error.code)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_creation_is_cancelled_at_every_step_before_the_point_of_no_return() {
    let world = World::new().await;
    let other = world.replica("other", Failpoints::default()).await;
    let reversible = steps_before("create", "look").len();
    for (number, step) in steps("create").into_iter().enumerate() {
        let (settings, through) = stuck_at(step);
        let stuck = world
            .replica_with(Settings {
                replica: format!("stuck-{number}"),
                ..settings
            })
            .await;
        let name = stuck.ask_to_create("a.example", "").await.unwrap().name;
        let before = stuck.until(&name, waits).await;
        // Every other request goes to the owner, which tells its driver in memory; the rest goes to another
        // replica, which sets the mark in the document.
        let asked = if number % 2 == 0 { &stuck } else { &other };
        let cancelled = asked.cancel(&name).await;
        if number >= reversible {
            let refused = cancelled.unwrap_err();
            assert_eq!(refused.code(), Code::FailedPrecondition);
            assert_eq!(status::reason(&refused).unwrap(), "NOT_CANCELLABLE");
            assert!(!before.cancellable);
            through.store(true, Ordering::SeqCst);
            let retry = RetryOperationRequest { name: name.clone() };
            asked
                .operation
                .clone()
                .retry_operation(retry)
                .await
                .unwrap();
            assert_eq!(failure(&other.end_of(&name).await), None);
            assert_eq!(failure(&other.destroy("a.example").await.unwrap()), None);
        } else {
            cancelled.unwrap();
            assert!(before.cancellable, "{step:?}");
            let ended = other.end_of(&name).await;
            assert_eq!(code(&ended), Some(Code::Cancelled), "{step:?}");
            assert!(progress(&ended).cancel_requested && !progress(&ended).cancellable);
            // The request is repeated, as after a lost response.
            asked.cancel(&name).await.unwrap();
        }
        assert_eq!(world.leftovers().await, Vec::<String>::new(), "{step:?}");
        stuck.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_decides_between_cancelling_and_publishing() {
    let world = World::new().await;
    let one = world.replica("one", Failpoints::default()).await;
    let two = world.replica("two", Failpoints::default()).await;
    let (mut cancelled, mut published) = (0, 0);
    for number in 0..24_u64 {
        let domain = format!("race-{number}.example");
        let name = one.ask_to_create(&domain, "").await.unwrap().name;
        tokio::time::sleep(Duration::from_millis(number * 8 % 160)).await;
        let replica = if number % 2 == 0 { &one } else { &two };
        let asked = replica.cancel(&name).await;
        let ended = two.end_of(&name).await;
        match asked {
            Ok(()) => {
                assert_eq!(code(&ended), Some(Code::Cancelled));
                cancelled += 1;
            }
            Err(refused) => {
                assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
                assert_eq!(code(&ended), None);
                published += 1;
                assert_eq!(failure(&two.destroy(&domain).await.unwrap()), None);
            }
        }
        assert_eq!(world.leftovers().await, Vec::<String>::new());
    }
    assert!(
        cancelled > 0,
        "{cancelled} cancelled, {published} published"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destruction_only_goes_forward_and_is_tried_again_at_once_when_asked() {
    let world = World::new().await;
    let (settings, through) = stuck_at(step("destroy", "databases"));
    let stuck = world.replica_with(settings).await;
    assert_eq!(failure(&stuck.create("a.example").await.unwrap()), None);
    let name = stuck.ask_to_destroy("a.example").await.unwrap();
    let waiting = stuck.until(&name, waits).await;
    assert!(!waiting.cancellable && waiting.next_try_time.is_some());
    assert_eq!(waiting.last_error, "a test says so");
    let refused = stuck.cancel(&name).await.unwrap_err();
    assert_eq!(status::reason(&refused).unwrap(), "NOT_CANCELLABLE");
    let retry = || RetryOperationRequest { name: name.clone() };
    // The step still fails: it was tried once more, and the operation waits again.
    stuck
        .operation
        .clone()
        .retry_operation(retry())
        .await
        .unwrap();
    stuck
        .until(&name, |now| waits(now) && now.attempt == 2)
        .await;
    through.store(true, Ordering::SeqCst);
    // Through another replica.
    let other = world.replica("other", Failpoints::default()).await;
    other
        .operation
        .clone()
        .retry_operation(retry())
        .await
        .unwrap();
    assert_eq!(failure(&other.end_of(&name).await), None);
    assert_eq!(world.leftovers().await, Vec::<String>::new());
    let ended = other.operation.clone().retry_operation(retry()).await;
    assert_eq!(
        status::reason(&ended.unwrap_err()).unwrap(),
        "OPERATION_ENDED"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_can_be_forgotten_once_it_has_ended() {
    let world = World::new().await;
    let (mut settings, _through) = stuck_at(step("create", "apps"));
    settings.look_again_after = Duration::from_millis(100);
    settings.scan_every = Duration::from_millis(50);
    let stuck = world.replica_with(settings).await;
    let name = stuck.ask_to_create("a.example", "r-1").await.unwrap().name;
    // An abandoned step would have the operation looked at once more, later.
    stuck.until(&name, waits).await;
    let forget = || DeleteOperationRequest { name: name.clone() };
    let refused = stuck.operations.clone().delete_operation(forget()).await;
    assert_eq!(
        status::reason(&refused.unwrap_err()).unwrap(),
        "NOT_FORGETTABLE"
    );
    stuck.cancel(&name).await.unwrap();
    stuck.end_of(&name).await;
    // Until its last look it is kept.
    eventually("the operation can be forgotten", async || {
        let forgotten = stuck.operations.clone().delete_operation(forget()).await;
        forgotten.map_err(|status| status.to_string())
    })
    .await;
    let read = GetOperationRequest { name: name.clone() };
    let gone = stuck.operations.clone().get_operation(read).await;
    assert_eq!(gone.unwrap_err().code(), Code::NotFound);
    let again = stuck.operations.clone().delete_operation(forget()).await;
    assert_eq!(again.unwrap_err().code(), Code::NotFound);
    // Its request id can be used again.
    let new = stuck.ask_to_create("b.example", "r-1").await.unwrap();
    assert_eq!(new.name, name);
}

#[tokio::test(flavor = "multi_thread")]
async fn creations_wait_in_one_queue_over_all_replicas() {
    let world = World::new().await;
    let one_at_once = || Config {
        creations_at_once: 1,
        ..config()
    };
    let step = step("create", "databases");
    let (settings, through) = stuck_at(step);
    let open = Arc::clone(&through);
    let same = Failpoints::new(move |_, at| {
        if at.step == step && !at.undo && !at.after && !open.load(Ordering::SeqCst) {
            Order::Fail
        } else {
            Order::Go
        }
    });
    let one = world.replica_of(one_at_once(), settings).await;
    let two = world.replica_of(one_at_once(), patient("two", same)).await;
    // Each replica drives one operation, and both are stuck.
    let mut at_work = Vec::new();
    for (replica, domain) in [(&one, "a.example"), (&two, "b.example")] {
        let name = replica.ask_to_create(domain, "").await.unwrap().name;
        replica.until(&name, waits).await;
        at_work.push(name);
    }
    // The others wait in the order of acceptance, whichever replica accepted them.
    let mut line = Vec::new();
    for (number, replica) in [&one, &two, &one, &two].into_iter().enumerate() {
        let domain = format!("w{number}.example");
        line.push(replica.ask_to_create(&domain, "").await.unwrap().name);
    }
    let position = |at| {
        move |now: &OperationMetadata| {
            now.phase() == Phase::Queued && now.queue_position == Some(at)
        }
    };
    for replica in [&one, &two] {
        for (at, name) in (0..).zip(&line) {
            replica.until(name, position(at)).await;
        }
    }
    // Watchers see the positions change.
    let watch = WatchOperationRequest {
        name: line[3].clone(),
    };
    let mut watched = one
        .operation
        .clone()
        .watch_operation(watch)
        .await
        .unwrap()
        .into_inner();
    assert!(position(3)(&progress(
        &watched.message().await.unwrap().unwrap()
    )));
    // A queued operation is cancelled at once: nothing was made, so nothing has to be undone.
    two.cancel(&line[1]).await.unwrap();
    let read = GetOperationRequest {
        name: line[1].clone(),
    };
    let ended = two.operations.clone().get_operation(read).await.unwrap();
    assert_eq!(code(&ended.into_inner()), Some(Code::Cancelled));
    assert_eq!(code(&one.end_of(&line[1]).await), Some(Code::Cancelled));
    loop {
        let seen = progress(&watched.message().await.unwrap().unwrap());
        if position(2)(&seen) {
            break;
        }
        assert!(position(3)(&seen), "{seen:?}");
    }
    through.store(true, Ordering::SeqCst);
    for name in &at_work {
        let retry = RetryOperationRequest { name: name.clone() };
        one.operation.clone().retry_operation(retry).await.unwrap();
    }
    for name in at_work.iter().chain([&line[0], &line[2], &line[3]]) {
        assert_eq!(code(&one.end_of(name).await), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn listing_a_page_of_operations_reads_no_more_than_that_page() {
    let world = World::new().await;
    let settings = Settings {
        // No background scans while requests are counted.
        scan_every: Duration::from_secs(3600),
        ..Settings::new("one")
    };
    let replica = world.replica_with(settings).await;
    world.add_ended_operations(1500).await;
    let name = replica.ask_to_create("a.example", "").await.unwrap().name;
    replica.end_of(&name).await;
    for (filter, expected) in [("", 1501), ("done=true", 1501), ("done = false", 0)] {
        let mut page_token = String::new();
        let mut seen = Vec::new();
        loop {
            let request = ListOperationsRequest {
                page_size: 200,
                page_token,
                filter: filter.to_owned(),
                ..ListOperationsRequest::default()
            };
            // What the creation leaves for later may be counted too, but not each time.
            let mut counts = Vec::new();
            let page = loop {
                let before = world.served();
                let page = replica
                    .operations
                    .clone()
                    .list_operations(request.clone())
                    .await;
                let page = page.unwrap().into_inner();
                let (Some(before), Some(after)) = (before, world.served()) else {
                    break page;
                };
                counts.push(after - before);
                if after - before <= 3 {
                    break page;
                }
                assert!(counts.len() < 5, "requests: {counts:?}");
            };
            seen.extend(page.operations.into_iter().map(|operation| {
                let created = progress(&operation).create_time.unwrap();
                (created.seconds, created.nanos, operation.name)
            }));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(seen.len(), expected, "{filter}");
        let mut sorted = seen.clone();
        sorted.sort();
        sorted.dedup();
        sorted.reverse();
        assert_eq!(seen, sorted, "{filter}");
    }
    let wrong = ListOperationsRequest {
        page_token: "the next one".to_owned(),
        ..ListOperationsRequest::default()
    };
    let refused = replica.operations.clone().list_operations(wrong).await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
}
