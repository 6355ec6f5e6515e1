//! `kill -9` during writes: acknowledged writes are durable, and the indexes are consistent with the documents.

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

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use process::Program;
use serde_json::{Value, json};
use support::Client;
use test_kit::dice::{self, Rng};

const ROUNDS: u32 = 200;
const WRITERS: usize = 4;

/// The state that a writer expects.
#[derive(Default)]
struct Known {
    /// The documents whose last write was acknowledged, with revision and whether they are deleted.
    acknowledged: BTreeMap<String, (String, bool)>,
    /// The documents whose write was in progress when the server was killed.
    uncertain: BTreeSet<String>,
    /// The databases that this writer created (true) or deleted (false).
    databases: BTreeMap<String, bool>,
    uncertain_database: Option<String>,
    next: u64,
}

fn generation(rev: &str) -> u64 {
    rev.split_once('-').unwrap().0.parse().unwrap()
}

/// Writes until the server is killed.
async fn write(client: Client, writer: usize, mut known: Known, mut dice: Rng) -> Known {
    loop {
        known.next += 1;
        let n = known.next;
        let result = match dice.u8(..10) {
            0 => churn(&client, writer, n, &mut known).await,
            1..=3 if !known.acknowledged.is_empty() => {
                let at = dice.usize(..known.acknowledged.len());
                let (id, (rev, deleted)) = known.acknowledged.iter().nth(at).unwrap();
                let (id, rev, deleted) = (id.clone(), rev.clone(), *deleted);
                let remove = dice.u8(..3) == 0;
                let doc = match (deleted, remove) {
                    (true, _) => json!({"_id": id, "n": n, "w": writer}),
                    (false, true) => json!({"_id": id, "_rev": rev, "_deleted": true}),
                    (false, false) => json!({"_id": id, "_rev": rev, "n": n, "w": writer}),
                };
                bulk(&client, vec![doc], &mut known).await
            }
            4..=5 => {
                let docs = (0..5)
                    .map(|k| json!({"_id": format!("{writer}-{n}-{k}"), "n": n, "w": writer}));
                bulk(&client, docs.collect(), &mut known).await
            }
            _ => {
                bulk(
                    &client,
                    vec![json!({"_id": format!("{writer}-{n}"), "n": n, "w": writer})],
                    &mut known,
                )
                .await
            }
        };
        if result.is_err() {
            return known;
        }
    }
}

async fn bulk(client: &Client, docs: Vec<Value>, known: &mut Known) -> Result<(), String> {
    known.uncertain = docs
        .iter()
        .map(|doc| doc["_id"].as_str().unwrap().to_owned())
        .collect();
    let deleted: Vec<bool> = docs.iter().map(|doc| doc["_deleted"] == true).collect();
    let body = json!({"docs": docs}).to_string();
    let headers = [("content-type", "application/json")];
    let reply = client
        .attempt("POST", "/kept/_bulk_docs", &headers, body.as_bytes())
        .await?;
    assert_eq!(reply.status, 201, "{}", reply.text());
    for (row, deleted) in reply.json().as_array().unwrap().iter().zip(deleted) {
        assert_eq!(row["ok"], true, "{row}");
        let rev = row["rev"].as_str().unwrap().to_owned();
        known
            .acknowledged
            .insert(row["id"].as_str().unwrap().to_owned(), (rev, deleted));
    }
    known.uncertain.clear();
    Ok(())
}

/// Creates a database with a document and deletes the previous one.
async fn churn(client: &Client, writer: usize, n: u64, known: &mut Known) -> Result<(), String> {
    let name = format!("churn-{writer}-{n}");
    known.uncertain_database = Some(name.clone());
    client.attempt("PUT", &format!("/{name}"), &[], b"").await?;
    known.databases.insert(name.clone(), true);
    client
        .attempt("PUT", &format!("/{name}/doc"), &[], b"{}")
        .await?;
    let before = known
        .databases
        .iter()
        .find(|(other, there)| **there && **other != name)
        .map(|(other, _)| other.clone());
    if let Some(before) = before {
        known.uncertain_database = Some(before.clone());
        client
            .attempt("DELETE", &format!("/{before}"), &[], b"")
            .await?;
        known.databases.insert(before, false);
    }
    known.uncertain_database = None;
    Ok(())
}

/// Compares the state of the server with the expected one, and resolves unknown outcomes.
async fn compare(
    client: &Client,
    known: &mut Known,
    there: &BTreeMap<String, (String, bool)>,
    names: &BTreeSet<String>,
) {
    for (id, (rev, deleted)) in &known.acknowledged {
        let (found, found_deleted) = there
            .get(id)
            .unwrap_or_else(|| panic!("{id} was acknowledged and is lost"));
        if known.uncertain.contains(id) {
            assert!(
                generation(found) >= generation(rev),
                "{id} went back from {rev} to {found}"
            );
        } else {
            assert_eq!((found, found_deleted), (rev, deleted), "{id}");
        }
    }
    for id in std::mem::take(&mut known.uncertain) {
        if let Some(found) = there.get(&id) {
            known.acknowledged.insert(id, found.clone());
        }
    }
    let uncertain = known.uncertain_database.take();
    for (name, exists) in &mut known.databases {
        if uncertain.as_ref() == Some(name) {
            *exists = names.contains(name);
            continue;
        }
        assert_eq!(names.contains(name), *exists, "{name}");
        if !*exists {
            let path = format!("/{name}/doc");
            client.get(&path).await.expect(404);
        }
    }
    known.databases.retain(|_, exists| *exists);
    if let Some(name) = uncertain
        && names.contains(&name)
    {
        known.databases.insert(name, true);
    }
}

async fn state(client: &Client) -> (BTreeMap<String, (String, bool)>, BTreeSet<String>) {
    let feed = client.get("/kept/_changes").await.expect(200).json();
    let there = feed["results"].as_array().unwrap().iter().map(|row| {
        let rev = row["changes"][0]["rev"].as_str().unwrap().to_owned();
        (
            row["id"].as_str().unwrap().to_owned(),
            (rev, row["deleted"] == true),
        )
    });
    let names = client.get("/_all_dbs").await.expect(200).json();
    let names = names
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap().to_owned());
    (there.collect(), names.collect())
}

/// Asserts that each index has exactly the rows of its documents.
async fn indexes_agree(client: &Client) {
    let all = client
        .get("/kept/_all_docs?include_docs=true")
        .await
        .expect(200)
        .json();
    let mut expected: Vec<(i64, String)> = all["rows"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|row| Some((row["doc"]["n"].as_i64()?, row["id"].as_str()?.to_owned())))
        .collect();
    expected.sort();
    let query = json!({"selector": {"n": {"$gt": null}}, "sort": ["n"], "use_index": "by-n", "limit": 1_000_000, "execution_stats": true});
    let found = client.post("/kept/_find", &query).await.expect(200).json();
    assert_eq!(found["warning"], Value::Null);
    let rows: Vec<(i64, String)> = found["docs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|doc| {
            (
                doc["n"].as_i64().unwrap(),
                doc["_id"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    assert_eq!(rows, expected);
    assert_eq!(
        found["execution_stats"]["total_keys_examined"],
        expected.len(),
        "a row too many would be read and passed over"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_writes_survive_kill_9() {
    let mut dice = dice::seeded();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");

    let program = Program::start(&data, &[]).await;
    program.client.put("/kept", &Value::Null).await.expect(201);
    let index = json!({"index": {"fields": ["n"]}, "ddoc": "by-n"});
    program
        .client
        .post("/kept/_index", &index)
        .await
        .expect(200);
    program.kill().await;

    let mut all: Vec<Known> = (0..WRITERS).map(|_| Known::default()).collect();
    for round in 0..ROUNDS {
        let program = Program::start(&data, &[]).await;
        let client = program.client.clone();
        let (there, names) = state(&client).await;
        for known in &mut all {
            compare(&client, known, &there, &names).await;
        }
        if round % 20 == 19 {
            indexes_agree(&client).await;
        }
        let mut writers = Vec::new();
        for (n, known) in all.drain(..).enumerate() {
            writers.push(tokio::spawn(write(client.clone(), n, known, dice.fork())));
        }
        tokio::time::sleep(Duration::from_millis(5 + dice.u64(..30))).await;
        program.kill().await;
        for writer in writers {
            all.push(writer.await.unwrap());
        }
    }
    let program = Arc::new(Program::start(&data, &[]).await);
    let (there, names) = state(&program.client).await;
    for known in &mut all {
        compare(&program.client, known, &there, &names).await;
    }
    indexes_agree(&program.client).await;
    let written: usize = all.iter().map(|known| known.acknowledged.len()).sum();
    assert!(
        written > ROUNDS as usize,
        "only {written} documents were written: the rounds show nothing"
    );
}
