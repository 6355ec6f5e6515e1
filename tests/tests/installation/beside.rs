//! The original's server and two Hamlets at work on the same instances, on one database.
//!
//! `HAMLET_SOAK_SECONDS` says for how long (15 by default). `HAMLET_TEST_COUCHDB_URL` names a CouchDB to use; the
//! embedded one is used without. The calls are random, by `HAMLET_TEST_SEED`.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use hamlet_tests::{
    cli::Cli,
    cluster::Cluster,
    database::Database,
    original::{Original, Refusal},
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use test_kit::{
    dice::{Rng, seeded},
    eventually::eventually_within,
};

const DOMAINS: usize = 50;
const ALIASES: usize = 12;

/// What the command line may exit with: done, not found, a conflict with something else that is at work.
const EXPECTED: [i32; 3] = [0, 3, 4];

fn domain(dice: &mut Rng) -> String {
    format!("d{}.localhost", dice.usize(..DOMAINS))
}

fn alias(dice: &mut Rng) -> String {
    format!("a{}.localhost", dice.usize(..ALIASES))
}

/// What an administrator of Hamlet does next.
fn command(dice: &mut Rng) -> String {
    let domain = domain(dice);
    match dice.u8(..10) {
        0..3 => format!("add {domain}"),
        3 => format!("add {domain} --domain-aliases {}", alias(dice)),
        4..7 => format!("destroy {domain} --force"),
        7 => format!("modify {domain} --domain-aliases {}", alias(dice)),
        8 => format!("block {domain} --reason PAYMENT_FAILED"),
        _ => format!("unblock {domain}"),
    }
}

fn work_with_hamlet(cli: &Cli, mut dice: Rng, end: Instant) -> usize {
    let mut done = 0;
    while Instant::now() < end {
        let words = command(&mut dice);
        let answer = cli.run(&format!("instances {words}"));
        assert!(EXPECTED.contains(&answer.code), "{words}: {answer:#?}");
        done += usize::from(answer.code == 0);
    }
    done
}

async fn work_with_the_original(original: &Original, mut dice: Rng, end: Instant) -> usize {
    let mut done = 0;
    while Instant::now() < end {
        let domain = domain(&mut dice);
        let ended = match dice.u8(..10) {
            0..3 => original.add(&domain, &[]).await,
            3 => original.add(&domain, &[&alias(&mut dice)]).await,
            4..7 => original.destroy(&domain).await,
            7 => {
                let members = json!({"domain_aliases": [alias(&mut dice)]});
                original.modify(&domain, &members).await
            }
            8 => original.modify(&domain, &json!({"blocked": true})).await,
            _ => original.modify(&domain, &json!({"locale": "de"})).await,
        };
        match ended {
            Ok(()) => done += 1,
            Err(
                Refusal::Missing
                | Refusal::Taken
                | Refusal::Deleting
                // Hamlet was quicker.
                | Refusal::Database(StatusCode::CONFLICT | StatusCode::NOT_FOUND),
            ) => {}
            Err(other) => panic!("{domain}: {other:?}"),
        }
    }
    done
}

/// The domains of all instances as Hamlet lists them.
fn listed(cli: &Cli) -> Vec<String> {
    let listed = cli.run("instances ls --fields domain -o json").done();
    let mut domains: Vec<String> = listed
        .json_lines()
        .iter()
        .map(|row| row["domain"].as_str().unwrap().to_owned())
        .collect();
    domains.sort();
    domains
}

/// What is not as it has to be while nobody works.
async fn faults(cli: &Cli, database: &Database, original: &Original) -> Vec<String> {
    let mut faults = database.leftovers().await;
    // The original makes databases of its own.
    faults.retain(|left| !left.starts_with("database secrets/"));
    let mut documents: Vec<String> = database
        .plain_documents("global/instances")
        .await
        .iter()
        .map(|document| document["domain"].as_str().unwrap().to_owned())
        .collect();
    documents.sort();
    let listed = listed(cli);
    if listed != documents {
        faults.push(format!("listed {listed:?}, there are {documents:?}"));
    }
    let known: BTreeSet<&String> = documents.iter().collect();
    for number in 0..DOMAINS {
        let domain = format!("d{number}.localhost");
        let there = known.contains(&domain);
        if original.knows(&domain).await != Ok(there) {
            faults.push(format!("{domain}: the original does not agree"));
        }
        let shown = cli.run(&format!("instances show {domain} -o json"));
        if shown.code != if there { 0 } else { 3 } {
            faults.push(format!("{domain}: {shown:?}"));
        }
    }
    faults
}

async fn require_no_faults(cli: &Cli, database: &Database, original: &Original) {
    // Within a minute, without anybody asking. A busy machine has twice as long.
    eventually_within(
        Duration::from_secs(120),
        "everything is whole or absent",
        async || {
            let faults = faults(cli, database, original).await;
            if faults.is_empty() {
                Ok(())
            } else {
                Err(faults)
            }
        },
    )
    .await;
}

fn conflicts(cli: &Cli) -> Vec<Value> {
    cli.run("instances conflicts -o json").done().json_lines()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_original_and_two_hamlets_work_on_the_same_instances() {
    let seconds = std::env::var("HAMLET_SOAK_SECONDS").map_or(15, |text| text.parse().unwrap());
    let mut dice = seeded();
    let cluster = Cluster::new().replicas(2);
    let (cluster, _held) = match std::env::var("HAMLET_TEST_COUCHDB_URL") {
        Ok(url) if !url.is_empty() => {
            let database = Database::empty().await;
            (cluster.on_couchdb(database.url()), Some(database))
        }
        _ => (cluster, None),
    };
    let cluster = cluster.start();
    let database = Database::at(&cluster.database_url());
    let original = Original::new(&cluster.database_url());
    original.start().await;

    let end = Instant::now() + Duration::from_secs(seconds);
    let done: Vec<usize> = std::thread::scope(|scope| {
        let handle = tokio::runtime::Handle::current();
        let workers: Vec<_> = (0..2)
            .map(|replica| {
                let (cli, dice) = (cluster.cli_at(replica), dice.fork());
                scope.spawn(move || work_with_hamlet(&cli, dice, end))
            })
            .collect();
        let (original, dice) = (&original, dice.fork());
        let last =
            scope.spawn(move || handle.block_on(work_with_the_original(original, dice, end)));
        workers
            .into_iter()
            .chain([last])
            .map(|worker| worker.join().unwrap())
            .collect()
    });
    assert!(done.iter().all(|&done| done > 0), "{done:?}");
    cluster.settle(Duration::from_secs(120));

    let cli = cluster.cli();
    // Names that were given twice at one moment are told. An administrator decides for one instance.
    for _ in 0..ALIASES + DOMAINS {
        let Some(conflict) = conflicts(&cli).into_iter().next() else {
            break;
        };
        let name = conflict["name"].as_str().unwrap().to_owned();
        assert_eq!(original.destroy(&name).await, Ok(()), "{conflict}");
    }
    require_no_faults(&cli, &database, &original).await;
    assert_eq!(cli.run("instances orphans -o json").done().out, "");

    for (number, domain) in listed(&cli).into_iter().enumerate() {
        if number % 2 == 0 {
            let _ = cli
                .run(&format!("instances destroy {domain} --force"))
                .done();
        } else {
            assert_eq!(original.destroy(&domain).await, Ok(()), "{domain}");
        }
    }
    require_no_faults(&cli, &database, &original).await;
    assert_eq!(listed(&cli), Vec::<String>::new());
}
