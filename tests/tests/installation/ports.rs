//! Domains hold the port of the public door. Links with another port lead nowhere, which is warned of.

use std::fs;

use hamlet_tests::daemon::{Daemon, Options};
use test_kit::eventually_blocking;

const MOVED: &str = "instances have another port than the public door";

fn start(place: &tempfile::TempDir, port: u16) -> Daemon {
    Options::new(&place.path().join("data"))
        .flag(format!("--public-port={port}"))
        .start()
}

#[test]
fn links_that_lead_nowhere_are_warned_of() {
    let place = tempfile::tempdir().unwrap();
    let log = || fs::read_to_string(place.path().join("data.log")).unwrap();
    let daemon = start(&place, 8080);
    let cli = daemon.cli();
    for (domain, is_warned) in [
        ("alice.localhost:8080", false),
        ("bob.localhost", false),
        ("carol.localhost:9090", true),
    ] {
        let added = cli.run(&format!("instances add {domain}"));
        assert_eq!(added.code, 0, "{added:#?}");
        assert_eq!(added.err.contains("port 9090"), is_warned, "{added:#?}");
    }
    let _ = cli.run("instances destroy carol.localhost --force").done();
    daemon.kill();
    assert!(!log().contains(MOVED), "{}", log());

    let moved = start(&place, 7070);
    eventually_blocking("the warning", || log().contains(MOVED).then_some(()));
    let line = log()
        .lines()
        .find(|line| line.contains(MOVED))
        .unwrap()
        .to_owned();
    assert!(line.contains("alice.localhost:8080"), "{line}");
    let cli = moved.cli();
    let creation = cli
        .run("operations ls --kind create --domain alice.localhost:8080 -o name")
        .done()
        .out;
    for command in [
        "instances show alice.localhost:8080",
        "instances register-link alice.localhost:8080",
        "instances register-link --rotate alice.localhost:8080",
        &format!("operations wait {creation}"),
    ] {
        let told = cli.run(command);
        assert!(
            told.err
                .contains("links to alice.localhost:8080 lead nowhere"),
            "{command}: {told:#?}"
        );
        let _ = told.done();
    }
}
