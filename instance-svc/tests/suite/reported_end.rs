//! After a caller was told of the end of an operation, every replica shows it as ended, in every call.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

use crate::support::{Replica, World, failure};
use futures::StreamExt as _;
use hamlet_proto::{
    google::longrunning::{GetOperationRequest, ListOperationsRequest, Operation},
    hamlet::instance::v1::{BlockInstanceRequest, GetInstanceRequest, WatchOperationRequest},
};
use instance_svc::operations::failpoints::Failpoints;

/// The operation in a list with this filter.
async fn listed(replica: &Replica, filter: &str, name: &str) -> Option<Operation> {
    let request = ListOperationsRequest {
        filter: filter.to_owned(),
        ..ListOperationsRequest::default()
    };
    let page = replica.operations.clone().list_operations(request).await;
    let operations = page.unwrap().into_inner().operations;
    operations.into_iter().find(|found| found.name == name)
}

async fn require_ended(replica: &Replica, name: &str) {
    let request = GetOperationRequest {
        name: name.to_owned(),
    };
    let got = replica.operations.clone().get_operation(request).await;
    assert!(got.unwrap().get_ref().done, "got {name}");
    assert!(listed(replica, "", name).await.unwrap().done);
    assert!(listed(replica, "done=true", name).await.is_some());
    assert!(listed(replica, "done=false", name).await.is_none());
    assert!(replica.end_of(name).await.done, "waited for {name}");
    let request = WatchOperationRequest {
        name: name.to_owned(),
    };
    let watched = replica.operation.clone().watch_operation(request).await;
    let states: Vec<_> = watched.unwrap().into_inner().collect().await;
    assert_eq!(states.len(), 1, "watched {name}");
    assert!(states.first().unwrap().as_ref().unwrap().done);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_reported_by_one_replica_is_seen_on_all() {
    let world = World::new().await;
    let one = world.replica("one", Failpoints::default()).await;
    let other = world.replica("other", Failpoints::default()).await;
    for round in 0..20 {
        let domain = format!("a{round}.example");
        let created = one.ask_to_create(&domain, "").await.unwrap().name;
        assert_eq!(failure(&one.end_of(&created).await), None);
        require_ended(&other, &created).await;
        require_ended(&one, &created).await;

        let name = format!("instances/{domain}");
        let request = BlockInstanceRequest {
            name: name.clone(),
            reason: "PAYMENT_FAILED".to_owned(),
            ..BlockInstanceRequest::default()
        };
        let blocked = one.instances.clone().block_instance(request).await;
        let blocked = blocked.unwrap().into_inner().name;
        assert_eq!(failure(&one.end_of(&blocked).await), None);
        require_ended(&other, &blocked).await;
        // The instance is no longer busy with it, either.
        let request = GetInstanceRequest { name };
        let found = other.instances.clone().get_instance(request).await;
        let found = found.unwrap().into_inner();
        assert!(found.blocked && found.operation.is_empty(), "{found:#?}");

        let destroyed = other.ask_to_destroy(&domain).await.unwrap();
        assert_eq!(failure(&other.end_of(&destroyed).await), None);
        require_ended(&one, &destroyed).await;
    }
}
