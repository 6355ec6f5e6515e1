//! Instances that another server serves, behind the gate.

use std::{sync::atomic::Ordering, time::Duration};

use hamlet_proto::hamlet::instance::v1::{
    Backend, ResolveHostResponse, resolve_host_response::HostState,
};
use test_kit::{Nobody, fake::active_instance};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::support::{Oddity, Oddly, SOON, Web, World, http};

/// Hamlet's word takes effect within this time.
const AT_ONCE: Duration = Duration::from_secs(1);

/// `alice.example`, served by a server at these addresses.
fn served_by(addresses: &[std::net::SocketAddr]) -> ResolveHostResponse {
    let addresses = addresses.iter().map(|address| format!("http://{address}"));
    let mut alice = active_instance("alice.example");
    alice.backend = Some(Backend {
        addresses: addresses.collect(),
        own: Vec::new(),
    });
    alice
}

async fn world() -> (World, Web) {
    let web = Web::start().await;
    let world = World::new().await;
    world
        .directory
        .set("alice.example", served_by(&[web.address]));
    (world, web)
}

async fn behind(oddly: Oddly) -> (World, Oddity) {
    let oddity = Oddity::start(oddly).await;
    let world = World::new().await;
    world
        .directory
        .set("alice.example", served_by(&[oddity.address]));
    (world, oddity)
}

fn get(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: alice.example\r\nconnection: close\r\n{more}\r\n")
}

async fn ask(world: &World, path: &str, more: &str) -> String {
    http(world.public, get(path, more).as_bytes()).await
}

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    let reading = async {
        while !String::from_utf8_lossy(&read).contains(end) {
            if stream.read_buf(&mut read).await.unwrap() == 0 {
                break;
            }
        }
    };
    timeout(SOON, reading).await.expect("it never came");
    String::from_utf8_lossy(&read).into_owned()
}

/// Reads to the end, however it comes.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    let ended = timeout(SOON, stream.read_to_end(&mut read)).await;
    ended.expect("it never ended").ok();
    read
}

#[tokio::test]
async fn everything_of_a_person_goes_to_the_backend() {
    let (world, _web) = world().await;
    let mut app = served_by(&[_web.address]);
    app.app_slug = "drive".to_owned();
    world.directory.set("drive.alice.example", app);
    let answer = ask(
        &world,
        "/files/headers?a=b",
        "x-hamlet-key: forged\r\nx-hamlet-tenant-bin: forged\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for told in [
        "GET /files/headers?a=b\n",
        "host: alice.example\n",
        "x-forwarded-for: 127.0.0.1\n",
        "x-forwarded-proto: http\n",
        "x-forwarded-host: alice.example\n",
        "forwarded: for=127.0.0.1;host=\"alice.example\";proto=http\n",
        "x-plain: kept",
    ] {
        assert!(answer.contains(told), "{told}: {answer}");
    }
    // Neither what the caller said nor what services of Hamlet's learn: the cluster key above all. And no secret comes back.
    assert!(!answer.contains("x-hamlet-"), "{answer}");

    // The backend knows none of these paths, and says so.
    for path in [
        "/",
        "/auth/login",
        "/auth/passphrase",
        "/status",
        "/version",
        "/apps",
        "/settings/flags",
        "/favicon.ico",
        "/.well-known/change-password",
    ] {
        let answer = ask(&world, path, "accept: text/html\r\n").await;
        assert!(answer.ends_with("nothing here"), "{path}: {answer}");
    }
    let put = "PUT /settings/passphrase HTTP/1.1\r\nhost: alice.example\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let answer = http(world.public, put.as_bytes()).await;
    assert!(answer.ends_with("nothing here"), "{answer}");
    let app =
        "GET /files/headers HTTP/1.1\r\nhost: drive.alice.example\r\nconnection: close\r\n\r\n";
    let answer = http(world.public, app.as_bytes()).await;
    assert!(answer.contains("host: drive.alice.example\n"), "{answer}");

    // What is for the process itself, and gRPC, stay Hamlet's.
    assert!(ask(&world, "/healthz", "").await.contains("ok\n"));
    let client = world.client().await;
    let called = client.call("alice.example", "Headers", &[]).await;
    assert_eq!(called.code(), tonic::Code::Ok);
    assert!(called.text().contains("x-hamlet-"));
}

#[tokio::test]
async fn own_groups_stay_with_hamlet() {
    let (web, own) = (Web::start().await, Web::start().await);
    let world = World::with(|config| {
        config.apps_service = format!("http://{}", own.address);
        config.http_routes.paths = vec![("/apps".to_owned(), gateway::Service::Apps)];
    })
    .await;
    let mut alice = served_by(&[web.address]);
    alice.backend.as_mut().unwrap().own = vec!["apps".to_owned()];
    world.directory.set("alice.example", alice);
    let before = own.connections.load(Ordering::Relaxed);
    assert!(ask(&world, "/apps/x", "").await.ends_with("nothing here"));
    assert!(own.connections.load(Ordering::Relaxed) > before);
    let before = web.connections.load(Ordering::Relaxed);
    ask(&world, "/konnectors/x", "").await;
    assert!(web.connections.load(Ordering::Relaxed) > before);
}

#[tokio::test]
async fn bodies_ranges_trailers_and_tunnels_pass() {
    let (world, mut web) = world().await;
    let client = world.client().await;
    let post = ::http::Request::post("http://alice.example/files/echo")
        .body(())
        .unwrap();
    let body = vec![7; 1 << 20];
    assert_eq!(client.send(post, body.clone()).await.body, body);
    let trailers = ::http::Request::get("http://alice.example/files/trailers")
        .header("te", "trailers")
        .body(())
        .unwrap();
    assert_eq!(client.request(trailers).await.trailers["x-sum"], "7");
    let part = ask(&world, "/files/range", "range: bytes=2-4\r\n").await;
    assert!(
        part.starts_with("HTTP/1.1 206") && part.ends_with("cde"),
        "{part}"
    );
    let head = get("/files/headers", "").replacen("GET", "HEAD", 1);
    let head = http(world.public, head.as_bytes()).await;
    assert!(
        head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"),
        "{head}"
    );

    let mut socket = socket(&world).await;
    socket.write_all(b"hello").await.unwrap();
    assert_eq!(read_until(&mut socket, "hello").await, "hello");
    drop(socket);
    let event = timeout(SOON, web.events.recv()).await.unwrap();
    assert_eq!(event, Some("the tunnel ended"));
}

/// An open WebSocket.
async fn socket(world: &World) -> TcpStream {
    let mut stream = TcpStream::connect(world.public).await.unwrap();
    stream
        .write_all(
            b"GET /files/socket HTTP/1.1\r\nhost: alice.example\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n",
        )
        .await
        .unwrap();
    let switched = read_until(&mut stream, "\r\n\r\n").await;
    assert!(switched.starts_with("HTTP/1.1 101"), "{switched}");
    stream
}

#[tokio::test]
async fn a_body_waits_until_the_backend_wants_it() {
    let (world, _web) = world().await;
    let head = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: alice.example\r\nconnection: close\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n"
        )
    };
    let mut stream = TcpStream::connect(world.public).await.unwrap();
    stream
        .write_all(head("/files/refuse").as_bytes())
        .await
        .unwrap();
    let refused = read_until(&mut stream, "too much").await;
    assert!(refused.starts_with("HTTP/1.1 413"), "{refused}");
    let mut stream = TcpStream::connect(world.public).await.unwrap();
    stream
        .write_all(head("/files/collect").as_bytes())
        .await
        .unwrap();
    let wanted = read_until(&mut stream, "\r\n\r\n").await;
    assert!(wanted.starts_with("HTTP/1.1 100"), "{wanted}");
    stream.write_all(b"12345").await.unwrap();
    let answer = read_until(&mut stream, "\r\n\r\n5").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn nothing_passes_once_hamlet_has_blocked_the_instance() {
    for told in [true, false] {
        let (world, mut web) = world().await;
        let changes = told.then(|| world.directory.tell_changes());
        let mut socket = socket(&world).await;
        let mut events = TcpStream::connect(world.public).await.unwrap();
        events
            .write_all(get("/files/events", "").as_bytes())
            .await
            .unwrap();
        read_until(&mut events, "data: tick").await;
        let mut upload = TcpStream::connect(world.public).await.unwrap();
        let head =
            "POST /files/collect HTTP/1.1\r\nhost: alice.example\r\ncontent-length: 9\r\n\r\nabc";
        upload.write_all(head.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;

        let mut blocked = served_by(&[web.address]);
        blocked.set_state(HostState::Blocked);
        blocked.blocking_reason = "PAYMENT_FAILED".to_owned();
        world.directory.set("alice.example", blocked);
        if let Some(changes) = &changes {
            changes.instance_of("alice.example");
        }
        let begun = Instant::now();
        rest(&mut socket).await;
        rest(&mut events).await;
        let answer = String::from_utf8(rest(&mut upload).await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains("INSTANCE_WITHDRAWN"), "{answer}");
        assert!(
            begun.elapsed() < AT_ONCE,
            "{:?}, told: {told}",
            begun.elapsed()
        );
        for path in [
            "/",
            "/files/headers",
            "/settings/x",
            "/move/importing",
            "/status",
            "/robots.txt",
        ] {
            let answer = ask(&world, path, "accept: application/json\r\n").await;
            assert!(answer.starts_with("HTTP/1.1 402"), "{path}: {answer}");
        }
        // The backend saw that its streams ended.
        for _ in 0..2 {
            timeout(SOON, web.events.recv()).await.unwrap().unwrap();
        }
    }
}

/// A request that waits for its turn during the block does not pass after it.
#[tokio::test]
async fn a_request_that_has_waited_is_looked_at_again() {
    let web = Web::start().await;
    let world = World::with(|config| {
        config.limits.streams_per_instance = 1;
        config.limits.queue_timeout = Duration::from_secs(15);
    })
    .await;
    let changes = world.directory.tell_changes();
    world
        .directory
        .set("alice.example", served_by(&[web.address]));
    let mut first = TcpStream::connect(world.public).await.unwrap();
    let head =
        "POST /files/collect HTTP/1.1\r\nhost: alice.example\r\ncontent-length: 9\r\n\r\nabc";
    first.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let public = world.public;
    let waiting =
        tokio::spawn(async move { http(public, get("/files/headers", "").as_bytes()).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let before = web.requests.load(Ordering::Relaxed);
    let mut blocked = served_by(&[web.address]);
    blocked.set_state(HostState::Blocked);
    world.directory.set("alice.example", blocked);
    changes.instance_of("alice.example");
    // The first one ends, and gives its turn back.
    rest(&mut first).await;
    let answer = waiting.await.unwrap();
    assert!(answer.contains("INSTANCE_WITHDRAWN"), "{answer}");
    let checks = web.requests.load(Ordering::Relaxed) - before;
    assert!(checks <= 2, "{checks} requests beside the checks");
}

#[tokio::test]
async fn each_state_of_hamlets_refuses_what_runs_and_what_comes() {
    for state in [HostState::Deleting, HostState::Deleted] {
        let (world, web) = world().await;
        let mut socket = socket(&world).await;
        let mut changed = served_by(&[web.address]);
        changed.set_state(state);
        world.directory.set("alice.example", changed);
        let begun = Instant::now();
        rest(&mut socket).await;
        assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
        assert!(
            ask(&world, "/files/headers", "")
                .await
                .starts_with("HTTP/1.1 404")
        );
    }
    // Destroyed, or taken over by another instance.
    let (world, web) = world().await;
    let mut socket = socket(&world).await;
    let mut another = served_by(&[web.address]);
    another.tenant.as_mut().unwrap().id = "another".to_owned();
    world.directory.set("alice.example", another);
    let begun = Instant::now();
    rest(&mut socket).await;
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn states_of_the_original_close_what_it_closes() {
    let (world, web) = world().await;
    let set = |state: HostState, reason: &str| {
        let mut alice = served_by(&[web.address]);
        alice.set_state(state);
        alice.blocking_reason = reason.to_owned();
        alice.set_by_other_software = true;
        world.directory.set("alice.example", alice);
    };
    let refused = async |path: &str, accept: &str| {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let answer = ask(&world, path, accept).await;
        let line = answer.lines().next().unwrap_or_default().to_owned();
        (line, answer)
    };
    let json = "accept: application/json\r\n";
    let page = "accept: text/html\r\n";

    set(HostState::Deleting, "");
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(refused("/auth/login", page).await.1.contains("<html"));
    assert_eq!(
        refused("/auth/login", page).await.0,
        "HTTP/1.1 404 Not Found"
    );
    assert!(
        refused("/files/headers", json)
            .await
            .1
            .contains("host: alice.example")
    );

    set(HostState::Blocked, "PAYMENT_FAILED");
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(
        refused("/files/headers", json).await.0,
        "HTTP/1.1 402 Payment Required"
    );
    assert!(
        refused("/settings/x", json)
            .await
            .1
            .ends_with("nothing here")
    );

    set(HostState::Blocked, "IMPORTING");
    tokio::time::sleep(Duration::from_millis(600)).await;
    let (line, answer) = refused("/", page).await;
    assert_eq!(line, "HTTP/1.1 302 Found");
    assert!(answer.contains("location: /move/importing\r\n"), "{answer}");
    assert_eq!(
        refused("/files/headers", json).await.0,
        "HTTP/1.1 503 Service Unavailable"
    );
    assert!(
        refused("/move/importing", page)
            .await
            .1
            .ends_with("nothing here")
    );

    // Its own block ends what it closes, and only that.
    set(HostState::Active, "");
    tokio::time::sleep(Duration::from_millis(600)).await;
    let mut socket = socket(&world).await;
    set(HostState::Blocked, "LOGIN_FAILED");
    rest(&mut socket).await;
}

#[tokio::test]
async fn a_backend_that_is_away_is_told_of_at_once_and_found_again() {
    let nobody = Nobody::at_loopback();
    let gone = nobody.address;
    let world = World::new().await;
    world.directory.set("alice.example", served_by(&[gone]));
    let json = ask(&world, "/files/headers", "accept: application/json\r\n").await;
    assert!(
        json.starts_with("HTTP/1.1 503") && json.contains("SERVICE_OUT_OF_REACH"),
        "{json}"
    );
    assert!(json.contains("retry-after: "), "{json}");
    assert!(!json.contains("127.0.0.1"), "{json}");
    let page = ask(&world, "/", "accept: text/html\r\n").await;
    assert!(
        page.starts_with("HTTP/1.1 503") && page.contains("<html"),
        "{page}"
    );
    let degraded = async || {
        ask(&world, "/readyz", "")
            .await
            .contains("a backend does not answer")
    };
    for _ in 0..3 {
        ask(&world, "/", "").await;
    }
    assert!(degraded().await);
    drop(nobody);
    let web = Web::start_at(gone).await;
    let begun = Instant::now();
    while !ask(&world, "/files/headers", "")
        .await
        .starts_with("HTTP/1.1 200")
    {
        assert!(begun.elapsed() < SOON, "it never came back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!degraded().await);
    drop(web);
}

#[tokio::test]
async fn several_addresses_take_turns_and_one_that_is_away_is_left_out() {
    let (one, two) = (Web::start().await, Web::start().await);
    let nobody = Nobody::at_loopback();
    let world = World::new().await;
    let all = [one.address, nobody.address, two.address];
    world.directory.set("alice.example", served_by(&all));
    for _ in 0..30 {
        let answer = ask(&world, "/files/headers", "").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    for web in [&one, &two] {
        assert!(web.requests.load(Ordering::Relaxed) >= 10);
    }
}

#[tokio::test]
async fn connections_are_used_again_and_bounded() {
    let web = Web::start().await;
    let world = World::with(|config| {
        config.limits.backend_connections = 2;
        config.limits.queue_timeout = Duration::from_millis(300);
    })
    .await;
    world
        .directory
        .set("alice.example", served_by(&[web.address]));
    for _ in 0..20 {
        ask(&world, "/files/headers", "").await;
    }
    // Checks have connections of their own.
    assert!(web.connections.load(Ordering::Relaxed) < 15);
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut upload = TcpStream::connect(world.public).await.unwrap();
        let head =
            "POST /files/collect HTTP/1.1\r\nhost: alice.example\r\ncontent-length: 9\r\n\r\nabc";
        upload.write_all(head.as_bytes()).await.unwrap();
        held.push(upload);
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    let answer = ask(&world, "/files/headers", "").await;
    assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
    held.clear();
    let begun = Instant::now();
    while !ask(&world, "/files/headers", "")
        .await
        .starts_with("HTTP/1.1 200")
    {
        assert!(begun.elapsed() < SOON);
    }
}

#[tokio::test]
async fn a_request_that_may_have_arrived_is_not_sent_again() {
    let (world, oddity) = behind(Oddly::Closes("")).await;
    let post = "POST /files/once HTTP/1.1\r\nhost: alice.example\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let answer = http(world.public, post.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    assert!(answer.contains("retry-after: "), "{answer}");
    assert_eq!(oddity.requests.load(Ordering::Relaxed), 1);
    // A caller can make a server break off, and takes it away from nobody.
    for _ in 0..5 {
        let answer = ask(&world, "/files/once", "").await;
        assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    }
    assert_eq!(oddity.requests.load(Ordering::Relaxed), 6);
}

/// A slow backend is waited for as long as a call may take, and it stays in use: one caller's slow page says nothing of the
/// others.
#[tokio::test]
async fn a_slow_backend_is_not_waited_for_without_end() {
    let oddity = Oddity::start(Oddly::Waits("")).await;
    let world = World::with(|config| config.limits.deadline = Duration::from_millis(500)).await;
    world
        .directory
        .set("alice.example", served_by(&[oddity.address]));
    for _ in 0..4 {
        let answer = ask(&world, "/files/x", "").await;
        assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
    }
    assert_eq!(oddity.requests.load(Ordering::Relaxed), 4);
    assert!(!ask(&world, "/readyz", "").await.contains("a backend"));
}

#[tokio::test]
async fn wrong_framing_of_the_backend_harms_nobody() {
    for odd in [
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n12345",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n12345",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n12345\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        "nonsense\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    ] {
        let (world, _oddity) = behind(Oddly::Closes(odd)).await;
        let answer = ask(&world, "/files/x", "").await;
        let is_refused = answer.starts_with("HTTP/1.1 502");
        // A body that goes wrong breaks off, and does not look whole.
        let is_broken = answer.is_empty()
            || (answer.starts_with("HTTP/1.1 200") && !answer.ends_with("0\r\n\r\n"));
        assert!(is_refused || is_broken, "{odd:?}: {answer}");
        assert!(!answer.contains("12345"), "{odd:?}: {answer}");
    }
    let short = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbegin";
    let (world, _oddity) = behind(Oddly::Closes(short)).await;
    let answer = ask(&world, "/files/x", "").await;
    assert!(
        answer.contains("content-length: 100") && answer.ends_with("begin"),
        "{answer}"
    );
}

#[tokio::test]
async fn what_follows_a_response_is_no_response_to_another_request() {
    let two = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\noneHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged";
    let (world, oddity) = behind(Oddly::Waits(two)).await;
    for _ in 0..3 {
        let answer = ask(&world, "/files/x", "").await;
        assert!(answer.ends_with("one"), "{answer}");
    }
    assert_eq!(oddity.requests.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_backend_may_answer_before_the_body() {
    let early = "HTTP/1.1 413 Payload Too Large\r\ncontent-length: 3\r\n\r\nbig";
    for oddly in [Oddly::Waits(early), Oddly::Closes(early)] {
        let (world, _oddity) = behind(oddly).await;
        let mut stream = TcpStream::connect(world.public).await.unwrap();
        let head =
            "POST /files/x HTTP/1.1\r\nhost: alice.example\r\ncontent-length: 1000000\r\n\r\nabc";
        stream.write_all(head.as_bytes()).await.unwrap();
        let answer = read_until(&mut stream, "big").await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    }
}

/// What a client sends so that a front and a back disagree about requests, hosts and headers.
#[tokio::test]
async fn a_backend_sees_one_well_formed_request_for_each() {
    let (world, mut oddity) = behind(Oddly::Closes(
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ))
    .await;
    for (framing, body) in [
        ("content-length: 5\r\ncontent-length: 6\r\n", "12345"),
        ("transfer-encoding: gzip\r\n", "12345"),
        ("content-length: +5\r\n", "12345"),
        ("content-length: 5, 6\r\n", "12345"),
        ("transfer-encoding: chunked, identity\r\n", "0\r\n\r\n"),
        ("transfer-encoding : chunked\r\n", "0\r\n\r\n"),
        ("host: bob.example\r\n", ""),
        ("x: a\r\n b\r\n", ""),
        ("x: a\0b\r\n", ""),
    ] {
        let request = format!(
            "POST /files/x HTTP/1.1\r\nhost: alice.example\r\nconnection: close\r\n{framing}\r\n{body}"
        );
        let answer = http(world.public, request.as_bytes()).await;
        assert!(
            answer.starts_with("HTTP/1.1 4") || answer.is_empty(),
            "{framing:?}: {answer}"
        );
    }
    assert_eq!(oddity.requests.load(Ordering::Relaxed), 0);
    let both = "POST /files/x HTTP/1.1\r\nhost: alice.example\r\nconnection: close\r\n\
                content-length: 100\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let answer = http(world.public, both.as_bytes()).await;
    if answer.starts_with("HTTP/1.1 200") {
        let head = oddity.heads.recv().await.unwrap();
        assert!(!head.contains("content-length"), "{head}");
    }
    // Whatever names the host, one host reaches the backend, and hop-by-hop names take nothing away.
    let odd = "GET http://alice.example/files/x HTTP/1.1\r\nhost: ALICE.example.:80\r\n\
               connection: close, host, x-forwarded-for, x-custom\r\nx-custom: gone\r\n\
               x-forwarded-host: bob.example\r\nx-real-ip: 9.9.9.9\r\nforwarded: host=bob.example\r\n\r\n";
    let answer = http(world.public, odd.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let head = oddity.heads.recv().await.unwrap().to_lowercase();
    assert!(head.starts_with("get /files/x http/1.1\r\n"), "{head}");
    assert_eq!(head.matches("\r\nhost: ").count(), 1, "{head}");
    assert!(
        head.contains("\r\nhost: alice.example\r\n") && head.contains("x-forwarded-for: 127.0.0.1"),
        "{head}"
    );
    for gone in ["bob.example", "9.9.9.9", "x-custom", "x-hamlet-"] {
        assert!(!head.contains(gone), "{gone}: {head}");
    }
}

/// One client cannot take all that lasts.
#[tokio::test]
async fn tunnels_are_bounded() {
    let web = Web::start().await;
    let world = World::with(|config| config.limits.backend_tunnels = 4).await;
    world
        .directory
        .set("alice.example", served_by(&[web.address]));
    let held = [socket(&world).await, socket(&world).await];
    let request = get("/files/socket", "").replacen(
        "connection: close",
        "connection: upgrade\r\nupgrade: websocket",
        1,
    );
    let mut refused = TcpStream::connect(world.public).await.unwrap();
    refused.write_all(request.as_bytes()).await.unwrap();
    let answer = read_until(&mut refused, "TOO_MANY_CALLS").await;
    assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
    // Requests go on.
    assert!(
        ask(&world, "/files/headers", "")
            .await
            .starts_with("HTTP/1.1 200")
    );
    drop(held);
    let begun = Instant::now();
    loop {
        let mut stream = TcpStream::connect(world.public).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        if read_until(&mut stream, "\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 101")
        {
            break;
        }
        assert!(begun.elapsed() < SOON);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
