//! Creating and deleting databases, also on nodes that were away.

use std::sync::Arc;

use http::{Method, StatusCode};
use tokio::sync::oneshot;

use super::{
    state::{Inner, Life, NODES, Pulse, QUORUM, Record},
    wire::{Answer, Call, encoded},
};

impl Inner {
    /// `PUT` or `DELETE` of a database. It is executed on all live nodes; the answer comes when the coordinator and
    /// one more have done it. The status is 202 if a node is away.
    pub(super) async fn change_database(
        self: &Arc<Self>,
        at: usize,
        db: String,
        call: Call,
    ) -> Answer {
        if !matches!(call.method, Method::PUT | Method::DELETE) {
            return self.ask(at, &call).await;
        }
        let (tell, answer) = oneshot::channel();
        let inner = Arc::clone(self);
        self.spawn(async move { inner.change_on_all(at, &db, &call, tell).await });
        answer.await.unwrap_or_else(|_| Answer::no_database())
    }

    async fn change_on_all(&self, at: usize, db: &str, call: &Call, tell: oneshot::Sender<Answer>) {
        let lock = self.lock(db);
        let _alone = lock.write().await;
        let creates = call.method == Method::PUT;
        let before = self.state().databases.get(db).cloned();
        if before.as_ref().is_some_and(|it| it.present) == creates {
            let _ = tell.send(self.ask(at, call).await);
            return;
        }
        let after = Record {
            generation: before.as_ref().map_or(0, |it| it.generation) + 1,
            present: creates,
            creation: call.clone(),
        };
        let generation = after.generation;
        let nodes = {
            // At once, so that a node that comes back now is among them or sees the new record.
            let mut state = self.state();
            state.databases.insert(db.to_owned(), after);
            self.live_nodes()
        };
        let mut asked: futures::stream::FuturesUnordered<_> = nodes
            .iter()
            .map(|&node| async move {
                let pulse = self.pulse(node);
                if node != at {
                    tokio::time::sleep(self.latency()).await;
                }
                if self.pulse(node) != pulse {
                    return None;
                }
                let answer = self.ask(node, call).await;
                if answer.status.is_success() && self.pulse(node) == pulse {
                    self.state().known[node].insert(db.to_owned(), generation);
                }
                Some((node, answer))
            })
            .collect();
        let mut tell = Some(tell);
        let mut done = Vec::new();
        let mut refused = Vec::new();
        while let Some(answer) = futures::StreamExt::next(&mut asked).await {
            match answer {
                Some(answer) if answer.1.status.is_success() => done.push(answer),
                Some(answer) => refused.push(answer),
                None => {}
            }
            let own = done.iter().any(|(node, _)| *node == at);
            if own && done.len() >= QUORUM && nodes.len() == NODES {
                let _ = tell.take().map(|tell| tell.send(done[0].1.clone()));
            }
        }
        drop(asked);
        if done.is_empty() {
            let mut state = self.state();
            match before {
                Some(before) => state.databases.insert(db.to_owned(), before),
                None => state.databases.remove(db),
            };
        }
        if let Some(tell) = tell {
            let own = refused.iter().position(|(node, _)| *node == at);
            let answer = match done.pop() {
                Some((_, done)) => done.with_status(StatusCode::ACCEPTED),
                None if refused.is_empty() => Answer::error(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "nodedown",
                    "progress not possible",
                ),
                None => refused.swap_remove(own.unwrap_or(0)).1,
            };
            let _ = tell.send(answer);
        }
    }

    /// Lets a node that was away carry out what it missed, and makes it live. Nothing happens if the node is not as it
    /// was in `from`.
    pub(super) async fn come_back(&self, node: usize, from: Pulse) {
        loop {
            let behind: Vec<String> = {
                let state = self.state();
                let names = state.databases.keys();
                let behind = names.filter(|db| !state.knows(node, db)).cloned();
                let behind: Vec<String> = behind.collect();
                if self.pulse(node) != from {
                    return;
                }
                if behind.is_empty() {
                    self.set_life(node, Life::Live);
                    return;
                }
                behind
            };
            for db in behind {
                self.catch_up(node, &db).await;
            }
        }
    }

    async fn catch_up(&self, node: usize, db: &str) {
        let lock = self.lock(db);
        let _alone = lock.write().await;
        let Some(record) = self.state().databases.get(db).cloned() else {
            return;
        };
        let path = format!("/{}", encoded(db));
        self.ask(node, &Call::new(Method::DELETE, &path)).await;
        if record.present {
            let made = self.ask(node, &record.creation).await;
            made.success("a database that was missed")
                .expect("a database can be created");
        }
        self.state().known[node].insert(db.to_owned(), record.generation);
    }
}
