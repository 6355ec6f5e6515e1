//! The writer thread. It executes all waiting writes in one transaction, so that they share the cost of a
//! disk sync, and replies after the commit.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        mpsc::{Receiver, Sender, TryRecvError, channel},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use http::StatusCode;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{
    chores::{self, ChoreProgress, Turns},
    db_updates,
    index_def::IndexDef,
    reserve::Reserve,
    transaction::{Notifier, Transaction},
};
use crate::api_error::ApiError;

/// The most writes of one transaction, so that the first of them does not wait too long.
const MAX_BATCH: usize = 256;

/// While writes wait, a step of a chore follows the one before after this time at the earliest: chores take about a tenth
/// of the thread then.
const CHORE_EVERY: Duration = Duration::from_millis(30);

/// How often a write that makes room is tried again on a full disk: at least once for each part of what is kept.
const MOST_TRIES: usize = 8;

type Reply = Box<dyn FnOnce(Option<ApiError>) + Send>;
/// Runs in a transaction, or is told why it cannot.
type Run =
    Box<dyn FnOnce(Result<&mut Transaction<'_>, ApiError>) -> (Option<ApiError>, Reply) + Send>;

struct Job {
    /// Whether it may use the room that is kept aside for a full disk.
    makes_room: bool,
    run: Run,
}

/// The handle of the writer thread.
pub(crate) struct Writer {
    jobs: Sender<Job>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn start(
        conn: Connection,
        reserve: Reserve,
        notifier: Arc<Notifier>,
    ) -> std::io::Result<Self> {
        let (jobs, waiting) = channel();
        let thread = std::thread::Builder::new()
            .name("couch-writer".into())
            .spawn(move || {
                WriterThread {
                    conn,
                    reserve,
                    found_full: false,
                    notifier,
                    indexes: HashMap::new(),
                    chores_left: true,
                    turns: Turns::default(),
                    last_step: Instant::now(),
                    is_relaxed: false,
                }
                .run(&waiting);
            })?;
        Ok(Self {
            jobs,
            thread: Some(thread),
        })
    }

    /// Runs `work` in a transaction and returns after the commit. An error of `work` undoes only its own changes.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        self.submit(false, work).await
    }

    /// As [`Self::write`], for a write that may use the room that is kept aside. It is tried again when the disk is found
    /// to be full: each time a part of that room is given out.
    pub(crate) async fn write_making_room<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Transaction<'_>) -> Result<T, ApiError> + Send + Sync + 'static,
    ) -> Result<T, ApiError> {
        let work = Arc::new(work);
        let again = Arc::clone(&work);
        let mut done = self
            .submit(true, move |transaction| work(transaction))
            .await;
        for _ in 0..MOST_TRIES {
            if !done.as_ref().is_err_and(is_full) {
                break;
            }
            let again = Arc::clone(&again);
            done = self
                .submit(true, move |transaction| again(transaction))
                .await;
        }
        done
    }

    async fn submit<T: Send + 'static>(
        &self,
        makes_room: bool,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let (answer, answered) = oneshot::channel();
        let run: Run = Box::new(move |transaction| {
            let result = transaction.and_then(work);
            let refused = result.as_ref().err().cloned();
            let reply: Reply = Box::new(move |not_committed| {
                // The caller may have been cancelled.
                let _ = answer.send(not_committed.map_or(result, Err));
            });
            (refused, reply)
        });
        let stopped = || ApiError::internal("the server is shutting down");
        let job = Job { makes_room, run };
        self.jobs.send(job).map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let (closed, _) = channel();
        self.jobs = closed;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has already been reported.
            let _ = thread.join();
        }
    }
}

fn is_full(error: &ApiError) -> bool {
    error.status == StatusCode::INSUFFICIENT_STORAGE
}

struct WriterThread {
    conn: Connection,
    reserve: Reserve,
    /// Whether a job of this transaction found the disk full.
    found_full: bool,
    notifier: Arc<Notifier>,
    indexes: HashMap<i64, Arc<Vec<IndexDef>>>,
    chores_left: bool,
    turns: Turns,
    /// When the last step of a chore ended.
    last_step: Instant,
    /// Whether commits return before they are on disk.
    is_relaxed: bool,
}

impl WriterThread {
    fn run(mut self, waiting: &Receiver<Job>) {
        loop {
            if !self.chores_left {
                let Ok(first) = waiting.recv() else { break };
                self.batch(first, waiting);
                continue;
            }
            match waiting.try_recv() {
                Ok(first) => {
                    self.batch(first, waiting);
                    if self.last_step.elapsed() >= CHORE_EVERY {
                        self.chore();
                    }
                }
                Err(TryRecvError::Empty) => self.chore(),
                Err(TryRecvError::Disconnected) => break,
            }
        }
    }

    fn batch(&mut self, first: Job, waiting: &Receiver<Job>) {
        let is_short = self.reserve.is_short(&self.conn);
        let mut replies: Vec<Reply> = Vec::new();
        let mut touched = HashSet::new();
        let mut lost = self.begin().err();
        let mut makes_room = false;
        let mut next = Some(first);
        while let Some(job) = next {
            let may_write = job.makes_room || !is_short;
            makes_room |= job.makes_room;
            let (reply, gone) = self.one(job, may_write, &mut touched);
            replies.push(reply);
            if gone.is_some() {
                lost = lost.or(gone);
                break;
            }
            next = if replies.len() < MAX_BATCH {
                waiting.try_recv().ok()
            } else {
                None
            };
        }
        if lost.is_none() {
            lost = self.record_updates(&mut touched).err();
        }
        if lost.is_none() {
            lost = self.conn.execute_batch("COMMIT").err().map(ApiError::from);
        }
        let found_full = std::mem::take(&mut self.found_full) || lost.as_ref().is_some_and(is_full);
        if lost.is_some() {
            if !self.conn.is_autocommit() {
                // If even the rollback fails, there is nothing left to undo.
                let _ = self.conn.execute_batch("ROLLBACK");
            }
            self.indexes.clear();
        }
        if found_full {
            self.reserve.found_full(&self.conn, makes_room);
        }
        for reply in replies {
            reply(lost.clone());
        }
        if lost.is_none() {
            self.notifier.notify(&touched);
        }
    }

    fn record_updates(&mut self, touched: &mut HashSet<i64>) -> Result<(), ApiError> {
        let changed: Vec<i64> = touched.iter().copied().collect();
        let mut transaction = Transaction {
            conn: &self.conn,
            indexes: &mut self.indexes,
            touched,
        };
        db_updates::record_updates(&mut transaction, &changed)
    }

    /// Runs one job in a savepoint. One that may not write is carried out if there is nothing to write: what is there
    /// already is found, and what is wrong is told. The second value is the error if the whole transaction is lost.
    fn one(
        &mut self,
        job: Job,
        may_write: bool,
        touched: &mut HashSet<i64>,
    ) -> (Reply, Option<ApiError>) {
        let before = self
            .conn
            .prepare_cached("SAVEPOINT job")
            .and_then(|mut s| s.execute([]));
        let only_read = match may_write {
            true => Ok(()),
            false => self.conn.execute_batch("PRAGMA query_only=ON"),
        };
        let mut transaction = Transaction {
            conn: &self.conn,
            indexes: &mut self.indexes,
            touched,
        };
        let (mut refused, mut reply) = match only_read {
            Ok(()) => (job.run)(Ok(&mut transaction)),
            Err(error) => (job.run)(Err(error.into())),
        };
        if !may_write {
            if let Err(error) = self.conn.execute_batch("PRAGMA query_only=OFF") {
                return (reply, Some(error.into()));
            }
            if refused.as_ref().is_some_and(ApiError::is_of_store) {
                // It wanted to write.
                refused = Some(ApiError::disk_full());
                let instead: Reply = Box::new(|_| reply(Some(ApiError::disk_full())));
                reply = instead;
            }
        } else if refused.as_ref().is_some_and(is_full) {
            self.found_full = true;
        }
        self.chores_left = true;
        if refused.is_some() {
            self.indexes.clear();
        }
        if self.conn.is_autocommit() {
            // SQLite rolls back the whole transaction if the disk is full.
            let why = || ApiError::internal("the transaction was given up");
            return (reply, Some(refused.unwrap_or_else(why)));
        }
        let end = if refused.is_none() {
            "RELEASE job"
        } else {
            "ROLLBACK TO job; RELEASE job"
        };
        let after = self.conn.execute_batch(end);
        let lost = before.err().or(after.err()).map(ApiError::from);
        (reply, lost)
    }

    fn chore(&mut self) {
        match self.chore_step() {
            Ok(ChoreProgress::Idle) => self.chores_left = false,
            Ok(ChoreProgress::Ongoing) => {}
            Ok(ChoreProgress::Finished) => self.notifier.chores.send_modify(|n| *n += 1),
            Err(error) => {
                tracing::warn!(error = %error, "a chore of the store failed and waits for the next write");
                if !self.conn.is_autocommit() {
                    let _ = self.conn.execute_batch("ROLLBACK");
                }
                self.indexes.clear();
                self.chores_left = false;
            }
        }
        self.last_step = Instant::now();
    }

    fn chore_step(&mut self) -> Result<ChoreProgress, ApiError> {
        // A step that is lost is done again: nobody waits for it to be on disk.
        self.conn.execute_batch("PRAGMA synchronous=NORMAL")?;
        self.is_relaxed = true;
        chores::run_step(&self.conn, &mut self.indexes, &mut self.turns)
    }

    /// Begins a transaction whose commit returns when it is on disk.
    fn begin(&mut self) -> Result<(), ApiError> {
        if self.is_relaxed {
            self.conn.execute_batch("PRAGMA synchronous=FULL")?;
            self.is_relaxed = false;
        }
        Ok(self.conn.execute_batch("BEGIN IMMEDIATE")?)
    }
}
