//! Requests that are no gRPC, on their way to the service that owns their path.

use ::http::Request;
use std::sync::atomic::Ordering;

use gateway::{HttpRoutes, Service};
use test_kit::{Nobody, fake::active_instance};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::support::{SOON, Web, World, http};

async fn world() -> (World, Web) {
    let web = Web::start().await;
    let world = World::with(|config| {
        config.files_service = format!("http://{}", web.address);
        config.apps_service = config.files_service.clone();
        config.http_routes = HttpRoutes {
            paths: vec![("/files".to_owned(), Service::Files)],
            alone: Vec::new(),
            app_hosts: Service::Apps,
        };
    })
    .await;
    let mut app = active_instance("alice.example");
    app.app_slug = "drive".to_owned();
    world.directory.set("drive.alice.example", app);
    (world, web)
}

fn get(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: alice.example\r\nconnection: close\r\n{more}\r\n")
}

/// Reads until `end` has come.
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
    String::from_utf8(read).unwrap()
}

#[tokio::test]
async fn what_is_for_one_hop_ends_and_the_rest_passes() {
    let (world, _web) = world().await;
    let request = get(
        "/files/headers?a=b",
        "x-hamlet-tenant-bin: forged\r\nx-custom: kept\r\nkeep-alive: x\r\nproxy-authorization: x\r\n\
         x-forwarded-for: 9.9.9.9\r\nte: trailers\r\n",
    );
    let answer = http(world.public, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    for told in [
        "GET /files/headers?a=b\n",
        "host: alice.example\n",
        "x-custom: kept\n",
        "x-forwarded-for: 127.0.0.1\n",
        "x-forwarded-proto: http\n",
        "x-hamlet-door: public\n",
        "te: trailers\n",
    ] {
        assert!(answer.contains(told), "{told}: {answer}");
    }
    for hidden in [
        "forged",
        "keep-alive",
        "proxy-authorization",
        "9.9.9.9",
        "x-hamlet-secret",
    ] {
        assert!(!answer.contains(hidden), "{hidden}: {answer}");
    }
    assert!(answer.contains("x-plain: kept"));
}

#[tokio::test]
async fn a_service_is_told_whose_app_a_host_names() {
    let (world, _web) = world().await;
    let ask = async |host: &str| {
        let request = get("/files/headers", "x-hamlet-app: forged\r\n");
        let request = request.replace("alice.example", host);
        http(world.public, request.as_bytes()).await
    };
    let app = ask("drive.alice.example").await;
    assert!(app.contains("x-hamlet-app: drive\n"), "{app}");
    assert!(app.contains("host: drive.alice.example\n"), "{app}");
    let instance = ask("alice.example").await;
    assert!(instance.starts_with("HTTP/1.1 200"), "{instance}");
    assert!(!instance.contains("x-hamlet-app"), "{instance}");
    assert!(!app.contains("forged"), "{app}");
}

#[tokio::test]
async fn http_2_requests_are_forwarded_alike() {
    let (world, _web) = world().await;
    let client = world.client().await;
    let answer = client
        .request(
            Request::get("http://alice.example/files/headers")
                .body(())
                .unwrap(),
        )
        .await;
    assert_eq!(answer.http_status, 200);
    assert!(answer.text().contains("host: alice.example\n"));

    let post = Request::post("http://alice.example/files/echo")
        .body(())
        .unwrap();
    let body = vec![7; 1 << 20];
    let answer = client.send(post, body.clone()).await;
    assert_eq!(answer.body, body);

    let get = Request::get("http://alice.example/files/trailers")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let answer = client.request(get).await;
    assert_eq!(answer.text(), "body");
    assert_eq!(answer.trailers["x-sum"], "7");
}

#[tokio::test]
async fn ranges_and_head_pass() {
    let (world, _web) = world().await;
    let part = http(
        world.public,
        get("/files/range", "range: bytes=2-4\r\n").as_bytes(),
    )
    .await;
    assert!(part.starts_with("HTTP/1.1 206"), "{part}");
    assert!(part.contains("content-range: bytes 2-4/26") && part.ends_with("cde"));
    let head = get("/files/headers", "").replacen("GET", "HEAD", 1);
    let head = http(world.public, head.as_bytes()).await;
    assert!(
        head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    assert!(length.unwrap().parse::<u32>().unwrap() > 0);
}

#[tokio::test]
async fn an_event_stream_is_not_held_back_and_ends_with_its_reader() {
    let (world, mut web) = world().await;
    let mut stream = TcpStream::connect(world.public).await.unwrap();
    stream
        .write_all(get("/files/events", "accept: text/event-stream\r\n").as_bytes())
        .await
        .unwrap();
    let begun = read_until(&mut stream, "data: tick").await;
    assert!(begun.starts_with("HTTP/1.1 200"));
    drop(stream);
    let event = timeout(SOON, web.events.recv()).await.unwrap();
    assert_eq!(event, Some("the stream was dropped"));
}

#[tokio::test]
async fn a_body_waits_for_a_service_that_may_not_want_it() {
    let (world, _web) = world().await;
    let head = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: alice.example\r\nconnection: close\r\ncontent-length: 5\r\n\
             expect: 100-continue\r\n\r\n"
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
async fn a_connection_is_upgraded() {
    let (world, mut web) = world().await;
    let mut stream = TcpStream::connect(world.public).await.unwrap();
    stream
        .write_all(
            b"GET /files/socket HTTP/1.1\r\nhost: alice.example\r\nconnection: keep-alive, Upgrade\r\n\
              upgrade: websocket\r\nsec-websocket-key: x\r\n\r\n",
        )
        .await
        .unwrap();
    let switched = read_until(&mut stream, "\r\n\r\n").await;
    assert!(switched.starts_with("HTTP/1.1 101"), "{switched}");
    assert!(switched.to_lowercase().contains("upgrade: websocket"));
    for word in [b"hello", b"world"] {
        stream.write_all(word).await.unwrap();
        let mut back = [0; 5];
        timeout(SOON, stream.read_exact(&mut back))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(&back, word);
    }
    drop(stream);
    let event = timeout(SOON, web.events.recv()).await.unwrap();
    assert_eq!(event, Some("the tunnel ended"));
}

#[tokio::test]
async fn a_response_that_breaks_off_does_not_look_whole() {
    let (world, _web) = world().await;
    let answer = http(world.public, get("/files/vanish", "").as_bytes()).await;
    assert!(
        answer.contains("begin") && !answer.ends_with("0\r\n\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_service_that_is_away_is_told_of() {
    let (world, _web) = world().await;
    let nobody = Nobody::at_loopback();
    let gone = nobody.address;
    let away = World::with(|config| {
        config.files_service = format!("http://{gone}");
        config.http_routes.paths = vec![("/files".to_owned(), Service::Files)];
    })
    .await;
    let json = http(
        away.public,
        get("/files/headers", "accept: application/json\r\n").as_bytes(),
    )
    .await;
    assert!(
        json.starts_with("HTTP/1.1 503") && json.contains("SERVICE_OUT_OF_REACH"),
        "{json}"
    );
    assert!(json.contains("retry-after: 1"));
    let page = http(
        away.public,
        get("/files/headers", "accept: text/html\r\n").as_bytes(),
    )
    .await;
    assert!(
        page.starts_with("HTTP/1.1 503") && page.contains("<html"),
        "{page}"
    );
    drop(world);
}

/// Shapes by which a front and a back disagree about where a request ends.
#[tokio::test]
async fn a_request_has_one_length() {
    let (world, _web) = world().await;
    for (framing, body) in [
        ("content-length: 5\r\ncontent-length: 6\r\n", "12345"),
        ("transfer-encoding: gzip\r\n", "12345"),
        ("content-length: +5\r\n", "12345"),
        ("content-length: 5, 6\r\n", "12345"),
        ("transfer-encoding: chunked, identity\r\n", "0\r\n\r\n"),
        ("transfer-encoding : chunked\r\n", "0\r\n\r\n"),
    ] {
        let request = format!(
            "POST /files/collect HTTP/1.1\r\nhost: alice.example\r\nconnection: close\r\n{framing}\r\n{body}"
        );
        let answer = http(world.public, request.as_bytes()).await;
        assert!(
            answer.starts_with("HTTP/1.1 4") || answer.is_empty(),
            "{framing:?}: {answer}"
        );
    }
    // With both, the chunks count, and no other length is passed on.
    let both = "POST /files/collect HTTP/1.1\r\nhost: alice.example\r\nconnection: close\r\n\
                content-length: 100\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let answer = http(world.public, both.as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 400") || answer.ends_with("\r\n\r\n3"),
        "{answer}"
    );
}

#[tokio::test]
async fn connections_to_the_service_are_used_again() {
    let (world, web) = world().await;
    let mut stream = TcpStream::connect(world.public).await.unwrap();
    for _ in 0..50 {
        stream
            .write_all(b"POST /files/echo HTTP/1.1\r\nhost: alice.example\r\ncontent-length: 4\r\n\r\nabcd")
            .await
            .unwrap();
        let answer = read_until(&mut stream, "abcd").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    // Health checks have connections of their own.
    let before = web.connections.load(Ordering::Relaxed);
    for path in ["/files/headers", "/files/nothing", "/files/trailers"] {
        for _ in 0..20 {
            let request = format!("GET {path} HTTP/1.1\r\nhost: alice.example\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            read_until(&mut stream, "HTTP/1.1").await;
        }
    }
    let taken = web.connections.load(Ordering::Relaxed) - before;
    assert!(taken < 10, "{taken} connections for 60 requests");
}
