//! Backs up and restores clusters of processes, in the order that docs/deploy.md gives.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use hamlet_tests::{
    cluster::{Cluster, Part},
    database::{Database, encode},
    programs::root,
};
use reqwest::Method;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// A copy of a database, as replication makes it.
struct Copied {
    name: String,
    documents: Vec<Value>,
}

/// A backup.
struct Backup {
    /// The databases, in the order in which they were copied.
    databases: Vec<Copied>,
    contents: tempfile::TempDir,
    cluster_key: String,
}

fn settings(part: Part) -> Vec<String> {
    let apps = root().join("examples/apps");
    match part {
        Part::Apps => vec![format!("--app-folder={}", apps.display())],
        Part::Instances => vec!["--instance-scheme=http".to_owned()],
        Part::Database | Part::Files | Part::Gateway => Vec::new(),
    }
}

fn frozen(part: Part) -> Vec<String> {
    let mut flags = settings(part);
    if part == Part::Instances {
        flags.push("--disable-instances-add-rm=backup".to_owned());
    }
    flags
}

fn restart_instances(mut cluster: Cluster, flags: fn(Part) -> Vec<String>) -> Cluster {
    cluster.stop(Part::Instances, 0, "TERM");
    let mut cluster = cluster.flags(flags);
    cluster.start_one(Part::Instances, 0);
    cluster.wait_for(Part::Instances, 0);
    cluster
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    found
}

async fn copy_database(database: &Database, name: String) -> Copied {
    let path = format!(
        "{}/_all_docs?include_docs=true&attachments=true",
        encode(&name)
    );
    let (_, answer) = database.call(Method::GET, &path, None).await;
    let rows = answer["rows"].as_array().unwrap();
    Copied {
        documents: rows.iter().map(|row| row["doc"].clone()).collect(),
        name,
    }
}

/// Steps 2 to 4 of the backup.
async fn back_up(cluster: &Cluster) -> Backup {
    let database = Database::at(&cluster.database_url());
    let (global, others): (Vec<_>, Vec<_>) = database
        .databases()
        .await
        .into_iter()
        .partition(|name| name.starts_with("global/"));
    let mut databases = Vec::new();
    for name in global.into_iter().chain(others) {
        databases.push(copy_database(&database, name).await);
    }
    let contents = tempfile::tempdir().unwrap();
    copy_folder(&cluster.path("contents"), contents.path());
    Backup {
        databases,
        contents,
        cluster_key: fs::read_to_string(cluster.path("cluster-key")).unwrap(),
    }
}

/// The rank of a database in the order of restoring. The one that makes instances visible comes last.
fn place(name: &str) -> u8 {
    match name {
        "global/instances" => 2,
        name if name.starts_with("global/") => 1,
        _ => 0,
    }
}

/// Creates a new installation from a backup.
async fn restore(mut backup: Backup) -> Cluster {
    let mut cluster = Cluster::new().flags(settings);
    copy_folder(backup.contents.path(), &cluster.path("contents"));
    cluster.start_one(Part::Database, 0);
    cluster.wait_for(Part::Database, 0);
    let database = Database::at(&cluster.database_url());
    backup.databases.sort_by_key(|copied| place(&copied.name));
    for Copied { name, documents } in backup.databases {
        let path = encode(&name);
        let (made, _) = database.call(Method::PUT, &path, None).await;
        assert!(made.is_success(), "{name}");
        let body = json!({ "docs": documents, "new_edits": false });
        let (written, answer) = database
            .call(Method::POST, &format!("{path}/_bulk_docs"), Some(body))
            .await;
        assert!(
            written.is_success() && answer == json!([]),
            "{name}: {answer}"
        );
    }
    cluster.write("cluster-key", &backup.cluster_key);
    for part in [Part::Files, Part::Apps, Part::Instances, Part::Gateway] {
        cluster.start_one(part, 0);
    }
    for part in [Part::Files, Part::Apps, Part::Instances, Part::Gateway] {
        cluster.wait_for(part, 0);
    }
    cluster
}

/// All data of an instance that its owner would miss.
fn all_of(cluster: &Cluster, domain: &str) -> [String; 3] {
    ["instances show", "files tree", "apps ls"].map(|command| {
        let words = format!("{command} {domain} -o json");
        cluster.cli().run(&words).done().out
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn restored_instances_are_complete_and_usable() {
    let cluster = Cluster::new().flags(settings).start();
    for (domain, more) in [
        ("alice.example", "--locale fr --apps home"),
        ("bob.example", "--locale de --domain-aliases bobby.example"),
    ] {
        let words = format!("instances add {domain} {more}");
        let _ = cluster.cli().run(&words).done();
    }
    let before = ["alice.example", "bob.example"].map(|domain| all_of(&cluster, domain));

    // No instance may be added or destroyed during the backup.
    let cluster = restart_instances(cluster, frozen);
    for refused in [
        "instances add carol.example",
        "instances destroy bob.example --force",
    ] {
        assert_ne!(cluster.cli().run(refused).code, 0, "{refused}");
    }
    cluster.settle(PATIENCE);
    let backup = back_up(&cluster).await;
    let cluster = restart_instances(cluster, settings);

    // Changes after the backup, which the backup must not contain.
    let _ = cluster
        .cli()
        .run("instances destroy alice.example --force")
        .done();
    let _ = cluster.cli().run("instances add carol.example").done();

    let restored = restore(backup).await;
    let after = ["alice.example", "bob.example"].map(|domain| all_of(&restored, domain));
    assert_eq!(after, before);
    let cli = restored.cli();
    assert_ne!(cli.run("instances show carol.example").code, 0);
    // Names are still taken, and so are aliases.
    assert_eq!(cli.run("instances add bobby.example").code, 4);
    let _ = cli.run("instances add carol.example --apps home").done();
    for domain in ["alice.example", "bob.example", "carol.example"] {
        let _ = cli
            .run(&format!("instances destroy {domain} --force"))
            .done();
    }
    restored.settle(PATIENCE);
    let database = Database::at(&restored.database_url());
    assert_eq!(database.leftovers().await, Vec::<String>::new());
    let left: Vec<_> = files_below(&restored.path("contents"))
        .into_iter()
        .filter(|path| {
            let path = path.strip_prefix(restored.path("contents")).unwrap();
            path.starts_with("instances") || path.starts_with("files")
        })
        .collect();
    assert_eq!(left, Vec::<PathBuf>::new());
}
