//! What the metrics say of connections that are in use.

use test_kit::eventually;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{Process, http};

const ASK: &str = "GET /metrics HTTP/1.1\r\nhost: metrics\r\nconnection: close\r\n\r\n";

/// Returns when the metrics have all of these lines.
async fn shown(process: &Process, lines: &[String]) {
    eventually(&format!("the metrics {lines:?}"), async || {
        let metrics = http(process.metrics, ASK.as_bytes()).await;
        let has = |line: &String| metrics.lines().any(|it| it == line);
        lines.iter().all(has).then_some(())
    })
    .await;
}

fn of_door(door: &str, connections: u32, tunnels: u32) -> [String; 2] {
    [
        format!("hamlet_door_connections{{door=\"{door}\"}} {connections}"),
        format!("hamlet_door_tunnels{{door=\"{door}\"}} {tunnels}"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_and_tunnels_count_while_they_are_in_use() {
    let process = Process::start().await;
    let tunnels_of_backend = |count: u32| {
        let address = process.backend;
        format!("hamlet_backend_tunnels{{address=\"http://{address}\"}} {count}")
    };
    shown(&process, &of_door("public", 0, 0)).await;
    shown(&process, &of_door("admin", 0, 0)).await;

    let mut tunnels = Vec::new();
    for _ in 0..3 {
        let mut tunnel = TcpStream::connect(process.public).await.unwrap();
        let head = "GET /files/socket HTTP/1.1\r\nhost: alice.example\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        tunnel.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        tunnel.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 101");
        tunnels.push(tunnel);
    }
    let quiet = TcpStream::connect(process.public).await.unwrap();
    let administrator = TcpStream::connect(process.admin).await.unwrap();
    shown(&process, &of_door("public", 4, 3)).await;
    shown(&process, &of_door("admin", 1, 0)).await;
    shown(&process, &[tunnels_of_backend(3)]).await;

    // A request that is answered leaves its connection to the backend for the next one.
    let head = "GET /files/headers HTTP/1.1\r\nhost: alice.example\r\nconnection: close\r\n\r\n";
    assert!(
        http(process.public, head.as_bytes())
            .await
            .starts_with("HTTP/1.1 200")
    );
    let kept = format!(
        "hamlet_backend_connections{{address=\"http://{}\"}} 1",
        process.backend
    );
    shown(&process, &[kept]).await;

    drop((tunnels, quiet, administrator));
    shown(&process, &of_door("public", 0, 0)).await;
    shown(&process, &of_door("admin", 0, 0)).await;
    shown(&process, &[tunnels_of_backend(0)]).await;
}
