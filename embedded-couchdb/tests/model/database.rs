//! The steps, done to the server and to the model.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    FORBIDDEN,
    document::{Doc, File, Files, Node, Rev, Sent, Stored, parse, text},
    steps::{Attached, Step, Target},
    support::{Client, Reply},
    users::Users,
};

pub(crate) struct Model {
    pub(crate) docs: BTreeMap<String, Doc>,
    pub(crate) users: Users,
    clock: u64,
    validates: bool,
}

/// An edit as it is sent.
struct Edit<'a> {
    id: String,
    named: Option<Rev>,
    deleted: bool,
    value: i64,
    files: &'a Attached,
    by: Option<usize>,
}

impl Model {
    pub(crate) fn new(case: u64, validates: bool) -> Self {
        Self {
            docs: BTreeMap::new(),
            users: Users::new(case),
            clock: 0,
            validates,
        }
    }

    fn doc(&self, id: &str) -> Doc {
        self.docs.get(id).cloned().unwrap_or_default()
    }

    /// The revision that a step names.
    fn named(&self, id: &str, target: &Target) -> Option<Rev> {
        let there = self.doc(id);
        match target {
            Target::None => None,
            Target::Leaf(n) => {
                let leaves = there.leaves();
                leaves
                    .get(n % leaves.len().max(1))
                    .map(|leaf| leaf.0.clone())
            }
            Target::Any(n) => {
                let count = there.nodes.len().max(1);
                there.nodes.keys().nth(n % count).cloned()
            }
        }
    }

    pub(crate) async fn apply(&mut self, client: &Client, db: &str, step: &Step) {
        match step {
            Step::Edit {
                doc,
                target,
                deleted,
                value,
                files,
                by,
            } => {
                let id = format!("doc{doc}");
                let edit = Edit {
                    named: self.named(&id, target),
                    id,
                    deleted: *deleted,
                    value: *value,
                    files,
                    by: *by,
                };
                self.edit(client, db, edit).await;
            }
            Step::PutFile {
                doc,
                target,
                name,
                sent,
            } => self.put_file(client, db, *doc, target, *name, sent).await,
            Step::DeleteFile { doc, leaf, name } => {
                self.delete_file(client, db, *doc, *leaf, *name).await;
            }
            Step::Replicate { .. } => self.replicate(client, db, step).await,
            Step::Purge { doc, leaf } => self.purge(client, db, *doc, *leaf).await,
            Step::Compact => {
                let path = format!("{db}/_compact");
                client.post(&path, &Value::Null).await.expect(202);
            }
            Step::View { first, last } => self.check_views(client, db, *first, *last).await,
            Step::User { user, role } => self.users.put(client, *user, *role).await,
            Step::DeleteUser { user } => self.users.delete(client, *user).await,
            Step::Login { user, is_right } => self.users.login(client, *user, *is_right).await,
            Step::Members(members) => self.users.set_members(client, db, members).await,
        }
    }

    async fn edit(&mut self, client: &Client, db: &str, edit: Edit<'_>) {
        let there = self.doc(&edit.id);
        let continued = there.continued(edit.named.as_ref(), edit.deleted);
        let mut files = Files::new();
        let mut body = json!({"n": edit.value});
        if let Some(rev) = &edit.named {
            body["_rev"] = text(rev).into();
            let before = there.leaf(rev).filter(|_| edit.files.keeps);
            files = before.map(|before| before.files).unwrap_or_default();
        }
        let mut sent: Value = files
            .iter()
            .map(|(name, file)| (name.clone(), json!({"stub": true, "revpos": file.revpos})))
            .collect();
        let generation = generation(edit.named.as_ref());
        if let Some((name, new)) = &edit.files.new {
            let name = format!("file{name}");
            sent[&name] = new.inline();
            files.insert(name, file(generation, new));
        }
        if edit.files.has_ghost {
            sent["ghost"] = json!({"stub": true});
        }
        if sent.as_object().is_some_and(|sent| !sent.is_empty()) {
            body["_attachments"] = sent;
        }
        if edit.deleted {
            body["_deleted"] = true.into();
        }
        let path = format!("{db}/{}", edit.id);
        let (header, refused) = match edit.by {
            None => (client.authorization.clone().unwrap(), None),
            Some(user) => self.users.caller(user),
        };
        let headers = [("authorization", header.as_str())];
        let sent = body.to_string();
        let reply = client.call("PUT", &path, &headers, sent.as_bytes()).await;
        let is_forbidden = self.validates && edit.by.is_some() && edit.value == FORBIDDEN;
        let Ok(parent) = continued else {
            reply.expect(refused.unwrap_or(409));
            return;
        };
        let expected = match refused {
            Some(status) => status,
            None if edit.files.has_ghost => 412,
            None if is_forbidden => 403,
            None if edit.deleted => 200,
            None => 201,
        };
        let reply = reply.expect(expected);
        if expected < 300 {
            let stored = Stored {
                deleted: edit.deleted,
                value: Some(edit.value),
                files,
            };
            self.take(edit.id, parent, &reply, stored);
        }
    }

    /// Stores what the server has made of an edit.
    fn take(&mut self, id: String, parent: Option<Rev>, reply: &Reply, stored: Stored) {
        let rev = parse(reply.json()["rev"].as_str().unwrap());
        assert_eq!(rev.0, parent.as_ref().map_or(0, |parent| parent.0) + 1);
        self.store(id, vec![(rev, parent)], stored);
    }

    async fn put_file(
        &mut self,
        client: &Client,
        db: &str,
        doc: usize,
        target: &Target,
        name: usize,
        sent: &Sent,
    ) {
        let (id, name) = (format!("doc{doc}"), format!("file{name}"));
        let named = self.named(&id, target);
        let there = self.doc(&id);
        let continued = there.continued(named.as_ref(), false);
        let mut path = format!("{db}/{id}/{name}");
        let mut stored = Stored {
            deleted: false,
            value: None,
            files: Files::new(),
        };
        if let Some(rev) = &named {
            path.push_str(&format!("?rev={}", text(rev)));
            stored = there.leaf(rev).unwrap_or(stored);
        }
        let headers = [("content-type", sent.content_type())];
        let reply = client.call("PUT", &path, &headers, &sent.bytes).await;
        let Ok(parent) = continued else {
            reply.expect(409);
            return;
        };
        stored.deleted = false;
        stored
            .files
            .insert(name, file(generation(named.as_ref()), sent));
        self.take(id, parent, &reply.expect(201), stored);
    }

    async fn delete_file(
        &mut self,
        client: &Client,
        db: &str,
        doc: usize,
        leaf: usize,
        name: usize,
    ) {
        let (id, name) = (format!("doc{doc}"), format!("file{name}"));
        let Some(rev) = self.named(&id, &Target::Leaf(leaf)) else {
            return;
        };
        let there = self.doc(&id);
        let mut stored = there.leaf(&rev).unwrap();
        let path = format!("{db}/{id}/{name}?rev={}", text(&rev));
        let reply = client.delete(&path).await;
        if stored.files.remove(&name).is_none() {
            reply.expect(404);
            return;
        }
        let Ok(parent) = there.continued(Some(&rev), false) else {
            reply.expect(409);
            return;
        };
        stored.deleted = false;
        self.take(id, parent, &reply.expect(200), stored);
    }

    async fn replicate(&mut self, client: &Client, db: &str, step: &Step) {
        let Step::Replicate {
            doc,
            below,
            length,
            name,
            deleted,
            value,
            file: new_file,
        } = step
        else {
            return;
        };
        let id = format!("doc{doc}");
        let there = self.doc(&id);
        let base = below.and_then(|n| self.named(&id, &Target::Any(n)));
        let mut chain = Vec::new();
        let mut parent = base.clone();
        for k in 0..*length {
            let generation = parent.as_ref().map_or(0, |rev| rev.0) + 1;
            let rev = (generation, format!("{name:02x}{k}"));
            chain.push((rev.clone(), parent));
            parent = Some(rev);
        }
        // A revision has one history: the same name must not occur below two parents.
        let is_other = |(rev, parent): &(Rev, Option<Rev>)| {
            let node = there.nodes.get(rev);
            node.is_some_and(|node| node.parent != *parent)
        };
        if chain.iter().any(is_other) {
            return;
        }
        let mut ids: Vec<String> = chain.iter().rev().map(|(rev, _)| rev.1.clone()).collect();
        if let Some(base) = &base {
            ids.extend(there.history(base).into_iter().map(|rev| rev.1));
        }
        let newest = chain.last().unwrap().0.clone();
        let mut files = Files::new();
        let revisions = json!({"start": newest.0, "ids": ids});
        let mut body = json!({"_id": id, "_revisions": revisions, "n": value});
        if *deleted {
            body["_deleted"] = true.into();
        }
        if let Some((name, sent)) = new_file {
            let name = format!("file{name}");
            let mut inline = sent.inline();
            inline["revpos"] = newest.0.into();
            body["_attachments"] = json!({&name: inline});
            files.insert(name, file(newest.0, sent));
        }
        let docs = json!({"new_edits": false, "docs": [body]});
        let reply = client.post(&format!("{db}/_bulk_docs"), &docs).await;
        assert_eq!(reply.expect(201).json(), json!([]));
        let known = there.nodes.get(&newest);
        if known.is_none_or(|node| node.stored.is_none()) {
            let stored = Stored {
                deleted: *deleted,
                value: Some(*value),
                files,
            };
            self.store(id, chain, stored);
        }
    }

    async fn purge(&mut self, client: &Client, db: &str, doc: usize, leaf: usize) {
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

    fn store(&mut self, id: String, chain: Vec<(Rev, Option<Rev>)>, stored: Stored) {
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
        doc.nodes.get_mut(&newest).unwrap().stored = Some(stored);
    }
}

/// The `revpos` of what comes with an edit of the revision `named`. An edit that names none counts as the first one, also
/// where it continues a deleted document.
fn generation(named: Option<&Rev>) -> u64 {
    named.map_or(0, |rev| rev.0) + 1
}

fn file(revpos: u64, sent: &Sent) -> File {
    File {
        revpos,
        sent: sent.clone(),
    }
}
