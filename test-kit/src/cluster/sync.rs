//! Replication between nodes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use http::Method;
use serde_json::{Value, json};

use super::{
    state::{Checkpoint, Inner, Lane, NODES},
    wire::{Call, encoded},
};

impl Inner {
    /// Replicates forever what is not replicated yet.
    pub(super) async fn replicate_forever(self: Arc<Self>) {
        loop {
            tokio::time::sleep(Duration::from_millis(self.draw(5..=40))).await;
            for lane in self.lanes_with_news() {
                // What fails, because a database is gone for example, is tried again.
                let _ = self.send_changes(&lane).await;
            }
        }
    }

    /// The databases and pairs of nodes with something to replicate.
    fn lanes_with_news(&self) -> Vec<Lane> {
        let mut lanes: Vec<Lane> = {
            let state = self.state();
            let news = state.written.iter().filter(|(lane, written)| {
                let sent = state.checkpoints.get(lane).map_or(0, |it| it.written);
                **written > sent
            });
            news.map(|(lane, _)| lane.clone()).collect()
        };
        lanes.retain(|lane| self.ready(lane).is_some());
        lanes.sort();
        lanes
    }

    /// The generation of a database, if it can be replicated between two nodes now.
    fn ready(&self, lane: &Lane) -> Option<u64> {
        let (db, from, to) = lane;
        let state = self.state();
        let ready = |node: usize| !state.held[node] && self.is_live(node) && state.knows(node, db);
        (ready(*from) && ready(*to)).then(|| state.generation(db))
    }

    /// Sends what one node has of a database and another one lacks.
    pub(super) async fn send_changes(&self, lane: &Lane) -> Result<(), String> {
        let (db, from, to) = lane;
        let lock = self.lock(db);
        let reading = lock.read().await;
        let Some(generation) = self.ready(lane) else {
            return Ok(());
        };
        let (written, since) = {
            let state = self.state();
            let last = state.checkpoints.get(lane);
            let last = last.filter(|it| it.generation == generation);
            (
                state.written.get(lane).copied().unwrap_or(0),
                last.map_or_else(|| "0".to_owned(), |it| it.seq.clone()),
            )
        };
        let root = encoded(db);
        let target = format!("/{root}/_changes?style=all_docs&since={}", encoded(&since));
        let changes = self.ask(*from, &Call::new(Method::GET, &target)).await;
        let changes = changes.success("_changes")?;
        let leaves = leaves_in(&changes);
        let mut revisions = Vec::new();
        if !leaves.is_empty() {
            let call = Call::post(&format!("/{root}/_revs_diff"), &json!(leaves));
            let lacking = self.ask(*to, &call).await.success("_revs_diff")?;
            revisions = self.revisions(*from, &root, &lacking).await?;
        }
        if !revisions.is_empty() {
            // Those writes need the lock.
            drop(reading);
            self.until_arrived(db, *to, None).await;
            let _reading = lock.read().await;
            if self.ready(lane) != Some(generation) {
                return Ok(());
            }
            self.store(db, *to, revisions).await?;
        }
        let checkpoint = Checkpoint {
            generation,
            seq: text_in(&changes["last_seq"]),
            written,
        };
        self.state().checkpoints.insert(lane.clone(), checkpoint);
        Ok(())
    }

    /// The revisions of a response to `_revs_diff`, with their histories and bodies.
    async fn revisions(
        &self,
        from: usize,
        root: &str,
        lacking: &Value,
    ) -> Result<Vec<Value>, String> {
        let mut wanted = Vec::new();
        for (id, lacking) in lacking.as_object().into_iter().flatten() {
            for rev in lacking["missing"].as_array().into_iter().flatten() {
                wanted.push(json!({ "id": id, "rev": rev }));
            }
        }
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let target = format!("/{root}/_bulk_get?revs=true&attachments=true");
        let call = Call::post(&target, &json!({ "docs": wanted }));
        let found = self.ask(from, &call).await.success("_bulk_get")?;
        let results = found["results"].as_array().into_iter().flatten();
        let docs = results.flat_map(|result| result["docs"].as_array().into_iter().flatten());
        // A revision that has a successor by now may have no body. The next round asks for the successor.
        docs.map(|doc| match doc.get("ok") {
            Some(ok) => Ok(ok.clone()),
            None => Err(format!("node {from} does not give a revision: {doc}")),
        })
        .collect()
    }

    /// Replicates everything once, and compares the trees of all live nodes.
    ///
    /// A node that lacks a document takes a successor of it without the history, and shows an older revision that it gets
    /// later as a second leaf. The others know the history and send nothing: for them, that is an inner revision. In CouchDB,
    /// a read heals it, so documents that differ are read.
    ///
    /// # Errors
    /// What is different, or what failed.
    pub(super) async fn replicate_all(&self) -> Result<(), String> {
        let names: Vec<String> = {
            let state = self.state();
            let present = state.databases.iter().filter(|(_, it)| it.present);
            present.map(|(name, _)| name.clone()).collect()
        };
        for db in &names {
            for (from, to) in (0..NODES).flat_map(|from| (0..NODES).map(move |to| (from, to))) {
                if from != to {
                    self.send_changes(&(db.clone(), from, to)).await?;
                }
            }
        }
        for db in names {
            let root = encoded(&db);
            let mut trees = Vec::new();
            for node in self.live_nodes() {
                let target = format!("/{root}/_changes?style=all_docs");
                let changes = self.ask(node, &Call::new(Method::GET, &target)).await;
                trees.push((node, leaves_in(&changes.success(&db)?)));
            }
            for (node, tree) in &trees[1..] {
                let (first, expected) = &trees[0];
                let ids: BTreeSet<&String> = tree.keys().chain(expected.keys()).collect();
                let different: Vec<&String> = ids
                    .into_iter()
                    .filter(|id| tree.get(*id) != expected.get(*id))
                    .collect();
                for id in &different {
                    let document = format!("/{root}/{}", encoded(id));
                    self.merge(&db, &document, *first, *node).await?;
                }
                if !different.is_empty() {
                    return Err(format!(
                        "{db}: {different:?}: node {first} had {expected:?}, node {node} had {tree:?}"
                    ));
                }
            }
        }
        Ok(())
    }
}

fn text_in(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The leaves of each document of a changes feed with `style=all_docs`.
fn leaves_in(changes: &Value) -> BTreeMap<String, Vec<String>> {
    let rows = changes["results"].as_array().into_iter().flatten();
    rows.map(|row| {
        let leaves = row["changes"].as_array().into_iter().flatten();
        let mut leaves: Vec<String> = leaves.map(|leaf| text_in(&leaf["rev"])).collect();
        leaves.sort();
        (text_in(&row["id"]), leaves)
    })
    .collect()
}
