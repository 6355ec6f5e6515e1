//! `hamlet instances ls` with ten thousand instances: neither the server nor the command line holds the whole list in
//! memory.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a failed expectation is the test failing"
)]

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use hamlet_tests::{
    daemon::Options,
    database::{Database, encode},
};
use reqwest::Method;
use serde_json::{Value, json};

const INSTANCES: usize = 10_000;
/// After this number of lines, all buffers have been allocated.
const WARM: usize = 2_000;
/// Maximum growth of memory for the rest of the list, in KiB. The text of these lines takes more than twice as much.
const GROWTH: u64 = 6 * 1024;

/// The peak memory of a process, in KiB.
fn peak(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Copies the only document of a database, under ids in ascending order.
async fn multiply(database: &Database, name: &str, change: impl Fn(&mut Value, usize)) {
    let mut template = database.plain_documents(name).await.remove(0);
    template.as_object_mut().unwrap().remove("_rev");
    let numbers: Vec<usize> = (0..INSTANCES - 1).collect();
    for chunk in numbers.chunks(1000) {
        let copies: Vec<Value> = chunk
            .iter()
            .map(|&number| {
                let mut copy = template.clone();
                copy["_id"] = json!(format!("f{number:031x}"));
                copy["domain"] = json!(format!("n{number}.localhost"));
                change(&mut copy, number);
                copy
            })
            .collect();
        let path = format!("{}/_bulk_docs", encode(name));
        let body = json!({ "docs": copies });
        let (status, _) = database.call(Method::POST, &path, Some(body)).await;
        assert!(status.is_success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_instances_are_listed_in_constant_memory() {
    let database = Database::embedded().await;
    let place = tempfile::tempdir().unwrap();
    let options = Options::new(&place.path().join("data"))
        .flag(format!("--couchdb={}", database.url()))
        .flag("--log=warn");
    let daemon = options.start();
    let door = hamlet_tests::grpc::Door::open(&daemon).await;
    door.create("first.localhost").await.unwrap();
    daemon.kill();
    for name in ["global/hamlet-instances", "global/instances"] {
        multiply(&database, name, |copy, number| {
            copy["prefix"] = json!(format!("cozy{number:032x}"));
            // Rows are long, so that a buffered list would exceed the limit.
            copy["uuid"] = json!("u".repeat(2000));
        })
        .await;
    }

    multiply(&database, "global/hamlet-claims", |copy, number| {
        let name = format!("n{number}.localhost");
        copy["_id"] = json!(name);
        copy["name"] = json!(name);
        copy["instance"] = json!(format!("f{number:031x}"));
    })
    .await;

    let daemon = options.start();
    // What the server reads once after its start is not what is measured. An unknown name is told when that is done.
    let unknown = daemon.cli().run("instances show nobody.localhost");
    assert_eq!(unknown.code, 3, "{unknown:?}");
    let (pid, mut command) = (daemon.pid(), daemon.cli().command("instances ls -o json"));
    let listed = tokio::task::spawn_blocking(move || {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in lines.by_ref().take(WARM) {
            line.unwrap();
        }
        let warm = (peak(child.id()), peak(pid));
        // Remaining lines keep the command line running, so that its memory can be read.
        let rest = lines
            .by_ref()
            .take(INSTANCES - WARM - 1)
            .map(Result::unwrap);
        let bytes: usize = rest.map(|line| line.len()).sum();
        let end = (peak(child.id()), peak(pid));
        let last = lines.count();
        assert!(child.wait().unwrap().success());
        (warm, end, bytes, last)
    });
    let (warm, end, bytes, last) = listed.await.unwrap();
    assert_eq!(last, 1, "the list is not whole");
    assert!(
        bytes as u64 / 1024 > 2 * GROWTH,
        "{bytes} bytes would show nothing"
    );
    // Kernels add up what their cores have counted only roughly, so that a peak may shrink by some pages.
    let grown = (end.0.saturating_sub(warm.0), end.1.saturating_sub(warm.1));
    println!("peaks in KiB, command line and server: {warm:?}, then {end:?}");
    assert!(grown.0 < GROWTH, "the command line grew by {} KiB", grown.0);
    assert!(grown.1 < GROWTH, "the server grew by {} KiB", grown.1);
}
