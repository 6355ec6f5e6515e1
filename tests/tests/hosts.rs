//! What gateways know of hosts: a change at one of them is seen at all.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a failed expectation is the test failing, and times are printed"
)]

use std::time::{Duration, Instant};

use futures::future::join_all;
use hamlet_proto::{
    google::longrunning::{WaitOperationRequest, operations_client::OperationsClient},
    hamlet::{
        files::v1::{
            ListChildrenRequest, files_service_client::FilesServiceClient,
            list_children_request::Directory,
        },
        instance::v1::{
            BlockInstanceRequest, UnblockInstanceRequest,
            instance_service_client::InstanceServiceClient,
        },
    },
};
use hamlet_tests::{
    cluster::{Cluster, Part},
    load::Load,
};
use test_kit::doors;
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};

const DOMAIN: &str = "alice.example";
/// How long a change may take to every gateway.
const BOUND: Duration = Duration::from_secs(1);

/// How often an instance is blocked and unblocked.
fn rounds() -> usize {
    std::env::var("HAMLET_TEST_BLOCKS").map_or(5, |rounds| rounds.parse().unwrap())
}

/// A caller at a public door.
async fn caller(cluster: &Cluster, replica: u8) -> FilesServiceClient<Channel> {
    let public = cluster.public(replica);
    let channel = Endpoint::from_shared(format!("http://{public}"))
        .unwrap()
        .origin(format!("http://{DOMAIN}").parse().unwrap())
        .connect()
        .await
        .unwrap();
    FilesServiceClient::new(channel)
}

async fn is_blocked(client: &mut FilesServiceClient<Channel>) -> bool {
    let request = ListChildrenRequest {
        directory: Some(Directory::Path("/".to_owned())),
        ..ListChildrenRequest::default()
    };
    match client.list_children(request).await {
        Ok(_) => false,
        Err(status) => {
            assert_ne!(status.code(), Code::Unavailable, "{status}");
            status.code() == Code::FailedPrecondition
        }
    }
}

/// How long it takes until a gateway says so. Its callers do not stop meanwhile.
async fn until(client: &mut FilesServiceClient<Channel>, blocked: bool) -> Duration {
    let begun = Instant::now();
    while is_blocked(client).await != blocked {
        assert!(begun.elapsed() < BOUND, "blocked: {blocked}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    begun.elapsed()
}

/// Operators block an instance at one gateway; callers of both see it within a second, under load.
#[tokio::test(flavor = "multi_thread")]
async fn a_block_is_seen_at_every_gateway_within_a_second() {
    let cluster = Cluster::new().replicas(2).start();
    let _ = cluster.cli().run(&format!("instances add {DOMAIN}")).done();
    let credential = std::fs::read_to_string(cluster.path("admin-credential")).unwrap();
    let credential = credential.trim();
    let admin = cluster.address(Part::Gateway, 0);
    let way = doors::admin(admin, DOMAIN, credential).await;
    let mut instances = InstanceServiceClient::new(way.clone());
    let mut operations = OperationsClient::new(way);
    let mut callers = [caller(&cluster, 0).await, caller(&cluster, 1).await];
    let load = Load::begin(admin, credential, DOMAIN, 4).await;
    let name = format!("instances/{DOMAIN}");
    let mut longest = Duration::ZERO;
    for round in 0..rounds() * 2 {
        let blocked = round % 2 == 0;
        let accepted = if blocked {
            let request = BlockInstanceRequest {
                name: name.clone(),
                ..BlockInstanceRequest::default()
            };
            instances.block_instance(request).await
        } else {
            let request = UnblockInstanceRequest {
                name: name.clone(),
                ..UnblockInstanceRequest::default()
            };
            instances.unblock_instance(request).await
        };
        let request = WaitOperationRequest {
            name: accepted.unwrap().into_inner().name,
            ..WaitOperationRequest::default()
        };
        let ended = operations.wait_operation(request).await.unwrap();
        assert!(ended.into_inner().done);
        let seen = join_all(callers.iter_mut().map(|caller| until(caller, blocked))).await;
        longest = seen.into_iter().fold(longest, Duration::max);
    }
    println!("the longest of {} changes: {longest:?}", rounds() * 2);
    let _ = load.end().await;
}
