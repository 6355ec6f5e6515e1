//! The steps of a destruction. A destruction only goes forward, and verifies at the end that nothing is left.

use std::{collections::BTreeSet, time::Duration};

use futures::future::BoxFuture;
use hamlet_proto::hamlet::instance::v1::Tenant;
use prost_types::Any;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    Peers, Work,
    backend::Backends,
    create::{cluster_of, remove_databases},
    engine::{
        Detail, Kind, Report, Step, StepError, Task,
        kind::{Afterwards, LookFuture, Looked, position_of},
        nothing,
    },
    holdings::{self, Holder, Holdings},
    looks,
    taking::{self, Conditions, CreatedInstances},
};
use crate::{
    clock::Clock,
    domain::{
        location::is_derived,
        operation::{OperationFailure, Phase},
        record::Record,
        removed::Removed,
        time::Time,
    },
    error::Error,
    messages,
    store::Store,
};

/// What a destruction needs to run.
#[derive(Clone, Debug)]
pub struct Destruction {
    pub(crate) store: Store,
    pub(crate) peers: Peers,
    pub(crate) created: CreatedInstances,
    pub(crate) backends: Backends,
    pub(crate) clock: Clock,
}

/// What is to be destroyed, and the results so far.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct DestroyWork {
    /// The etag that the instance must still have; empty for any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub etag: String,
    /// For a destruction that a soft deletion scheduled: the time at which it was due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Time>,
    /// Whether other software has destroyed the instance, and this removes what is left of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
    /// The accounts that are left at other services, for display.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub abandoned: Vec<String>,
    /// The ids of the claims that it releases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// What was removed.
    #[serde(default)]
    pub removed: Removed,
    /// What the last check still found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leftovers: Vec<String>,
    /// Whether a node of the database was away at the end: it may bring something back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub node_away: bool,
    /// The look after that node was back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_look: Option<LastLook>,
}

/// A look at what is left of an instance after its destruction has ended.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct LastLook {
    /// When it was.
    pub at: Time,
    /// What it found and removed, one line for each item.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub found: Vec<String>,
}

/// The id of a destruction that nobody asked for, from what it is derived of. Several replicas that find the same
/// reason accept only one.
pub(crate) fn automatic_id(reason: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in reason {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let mut id = hex::encode(hash.finalize());
    id.truncate(32);
    id
}

/// Whether databases under the prefix may belong to the next instance of the same domain. The original's server gives
/// it the same prefix, as soon as the document of this instance is gone, and makes its databases before its document.
fn may_have_successor(task: Task<'_, DestroyWork>) -> bool {
    is_derived(&task.envelope.prefix, &task.envelope.domain)
}

const BYTES: usize = position_of::<Destruction>("bytes");
const DATABASES: usize = position_of::<Destruction>("databases");
const UNPUBLISH: usize = position_of::<Destruction>("unpublish");
const CLAIMS: usize = position_of::<Destruction>("claims");

impl Kind for Destruction {
    type Work = DestroyWork;
    type All = Work;

    const STEPS: &'static [Step<Self>] = &[
        // Takes and flags the instance, so that nobody uses it from now on.
        Step::<Self>::new("flag", |it, task| Box::pin(it.take_and_flag(task))),
        Step::<Self>::new("bytes", |it, task| Box::pin(it.remove_bytes(task))),
        Step::<Self>::new("databases", |it, task| Box::pin(it.remove_databases(task))),
        // The number of removed items has to be written, because the result reports it.
        Step::<Self>::new("look", |it, task| Box::pin(it.look(task))).written_before(),
        Step::<Self>::new("unpublish", |it, task| Box::pin(it.unpublish(task))).written_before(),
        Step::<Self>::new("record", |it, task| Box::pin(it.remove_record(task))),
        // Only now are the names free.
        Step::<Self>::new("claims", |it, task| Box::pin(it.release_names(task))),
        Step::<Self>::new("prove", |it, task| Box::pin(it.prove(task))),
    ];

    const NAMES: &'static [&'static str] = &["destroy"];

    fn name(_: &DestroyWork) -> &'static str {
        "destroy"
    }

    fn reversible_steps(_: &DestroyWork) -> usize {
        0
    }

    fn refuses_cancel(_: &DestroyWork, _: bool) -> Option<&'static str> {
        Some("a destruction only goes forward, so that nothing is left half-gone")
    }

    /// No limit: a destruction that has begun may have taken and flagged the instance.
    fn patience(&self, _: Task<'_, DestroyWork>) -> Option<Duration> {
        None
    }

    fn afterwards(task: Task<'_, DestroyWork>, end: Phase) -> Afterwards {
        if task.work.node_away && end == Phase::Succeeded {
            Afterwards::LookAgain
        } else {
            Afterwards::Nothing
        }
    }

    /// Waits until all nodes of the database are back, and removes what they have brought back.
    fn look_again<'a>(&'a self, task: Task<'a, DestroyWork>) -> LookFuture<'a, DestroyWork> {
        Box::pin(self.look_after_return(task))
    }

    fn respond<'a>(
        &'a self,
        task: Task<'a, DestroyWork>,
        _: Detail,
    ) -> BoxFuture<'a, Result<Any, Error>> {
        let response = hamlet_proto::pack(&messages::destroyed(task));
        Box::pin(std::future::ready(Ok(response)))
    }
}

impl Destruction {
    /// Takes the instance for this operation, has the original delete its accounts if there are any, and flags it. Only
    /// taking it can fail for good: another operation has the instance, or it does not exist.
    async fn take_and_flag(
        &self,
        task: Task<'_, DestroyWork>,
    ) -> Result<Report<DestroyWork>, StepError> {
        let operation = task.envelope;
        let mut conditions = DestroyConditions {
            store: &self.store,
            task,
        };
        let created = &self.created;
        let record =
            taking::take(&self.store, created, task.id, operation, &mut conditions).await?;
        let accounts = if task.work.gone {
            // The original has run their scripts. What lies under the prefix may be the next instance's.
            Vec::new()
        } else {
            let accounts = self.store.accounts_with_script(operation.location());
            accounts.await.map_err(later)?
        };
        let mut abandoned = task.work.abandoned.clone();
        let mut gone = task.work.gone;
        if !accounts.is_empty() {
            if let Some(backend) = self.backends.of(&record.body.context) {
                // Before the flag: the original refuses an instance that has it.
                backend.destroy(&operation.domain).await?;
                let left = self.store.instance(&operation.instance).await;
                gone = left.map_err(later)?.is_none();
            } else {
                abandoned = accounts.iter().map(ToString::to_string).collect();
            }
        }
        // The record first: a gateway that sees the flag has to know whose it is.
        let flagged =
            taking::write_record(&self.store, task.id, operation, Some(&record), |record| {
                record.destroying = true;
            });
        flagged.await.map_err(later)?;
        let in_document = self.store.flag_deleting(&operation.instance).await;
        let in_document = in_document.map_err(later)?;
        // The document may have names that other software gave it, and that are claimed but not in the record yet.
        let names: BTreeSet<String> = record
            .body
            .wanted()
            .into_iter()
            .chain(in_document)
            .map(|wanted| wanted.id)
            .collect();
        let names = names.into_iter().collect();
        Ok(Box::new(move |work| {
            work.names = names;
            work.abandoned = abandoned;
            work.gone = gone;
        }))
    }

    async fn remove_bytes(
        &self,
        task: Task<'_, DestroyWork>,
    ) -> Result<Report<DestroyWork>, StepError> {
        let operation = task.envelope;
        let tenant = Tenant {
            id: operation.instance.clone(),
            domain: operation.domain.clone(),
            prefix: operation.prefix.clone(),
            couch_cluster: cluster_of(operation),
            ..Tenant::default()
        };
        let objects = holdings::purge(&self.store, &self.peers, tenant).await?;
        Ok(Box::new(move |work| work.removed.objects += objects))
    }

    async fn remove_databases(
        &self,
        task: Task<'_, DestroyWork>,
    ) -> Result<Report<DestroyWork>, StepError> {
        if task.work.gone && may_have_successor(task) {
            // Other software has removed them before the document.
            return Ok(nothing());
        }
        let removed = remove_databases(&self.store, task.envelope.location()).await?;
        Ok(Box::new(move |work| work.removed.databases += removed))
    }

    async fn unpublish(
        &self,
        task: Task<'_, DestroyWork>,
    ) -> Result<Report<DestroyWork>, StepError> {
        let removed = self.store.unpublish(&task.envelope.instance).await?;
        Ok(count_document(removed))
    }

    async fn remove_record(
        &self,
        task: Task<'_, DestroyWork>,
    ) -> Result<Report<DestroyWork>, StepError> {
        let removed = self.store.remove_record(&task.envelope.instance).await?;
        Ok(count_document(removed))
    }

    /// Checks that no databases and no contents are left before the documents are removed.
    async fn look(&self, task: Task<'_, DestroyWork>) -> Result<Report<DestroyWork>, StepError> {
        let holder = holder(task);
        let databases = if task.work.gone && may_have_successor(task) {
            BTreeSet::new()
        } else {
            holdings::databases_of(&self.store, holder).await?
        };
        if !databases.is_empty() {
            let left = format!("{} databases are still there", databases.len());
            return Err(StepError::Again(DATABASES, left));
        }
        if !holdings::contents_of(&self.store, &self.peers, holder)
            .await?
            .is_empty()
        {
            let left = "contents are still there".to_owned();
            return Err(StepError::Again(BYTES, left));
        }
        Ok(nothing())
    }

    /// Checks everything. If anything is left, resumes at the first step that should have removed it.
    async fn prove(&self, task: Task<'_, DestroyWork>) -> Result<Report<DestroyWork>, StepError> {
        let left = self.holdings(task).await?;
        let described = left.describe();
        let again = match &left {
            Holdings { contents, .. } if !contents.is_empty() => BYTES,
            Holdings { databases, .. } if !databases.is_empty() => DATABASES,
            Holdings { documents, .. } if !documents.is_empty() => UNPUBLISH,
            Holdings { claims, .. } if !claims.is_empty() => CLAIMS,
            _ => {
                let node_away = !self.store.is_whole(task.envelope.location()).await?;
                return Ok(Box::new(move |work| {
                    work.leftovers = described;
                    work.node_away = node_away;
                }));
            }
        };
        Err(StepError::Again(again, described.join(", ")))
    }

    async fn look_after_return(
        &self,
        task: Task<'_, DestroyWork>,
    ) -> Result<Looked<DestroyWork>, StepError> {
        if let Some(pause) = looks::pause(&self.store, &self.clock, task.envelope).await? {
            return Ok(Looked::Again(pause));
        }
        let left = self.holdings(task).await?;
        let found = left.describe();
        if !found.is_empty() {
            tracing::warn!(
                operation = task.id,
                found = found.join(", "),
                "something of a destroyed instance came back; it is removed"
            );
            // What is removed here was counted when it was removed first.
            if !may_have_successor(task) {
                let _bytes = self.remove_bytes(task).await?;
                let _databases = self.remove_databases(task).await?;
            }
            let _document = self.unpublish(task).await?;
            let _record = self.remove_record(task).await?;
            let _claims = self.release_names(task).await?;
        }
        let at = self.clock.now();
        Ok(Looked::Over(Box::new(move |work| {
            work.last_look = Some(LastLook { at, found });
        })))
    }

    /// What exists of the instance after its document is removed. That no databases and no contents were left was looked
    /// at before.
    async fn holdings(&self, task: Task<'_, DestroyWork>) -> Result<Holdings, Error> {
        let mut left = Holdings::of(&self.store, &self.peers, holder(task)).await?;
        if may_have_successor(task) {
            left.databases.clear();
            left.contents.clear();
        }
        Ok(left)
    }

    /// Releases the names, in reverse order.
    async fn release_names(
        &self,
        task: Task<'_, DestroyWork>,
    ) -> Result<Report<DestroyWork>, StepError> {
        let mut released = 0;
        for name in task.work.names.iter().rev() {
            let ours = self
                .store
                .release(name, |claim| claim.instance == task.envelope.instance)
                .await?;
            released += u64::from(ours);
        }
        Ok(Box::new(move |work| work.removed.claims += released))
    }
}

/// What has to hold for a destruction to begin.
struct DestroyConditions<'a> {
    store: &'a Store,
    task: Task<'a, DestroyWork>,
}

impl Conditions for DestroyConditions<'_> {
    async fn look(&mut self, record: &Record) -> Result<(), StepError> {
        let (envelope, work) = (self.task.envelope, self.task.work);
        if work.gone {
            // Whatever protected it has not prevented that it is gone.
            return Ok(());
        }
        record
            .may_be_destroyed(work.due)
            .map_err(|why| Error::Refused {
                domain: envelope.domain.clone(),
                why,
            })?;
        taking::require_unchanged(self.store, envelope, record, &work.etag).await
    }
}

fn holder(task: Task<'_, DestroyWork>) -> Holder<'_> {
    let operation = task.envelope;
    Holder {
        instance: &operation.instance,
        domain: &operation.domain,
        location: operation.location(),
        names: &task.work.names,
    }
}

fn count_document(removed: bool) -> Report<DestroyWork> {
    Box::new(move |work| work.removed.documents += u64::from(removed))
}

/// An error after the instance is taken: it is always tried again.
fn later(error: couch::Error) -> StepError {
    match StepError::from(error) {
        StepError::Never(OperationFailure { message, .. }) => StepError::Later(message),
        other => other,
    }
}
