//! `PROGRAM health`, the command for health checks.

use hamlet_tests::{
    cluster::{Cluster, Part},
    daemon::Options,
};
use test_kit::eventually_blocking;

#[test]
fn each_program_of_a_cluster_reports_its_health_in_one_line() {
    let mut cluster = Cluster::new();
    for part in Part::ALL {
        let before = cluster.health(part, 0);
        assert_eq!(before.status.code(), Some(1), "{part:?}");
        let told = String::from_utf8(before.stderr).unwrap();
        assert_eq!(told.lines().count(), 1, "{told}");
        let address = cluster.address(part, 0).to_string();
        assert!(told.contains(&address), "{told}");
    }
    cluster = cluster.start();
    for part in Part::ALL {
        let after = cluster.health(part, 0);
        assert!(after.status.success(), "{part:?}");
        let told = String::from_utf8(after.stdout).unwrap();
        assert_eq!(told, format!("{} serves\n", cluster.address(part, 0)));
    }
    let _ = cluster
        .cli()
        .run("instances add alice.localhost:8080 --locale fr --public-name Alice --email a@example.org")
        .done();
}

#[test]
fn a_service_without_its_database_is_not_healthy() {
    let mut cluster = Cluster::new();
    cluster.start_one(Part::Files, 0);
    eventually_blocking("listening", || {
        cluster
            .logged(Part::Files, 0)
            .contains("listens")
            .then_some(())
    });
    let asked = cluster.health(Part::Files, 0);
    assert_eq!(asked.status.code(), Some(1));
    let told = String::from_utf8(asked.stderr).unwrap();
    assert!(told.contains("does not answer within"), "{told}");
}

#[test]
fn an_installation_in_one_process_is_found_by_its_folder() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let health = || {
        std::process::Command::new(hamlet_tests::programs::program("hamletd"))
            .arg("health")
            .arg("--data")
            .arg(&data)
            // As the server was started: the system chooses the port, and the folder holds it. The server at the default
            // port may be another installation.
            .arg("--admin-listen=127.0.0.1:0")
            .output()
            .unwrap()
    };
    assert_eq!(health().status.code(), Some(1));
    let daemon = Options::new(&data).start();
    let told = health();
    assert!(told.status.success());
    let told = String::from_utf8(told.stdout).unwrap();
    assert_eq!(told, format!("{} serves\n", daemon.admin));
}
