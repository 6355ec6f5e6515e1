//! Replication between this server and a real CouchDB, by which an installation moves to a cluster. Without
//! `HAMLET_TEST_COUCHDB_URL`, only the requests of a replicator are tested.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a failed expectation is the test failing"
)]

mod support;

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use support::{Client, Embedded, real_couchdb};

/// All leaves of all documents, with their histories and attachments.
async fn everything(client: &Client, db: &str) -> BTreeMap<String, Value> {
    let feed = client
        .get(&format!("{db}/_changes?style=all_docs"))
        .await
        .expect(200)
        .json();
    let mut found = BTreeMap::new();
    for row in feed["results"].as_array().unwrap() {
        let id = row["id"].as_str().unwrap();
        let path = format!(
            "{db}/{}?open_revs=all&revs=true&attachments=true",
            escaped(id)
        );
        let headers = [("accept", "application/json")];
        let mut leaves = client
            .call("GET", &path, &headers, b"")
            .await
            .expect(200)
            .json();
        for leaf in leaves.as_array_mut().unwrap() {
            // CouchDB compresses text, and its digest is that of the compressed data.
            for (_, attachment) in leaf["ok"]["_attachments"]
                .as_object_mut()
                .into_iter()
                .flatten()
            {
                attachment.as_object_mut().unwrap().remove("digest");
            }
        }
        leaves
            .as_array_mut()
            .unwrap()
            .sort_by_key(|leaf| leaf["ok"]["_rev"].to_string());
        found.insert(id.to_owned(), leaves);
    }
    found
}

/// CouchDB redirects if the slash of `_design/` is escaped.
fn escaped(id: &str) -> String {
    match id.strip_prefix("_design/") {
        Some(name) => format!("_design/{name}"),
        None => id.replace('/', "%2F").replace(' ', "%20"),
    }
}

async fn populate(client: &Client, db: &str) {
    let text = STANDARD.encode("all work and no play ".repeat(200));
    let picture = STANDARD.encode([0_u8, 159, 146, 150, 255].repeat(40));
    let docs = json!({"docs": [
        {"_id": "plain", "n": 1, "text": "é"},
        {"_id": "with space/and slash", "n": 2},
        {"_id": "gone"},
        {"_id": "edited", "v": 1},
        {"_id": "picture", "_attachments": {"p.png": {"content_type": "image/png", "data": picture}, "t.txt": {"content_type": "text/plain", "data": text}}},
        {"_id": "_design/by-n", "language": "query", "views": {"n": {"map": {"fields": {"n": "asc"}, "partial_filter_selector": {}}, "reduce": "_count", "options": {"def": {"fields": ["n"]}}}}},
    ]});
    client
        .post(&format!("{db}/_bulk_docs"), &docs)
        .await
        .expect(201);
    for v in 2..6 {
        let rev = client.get(&format!("{db}/edited")).await.expect(200).json()["_rev"].clone();
        client
            .put(&format!("{db}/edited"), &json!({"_rev": rev, "v": v}))
            .await
            .expect(201);
    }
    let rev = client.get(&format!("{db}/gone")).await.expect(200).json()["_rev"]
        .as_str()
        .unwrap()
        .to_owned();
    client
        .delete(&format!("{db}/gone?rev={rev}"))
        .await
        .expect(200);
    let conflicts = json!({"new_edits": false, "docs": [
        {"_id": "torn", "_revisions": {"start": 2, "ids": ["bb", "aa"]}, "side": "b"},
        {"_id": "torn", "_revisions": {"start": 2, "ids": ["cc", "aa"]}, "side": "c"},
        {"_id": "torn", "_revisions": {"start": 3, "ids": ["dd", "ab", "aa"]}, "_deleted": true},
    ]});
    client
        .post(&format!("{db}/_bulk_docs"), &conflicts)
        .await
        .expect(201);
}

async fn replicate(real: &Client, source: String, target: String) -> Value {
    let body = json!({"source": source, "target": target, "create_target": false});
    let done = real.post("/_replicate", &body).await.expect(200).json();
    assert_eq!(done["ok"], true, "{done}");
    assert_eq!(done["history"][0]["doc_write_failures"], 0, "{done}");
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn couchdb_replicates_from_and_to_the_embedded_server() {
    let Some(real) = real_couchdb() else {
        eprintln!("HAMLET_TEST_COUCHDB_URL names no CouchDB: nothing was replicated");
        return;
    };
    let server = Embedded::start().await;
    let ours = |db: &str| format!("http://admin:password@{}{db}", server.client.address);
    let authority = std::env::var("HAMLET_TEST_COUCHDB_URL").unwrap();
    let theirs = |db: &str| format!("{}{db}", authority.trim_end_matches('/'));

    let here = server.client.fresh("hamlet-replication").await;
    let there = real.fresh("hamlet-replication-from-here").await;
    populate(&server.client, &here).await;
    replicate(&real, ours(&here), theirs(&there)).await;
    assert_eq!(
        everything(&real, &there).await,
        everything(&server.client, &here).await
    );

    // Both sides change documents, one of them in conflict with the other side.
    let edit = |rev: &Value, by: &str| json!({"_rev": rev, "by": by});
    let rev = real.get(&format!("{there}/plain")).await.json()["_rev"].clone();
    real.put(&format!("{there}/plain"), &edit(&rev, "them"))
        .await
        .expect(201);
    server
        .client
        .put(&format!("{here}/plain"), &edit(&rev, "us"))
        .await
        .expect(201);
    server
        .client
        .put(&format!("{here}/new"), &json!({"later": true}))
        .await
        .expect(201);
    replicate(&real, ours(&here), theirs(&there)).await;
    replicate(&real, theirs(&there), ours(&here)).await;
    let (left, right) = (
        everything(&server.client, &here).await,
        everything(&real, &there).await,
    );
    assert_eq!(left, right);
    assert_eq!(left["plain"].as_array().unwrap().len(), 2);
    let winners = (
        server.client.get(&format!("{here}/plain")).await.json(),
        real.get(&format!("{there}/plain")).await.json(),
    );
    assert_eq!(winners.0, winners.1);

    // A database that was created in CouchDB is replicated here completely.
    let born = real.fresh("hamlet-replication-to-here").await;
    let arrived = server.client.fresh("hamlet-arrived").await;
    populate(&real, &born).await;
    replicate(&real, theirs(&born), ours(&arrived)).await;
    assert_eq!(
        everything(&server.client, &arrived).await,
        everything(&real, &born).await
    );
    let query = json!({"selector": {"n": {"$gt": 0}}, "sort": ["n"]});
    let found = server
        .client
        .post(&format!("{arrived}/_find"), &query)
        .await
        .expect(200)
        .json();
    assert_eq!(
        found["docs"].as_array().unwrap().len(),
        2,
        "an index that arrived answers"
    );

    real.delete(&there).await.expect(200);
    real.delete(&born).await.expect(200);
    server.stop().await;
}

/// The requests of a replicator, between two embedded servers.
#[tokio::test]
async fn the_requests_of_a_replicator_copy_everything() {
    let (from, to) = (Embedded::start().await, Embedded::start().await);
    let source = from.client.fresh("source").await;
    let target = to.client.fresh("target").await;
    populate(&from.client, &source).await;

    let feed = from
        .client
        .get(&format!("{source}/_changes?style=all_docs"))
        .await
        .expect(200)
        .json();
    let asked: serde_json::Map<String, Value> = feed["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let revs = row["changes"]
                .as_array()
                .unwrap()
                .iter()
                .map(|change| change["rev"].clone())
                .collect();
            (row["id"].as_str().unwrap().to_owned(), Value::Array(revs))
        })
        .collect();
    let missing = to
        .client
        .post(
            &format!("{target}/_revs_diff"),
            &Value::Object(asked.clone()),
        )
        .await
        .expect(200)
        .json();
    assert_eq!(missing.as_object().unwrap().len(), asked.len());
    let mut wanted = Vec::new();
    for (id, revs) in missing.as_object().unwrap() {
        for rev in revs["missing"].as_array().unwrap() {
            wanted.push(json!({"id": id, "rev": rev}));
        }
    }
    let got = from
        .client
        .post(
            &format!("{source}/_bulk_get?revs=true&attachments=true"),
            &json!({"docs": wanted}),
        )
        .await;
    let docs: Vec<Value> = got.expect(200).json()["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| result["docs"][0]["ok"].clone())
        .collect();
    let written = to
        .client
        .post(
            &format!("{target}/_bulk_docs"),
            &json!({"new_edits": false, "docs": docs}),
        )
        .await;
    assert_eq!(written.expect(201).json(), json!([]));
    assert_eq!(
        everything(&to.client, &target).await,
        everything(&from.client, &source).await
    );
    from.stop().await;
    to.stop().await;
}
