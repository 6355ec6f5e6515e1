//! Measures how fast instances are created, relative to a baseline measured in the same run, and what the other
//! operations on one instance cost, relative to one write.
//!
//! The baseline (`floor` in the output) is the minimum that every implementation needs: creating the same databases and
//! design documents with a plain HTTP client, with sixteen concurrent requests as in Hamlet. `cargo bench -p
//! hamlet-tests` measures the embedded database and, when `HAMLET_TEST_COUCHDB_URL` names one, a CouchDB. It prints:
//! creations per second; p50 and p99 with 1, 4 and 16 concurrent creations; the ratio to the baseline; and the number
//! of database requests per creation. For blocking, changing one field of, showing and destroying an instance it
//! prints: p50 and p99, one at a time; the ratio to a write of one document in the same round; and the number of
//! requests.
//!
//! Every database of the named CouchDB is deleted. `--smoke` runs each measurement once, as a functional check.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints its results, and panics on errors"
)]

use std::{
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::join_all;
use hamlet_tests::{
    daemon::{Daemon, Options},
    database::{Database, encode},
};
use reqwest::Method;
use serde_json::{Value, json};

/// The number of measurements.
struct Size {
    /// The number of rounds. Hamlet and the baseline alternate.
    rounds: usize,
    /// Creations per round: at least twice the concurrency, so that the start and the end of a round have little
    /// weight.
    creations: usize,
    at_once: &'static [usize],
    /// How often each of the other operations is measured.
    others: usize,
}

const FULL: Size = Size {
    rounds: 8,
    creations: 12,
    at_once: &[1, 4, 16],
    others: 40,
};
const SMOKE: Size = Size {
    rounds: 1,
    creations: 2,
    at_once: &[2],
    others: 2,
};

fn main() {
    let size = if std::env::args().any(|word| word == "--smoke") {
        SMOKE
    } else {
        FULL
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        measure("embedded", Database::embedded().await, &size).await;
        if std::env::var_os("HAMLET_TEST_COUCHDB_URL").is_some_and(|url| !url.is_empty()) {
            measure("CouchDB", Database::empty().await, &size).await;
        }
        idle_memory().await;
    });
}

async fn measure(name: &str, database: Database, size: &Size) {
    let database = Arc::new(database);
    let place = tempfile::tempdir().expect("a folder");
    let daemon = Options::new(&place.path().join("data"))
        .flag(format!("--couchdb={}", database.url()))
        .flag("--log=warn")
        .start();
    let client = Arc::new(Client::of(&daemon).await);
    client.create("first").await;
    let shape = shape_of_first(&database).await;
    println!("\n{name}: {} databases an instance", shape.len());
    if let Some(before) = database.served() {
        // Background listings send requests too, so the minimum of several creations is taken.
        let mut least = u64::MAX;
        let mut last = before;
        for number in 0..3 {
            client.create(&format!("counted{number}")).await;
            let now = database.served().expect("it counted before");
            least = least.min(now - last);
            last = now;
        }
        println!("{name}: {least} requests to the database a creation");
    }
    others(name, &database, &client, size.others).await;
    for &at_once in size.at_once {
        // Hamlet and the baseline alternate, so that a change of the machine's speed affects both.
        let mut ours = Vec::new();
        let mut floor = Vec::new();
        let (mut ours_took, mut floor_took) = (Duration::ZERO, Duration::ZERO);
        for round in 0..size.rounds {
            let count = size.creations.max(2 * at_once);
            let (took, times) = timed(at_once, count, |number| {
                let (database, shape) = (Arc::clone(&database), shape.clone());
                async move {
                    bare(
                        &database,
                        &shape,
                        &format!("floor{at_once}x{round}x{number}"),
                    )
                    .await;
                }
            })
            .await;
            floor_took += took;
            floor.extend(times);
            let (took, times) = timed(at_once, count, |number| {
                let client = Arc::clone(&client);
                async move { client.create(&format!("n{at_once}x{round}x{number}")).await }
            })
            .await;
            ours_took += took;
            ours.extend(times);
        }
        report(name, at_once, "ours ", &mut ours, ours_took);
        report(name, at_once, "floor", &mut floor, floor_took);
        println!(
            "{name}: at {at_once:2} at once, ours takes {:.2} of the floor",
            ours_took.as_secs_f64() / floor_took.as_secs_f64()
        );
    }
}

/// An operation on one instance: its label, and its method and request for a domain.
type Other = (&'static str, fn(&str) -> (&'static str, Value));

/// The measured operations, each with a method and its request. The last one destroys the instance.
const OTHERS: [Other; 5] = [
    ("block", |name| {
        let request = json!({"name": name, "reason": "PAYMENT_FAILED"});
        ("hamlet.instance.v1.InstanceService/BlockInstance", request)
    }),
    ("unblock", |name| {
        let request = json!({"name": name});
        (
            "hamlet.instance.v1.InstanceService/UnblockInstance",
            request,
        )
    }),
    ("modify", |name| {
        let request = json!({"instance": {"name": name, "locale": "fr"}, "updateMask": "locale"});
        ("hamlet.instance.v1.InstanceService/UpdateInstance", request)
    }),
    ("show", |name| {
        let request = json!({"name": name});
        ("hamlet.instance.v1.InstanceService/GetInstance", request)
    }),
    ("destroy", |name| {
        let request = json!({"name": name});
        ("hamlet.instance.v1.InstanceService/DeleteInstance", request)
    }),
];

/// Measures the other operations, one at a time, each next to a write of one document.
async fn others(name: &str, database: &Database, client: &Client, count: usize) {
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); OTHERS.len()];
    let mut least = [u64::MAX; OTHERS.len()];
    let mut writes = Vec::new();
    database.call(Method::PUT, "bench-writes", None).await;
    for number in 0..count {
        let domain = format!("other{number}");
        client.create(&domain).await;
        let instance = format!("instances/{domain}.localhost");
        for (position, (_, ask)) in OTHERS.iter().enumerate() {
            let (method, request) = ask(&instance);
            let before = database.served();
            let begun = Instant::now();
            client.call(method, &request).await;
            if let Some(times) = times.get_mut(position) {
                times.push(begun.elapsed());
            }
            // The release of the instance counts too, and happens after the response.
            tokio::time::sleep(Duration::from_millis(20)).await;
            if let (Some(before), Some(now), Some(least)) =
                (before, database.served(), least.get_mut(position))
            {
                *least = now.saturating_sub(before).min(*least);
            }
        }
        let begun = Instant::now();
        let path = format!("bench-writes/{number}");
        database
            .call(Method::PUT, &path, Some(json!({"n": number})))
            .await;
        writes.push(begun.elapsed());
    }
    writes.sort_unstable();
    let write = writes.get(writes.len() / 2).copied().unwrap_or_default();
    for (((what, _), times), least) in OTHERS.iter().zip(&mut times).zip(least) {
        let took = times.iter().sum();
        report(name, 1, &format!("{what:7}"), times, took);
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        let requests = if least == u64::MAX {
            String::new()
        } else {
            format!(", {least} requests to the database")
        };
        println!(
            "{name}: {what} takes {:.1} of one write{requests}",
            median.as_secs_f64() / write.as_secs_f64()
        );
    }
}

fn report(name: &str, at_once: usize, what: &str, times: &mut [Duration], took: Duration) {
    times.sort_unstable();
    let at = |part: f64| {
        let last = times.len().saturating_sub(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "the numbers are small: a few hundred measurements"
        )]
        let place = (last as f64 * part).round() as usize;
        times.get(place).copied().unwrap_or_default().as_secs_f64() * 1e3
    };
    #[expect(
        clippy::cast_precision_loss,
        reason = "the numbers are small: a few hundred measurements"
    )]
    let rate = times.len() as f64 / took.as_secs_f64();
    println!(
        "{name}: {what} at {at_once:2} at once: {rate:6.1} a second, p50 {:6.1} ms, p99 {:6.1} ms",
        at(0.5),
        at(0.99)
    );
}

/// Runs `work` `count` times, with `at_once` concurrent runs. Returns the total time and the time of each run.
async fn timed<F, W>(at_once: usize, count: usize, work: F) -> (Duration, Vec<Duration>)
where
    F: Fn(usize) -> W,
    W: Future<Output = ()>,
{
    let next = AtomicUsize::new(0);
    let begun = Instant::now();
    let workers = (0..at_once).map(|_| async {
        let mut times = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return times;
            }
            let begun = Instant::now();
            work(number).await;
            times.push(begun.elapsed());
        }
    });
    let times = join_all(workers).await.into_iter().flatten().collect();
    (begun.elapsed(), times)
}

/// Database names without their prefix, each with the documents to write.
type Shape = Arc<Vec<(String, Vec<Value>)>>;

/// The databases and design documents of the first instance.
async fn shape_of_first(database: &Database) -> Shape {
    let instances = database.plain_documents("global/instances").await;
    let prefix = instances
        .first()
        .and_then(|instance| instance["prefix"].as_str())
        .expect("an instance")
        .to_owned();
    let mut shape = Vec::new();
    for name in database.databases().await {
        let Some(doctype) = name.strip_prefix(&format!("{prefix}/")) else {
            continue;
        };
        let mut documents = database.documents(&name).await;
        for document in &mut documents {
            document.as_object_mut().expect("an object").remove("_rev");
        }
        shape.push((doctype.to_owned(), documents));
    }
    Arc::new(shape)
}

/// Creates databases and documents like those of an instance, and nothing else.
async fn bare(database: &Database, shape: &Shape, prefix: &str) {
    let made = shape.iter().map(|(doctype, documents)| async move {
        let name = encode(&format!("{prefix}/{doctype}"));
        database
            .call(Method::PUT, &format!("{name}?q=1"), None)
            .await;
        if !documents.is_empty() {
            let body = json!({ "docs": documents });
            database
                .call(Method::POST, &format!("{name}/_bulk_docs"), Some(body))
                .await;
        }
    });
    join_all(made).await;
}

/// Creates instances over gRPC, without starting a process for each.
struct Client {
    door: hamlet_tests::grpc::Door,
}

impl Client {
    async fn of(daemon: &Daemon) -> Self {
        Self {
            door: hamlet_tests::grpc::Door::open(daemon).await,
        }
    }

    async fn create(&self, name: &str) {
        self.door
            .create(&format!("{name}.localhost"))
            .await
            .expect("it is created");
    }

    /// Calls a method. If the response is an operation, waits for its end.
    async fn call(&self, method: &str, request: &Value) {
        if method.ends_with("/GetInstance") {
            self.door.call(method, request).await.expect("an answer");
            return;
        }
        let accepted = self.door.operation(method, request).await;
        let name = accepted.expect("it is accepted").name;
        self.door.end_of(&name).await.expect("it ends");
    }
}

/// Prints the memory of an idle `hamletd` with all its parts.
async fn idle_memory() {
    let place = tempfile::tempdir().expect("a folder");
    let begun = Instant::now();
    let daemon = Options::new(&place.path().join("data")).start();
    let ready = begun.elapsed();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let status = Path::new("/proc")
        .join(daemon.pid().to_string())
        .join("status");
    let status = std::fs::read_to_string(status).unwrap_or_default();
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .map_or("unknown", str::trim);
    println!("\nidle hamletd: {resident} resident, ready after {ready:.2?}");
    let uname = Command::new("uname").arg("-srm").output().expect("uname");
    print!("{}", String::from_utf8_lossy(&uname.stdout));
}
