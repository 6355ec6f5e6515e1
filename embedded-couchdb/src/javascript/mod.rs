//! JavaScript of design documents, which other processes of the same program run.

mod child;
mod source;
mod worker;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use self::child::run_as_child;
use self::worker::Worker;
use crate::{api_error::ApiError, json::Json};

/// How long a function may take for one document, as in CouchDB.
pub(crate) const CALL_LIMIT: Duration = Duration::from_secs(5);

/// How long a worker may take for one request, which may bring a hundred documents.
const REQUEST_LIMIT: Duration = Duration::from_mins(2);

/// A worker that has nothing to do ends after this time.
const IDLE: Duration = Duration::from_secs(30);

/// The largest answer, in bytes.
const MAX_ANSWER: u32 = 256 << 20;

/// Runs JavaScript in as many processes as there are cores, at most.
pub(crate) struct Javascript {
    program: Option<PathBuf>,
    slots: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<(Worker, Instant)>>>,
    /// The shares of databases that have something to run. One database gets half of the slots at most.
    shares: Mutex<HashMap<i64, Arc<Semaphore>>>,
    share: usize,
}

/// What a request needs while it runs.
struct Turn {
    _share: OwnedSemaphorePermit,
    _slot: OwnedSemaphorePermit,
}

impl Javascript {
    /// `program` is the file of a program that calls [`run_as_child`] first; without one, nothing can be run.
    pub(crate) fn new(program: Option<PathBuf>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            program,
            slots: Arc::new(Semaphore::new(cores)),
            idle: Arc::default(),
            shares: Mutex::default(),
            share: (cores / 2).max(1),
        }
    }

    async fn turn(&self, db: i64) -> Result<Turn, ApiError> {
        let share = {
            let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody holds are new again.
            if shares.len() > 1000 {
                shares.retain(|_, share| Arc::strong_count(share) > 1);
            }
            let share = shares.entry(db);
            Arc::clone(share.or_insert_with(|| Arc::new(Semaphore::new(self.share))))
        };
        let closed = |_| ApiError::internal("the server is shutting down");
        Ok(Turn {
            _share: share.acquire_owned().await.map_err(closed)?,
            _slot: Arc::clone(&self.slots)
                .acquire_owned()
                .await
                .map_err(closed)?,
        })
    }

    /// Runs a request of a database. `key` names the realm: requests of one key share their globals.
    ///
    /// # Errors
    /// 501 if this server runs no JavaScript, 500 if a function took too long or its process died, and what the
    /// function threw.
    pub(crate) async fn run(&self, db: i64, key: &str, request: String) -> Result<Json, ApiError> {
        let Some(program) = &self.program else {
            return Err(ApiError::not_implemented(
                "this server was started without a program to run JavaScript",
            ));
        };
        let key = format!("{db} {key}");
        let turn = self.turn(db).await?;
        let idle = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.pop().map(|(worker, _)| worker)
        };
        let mut worker = match idle {
            Some(worker) => worker,
            None => Worker::start(program)?,
        };
        let asked = worker.ask(key.as_bytes(), request.as_bytes(), MAX_ANSWER);
        let answer = match tokio::time::timeout(REQUEST_LIMIT, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                tracing::warn!(%error, "a process that runs JavaScript ended");
                return Err(ended("the process that ran the function ended"));
            }
            Err(_) => return Err(ended("OS process timed out.")),
        };
        let answer = Json::parse(&answer)
            .map_err(|_| ApiError::internal("the answer of a function cannot be read"))?;
        drop(turn);
        if answer.get("error").and_then(Json::as_str) != Some("os_process_error") {
            self.keep(worker);
        }
        match answer {
            Json::Obj(members) if members.first().is_some_and(|(key, _)| key == "ok") => members
                .into_iter()
                .next()
                .map(|(_, value)| value)
                .ok_or_else(|| ended("no answer")),
            other => Err(thrown(&other)),
        }
    }

    /// Keeps a worker for the next request.
    fn keep(&self, worker: Worker) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push((worker, Instant::now()));
        if idle.len() == 1 {
            tokio::spawn(end_idle(Arc::clone(&self.idle)));
        }
    }
}

/// Ends workers that have nothing to do, until there are none.
async fn end_idle(idle: Arc<Mutex<Vec<(Worker, Instant)>>>) {
    loop {
        tokio::time::sleep(IDLE / 3).await;
        let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(_, since)| since.elapsed() < IDLE);
        if idle.is_empty() {
            return;
        }
    }
}

fn ended(reason: &'static str) -> ApiError {
    ApiError::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "os_process_error",
        reason,
    )
}

/// The error that a function threw, as CouchDB answers it.
pub(crate) fn thrown(answer: &Json) -> ApiError {
    let error = answer.get("error").and_then(Json::as_str);
    let error = error.unwrap_or("unknown_error").to_owned();
    let reason = match answer.get("reason") {
        Some(Json::Str(reason)) => reason.clone(),
        Some(other) => other.to_string(),
        None => "undefined".to_owned(),
    };
    let status = match error.as_str() {
        "not_found" => StatusCode::NOT_FOUND,
        "forbidden" => StatusCode::FORBIDDEN,
        "unauthorized" => StatusCode::UNAUTHORIZED,
        "bad_request" => StatusCode::BAD_REQUEST,
        "not_implemented" => StatusCode::NOT_IMPLEMENTED,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    ApiError::new(status, error, reason)
}
