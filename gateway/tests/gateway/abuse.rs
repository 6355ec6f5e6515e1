//! What a hostile caller can do, and what others notice of it.

use std::time::Duration;

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tonic::Code;

use crate::support::{Client, Event, SOON, World};

const SILENCE: &str = "/hamlet.files.v1.FilesService/Silence";

/// Calls that never send their message take nobody's turn.
#[tokio::test]
async fn calls_that_are_opened_and_not_finished_block_nobody() {
    let world = World::with(|config| {
        config.limits.streams_per_service = 16;
        config.limits.streams_per_instance = 8;
        config.limits.streams_per_client = 8;
    })
    .await;
    let hostile = world.client().await;
    let mut held = Vec::new();
    for number in 0..100 {
        let mut call = hostile.begin("alice.example", SILENCE, &[]).await;
        if number % 2 == 0 {
            // Half a message.
            call.upload
                .send_data(Bytes::from_static(b"\0\0\0\0\x09half"), false)
                .unwrap();
        }
        held.push(call);
    }
    let client = world.client().await;
    for _ in 0..100 {
        let answer = client.call("alice.example", "Headers", &[]).await;
        assert_eq!(answer.code(), Code::Ok, "{:?}", answer.status());
    }
    // Also one whose message comes a moment after its head.
    let path = "/hamlet.files.v1.FilesService/Headers";
    let mut split = client.begin("alice.example", path, &[]).await;
    tokio::time::sleep(Duration::from_millis(30)).await;
    split
        .upload
        .send_data(Bytes::from_static(b"\0\0\0\0\0"), true)
        .unwrap();
    assert_eq!(split.finish().await.code(), Code::Ok);
    // Also after some of them were sent on, as a service may speak first.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    for _ in 0..20 {
        let answer = client.call("alice.example", "Headers", &[]).await;
        assert_eq!(answer.code(), Code::Ok, "{:?}", answer.status());
    }
}

/// A reader that stops loses its turn when another call waits for it.
#[tokio::test]
async fn a_stalled_reader_gives_way() {
    let world = World::with(|config| {
        config.limits.streams_per_instance = 2;
        config.limits.queue_timeout = Duration::from_secs(15);
    })
    .await;
    let stalled = Client::with_window(world.public, 1024).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let path = "/hamlet.files.v1.FilesService/Endless";
        let mut call = stalled.begin("alice.example", path, &[]).await;
        call.upload
            .send_data(Bytes::from_static(b"\0\0\0\0\0"), true)
            .unwrap();
        let body = (&mut call.response).await.unwrap().into_body();
        held.push((call, body));
    }
    let client = world.client().await;
    let answer = client.call("alice.example", "Headers", &[]).await;
    assert_eq!(answer.code(), Code::Ok, "{:?}", answer.status());
    world.files.wait_for(&Event::Reset).await;
}

/// Small pieces do not keep the buffers in which they came: that held thousands of bytes for each.
#[tokio::test]
async fn a_message_in_single_bytes_arrives() {
    let world = World::new().await;
    let client = world.client().await;
    let path = "/hamlet.files.v1.FilesService/Echo";
    let mut call = client.begin("alice.example", path, &[]).await;
    let mut sent = b"\0\0\0\x01\0".to_vec();
    sent.extend((0..256_u32).map(|number| number.to_le_bytes()[0]));
    for (number, byte) in sent.iter().enumerate() {
        let last = number + 1 == sent.len();
        call.upload
            .send_data(Bytes::copy_from_slice(&[*byte]), last)
            .unwrap();
        if number % 16 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let answer = call.finish().await;
    assert_eq!(
        answer.body, sent,
        "{:?} {:?}",
        answer.headers, answer.trailers
    );
}

/// What a service says at length reaches the caller shortened, and harms no other call.
#[tokio::test]
async fn a_status_that_is_too_long_keeps_its_code() {
    let world = World::with(|config| config.limits.upstream_connections = 1).await;
    let client = world.client().await;
    let others: Vec<_> = (0..8)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.call("alice.example", "Headers", &[]).await })
        })
        .collect();
    for length in ["1000", "20000", "60000", "300000"] {
        let answer = client
            .call("alice.example", "LongError", &[("length", length)])
            .await;
        assert_eq!(answer.code(), Code::FailedPrecondition, "{length}");
        assert!(answer.status().message().starts_with("xxxx"));
    }
    for other in others {
        assert_eq!(other.await.unwrap().code(), Code::Ok);
    }
}

#[tokio::test]
async fn idle_connections_of_both_protocols_end() {
    let world = World::with(|config| config.limits.idle_timeout = Duration::from_millis(300)).await;
    let client = world.client().await;
    let answer = client.call("alice.example", "Headers", &[]).await;
    assert_eq!(answer.code(), Code::Ok);
    timeout(SOON, client.closed()).await.unwrap();

    let mut old = TcpStream::connect(world.public).await.unwrap();
    old.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    let mut all = Vec::new();
    timeout(SOON, old.read_to_end(&mut all))
        .await
        .unwrap()
        .unwrap();
    assert!(all.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn a_full_door_closes_idle_connections_and_serves() {
    let world = World::with(|config| config.limits.connections = 20).await;
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(TcpStream::connect(world.public).await.unwrap());
    }
    let client = world.client().await;
    for _ in 0..10 {
        let answer = client.call("alice.example", "Headers", &[]).await;
        assert_eq!(answer.code(), Code::Ok);
    }
}

#[tokio::test]
async fn a_half_closed_request_gets_its_answer() {
    let world = World::new().await;
    let mut stream = TcpStream::connect(world.public).await.unwrap();
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
    let mut all = Vec::new();
    timeout(SOON, stream.read_to_end(&mut all))
        .await
        .unwrap()
        .unwrap();
    assert!(
        all.starts_with(b"HTTP/1.1 200"),
        "{:?}",
        String::from_utf8_lossy(&all)
    );
}

/// Who guesses waits longer each time. A program with an old credential does not guess.
#[tokio::test]
async fn guesses_of_the_credential_are_slowed() {
    let world = World::new().await;
    let admin = world.administrator().await;
    let call = async |credential: &str| {
        let header = format!("Bearer {credential}");
        let sent = [("authorization", header.as_str())];
        admin.call("alice.example", "Headers", &sent).await
    };
    for _ in 0..50 {
        assert_eq!(call("an old one").await.code(), Code::Unauthenticated);
    }
    let mut refused = 0;
    for guess in 0..30 {
        let answer = call(&format!("guess {guess}")).await;
        if answer.code() == Code::ResourceExhausted {
            refused += 1;
        } else {
            assert_eq!(answer.code(), Code::Unauthenticated);
        }
    }
    assert!(refused >= 15, "{refused} of 30 were refused unseen");
}

#[tokio::test]
async fn a_caller_that_is_too_fast_is_told_when_to_come_back() {
    let world = World::with(|config| config.limits.rate_per_client = Some(10)).await;
    let client = world.client().await;
    let mut refused = 0;
    for _ in 0..30 {
        let answer = client.call("alice.example", "Headers", &[]).await;
        if answer.code() == Code::ResourceExhausted {
            use tonic_types::StatusExt as _;
            let retry = answer.status().get_details_retry_info().unwrap();
            assert!(retry.retry_delay.unwrap() <= Duration::from_millis(100));
            refused += 1;
        }
    }
    assert!((10..30).contains(&refused), "{refused} of 30 were refused");
}

#[tokio::test]
async fn a_method_that_does_not_exist_and_a_time_of_nothing_are_told() {
    let world = World::new().await;
    let client = world.client().await;
    let answer = client.call("alice.example", "Unimplemented", &[]).await;
    assert_eq!(answer.code(), Code::Unimplemented);
    assert!(
        answer.status().message().contains("/Unimplemented"),
        "{:?}",
        answer.status()
    );
    let answer = client
        .call("alice.example", "Headers", &[("grpc-timeout", "0S")])
        .await;
    assert_eq!(answer.code(), Code::InvalidArgument);
}

/// What still comes for cancelled calls does not end the connection on which the calls of others are.
#[tokio::test]
async fn callers_that_cancel_break_nobodys_calls() {
    let world = World::with(|config| {
        config.limits.upstream_connections = 1;
        config.limits.threads = Some(1);
    })
    .await;
    let path = "/hamlet.files.v1.FilesService/Endless";
    let client = world.client().await;
    for _ in 0..150 {
        // A client of `h2` itself bears no more on a connection.
        let hostile = world.client().await;
        let mut calls = Vec::new();
        for _ in 0..16 {
            let mut call = hostile.begin("alice.example", path, &[]).await;
            call.upload
                .send_data(Bytes::from_static(b"\0\0\0\0\0"), true)
                .unwrap();
            calls.push(call);
        }
        let answer = client.call("alice.example", "Headers", &[]).await;
        assert_eq!(answer.code(), Code::Ok, "{:?}", answer.status());
        for call in calls {
            call.cancel();
        }
    }
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// GOAWAY, after the last stream, with ENHANCE_YOUR_CALM.
const CALM: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 0x0b];

/// A connection of HTTP/2 with one call that goes on.
async fn connection_with_a_call(world: &World) -> TcpStream {
    let mut connection = TcpStream::connect(world.public).await.unwrap();
    // POST by http, with literals for the path, the host and two headers (RFC 7541).
    let mut head = vec![0x83, 0x86];
    for (name, value) in [
        (&[0x04][..], SILENCE),
        (&[0x01], "alice.example"),
        (&[0x0f, 0x10], "application/grpc"),
        (b"\0\x02te", "trailers"),
    ] {
        head.extend(name);
        head.push(u8::try_from(value.len()).unwrap());
        head.extend(value.as_bytes());
    }
    let mut begin = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    begin.extend(frame(4, 0, 0, &[]));
    begin.extend(frame(1, 4, 1, &head));
    connection.write_all(&begin).await.unwrap();
    connection
}

/// A flood of frames that carry nothing ends the connection that it is on, and no other.
#[tokio::test]
async fn a_flood_of_empty_data_is_told_to_calm_down() {
    let world = World::new().await;
    let client = world.client().await;
    let mut hostile = connection_with_a_call(&world).await;
    let mut heard = Vec::new();
    let mut sent = 0;
    // It ends by itself when it is told to.
    for _ in 0..5000 {
        if hostile.write_all(&frame(0, 0, 1, &[])).await.is_err() {
            break;
        }
        sent += 1;
        let reading = hostile.read_buf(&mut heard);
        if let Ok(Ok(0) | Err(_)) = timeout(Duration::from_millis(1), reading).await {
            break;
        }
    }
    assert!(sent < 5000, "the flood went on");
    assert!(
        heard.windows(8).any(|bytes| bytes == CALM),
        "after {sent}: {heard:?}"
    );
    let answer = client.call("alice.example", "Headers", &[]).await;
    assert_eq!(answer.code(), Code::Ok, "{:?}", answer.status());
}

/// So does a flood of each kind of frame that opens nothing and carries nothing.
#[tokio::test]
async fn a_flood_of_frames_that_carry_nothing_is_told_to_calm_down() {
    let world = World::new().await;
    let client = world.client().await;
    for (name, flood) in [
        ("PRIORITY", frame(2, 0, 1, &[0, 0, 0, 0, 1])),
        ("WINDOW_UPDATE", frame(8, 0, 1, &[0, 0, 0, 1])),
        ("PING", frame(6, 0, 0, &[0; 8])),
        ("PING that answers nothing", frame(6, 1, 0, &[0; 8])),
        ("SETTINGS", frame(4, 0, 0, &[])),
        ("a kind that nobody knows", frame(0xbb, 0, 0, &[])),
    ] {
        let hostile = connection_with_a_call(&world).await;
        let (mut listening, mut sending) = hostile.into_split();
        // What is heard is read, or answers would hold the flood up.
        let hearing = tokio::spawn(async move {
            let mut heard = Vec::new();
            while let Ok(1..) = listening.read_buf(&mut heard).await {}
            heard
        });
        let many = flood.repeat(100);
        let mut sent = 0;
        while sent < 300_000 && sending.write_all(&many).await.is_ok() {
            sent += 100;
        }
        let heard = timeout(SOON, hearing).await;
        let heard = heard.unwrap_or_else(|_| panic!("{name}: {sent} frames, and nothing ended"));
        let heard = heard.unwrap();
        assert!(
            heard.windows(8).any(|bytes| bytes == CALM),
            "{name}: nobody said why, after {sent}: {:?}",
            heard.last_chunk::<40>()
        );
        let answer = client.call("alice.example", "Headers", &[]).await;
        assert_eq!(answer.code(), Code::Ok, "{:?}", answer.status());
    }
}
