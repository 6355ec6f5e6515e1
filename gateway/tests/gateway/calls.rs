//! gRPC through the public door.

use std::time::Duration;

use bytes::Bytes;
use service_kit::caller::header_value;
use tonic::Code;
use tonic_types::StatusExt as _;

use test_kit::{doors::CLUSTER_KEY, eventually, fake::active_instance};

use crate::support::{Client, Event, World};

fn reason(status: &tonic::Status) -> String {
    status.get_details_error_info().unwrap().reason
}

#[tokio::test]
async fn a_call_arrives_with_the_tenant_that_the_gateway_found() {
    let world = World::new().await;
    let forged = [
        ("x-hamlet-tenant-bin", "Zm9yZ2Vk"),
        ("x-hamlet-key", "guessed"),
        ("x-hamlet-door", "admin"),
        ("x-hamlet-anything", "else"),
        ("host", "Alice.Example"),
        ("x-kept", "yes"),
    ];
    let told = world
        .client()
        .await
        .call("ALICE.example:8080", "Headers", &forged)
        .await;
    assert_eq!(told.code(), Code::Ok);
    let told = told.text();
    let tenant = header_value(&active_instance("alice.example").tenant.unwrap());
    for line in [
        ":authority: alice.example:8080".to_owned(),
        format!("x-hamlet-tenant-bin: {tenant}"),
        format!("x-hamlet-key: {CLUSTER_KEY}"),
        "x-hamlet-door: public".to_owned(),
        "te: trailers".to_owned(),
        "x-kept: yes".to_owned(),
    ] {
        assert_eq!(
            told.lines().filter(|told| **told == line).count(),
            1,
            "{line} in {told}"
        );
    }
    for absent in ["Zm9yZ2Vk", "guessed", "x-hamlet-anything", "\nhost:"] {
        assert!(!told.contains(absent), "{absent} in {told}");
    }
}

#[tokio::test]
async fn what_must_not_be_used_is_refused_with_a_reason() {
    let world = World::new().await;
    world.directory.block("blocked.example", "PAYMENT_FAILED");
    world.directory.delete("going.example");
    let mut moved = active_instance("old.example");
    moved.redirect_domain = "new.example".to_owned();
    world.directory.set("old.example", moved);
    let client = world.client().await;
    for (host, code, expected) in [
        ("nobody.example", Code::NotFound, "INSTANCE_NOT_FOUND"),
        (
            "blocked.example",
            Code::FailedPrecondition,
            "INSTANCE_BLOCKED",
        ),
        ("going.example", Code::NotFound, "INSTANCE_DELETING"),
        ("old.example", Code::NotFound, "INSTANCE_MOVED"),
    ] {
        let answer = client.call(host, "Headers", &[]).await;
        // A refusal is one HEADERS frame that ends the stream, or clients wait for trailers.
        assert!(answer.trailers_only, "{answer:?}");
        assert_eq!(answer.http_status, 200);
        assert_eq!(answer.headers["content-type"], "application/grpc");
        assert_eq!(answer.code(), code);
        let info = answer.status().get_details_error_info().unwrap();
        assert_eq!(
            (info.reason.as_str(), info.domain.as_str()),
            (expected, "hamlet")
        );
        match expected {
            "INSTANCE_BLOCKED" => assert_eq!(info.metadata["reason"], "PAYMENT_FAILED"),
            "INSTANCE_MOVED" => assert_eq!(info.metadata["domain"], "new.example"),
            _ => {}
        }
    }
    assert!(world.files.was_left_alone().await);
}

#[tokio::test]
async fn only_services_for_strangers_are_reached() {
    let world = World::new().await;
    let client = world.client().await;
    for path in [
        "/hamlet.instance.v1.InstanceService/ListInstances",
        "/hamlet.instance.v1.DirectoryService/ResolveHost",
        "/hamlet.files.v1.FilesLifecycleService/PurgeContents",
        "/google.longrunning.Operations/ListOperations",
        "/grpc.health.v1.Health/Check",
        "/hamlet.files.v1.FilesService",
        "/hamlet.files.v1.FilesService/Headers/more",
        "//hamlet.files.v1.FilesService/Headers",
    ] {
        let answer = client.call_path("alice.example", path, &[]).await;
        assert_eq!(answer.code(), Code::Unimplemented, "{path}");
        assert_eq!(reason(&answer.status()), "NO_SUCH_SERVICE");
    }
    assert_eq!(world.directory.questions(), 0);
    assert!(world.files.was_left_alone().await);
}

#[tokio::test]
async fn two_different_hosts_are_malformed() {
    let world = World::new().await;
    let client = world.client().await;
    let answer = client
        .call("alice.example", "Headers", &[("host", "bob.example")])
        .await;
    assert_eq!(answer.http_status, 400);
    assert_eq!(world.directory.questions(), 0);
}

#[tokio::test]
async fn errors_of_a_service_come_through_untouched() {
    let world = World::new().await;
    let client = world.client().await;

    let at_once = client.call("alice.example", "ErrorAtOnce", &[]).await;
    assert!(at_once.trailers_only);
    assert_eq!(at_once.code(), Code::FailedPrecondition);

    let later = client.call("alice.example", "ErrorInTheMiddle", &[]).await;
    assert_eq!(later.text(), "first");
    assert_eq!(later.code(), Code::Internal);

    for answer in [at_once.headers, later.trailers] {
        assert_eq!(answer["grpc-message"], "as%20asked");
        assert_eq!(answer["grpc-status-details-bin"], "CAk");
    }
}

#[tokio::test]
async fn both_sides_may_talk_in_turn() {
    let world = World::new().await;
    let client = world.client().await;
    let mut call = client
        .begin("alice.example", "/hamlet.files.v1.FilesService/Echo", &[])
        .await;
    let mut body = (&mut call.response).await.unwrap().into_body();
    for turn in 0..20 {
        let said = Bytes::from(format!("turn {turn}"));
        call.upload.send_data(said.clone(), false).unwrap();
        assert_eq!(body.data().await.unwrap().unwrap(), said);
    }
    call.upload.send_data(Bytes::new(), true).unwrap();
    assert!(body.data().await.is_none());
    assert_eq!(body.trailers().await.unwrap().unwrap()["grpc-status"], "0");
}

#[tokio::test]
async fn an_upload_of_many_windows_arrives_whole() {
    let world = World::new().await;
    let client = world.client().await;
    let mut call = client
        .begin(
            "alice.example",
            "/hamlet.files.v1.FilesService/Collect",
            &[],
        )
        .await;
    call.upload
        .send_data(Bytes::from(vec![1; 3 << 20]), true)
        .unwrap();
    assert_eq!(call.finish().await.code(), Code::Ok);
    world.files.wait_for(&Event::Received(3 << 20)).await;
}

#[tokio::test]
async fn a_cancelled_call_is_cancelled_at_the_service() {
    let world = World::new().await;
    let client = world.client().await;
    let path = |method| format!("/hamlet.files.v1.FilesService/{method}");

    // Before the head.
    let call = client.begin("alice.example", &path("Silence"), &[]).await;
    world.files.wait_for(&Event::Begun).await;
    call.cancel();
    world.files.wait_for(&Event::Reset).await;

    // In the middle of the answer.
    let mut call = client.begin("alice.example", &path("Endless"), &[]).await;
    let mut body = (&mut call.response).await.unwrap().into_body();
    body.data().await.unwrap().unwrap();
    drop(body);
    call.cancel();
    world.files.wait_for(&Event::Reset).await;

    // In the middle of the upload.
    let mut call = client.begin("alice.example", &path("Collect"), &[]).await;
    call.upload
        .send_data(Bytes::from_static(b"some"), false)
        .unwrap();
    world.files.wait_for(&Event::Begun).await;
    call.cancel();
    world.files.wait_for(&Event::Reset).await;

    // While the upload waits for a service that reads nothing.
    let mut call = client.begin("alice.example", &path("Deaf"), &[]).await;
    call.upload
        .send_data(Bytes::from(vec![1; 1 << 20]), false)
        .unwrap();
    let body = (&mut call.response).await.unwrap().into_body();
    drop(body);
    call.cancel();
    world.files.wait_for(&Event::Reset).await;
}

#[tokio::test]
async fn a_service_stops_producing_when_the_reader_stops() {
    let world = World::new().await;
    let client = Client::with_window(world.public, 32 * 1024).await;
    let mut call = client
        .begin(
            "alice.example",
            "/hamlet.files.v1.FilesService/Endless",
            &[],
        )
        .await;
    let body = (&mut call.response).await.unwrap().into_body();
    let sent = world.files.stalled_at().await;
    // The windows and buffers of both hops, and no more.
    assert!(sent < 2 << 20, "{sent} bytes were produced for nobody");
    drop(body);
}

#[tokio::test]
async fn readers_that_stopped_do_not_stop_the_others() {
    let world = World::with(|config| config.limits.upstream_connections = 1).await;
    let stalled = Client::with_window(world.public, 1024).await;
    let mut held = Vec::new();
    // More than the usual sixteen windows of a connection.
    for _ in 0..20 {
        let mut call = stalled
            .begin(
                "alice.example",
                "/hamlet.files.v1.FilesService/Endless",
                &[],
            )
            .await;
        let body = (&mut call.response).await.unwrap().into_body();
        held.push((call, body));
    }
    for _ in 0..20 {
        world.files.stalled_at().await;
    }
    let answer = world
        .client()
        .await
        .call("alice.example", "Headers", &[])
        .await;
    assert_eq!(answer.code(), Code::Ok);
}

#[tokio::test]
async fn a_call_ends_at_its_deadline() {
    let world = World::new().await;
    let client = world.client().await;
    let timeout = [("grpc-timeout", "300m")];

    let silent = client.call("alice.example", "Silence", &timeout).await;
    assert!(silent.trailers_only);
    assert_eq!(silent.code(), Code::DeadlineExceeded);
    world.files.wait_for(&Event::Reset).await;

    let endless = client.call("alice.example", "Endless", &timeout).await;
    assert!(!endless.trailers_only);
    assert_eq!(endless.code(), Code::DeadlineExceeded);
    world.files.wait_for(&Event::Reset).await;

    let wrong = client
        .call("alice.example", "Headers", &[("grpc-timeout", "soon")])
        .await;
    assert_eq!(wrong.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_deadline_is_kept_even_for_a_reader_that_stopped() {
    let world = World::new().await;
    let client = Client::with_window(world.public, 1024).await;
    let path = "/hamlet.files.v1.FilesService/Endless";
    let mut call = client
        .begin("alice.example", path, &[("grpc-timeout", "2S")])
        .await;
    let body = (&mut call.response).await.unwrap().into_body();
    world.files.stalled_at().await;
    world.files.wait_for(&Event::Reset).await;
    drop(body);
}

#[tokio::test]
async fn nobody_may_ask_for_more_time_than_there_is() {
    let world = World::with(|config| config.limits.deadline = Duration::from_millis(300)).await;
    let client = world.client().await;
    for headers in [&[("grpc-timeout", "1H")][..], &[]] {
        let answer = client.call("alice.example", "Silence", headers).await;
        assert_eq!(answer.code(), Code::DeadlineExceeded);
    }
    let told = client
        .call("alice.example", "Headers", &[("grpc-timeout", "1H")])
        .await
        .text();
    let left = told
        .lines()
        .find_map(|line| line.strip_prefix("grpc-timeout: "))
        .unwrap();
    let millis: u64 = left.strip_suffix('m').unwrap().parse().unwrap();
    assert!(millis <= 300 + 250, "{left}");
}

#[tokio::test]
async fn more_calls_than_streams_wait_for_their_turn() {
    // Once the instance's share is what is too small, once the streams of the one connection.
    for (share, connections) in [(4, 2), (1000, 1)] {
        let world = World::with(|config| {
            config.limits.streams_per_instance = share;
            config.limits.upstream_connections = connections;
        })
        .await;
        let client = world.client().await;
        let mut calls = Vec::new();
        for _ in 0..100 {
            let client = client.clone();
            calls.push(tokio::spawn(async move {
                client.call("alice.example", "Headers", &[]).await
            }));
        }
        for call in calls {
            assert_eq!(call.await.unwrap().code(), Code::Ok);
        }
    }
}

#[tokio::test]
async fn an_instance_that_is_too_busy_is_told_so_and_others_are_not() {
    let world = World::with(|config| {
        config.limits.streams_per_instance = 2;
        config.limits.queue_timeout = Duration::from_millis(100);
    })
    .await;
    world
        .directory
        .set("bob.example", active_instance("bob.example"));
    let client = world.client().await;
    let path = "/hamlet.files.v1.FilesService/Silence";
    let mut held = [
        client.begin("alice.example", path, &[]).await,
        client.begin("alice.example", path, &[]).await,
    ];
    for call in &mut held {
        call.upload
            .send_data(Bytes::from_static(b"\0\0\0\0\0"), true)
            .unwrap();
    }
    world.files.wait_for(&Event::Begun).await;
    world.files.wait_for(&Event::Begun).await;
    let refused = client.call("alice.example", "Headers", &[]).await;
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(reason(&refused.status()), "TOO_MANY_CALLS");
    assert_eq!(
        client.call("bob.example", "Headers", &[]).await.code(),
        Code::Ok
    );
    // A call that ends makes room.
    for call in held {
        call.cancel();
    }
    eventually("there is room again", async || {
        client.call("alice.example", "Headers", &[]).await.code() == Code::Ok
    })
    .await;
}

#[tokio::test]
async fn an_odd_call_is_refused_in_plain_http() {
    let world = World::new().await;
    let get = http::Request::get("http://alice.example/hamlet.files.v1.FilesService/Headers")
        .header("content-type", "application/grpc")
        .body(())
        .unwrap();
    assert_eq!(world.client().await.request(get).await.http_status, 405);
    let old = crate::support::http(
        world.public,
        b"POST /hamlet.files.v1.FilesService/Headers HTTP/1.1\r\nhost: alice.example\r\ncontent-type: application/grpc\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(old.starts_with("HTTP/1.1 505"), "{old}");
    assert!(world.files.was_left_alone().await);
}

/// As many as one client may have at work, each of several frames.
#[tokio::test]
async fn many_large_calls_of_one_client_are_no_abuse() {
    let world = World::new().await;
    let message = {
        let mut message = vec![0, 0, 1, 0, 0];
        message.extend(vec![7; 64 * 1024]);
        Bytes::from(message)
    };
    let mut calls = Vec::new();
    for _ in 0..8 {
        let client = Client::with_window(world.public, 1 << 20).await;
        for _ in 0..30 {
            let (client, message) = (client.clone(), message.clone());
            calls.push(tokio::spawn(async move {
                let path = "/hamlet.files.v1.FilesService/Collect";
                let mut call = client.begin("alice.example", path, &[]).await;
                call.upload.send_data(message, true).unwrap();
                call.finish().await.code()
            }));
        }
    }
    for call in calls {
        assert_eq!(call.await.unwrap(), Code::Ok);
    }
}

/// What has arrived of a call is all sent on, in whatever pieces it came and however long the call waited for its turn.
#[tokio::test]
async fn a_call_that_waits_loses_nothing() {
    let world = World::with(|config| config.limits.streams_per_instance = 8).await;
    let client = Client::with_window(world.public, 1 << 20).await;
    let path = "/hamlet.files.v1.FilesService/Echo";
    // Sent on without its whole message, because a service may speak first.
    let mut slow = client.begin("alice.example", path, &[]).await;
    let mut sent = Vec::new();
    for piece in [&b"\0\0\0"[..], b"\0\x0ahal", b"f a ", b"word"] {
        slow.upload
            .send_data(Bytes::copy_from_slice(piece), false)
            .unwrap();
        sent.extend_from_slice(piece);
        tokio::time::sleep(Duration::from_millis(450)).await;
    }
    slow.upload.send_data(Bytes::new(), true).unwrap();
    assert_eq!(slow.finish().await.body, sent);

    // Large ones wait for their turns; their last piece is small.
    let mut message = vec![0, 0, 1, 0, 0];
    message.extend((0..64 * 1024).map(|number: u32| number.to_le_bytes()[0]));
    let message = Bytes::from(message);
    let mut calls = Vec::new();
    for _ in 0..60 {
        let (client, message) = (client.clone(), message.clone());
        calls.push(tokio::spawn(async move {
            let mut call = client.begin("alice.example", path, &[]).await;
            call.upload.send_data(message.clone(), true).unwrap();
            call.finish().await.body == message
        }));
    }
    for call in calls {
        assert!(call.await.unwrap(), "a message was changed on its way");
    }
}
