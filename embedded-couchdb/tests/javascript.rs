//! Functions of design documents: they are useful to their own database, and harm nobody else.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed expectation is the test failing"
)]

mod support;

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};
use support::{Client, Embedded};

async fn with_view(client: &Client, name: &str, map: &str, reduce: Option<&str>) -> String {
    let db = client.fresh(name).await;
    let mut view = json!({ "map": map });
    if let Some(reduce) = reduce {
        view["reduce"] = reduce.into();
    }
    let ddoc = json!({ "views": { "v": view } });
    client
        .put(&format!("{db}/_design/d"), &ddoc)
        .await
        .expect(201);
    db
}

async fn rows(client: &Client, db: &str, query: &str) -> Vec<Value> {
    let path = format!("{db}/_design/d/_view/v{query}");
    let answer = client.get(&path).await.expect(200).json();
    answer["rows"].as_array().unwrap().clone()
}

async fn fill(client: &Client, db: &str, count: u32) {
    let docs: Vec<Value> = (0..count)
        .map(|n| json!({"_id": format!("doc-{n:05}"), "n": n}))
        .collect();
    client
        .post(&format!("{db}/_bulk_docs"), &json!({ "docs": docs }))
        .await
        .expect(201);
}

#[tokio::test]
async fn a_view_follows_its_documents() {
    let server = Embedded::start().await;
    let client = &server.client;
    let map = "function (doc) { if (doc.n !== undefined) emit(doc.n % 10, doc.n); }";
    let db = with_view(client, "db", map, Some("_sum")).await;
    fill(client, &db, 1000).await;
    assert_eq!(
        rows(client, &db, "").await,
        [json!({"key": null, "value": 499_500})]
    );
    assert_eq!(rows(client, &db, "?group=true").await.len(), 10);

    let doc = client
        .get(&format!("{db}/doc-00007"))
        .await
        .expect(200)
        .json();
    let changed = json!({"_rev": doc["_rev"], "n": 100_007});
    client
        .put(&format!("{db}/doc-00007"), &changed)
        .await
        .expect(201);
    let gone = client
        .get(&format!("{db}/doc-00001"))
        .await
        .expect(200)
        .json();
    let rev = gone["_rev"].as_str().unwrap();
    client
        .delete(&format!("{db}/doc-00001?rev={rev}"))
        .await
        .expect(200);
    assert_eq!(
        rows(client, &db, "").await,
        [json!({"key": null, "value": 599_499})]
    );
    assert_eq!(
        rows(client, &db, "?reduce=false&key=1&limit=1").await[0]["id"],
        "doc-00011"
    );

    // A purged document leaves no row.
    let doc = client
        .get(&format!("{db}/doc-00002"))
        .await
        .expect(200)
        .json();
    let purge = json!({ "doc-00002": [doc["_rev"]] });
    client
        .post(&format!("{db}/_purge"), &purge)
        .await
        .expect(201);
    assert_eq!(
        rows(client, &db, "").await,
        [json!({"key": null, "value": 599_497})]
    );
    server.stop().await;
}

#[tokio::test]
async fn a_view_is_the_same_after_a_restart() {
    let server = Embedded::start().await;
    let map = "function (doc) { emit([doc.n % 3, doc._id], null); }";
    let db = with_view(&server.client, "db", map, None).await;
    fill(&server.client, &db, 50).await;
    let before = rows(&server.client, &db, "").await;
    let data = server.data.clone();
    let folder = server.stop().await;
    let again = Embedded::over(&data).await;
    assert_eq!(rows(&again.client, &db, "").await, before);
    again.stop().await;
    drop(folder);
}

/// A function that loops or eats memory ends, and others are answered meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_that_goes_wrong_harms_nobody_else() {
    let server = Embedded::start().await;
    let client = &server.client;
    for (name, body) in [
        ("loops", "while (true) {}"),
        (
            "eats",
            "var a = []; while (true) a.push(new Array(1000).join('x'));",
        ),
        ("nests", "var f = function () { f(); f(); }; f();"),
        (
            "regex",
            "/^(a+)+$/.test('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!');",
        ),
    ] {
        let map = format!("function (doc) {{ {body} emit(doc._id, null); }}");
        let bad = with_view(client, name, &map, None).await;
        fill(client, &bad, 1).await;
        let good = with_view(
            client,
            "good",
            "function (doc) { emit(doc._id, null); }",
            None,
        )
        .await;
        fill(client, &good, 3).await;
        let path = format!("{bad}/_design/d/_view/v");
        let began = Instant::now();
        let (answers, good_took) = tokio::join!(
            // Many at once: they get half of the processes at most.
            join_all((0..2).map(|_| client.get(&path))),
            async {
                tokio::time::sleep(Duration::from_millis(300)).await;
                let began = Instant::now();
                assert_eq!(rows(client, &good, "").await.len(), 3);
                began.elapsed()
            },
        );
        for answer in answers {
            assert!(
                [200, 500].contains(&answer.status),
                "{name}: {}",
                answer.text()
            );
        }
        let took = began.elapsed();
        assert!(
            good_took < Duration::from_secs(4),
            "{name}: {good_took:?} of {took:?}"
        );
    }
    server.stop().await;
}

/// What a function changes in its globals is not seen by those of another database.
#[tokio::test]
async fn functions_of_two_databases_share_nothing() {
    let server = Embedded::start().await;
    let client = &server.client;
    let spoil = "function (doc) { Object.prototype.spoilt = 1; JSON.stringify = null; Array.prototype.push = null; \
                 emit(1, 1); }";
    let spoilt = with_view(client, "spoilt", spoil, None).await;
    fill(client, &spoilt, 2).await;
    client.get(&format!("{spoilt}/_design/d/_view/v")).await;
    let good = "function (doc) { emit(doc._id, ({}).spoilt === undefined); }";
    let db = with_view(client, "good", good, None).await;
    fill(client, &db, 2).await;
    for row in rows(client, &db, "").await {
        assert_eq!(row["value"], true);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_function_finds_no_files_and_no_network() {
    let server = Embedded::start().await;
    let client = &server.client;
    let map = "function (doc) { emit(Object.getOwnPropertyNames(globalThis).filter(function (name) { \
               return /^(process|require|std|os|fetch|XMLHttpRequest|importScripts|load|print|console)$/.test(name); }), null); }";
    let db = with_view(client, "db", map, None).await;
    fill(client, &db, 1).await;
    // `require` finds modules in the design document only.
    assert_eq!(rows(client, &db, "").await[0]["key"], json!(["require"]));
    server.stop().await;
}

/// Every way to write is validated, and a validation counts only for the revision that it saw.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_counter_that_may_only_grow_only_grows() {
    let server = Embedded::start().await;
    let client = &server.client;
    let db = client.fresh("db").await;
    let ddoc = json!({
        "validate_doc_update":
            "function (now, old) { if (old && !(now.n > old.n)) throw({forbidden: old.n + ' to ' + now.n}); }",
    });
    client
        .put(&format!("{db}/_design/d"), &ddoc)
        .await
        .expect(201);
    let path = format!("{db}/counter");
    client.put(&path, &json!({"n": 0})).await.expect(201);
    let writers = (0..8).map(|writer| {
        let (client, path, db) = (client.clone(), path.clone(), db.clone());
        tokio::spawn(async move {
            let mut accepted = 0;
            for step in 1..20 {
                let doc = client.get(&path).await.expect(200).json();
                let n = (writer * 7 + step * 13) % 50;
                let new = json!({"_id": "counter", "_rev": doc["_rev"], "n": n});
                let status = if step % 2 == 0 {
                    client.put(&path, &new).await.status
                } else {
                    let answer = client
                        .post(&format!("{db}/_bulk_docs"), &json!({ "docs": [new] }))
                        .await
                        .expect(201)
                        .json();
                    if answer[0]["ok"] == true { 201 } else { 403 }
                };
                assert!([201, 403, 409].contains(&status), "{status}");
                if status == 201 {
                    assert!(n > doc["n"].as_i64().unwrap(), "{n} follows {}", doc["n"]);
                    accepted += 1;
                }
            }
            accepted
        })
    });
    let accepted: i32 = join_all(writers)
        .await
        .into_iter()
        .map(Result::unwrap)
        .sum();
    assert!(accepted > 0);
    let replicated = json!({"new_edits": false, "docs": [
        {"_id": "counter", "_revisions": {"start": 1, "ids": ["abc"]}, "n": 5},
        {"_id": "fresh", "_rev": "1-abc", "n": 5},
    ]});
    let refused = client
        .post(&format!("{db}/_bulk_docs"), &replicated)
        .await
        .expect(201)
        .json();
    assert_eq!(refused, json!([]));
    server.stop().await;
}
