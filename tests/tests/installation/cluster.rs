//! A cluster of processes: each service works alone, replicas share one database, and a replica that dies or hangs is
//! replaced by another.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use hamlet_tests::{
    cluster::{Cluster, Part},
    database::Database,
    programs::root,
};
use serde_json::Value;
use test_kit::{
    dice,
    eventually::{eventually_blocking_within, eventually_within},
    eventually_blocking,
};

/// A takeover waits until the lease has expired and the longest call has timed out.
const TAKEOVER: Duration = Duration::from_secs(180);

/// Two replicas of each service, with an app that can be installed.
fn two_of_each() -> Cluster {
    cluster(2)
}

fn cluster(replicas: u8) -> Cluster {
    let apps = root().join("examples/apps");
    Cluster::new()
        .replicas(replicas)
        .flags(move |part| match part {
            Part::Apps => vec![format!("--app-folder={}", apps.display())],
            Part::Instances => vec!["--instance-scheme=http".to_owned()],
            Part::Database | Part::Files | Part::Gateway => Vec::new(),
        })
}

/// Remains of instances, and incomplete instances.
async fn leftovers(cluster: &Cluster) -> Vec<String> {
    let database = Database::at(&cluster.database_url());
    let mut left = database.leftovers().await;
    for instance in database.plain_documents("global/instances").await {
        if instance.get("deleting").is_some() {
            left.push(format!("half destroyed: {instance}"));
        }
    }
    left
}

#[tokio::test(flavor = "multi_thread")]
async fn each_service_works_as_a_separate_process() {
    let cluster = cluster(1).start();
    let cli = cluster.cli_at(0);
    let _ = cli
        .run("instances add bob.example --locale de --apps home --email bob@example.org")
        .done();
    let shown = cli.run("instances show bob.example -o json").done().json();
    assert_eq!(shown["locale"], "de");
    let tree = cli.run("files tree bob.example").done().out;
    assert!(tree.contains("Administrativ"), "{tree}");
    let _ = cli.run("instances destroy --force bob.example").done();
    assert_eq!(leftovers(&cluster).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn services_and_database_refuse_callers_without_credentials() {
    let cluster = cluster(1).start();
    let secret = cluster.path("no-key");
    std::fs::write(&secret, "a guess").unwrap();
    for service in [Part::Instances, Part::Files, Part::Apps] {
        let address = format!("http://{}", cluster.address(service, 0));
        let refused = hamlet_tests::cli::Cli::new(address, secret.clone()).run("instances count");
        assert_ne!(refused.code, 0, "{service:?}: {refused:#?}");
        assert!(!refused.err.contains("the first cluster-key"));
    }
    let database = cluster.address(Part::Database, 0);
    for guess in ["", "admin:wrong@", "admin:password@"] {
        let stranger = Database::at(&format!("http://{guess}{database}"));
        let (status, _) = stranger
            .call(reqwest::Method::GET, "global%2Finstances/_all_docs", None)
            .await;
        assert_eq!(status, reqwest::StatusCode::UNAUTHORIZED, "{guess}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_simultaneous_adds_of_one_name_have_one_winner() {
    const ADDS: u8 = 60;
    let cluster = two_of_each().start();
    let won = AtomicUsize::new(0);
    thread::scope(|scope| {
        for number in 0..ADDS {
            let cli = cluster.cli_at(number % 2);
            let won = &won;
            scope.spawn(move || {
                let words = match number % 3 {
                    0 => "instances add a.example --domain-aliases b.example",
                    1 => "instances add b.example --domain-aliases a.example",
                    _ => "instances add a.example",
                };
                let added = cli.run(words);
                match added.code {
                    0 => _ = won.fetch_add(1, Ordering::SeqCst),
                    4 => {}
                    _ => panic!("{added:#?}"),
                }
            });
        }
    });
    assert_eq!(won.load(Ordering::SeqCst), 1);
    cluster.settle(TAKEOVER);
    assert_eq!(leftovers(&cluster).await, Vec::<String>::new());
}

/// The lock on a slot of the state folder proves that the process before is dead. Without it, its lease would have to
/// lapse, which takes 35 seconds.
#[test]
fn an_instance_service_that_is_restarted_takes_up_its_operations_at_once() {
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().display().to_string();
    let mut cluster = Cluster::new()
        .flags(move |part| match part {
            Part::Instances => vec![format!("--state-dir={folder}")],
            Part::Database | Part::Files | Part::Apps | Part::Gateway => Vec::new(),
        })
        .start();
    let (cli, watching) = (cluster.cli_at(0), cluster.cli_at(0));
    let running = || {
        let listed = watching.run("operations ls --running -o name");
        listed.done().out.lines().count()
    };
    cluster.signal(Part::Files, 0, "STOP");
    thread::scope(|scope| {
        let adding = scope.spawn(|| cli.run("instances add a.example"));
        eventually_blocking("a creation that waits for the files service", || {
            (running() == 1).then_some(())
        });
        cluster.stop(Part::Instances, 0, "KILL");
        cluster.signal(Part::Files, 0, "CONT");
        cluster.start_one(Part::Instances, 0);
        cluster.wait_for(Part::Instances, 0);
        eventually_blocking_within(Duration::from_secs(20), "the end of the creation", || {
            (running() == 0).then_some(())
        });
        let _ = adding.join().unwrap().done();
    });
}

/// Twenty creations and destructions, four at a time, while each replica of a service is killed once and restarted.
/// Every operation must end by itself, each instance must be complete or absent, and nothing may be left over.
async fn survives_a_kill_of(victim: Part) {
    const INSTANCES: usize = 20;
    let mut cluster = two_of_each().start();
    let mut dice = dice::seeded();
    let next = AtomicUsize::new(0);
    let terminals: Vec<_> = (0..4).map(|number| cluster.cli_at(number % 2)).collect();
    thread::scope(|scope| {
        let workers: Vec<_> = terminals
            .into_iter()
            .map(|cli| {
                let next = &next;
                scope.spawn(move || {
                    loop {
                        let number = next.fetch_add(1, Ordering::SeqCst);
                        if number >= INSTANCES {
                            return;
                        }
                        // A command may fail when its server dies. The operation that it started may not.
                        let name = format!("n{number}.example");
                        let _ = cli.run(&format!("instances add {name} --apps home"));
                        if number.is_multiple_of(2) {
                            let _ = cli.run(&format!("instances destroy --force {name}"));
                        }
                    }
                })
            })
            .collect();
        let cluster = &mut cluster;
        scope.spawn(move || {
            let replicas = if victim == Part::Database { 1 } else { 2 };
            for replica in 0..replicas {
                thread::sleep(Duration::from_millis(300 + dice.u64(..900)));
                cluster.stop(victim, replica, "KILL");
                thread::sleep(Duration::from_millis(200 + dice.u64(..500)));
                cluster.start_one(victim, replica);
                cluster.wait_for(victim, replica);
            }
        });
        for worker in workers {
            worker.join().unwrap();
        }
    });
    cluster.settle(TAKEOVER);
    assert_eq!(leftovers(&cluster).await, Vec::<String>::new());
    // Existing instances can be used and destroyed. Destroyed ones are gone.
    let cli = cluster.cli_at(0);
    for listed in cli.run("instances ls -o json").done().json_lines() {
        let domain = listed["domain"].as_str().unwrap().to_owned();
        let tree = cli.run(&format!("files tree {domain}")).done().out;
        assert!(tree.contains("Administrative"), "{domain}: {tree}");
        let _ = cli
            .run(&format!("instances destroy --force {domain}"))
            .done();
    }
    assert_eq!(leftovers(&cluster).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_killed_loses_nothing() {
    survives_a_kill_of(Part::Database).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_files_service_that_is_killed_leaves_nothing_half_done() {
    survives_a_kill_of(Part::Files).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apps_service_that_is_killed_leaves_nothing_half_done() {
    survives_a_kill_of(Part::Apps).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_service_that_is_killed_leaves_nothing_half_done() {
    survives_a_kill_of(Part::Instances).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_killed_leaves_nothing_half_done() {
    survives_a_kill_of(Part::Gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_of_a_hung_owner_are_taken_over_and_its_return_is_harmless() {
    let cluster = two_of_each().start();
    let database = Database::at(&cluster.database_url());
    // Suspended apps services keep the creation running until its owner is stopped.
    cluster.signal(Part::Apps, 0, "STOP");
    cluster.signal(Part::Apps, 1, "STOP");
    let terminal = cluster.cli_at(0);
    let adding = thread::spawn(move || terminal.run("instances add a.example --apps home"));
    let owner = eventually_owned(&database, &cluster).await;
    cluster.signal(Part::Instances, owner, "STOP");
    cluster.signal(Part::Apps, 0, "CONT");
    cluster.signal(Part::Apps, 1, "CONT");
    let operations = eventually_within(TAKEOVER, "its success", async || {
        let operations = database.plain_documents("global/hamlet-operations").await;
        if operations[0]["phase"] == "succeeded" {
            Ok(operations)
        } else {
            Err(operations)
        }
    });
    let operations = operations.await;
    assert_eq!(operations[0]["taken_over"], true, "{operations:#?}");
    cluster.signal(Part::Instances, owner, "CONT");
    let _ = adding.join().unwrap();
    let cli = cluster.cli_at(0);
    let tree = cli.run("files tree a.example").done().out;
    assert!(tree.contains("Administrative"), "{tree}");
    cluster.settle(TAKEOVER);
    assert_eq!(leftovers(&cluster).await, Vec::<String>::new());
    let _ = cli.run("instances destroy --force a.example").done();
    assert_eq!(leftovers(&cluster).await, Vec::<String>::new());
}

/// Waits until a replica owns the lease of the only operation. Returns the number of that replica.
async fn eventually_owned(database: &Database, cluster: &Cluster) -> u8 {
    eventually_within(TAKEOVER, "an owner", async || {
        let operations = database.plain_documents("global/hamlet-operations").await;
        let is_driven = |one: &Value| one["step"] == 3 || one["owner"].is_string();
        let accepted = |&replica: &u8| {
            let log = cluster.logged(Part::Instances, replica);
            log.contains("accepted")
        };
        let replica = (0..2).find(accepted);
        replica
            .filter(|_| operations.iter().any(is_driven))
            .ok_or(operations)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_calls_fail_clearly_and_operations_wait() {
    let mut cluster = two_of_each().start();
    let cli = cluster.cli_at(0);
    let _ = cli.run("instances add before.example").done();
    // A suspended apps service keeps the creation running.
    cluster.signal(Part::Apps, 0, "STOP");
    cluster.signal(Part::Apps, 1, "STOP");
    let terminal = cluster.cli_at(1);
    let adding = thread::spawn(move || terminal.run("instances add during.example --apps home"));
    eventually_blocking("an operation", || {
        (cli.run("operations ls -o json").json_lines().len() == 2).then_some(())
    });
    cluster.stop(Part::Database, 0, "KILL");
    cluster.signal(Part::Apps, 0, "CONT");
    cluster.signal(Part::Apps, 1, "CONT");
    let shown = cli.run("instances show before.example");
    assert_eq!(shown.code, 6, "{shown:#?}");
    assert!(shown.err.contains("database"), "{shown:#?}");
    cluster.start_one(Part::Database, 0);
    let _ = adding.join().unwrap();
    cluster.settle(TAKEOVER);
    let _ = cli.run("instances show before.example").done();
    let _ = cli.run("instances show during.example").done();
    assert_eq!(leftovers(&cluster).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_fails_no_call_that_was_safe_to_retry() {
    let mut cluster = two_of_each().start();
    let terminals = [cluster.cli_at(0), cluster.cli_at(1)];
    let _ = terminals[0].run("instances add a.example").done();
    // A load balancer in front of the gateways sends no calls to a gateway that is about to stop.
    let open = AtomicUsize::new(1);
    let over = AtomicBool::new(false);
    let rounds = [const { AtomicUsize::new(0) }; 3];
    thread::scope(|scope| {
        for (number, rounds) in rounds.iter().enumerate() {
            let (terminals, open, over) = (&terminals, &open, &over);
            scope.spawn(move || {
                let run = |words: &str| {
                    let terminal = &terminals[open.load(Ordering::SeqCst)];
                    let _ = terminal.run(words).done();
                };
                while !over.load(Ordering::SeqCst) {
                    run("instances show a.example");
                    run("files tree a.example");
                    if number == 0 {
                        let name = format!("r{}.example", rounds.load(Ordering::SeqCst));
                        run(&format!("instances add {name}"));
                        run(&format!("instances destroy --force {name}"));
                    }
                    rounds.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        // Waits until every caller has started and finished a round since this moment.
        let all_went_on = || {
            let before = rounds
                .each_ref()
                .map(|rounds| rounds.load(Ordering::SeqCst));
            eventually_blocking("a round of everybody", || {
                let now = rounds
                    .each_ref()
                    .map(|rounds| rounds.load(Ordering::SeqCst));
                now.iter()
                    .zip(before)
                    .all(|(&now, before)| now >= before + 2)
                    .then_some(())
            });
        };
        for service in [Part::Files, Part::Apps, Part::Instances, Part::Gateway] {
            for replica in 0..2 {
                if service == Part::Gateway {
                    open.store(1 - usize::from(replica), Ordering::SeqCst);
                    all_went_on();
                }
                cluster.stop(service, replica, "TERM");
                cluster.start_one(service, replica);
                cluster.wait_for(service, replica);
                all_went_on();
            }
        }
        over.store(true, Ordering::SeqCst);
    });
    cluster.settle(TAKEOVER);
    assert_eq!(leftovers(&cluster).await, Vec::<String>::new());
}
