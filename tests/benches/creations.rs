//! How fast instances are created, beside the floor measured in the same run.
//!
//! The floor is what no implementation can do without: the creation of the same databases and design documents over
//! a plain HTTP client, sixteen at once as ours. `cargo bench -p hamlet-tests` prints, for the embedded database and,
//! when `HAMLET_TEST_COUCHDB_URL` names one, for a CouchDB: creations a second, p50 and p99 at 1, 4 and 16 at once,
//! the ratio to the floor, and the number of requests a creation makes to the database.
//!
//! Every database of the named CouchDB is deleted. `--smoke` runs each once, to see that it works.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and fails loudly"
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

/// How much is timed at each concurrency.
struct Size {
    /// Ours and the floor in turn, so often.
    rounds: usize,
    /// Creations a round; at least twice as many as go at once, so that the start and the end of a round weigh
    /// little.
    creations: usize,
    at_once: &'static [usize],
}

const FULL: Size = Size {
    rounds: 8,
    creations: 12,
    at_once: &[1, 4, 16],
};
const SMOKE: Size = Size {
    rounds: 1,
    creations: 2,
    at_once: &[2],
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
        // The creation alone: listings in the background count too, so the least of some is taken.
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
    for &at_once in size.at_once {
        // In turn, so that a machine that changes its speed changes it for both.
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

fn report(name: &str, at_once: usize, what: &str, times: &mut [Duration], took: Duration) {
    times.sort_unstable();
    let at = |part: f64| {
        let last = times.len().saturating_sub(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a few hundred measurements"
        )]
        let place = (last as f64 * part).round() as usize;
        times.get(place).copied().unwrap_or_default().as_secs_f64() * 1e3
    };
    #[expect(clippy::cast_precision_loss, reason = "a few hundred measurements")]
    let rate = times.len() as f64 / took.as_secs_f64();
    println!(
        "{name}: {what} at {at_once:2} at once: {rate:6.1} a second, p50 {:6.1} ms, p99 {:6.1} ms",
        at(0.5),
        at(0.99)
    );
}

/// Does `count` pieces of work, `at_once` at once. The time of all, and of each.
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

/// What the first instance is made of.
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

/// Makes databases and documents like those of an instance, and nothing else.
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

/// Creates instances over gRPC, without a process for each.
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
}

/// How much memory an idle `hamletd` holds, with everything in it.
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
