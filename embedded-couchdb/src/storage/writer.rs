//! The one thread that writes. It takes what is waiting into one transaction, so that many
//! writers share the cost of reaching the disk, and answers nobody before the commit.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, TryRecvError, channel},
    },
    thread::JoinHandle,
};

use rusqlite::Connection;
use tokio::sync::{oneshot, watch};

use super::{chores, indexes::IndexDef};
use crate::failure::Failure;

/// More requests than this do not share a transaction, so that the first of them is not kept waiting.
const BATCH: usize = 256;

type Reply = Box<dyn FnOnce(Option<Failure>) + Send>;
type Job = Box<dyn FnOnce(&mut Writing<'_>) -> (Option<Failure>, Reply) + Send>;

/// What a write may use.
pub(crate) struct Writing<'a> {
    pub(crate) conn: &'a Connection,
    pub(crate) indexes: &'a mut HashMap<i64, Arc<Vec<IndexDef>>>,
    touched: &'a mut HashSet<i64>,
}

impl Writing<'_> {
    /// Feeds of this database are woken after the commit.
    pub(crate) fn touch(&mut self, db: i64) {
        self.touched.insert(db);
    }
}

/// Tells readers of feeds that a database has changed, and waiters that chores went on.
#[derive(Default)]
pub(crate) struct Bells {
    databases: Mutex<HashMap<i64, watch::Sender<u64>>>,
    chores: watch::Sender<u64>,
}

impl Bells {
    /// Rings at each commit that touched the database.
    pub(crate) fn database(&self, db: i64) -> watch::Receiver<u64> {
        let mut databases = self
            .databases
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        databases.entry(db).or_default().subscribe()
    }

    /// Rings when a chore is done.
    pub(crate) fn chores(&self) -> watch::Receiver<u64> {
        self.chores.subscribe()
    }

    fn ring(&self, touched: &HashSet<i64>) {
        if touched.is_empty() {
            return;
        }
        let mut databases = self
            .databases
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        databases.retain(|db, bell| {
            if touched.contains(db) {
                bell.send_modify(|n| *n += 1);
            }
            bell.receiver_count() > 0
        });
    }
}

/// The writer's end that requests use.
pub(crate) struct Writer {
    jobs: Sender<Job>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn start(conn: Connection, bells: Arc<Bells>) -> std::io::Result<Self> {
        let (jobs, waiting) = channel();
        let thread = std::thread::Builder::new()
            .name("couch-writer".into())
            .spawn(move || {
                Loop {
                    conn,
                    bells,
                    indexes: HashMap::new(),
                    chores_left: true,
                }
                .run(&waiting);
            })?;
        Ok(Self {
            jobs,
            thread: Some(thread),
        })
    }

    /// Runs `work` in a transaction and returns when it is committed, or refused.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Writing<'_>) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |writing| {
            let result = work(writing);
            let refused = result.as_ref().err().cloned();
            let reply: Reply = Box::new(move |not_committed| {
                // A caller that went away wants no answer.
                let _ = answer.send(not_committed.map_or(result, Err));
            });
            (refused, reply)
        });
        let stopped = || Failure::internal("the server is shutting down");
        self.jobs.send(job).map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let (closed, _) = channel();
        self.jobs = closed;
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported already.
            let _ = thread.join();
        }
    }
}

struct Loop {
    conn: Connection,
    bells: Arc<Bells>,
    indexes: HashMap<i64, Arc<Vec<IndexDef>>>,
    chores_left: bool,
}

impl Loop {
    fn run(mut self, waiting: &Receiver<Job>) {
        loop {
            let first = if self.chores_left {
                match waiting.try_recv() {
                    Ok(job) => Some(job),
                    Err(TryRecvError::Empty) => None,
                    Err(TryRecvError::Disconnected) => break,
                }
            } else {
                match waiting.recv() {
                    Ok(job) => Some(job),
                    Err(_) => break,
                }
            };
            if let Some(first) = first {
                self.batch(first, waiting);
            }
            self.chore();
        }
    }

    fn batch(&mut self, first: Job, waiting: &Receiver<Job>) {
        let mut replies: Vec<Reply> = Vec::new();
        let mut touched = HashSet::new();
        let mut lost = self
            .conn
            .execute_batch("BEGIN IMMEDIATE")
            .err()
            .map(Failure::from);
        let mut next = Some(first);
        while let Some(job) = next {
            let (reply, gone) = self.one(job, &mut touched);
            replies.push(reply);
            if gone.is_some() {
                lost = lost.or(gone);
                break;
            }
            next = if replies.len() < BATCH {
                waiting.try_recv().ok()
            } else {
                None
            };
        }
        if lost.is_none() {
            lost = self.conn.execute_batch("COMMIT").err().map(Failure::from);
        }
        if lost.is_some() {
            if !self.conn.is_autocommit() {
                // Nothing is left to undo if even this fails.
                let _ = self.conn.execute_batch("ROLLBACK");
            }
            self.indexes.clear();
        }
        for reply in replies {
            reply(lost.clone());
        }
        if lost.is_none() {
            self.bells.ring(&touched);
        }
    }

    /// Runs one job in its savepoint; the second answer is why the transaction is lost, if it is.
    fn one(&mut self, job: Job, touched: &mut HashSet<i64>) -> (Reply, Option<Failure>) {
        let before = self
            .conn
            .prepare_cached("SAVEPOINT job")
            .and_then(|mut s| s.execute([]));
        let mut writing = Writing {
            conn: &self.conn,
            indexes: &mut self.indexes,
            touched,
        };
        let (refused, reply) = job(&mut writing);
        self.chores_left = true;
        if refused.is_some() {
            self.indexes.clear();
        }
        if self.conn.is_autocommit() {
            // SQLite gives the whole transaction up when the disk is full.
            let why = || Failure::internal("the transaction was given up");
            return (reply, Some(refused.unwrap_or_else(why)));
        }
        let end = if refused.is_none() {
            "RELEASE job"
        } else {
            "ROLLBACK TO job; RELEASE job"
        };
        let after = self.conn.execute_batch(end);
        let lost = before.err().or(after.err()).map(Failure::from);
        (reply, lost)
    }

    fn chore(&mut self) {
        if !self.chores_left {
            return;
        }
        match chores::step(&self.conn, &mut self.indexes) {
            Ok(chores::Step::Nothing) => self.chores_left = false,
            Ok(chores::Step::Some) => {}
            Ok(chores::Step::Finished) => self.bells.chores.send_modify(|n| *n += 1),
            Err(error) => {
                tracing::warn!(error = %error, "a chore of the store failed and waits for the next write");
                if !self.conn.is_autocommit() {
                    let _ = self.conn.execute_batch("ROLLBACK");
                }
                self.indexes.clear();
                self.chores_left = false;
            }
        }
    }
}
