//! Several replicas of one service.

use bytes::Bytes;
use tonic::Code;
use tonic_types::StatusExt as _;

use test_kit::eventually;

use crate::support::{Answer, Client, Event, Leaving, Service, World};

/// A gateway with two replicas of the files service: its own, and one more.
async fn two_replicas() -> (World, Service) {
    let second = Service::start().await;
    let address = second.address;
    let world = World::with(|config| {
        config.files_service = format!("{},http://{address}", config.files_service);
    })
    .await;
    (world, second)
}

#[tokio::test]
async fn calls_are_spread_over_the_replicas() {
    let (world, second) = two_replicas().await;
    let client = world.client().await;
    for _ in 0..4 {
        let answer = client.call("alice.example", "Headers", &[]).await;
        assert_eq!(answer.code(), Code::Ok);
    }
    world.files.wait_for(&Event::Begun).await;
    second.wait_for(&Event::Begun).await;
}

#[tokio::test]
async fn no_call_fails_while_replicas_stop_and_come_back_one_after_the_other() {
    let (mut world, mut second) = two_replicas().await;
    let client = world.client().await;
    let calls = async |client: &Client| {
        for _ in 0..20 {
            let answer = client.call("alice.example", "Headers", &[]).await;
            assert_eq!(answer.code(), Code::Ok, "{:?}", answer.status());
        }
    };
    for _ in 0..3 {
        calls(&client).await;
        world.files.say_goodbye();
        calls(&client).await;
        world.files.die().await;
        calls(&client).await;
        world.files.revive();
        calls(&client).await;
        second.say_goodbye();
        second.die().await;
        calls(&client).await;
        second.revive();
    }
}

/// Sends a body and has it sent back.
async fn echo(client: &Client, body: &[u8]) -> Answer {
    let path = "/hamlet.files.v1.FilesService/Echo";
    let mut call = client.begin("alice.example", path, &[]).await;
    call.upload
        .send_data(Bytes::copy_from_slice(body), true)
        .unwrap();
    call.finish().await
}

#[tokio::test]
async fn a_call_that_a_stopping_replica_has_not_processed_goes_to_another() {
    let leaving = Leaving::start().await;
    let world = World::with(|config| {
        config.files_service = format!("http://{},{}", leaving.address, config.files_service);
    })
    .await;
    let client = world.client().await;
    for length in [0, 5, 1000, 16 * 1024] {
        let body = vec![b'a'; length];
        let before = leaving.calls();
        for _ in 0..10 {
            let answer = echo(&client, &body).await;
            assert_eq!(answer.code(), Code::Ok, "{:?}", answer.status());
            assert_eq!(answer.body, body);
        }
        assert!(leaving.calls() > before, "no call went there");
    }
}

#[tokio::test]
async fn a_long_upload_that_was_not_processed_says_that_nothing_was_done() {
    let leaving = Leaving::start().await;
    let world = World::with(|config| {
        config.files_service = format!("http://{}", leaving.address);
    })
    .await;
    let answer = echo(&world.client().await, &vec![b'a'; 32 * 1024]).await;
    assert_eq!(answer.code(), Code::Unavailable);
    let reason = answer.status().get_details_error_info().unwrap().reason;
    assert_eq!(reason, "SERVICE_OUT_OF_REACH");
    assert!(answer.status().message().contains("nothing was done"));
}

#[tokio::test]
async fn a_call_that_no_replica_processes_ends() {
    let leaving = Leaving::start().await;
    let world = World::with(|config| {
        config.files_service = format!("http://{}", leaving.address);
    })
    .await;
    let answer = echo(&world.client().await, b"hello").await;
    assert_eq!(answer.code(), Code::Unavailable);
    let reason = answer.status().get_details_error_info().unwrap().reason;
    assert_eq!(reason, "SERVICE_OUT_OF_REACH");
}

#[tokio::test]
async fn a_replica_that_hangs_is_left_out() {
    // It takes connections and never says a word.
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = mute.local_addr().unwrap();
    let world = World::with(|config| {
        config.files_service = format!("http://{address},{}", config.files_service);
    })
    .await;
    let client = world.client().await;
    for _ in 0..8 {
        let answer = client.call("alice.example", "Headers", &[]).await;
        assert_eq!(answer.code(), Code::Ok);
    }
}

#[tokio::test]
async fn a_replica_that_is_dead_from_the_start_is_found_when_it_comes() {
    let (world, mut second) = two_replicas().await;
    second.die().await;
    let client = world.client().await;
    for _ in 0..8 {
        let answer = client.call("alice.example", "Headers", &[]).await;
        assert_eq!(answer.code(), Code::Ok);
    }
    assert!(second.was_left_alone().await);
    second.revive();
    eventually("the second replica gets calls", async || {
        let answer = client.call("alice.example", "Headers", &[]).await;
        assert_eq!(answer.code(), Code::Ok);
        !second.was_left_alone().await
    })
    .await;
}
