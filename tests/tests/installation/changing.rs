//! Replacing processes, credentials and certificates without a restart of the installation. No call that can be retried
//! safely may fail meanwhile.

use hamlet_tests::{
    certificates::Authority,
    cluster::{Cluster, Part},
    load::Load,
};
use test_kit::eventually_blocking;

/// The number of calls that must succeed before the next change.
const SOME: u64 = 40;

const DOMAIN: &str = "alice.example";

fn add_alice(cluster: &Cluster) {
    let _ = cluster
        .cli()
        .run(&format!("instances add {DOMAIN} --email a@example.org"))
        .done();
}

async fn load(cluster: &Cluster) -> Load {
    let credential = std::fs::read_to_string(cluster.path("admin-credential")).unwrap();
    let admin = cluster.address(Part::Gateway, 0);
    Load::begin(admin, credential.trim(), DOMAIN, 2).await
}

#[tokio::test(flavor = "multi_thread")]
async fn services_restart_one_after_the_other() {
    let mut cluster = Cluster::new().replicas(2).start();
    add_alice(&cluster);
    let load = load(&cluster).await;
    for part in [Part::Instances, Part::Files, Part::Apps] {
        for replica in 0..2 {
            load.goes_on(SOME).await;
            cluster.stop(part, replica, "TERM");
            load.goes_on(SOME).await;
            cluster.start_one(part, replica);
            cluster.wait_for(part, replica);
        }
    }
    load.goes_on(SOME).await;
    assert!(load.end().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_replaced() {
    let cluster = Cluster::new()
        .replicas(2)
        .flags(|part| match part {
            Part::Gateway => vec!["--credential-overlap=600".to_owned()],
            _ => Vec::new(),
        })
        .start();
    add_alice(&cluster);
    let load = load(&cluster).await;
    for credential in ["cluster-key", "admin-credential", "couchdb-password"] {
        load.goes_on(SOME).await;
        cluster.write(credential, &format!("the second {credential}"));
        // All servers read the same file. A server that has not read the new key reads it when it receives that key.
        load.goes_on(SOME).await;
    }
    // The admin door accepts the new credential. The load still uses the old one.
    let _ = cluster.cli().run("instances count").done();
    load.goes_on(SOME).await;
    assert!(load.end().await.is_empty());
    for part in Part::ALL {
        let log = cluster.logged(part, 0);
        assert!(!log.contains("the second"), "a credential is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_credential_expires() {
    let cluster = Cluster::new()
        .flags(|_| vec!["--credential-overlap=0".to_owned()])
        .start();
    let old = cluster.path("old-credential");
    std::fs::copy(cluster.path("admin-credential"), &old).unwrap();
    cluster.write("admin-credential", "");
    let _ = cluster.cli_with(&old).run("instances count").done();
    cluster.write("admin-credential", "another");
    let _ = cluster.cli().run("instances count").done();
    let refused = cluster.cli_with(&old).run("instances count");
    assert_eq!(refused.code, 5, "{refused:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_speak_tls_with_each_other_and_with_nobody_else() {
    let place = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.write(place.path(), "server");
    let flags = ["cert", "key", "ca"]
        .map(|file| format!("--tls-{file}-file={}", place.path().join(file).display()));
    let cluster = Cluster::new()
        .tls()
        .flags(move |part| match part {
            Part::Database => Vec::new(),
            _ => flags.to_vec(),
        })
        .start();
    add_alice(&cluster);
    let load = load(&cluster).await;
    load.goes_on(SOME).await;

    // Certificates are replaced. Connections that are made from then on use the new ones.
    authority.write(place.path(), "server");
    load.goes_on(SOME).await;
    assert!(load.end().await.is_empty());

    // A client with a certificate of another authority, and a client without one.
    let elsewhere = tempfile::tempdir().unwrap();
    Authority::new().write(elsewhere.path(), "server");
    let ask = |files: Option<&std::path::Path>| {
        let mut asking = std::process::Command::new(hamlet_tests::programs::program("files-svc"));
        asking
            .arg("health")
            .arg(format!("--listen={}", cluster.address(Part::Files, 0)));
        if let Some(files) = files {
            asking.args(
                ["cert", "key", "ca"]
                    .map(|file| format!("--tls-{file}-file={}", files.join(file).display())),
            );
        }
        asking.output().unwrap().status.code()
    };
    assert_eq!(ask(Some(place.path())), Some(0));
    assert_eq!(ask(Some(elsewhere.path())), Some(1));
    assert_eq!(ask(None), Some(1));
}

#[test]
fn incomplete_tls_settings_are_refused_at_the_start() {
    let cluster = Cluster::new();
    let refused = |flags: &[&str]| {
        let started = std::process::Command::new(hamlet_tests::programs::program("files-svc"))
            .arg("--cluster-key-file")
            .arg(cluster.path("cluster-key"))
            .arg("--contents")
            .arg(cluster.path("contents"))
            .args(flags)
            .output()
            .unwrap();
        assert!(!started.status.success());
        String::from_utf8(started.stderr).unwrap()
    };
    let told = refused(&["--tls-cert-file=/nowhere"]);
    assert!(told.contains("--tls-key-file"), "{told}");
    let told = refused(&[
        "--tls-cert-file=/nowhere",
        "--tls-key-file=/nowhere",
        "--tls-ca-file=/nowhere",
    ]);
    assert!(
        told.starts_with("error: --tls-cert-file: cannot read /nowhere"),
        "{told}"
    );
    assert_eq!(told.lines().count(), 1, "{told}");
}

#[test]
fn a_hung_replica_is_detected() {
    let cluster = Cluster::new().replicas(2).start();
    add_alice(&cluster);
    cluster.signal(Part::Files, 0, "STOP");
    // Calls on the hanging connection fail; calls on new connections do not.
    eventually_blocking("an answer of the other replica each time", || {
        let answered = (0..4).all(|_| {
            let mut command = cluster.cli().command(&format!("files ls {DOMAIN}"));
            let mut child = command
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap();
            let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
            loop {
                if let Some(status) = child.try_wait().unwrap() {
                    return status.success();
                }
                if std::time::Instant::now() > end {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    return false;
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        });
        answered.then_some(())
    });
    cluster.signal(Part::Files, 0, "CONT");
}
