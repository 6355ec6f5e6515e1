//! `_find` reads only the range of the index that `_explain` reports.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

mod support;

use std::fmt::Write as _;

use serde_json::{Value, json};
use support::{Client, Embedded};

const DOCS: usize = 100_000;

async fn fill(client: &Client, db: &str) {
    for start in (0..DOCS).step_by(5000) {
        let mut body = String::from("{\"docs\":[");
        for n in start..start + 5000 {
            let comma = if n > start { "," } else { "" };
            let kind = if n % 1000 == 0 { "rare" } else { "common" };
            let _ = write!(
                body,
                "{comma}{{\"_id\":\"doc-{n:06}\",\"n\":{n},\"kind\":\"{kind}\",\"group\":{}}}",
                n % 100
            );
        }
        body.push_str("]}");
        let headers = [("content-type", "application/json")];
        client
            .call(
                "POST",
                &format!("{db}/_bulk_docs"),
                &headers,
                body.as_bytes(),
            )
            .await
            .expect(201);
    }
}

async fn rows_read(client: &Client, db: &str, index: &str, query: Value) -> (u64, u64) {
    let explained = client
        .post(&format!("{db}/_explain"), &query)
        .await
        .expect(200)
        .json();
    assert_eq!(
        explained["index"]["ddoc"],
        format!("_design/{index}"),
        "{query}"
    );
    let mut query = query;
    query["execution_stats"] = true.into();
    let found = client
        .post(&format!("{db}/_find"), &query)
        .await
        .expect(200)
        .json();
    let stats = &found["execution_stats"];
    (
        stats["total_keys_examined"].as_u64().unwrap(),
        stats["results_returned"].as_u64().unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_read_at_100_000_documents() {
    let server = Embedded::start().await;
    let client = &server.client;
    let db = client.fresh("many").await;
    for (ddoc, index) in [
        ("by-n", json!({"fields": ["n"]})),
        ("by-group", json!({"fields": ["group", "n"]})),
    ] {
        client
            .post(
                &format!("{db}/_index"),
                &json!({"index": index, "ddoc": ddoc}),
            )
            .await
            .expect(200);
    }
    fill(client, &db).await;
    // This index is built over existing documents.
    let partial = json!({"fields": ["n"], "partial_filter_selector": {"kind": "rare"}});
    client
        .post(
            &format!("{db}/_index"),
            &json!({"index": partial, "ddoc": "rare"}),
        )
        .await
        .expect(200);

    let one = rows_read(client, &db, "by-n", json!({"selector": {"n": 77_777}})).await;
    assert_eq!(one, (1, 1));
    let range = rows_read(
        client,
        &db,
        "by-n",
        json!({"selector": {"n": {"$gte": 500, "$lt": 600}}, "limit": 1000}),
    )
    .await;
    assert_eq!(
        range,
        (101, 100),
        "CouchDB reads the end of a range too, and leaves it to the filter"
    );
    let page = rows_read(
        client,
        &db,
        "by-n",
        json!({"selector": {"n": {"$gt": 10}}, "sort": [{"n": "desc"}], "limit": 10}),
    )
    .await;
    assert_eq!(page, (10, 10));
    let group = rows_read(
        client,
        &db,
        "by-group",
        json!({"selector": {"group": 7, "n": {"$gte": 99_000}}}),
    )
    .await;
    assert_eq!(group, (10, 10));
    let rare = rows_read(
        client,
        &db,
        "rare",
        json!({"selector": {"kind": "rare", "n": {"$gte": 0}}, "use_index": "rare", "limit": 1000}),
    )
    .await;
    assert_eq!(rare, (100, 100));

    let scan = json!({"selector": {"kind": "rare"}, "limit": 1000, "execution_stats": true});
    let scanned = client
        .post(&format!("{db}/_find"), &scan)
        .await
        .expect(200)
        .json();
    assert_eq!(scanned["docs"].as_array().unwrap().len(), 100);
    assert!(
        scanned["warning"]
            .as_str()
            .unwrap()
            .contains("No matching index found")
    );
    assert!(
        scanned["execution_stats"]["total_keys_examined"]
            .as_u64()
            .unwrap()
            >= DOCS as u64
    );

    // Paging by bookmarks returns every document once.
    let mut seen = Vec::new();
    let mut bookmark = Value::Null;
    loop {
        let query = json!({"selector": {"group": 7, "n": {"$gte": 0}}, "limit": 300, "bookmark": bookmark, "fields": ["n"]});
        let page = client
            .post(&format!("{db}/_find"), &query)
            .await
            .expect(200)
            .json();
        let docs = page["docs"].as_array().unwrap();
        if docs.is_empty() {
            break;
        }
        seen.extend(docs.iter().map(|doc| doc["n"].as_u64().unwrap()));
        bookmark = page["bookmark"].clone();
    }
    assert_eq!(seen, (0..1000).map(|n| n * 100 + 7).collect::<Vec<u64>>());

    // Large responses are streamed completely.
    let all = client
        .get(&format!("{db}/_all_docs?include_docs=true"))
        .await
        .expect(200)
        .json();
    assert_eq!(all["rows"].as_array().unwrap().len(), DOCS + 3);
    let feed = client
        .get(&format!("{db}/_changes"))
        .await
        .expect(200)
        .json();
    assert_eq!(feed["results"].as_array().unwrap().len(), DOCS + 3);

    // A database of this size is deleted immediately, and a new one of the same name is empty.
    client.delete(&db).await.expect(200);
    client.get(&db).await.expect(404);
    client.put(&db, &Value::Null).await.expect(201);
    assert_eq!(
        client
            .get(&format!("{db}/_all_docs"))
            .await
            .expect(200)
            .json()["rows"],
        json!([])
    );
    server.stop().await;
}
