//! The model of a cluster behaves as a cluster of three CouchDB nodes does.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

use std::time::Duration;

use couch::{
    AllDocs, BulkDoc, ChangesQuery, ClaimOutcome, Couch, CouchConfig, Creation, Database, DbName,
    Exchange, Feed, Leaf, Removal, Rev, Since, Write,
};
use futures::{StreamExt as _, TryStreamExt as _, future::join_all};
use serde_json::{Value, json};
use test_kit::{
    cluster::{Cluster, Death, Moment},
    database::patient,
    eventually,
};

fn name() -> DbName {
    DbName::global("x").unwrap()
}

/// A cluster with an empty database, a handle of it through each node, and a handle of each node's own copy.
struct Fixture {
    seed: u64,
    cluster: Cluster,
    nodes: Vec<Database>,
    replicas: Vec<Database>,
}

impl Fixture {
    async fn new(seed: u64) -> Self {
        let cluster = Cluster::start(seed).await;
        let handle = |url: &str| {
            let config = CouchConfig {
                seed: Some(seed),
                ..patient(url)
            };
            Couch::connect(&config).unwrap().database(&name())
        };
        let nodes: Vec<Database> = cluster.urls().iter().map(|url| handle(url)).collect();
        let replicas: Vec<Database> = (0..3)
            .map(|node| handle(&cluster.replica_url(node)))
            .collect();
        let created = nodes[0].couch().create_database(&name()).await;
        assert_eq!(created.unwrap(), Creation::Created, "seed {seed}");
        eventually("all nodes know the database", async || {
            for node in &nodes {
                node.get::<Value>("none").await?;
            }
            Ok::<_, couch::Error>(())
        })
        .await;
        Self {
            seed,
            cluster,
            nodes,
            replicas,
        }
    }

    /// The live leaves that each node has on its own, in order.
    async fn own_leaves(&self, id: &str) -> Vec<Vec<Rev>> {
        let read = self.replicas.iter().map(|replica| replica.leaves(id));
        let read = join_all(read).await.into_iter();
        read.map(|leaves| live(&leaves.unwrap())).collect()
    }
}

fn live(leaves: &[Leaf]) -> Vec<Rev> {
    let live = leaves.iter().filter(|leaf| !leaf.deleted);
    let mut revs: Vec<Rev> = live.map(|leaf| leaf.rev.clone()).collect();
    revs.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    revs
}

#[tokio::test]
async fn a_document_written_through_one_node_is_read_through_another() {
    for seed in 0..5 {
        let it = Fixture::new(seed).await;
        for round in 0..10 {
            let (id, body) = (format!("d{round}"), json!({ "round": round }));
            let written = it.nodes[round % 3].put(&id, None, &body).await.unwrap();
            let Write::Committed(rev) = written else {
                panic!("seed {seed}: {written:?}");
            };
            let read = it.nodes[(round + 1) % 3].get::<Value>(&id).await.unwrap();
            let read = read.unwrap_or_else(|| panic!("seed {seed}: {id} is missing"));
            assert_eq!((read.rev, read.body), (rev, body), "seed {seed}");
        }
        let deleted = it.nodes[1].get::<Value>("d0").await.unwrap().unwrap().rev;
        let deletion = it.nodes[2].delete("d0", &deleted).await.unwrap();
        assert!(matches!(deletion, Write::Committed(_)), "seed {seed}");
        assert_eq!(it.nodes[0].get::<Value>("d0").await.unwrap(), None);
        let again = it.nodes[1].delete("d0", &deleted).await.unwrap();
        assert_eq!(again, Write::Conflict, "seed {seed}");
    }
}

#[tokio::test]
async fn of_concurrent_writes_of_one_id_at_most_one_is_committed() {
    let (mut committed, mut contested) = (0, 0);
    for seed in 0..4 {
        let it = Fixture::new(seed).await;
        for round in 0..25 {
            let id = format!("d{round}");
            let puts = it.nodes.iter().enumerate().map(|(writer, node)| {
                let (id, body) = (id.clone(), json!({ "writer": writer }));
                async move { node.put(&id, None, &body).await.unwrap() }
            });
            let ends = join_all(puts).await;
            let wins = ends.iter().filter(|it| matches!(it, Write::Committed(_)));
            let wins = wins.count();
            assert!(wins <= 1, "seed {seed}, {id}: {ends:?}");
            committed += wins;
            let lost = ends.iter().filter(|it| matches!(it, Write::Contested(_)));
            contested += lost.count();
        }
        it.cluster.sync_all().await;
        let trees = it.own_leaves("d0").await;
        assert!(trees.iter().all(|tree| *tree == trees[0]), "seed {seed}");
    }
    assert!(
        committed > 20 && contested > 20,
        "of 100 races {committed} were won, and {contested} writes were contested"
    );
}

#[tokio::test]
async fn a_write_whose_node_died_before_the_commit_is_nowhere() {
    let it = Fixture::new(7).await;
    let seed = it.seed;
    it.cluster.die_at(0, Moment::BeforeCommit);
    let error = it.nodes[0].put("a", None, &json!({})).await.unwrap_err();
    assert!(error.is_outcome_unknown(), "seed {seed}: {error:?}");
    let refused = it.nodes[0].put("a", None, &json!({})).await.unwrap_err();
    assert!(!refused.is_outcome_unknown(), "seed {seed}: {refused:?}");
    assert!(!it.cluster.is_whole() && it.cluster.deaths() == 1);
    assert!(it.own_leaves("a").await.iter().all(Vec::is_empty));
    it.cluster.start_node(0).await;
    assert!(it.cluster.is_whole());
    let written = it.nodes[0].put("a", None, &json!({})).await.unwrap();
    assert!(matches!(written, Write::Committed(_)), "seed {seed}");
}

#[tokio::test]
async fn the_same_write_again_after_a_death_is_the_same_revision() {
    for seed in 0..5 {
        let it = Fixture::new(seed).await;
        let body = json!({ "owner": "me" });
        it.cluster.die_at(0, Moment::AfterCommit);
        let error = it.nodes[0].put("a", None, &body).await.unwrap_err();
        assert!(error.is_outcome_unknown(), "seed {seed}: {error:?}");
        let own = it.own_leaves("a").await;
        assert_eq!(own[0].len(), 1, "seed {seed}");
        assert!(own[1].is_empty() && own[2].is_empty(), "seed {seed}");
        for node in [1, 2] {
            assert_eq!(it.nodes[node].get::<Value>("a").await.unwrap(), None);
        }
        let again = it.nodes[1].put("a", None, &body).await.unwrap();
        assert_eq!(again, Write::Committed(own[0][0].clone()), "seed {seed}");
        it.cluster.start_node(0).await;
        it.cluster.sync_all().await;
        for tree in it.own_leaves("a").await {
            assert_eq!(tree, own[0], "seed {seed}");
        }
    }
}

/// As CouchDB 3.4.3 was seen to do on three nodes.
#[tokio::test]
async fn a_read_heals_a_node_that_took_a_revision_without_its_history() {
    for seed in 0..3 {
        let it = Fixture::new(seed).await;
        // The first document of a database must be new.
        let other = it.nodes[0].put("other", None, &json!({})).await.unwrap();
        assert!(matches!(other, Write::Committed(_)), "seed {seed}");
        it.cluster.sync_all().await;
        let mut rev = None;
        let mut write = async |n: u32| {
            let written = it.nodes[1].put("a", rev.as_ref(), &json!({ "n": n })).await;
            let (Write::Committed(now) | Write::Contested(now)) = written.unwrap() else {
                panic!("seed {seed}: write {n} is refused");
            };
            rev = Some(now.clone());
            now
        };
        // Node 0 misses the first three writes, and node 2 the last two.
        it.cluster.hold_sync(0);
        it.cluster.kill(0);
        write(1).await;
        let inner = write(2).await;
        it.cluster.hold_sync(2);
        it.cluster.kill(2);
        write(3).await;
        it.cluster.start_node(0).await;
        let last = write(4).await;
        eventually("node 0 has the last write", async || {
            it.own_leaves("a").await[0] == std::slice::from_ref(&last)
        })
        .await;
        it.cluster.hold_sync(1);
        it.cluster.kill(1);
        it.cluster.start_node(2).await;
        it.cluster.release_sync(0);
        it.cluster.release_sync(2);
        eventually("node 0 gets the older revision", async || {
            it.own_leaves("a").await[0] == [inner.clone(), last.clone()]
        })
        .await;
        it.cluster.start_node(1).await;
        it.cluster.release_sync(1);
        it.cluster.sync_all().await;
        for tree in it.own_leaves("a").await {
            assert_eq!(tree, std::slice::from_ref(&last), "seed {seed}");
        }
    }
}

#[tokio::test]
async fn another_write_after_a_death_leaves_two_leaves_and_a_deletion_one_of_them() {
    for seed in 0..5 {
        let it = Fixture::new(seed).await;
        it.cluster.die_at(0, Moment::AfterCommit);
        let lost = it.nodes[0].put("a", None, &json!({ "n": 1 })).await;
        lost.unwrap_err();
        let written = it.nodes[1].put("a", None, &json!({ "n": 2 })).await;
        let Write::Committed(visible) = written.unwrap() else {
            panic!("seed {seed}: two of three nodes are a majority");
        };
        if seed % 2 == 0 {
            it.cluster.start_node(0).await;
            it.cluster.sync_all().await;
            for tree in it.own_leaves("a").await {
                assert_eq!(tree.len(), 2, "seed {seed}: {tree:?}");
            }
            continue;
        }
        let deleted = it.nodes[2].delete("a", &visible).await.unwrap();
        assert!(matches!(deleted, Write::Committed(_)), "seed {seed}");
        assert_eq!(it.nodes[1].get::<Value>("a").await.unwrap(), None);
        it.cluster.start_node(0).await;
        it.cluster.sync_all().await;
        let risen = it.nodes[1].get::<Value>("a").await.unwrap();
        let risen = risen.unwrap_or_else(|| panic!("seed {seed}: the lost write does not rise"));
        assert_eq!(risen.body, json!({ "n": 1 }), "seed {seed}");
    }
}

#[tokio::test]
async fn a_cluster_is_whole_when_each_node_answers() {
    let it = Fixture::new(1).await;
    let couch = it.nodes[0].couch();
    assert!(couch.is_whole().await.unwrap());
    it.cluster.pause(2);
    let membership = couch.membership().await.unwrap();
    assert_eq!(membership.all_nodes, membership.cluster_nodes);
    assert!(!couch.is_whole().await.unwrap());
    it.cluster.resume(2).await;
    assert!(couch.is_whole().await.unwrap());
    it.cluster.kill(1);
    assert!(!couch.is_whole().await.unwrap());
    it.cluster.start_node(1).await;
    assert!(couch.is_whole().await.unwrap());
    // One node alone.
    assert!(it.replicas[0].couch().is_whole().await.unwrap());
}

#[tokio::test]
async fn a_database_that_was_deleted_while_a_node_was_away_is_gone_there_too() {
    for seed in 0..3 {
        let it = Fixture::new(seed).await;
        let (gone, new) = (name(), DbName::global("y").unwrap());
        let written = it.nodes[0].put("a", None, &json!({})).await.unwrap();
        assert!(matches!(written, Write::Committed(_)), "seed {seed}");
        if seed == 1 {
            it.cluster.pause(2);
        } else {
            it.cluster.kill(2);
        }
        let couch = it.nodes[0].couch();
        let removed = couch.delete_database(&gone).await.unwrap();
        assert_eq!(removed, Removal::Deleted, "seed {seed}");
        if seed == 2 {
            couch.create_database(&gone).await.unwrap();
        }
        let made = couch.create_database(&new).await.unwrap();
        assert_eq!(made, Creation::Created, "seed {seed}");
        let own = it.replicas[2].couch();
        let names = async || own.databases_with_prefix("global").await.unwrap();
        assert_eq!(names().await, ["global/x"], "seed {seed}");
        if seed == 1 {
            it.cluster.resume(2).await;
        } else {
            it.cluster.start_node(2).await;
        }
        if seed == 2 {
            assert_eq!(names().await, ["global/x", "global/y"], "seed {seed}");
            it.cluster.sync_all().await;
            assert!(it.own_leaves("a").await.iter().all(Vec::is_empty));
        } else {
            assert_eq!(names().await, ["global/y"], "seed {seed}");
        }
    }
}

#[tokio::test]
async fn claims_and_compare_and_set_work_while_a_node_dies() {
    for seed in 0..3 {
        let it = Fixture::new(seed).await;
        let moment = [Moment::BeforeCommit, Moment::AfterCommit][usize::from(seed % 2 == 0)];
        it.cluster
            .schedule(Death::of_replica(2, moment).on("global%2Fx").after(1));
        let claims = (0..2).map(|owner| {
            let node = &it.nodes[owner];
            async move {
                let body = json!({ "owner": owner });
                node.claim("a", &body, |it: &Value| *it == body)
                    .await
                    .unwrap()
            }
        });
        let ends = join_all(claims).await;
        let won: Vec<&Rev> = ends
            .iter()
            .filter_map(|end| match end {
                ClaimOutcome::Won(rev) => Some(rev),
                ClaimOutcome::Taken(_) => None,
            })
            .collect();
        assert_eq!(won.len(), 1, "seed {seed}: {ends:?}");
        assert!(!it.cluster.is_live(2), "seed {seed}");
        let body = json!({ "owner": 7 });
        let set = it.nodes[0].compare_and_set("a", won[0], &body).await;
        assert!(matches!(set.unwrap(), Exchange::Won(_)), "seed {seed}");
        it.cluster.start_node(2).await;
        it.cluster.sync_all().await;
        let read = it.nodes[2].get::<Value>("a").await.unwrap().unwrap();
        assert_eq!(read.body, json!({ "owner": 7 }), "seed {seed}");
        // A leaf of the loser may remain beside it: its withdrawal did not reach the dead node.
        assert!(!it.own_leaves("a").await[2].is_empty(), "seed {seed}");
    }
}

#[tokio::test]
async fn one_node_of_three_has_no_majority() {
    let it = Fixture::new(3).await;
    it.cluster.kill(1);
    it.cluster.kill(2);
    let written = it.nodes[0].put("a", None, &json!({})).await.unwrap();
    assert!(matches!(written, Write::Contested(_)));
    let docs = [BulkDoc::create("b", &json!({})).unwrap()];
    let outcome = it.nodes[0].bulk(&docs).await.unwrap();
    outcome.all_committed().unwrap_err();
    it.cluster.start_node(1).await;
    it.cluster.start_node(2).await;
    it.cluster.sync_all().await;
    assert!(it.nodes[1].get::<Value>("b").await.unwrap().is_some());
    let docs = [BulkDoc::create("c", &json!({})).unwrap()];
    let outcome = it.nodes[1].bulk(&docs).await.unwrap();
    outcome.all_committed().unwrap();
}

#[tokio::test]
async fn a_node_that_hangs_is_left_out_and_its_requests_wait() {
    let it = Fixture::new(4).await;
    it.cluster.pause(0);
    let (node, body) = (it.nodes[0].clone(), json!({ "n": 1 }));
    let waiting = tokio::spawn(async move { node.put("late", None, &body).await });
    let written = it.nodes[1].put("a", None, &json!({})).await.unwrap();
    assert!(matches!(written, Write::Committed(_)));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished());
    assert_eq!(it.nodes[2].get::<Value>("late").await.unwrap(), None);
    assert!(it.own_leaves("a").await[0].is_empty());
    it.cluster.resume(0).await;
    let late = waiting.await.unwrap().unwrap();
    assert!(matches!(late, Write::Committed(_)));
    it.cluster.sync_all().await;
    assert_eq!(it.own_leaves("a").await[0].len(), 1);
}

#[tokio::test]
async fn replication_to_a_node_can_be_held_back() {
    let it = Fixture::new(5).await;
    it.cluster.kill(0);
    let written = it.nodes[1].put("a", None, &json!({})).await.unwrap();
    assert!(matches!(written, Write::Committed(_)));
    it.cluster.hold_sync(0);
    it.cluster.start_node(0).await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(it.own_leaves("a").await[0].is_empty());
    it.cluster.release_sync(0);
    eventually("the document arrives without a read", async || {
        !it.own_leaves("a").await[0].is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_feed_goes_on_through_another_node_and_reports_again() {
    let it = Fixture::new(6).await;
    let mut feed = Box::pin(it.nodes[0].changes(ChangesQuery::since(Since::Now)));
    assert!(matches!(feed.next().await, Some(Feed::UpToDate(_))));
    let mut seen = async |wanted: &str| {
        eventually("the change is reported", async || match feed.next().await {
            Some(Feed::Change(change)) => change.id == wanted,
            _ => false,
        })
        .await;
    };
    for (round, down) in [None, Some(1), Some(2)].into_iter().enumerate() {
        if let Some(down) = down {
            it.cluster.kill(down);
        }
        let id = format!("d{round}");
        let written = it.nodes[0].put(&id, None, &json!({})).await.unwrap();
        assert!(matches!(written, Write::Committed(_)));
        seen(&id).await;
        if let Some(down) = down {
            it.cluster.start_node(down).await;
        }
    }
    it.cluster.sync_all().await;
    let ids: Vec<String> = it.nodes[1]
        .all_docs(AllDocs::new())
        .map_ok(|row| row.id)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(ids, ["d0", "d1", "d2"]);
}
