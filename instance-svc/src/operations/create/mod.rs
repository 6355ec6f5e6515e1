//! The steps of a creation, with their undo.
//!
//! Each step may be done any number of times. What it makes is named by the operation (prefix, ids), so a
//! repeated step finds what the first one made.

mod apps;
mod databases;
mod work;

use std::time::Duration;

use couch::DbName;
use futures::future::BoxFuture;
use hamlet_proto::hamlet::instance::v1::Tenant;
use prost_types::Any;

pub use self::work::{AppOutcome, CreateWork};
pub(crate) use self::{apps::APPS_AT_ONCE, databases::remove_databases};

use super::{
    Peers, Sealing, Work,
    claims::{self, EarlyClaim},
    engine::{
        Detail, EarlyFuture, Kind, Report, Step, StepError, Task,
        kind::{Afterwards, LookFuture, Looked, position_of},
        nothing,
    },
    holdings, looks,
    taking::CreatedInstances,
};
use crate::{
    clock::Clock,
    config::Config,
    domain::{
        databases::doctypes,
        in_memory::InMemory,
        instance::InstanceDocument,
        operation::{Envelope, Phase},
        passphrase::Credentials,
        seed::Seed,
    },
    error::Error,
    messages,
    store::Store,
};

/// What a creation needs to run.
#[derive(Clone, Debug)]
pub struct Creation {
    pub(crate) store: Store,
    pub(crate) peers: Peers,
    pub(crate) config: Config,
    pub(crate) sealing: Sealing,
    pub(crate) created: CreatedInstances,
    pub(crate) clock: Clock,
}

/// The step that installs apps.
pub(crate) const APPS_STEP: &str = "apps";

/// Where a creation resumes when its databases are incomplete.
const DATABASES: usize = position_of::<Creation>("databases");

impl Kind for Creation {
    type Work = CreateWork;
    type All = Work;

    const STEPS: &'static [Step<Self>] = &[
        Step::<Self>::new("claims", |it, task| Box::pin(it.claim_names(task)))
            .undone_by(|it, task| Box::pin(it.release_names(task))),
        // Includes indexes, views and first documents. The instance's record is written at the same time.
        Step::<Self>::new("databases", |it, task| Box::pin(it.make_databases(task)))
            .undone_by(|it, task| Box::pin(it.remove_made(task))),
        // Installing may take long, and each app has its own result.
        Step::<Self>::new(APPS_STEP, |it, task| Box::pin(it.install_apps(task)))
            .undone_by(|it, task| Box::pin(it.purge_contents(task)))
            .written_before_if(|work| !work.spec.apps.is_empty())
            .abandoned_on_cancel(),
        // The point of no return.
        Step::<Self>::new("look", |it, task| Box::pin(it.look(task)))
            .written_before()
            .only_looks(),
        // The instance exists from here on.
        Step::<Self>::new("publish", |it, task| Box::pin(it.publish(task))),
    ];

    const TAKES_A_TURN: bool = true;

    const NAMES: &'static [&'static str] = &["create"];

    fn name(_: &CreateWork) -> &'static str {
        "create"
    }

    fn reversible_steps(_: &CreateWork) -> usize {
        3
    }

    fn refuses_cancel(_: &CreateWork, irreversible: bool) -> Option<&'static str> {
        irreversible.then_some("the instance is being published; destroy it once it exists")
    }

    fn is_traced(work: &CreateWork) -> bool {
        work.spec.trace
    }

    fn patience(&self, _: Task<'_, CreateWork>) -> Option<Duration> {
        Some(self.config.creation_patience())
    }

    fn begin_early<'a>(&'a self, task: Task<'a, CreateWork>) -> EarlyFuture<'a, CreateWork> {
        Box::pin(EarlyClaim::make(&self.store, &self.clock, task))
    }

    fn afterwards(_: Task<'_, CreateWork>, end: Phase) -> Afterwards {
        // A second owner may have made something after the undo, and a node that hung carries out what it was asked when
        // it goes on. If the instance exists, everything made by its creation belongs to it.
        if end == Phase::Failed {
            Afterwards::LookAgain
        } else {
            Afterwards::Nothing
        }
    }

    fn tidy<'a>(&'a self, task: Task<'a, CreateWork>) -> BoxFuture<'a, ()> {
        self.created.note(&task.envelope.instance);
        Box::pin(std::future::ready(()))
    }

    fn look_again<'a>(&'a self, task: Task<'a, CreateWork>) -> LookFuture<'a, CreateWork> {
        Box::pin(async move {
            if task.envelope.phase != Phase::Failed {
                return Ok(Looked::Over(nothing()));
            }
            let removed = remove_databases(&self.store, task.envelope.location()).await?;
            if removed > 0 {
                tracing::warn!(
                    operation = task.id,
                    removed,
                    "databases of an undone creation were left; they are removed"
                );
            }
            let contents = self.remove_contents(task).await?;
            if contents > 0 {
                tracing::warn!(
                    operation = task.id,
                    contents,
                    "contents of an undone creation were left; they are removed"
                );
            }
            self.store.remove_record(&task.envelope.instance).await?;
            let report = self.release_names(task).await?;
            Ok(
                match looks::pause(&self.store, &self.clock, task.envelope).await? {
                    Some(pause) => Looked::Again(pause),
                    None => Looked::Over(report),
                },
            )
        })
    }

    fn respond<'a>(
        &'a self,
        task: Task<'a, CreateWork>,
        detail: Detail,
    ) -> BoxFuture<'a, Result<Any, Error>> {
        Box::pin(async move {
            let read = match (task.work.published.get(), detail) {
                (None, Detail::Whole) => self.store.instance(&task.envelope.instance).await?,
                (Some(_), _) | (None, Detail::Listed) => None,
            };
            // The token is read from the instance and is never stored in a result.
            let instance = match (task.work.published.get(), &read, detail) {
                (_, _, Detail::Listed) => None,
                (Some(published), _, Detail::Whole) => Some(published),
                (None, read, Detail::Whole) => read.as_ref().map(|read| &read.body),
            };
            Ok(hamlet_proto::pack(&messages::created(
                task,
                instance,
                &self.config,
            )))
        })
    }
}

impl Creation {
    fn tenant(&self, task: Task<'_, CreateWork>) -> Tenant {
        let (operation, spec) = (task.envelope, &task.work.spec);
        Tenant {
            id: operation.instance.clone(),
            domain: spec.domain().to_owned(),
            prefix: operation.prefix.clone(),
            context: spec.context().to_owned(),
            locale: spec.locale().to_owned(),
            url: self.config.url_of(spec.domain()),
            couch_cluster: cluster_of(operation),
            ..Tenant::default()
        }
    }

    async fn claim_names(
        &self,
        task: Task<'_, CreateWork>,
    ) -> Result<Report<CreateWork>, StepError> {
        let wanted = task.work.spec.wanted();
        for wanted in &wanted {
            if task.work.names.contains(&wanted.id) {
                continue;
            }
            let claim = claims::of_operation(wanted, task.id, task.envelope, &self.clock);
            claims::claim(&self.store, wanted, &claim).await?;
        }
        let names: Vec<String> = wanted.into_iter().map(|wanted| wanted.id).collect();
        Ok(Box::new(move |work| work.names = names))
    }

    /// Releases the names in reverse order.
    async fn release_names(
        &self,
        task: Task<'_, CreateWork>,
    ) -> Result<Report<CreateWork>, StepError> {
        for wanted in task.work.spec.wanted().iter().rev() {
            self.store
                .release(&wanted.id, |claim| claim.operation == task.id)
                .await?;
        }
        Ok(Box::new(|work| work.seed = None))
    }

    async fn remove_made(
        &self,
        task: Task<'_, CreateWork>,
    ) -> Result<Report<CreateWork>, StepError> {
        let record = async {
            let removed = self.store.remove_record(&task.envelope.instance).await;
            removed.map_err(StepError::from)
        };
        tokio::try_join!(
            remove_databases(&self.store, task.envelope.location()),
            record,
            self.remove_folder(task),
        )?;
        Ok(nothing())
    }

    async fn purge_contents(
        &self,
        task: Task<'_, CreateWork>,
    ) -> Result<Report<CreateWork>, StepError> {
        self.remove_contents(task).await?;
        Ok(nothing())
    }

    /// Removes the folder that was made with the databases.
    async fn remove_folder(&self, task: Task<'_, CreateWork>) -> Result<u64, StepError> {
        Ok(holdings::purge_folder(&self.store, &self.peers, self.tenant(task)).await?)
    }

    /// Removes what the other services keep for it. Of a folder on a file store, only one that was made for it.
    async fn remove_contents(&self, task: Task<'_, CreateWork>) -> Result<u64, StepError> {
        Ok(holdings::purge(&self.store, &self.peers, self.tenant(task)).await?)
    }

    /// The credentials derived from the first passphrase, if one was given.
    fn credentials(&self, task: Task<'_, CreateWork>) -> Result<Option<Credentials>, StepError> {
        let carried = self.sealing.open(task.id, task.envelope.sealed.as_ref())?;
        Ok(carried.and_then(|carried| carried.credentials().cloned()))
    }

    /// Refuses to go on when other software, which makes no claims, has published an instance with one of the names
    /// meanwhile. What it publishes after this cannot be prevented, and is told as a conflict.
    async fn require_names(&self, task: Task<'_, CreateWork>) -> Result<(), StepError> {
        let names = task.work.spec.wanted();
        claims::require_free_of_newcomers(&self.store, &names, &task.envelope.instance).await?;
        Ok(())
    }

    /// Checks that everything was made before the instance becomes visible, if owners may have overlapped. With
    /// a single owner no check is needed: the database has confirmed each document, and only the owner removes
    /// anything.
    async fn look(&self, task: Task<'_, CreateWork>) -> Result<Report<CreateWork>, StepError> {
        let operation = task.envelope;
        if !operation.taken_over {
            return Ok(nothing());
        }
        let names: Vec<DbName> = doctypes()
            .map(|doctype| DbName::instance(&operation.prefix, doctype))
            .collect::<Result<_, _>>()?;
        let couch = self.store.couch(operation.location())?;
        let found = couch.database_infos(&names).await?;
        for name in &names {
            let least = task
                .work
                .databases
                .iter()
                .find(|(database, _)| database == name.as_str())
                .map_or(0, |(_, documents)| *documents);
            let whole = found.get(name).is_some_and(|info| info.doc_count >= least);
            if !whole {
                return Err(StepError::Again(
                    DATABASES,
                    format!("the database {} is not whole", name.as_str()),
                ));
            }
        }
        Ok(nothing())
    }

    async fn publish(&self, task: Task<'_, CreateWork>) -> Result<Report<CreateWork>, StepError> {
        let (operation, work) = (task.envelope, task.work);
        let sealed = work.seed.as_ref();
        let seed = match self.sealing.open_seed(&operation.instance, sealed)? {
            Some(seed) => seed,
            None => Seed::draw().map_err(Error::Randomness)?,
        };
        let mut document = InstanceDocument::new(&work.spec, operation.location(), &seed);
        if let Some(credentials) = self.credentials(task)? {
            document.take_credentials(&credentials);
        }
        let published = self
            .store
            .publish(&task.envelope.instance, document)
            .await?;
        Ok(Box::new(move |work| {
            work.seed = None;
            work.published = InMemory::known(published);
        }))
    }
}

/// The position of an instance's CouchDB server, as messages to other services carry it. A position too large
/// for a message becomes one that is in no list; the other services refuse it.
pub(super) fn cluster_of(operation: &Envelope) -> i32 {
    i32::try_from(operation.couch_cluster).unwrap_or(-1)
}
