//! The nodes of a real cluster of CouchDB, which commands kill and start.

use std::{
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

/// The nodes of the cluster that `HAMLET_TEST_COUCHDB_CLUSTER` names. `HAMLET_TEST_KILL_NODE` and
/// `HAMLET_TEST_START_NODE` are programs that get the position of a node in that list, counted from 1, as their
/// argument. At most one node is away.
#[derive(Clone, Debug)]
pub struct RealNodes {
    urls: Vec<String>,
    kill: String,
    start: String,
    away: Arc<Mutex<Option<Killing>>>,
}

/// A node that is killed in the background.
#[derive(Debug)]
struct Killing {
    node: usize,
    done: JoinHandle<()>,
}

impl RealNodes {
    /// The nodes that the environment names; `None` when it does not name the cluster and both programs.
    #[must_use]
    pub fn named() -> Option<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|it| !it.is_empty());
        let urls = variable("HAMLET_TEST_COUCHDB_CLUSTER")?;
        Some(Self {
            urls: urls.split(',').map(str::to_owned).collect(),
            kill: variable("HAMLET_TEST_KILL_NODE")?,
            start: variable("HAMLET_TEST_START_NODE")?,
            away: Arc::default(),
        })
    }

    /// Their URLs, with user and password.
    #[must_use]
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// The node that is away, counted from 0.
    #[must_use]
    pub fn away(&self) -> Option<usize> {
        let away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.as_ref().map(|killing| killing.node)
    }

    /// Kills a node, after a delay and in the background.
    pub fn kill_after(&self, delay: Duration, node: usize) {
        let program = self.kill.clone();
        let done = std::thread::spawn(move || {
            std::thread::sleep(delay);
            run(&program, node);
        });
        *self.away.lock().unwrap_or_else(PoisonError::into_inner) = Some(Killing { node, done });
    }

    /// Starts the node that is away, and waits until it answers.
    pub async fn bring_back(&self) {
        let away = self
            .away
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(Killing { node, done }) = away else {
            return;
        };
        let program = self.start.clone();
        let start = move || {
            done.join().expect("the node is killed");
            run(&program, node);
        };
        tokio::task::spawn_blocking(start)
            .await
            .expect("the node is started");
    }
}

fn run(program: &str, node: usize) {
    let position = (node + 1).to_string();
    let ended = Command::new(program).arg(position).output();
    let ended = ended.expect("the program can be run");
    assert!(ended.status.success(), "{program}: {ended:?}");
}
