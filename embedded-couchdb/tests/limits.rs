//! Unsupported features, concurrent writers, and many databases.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

mod support;

use embedded_couchdb::{Config, faults::Faults};
use serde_json::{Value, json};
use support::{Client, Embedded, real_couchdb};
use test_kit::eventually;

/// Without a program for it, no function runs; and what a function should validate is not written.
#[tokio::test]
async fn a_server_without_javascript_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config::new(folder.path().join("data"), "admin", "password");
    let server = Embedded::with(config, Faults::new()).await;
    let client = &server.client;
    let db = client.fresh("db").await;
    let ddoc = json!({
        "views": {"v": {"map": "function (doc) { emit(doc._id) }"}},
        "filters": {"f": "function () {}"},
        "shows": {"s": "function () {}"},
        "validate_doc_update": "function () {}",
    });
    client
        .put(&format!("{db}/_design/js"), &ddoc)
        .await
        .expect(201);
    client
        .put(&format!("{db}/_design/other"), &json!({"v": 1}))
        .await
        .expect(201);
    for call in ["_design/js/_show/s/x", "_changes?filter=js/f"] {
        let refused = client.get(&format!("{db}/{call}")).await.expect(501).json();
        assert_eq!(refused["error"], "not_implemented", "{call}");
    }
    client
        .put(&format!("{db}/doc"), &json!({}))
        .await
        .expect(501);
    server.stop().await;
}

#[tokio::test]
async fn cluster_and_browser_features_are_refused_with_a_reason() {
    let server = Embedded::start().await;
    let client = &server.client;
    for (method, path, status) in [
        ("POST", "/_replicate", 501),
        ("GET", "/_utils/", 501),
        ("PUT", "/_node/_local/_config/log/level", 501),
    ] {
        let refused = client
            .call(method, path, &[], b"")
            .await
            .expect(status)
            .json();
        assert!(refused["reason"].as_str().unwrap().len() > 10, "{path}");
    }
    server.stop().await;
}

/// Increments a counter in a document with optimistic locking.
async fn count_up(client: &Client, path: &str, times: usize) {
    for _ in 0..times {
        loop {
            let mut doc = client.get(path).await.expect(200).json();
            doc["n"] = json!(doc["n"].as_u64().unwrap() + 1);
            let reply = client.put(path, &doc).await;
            match reply.status {
                201 => break,
                409 => {}
                other => panic!("{other}: {}", reply.text()),
            }
        }
    }
}

async fn no_update_is_lost(client: &Client) {
    let db = client.fresh("hamlet-turns").await;
    let path = format!("{db}/counter");
    client.put(&path, &json!({"n": 0})).await.expect(201);
    let writers: Vec<_> = (0..6)
        .map(|_| {
            let (client, path) = (client.clone(), path.clone());
            tokio::spawn(async move { count_up(&client, &path, 20).await })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(client.get(&path).await.expect(200).json()["n"], 120);

    // One of many concurrent creations of a document succeeds.
    for round in 0..20 {
        let path = format!("{db}/name-{round}");
        let claims: Vec<_> = (0..6)
            .map(|n| {
                let (client, path) = (client.clone(), path.clone());
                tokio::spawn(async move { client.put(&path, &json!({"owner": n})).await.status })
            })
            .collect();
        let mut heard = Vec::new();
        for claim in claims {
            heard.push(claim.await.unwrap());
        }
        heard.sort_unstable();
        assert_eq!(heard, [201, 409, 409, 409, 409, 409]);
    }
    client.delete(&db).await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_several_concurrent_writers_wins() {
    let server = Embedded::start().await;
    no_update_is_lost(&server.client).await;
    server.stop().await;
    if let Some(real) = real_couchdb() {
        no_update_is_lost(&real).await;
    }
}

/// A failing request does not affect others in the same transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_request_does_not_affect_others() {
    let server = Embedded::start().await;
    let db = server.client.fresh("db").await;
    let calls: Vec<_> = (0..200)
        .map(|n| {
            let (client, db) = (server.client.clone(), db.clone());
            tokio::spawn(async move {
                if n % 2 == 0 {
                    client
                        .put(&format!("{db}/doc-{n}"), &json!({"n": n}))
                        .await
                        .expect(201);
                } else {
                    let body = json!({"_attachments": {"missing": {"stub": true}}});
                    client
                        .put(&format!("{db}/doc-{n}"), &body)
                        .await
                        .expect(412);
                }
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    let info = server.client.get(&db).await.expect(200).json();
    assert_eq!(
        (&info["doc_count"], &info["doc_del_count"]),
        (&json!(100), &json!(0))
    );
    let rows = server
        .client
        .get(&format!("{db}/_all_docs"))
        .await
        .expect(200)
        .json();
    assert_eq!(rows["rows"].as_array().unwrap().len(), 100);
    assert_ne!(rows["rows"][0], Value::Null);
    server.stop().await;
}

/// An index of a database that is small is built by the request that defines it.
#[tokio::test]
async fn an_index_of_a_small_database_leaves_nothing_for_later() {
    let server = Embedded::start().await;
    let db = server.client.fresh("db").await;
    let docs: Vec<Value> = (0..100)
        .map(|n| json!({"_id": format!("doc-{n}"), "n": n}))
        .collect();
    server
        .client
        .post(&format!("{db}/_bulk_docs"), &json!({"docs": docs}))
        .await
        .expect(201);
    server
        .client
        .post(
            &format!("{db}/_index"),
            &json!({"index": {"fields": ["n"]}}),
        )
        .await
        .expect(200);
    let conn = rusqlite::Connection::open(server.data.join("couch.sqlite")).unwrap();
    let count = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM chores"), 0);
    assert_eq!(count("SELECT count(*) FROM index_rows"), 100);
    server.stop().await;
}

/// Many databases are created and deleted, and nothing remains of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_databases() {
    let server = Embedded::start().await;
    let makers: Vec<_> = (0..16)
        .map(|instance| {
            let client = server.client.clone();
            tokio::spawn(async move {
                for n in 0..16 {
                    let db = format!("/instance{instance}%2Fdb-{n}");
                    client.put(&db, &Value::Null).await.expect(201);
                    let index = json!({"index": {"fields": ["a", "b"]}, "ddoc": "ab"});
                    client
                        .post(&format!("{db}/_index"), &index)
                        .await
                        .expect(200);
                    client
                        .put(&format!("{db}/doc"), &json!({"a": 1, "b": 2}))
                        .await
                        .expect(201);
                }
                for n in 0..8 {
                    client
                        .delete(&format!("/instance{instance}%2Fdb-{n}"))
                        .await
                        .expect(200);
                }
            })
        })
        .collect();
    for maker in makers {
        maker.await.unwrap();
    }
    let range = "/_all_dbs?startkey=%22instance%22&endkey=%22instance~%22";
    let names = server.client.get(range).await.expect(200).json();
    assert_eq!(names.as_array().unwrap().len(), 16 * 8);
    let folder = server.data.clone();
    let kept = server.stop().await;

    // The chores remove everything of the deleted databases.
    let again = Embedded::over(&folder).await;
    let conn = rusqlite::Connection::open(folder.join("couch.sqlite")).unwrap();
    let count = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    eventually("the sweep ends", async || {
        match count("SELECT count(*) FROM chores") {
            0 => Ok(()),
            left => Err(left),
        }
    })
    .await;
    assert_eq!(
        count("SELECT count(*) FROM docs WHERE db NOT IN (SELECT id FROM dbs)"),
        0
    );
    assert_eq!(
        count("SELECT count(*) FROM index_rows WHERE idx NOT IN (SELECT id FROM indexes)"),
        0
    );
    assert_eq!(count("SELECT count(*) FROM docs"), 16 * 8 * 2);
    // Each document has a body; the design documents share theirs.
    assert_eq!(count("SELECT count(*) FROM bodies"), 16 * 8 + 1);
    assert_eq!(count("SELECT sum(refs) FROM bodies"), 16 * 8);
    again.stop().await;
    drop(kept);
}

#[tokio::test]
async fn a_target_may_hold_characters_that_a_uri_may_not() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let server = Embedded::start().await;
    for name in ["a", "b", "c"] {
        let made = server.client.put(&format!("/{name}"), &Value::Null).await;
        made.expect(201);
    }
    let address = &server.client.address;
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = "Host: x\r\nAuthorization: Basic YWRtaW46cGFzc3dvcmQ=\r\n";
    let body = r#"{"_id":"x", "a":"<GET / '>"}"#;
    let length = body.len();
    let requests = format!(
        "POST /a HTTP/1.1\r\n{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n\
         {body}GET /_all_dbs?start_key=\"a\"&end_key=\"b\" HTTP/1.1\r\n{head}\r\n\
         GET /a/x?x=<> HTTP/1.1\r\n{head}Connection: close\r\n\r\n"
    );
    stream.write_all(requests.as_bytes()).await.unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    assert!(answers.contains("[\"a\",\"b\"]\n"), "{answers}");
    assert!(answers.contains("\"a\":\"<GET / '>\"}"), "{answers}");
    assert_eq!(answers.matches("HTTP/1.1 20").count(), 3, "{answers}");
    server.stop().await;
}
