//! Reader threads, each with its own connection.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::JoinHandle,
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::schema;
use crate::{Error, api_error::ApiError};

type Job = Box<dyn FnOnce(&Connection) + Send>;

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
}

/// The pool of reader threads.
pub(crate) struct Readers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    pub(crate) fn start(file: &Path, count: usize) -> Result<Self, Error> {
        let shared = Arc::new(Shared::default());
        let mut threads = Vec::new();
        for n in 0..count {
            let conn = schema::open_reader(file)?;
            let mine = Arc::clone(&shared);
            let thread = std::thread::Builder::new()
                .name(format!("couch-reader-{n}"))
                .spawn(move || work(&conn, &mine))
                .map_err(|source| Error::Folder {
                    path: file.to_owned(),
                    source,
                })?;
            threads.push(thread);
        }
        Ok(Self { shared, threads })
    }

    /// Runs `work` on one snapshot of the store.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |conn| {
            let result = snapshot(conn, work);
            // The caller may have been cancelled.
            let _ = answer.send(result);
        });
        {
            let mut queue = self
                .shared
                .queue
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            queue.jobs.push_back(job);
        }
        self.shared.filled.notify_one();
        answered
            .await
            .map_err(|_| ApiError::internal("the server is shutting down"))?
    }
}

fn snapshot<T>(
    conn: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    conn.prepare_cached("BEGIN")?.execute([])?;
    let result = work(conn);
    conn.prepare_cached("COMMIT")?.execute([])?;
    result
}

fn work(conn: &Connection, shared: &Shared) {
    loop {
        let job = {
            let mut queue = shared.queue.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                if let Some(job) = queue.jobs.pop_front() {
                    break job;
                }
                if queue.closed {
                    return;
                }
                queue = shared
                    .filled
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        };
        job(conn);
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        {
            let mut queue = self
                .shared
                .queue
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            queue.closed = true;
            queue.jobs.clear();
        }
        self.shared.filled.notify_all();
        for thread in self.threads.drain(..) {
            // A panic of the thread has already been reported.
            let _ = thread.join();
        }
    }
}
