//! The stream of changes by which gateways keep what they know of hosts.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use embedded_couchdb::faults::{Fault, Rule};
use hamlet_proto::hamlet::instance::v1::{BlockInstanceRequest, Instance, WatchHostsResponse};
use instance_svc::operations::failpoints::Failpoints;
use serde_json::json;
use test_kit::eventually;
use tonic::Streaming;

use crate::support::{Replica, World, failure};

/// How long a test waits for what has to happen. Not a measure of anything.
const SOON: Duration = Duration::from_secs(60);
/// Heartbeats come several times as often.
const SILENCE: Duration = Duration::from_secs(2);
/// A marker is written every five seconds, and may take one.
const PROOF_LIFE: Duration = Duration::from_secs(6);

/// A stream, and the last token that it told.
struct Watch {
    stream: Streaming<WatchHostsResponse>,
    token: String,
}

impl Watch {
    async fn of(replica: &Replica, token: &str) -> Self {
        Self {
            stream: replica.watch_hosts(token).await,
            token: token.to_owned(),
        }
    }

    async fn next(&mut self) -> WatchHostsResponse {
        let next = tokio::time::timeout(SOON, self.stream.message()).await;
        let told = next.unwrap().unwrap().unwrap();
        if !told.resume_token.is_empty() {
            told.resume_token.clone_into(&mut self.token);
        }
        told
    }

    /// Everything up to the first heartbeat: hosts, and ids of instances after `#`.
    async fn until_heartbeat(&mut self) -> BTreeSet<String> {
        let mut told = BTreeSet::new();
        loop {
            let next = self.next().await;
            if let Some(heartbeat) = next.heartbeat {
                let age = Duration::try_from(heartbeat.proof_age.unwrap()).unwrap();
                assert!(age < PROOF_LIFE, "{age:?}");
                return told;
            }
            told.insert(if next.reset {
                "reset".to_owned()
            } else if next.canonical_host.is_empty() {
                format!("#{}", next.instance_id)
            } else {
                next.canonical_host
            });
        }
    }

    /// Reads on until all of these were told.
    async fn expect(&mut self, wanted: &[&str]) {
        let mut left: BTreeSet<&str> = wanted.iter().copied().collect();
        let begun = Instant::now();
        while !left.is_empty() {
            for told in self.until_heartbeat().await {
                left.remove(told.as_str());
            }
            assert!(begun.elapsed() < SOON, "never told: {left:?}");
        }
    }
}

fn set(tokens: &[&str]) -> BTreeSet<String> {
    tokens.iter().map(|&token| token.to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_change_is_told_by_every_replica() {
    let world = World::new().await;
    let one = world.replica("one", Failpoints::default()).await;
    let two = world.replica("two", Failpoints::default()).await;
    let mut watches = [Watch::of(&one, "").await, Watch::of(&two, "").await];
    for watch in &mut watches {
        assert_eq!(watch.until_heartbeat().await, set(&["reset"]));
    }
    assert_eq!(failure(&one.create("a.example").await.unwrap()), None);
    let id = format!("#{}", world.documents("a.example").await.id);
    for watch in &mut watches {
        watch.expect(&["a.example", &id]).await;
    }

    let aliases = |aliases: &[&str]| Instance {
        domain_aliases: aliases.iter().map(|&alias| alias.to_owned()).collect(),
        old_domain: "was.example".to_owned(),
        ..Instance::default()
    };
    for (change, told) in [
        (aliases(&["b.example"]), ["b.example", "was.example", &id]),
        // Its claim becomes a tombstone.
        (aliases(&[]), ["b.example", "was.example", &id]),
    ] {
        let paths = ["domain_aliases", "old_domain"];
        let updated = one.update("a.example", &paths, change).await;
        assert_eq!(failure(&updated.unwrap()), None);
        for watch in &mut watches {
            watch.expect(&told[..1]).await;
        }
    }

    let request = BlockInstanceRequest {
        name: "instances/a.example".to_owned(),
        ..BlockInstanceRequest::default()
    };
    let accepted = one.instances.clone().block_instance(request).await.unwrap();
    one.end_of(&accepted.into_inner().name).await;
    for watch in &mut watches {
        watch.expect(&[&id]).await;
    }

    // Another program changes the document.
    let mut found: couch::Document<serde_json::Map<String, serde_json::Value>> = {
        let instances = couch::DbName::global("instances").unwrap();
        let instances = world.couch.database(&instances);
        let found = instances.get(id.trim_start_matches('#')).await;
        found.unwrap().unwrap()
    };
    for watch in &mut watches {
        watch.until_heartbeat().await;
    }
    found.body.insert("blocked".to_owned(), json!(false));
    let instances = world
        .couch
        .database(&couch::DbName::global("instances").unwrap());
    let _ = instances
        .compare_and_set(&found.id, &found.rev, &found.body)
        .await
        .unwrap();
    for watch in &mut watches {
        watch.expect(&["a.example", &id]).await;
    }

    assert_eq!(failure(&two.destroy("a.example").await.unwrap()), None);
    for watch in &mut watches {
        watch.expect(&["a.example", &id]).await;
    }
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_continues_at_its_replica_and_begins_anew_at_another() {
    let world = World::new().await;
    let one = world.replica("one", Failpoints::default()).await;
    let two = world.replica("two", Failpoints::default()).await;
    let mut first = Watch::of(&one, "").await;
    assert_eq!(first.until_heartbeat().await, set(&["reset"]));
    let token = first.token.clone();
    drop(first);
    assert_eq!(failure(&one.create("a.example").await.unwrap()), None);
    let mut again = Watch::of(&one, &token).await;
    let told = again.until_heartbeat().await;
    assert!(
        told.contains("a.example") && !told.contains("reset"),
        "{told:?}"
    );
    let mut of_another = Watch::of(&two, &token).await;
    assert_eq!(of_another.until_heartbeat().await, set(&["reset"]));
    let mut invented = Watch::of(&one, "0123456789abcdef-7").await;
    assert_eq!(invented.until_heartbeat().await, set(&["reset"]));
    // A stopping replica does not wait for its watchers.
    one.stop().await;
    let end = async { while again.stream.message().await.unwrap().is_some() {} };
    tokio::time::timeout(SOON, end).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_hangs_or_fails_stops_the_heartbeats() {
    let world = World::new().await;
    if !world.is_embedded() {
        return;
    }
    let replica = world.replica("one", Failpoints::default()).await;
    let mut watch = Watch::of(&replica, "").await;
    watch.until_heartbeat().await;
    for (method, path) in [
        ("POST", "%2Fhamlet-instances/_changes"),
        ("POST", "%2Fhamlet-instances/_bulk_docs"),
    ] {
        let hang = Fault::Delay(Duration::from_secs(3600));
        world.faults().add(Rule::always(method, path, hang));
        let begun = Instant::now();
        let mut silent_after = begun.elapsed();
        while tokio::time::timeout(SILENCE, watch.next()).await.is_ok() {
            silent_after = begun.elapsed();
            assert!(silent_after < SOON, "{path}");
        }
        // The feed hangs from its next poll on, which the next marker makes.
        assert!(silent_after < PROOF_LIFE * 3, "{path}: {silent_after:?}");
        world.faults().clear();
        watch.until_heartbeat().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_read_or_written_while_nobody_watches() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
    let markers = async || {
        let claims = couch::DbName::global("hamlet-claims").unwrap();
        let query = couch::ChangesQuery::since(couch::Since::Beginning);
        let claims = world.couch.database(&claims);
        let (changes, _) = claims.changes_page(&query, 1000).await.unwrap();
        let markers = changes
            .into_iter()
            .filter(|it| it.id.starts_with("marker:"));
        markers.map(|marker| marker.revs).collect::<Vec<_>>()
    };
    assert_eq!(markers().await, [] as [Vec<couch::Rev>; 0]);
    {
        let mut watch = Watch::of(&replica, "").await;
        watch.until_heartbeat().await;
        assert_eq!(markers().await.len(), 1);
    }
    let mut last = markers().await;
    eventually("no marker is written", async || {
        tokio::time::sleep(PROOF_LIFE).await;
        let now = markers().await;
        std::mem::replace(&mut last, now.clone()) == now
    })
    .await;
    // No list shows a marker, and no count counts one.
    assert_eq!(world.ids("hamlet-claims").await, ["a.example"]);
    assert_eq!(failure(&replica.destroy("a.example").await.unwrap()), None);
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_cluster_changes_are_told_while_a_node_is_away() {
    let world = World::of_three_nodes(7).await;
    let cluster = world.cluster().unwrap();
    let one = world.replica("one", Failpoints::default()).await;
    let two = world.replica("two", Failpoints::default()).await;
    let mut watches = [Watch::of(&one, "").await, Watch::of(&two, "").await];
    for watch in &mut watches {
        assert_eq!(watch.until_heartbeat().await, set(&["reset"]));
    }
    assert_eq!(failure(&one.create("a.example").await.unwrap()), None);
    for watch in &mut watches {
        watch.expect(&["a.example"]).await;
    }
    // A feed that was read from this node is read from another one.
    cluster.kill(2);
    for alias in ["b.example", "c.example"] {
        let aliases = Instance {
            domain_aliases: vec![alias.to_owned()],
            ..Instance::default()
        };
        let updated = one.update("a.example", &["domain_aliases"], aliases).await;
        assert_eq!(failure(&updated.unwrap()), None);
        for watch in &mut watches {
            watch.expect(&[alias]).await;
        }
    }
    cluster.start_node(2).await;
    assert_eq!(failure(&two.destroy("a.example").await.unwrap()), None);
    for watch in &mut watches {
        watch.expect(&["c.example"]).await;
    }
}
