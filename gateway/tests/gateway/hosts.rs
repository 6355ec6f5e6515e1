//! How the host of a request is read, in every place where a request can name one.

use serde::Deserialize;
use test_kit::fake::active_instance;
use tonic::Code;

use crate::support::{World, http};

/// The same vectors as those of the gateway's own tests.
#[derive(Deserialize)]
struct Vectors {
    read: Vec<Vector>,
    refused: Vec<String>,
}

#[derive(Deserialize)]
struct Vector {
    host: String,
    name: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../data/hosts.json")).unwrap()
}

/// A request with `Host`, and one with an absolute target.
fn spellings(host: &str) -> [String; 2] {
    let end = "Connection: close\r\n\r\n";
    [
        format!("GET /favicon.ico HTTP/1.1\r\nHost: {host}\r\n{end}"),
        format!("GET http://{host}/favicon.ico HTTP/1.1\r\nHost: {host}\r\n{end}"),
    ]
}

#[tokio::test]
async fn every_protocol_finds_the_same_instance() {
    let world = World::new().await;
    let client = world.client().await;
    for Vector { host, name } in vectors().read {
        world.directory.set(&name, active_instance(&name));
        for request in spellings(&host) {
            let answer = http(world.public, request.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{request}{answer}");
        }
        let answer = client.call(&host, "Echo", &[]).await;
        assert_ne!(answer.code(), Code::NotFound, "{host}: {answer:?}");
    }
    assert_eq!(
        client.call("unknown.example", "Echo", &[]).await.code(),
        Code::NotFound
    );
}

#[tokio::test]
async fn what_is_no_host_is_refused_everywhere() {
    let world = World::new().await;
    for wrong in vectors().refused {
        // A delimiter begins the path of a target, and what stands before it may be a host.
        let is_cut = wrong.contains(['/', '?', '#']);
        let alone = spellings(&wrong)
            .into_iter()
            .take(if is_cut { 1 } else { 2 });
        for request in alone {
            let answer = http(world.public, request.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{request:?}: {answer}");
        }
    }
    for (head, why) in [
        ("GET / HTTP/1.1\r\n", "none"),
        ("GET / HTTP/1.0\r\n", "none"),
        (
            "GET / HTTP/1.1\r\nHost: a.example\r\nHost: a.example\r\n",
            "two",
        ),
        (
            "GET http://a.example/ HTTP/1.1\r\nHost: b.example\r\n",
            "different ones",
        ),
        (
            "GET ftp://a.example/ HTTP/1.1\r\nHost: a.example\r\n",
            "of ftp",
        ),
    ] {
        let request = format!("{head}Connection: close\r\n\r\n");
        let answer = http(world.public, request.as_bytes()).await;
        let begin: Vec<&str> = answer.split(' ').take(2).collect();
        assert_eq!(begin.get(1), Some(&"400"), "{why}: {answer}");
    }
}
