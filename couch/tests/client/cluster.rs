//! Races on a real cluster. `HAMLET_TEST_COUCHDB_CLUSTER` lists its nodes, separated by commas, each as
//! `http://user:password@host:port`. Without it these tests do nothing.

use std::time::Duration;

use couch::{ClaimOutcome, Couch, CouchConfig, Database, DbName, DocId, Exchange, Leaf};
use serde_json::{Value, json};
use test_kit::eventually;

/// One new database, accessed through each node.
async fn nodes(doctype: &str) -> Vec<Database> {
    let urls = std::env::var("HAMLET_TEST_COUCHDB_CLUSTER").unwrap_or_default();
    let name = DbName::instance(&format!("couchtest{}", DocId::ascending()), doctype).unwrap();
    let mut databases = Vec::new();
    for url in urls.split(',').filter(|url| !url.is_empty()) {
        let mut settings = CouchConfig::new(url);
        settings.n = Some(3);
        settings.call_timeout = Duration::from_secs(30);
        settings.race_timeout = Duration::from_secs(60);
        databases.push(Couch::connect(&settings).unwrap().database(&name));
    }
    if let Some(first) = databases.first() {
        first.couch().create_database(&name).await.unwrap();
        for database in &databases {
            eventually("the database is there", async || {
                database.get::<Value>("any").await
            })
            .await;
        }
    }
    databases
}

/// Waits until the leaf of `owner` is the only live one: withdrawals reach the last node later.
async fn only_alive(database: &Database, id: &str, owner: &[Value]) {
    let what = format!("of {id}, only the leaf of {owner:?} is alive");
    eventually(&what, async || {
        let leaves = database.leaves(id).await.unwrap();
        let live = leaves.iter().filter(|leaf: &&Leaf| !leaf.deleted);
        let alive: Vec<Value> = live.map(|leaf| leaf.body["owner"].clone()).collect();
        if alive == owner { Ok(()) } else { Err(leaves) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_several_claimants_on_different_nodes_wins() {
    let nodes = nodes("claims").await;
    for round in 0..60 {
        if nodes.is_empty() {
            return;
        }
        let id = format!("name-{round}");
        let mut running = Vec::new();
        for claimant in 0..6 {
            let (database, id) = (nodes[claimant % nodes.len()].clone(), id.clone());
            running.push(tokio::spawn(async move {
                let mine = move |it: &Value| it["owner"] == json!(claimant);
                database
                    .claim(&id, &json!({ "owner": claimant }), mine)
                    .await
            }));
        }
        let mut won = Vec::new();
        for (claimant, task) in running.into_iter().enumerate() {
            if let ClaimOutcome::Won(_) = task.await.unwrap().unwrap() {
                won.push(json!(claimant));
            }
        }
        assert_eq!(won.len(), 1, "round {round}");
        only_alive(&nodes[0], &id, &won).await;
    }
    remove(&nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_several_writers_on_different_nodes_wins() {
    let nodes = nodes("operations").await;
    for round in 0..60 {
        if nodes.is_empty() {
            return;
        }
        let id = format!("doc-{round}");
        let base = nodes[0]
            .put(&id, None, &json!({ "owner": null }))
            .await
            .unwrap();
        let base = base.committed().unwrap();
        let mut running = Vec::new();
        for writer in 0..4 {
            let (database, id, base) = (
                nodes[writer % nodes.len()].clone(),
                id.clone(),
                base.clone(),
            );
            running.push(tokio::spawn(async move {
                database
                    .compare_and_set(&id, &base, &json!({ "owner": writer }))
                    .await
            }));
        }
        let mut won = Vec::new();
        for (writer, task) in running.into_iter().enumerate() {
            if let Exchange::Won(_) = task.await.unwrap().unwrap() {
                won.push(json!(writer));
            }
        }
        assert_eq!(won.len(), 1, "round {round}");
        only_alive(&nodes[0], &id, &won).await;
    }
    remove(&nodes).await;
}

async fn remove(nodes: &[Database]) {
    if let Some(first) = nodes.first() {
        first.couch().delete_database(first.name()).await.unwrap();
    }
}
