//! `kill -9` at any moment: each instance is complete or absent, and nothing is left over.

use std::{process::Stdio, thread, time::Duration};

use hamlet_tests::{
    daemon::{Daemon, Options},
    database::Database,
};
use test_kit::{dice, eventually_blocking};

/// How often the process is killed during each kind of operation: 50 times in total.
const ROUNDS: u32 = 25;

fn begin(daemon: &Daemon, words: &str) -> std::process::Child {
    daemon
        .cli()
        .command(words)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The duration of a command without an interruption.
fn how_long(daemon: &Daemon, words: &str) -> Duration {
    let begun = std::time::Instant::now();
    let _ = daemon.cli().run(words).done();
    begun.elapsed()
}

/// Waits until every operation has ended.
fn settle(daemon: &Daemon) {
    eventually_blocking("the end of all operations", || {
        let listed = daemon.cli().run("operations ls -o json").done();
        listed
            .json_lines()
            .iter()
            .all(|operation| operation["done"] == true)
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_or_absent_after_every_kill() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let options = Options::new(&data);
    let mut dice = dice::seeded();

    let daemon = options.start();
    let add = how_long(&daemon, "instances add first.localhost --apps home");
    let destroy = how_long(&daemon, "instances destroy --force first.localhost");
    daemon.kill();

    for round in 0..ROUNDS {
        // Killed during a creation…
        let daemon = options.start();
        let name = format!("n{round}.localhost");
        let mut client = begin(&daemon, &format!("instances add {name} --apps home"));
        thread::sleep(add.mul_f64(dice.f64()));
        daemon.kill();
        let _ = client.kill();
        client.wait().unwrap();

        // …and again during the destruction of the instance, if it exists.
        let daemon = options.start();
        settle(&daemon);
        let cli = daemon.cli();
        if cli.run(&format!("instances show {name}")).code != 0 {
            let _ = cli.run(&format!("instances add {name}")).done();
        }
        let tree = cli.run(&format!("files tree {name}")).done().out;
        assert!(tree.contains("Administrative"), "round {round}: {tree}");
        let mut client = begin(&daemon, &format!("instances destroy --force {name}"));
        thread::sleep(destroy.mul_f64(dice.f64()));
        daemon.kill();
        let _ = client.kill();
        client.wait().unwrap();

        let mut daemon = options.start();
        settle(&daemon);
        daemon.signal("TERM");
        assert!(daemon.wait(Duration::from_secs(20)).success());
        let database = Database::of_stopped(&data).await;
        let left = database.leftovers().await;
        assert!(left.is_empty(), "round {round}: {left:#?}");
        let instances = database.plain_documents("global/instances").await;
        for instance in &instances {
            let deleting = instance.get("deleting").is_some();
            assert!(!deleting, "round {round}: half destroyed: {instance}");
        }
        // Contents are shared by their hash; only the pointers to them belong to an instance.
        let prefixes: Vec<&str> = instances
            .iter()
            .filter_map(|instance| instance.get("prefix")?.as_str())
            .collect();
        for path in walk(&data.join("contents")) {
            let ownerless =
                path.contains("cozy") && !prefixes.iter().any(|prefix| path.contains(prefix));
            assert!(!ownerless, "round {round}: {path} is left");
        }
        database.close().await;
    }
}

/// All files below a folder.
fn walk(folder: &std::path::Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path)
            } else {
                vec![path.display().to_string()]
            }
        })
        .collect()
}
