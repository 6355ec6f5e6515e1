//! Holding an instance while the original does something with it that only the original can do.
//!
//! The request of an administrator is passed on by the task that received it, because its body is there and nowhere else.
//! The operation holds the instance meanwhile: its step waits for that task. Another replica that takes the operation over
//! finds no such task, and ends the operation, which says that its outcome is not known.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use hamlet_proto::hamlet::instance::v1::RelayResult;
use prost_types::Any;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tonic::Code;

use super::{
    Work,
    engine::{Detail, Kind, Report, Step, StepError, Task, nothing},
    taking::{self, Conditions, CreatedInstances},
};
use crate::{
    domain::{
        operation::OperationFailure,
        record::{Record, Refusal},
    },
    error::Error,
    store::Store,
};

/// How long the instance may be in use by others before the request is refused.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a relay needs to run.
#[derive(Clone, Debug)]
pub struct Relay {
    pub(crate) store: Store,
    pub(crate) created: CreatedInstances,
    pub(crate) requests: Requests,
}

/// What is asked of the original, and what it answered.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct RelayWork {
    /// Its route, as in `POST /instances/{domain}/export`.
    pub route: String,
    /// The status of its response; `None` until it has come, or if none came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// It waits until its operation has the instance.
    Waits,
    /// It may be passed on.
    Held,
    /// It is over, with the status of the response.
    Over(Option<u16>),
}

/// The requests that this process is about to pass on, by the ids of their operations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests(Arc<Mutex<HashMap<String, watch::Sender<Progress>>>>);

/// One of these requests. Dropping it ends the operation.
#[derive(Debug)]
pub(crate) struct Ticket {
    requests: Requests,
    id: String,
    progress: watch::Sender<Progress>,
    status: Option<u16>,
}

impl Requests {
    /// Announces the request of an operation that is about to be accepted.
    pub(crate) fn announce(&self, id: &str) -> Ticket {
        let progress = watch::Sender::new(Progress::Waits);
        self.known().insert(id.to_owned(), progress.clone());
        Ticket {
            requests: self.clone(),
            id: id.to_owned(),
            progress,
            status: None,
        }
    }

    fn of(&self, id: &str) -> Option<watch::Sender<Progress>> {
        self.known().get(id).cloned()
    }

    fn forget(&self, id: &str) {
        self.known().remove(id);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<Progress>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Waits until the operation has the instance.
    pub(crate) async fn held(&self) {
        let mut progress = self.progress.subscribe();
        // The sender is here, so that it is never gone.
        let _ = progress.wait_for(|now| *now != Progress::Waits).await;
    }

    /// Notes the status of the response.
    pub(crate) const fn answered(&mut self, status: u16) {
        self.status = Some(status);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let before = self.progress.send_replace(Progress::Over(self.status));
        // Whoever is held asks for the status, maybe more than once, and forgets it in the end.
        if before == Progress::Waits {
            self.requests.forget(&self.id);
        }
    }
}

impl Kind for Relay {
    type Work = RelayWork;
    type All = Work;

    const STEPS: &'static [Step<Self>] = &[
        Step::<Self>::new("take", |it, task| Box::pin(it.take(task)))
            .undone_by(|it, task| Box::pin(it.free(task))),
        // It is known from here on that the original may have begun.
        Step::<Self>::new("ask", |it, task| Box::pin(it.wait(task))).written_before(),
    ];

    const NAMES: &'static [&'static str] = &["relay"];

    fn name(_: &RelayWork) -> &'static str {
        "relay"
    }

    /// Nothing of what the original does is undone, but the instance is freed when its answer is lost.
    fn reversible_steps(_: &RelayWork) -> usize {
        2
    }

    fn refuses_cancel(_: &RelayWork, _: bool) -> Option<&'static str> {
        Some("the original is at work, and does not stop")
    }

    fn patience(&self, task: Task<'_, RelayWork>) -> Option<Duration> {
        let is_over = self
            .requests
            .of(task.id)
            .is_none_or(|progress| matches!(*progress.borrow(), Progress::Over(_)));
        // Who no longer waits is not kept waiting for.
        Some(if is_over { Duration::ZERO } else { PATIENCE })
    }

    fn tidy<'a>(&'a self, task: Task<'a, RelayWork>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.requests.forget(task.id);
            if let Err(error) = taking::free(&self.store, task.id, task.envelope).await {
                tracing::debug!(
                    operation = task.id,
                    error = &error as &dyn std::error::Error,
                    "the instance could not be freed; the next operation on it ignores the ended one"
                );
            }
        })
    }

    fn respond<'a>(
        &'a self,
        task: Task<'a, RelayWork>,
        _: Detail,
    ) -> BoxFuture<'a, Result<Any, Error>> {
        let response = hamlet_proto::pack(&RelayResult {
            route: task.work.route.clone(),
            http_status: task.work.status.map_or(0, i32::from),
        });
        Box::pin(std::future::ready(Ok(response)))
    }
}

impl Relay {
    async fn take(&self, task: Task<'_, RelayWork>) -> Result<Report<RelayWork>, StepError> {
        let mut conditions = RelayConditions {
            domain: &task.envelope.domain,
        };
        let (store, created) = (&self.store, &self.created);
        taking::take(store, created, task.id, task.envelope, &mut conditions).await?;
        Ok(nothing())
    }

    async fn free(&self, task: Task<'_, RelayWork>) -> Result<Report<RelayWork>, StepError> {
        self.requests.forget(task.id);
        taking::free(&self.store, task.id, task.envelope).await?;
        Ok(nothing())
    }

    /// Lets the request go, and waits for its end.
    async fn wait(&self, task: Task<'_, RelayWork>) -> Result<Report<RelayWork>, StepError> {
        let Some(progress) = self.requests.of(task.id) else {
            return Err(StepError::Never(OperationFailure {
                code: Code::Aborted as i32,
                reason: "RELAY_INTERRUPTED".to_owned(),
                message: "the process that passed the request on has ended; look at the instance for what the original \
                          has done"
                    .to_owned(),
            }));
        };
        let mut over = progress.subscribe();
        progress.send_if_modified(|now| {
            let waits = *now == Progress::Waits;
            if waits {
                *now = Progress::Held;
            }
            waits
        });
        let ended = over.wait_for(|now| matches!(now, Progress::Over(_))).await;
        let status = match ended.as_deref() {
            Ok(Progress::Over(status)) => *status,
            Ok(_) | Err(_) => None,
        };
        Ok(Box::new(move |work| work.status = status))
    }
}

/// What has to hold for the original to be asked.
struct RelayConditions<'a> {
    domain: &'a str,
}

impl Conditions for RelayConditions<'_> {
    async fn look(&mut self, record: &Record) -> Result<(), StepError> {
        let why = if record.locked {
            Refusal::Locked
        } else if record.deleted_at.is_some() {
            Refusal::Deleted
        } else {
            return Ok(());
        };
        Err(Error::Refused {
            domain: self.domain.to_owned(),
            why,
        }
        .into())
    }
}
