//! Soft deletion: visibility, restoring, and the final destruction.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

use crate::support::{Replica, World, changes::response, failure};
use hamlet_proto::{
    google::longrunning::Operation,
    hamlet::instance::v1::{
        DeleteInstanceRequest, DeleteInstanceResult, Instance, ListInstancesRequest,
        UndeleteInstanceRequest, instance::State,
    },
};
use instance_svc::operations::failpoints::Failpoints;
use service_kit::status;
use test_kit::eventually;
use tonic::{Code, Status};

fn delete_request(domain: &str, keep: std::time::Duration) -> DeleteInstanceRequest {
    DeleteInstanceRequest {
        name: format!("instances/{domain}"),
        keep: Some(keep.try_into().unwrap()),
        ..DeleteInstanceRequest::default()
    }
}

const A_DAY: std::time::Duration = std::time::Duration::from_secs(86_400);

async fn delete(replica: &Replica, request: DeleteInstanceRequest) -> Result<Operation, Status> {
    let accepted = replica.instances.clone().delete_instance(request).await?;
    Ok(replica.end_of(&accepted.into_inner().name).await)
}

async fn undelete(replica: &Replica, domain: &str) -> Result<Operation, Status> {
    let accepted = replica
        .instances
        .clone()
        .undelete_instance(UndeleteInstanceRequest {
            name: format!("instances/{domain}"),
            ..UndeleteInstanceRequest::default()
        })
        .await?;
    Ok(replica.end_of(&accepted.into_inner().name).await)
}

/// The domains of all pages of this size, and how many pages there were.
async fn list(replica: &Replica, size: i32, show_deleted: bool) -> (Vec<String>, usize) {
    let mut domains = Vec::new();
    let mut page_token = String::new();
    for pages in 1.. {
        let page = replica
            .instances
            .clone()
            .list_instances(ListInstancesRequest {
                page_size: size,
                page_token,
                show_deleted,
            })
            .await
            .unwrap()
            .into_inner();
        domains.extend(page.instances.into_iter().map(|instance| instance.domain));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return (domains, pages);
        }
    }
    panic!("a list ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_instance_is_hidden_and_can_be_restored() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
    let block = Instance {
        blocked: true,
        blocking_reason: "PAYMENT_FAILED".to_owned(),
        ..Instance::default()
    };
    replica
        .update("a.example", &["blocked", "blocking_reason"], block)
        .await
        .unwrap();
    let before = world.settled("a.example").await;

    let deleted = delete(&replica, delete_request("a.example", A_DAY))
        .await
        .unwrap();
    let result: DeleteInstanceResult = response(&deleted);
    assert_eq!(result.domain, "a.example");
    assert!(result.removed.is_empty());
    let shown = replica.get("a.example").await.unwrap();
    assert_eq!(shown.state(), State::Deleted);
    assert_eq!(shown.purge_time, result.purge_time);
    let kept = shown.purge_time.unwrap().seconds - shown.delete_time.unwrap().seconds;
    assert!((86_399..=86_401).contains(&kept), "{kept}");

    // Its name stays taken, and the only possible change is to restore it.
    let taken = replica.create("a.example").await.unwrap_err();
    assert_eq!(status::reason(&taken).unwrap(), "NAME_TAKEN");
    let refused = replica
        .ask_to_update("a.example", &["blocked"], Instance::default())
        .await
        .unwrap_err();
    assert_eq!(status::reason(&refused).unwrap(), "INSTANCE_DELETED");

    let back: Instance = response(&undelete(&replica, "a.example").await.unwrap());
    assert_eq!(back.state(), State::Blocked);
    assert_eq!(world.settled("a.example").await, before);
    let again = undelete(&replica, "a.example").await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition);
    assert_eq!(status::reason(&again).unwrap(), "INSTANCE_NOT_DELETED");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_leave_deleted_instances_out_and_pages_stay_full() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    let domains: Vec<String> = (0..7).map(|number| format!("i{number}.example")).collect();
    for domain in &domains {
        assert_eq!(failure(&replica.create(domain).await.unwrap()), None);
    }
    for gone in [
        "i0.example",
        "i2.example",
        "i3.example",
        "i4.example",
        "i6.example",
    ] {
        let deleted = delete(&replica, delete_request(gone, A_DAY)).await.unwrap();
        assert_eq!(failure(&deleted), None);
    }
    let (shown, pages) = list(&replica, 2, false).await;
    assert_eq!(shown, ["i1.example", "i5.example"]);
    assert!(pages <= 2, "{pages} pages");
    assert_eq!(list(&replica, 3, true).await.0, domains);
    assert_eq!(
        list(&replica, 1, false).await.0,
        ["i1.example", "i5.example"]
    );
}

async fn failure_of_creation(replica: &Replica) -> Option<String> {
    match replica.create("a.example").await {
        Ok(operation) => failure(&operation).map(str::to_owned),
        Err(status) => Some(status.message().to_owned()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_several_replicas_destroys_a_deleted_instance_when_it_is_due() {
    let world = World::new().await;
    let one = world.replica("one", Failpoints::default()).await;
    let two = world.replica("two", Failpoints::default()).await;
    assert_eq!(failure(&one.create("a.example").await.unwrap()), None);
    let soon = std::time::Duration::from_millis(300);
    let deleted = delete(&one, delete_request("a.example", soon))
        .await
        .unwrap();
    assert_eq!(failure(&deleted), None);
    let gone = eventually("the instance is gone", async || {
        two.get("a.example").await.err()
    });
    assert_eq!(gone.await.code(), Code::NotFound);
    // Creating it again has to wait for the end of the destruction: the name is released last.
    eventually("its name is free", async || {
        failure_of_creation(&two).await.map_or(Ok(()), Err)
    })
    .await;
    assert_eq!(failure(&two.destroy("a.example").await.unwrap()), None);
    let destructions = world.operations("destroy").await;
    let of_a = destructions
        .iter()
        .filter(|operation| operation["domain"] == "a.example" && !operation["due"].is_null())
        .count();
    assert_eq!(of_a, 1, "{destructions:?}");
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_deleted_instance_again_can_destroy_it_at_once() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
    let mut request = delete_request("a.example", A_DAY);
    request.request_id = "r-1".to_owned();
    request.validate_only = true;
    let checked = replica
        .instances
        .clone()
        .delete_instance(request.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(
        response::<DeleteInstanceResult>(&checked)
            .purge_time
            .is_some()
    );
    assert_ne!(
        replica.get("a.example").await.unwrap().state(),
        State::Deleted
    );
    request.validate_only = false;
    let first = delete(&replica, request.clone()).await.unwrap();
    assert_eq!(
        first.name,
        delete(&replica, request.clone()).await.unwrap().name
    );
    request.keep = None;
    let reused = delete(&replica, request).await.unwrap_err();
    assert_eq!(status::reason(&reused).unwrap(), "REQUEST_ID_REUSED");
    let destroyed = replica.destroy("a.example").await.unwrap();
    assert_eq!(failure(&destroyed), None);
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_or_an_invalid_duration_is_refused() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
    let alias = Instance {
        domain_aliases: vec!["x.example".to_owned()],
        ..Instance::default()
    };
    replica
        .update("a.example", &["domain_aliases"], alias)
        .await
        .unwrap();
    let by_alias = delete(&replica, delete_request("x.example", A_DAY))
        .await
        .unwrap_err();
    assert_eq!(status::reason(&by_alias).unwrap(), "NAME_IS_ALIAS");
    let forever = delete(&replica, delete_request("a.example", A_DAY * 4000))
        .await
        .unwrap_err();
    assert!(forever.message().starts_with("keep: "), "{forever:?}");
    let mut negative = delete_request("a.example", A_DAY);
    negative.keep = Some(prost_types::Duration {
        seconds: -1,
        nanos: 0,
    });
    let negative = delete(&replica, negative).await.unwrap_err();
    assert!(negative.message().starts_with("keep: "), "{negative:?}");
}
