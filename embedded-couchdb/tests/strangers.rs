//! What those may cost who have not logged in.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

mod support;

use std::time::Duration;

use support::{Embedded, basic};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// A request as it stands on the wire, without its body.
async fn begin(address: &str, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("{head}\r\nHost: db\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// The first line of what is answered.
async fn status_line(stream: &mut TcpStream) -> String {
    let mut seen = Vec::new();
    let reading = async {
        while !seen.contains(&b'\n') {
            if stream.read_buf(&mut seen).await.unwrap() == 0 {
                break;
            }
        }
    };
    timeout(Duration::from_secs(20), reading).await.unwrap();
    let text = String::from_utf8_lossy(&seen).into_owned();
    text.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_wrong_password_is_refused_before_the_body_is_asked_for() {
    let server = Embedded::start().await;
    let wrong = basic("admin", "wrong");
    let head = format!(
        "PUT /db/doc HTTP/1.1\r\nAuthorization: {wrong}\r\nExpect: 100-continue\r\nContent-Length: 200000000"
    );
    let mut stream = begin(&server.client.address, &head).await;
    assert_eq!(status_line(&mut stream).await, "HTTP/1.1 401 Unauthorized");
    server.stop().await;
}

#[tokio::test]
async fn a_stranger_cannot_send_what_an_administrator_can() {
    let server = Embedded::start().await;
    server.client.put("/db", &serde_json::json!({})).await;
    let announced = "POST /_session HTTP/1.1\r\nContent-Length: 8000001";
    let mut stream = begin(&server.client.address, announced).await;
    assert_eq!(
        status_line(&mut stream).await,
        "HTTP/1.1 413 Payload Too Large"
    );

    let chunked = "POST /_session HTTP/1.1\r\nTransfer-Encoding: chunked";
    let mut stream = begin(&server.client.address, chunked).await;
    let chunk = format!("{:x}\r\n{}\r\n", 1_000_000, "x".repeat(1_000_000));
    for _ in 0..9 {
        // The last ones may meet a closed connection.
        let _ = stream.write_all(chunk.as_bytes()).await;
    }
    assert_eq!(
        status_line(&mut stream).await,
        "HTTP/1.1 413 Payload Too Large"
    );

    let large = vec![b'x'; 9_000_000];
    let put = server
        .client
        .call(
            "PUT",
            "/db/doc/file",
            &[("content-type", "image/png")],
            &large,
        )
        .await;
    put.expect(201);
    server.stop().await;
}

#[tokio::test]
async fn strangers_share_little_memory_and_take_none_from_others() {
    let server = Embedded::start().await;
    server.client.put("/db", &serde_json::json!({})).await;
    let mut holding = Vec::new();
    for _ in 0..4 {
        let head = "PUT /db/doc HTTP/1.1\r\nContent-Length: 8000000";
        let mut stream = begin(&server.client.address, head).await;
        stream.write_all(b"{").await.unwrap();
        holding.push(stream);
    }
    test_kit::eventually("the next stranger is refused", async || {
        let head = "PUT /db/doc HTTP/1.1\r\nContent-Length: 8000000";
        let mut stream = begin(&server.client.address, head).await;
        stream.write_all(b"{").await.unwrap();
        let reading = timeout(Duration::from_millis(500), status_line(&mut stream)).await;
        match reading {
            Ok(line) => line == "HTTP/1.1 503 Service Unavailable",
            Err(_waits) => {
                holding.push(stream);
                false
            }
        }
    })
    .await;
    let small = server.client.put("/db/doc", &serde_json::json!({})).await;
    small.expect(201);
    let large = vec![b'x'; 60_000_000];
    let put = server
        .client
        .call(
            "PUT",
            "/db/other/file",
            &[("content-type", "image/png")],
            &large,
        )
        .await;
    put.expect(201);

    // What was held is given back.
    drop(holding);
    test_kit::eventually("a stranger is heard again", async || {
        let mut stream = begin(
            &server.client.address,
            "PUT /db/doc HTTP/1.1\r\nContent-Length: 2",
        )
        .await;
        stream.write_all(b"{}").await.unwrap();
        status_line(&mut stream).await == "HTTP/1.1 401 Unauthorized"
    })
    .await;
    server.stop().await;
}
