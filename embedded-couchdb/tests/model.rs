//! Model-based test: after random edits, deletions and replicated revisions, every way of reading must agree
//! with a simple model of a database.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

mod support;

use std::collections::BTreeMap;

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};
use support::{Client, Embedded};

type Rev = (u64, String);

fn text(rev: &Rev) -> String {
    format!("{}-{}", rev.0, rev.1)
}

fn parse(text: &str) -> Rev {
    let (pos, id) = text.split_once('-').unwrap();
    (pos.parse().unwrap(), id.to_owned())
}

#[derive(Clone, Debug)]
struct Node {
    parent: Option<Rev>,
    /// Whether the revision is deleted, and its value; `None` if only its name is known.
    stored: Option<(bool, i64)>,
}

#[derive(Clone, Debug, Default)]
struct Doc {
    nodes: BTreeMap<Rev, Node>,
    changed: u64,
}

impl Doc {
    /// The leaves, the winner first.
    fn leaves(&self) -> Vec<(Rev, bool, i64)> {
        let mut leaves: Vec<_> = self
            .nodes
            .iter()
            .filter(|(rev, _)| {
                !self
                    .nodes
                    .values()
                    .any(|node| node.parent.as_ref() == Some(*rev))
            })
            .map(|(rev, node)| (rev.clone(), node.stored.unwrap().0, node.stored.unwrap().1))
            .collect();
        leaves.sort_by_key(|(rev, deleted, _)| (!deleted, rev.clone()));
        leaves.reverse();
        leaves
    }

    fn history(&self, rev: &Rev) -> Vec<Rev> {
        let mut history = vec![rev.clone()];
        while let Some(parent) = self
            .nodes
            .get(history.last().unwrap())
            .and_then(|node| node.parent.clone())
        {
            history.push(parent);
        }
        history
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Edits a leaf, another revision, or without a revision.
    Edit {
        doc: usize,
        target: Target,
        deleted: bool,
        value: i64,
    },
    /// Adds a branch of `length` revisions below a revision, or a new root.
    Replicate {
        doc: usize,
        below: Option<usize>,
        length: usize,
        name: u8,
        deleted: bool,
        value: i64,
    },
    /// Purges a leaf.
    Purge {
        doc: usize,
        leaf: usize,
    },
    Compact,
}

#[derive(Clone, Debug)]
enum Target {
    None,
    Leaf(usize),
    Any(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let target = prop_oneof![
        1 => Just(Target::None),
        5 => (0..4_usize).prop_map(Target::Leaf),
        1 => (0..8_usize).prop_map(Target::Any),
    ];
    let step = prop_oneof![
        6 => (0..4_usize, target, prop::bool::weighted(0.2), -5..5_i64)
            .prop_map(|(doc, target, deleted, value)| Step::Edit { doc, target, deleted, value }),
        4 => (0..4_usize, prop::option::of(0..8_usize), 1..4_usize, any::<u8>(), prop::bool::weighted(0.2), -5..5_i64)
            .prop_map(|(doc, below, length, name, deleted, value)| Step::Replicate { doc, below, length, name, deleted, value }),
        1 => (0..4_usize, 0..4_usize).prop_map(|(doc, leaf)| Step::Purge { doc, leaf }),
        1 => Just(Step::Compact),
    ];
    prop::collection::vec(step, 1..40)
}

struct Model {
    docs: BTreeMap<String, Doc>,
    clock: u64,
}

impl Model {
    async fn apply(&mut self, client: &Client, db: &str, step: &Step) {
        match step {
            Step::Edit {
                doc,
                target,
                deleted,
                value,
            } => {
                let id = format!("doc{doc}");
                let there = self.docs.get(&id).cloned().unwrap_or_default();
                let leaves = there.leaves();
                let named = match target {
                    Target::None => None,
                    Target::Leaf(n) => leaves
                        .get(n % leaves.len().max(1))
                        .map(|leaf| leaf.0.clone()),
                    Target::Any(n) => there
                        .nodes
                        .keys()
                        .nth(n % there.nodes.len().max(1))
                        .cloned(),
                };
                let winner_deleted = leaves.first().is_some_and(|leaf| leaf.1);
                let parent = match &named {
                    None if leaves.is_empty() => Some(None),
                    None if winner_deleted && !deleted => Some(Some(leaves[0].0.clone())),
                    None => None,
                    // The successor of a tombstone does not name it.
                    Some(_) if winner_deleted => None,
                    Some(rev) => leaves
                        .iter()
                        .any(|leaf| leaf.0 == *rev)
                        .then(|| Some(rev.clone())),
                };
                let mut body = json!({"n": value});
                if let Some(rev) = &named {
                    body["_rev"] = text(rev).into();
                }
                if *deleted {
                    body["_deleted"] = true.into();
                }
                let reply = client.put(&format!("{db}/{id}"), &body).await;
                match parent {
                    None => {
                        reply.expect(409);
                    }
                    Some(parent) => {
                        let reply = reply.expect(if *deleted { 200 } else { 201 }).json();
                        let rev = parse(reply["rev"].as_str().unwrap());
                        assert_eq!(rev.0, parent.as_ref().map_or(0, |rev| rev.0) + 1);
                        self.store(id, vec![(rev, parent)], *deleted, *value);
                    }
                }
            }
            Step::Replicate {
                doc,
                below,
                length,
                name,
                deleted,
                value,
            } => {
                let id = format!("doc{doc}");
                let there = self.docs.get(&id).cloned().unwrap_or_default();
                let base = below.and_then(|n| {
                    there
                        .nodes
                        .keys()
                        .nth(n % there.nodes.len().max(1))
                        .cloned()
                });
                let mut chain = Vec::new();
                let mut parent = base.clone();
                for k in 0..*length {
                    let rev = (
                        parent.as_ref().map_or(0, |rev| rev.0) + 1,
                        format!("{name:02x}{k}"),
                    );
                    chain.push((rev.clone(), parent));
                    parent = Some(rev);
                }
                // A revision has one history: the same name must not occur below two parents.
                if chain.iter().any(|(rev, parent)| {
                    there
                        .nodes
                        .get(rev)
                        .is_some_and(|node| node.parent != *parent)
                }) {
                    return;
                }
                let mut ids: Vec<String> =
                    chain.iter().rev().map(|(rev, _)| rev.1.clone()).collect();
                if let Some(base) = &base {
                    ids.extend(there.history(base).into_iter().map(|rev| rev.1));
                }
                let start = chain.last().unwrap().0.0;
                let mut body =
                    json!({"_id": id, "_revisions": {"start": start, "ids": ids}, "n": value});
                if *deleted {
                    body["_deleted"] = true.into();
                }
                let reply = client
                    .post(
                        &format!("{db}/_bulk_docs"),
                        &json!({"new_edits": false, "docs": [body]}),
                    )
                    .await;
                assert_eq!(reply.expect(201).json(), json!([]));
                let newest = &chain.last().unwrap().0;
                if there
                    .nodes
                    .get(newest)
                    .is_none_or(|node| node.stored.is_none())
                {
                    self.store(id, chain, *deleted, *value);
                }
            }
            Step::Purge { doc, leaf } => {
                let id = format!("doc{doc}");
                let Some(there) = self.docs.get_mut(&id) else {
                    return;
                };
                let leaves = there.leaves();
                let rev = leaves[leaf % leaves.len()].0.clone();
                let reply = client
                    .post(&format!("{db}/_purge"), &json!({&id: [text(&rev)]}))
                    .await
                    .expect(201)
                    .json();
                assert_eq!(reply["purged"][&id], json!([text(&rev)]));
                let kept: Vec<Rev> = leaves
                    .iter()
                    .filter(|other| other.0 != rev)
                    .flat_map(|other| there.history(&other.0))
                    .collect();
                there.nodes.retain(|rev, _| kept.contains(rev));
                self.clock += 1;
                there.changed = self.clock;
                if there.nodes.is_empty() {
                    self.docs.remove(&id);
                }
            }
            Step::Compact => {
                client
                    .post(&format!("{db}/_compact"), &Value::Null)
                    .await
                    .expect(202);
            }
        }
    }

    fn store(&mut self, id: String, chain: Vec<(Rev, Option<Rev>)>, deleted: bool, value: i64) {
        self.clock += 1;
        let doc = self.docs.entry(id).or_default();
        doc.changed = self.clock;
        let newest = chain.last().unwrap().0.clone();
        for (rev, parent) in chain {
            doc.nodes.entry(rev).or_insert(Node {
                parent,
                stored: None,
            });
        }
        doc.nodes.get_mut(&newest).unwrap().stored = Some((deleted, value));
    }

    async fn check(&self, client: &Client, db: &str) {
        for (id, doc) in &self.docs {
            let leaves = doc.leaves();
            let (winner, deleted, value) = &leaves[0];
            let read = client
                .get(&format!(
                    "{db}/{id}?conflicts=true&deleted_conflicts=true&revs=true"
                ))
                .await;
            if *deleted {
                read.expect(404);
            } else {
                let read = read.expect(200).json();
                assert_eq!(
                    (&read["_rev"], &read["n"]),
                    (&json!(text(winner)), &json!(value))
                );
                let beside = |gone: bool| -> Value {
                    let list: Vec<String> = leaves[1..]
                        .iter()
                        .filter(|leaf| leaf.1 == gone)
                        .map(|leaf| text(&leaf.0))
                        .collect();
                    if list.is_empty() {
                        Value::Null
                    } else {
                        json!(list)
                    }
                };
                assert_eq!(read["_conflicts"], beside(false));
                assert_eq!(read["_deleted_conflicts"], beside(true));
                let history: Vec<String> =
                    doc.history(winner).into_iter().map(|rev| rev.1).collect();
                assert_eq!(
                    read["_revisions"],
                    json!({"start": winner.0, "ids": history})
                );
            }
            let path = format!("{db}/{id}?open_revs=all");
            let open = client
                .call("GET", &path, &[("accept", "application/json")], b"")
                .await
                .expect(200)
                .json();
            let mut found: Vec<(String, bool, i64)> = open
                .as_array()
                .unwrap()
                .iter()
                .map(|leaf| &leaf["ok"])
                .map(|leaf| {
                    (
                        leaf["_rev"].as_str().unwrap().to_owned(),
                        leaf["_deleted"] == true,
                        leaf["n"].as_i64().unwrap(),
                    )
                })
                .collect();
            let mut expected: Vec<_> = leaves
                .iter()
                .map(|leaf| (text(&leaf.0), leaf.1, leaf.2))
                .collect();
            found.sort();
            expected.sort();
            assert_eq!(found, expected, "{id}");
        }
        let winners = || {
            self.docs
                .iter()
                .map(|(id, doc)| (id.clone(), doc.leaves()[0].clone(), doc.changed))
        };

        let all = client
            .get(&format!("{db}/_all_docs?startkey=%22doc%22"))
            .await
            .expect(200)
            .json();
        let expected: Vec<Value> = winners()
            .filter(|(_, winner, _)| !winner.1)
            .map(|(id, winner, _)| json!({"id": id, "key": id, "value": {"rev": text(&winner.0)}}))
            .collect();
        assert_eq!(all["rows"], json!(expected));

        let feed = client
            .get(&format!("{db}/_changes"))
            .await
            .expect(200)
            .json();
        let found: Vec<(String, String, bool)> = feed["results"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|row| !row["id"].as_str().unwrap().starts_with("_design/"))
            .map(|row| {
                let rev = row["changes"][0]["rev"].as_str().unwrap();
                (
                    row["id"].as_str().unwrap().to_owned(),
                    rev.to_owned(),
                    row["deleted"] == true,
                )
            })
            .collect();
        let mut expected: Vec<_> = winners().collect();
        expected.sort_by_key(|(_, _, changed)| *changed);
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(id, winner, _)| (id, text(&winner.0), winner.1))
            .collect();
        assert_eq!(found, expected);

        let info = client.get(db).await.expect(200).json();
        let gone = winners().filter(|(_, winner, _)| winner.1).count();
        // The index is one design document.
        assert_eq!(info["doc_count"], json!(self.docs.len() - gone + 1));
        assert_eq!(info["doc_del_count"], json!(gone));

        let query = json!({"selector": {"n": {"$gte": -2}}, "sort": ["n"], "fields": ["_id", "n"]});
        let found = client
            .post(&format!("{db}/_find"), &query)
            .await
            .expect(200)
            .json();
        assert_eq!(found["warning"], Value::Null);
        let mut expected: Vec<(i64, String)> = winners()
            .filter(|(_, winner, _)| !winner.1 && winner.2 >= -2)
            .map(|(id, winner, _)| (winner.2, id))
            .collect();
        expected.sort();
        let expected: Vec<Value> = expected
            .into_iter()
            .map(|(n, id)| json!({"_id": id, "n": n}))
            .collect();
        assert_eq!(found["docs"], json!(expected));
    }
}

#[test]
fn the_server_agrees_with_the_model() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let server = runtime.block_on(Embedded::start());
    let config = Config {
        cases: 48,
        failure_persistence: None,
        max_shrink_iters: 300,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&steps(), |steps| {
            runtime.block_on(async {
                let db = server.client.fresh("model").await;
                let index = json!({"index": {"fields": ["n"]}, "ddoc": "by-n"});
                server
                    .client
                    .post(&format!("{db}/_index"), &index)
                    .await
                    .expect(200);
                let mut model = Model {
                    docs: BTreeMap::new(),
                    clock: 0,
                };
                for step in &steps {
                    model.apply(&server.client, &db, step).await;
                }
                model.check(&server.client, &db).await;
            });
            Ok(())
        })
        .unwrap();
    runtime.block_on(server.stop());
}
