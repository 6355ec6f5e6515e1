//! What a large directory takes. Run with
//! `cargo test -p gateway --lib --config profile.dev.package.gateway.opt-level=3
//! --config profile.dev.package.gateway.debug-assertions=false -- --ignored --nocapture directory`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a failed expectation is the test failing, and measures are printed"
)]

use std::time::Instant;

use hamlet_proto::hamlet::instance::v1::{Operator, ResolveHostResponse, Tenant};
use service_kit::secret::{Keyring, Secret};

use super::{Directory, HostEntry, Known, Resolution};
use crate::{Config, host::Host, services::Services};

const INSTANCES: usize = 100_000;

/// A usual instance.
fn response(number: usize) -> ResolveHostResponse {
    let domain = format!("person{number:06}.cloud.example");
    ResolveHostResponse {
        canonical_host: domain.clone(),
        tenant: Some(Tenant {
            id: format!("{number:032x}"),
            prefix: format!("cozy{number:032x}"),
            url: format!("https://{domain}/"),
            context: "families".to_owned(),
            locale: "fr".to_owned(),
            domain,
            ..Tenant::default()
        }),
        state: 1,
        operator: Some(Operator {
            name: "The Example Cloud Company".to_owned(),
            contact: "help@cloud.example".to_owned(),
            link: "https://help.cloud.example/".to_owned(),
        }),
        ..ResolveHostResponse::default()
    }
}

/// The memory of the process, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages = status.split(' ').nth(1).unwrap();
    pages.parse::<usize>().unwrap() * 4096
}

fn directory() -> Directory {
    let config = Config {
        instance_service: "http://127.0.0.1:9".to_owned(),
        ..Config::default()
    };
    let services = Services::new(&config, None).unwrap();
    let key: Keyring = Secret::new("0123456789abcdef0123456789abcdef").into();
    Directory::new(&config, &services, &key).unwrap()
}

/// How long the look-up of one of `count` hosts takes, in nanoseconds.
fn look_up(directory: &Directory, count: usize) -> u128 {
    // Not in the order of memory.
    let hosts: Vec<Host> = (0..count)
        .map(|number| number * 7919 % count)
        .map(|number| Host::parse(&format!("person{number:06}.cloud.example")).unwrap())
        .collect();
    let rounds = INSTANCES / count * 5;
    let mut fastest = u128::MAX;
    for _ in 0..rounds {
        directory.core.freshness.heartbeat();
        let begun = Instant::now();
        let found = hosts.iter().filter(|host| directory.known(host).is_some());
        assert_eq!(found.count(), count);
        fastest = fastest.min(begun.elapsed().as_nanos() / count as u128);
    }
    fastest
}

#[test]
fn an_entry_is_small() {
    assert!(size_of::<HostEntry>() <= 176, "{}", size_of::<HostEntry>());
    assert!(size_of::<Known>() <= 40, "{}", size_of::<Known>());
}

#[tokio::test]
#[ignore = "a measure: other tests disturb it"]
async fn a_hundred_thousand_instances_take_64_mib_and_a_look_up_less_than_a_microsecond() {
    let directory = directory();
    let before = resident();
    for number in 0..INSTANCES {
        let asked = directory.core.freshness.now();
        let response = response(number);
        let host = response.canonical_host.clone();
        let answer = directory.core.take(&host, asked, response);
        assert!(matches!(answer, Resolution::Found(_)));
    }
    let taken = resident() - before;
    println!(
        "{INSTANCES} instances: {:.1} MiB",
        taken as f64 / 1_048_576.0
    );
    assert_eq!(directory.core.known.len(), INSTANCES);
    assert!(taken <= 64 << 20, "{taken}");

    // As a stream keeps them.
    directory.core.freshness.reset();
    for number in 0..INSTANCES {
        let response = response(number);
        let host = response.canonical_host.clone();
        let asked = directory.core.freshness.now();
        directory.core.take(&host, asked, response);
    }
    let taken = resident() - before;
    println!("asked for again: {:.1} MiB", taken as f64 / 1_048_576.0);
    assert!(taken <= 64 << 20, "{taken}");
    let all = look_up(&directory, INSTANCES);
    let some = look_up(&directory, 1000);
    println!("a look-up: {all} ns in turn, {some} ns of a thousand busy hosts");
    if !cfg!(debug_assertions) {
        assert!(all < 1000, "{all}");
    }
    assert!(
        directory
            .known(&Host::parse("nobody.example").unwrap())
            .is_none()
    );
}
