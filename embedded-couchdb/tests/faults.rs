//! Fault injection.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

#[path = "support/process.rs"]
mod process;
mod support;

use std::time::{Duration, Instant};

use embedded_couchdb::{
    Config,
    faults::{Fault, Faults, Race, Rule, Side},
};
use process::Program;
use serde_json::{Value, json};
use support::Embedded;

#[tokio::test]
async fn a_connection_is_dropped_before_or_after_the_commit() {
    let server = Embedded::start().await;
    let client = &server.client;
    client.put("/db", &Value::Null).await.expect(201);
    server
        .faults
        .add(Rule::once("PUT", "/db/before", Fault::DropBefore));
    server
        .faults
        .add(Rule::once("PUT", "/db/after", Fault::DropAfter));
    assert!(
        client
            .attempt("PUT", "/db/before", &[], b"{}")
            .await
            .is_err()
    );
    assert!(
        client
            .attempt("PUT", "/db/after", &[], b"{}")
            .await
            .is_err()
    );
    client.get("/db/before").await.expect(404);
    client.get("/db/after").await.expect(200);
    client.put("/db/before", &json!({})).await.expect(201);
    assert_eq!(server.faults.struck(), 2);
    server.stop().await;
}

#[tokio::test]
async fn rules_count_matching_requests() {
    let server = Embedded::start().await;
    let client = &server.client;
    server
        .faults
        .add(Rule::once("GET", "/_up", Fault::Fail).after(1).times(2));
    server.faults.add(Rule::once(
        "GET",
        "/_uuids",
        Fault::Delay(Duration::from_millis(200)),
    ));
    let heard: Vec<u16> = [
        client.get("/_up").await.status,
        client.get("/_up").await.status,
        client.get("/_up").await.status,
        client.get("/_up").await.status,
    ]
    .into();
    assert_eq!(heard, [200, 500, 500, 200]);
    let begun = Instant::now();
    client.get("/_uuids").await.expect(200);
    assert!(
        begun.elapsed() >= Duration::from_millis(200),
        "a delay is at least what was asked for"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_lost_race_leaves_two_leaves() {
    let server = Embedded::start().await;
    let client = &server.client;
    client.put("/db", &Value::Null).await.expect(201);
    for (id, ours, winner) in [
        ("loses", Side::Loses, "theirs"),
        ("wins", Side::Wins, "ours"),
    ] {
        let race = Race {
            ours,
            other: Some(json!({"owner": "theirs"}).to_string()),
        };
        server.faults.add(Rule::once("PUT", id, Fault::Race(race)));
        let path = format!("/db/{id}");
        let reply = client
            .put(&path, &json!({"owner": "ours"}))
            .await
            .expect(202)
            .json();
        let read = client
            .get(&format!("{path}?conflicts=true"))
            .await
            .expect(200)
            .json();
        assert_eq!(read["owner"], winner);
        assert_eq!(read["_conflicts"].as_array().unwrap().len(), 1);
        // The loser deletes its own leaf. The leaf of the other writer stays.
        let rev = reply["rev"].as_str().unwrap();
        client
            .delete(&format!("{path}?rev={rev}"))
            .await
            .expect(200);
        let read = client
            .get(&format!("{path}?conflicts=true"))
            .await
            .expect(200)
            .json();
        assert_eq!(
            (&read["owner"], &read["_conflicts"]),
            (&json!("theirs"), &Value::Null)
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn a_race_at_an_outdated_revision_is_a_conflict() {
    let server = Embedded::start().await;
    let client = &server.client;
    client.put("/db", &Value::Null).await.expect(201);
    client.put("/db/doc", &json!({})).await.expect(201);
    server.faults.add(Rule::once(
        "PUT",
        "/db/doc",
        Fault::Race(Race {
            ours: Side::Wins,
            other: None,
        }),
    ));
    client
        .put("/db/doc", &json!({"second": true}))
        .await
        .expect(409);
    server.stop().await;
}

#[tokio::test]
async fn rules_are_set_over_http_only_if_enabled() {
    let folder = tempfile::tempdir().unwrap();
    let rules = json!([{"method": "GET", "path": "/_up", "fault": "fail"}]);

    let plain = Embedded::with(
        Config::new(folder.path().join("plain"), "admin", "password"),
        Faults::new(),
    )
    .await;
    plain
        .client
        .put("/_hamlet/faults", &rules)
        .await
        .expect(404);
    plain.client.get("/_up").await.expect(200);
    plain.stop().await;

    let program = Program::start(&folder.path().join("allowed"), &["--faults"]).await;
    program
        .client
        .put("/_hamlet/faults", &rules)
        .await
        .expect(200);
    program.client.get("/_up").await.expect(500);
    program.client.get("/_up").await.expect(200);
    program
        .client
        .put("/_hamlet/faults", &json!([{"fault": "strange"}]))
        .await
        .expect(400);
    let mut stranger = program.client.clone();
    stranger.authorization = None;
    stranger.put("/_hamlet/faults", &rules).await.expect(401);
    assert!(program.terminate().await.success());
}
