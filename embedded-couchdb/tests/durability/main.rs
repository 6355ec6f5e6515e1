//! `kill -9` during writes: acknowledged writes are durable, attachments are whole, users can log in, and indexes and views
//! are consistent with the documents.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

mod agreement;
mod files;
#[path = "../support/process.rs"]
mod process;
#[path = "../support/mod.rs"]
mod support;
mod users;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use process::Program;
use serde_json::{Value, json};
use support::Client;
use test_kit::dice::{self, Rng};

use crate::{agreement::everything_agrees, users::Users};

const ROUNDS: u32 = 200;
const WRITERS: usize = 4;

/// The state that a writer expects.
#[derive(Default)]
struct Known {
    /// The documents whose last write was acknowledged, with revision and whether they are deleted.
    acknowledged: BTreeMap<String, (String, bool)>,
    /// The names of the attachments of the documents that have any.
    files: BTreeMap<String, BTreeSet<String>>,
    users: Users,
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
        let result = match dice.u8(..16) {
            0 => churn(&client, writer, n, &mut known).await,
            1 => known.users.change(&client, writer, n, &mut dice).await,
            // Brings the rows of the view up to date.
            2 => client
                .attempt("GET", agreement::ONE_ROW, &[], b"")
                .await
                .map(drop),
            3..=5 if !known.acknowledged.is_empty() => {
                let doc = change(&known, writer, n, &mut dice);
                bulk(&client, vec![doc], &mut known).await
            }
            6..=7 if !known.acknowledged.is_empty() => {
                put_file(&client, writer, n, &mut known, &mut dice).await
            }
            8..=9 => {
                let docs = (0..5)
                    .map(|k| json!({"_id": format!("{writer}-{n}-{k}"), "n": n, "w": writer}));
                bulk(&client, docs.collect(), &mut known).await
            }
            10..=12 => {
                let mut doc = json!({"_id": format!("{writer}-{n}"), "n": n, "w": writer});
                doc["_attachments"] = json!({files::name(writer, n): files::inline(writer, n)});
                bulk(&client, vec![doc], &mut known).await
            }
            _ => {
                let doc = json!({"_id": format!("{writer}-{n}"), "n": n, "w": writer});
                bulk(&client, vec![doc], &mut known).await
            }
        };
        if result.is_err() {
            return known;
        }
    }
}

/// A document that is there, changed or deleted, with its attachments or without.
fn change(known: &Known, writer: usize, n: u64, dice: &mut Rng) -> Value {
    let at = dice.usize(..known.acknowledged.len());
    let (id, (rev, deleted)) = known.acknowledged.iter().nth(at).unwrap();
    if *deleted {
        return json!({"_id": id, "n": n, "w": writer});
    }
    if dice.u8(..3) == 0 {
        return json!({"_id": id, "_rev": rev, "_deleted": true});
    }
    let mut doc = json!({"_id": id, "_rev": rev, "n": n, "w": writer});
    if let Some(names) = known.files.get(id).filter(|_| dice.bool()) {
        let stubs = names
            .iter()
            .map(|name| (name.clone(), json!({"stub": true})));
        doc["_attachments"] = stubs.collect();
    }
    doc
}

/// The names of the attachments in a document.
pub(crate) fn attached(doc: &Value) -> BTreeSet<String> {
    let files = doc["_attachments"].as_object();
    files
        .map(|files| files.keys().cloned().collect())
        .unwrap_or_default()
}

async fn bulk(client: &Client, docs: Vec<Value>, known: &mut Known) -> Result<(), String> {
    known.uncertain = docs
        .iter()
        .map(|doc| doc["_id"].as_str().unwrap().to_owned())
        .collect();
    let body = json!({"docs": docs}).to_string();
    let headers = [("content-type", "application/json")];
    let reply = client
        .attempt("POST", "/kept/_bulk_docs", &headers, body.as_bytes())
        .await?;
    assert_eq!(reply.status, 201, "{}", reply.text());
    for (row, doc) in reply.json().as_array().unwrap().iter().zip(docs) {
        assert_eq!(row["ok"], true, "{row}");
        let rev = row["rev"].as_str().unwrap().to_owned();
        let id = row["id"].as_str().unwrap().to_owned();
        known.files.insert(id.clone(), attached(&doc));
        known
            .acknowledged
            .insert(id, (rev, doc["_deleted"] == true));
    }
    known.uncertain.clear();
    Ok(())
}

/// Adds an attachment to a document by itself.
async fn put_file(
    client: &Client,
    writer: usize,
    n: u64,
    known: &mut Known,
    dice: &mut Rng,
) -> Result<(), String> {
    let at = dice.usize(..known.acknowledged.len());
    let (id, (rev, deleted)) = known.acknowledged.iter().nth(at).unwrap();
    if *deleted {
        return Ok(());
    }
    let (id, name) = (id.clone(), files::name(writer, n));
    let path = format!("/kept/{id}/{name}?rev={rev}");
    known.uncertain = BTreeSet::from([id.clone()]);
    let headers = [("content-type", files::KIND)];
    let data = files::data(writer, n);
    let reply = client.attempt("PUT", &path, &headers, &data).await?;
    assert_eq!(reply.status, 201, "{}", reply.text());
    let rev = reply.json()["rev"].as_str().unwrap().to_owned();
    known.files.entry(id.clone()).or_default().insert(name);
    known.acknowledged.insert(id, (rev, false));
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
            let doc = client.get(&format!("/kept/{id}")).await.json();
            known.files.insert(id.clone(), attached(&doc));
            known.acknowledged.insert(id, found.clone());
        }
    }
    known.users.compare(client).await;
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
    program
        .client
        .put("/kept/_design/view", &agreement::design())
        .await
        .expect(201);
    program.kill().await;

    let mut all: Vec<Known> = (0..WRITERS).map(|_| Known::default()).collect();
    for round in 0..ROUNDS {
        let program = Program::start(&data, &[]).await;
        let client = program.client.clone();
        let (there, names) = state(&client).await;
        for known in &mut all {
            compare(&client, known, &there, &names).await;
        }
        if round % 40 == 39 {
            everything_agrees(&client, &all).await;
        }
        let mut writers = Vec::new();
        for (n, known) in all.drain(..).enumerate() {
            writers.push(tokio::spawn(write(client.clone(), n, known, dice.fork())));
        }
        // Now and then so long that rows of the view are written.
        let most = if round % 10 == 0 { 300 } else { 30 };
        tokio::time::sleep(Duration::from_millis(5 + dice.u64(..most))).await;
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
    everything_agrees(&program.client, &all).await;
    let files: usize = all
        .iter()
        .flat_map(|known| known.files.values())
        .map(BTreeSet::len)
        .sum();
    let users: usize = all.iter().map(|known| known.users.count()).sum();
    assert!(
        files > 0 && users > 0,
        "{files} attachments and {users} users show nothing"
    );
    let written: usize = all.iter().map(|known| known.acknowledged.len()).sum();
    assert!(
        written > ROUNDS as usize,
        "only {written} documents were written: the rounds show nothing"
    );
}
