//! Writes: each node executes them on its own, and the votes decide the answer.

use std::{collections::BTreeMap, sync::Arc};

use http::StatusCode;
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    fault::{Moment, Role},
    state::{Inner, Life, NODES, Pulse, QUORUM},
    wire::{Answer, Call},
};

/// The answer of a node; `None` if the node died.
type Vote = (usize, Option<Answer>);

/// Decides from the answers of the nodes so far. `last` says that there are no more. `None` means to wait.
type Judge = fn(at: usize, answers: &BTreeMap<usize, Answer>, last: bool) -> Option<Answer>;

/// One execution of a write by one node.
struct Errand {
    number: u64,
    coordinator: usize,
    node: usize,
    pulse: Pulse,
    db: String,
    generation: u64,
    call: Call,
    arrives: Instant,
    /// Ends when the previous write of the same lane is done.
    previous: Option<oneshot::Receiver<()>>,
    votes: mpsc::UnboundedSender<Vote>,
}

impl Inner {
    /// Writes one document. `None` if the coordinator died.
    pub(super) async fn write(self: &Arc<Self>, at: usize, db: &str, call: Call) -> Option<Answer> {
        self.replicate(at, db, call, judge_one).await
    }

    /// Writes many documents. `None` if the coordinator died.
    pub(super) async fn write_many(
        self: &Arc<Self>,
        at: usize,
        db: &str,
        call: Call,
    ) -> Option<Answer> {
        let mut body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
        if body.get("new_edits") == Some(&json!(false)) {
            return self.replicate(at, db, call, judge_replicated).await;
        }
        let documents = body.get_mut("docs").and_then(Value::as_array_mut);
        let mut named = false;
        for document in documents.into_iter().flatten() {
            if document.is_object() && document.get("_id").is_none() {
                // Each node would choose another id.
                document["_id"] = json!(self.new_id());
                named = true;
            }
        }
        let call = if named { call.json(&body) } else { call };
        self.replicate(at, db, call, judge_many).await
    }

    async fn replicate(
        self: &Arc<Self>,
        at: usize,
        db: &str,
        call: Call,
        judge: Judge,
    ) -> Option<Answer> {
        match self.strike(at, Role::Coordinator, &call.path) {
            Some(Moment::BeforeCommit) => {
                self.kill(at);
                return None;
            }
            Some(Moment::AfterCommit) => {
                let (inner, db) = (Arc::clone(self), db.to_owned());
                let pulse = self.pulse(at);
                // A task of its own: the client may go away meanwhile.
                self.spawn(async move { inner.commit_and_die(at, pulse, &db, &call).await });
                self.until_changed(at, pulse).await;
                return None;
            }
            None => {}
        }
        let (tell, answer) = oneshot::channel();
        let (votes, told) = mpsc::unbounded_channel();
        let sent_to = self.send_out(at, db, &call, &votes);
        drop(votes);
        let (inner, db) = (Arc::clone(self), db.to_owned());
        self.spawn(async move { inner.collect(at, &db, sent_to, told, judge, tell).await });
        answer.await.ok()
    }

    /// Sends a write to all nodes that are not dead. A paused node executes it when it goes on.
    fn send_out(
        self: &Arc<Self>,
        at: usize,
        db: &str,
        call: &Call,
        votes: &mpsc::UnboundedSender<Vote>,
    ) -> Vec<(usize, Pulse)> {
        let mut state = self.state();
        let mut sent_to = Vec::new();
        for node in 0..NODES {
            let pulse = self.pulse(node);
            if pulse.life == Life::Dead {
                continue;
            }
            let (done, tail) = oneshot::channel();
            state.sent += 1;
            let number = state.sent;
            let under_way = state.under_way.entry((db.to_owned(), node)).or_default();
            under_way.insert(number, call.path.clone());
            let errand = Errand {
                number,
                coordinator: at,
                node,
                pulse,
                db: db.to_owned(),
                generation: state.generation(db),
                call: call.clone(),
                arrives: Instant::now() + self.latency(),
                previous: state.tails.insert((db.to_owned(), at, node), tail),
                votes: votes.clone(),
            };
            sent_to.push((node, pulse));
            let inner = Arc::clone(self);
            self.spawn(async move {
                inner.run(errand).await;
                drop(done);
            });
        }
        sent_to
    }

    async fn run(&self, mut errand: Errand) {
        let node = errand.node;
        tokio::time::sleep_until(errand.arrives).await;
        if let Some(previous) = errand.previous.take() {
            let _ = previous.await;
        }
        self.until_awake(node).await;
        let answer = self.execute(&errand).await;
        if let Some(writes) = self.state().under_way.get_mut(&(errand.db, node)) {
            writes.remove(&errand.number);
        }
        let _ = errand.votes.send((node, answer));
    }

    async fn execute(&self, errand: &Errand) -> Option<Answer> {
        let Errand { node, db, call, .. } = errand;
        if errand.coordinator != *node && self.pulse(*node).deaths == errand.pulse.deaths {
            match self.strike(*node, Role::Replica, &call.path) {
                Some(Moment::BeforeCommit) => self.kill(*node),
                Some(Moment::AfterCommit) => {
                    let pulse = self.pulse(*node);
                    self.commit_and_die(*node, pulse, db, call).await;
                }
                None => {}
            }
        }
        let lock = self.lock(db);
        let _reading = lock.read().await;
        let known = self.state().known[*node].get(db).copied();
        if self.pulse(*node).deaths != errand.pulse.deaths {
            return None;
        }
        if known.unwrap_or(0) != errand.generation {
            return Some(Answer::no_database());
        }
        let answer = self.ask(*node, call).await;
        if self.pulse(*node).deaths != errand.pulse.deaths {
            // It died before it could answer.
            if answer.status.is_success() {
                self.state().mark_written(db, *node);
            }
            return None;
        }
        Some(answer)
    }

    /// Collects the votes. Answers as soon as they decide, or when no live node is left to wait for.
    async fn collect(
        &self,
        at: usize,
        db: &str,
        sent_to: Vec<(usize, Pulse)>,
        mut told: mpsc::UnboundedReceiver<Vote>,
        judge: Judge,
        tell: oneshot::Sender<Answer>,
    ) {
        let mut tell = Some(tell);
        let mut answers = BTreeMap::new();
        let mut waiting = sent_to;
        let mut lives = self.watch();
        loop {
            let now = *lives.borrow_and_update();
            let last = !waiting.iter().any(|(node, from)| {
                now[*node].life == Life::Live && now[*node].deaths == from.deaths
            });
            if tell.is_some()
                && let Some(answer) = judge(at, &answers, last)
            {
                let _ = tell.take().map(|tell| tell.send(answer));
                if !waiting.is_empty() && last {
                    // The others may wait long for the nodes that hang.
                    self.mark_successes(db, &answers);
                }
            }
            tokio::select! {
                vote = told.recv() => {
                    let Some((node, answer)) = vote else { break };
                    waiting.retain(|(it, _)| *it != node);
                    answers.extend(answer.map(|answer| (node, answer)));
                }
                Ok(()) = lives.changed() => {}
            }
        }
        self.mark_successes(db, &answers);
        if let Some(tell) = tell {
            let _ = judge(at, &answers, true).map(|answer| tell.send(answer));
        }
    }

    /// Has the nodes that took a write replicate it to those that did not take it in the same way.
    fn mark_successes(&self, db: &str, answers: &BTreeMap<usize, Answer>) {
        let mut state = self.state();
        for (from, answer) in answers {
            for to in (0..NODES).filter(|_| answer.status.is_success()) {
                let same =
                    |other: &Answer| other.status == answer.status && other.body == answer.body;
                if !answers.get(&to).is_some_and(same) {
                    state.mark_lane(db, *from, to);
                }
            }
        }
    }
}

/// The revision of a successful response; empty if it names none.
fn rev_in(value: &Value) -> String {
    value["rev"].as_str().unwrap_or_default().to_owned()
}

/// The revision that most nodes gave, and how many did.
fn leading<'a>(revs: impl Iterator<Item = &'a String>) -> Option<(&'a String, usize)> {
    let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
    for rev in revs {
        *counts.entry(rev).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count)
}

/// The refusal of the coordinator itself, else that of another node.
fn refusal(at: usize, answers: &BTreeMap<usize, Answer>) -> Answer {
    let own = answers.get(&at).or_else(|| answers.values().next());
    own.cloned().unwrap_or_else(|| {
        Answer::error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_server_error",
            "no node answered",
        )
    })
}

/// 201 or 200 if two nodes gave the same revision; 202 if one did; else the refusal of a node.
fn judge_one(at: usize, answers: &BTreeMap<usize, Answer>, last: bool) -> Option<Answer> {
    let taken: Vec<(String, &Answer)> = answers
        .values()
        .filter(|answer| answer.status.is_success())
        .map(|answer| (rev_in(&answer.value()), answer))
        .collect();
    let Some((rev, count)) = leading(taken.iter().map(|(rev, _)| rev)) else {
        return last.then(|| refusal(at, answers));
    };
    let (_, answer) = taken.iter().find(|(it, _)| it == rev)?;
    if count >= QUORUM {
        return Some((*answer).clone());
    }
    last.then(|| (*answer).clone().with_status(StatusCode::ACCEPTED))
}

/// As [`judge_one`], for revisions that another database made. Nodes answer only what they refuse.
fn judge_replicated(at: usize, answers: &BTreeMap<usize, Answer>, last: bool) -> Option<Answer> {
    let mut taken = answers.values().filter(|answer| answer.status.is_success());
    match (taken.next(), taken.next()) {
        (Some(_), Some(answer)) => Some(answer.clone()),
        (Some(answer), None) => last.then(|| answer.clone().with_status(StatusCode::ACCEPTED)),
        (None, _) => last.then(|| refusal(at, answers)),
    }
}

/// As [`judge_one`], for each document.
fn judge_many(at: usize, answers: &BTreeMap<usize, Answer>, last: bool) -> Option<Answer> {
    let taken = answers
        .iter()
        .filter(|(_, answer)| answer.status.is_success());
    let mut nodes: Vec<(usize, Vec<Value>)> = taken
        .filter_map(|(node, answer)| Some((*node, answer.value().as_array()?.clone())))
        .collect();
    // The refusal of the coordinator itself comes first.
    nodes.sort_by_key(|(node, _)| *node != at);
    let Some((_, first)) = nodes.first() else {
        return last.then(|| refusal(at, answers));
    };
    let mut all_decided = true;
    let mut status = StatusCode::CREATED;
    let mut rows = Vec::with_capacity(first.len());
    for place in 0..first.len() {
        let of_nodes = nodes.iter().filter_map(|(_, rows)| rows.get(place));
        let of_nodes: Vec<&Value> = of_nodes.collect();
        let done: Vec<(String, &Value)> = of_nodes
            .iter()
            .filter(|row| row.get("error").is_none())
            .map(|row| (rev_in(row), *row))
            .collect();
        let leading = leading(done.iter().map(|(rev, _)| rev));
        let row = match leading {
            Some((rev, count)) => {
                let mut row = done.iter().find(|(it, _)| it == rev)?.1.clone();
                if count < QUORUM {
                    all_decided = false;
                    row["accepted"] = json!(true);
                    status = StatusCode::ACCEPTED;
                }
                row
            }
            None => {
                all_decided = false;
                of_nodes[0].clone()
            }
        };
        rows.push(row);
    }
    (all_decided || last).then(|| Answer::json(status, &Value::Array(rows)))
}
