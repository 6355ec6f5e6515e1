//! Measures a `hamletd` with ten thousand instances in its own database: how long they take with all the work that is
//! left for later, what it does and needs at rest, and whether adding, destroying and starting take longer than with
//! no instances. Then all that Hamlet knows of them is deleted, as if other software had made them: how soon they are
//! found and kept from being taken, and how fast they are adopted.
//!
//! `--instances N` chooses how many. `--smoke` takes 20, as a functional check.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark prints its results, and panics on errors; its numbers are small"
)]

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use futures::future::join_all;
use hamlet_tests::{
    daemon::{Daemon, Options},
    database::{Database, encode},
    grpc::Door,
};
use reqwest::Method;
use serde_json::json;
use tonic::Code;

/// Creations at once.
const AT_ONCE: usize = 16;

/// How long to wait for rest at most.
const PATIENCE: Duration = Duration::from_hours(2);

/// A second with less processor time than this is a second at rest: one hundredth of a core.
const REST: Duration = Duration::from_millis(10);

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let named = words.iter().position(|word| word == "--instances");
    let named = named.and_then(|place| words.get(place + 1)?.parse().ok());
    let is_smoke = words.iter().any(|word| word == "--smoke");
    let instances = named.unwrap_or(if is_smoke { 20 } else { 10_000 });
    let tries = if is_smoke { 2 } else { 40 };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(measure(instances, tries));
}

async fn measure(instances: usize, tries: usize) {
    let place = tempfile::tempdir().expect("a folder");
    let options = Options::new(&place.path().join("data"));
    let begun = Instant::now();
    let mut daemon = options.start();
    let first_start = begun.elapsed();
    let door = Door::open(&daemon).await;
    one_by_one(&door, "warm", 1).await;
    let (add, destroy) = one_by_one(&door, "before", tries).await;
    println!("with no instances: add {add:.1?}, destroy {destroy:.1?} (p50, one at a time)");

    let begun = Instant::now();
    create(&door, instances).await;
    let created = begun.elapsed();
    let worked = processor_time(&daemon);
    let rest = until_rest(&daemon).await;
    let later = processor_time(&daemon) - worked;
    println!(
        "{instances} instances: {:.1} a second at {AT_ONCE} at once, and {:.1} a second until nothing is left to do: \
         {later:.1?} of processor time in {rest:.1?} after the last one",
        instances as f64 / created.as_secs_f64(),
        instances as f64 / (created + rest).as_secs_f64(),
    );

    let before = processor_time(&daemon);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let used = processor_time(&daemon) - before;
    println!(
        "at rest: {:.2} % of a core, {} resident, {:.1} KiB of disk an instance",
        used.as_secs_f64() * 10.0,
        resident(&daemon),
        size(daemon.data()) as f64 / 1024.0 / instances as f64
    );

    let (add_full, destroy_full) = one_by_one(&door, "after", tries).await;
    println!(
        "with {instances} instances: add {add_full:.1?}, {:.2} of before; destroy {destroy_full:.1?}, {:.2} of before",
        add_full.as_secs_f64() / add.as_secs_f64(),
        destroy_full.as_secs_f64() / destroy.as_secs_f64()
    );
    drop(door);
    daemon.signal("TERM");
    assert!(daemon.wait(Duration::from_secs(30)).success());
    let begun = Instant::now();
    let mut again = options.start();
    println!(
        "ready after {:.2?} with {instances} instances, and after {first_start:.2?} in an empty folder",
        begun.elapsed()
    );
    again.signal("TERM");
    assert!(again.wait(Duration::from_secs(30)).success());
    drop(again);
    forget(&place.path().join("data")).await;
    adopt(&options, instances).await;
}

/// Deletes what Hamlet knows of its instances. Their own databases and documents stay.
async fn forget(data: &Path) {
    let database = Database::of_stopped(data).await;
    for name in database.databases().await {
        if name.starts_with("global/hamlet-") {
            let path = encode(&name);
            let (status, answer) = database.call(Method::DELETE, &path, None).await;
            assert!(status.is_success(), "{name}: {answer}");
        }
    }
    database.close().await;
}

/// Starts with instances that nobody has seen before.
async fn adopt(options: &Options, instances: usize) {
    let begun = Instant::now();
    let daemon = options.start();
    let ready = begun.elapsed();
    let door = Door::open(&daemon).await;
    let last = format!("crowd{}.localhost", instances - 1);
    let named = json!({"name": format!("instances/{last}")});
    let ready_at = Instant::now();
    let (found, taken) = tokio::join!(
        async {
            let found = door.call("hamlet.instance.v1.InstanceService/GetInstance", &named);
            found.await.expect("it is found");
            ready_at.elapsed()
        },
        async {
            let taken = door.create(&last).await;
            assert_eq!(taken.expect_err("it is taken").code(), Code::AlreadyExists);
            ready_at.elapsed()
        }
    );
    let (mut asked, mut adopted) = (Vec::new(), Duration::ZERO);
    while adopted.is_zero() {
        let begun = Instant::now();
        let left = door.unadopted().await.expect("they are counted");
        asked.push(begun.elapsed());
        if left == 0 {
            adopted = ready_at.elapsed();
        } else {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    println!(
        "as if others had made {instances} instances: ready after {ready:.2?}; then the last one is found after \
         {found:.1?} and refused as a new name after {taken:.1?}; all are adopted after {adopted:.1?}, {:.0} a second; \
         a count takes {:.1?} meanwhile (p50)",
        instances as f64 / adopted.as_secs_f64(),
        median(asked)
    );
}

/// Creates and destroys instances one at a time; the median of each.
async fn one_by_one(door: &Door, label: &str, tries: usize) -> (Duration, Duration) {
    let (mut added, mut destroyed) = (Vec::new(), Vec::new());
    for number in 0..tries {
        let domain = format!("{label}{number}.localhost");
        let begun = Instant::now();
        door.create(&domain).await.expect("it is created");
        added.push(begun.elapsed());
        let begun = Instant::now();
        let request = json!({"name": format!("instances/{domain}")});
        let accepted = door
            .operation(
                "hamlet.instance.v1.InstanceService/DeleteInstance",
                &request,
            )
            .await;
        let name = accepted.expect("it is accepted").name;
        door.end_of(&name).await.expect("it is destroyed");
        destroyed.push(begun.elapsed());
    }
    (median(added), median(destroyed))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

async fn create(door: &Door, instances: usize) {
    let next = AtomicUsize::new(0);
    let workers = (0..AT_ONCE).map(|_| async {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= instances {
                return;
            }
            let domain = format!("crowd{number}.localhost");
            door.create(&domain).await.expect("it is created");
        }
    });
    join_all(workers).await;
}

/// How long it takes until two seconds in a row are at rest.
async fn until_rest(daemon: &Daemon) -> Duration {
    let begun = Instant::now();
    let mut calm = 0;
    while calm < 2 {
        assert!(begun.elapsed() < PATIENCE, "it does not come to rest");
        let before = processor_time(daemon);
        tokio::time::sleep(Duration::from_secs(1)).await;
        calm = if processor_time(daemon) - before <= REST {
            calm + 1
        } else {
            0
        };
    }
    // The two seconds of rest are no work.
    begun.elapsed().saturating_sub(Duration::from_secs(2))
}

/// The processor time that the process has used.
fn processor_time(daemon: &Daemon) -> Duration {
    let stat = Path::new("/proc")
        .join(daemon.pid().to_string())
        .join("stat");
    let stat = fs::read_to_string(stat).expect("the process runs");
    // proc(5): fields 14 and 15 are user and system time, in hundredths of a second. The name of the program, which may
    // have blanks, ends with the last parenthesis.
    let (_, fields) = stat.rsplit_once(')').expect("a name");
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().expect("a number"))
        .sum();
    Duration::from_millis(ticks * 10)
}

fn resident(daemon: &Daemon) -> String {
    let status = Path::new("/proc")
        .join(daemon.pid().to_string())
        .join("status");
    let status = fs::read_to_string(status).unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    resident.map_or("unknown", str::trim).to_owned()
}

/// The bytes of the files below a folder, without the reserve for a full disk, which has the same size for any number of
/// instances.
fn size(folder: &Path) -> u64 {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            bytes += size(&path);
        } else if !path.ends_with("couch.reserve") {
            bytes += entry.metadata().map_or(0, |file| file.len());
        }
    }
    bytes
}
