//! Waiting feeds: they report changes immediately, send heartbeats, and end when their database is deleted.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

mod support;

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};
use support::{Client, Embedded, real_couchdb};

/// A feed that is read line by line.
struct Lines {
    body: http::Response<Incoming>,
    text: String,
}

impl Lines {
    async fn open(client: &Client, path: &str) -> Self {
        let body = client.open("GET", path, &[], b"").await.unwrap();
        assert_eq!(body.status(), 200);
        Self {
            body,
            text: String::new(),
        }
    }

    /// The next line; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((line, rest)) = self.text.split_once('\n') {
                let line = line.to_owned();
                self.text = rest.to_owned();
                return Some(line);
            }
            let frame = tokio::time::timeout(Duration::from_secs(20), self.body.frame());
            let frame = frame.await.expect("a line within 20 s")?;
            self.text
                .push_str(std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap());
        }
    }

    async fn next_change(&mut self) -> Value {
        loop {
            let line = self.next().await.expect("a change before the end");
            if !line.is_empty() {
                return serde_json::from_str(&line).unwrap();
            }
        }
    }
}

async fn reports_changes(client: &Client) {
    let db = client.fresh("hamlet-feeds").await;
    client
        .put(&format!("{db}/first"), &json!({}))
        .await
        .expect(201);
    let mut feed = Lines::open(
        client,
        &format!("{db}/_changes?feed=continuous&heartbeat=100"),
    )
    .await;
    assert_eq!(feed.next_change().await["id"], "first");
    assert_eq!(feed.next().await.unwrap(), "", "a heartbeat");
    client
        .put(&format!("{db}/second"), &json!({}))
        .await
        .expect(201);
    let second = feed.next_change().await;
    assert_eq!(second["id"], "second");

    let since = second["seq"].as_str().unwrap().to_owned();
    let waiting = {
        let (client, path) = (
            client.clone(),
            format!("{db}/_changes?feed=longpoll&since={since}"),
        );
        tokio::spawn(async move { client.get(&path).await.expect(200).json() })
    };
    // The feed must report the change whether it is already waiting or not.
    client
        .put(&format!("{db}/third"), &json!({}))
        .await
        .expect(201);
    assert_eq!(waiting.await.unwrap()["results"][0]["id"], "third");
    assert_eq!(feed.next_change().await["id"], "third");
    client.delete(&db).await.expect(200);
}

#[tokio::test]
async fn waiting_feeds_report_changes() {
    let server = Embedded::start().await;
    reports_changes(&server.client).await;
    server.stop().await;
}

#[tokio::test]
async fn waiting_feeds_of_a_real_couchdb_report_changes() {
    if let Some(client) = real_couchdb() {
        reports_changes(&client).await;
    }
}

#[tokio::test]
async fn a_feed_ends_when_its_database_is_deleted() {
    let server = Embedded::start().await;
    let db = server.client.fresh("db").await;
    let mut feed = Lines::open(
        &server.client,
        &format!("{db}/_changes?feed=continuous&heartbeat=60000"),
    )
    .await;
    server
        .client
        .put(&format!("{db}/doc"), &json!({}))
        .await
        .expect(201);
    assert_eq!(feed.next_change().await["id"], "doc");
    server.client.delete(&db).await.expect(200);
    while let Some(line) = feed.next().await {
        assert!(line.is_empty() || line.contains("last_seq"), "{line}");
    }
    server.stop().await;
}

#[tokio::test]
async fn an_event_source_continues_after_the_last_event_id() {
    let server = Embedded::start().await;
    let db = server.client.fresh("db").await;
    for id in ["a", "b"] {
        server
            .client
            .put(&format!("{db}/{id}"), &json!({}))
            .await
            .expect(201);
    }
    let mut feed = Lines::open(&server.client, &format!("{db}/_changes?feed=eventsource")).await;
    assert_eq!(feed.body.headers()["content-type"], "text/event-stream");
    let data = feed.next().await.unwrap();
    assert!(data.starts_with("data: {"), "{data}");
    let id = feed.next().await.unwrap();
    let id = id.strip_prefix("id: ").unwrap();
    let headers = [("last-event-id", id)];
    let again = server
        .client
        .open(
            "GET",
            &format!("{db}/_changes?feed=eventsource"),
            &headers,
            b"",
        )
        .await
        .unwrap();
    let mut again = Lines {
        body: again,
        text: String::new(),
    };
    assert!(again.next().await.unwrap().contains("\"id\":\"b\""));
    server.stop().await;
}

/// A sequence of a deleted database is not valid for a new database of the same name.
#[tokio::test]
async fn a_feed_of_a_new_database_ignores_sequences_of_its_predecessor() {
    let server = Embedded::start().await;
    let db = server.client.fresh("db").await;
    for n in 0..5 {
        server
            .client
            .put(&format!("{db}/{n}"), &json!({}))
            .await
            .expect(201);
    }
    let old = server.client.get(&format!("{db}/_changes")).await.json()["last_seq"]
        .as_str()
        .unwrap()
        .to_owned();
    server.client.delete(&db).await.expect(200);
    server.client.put(&db, &Value::Null).await.expect(201);
    server
        .client
        .put(&format!("{db}/new"), &json!({}))
        .await
        .expect(201);
    let feed = server
        .client
        .get(&format!("{db}/_changes?since={old}"))
        .await
        .expect(200)
        .json();
    assert_eq!(feed["results"][0]["id"], "new");
    server.stop().await;
}

#[tokio::test]
async fn a_feed_tells_what_happens_to_databases() {
    let server = Embedded::start().await;
    let client = &server.client;
    client.get("/_db_updates").await.expect(404);
    client
        .put("/_global_changes", &Value::Null)
        .await
        .expect(201);
    client.put("/before", &Value::Null).await.expect(201);

    let mut feed = Lines::open(
        client,
        "/_db_updates?feed=continuous&since=now&heartbeat=500",
    )
    .await;
    client.put("/now", &Value::Null).await.expect(201);
    let change = feed.next_change().await;
    assert_eq!(
        (&change["db_name"], &change["type"]),
        (&json!("now"), &json!("created"))
    );
    client.put("/now/a", &json!({})).await.expect(201);
    let change = feed.next_change().await;
    assert_eq!(
        (&change["db_name"], &change["type"]),
        (&json!("now"), &json!("updated"))
    );
    let updated = change["seq"].as_str().unwrap().to_owned();
    client.delete("/now").await.expect(200);
    let change = feed.next_change().await;
    assert_eq!(
        (&change["db_name"], &change["type"]),
        (&json!("now"), &json!("deleted"))
    );

    let all = client.get("/_db_updates").await.expect(200).json();
    let types = |answer: &Value| -> Vec<String> {
        let rows = answer["results"].as_array().unwrap();
        rows.iter()
            .map(|row| {
                format!(
                    "{} {}",
                    row["type"].as_str().unwrap(),
                    row["db_name"].as_str().unwrap()
                )
            })
            .collect()
    };
    assert_eq!(
        types(&all),
        [
            "created before",
            "created now",
            "updated now",
            "deleted now"
        ]
    );
    assert!(all.get("pending").is_none() && all["last_seq"].is_string());
    let later = client.get(&format!("/_db_updates?since={updated}")).await;
    assert_eq!(types(&later.expect(200).json()), ["deleted now"]);
    let none = client.get("/_db_updates?limit=0").await.expect(200).json();
    assert_eq!(types(&none), [""; 0]);
    for wrong in [
        "limit=x",
        "limit=-1",
        "timeout=x",
        "heartbeat=x",
        "since=x",
        "feed=live",
    ] {
        client
            .get(&format!("/_db_updates?{wrong}"))
            .await
            .expect(400);
    }
    client.post("/_db_updates", &json!({})).await.expect(405);

    // One row for each database and type, however often it happens.
    for n in 0..30 {
        client
            .put(&format!("/before/{n}"), &json!({}))
            .await
            .expect(201);
    }
    let all = client.get("/_db_updates").await.expect(200).json();
    assert_eq!(types(&all).last().unwrap(), "updated before");
    assert_eq!(types(&all).len(), 5);
    server.stop().await;
}

/// Changes with these parameters: how many rows there are, how many are pending, and the last sequence.
async fn counted(client: &Client, path: &str) -> (usize, u64, String) {
    let answer = client.get(path).await.expect(200).json();
    (
        answer["results"].as_array().unwrap().len(),
        answer["pending"].as_u64().unwrap(),
        answer["last_seq"].as_str().unwrap().to_owned(),
    )
}

#[tokio::test]
async fn pending_changes_are_those_that_a_longer_answer_has() {
    let embedded = Embedded::start().await;
    let client = &embedded.client;
    let db = client.fresh("db").await;
    let mut revs = Vec::new();
    for n in 0..24 {
        let stored = client.put(&format!("{db}/{n}"), &json!({})).await;
        revs.push(
            stored.expect(201).json()["rev"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    // Some change once more, some are deleted, and of some nothing is left.
    for n in [3, 4, 11] {
        let path = format!("{db}/{n}?rev={}", revs[n]);
        client.put(&path, &json!({"again": true})).await.expect(201);
    }
    for n in [5, 20] {
        let path = format!("{db}/{n}?rev={}", revs[n]);
        client.delete(&path).await.expect(200);
    }
    let purged = json!({"7": [revs[7]], "23": [revs[23]]});
    client
        .post(&format!("{db}/_purge"), &purged)
        .await
        .expect(201);

    for direction in ["false", "true"] {
        let path = format!("{db}/_changes?descending={direction}");
        let (all, none, _) = counted(client, &path).await;
        assert_eq!((all, none), (22, 0), "descending={direction}");
        for limit in 1..=all {
            let (rows, pending, _) = counted(client, &format!("{path}&limit={limit}")).await;
            assert_eq!(
                (rows, pending),
                (limit, (all - limit) as u64),
                "{path} {limit}"
            );
        }
    }
    // From each sequence of the feed on.
    for first in 1..22 {
        let (_, _, since) = counted(client, &format!("{db}/_changes?limit={first}")).await;
        let (rows, pending, _) =
            counted(client, &format!("{db}/_changes?since={since}&limit=1")).await;
        assert_eq!((rows, pending), (1, 22 - first - 1), "{first}");
    }
}
