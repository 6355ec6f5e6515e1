//! Several CouchDB servers: the global one stores the installation's data, and the databases of each instance are on
//! the server that its document names.

use std::{path::Path, process::Stdio};

use hamlet_tests::{
    cli::Cli,
    daemon::{Daemon, Options},
    database::Database,
};
use reqwest::Method;
use serde_json::{Value, json};

/// Two servers, and their list in `hamlet.toml`.
struct Servers {
    first: Database,
    second: Database,
    place: tempfile::TempDir,
}

impl Servers {
    async fn new() -> Self {
        // Two embedded servers: a real one would be the same server for both.
        Self {
            first: Database::embedded().await,
            second: Database::embedded().await,
            place: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> &Path {
        self.place.path()
    }

    /// The configuration of both, and whether each accepts new instances.
    fn list(&self, open: [bool; 2]) -> String {
        let table = |database: &Database, open: bool| {
            let url = database.url();
            format!("[[couch-clusters]]\nurl = {url:?}\ninstance_creation = {open}\n\n")
        };
        table(&self.first, open[0]) + &table(&self.second, open[1])
    }

    /// Options of a `hamletd` with this configuration, whose global server is the first one.
    fn options(&self, file: &str) -> Options {
        let path = self.path().join("hamlet.toml");
        std::fs::write(&path, file).unwrap();
        Options::new(&self.path().join("data"))
            .flag(format!("--couchdb={}", self.first.url()))
            .flag(format!("--config={}", path.display()))
    }

    fn start(&self, open: [bool; 2]) -> Daemon {
        self.options(&self.list(open)).start()
    }

    /// The number of databases of instances on each server.
    async fn spread(&self) -> [usize; 2] {
        let of_instances = |names: Vec<String>| {
            names
                .iter()
                .filter(|name| !name.starts_with("global/"))
                .count()
        };
        [
            of_instances(self.first.databases().await),
            of_instances(self.second.databases().await),
        ]
    }
}

fn show(cli: &Cli, domain: &str) -> Value {
    cli.run(&format!("instances show {domain} -o json"))
        .done()
        .json()
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_are_only_on_the_server_that_their_document_names() {
    let servers = Servers::new().await;
    let daemon = servers.start([true, true]);
    let cli = daemon.cli();
    for (name, cluster) in [("ann", 0), ("ben", 1)] {
        let domain = daemon.domain(name);
        let _ = cli
            .run(&format!(
                "instances add {domain} --couch-cluster {cluster} --apps home --email {name}@example.org"
            ))
            .done();
        let shown = show(&cli, &domain);
        assert_eq!(shown["couchCluster"], cluster);
        // Data in the databases of the instance is found on that server: settings, directories, apps.
        assert_eq!(shown["email"], format!("{name}@example.org"));
        let tree = cli.run(&format!("files tree {domain}")).done().out;
        assert!(tree.contains("Administrative"), "{tree}");
        let apps = cli.run(&format!("apps ls {domain} -o name")).done().out;
        assert!(apps.contains("home"), "{apps}");
    }
    assert_eq!(servers.spread().await, [16, 16]);
    assert_eq!(
        cli.run("instances ls -o name").done().out.lines().count(),
        2
    );
    let foreign: Vec<String> = servers
        .second
        .databases()
        .await
        .into_iter()
        .filter(|name| name.starts_with("global/"))
        .collect();
    assert_eq!(foreign, [""; 0]);

    for (name, left) in [("ben", [16, 0]), ("ann", [0, 0])] {
        let domain = daemon.domain(name);
        let _ = cli
            .run(&format!("instances destroy {domain} --force"))
            .done();
        assert_eq!(servers.spread().await, left);
        assert_eq!(cli.run(&format!("instances show {domain}")).code, 3);
    }
    assert_eq!(servers.first.leftovers().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_instance_is_created_on_an_open_server() {
    let servers = Servers::new().await;
    {
        let daemon = servers.start([true, true]);
        let cli = daemon.cli();
        let mut seen = [false; 2];
        // Each instance misses one given server with probability 1/2. It is practically impossible that all 64 do.
        for number in 0..64 {
            let domain = daemon.domain(&format!("drawn-{number}"));
            let _ = cli.run(&format!("instances add {domain}")).done();
            let cluster = show(&cli, &domain)["couchCluster"].as_u64().unwrap_or(0);
            seen[usize::try_from(cluster).unwrap()] = true;
            if seen == [true; 2] {
                break;
            }
        }
        assert_eq!(seen, [true; 2]);
    }

    // The first server is closed: its instances are still served, and no new ones are added.
    let daemon = servers.start([false, true]);
    let cli = daemon.cli();
    let before = servers.spread().await;
    let domain = daemon.domain("late");
    let refused = cli.run(&format!("instances add {domain} --couch-cluster 0"));
    assert_eq!(refused.code, 2, "{refused:#?}");
    let right = "0 takes no new instances; use 1, or leave it out";
    assert!(refused.err.contains(right), "{refused:#?}");
    let refused = cli.run(&format!("instances add {domain} --couch-cluster 7"));
    let right = "7 is no position in the configuration, which lists 2, counted from 0; use 1";
    assert!(refused.err.contains(right), "{refused:#?}");
    let _ = cli.run(&format!("instances add {domain}")).done();
    assert_eq!(show(&cli, &domain)["couchCluster"], 1);
    assert_eq!(servers.spread().await, [before[0], before[1] + 16]);
    for domain in cli.run("instances ls -o name").done().out.lines() {
        let domain = domain.trim_start_matches("instances/");
        let _ = cli
            .run(&format!("instances destroy {domain} --force"))
            .done();
    }
    assert_eq!(servers.spread().await, [0, 0]);
    drop(daemon);

    let daemon = servers.start([false, false]);
    let refused = daemon.cli().run(&format!("instances add {domain}"));
    assert_eq!(refused.code, 4, "{refused:#?}");
    assert!(
        refused.err.contains("no couch cluster takes new instances"),
        "{refused:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_on_an_unlisted_server_is_an_error_and_not_searched_elsewhere() {
    let servers = Servers::new().await;
    let daemon = servers.start([true, true]);
    let cli = daemon.cli();
    let domain = daemon.domain("eve");
    let _ = cli
        .run(&format!("instances add {domain} --couch-cluster 1"))
        .done();
    let document = servers.first.plain_documents("global/instances").await[0].clone();
    let mut astray = document.clone();
    astray["couch_cluster"] = json!(7);
    let path = format!(
        "global%2Finstances/{}",
        document["_id"].as_str().unwrap_or_default()
    );
    let (status, _) = servers.first.call(Method::PUT, &path, Some(astray)).await;
    assert!(status.is_success());
    for command in [
        "instances show",
        "instances destroy --force",
        "files tree",
        "apps ls",
    ] {
        let refused = cli.run(&format!("{command} {domain}"));
        assert_ne!(refused.code, 0, "{command}");
        let told = "the couch cluster 7 is not in the configuration, which lists 2";
        assert!(refused.err.contains(told), "{command}: {refused:#?}");
    }
    assert_eq!(servers.spread().await, [0, 16]);
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_are_found_on_every_server() {
    let servers = Servers::new().await;
    let daemon = servers.start([true, true]);
    let cli = daemon.cli();
    let domain = daemon.domain("fay");
    let _ = cli
        .run(&format!("instances add {domain} --couch-cluster 1"))
        .done();
    let (one, two) = ("cozylostone%2Fio-cozy-files", "cozylosttwo%2Fio-cozy-files");
    for (server, name) in [
        (&servers.first, one),
        (&servers.first, "wiki"),
        (&servers.second, two),
        (&servers.second, "cozyless"),
    ] {
        let (status, _) = server.call(Method::PUT, name, None).await;
        assert!(status.is_success(), "{name}");
    }
    let found = cli.run("instances orphans -o json").done().json_lines();
    let mut names: Vec<&str> = found.iter().filter_map(|it| it["name"].as_str()).collect();
    names.sort_unstable();
    let lost = [one, two].map(|name| name.replace("%2F", "/"));
    assert_eq!(names, lost);
    let _ = cli.run("instances orphans --purge --force").done();
    assert_eq!(servers.spread().await, [1, 17], "others' databases stay");
    assert_eq!(show(&cli, &domain)["couchCluster"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_list_of_servers_is_reported_at_the_start() {
    let servers = Servers::new().await;
    let refused = |file: &str| {
        let output = servers
            .options(file)
            .command()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{told}");
        told
    };
    let told = refused("[[couch-clusters]]\nurl = \"http://admin:s3cret@one/two\"\n");
    assert!(
        told.contains("hamlet.toml:2: couch-clusters[0].url: is no root URL"),
        "{told}"
    );
    assert!(!told.contains("s3cret"), "{told}");

    // Waiting would not help, because the server refuses the credentials.
    let stranger = servers.second.url().replace("password", "s3cret");
    let file = servers.list([true, true]) + &format!("[[couch-clusters]]\nurl = {stranger:?}\n");
    let told = refused(&file);
    assert!(
        told.contains("the couch cluster 2 cannot be used") && told.contains("credentials"),
        "{told}"
    );
    assert!(!told.contains("s3cret"), "{told}");
}
