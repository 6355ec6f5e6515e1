//! What a coordinator does with a request, and how it reads documents.

use std::{collections::BTreeSet, sync::Arc};

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    NODE_NAMES, changes,
    route::Route,
    state::{Inner, Life, NODES},
    wire::{Answer, Call, encoded},
};

impl Inner {
    /// Answers a request as the node `at`. `None` if the node died and there is no answer.
    pub(super) async fn coordinate(self: &Arc<Self>, at: usize, call: Call) -> Option<Answer> {
        let answer = match Route::of(&call) {
            Route::Own => self.ask(at, &call).await,
            Route::Membership => self.membership(),
            Route::Node { name } => self.of_node(&name, &call).await,
            Route::AnyServer => {
                let node = self.pick(&self.live_nodes()).unwrap_or(at);
                changes::mark_info(self.ask(node, &call).await, node)
            }
            Route::Database { db } => self.change_database(at, db, call).await,
            Route::Any { db } if self.has_heard_of(at, &db) => {
                let node = self.pick(&self.nodes_with(&db)).unwrap_or(at);
                let answer = self.ask(node, &call).await;
                if call.path.trim_matches('/').contains('/') {
                    answer
                } else {
                    changes::mark_info(answer, node)
                }
            }
            Route::Changes { db } if self.has_heard_of(at, &db) => {
                self.changes(at, &db, &call).await
            }
            Route::Read { db, document } if self.has_heard_of(at, &db) => {
                self.read(at, &db, &document, &call).await
            }
            Route::Delete { db, document } if self.has_heard_of(at, &db) => {
                // As CouchDB does: the answer is 404 if a majority read finds nothing, else a tombstone is written.
                let look = Call::new(Method::GET, &document);
                let found = self.read(at, &db, &document, &look).await;
                if found.status == StatusCode::NOT_FOUND {
                    return Some(found);
                }
                let tombstone = Call {
                    method: Method::PUT,
                    ..call.json(&json!({ "_deleted": true }))
                };
                return self.write(at, &db, tombstone).await;
            }
            Route::Write { db } if self.has_heard_of(at, &db) => {
                return self.write(at, &db, call).await;
            }
            Route::Bulk { db } if self.has_heard_of(at, &db) => {
                return self.write_many(at, &db, call).await;
            }
            Route::Post { db } if self.has_heard_of(at, &db) => {
                let mut document: Value = serde_json::from_slice(&call.body).unwrap_or_default();
                if document.is_object() && document.get("_id").is_none() {
                    document["_id"] = json!(self.new_id());
                    return self.write(at, &db, call.json(&document)).await;
                }
                return self.write(at, &db, call).await;
            }
            _ => Answer::no_database(),
        };
        Some(answer)
    }

    /// Whether a node has heard of the creation of a database. It may lag behind by a few milliseconds.
    fn has_heard_of(&self, node: usize, db: &str) -> bool {
        let state = self.state();
        state.knows(node, db) || !state.databases.get(db).is_some_and(|it| it.present)
    }

    pub(super) fn new_id(&self) -> String {
        format!(
            "{:016x}{:016x}",
            self.draw(0..=u64::MAX),
            self.draw(0..=u64::MAX)
        )
    }

    fn membership(&self) -> Answer {
        // A node that hangs stays connected, for about a minute in a real cluster.
        let connected: Vec<&str> = (0..NODES)
            .filter(|node| self.pulse(*node).life != Life::Dead)
            .map(|node| NODE_NAMES[node])
            .collect();
        let body = json!({ "all_nodes": connected, "cluster_nodes": NODE_NAMES });
        Answer::json(StatusCode::OK, &body)
    }

    /// What a node answers to a question about itself, when it does not hang any more.
    async fn of_node(&self, name: &str, call: &Call) -> Answer {
        let node = NODE_NAMES.iter().position(|it| *it == name);
        let path = call.path.split('/').skip(3).collect::<Vec<_>>().join("/");
        let call = Call::new(call.method.clone(), &format!("/_node/_local/{path}"));
        if let Some(node) = node {
            self.until_awake(node).await;
            if self.is_live(node) {
                return self.ask(node, &call).await;
            }
        }
        let body = json!({ "error": "not_found", "reason": format!("no such node: {name}") });
        Answer::json(StatusCode::NOT_FOUND, &body)
    }

    /// A majority read: the coordinator and one more node exchange what they have of the document first.
    async fn read(&self, at: usize, db: &str, document: &str, call: &Call) -> Answer {
        // A coordinator asks all nodes and takes the first answer of another one. It answers alone only if the others
        // are away. One that hangs meanwhile has their answers when it goes on.
        loop {
            self.until_awake(at).await;
            let pulse = self.pulse(at);
            let mut others = self.nodes_with(db);
            let own = others.contains(&at);
            others.retain(|node| *node != at);
            while own && let Some(other) = self.pick(&others) {
                if self.merge(db, document, at, other).await == Ok(true) {
                    return self.ask(at, call).await;
                }
                others.retain(|node| *node != other);
            }
            if self.pulse(at) == pulse {
                return self.ask(at, call).await;
            }
            if self.pulse(at).life == Life::Dead {
                return Answer::no_database();
            }
        }
    }

    /// Gives each of two nodes the leaves of a document that it lacks, or that the other knows with another history. Returns `false` when one of them went
    /// away meanwhile.
    pub(super) async fn merge(
        &self,
        db: &str,
        document: &str,
        a: usize,
        b: usize,
    ) -> Result<bool, String> {
        self.until_arrived(db, a, Some(document)).await;
        self.until_arrived(db, b, Some(document)).await;
        let lock = self.lock(db);
        let _reading = lock.read().await;
        let pulses = (self.pulse(a), self.pulse(b));
        let target = format!("{document}?open_revs=all&revs=true&attachments=true");
        let leaves = Call::new(Method::GET, &target);
        let (from_a, from_b) = tokio::join!(self.ask(a, &leaves), self.ask(b, &leaves));
        if from_a.body == from_b.body {
            return Ok((self.pulse(a), self.pulse(b)) == pulses);
        }
        let (from_a, from_b) = (leaves_of(&from_a)?, leaves_of(&from_b)?);
        if !self.nodes_with(db).contains(&a) || (self.pulse(a), self.pulse(b)) != pulses {
            return Ok(false);
        }
        for (from, other, to) in [(&from_a, &from_b, b), (&from_b, &from_a, a)] {
            let there: BTreeSet<(&str, String)> = other.iter().map(with_history).collect();
            let missing: Vec<Value> = from
                .iter()
                .filter(|leaf| !there.contains(&with_history(leaf)))
                .cloned()
                .collect();
            if !missing.is_empty() {
                self.store(db, to, missing).await?;
            }
        }
        Ok(true)
    }

    /// Stores revisions of another node as they are.
    pub(super) async fn store(
        &self,
        db: &str,
        node: usize,
        revisions: Vec<Value>,
    ) -> Result<(), String> {
        let body = json!({ "new_edits": false, "docs": revisions });
        let call = Call::post(&format!("/{}/_bulk_docs", encoded(db)), &body);
        let refused = self.ask(node, &call).await.success("_bulk_docs")?;
        self.state().mark_written(db, node);
        if refused == json!([]) {
            Ok(())
        } else {
            Err(format!("node {node} refused revisions: {refused}"))
        }
    }
}

/// The revision of a document, and what is known of its history.
fn with_history(document: &Value) -> (&str, String) {
    let rev = document["_rev"].as_str().unwrap_or_default();
    (rev, document["_revisions"].to_string())
}

/// The documents of a response to `open_revs`; none if the document never existed.
fn leaves_of(answer: &Answer) -> Result<Vec<Value>, String> {
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(Vec::new());
    }
    let rows = answer.success("open_revs")?;
    let rows = rows.as_array().ok_or("open_revs should be a list")?;
    Ok(rows
        .iter()
        .filter_map(|row| row.get("ok"))
        .cloned()
        .collect())
}
