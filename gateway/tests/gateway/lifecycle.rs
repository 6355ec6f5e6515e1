//! Services that go away and come back, states that change, and the gateway's own end.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tonic::Code;

use test_kit::{eventually, fake::active_instance};

use crate::support::{Event, World};

#[tokio::test]
async fn a_service_that_says_goaway_is_connected_to_anew() {
    let mut world = World::with(|config| config.limits.upstream_connections = 1).await;
    let client = world.client().await;
    let mut running = client
        .begin("alice.example", "/hamlet.files.v1.FilesService/Echo", &[])
        .await;
    let mut body = (&mut running.response).await.unwrap().into_body();
    world.files.say_goodbye();
    // New calls go to a new connection, though the old one is still in use.
    for _ in 0..10 {
        assert_eq!(
            client.call("alice.example", "Headers", &[]).await.code(),
            Code::Ok
        );
    }
    running
        .upload
        .send_data(Bytes::from_static(b"still here"), true)
        .unwrap();
    assert_eq!(body.data().await.unwrap().unwrap(), "still here");

    world.files.die().await;
    eventually("the service is found out of reach", async || {
        client.call("alice.example", "Headers", &[]).await.code() == Code::Unavailable
    })
    .await;
    world.files.revive();
    eventually("the service is found again", async || {
        client.call("alice.example", "Headers", &[]).await.code() == Code::Ok
    })
    .await;
}

#[tokio::test]
async fn a_stream_whose_service_dies_still_ends_with_a_status() {
    let world = World::new().await;
    let client = world.client().await;
    let mut call = client
        .begin("alice.example", "/hamlet.files.v1.FilesService/Vanish", &[])
        .await;
    let mut body = (&mut call.response).await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap(), "first");
    world.files.die().await;
    assert!(body.data().await.is_none());
    let trailers = body.trailers().await.unwrap().unwrap();
    assert_eq!(trailers["grpc-status"], "14");
    assert!(trailers.contains_key("grpc-status-details-bin"));
}

#[tokio::test]
async fn a_change_of_state_is_seen_within_a_second() {
    let world = World::new().await;
    let client = world.client().await;
    assert_eq!(
        client.call("alice.example", "Headers", &[]).await.code(),
        Code::Ok
    );
    for (change, code) in [
        (Change::Block, Code::FailedPrecondition),
        (Change::Unblock, Code::Ok),
        (Change::Delete, Code::NotFound),
    ] {
        match change {
            Change::Block => world.directory.block("alice.example", ""),
            Change::Unblock => world
                .directory
                .set("alice.example", active_instance("alice.example")),
            Change::Delete => world.directory.delete("alice.example"),
        }
        let changed = Instant::now();
        eventually("the change is seen", async || {
            client.call("alice.example", "Headers", &[]).await.code() == code
        })
        .await;
        assert!(
            changed.elapsed() < Duration::from_secs(1),
            "{:?}",
            changed.elapsed()
        );
    }
}

enum Change {
    Block,
    Unblock,
    Delete,
}

#[tokio::test]
async fn a_new_instance_is_seen_though_its_host_was_unknown() {
    let world = World::new().await;
    let client = world.client().await;
    assert_eq!(
        client.call("new.example", "Headers", &[]).await.code(),
        Code::NotFound
    );
    world
        .directory
        .set("new.example", active_instance("new.example"));
    eventually("the new instance is seen", async || {
        client.call("new.example", "Headers", &[]).await.code() == Code::Ok
    })
    .await;
}

#[tokio::test]
async fn one_question_is_asked_for_many_callers() {
    let world = World::new().await;
    world.directory.answer_after(Duration::from_millis(300));
    let client = world.client().await;
    let mut calls = Vec::new();
    for number in 0..40 {
        let client = client.clone();
        let host = if number % 2 == 0 {
            "alice.example"
        } else {
            "nobody.example"
        };
        calls.push(tokio::spawn(async move {
            client.call(host, "Headers", &[]).await.code()
        }));
    }
    for call in calls {
        assert!([Code::Ok, Code::NotFound].contains(&call.await.unwrap()));
    }
    assert_eq!(world.directory.questions(), 2, "one a host");
}

#[tokio::test]
async fn without_its_directory_the_gateway_says_so_and_recovers_from_slowness() {
    let world = World::new().await;
    let client = world.client().await;
    world.directory.answer_after(Duration::from_secs(30));
    let late = client.call("alice.example", "Headers", &[]).await;
    assert_eq!(late.code(), Code::Unavailable);
    // The failure is not kept.
    world.directory.answer_after(Duration::ZERO);
    assert_eq!(
        client.call("alice.example", "Headers", &[]).await.code(),
        Code::Ok
    );

    let world =
        World::with(|config| "http://127.0.0.1:9".clone_into(&mut config.instance_service)).await;
    let answer = world
        .client()
        .await
        .call("alice.example", "Headers", &[])
        .await;
    assert_eq!(answer.code(), Code::Unavailable);
}

#[tokio::test]
async fn a_running_call_may_end_after_the_gateway_was_asked_to_stop() {
    let mut world = World::new().await;
    let client = world.client().await;
    let mut call = client
        .begin("alice.example", "/hamlet.files.v1.FilesService/Echo", &[])
        .await;
    let mut body = (&mut call.response).await.unwrap().into_body();
    world.stop.cancel();
    eventually("no new connection is taken", async || {
        tokio::net::TcpStream::connect(world.public).await.is_err()
    })
    .await;
    call.upload
        .send_data(Bytes::from_static(b"last words"), true)
        .unwrap();
    assert_eq!(body.data().await.unwrap().unwrap(), "last words");
    assert!(body.data().await.is_none());
    assert_eq!(body.trailers().await.unwrap().unwrap()["grpc-status"], "0");
    (&mut world.gateway).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_call_that_does_not_end_does_not_keep_the_gateway() {
    let mut world = World::with(|config| config.limits.drain = Duration::from_millis(200)).await;
    let client = world.client().await;
    let call = client
        .begin(
            "alice.example",
            "/hamlet.files.v1.FilesService/Silence",
            &[],
        )
        .await;
    world.files.wait_for(&Event::Begun).await;
    world.stop.cancel();
    tokio::time::timeout(crate::support::SOON, &mut world.gateway)
        .await
        .expect("the gateway ends")
        .unwrap()
        .unwrap();
    world.files.wait_for(&Event::Reset).await;
    assert!(call.response.await.is_err());
}

#[tokio::test]
async fn a_wrong_address_of_a_service_is_named() {
    let world = World::with(|config| "files:7002".clone_into(&mut config.files_service)).await;
    let mut world = world;
    let error = (&mut world.gateway).await.unwrap().unwrap_err();
    let said = error.to_string();
    assert!(
        said.starts_with("files-service: ") && said.contains("http://host:port"),
        "{said}"
    );
}
