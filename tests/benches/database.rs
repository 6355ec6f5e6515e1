//! Measures the embedded database beside a CouchDB, in one run and through the same client, as ratios.
//!
//! Each server gets a database of 100 000 documents with an index, views and a validation function, and each kind of
//! request is sent to both in turn, one and sixteen at a time. `cargo bench -p hamlet-tests --bench database` measures the
//! program `embedded-couchdb`, and, when `HAMLET_TEST_COUCHDB_URL` names one, a CouchDB. It prints the p50 of each kind, and how
//! many times the embedded database is as fast.
//!
//! Every database of the named CouchDB is deleted. `--documents N` chooses how many documents there are; `--smoke` takes
//! few, as a functional check.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints its results, and panics on errors"
)]

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::join_all;
use hamlet_tests::{database::Database, programs::program};
use reqwest::Method;
use serde_json::{Value, json};

struct Size {
    documents: usize,
    /// How often both servers are asked in turn.
    rounds: usize,
    /// Requests in a round.
    requests: usize,
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let is_smoke = words.iter().any(|word| word == "--smoke");
    let named = words.iter().position(|word| word == "--documents");
    let named = named.and_then(|place| words.get(place + 1)?.parse().ok());
    let size = if is_smoke {
        Size {
            documents: 300,
            rounds: 1,
            requests: 16,
        }
    } else {
        Size {
            documents: named.unwrap_or(100_000),
            rounds: 5,
            requests: 160,
        }
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(measure(&size));
}

async fn measure(size: &Size) {
    let folder = tempfile::tempdir().expect("a folder");
    let (_program, embedded) = start(&folder.path().join("data"));
    let mut servers = vec![Arc::new(embedded)];
    if std::env::var_os("HAMLET_TEST_COUCHDB_URL").is_some_and(|url| !url.is_empty()) {
        servers.push(Arc::new(Database::empty().await));
    }
    println!(
        "{} documents; the times are those of the embedded database{}",
        size.documents,
        if servers.len() > 1 {
            ", of CouchDB, and how many times the first is as fast"
        } else {
            ""
        }
    );
    let mut filled = Vec::new();
    for server in &servers {
        filled.push(fill(server, size.documents).await);
    }
    tell("filling, in bulks of 1000", &filled);
    for view in ["first", "reduced"] {
        let mut built = Vec::new();
        for server in &servers {
            built.push(build(server, view).await);
        }
        tell(&format!("building the view {view:?}"), &built);
    }
    for kind in KINDS {
        for at_once in [1, 16] {
            let mut times: Vec<Vec<Duration>> = servers.iter().map(|_| Vec::new()).collect();
            for round in 0..size.rounds {
                for (server, times) in servers.iter().zip(&mut times) {
                    let first = (round * 2 + usize::from(at_once > 1)) * size.requests;
                    times.extend(ask(server, kind, at_once, first, size).await);
                }
            }
            let medians: Vec<Duration> = times.into_iter().map(median).collect();
            tell(&format!("{kind:?}, {at_once} at once"), &medians);
        }
    }
}

/// Starts the program with an empty folder. It ends with the returned guard.
fn start(folder: &std::path::Path) -> (Guard, Database) {
    let mut child = Command::new(program("embedded-couchdb"))
        .arg("--data")
        .arg(folder)
        .args(["--listen", "127.0.0.1:0"])
        .env("HAMLET_COUCHDB_USER", "admin")
        .env("HAMLET_COUCHDB_PASSWORD", "password")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("its output is read"))
        .read_line(&mut line)
        .expect("it says its address");
    let address = line
        .trim()
        .strip_prefix("ready http://")
        .expect("it is ready")
        .to_owned();
    (
        Guard(child),
        Database::at(&format!("http://admin:password@{address}")),
    )
}

struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Put,
    Get,
    BulkOf100,
    Find,
    Changes,
    Rows,
    Reduction,
    ReductionOfARange,
}

const KINDS: [Kind; 8] = [
    Kind::Put,
    Kind::Get,
    Kind::BulkOf100,
    Kind::Find,
    Kind::Changes,
    Kind::Rows,
    Kind::Reduction,
    Kind::ReductionOfARange,
];

fn document(number: usize) -> Value {
    json!({
        "_id": format!("doc-{number:07}"),
        "n": number,
        "group": number % 100,
        "name": format!("the name of number {number}"),
        "tags": ["one", "two", "three"],
    })
}

async fn fill(server: &Database, documents: usize) -> Duration {
    demand(server, Method::PUT, "bench", None).await;
    let design = json!({
        "views": {"v": {"map": "function (doc) { if (doc.name) emit(doc.n, null); }"}},
        "validate_doc_update": "function (doc) { if (doc.n === undefined && !doc._deleted) throw {forbidden: 'n is missing'}; }",
    });
    demand(server, Method::PUT, "bench/_design/first", Some(design)).await;
    let design = json!({
        "views": {"v": {"map": "function (doc) { if (doc.name) emit([doc.group, doc.n], doc.n); }", "reduce": "_sum"}},
    });
    demand(server, Method::PUT, "bench/_design/reduced", Some(design)).await;
    let index = json!({"index": {"fields": ["group", "n"]}});
    demand(server, Method::POST, "bench/_index", Some(index)).await;
    let begun = Instant::now();
    for first in (0..documents).step_by(1000) {
        let last = documents.min(first + 1000);
        let docs: Vec<Value> = (first..last).map(document).collect();
        let bulk = json!({ "docs": docs });
        demand(server, Method::POST, "bench/_bulk_docs", Some(bulk)).await;
    }
    let took = begun.elapsed();
    // The index is made now, not in what is measured.
    let query = find(0);
    demand(server, Method::POST, "bench/_find", Some(query)).await;
    took
}

async fn build(server: &Database, design: &str) -> Duration {
    let begun = Instant::now();
    let path = format!("bench/_design/{design}/_view/v?limit=1");
    demand(server, Method::GET, &path, None).await;
    begun.elapsed()
}

fn find(number: usize) -> Value {
    json!({"selector": {"group": number % 100, "n": {"$gte": number}}, "limit": 25})
}

/// Sends requests of a kind, some at once. Returns how long each took.
async fn ask(
    server: &Arc<Database>,
    kind: Kind,
    at_once: usize,
    first: usize,
    size: &Size,
) -> Vec<Duration> {
    let next = AtomicUsize::new(0);
    let workers = (0..at_once).map(|_| async {
        let mut times = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= size.requests {
                return times;
            }
            let (method, path, body) = request(kind, first + number, size.documents);
            let begun = Instant::now();
            demand(server, method, &path, body).await;
            times.push(begun.elapsed());
        }
    });
    join_all(workers).await.concat()
}

fn request(kind: Kind, number: usize, documents: usize) -> (Method, String, Option<Value>) {
    // Spread over the documents.
    let place = number * 7919 % documents;
    match kind {
        Kind::Put => {
            let path = format!("bench/new-{number:07}");
            // Not in the views: they are not what is measured here.
            (
                Method::PUT,
                path,
                Some(json!({"n": number, "text": "some text"})),
            )
        }
        Kind::Get => (Method::GET, format!("bench/doc-{place:07}"), None),
        Kind::BulkOf100 => {
            let docs: Vec<Value> = (0..100)
                .map(|n| json!({"_id": format!("bulk-{number:07}-{n:02}"), "n": n, "text": "some text"}))
                .collect();
            let bulk = json!({ "docs": docs });
            (Method::POST, "bench/_bulk_docs".to_owned(), Some(bulk))
        }
        Kind::Find => (Method::POST, "bench/_find".to_owned(), Some(find(place))),
        Kind::Changes => {
            let path = "bench/_changes?limit=100&descending=true".to_owned();
            (Method::GET, path, None)
        }
        Kind::Rows => {
            let path = format!("bench/_design/first/_view/v?startkey={place}&limit=25");
            (Method::GET, path, None)
        }
        Kind::Reduction => (
            Method::GET,
            "bench/_design/reduced/_view/v".to_owned(),
            None,
        ),
        Kind::ReductionOfARange => {
            let group = number % 90;
            let path = format!(
                "bench/_design/reduced/_view/v?startkey=[{group}]&endkey=[{},{place}]",
                group + 10
            );
            (Method::GET, path, None)
        }
    }
}

async fn demand(server: &Database, method: Method, path: &str, body: Option<Value>) {
    let (status, answer) = server.call(method, path, body).await;
    assert!(status.is_success(), "{path}: {status} {answer}");
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn tell(what: &str, times: &[Duration]) {
    match times {
        [ours, theirs] => println!(
            "{what}: {ours:.2?}, {theirs:.2?}, {:.1}",
            theirs.as_secs_f64() / ours.as_secs_f64()
        ),
        times => println!("{what}: {times:.2?}"),
    }
}
