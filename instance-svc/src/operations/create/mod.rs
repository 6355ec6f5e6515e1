//! The steps of a creation, with their undo.
//!
//! Each step may be done any number of times. What it makes is named by the operation (prefix, ids), so a
//! repeated step finds what the first one made.

use std::{collections::HashSet, time::Duration};

use couch::DbName;
use futures::{
    StreamExt as _, TryStreamExt as _,
    future::{BoxFuture, try_join_all},
    stream,
};
use hamlet_proto::hamlet::instance::v1::Tenant;
use prost_types::Any;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use service_kit::status::reasons;
use tokio::time::Instant;

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
        databases::{self, CONTACTS, OWN, SETTINGS},
        in_memory::InMemory,
        instance::{InstanceDocument, SETTINGS_ID, owner_contact, settings_document},
        location::DatabaseLocation,
        operation::{Envelope, Phase},
        passphrase::{Credentials, credentials::VAULT_SETTINGS_ID},
        record::Record,
        sealed::Sealed,
        seed::Seed,
        spec::Spec,
    },
    error::Error,
    messages::{self, timestamp},
    store::Store,
};

/// How many apps are installed at once.
pub(crate) const APPS_AT_ONCE: usize = 4;

/// How long it can take until every node of a cluster knows a new database.
const HEARD_AFTER: Duration = Duration::from_secs(5);

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

/// What is to be created, and the results so far.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct CreateWork {
    /// The request.
    pub spec: Box<Spec>,
    /// The seed of the instance's secrets, sealed for the instance. Removed when the instance is published, or its
    /// names are released. Absent from an operation that version 0.1.0 has written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<Sealed>,
    /// The ids of the claims that it has made, in that order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Each database with the minimum number of documents that it must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub databases: Vec<(String, u64)>,
    /// The result for each app, in the order of the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub apps: Vec<AppOutcome>,
    /// The instance as just published, so that the response needs no read.
    #[serde(skip)]
    pub published: InMemory<InstanceDocument>,
}

impl CreateWork {
    /// The work of a creation of this instance.
    #[must_use]
    pub fn new(spec: Spec, seed: Sealed) -> Self {
        Self {
            spec: Box::new(spec),
            seed: Some(seed),
            ..Self::default()
        }
    }
}

/// The result for one app.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct AppOutcome {
    /// The app as requested.
    pub source: String,
    /// Its slug, if that could be determined.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub slug: String,
    /// The version that was installed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Why the app was not installed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub error: String,
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

    /// Makes the databases with their first documents and, at the same time, the record that adds the instance
    /// to lists. Neither is visible before the instance document exists.
    async fn make_databases(
        &self,
        task: Task<'_, CreateWork>,
    ) -> Result<Report<CreateWork>, StepError> {
        let (operation, spec) = (task.envelope, &task.work.spec);
        let tenant = self.tenant(task);
        let credentials = self.credentials(task)?;
        let own = try_join_all(OWN.iter().map(|plan| {
            let documents = first_documents(
                plan.doctype,
                operation,
                spec,
                &tenant.url,
                credentials.as_ref(),
            );
            async move {
                self.store
                    .make_database(
                        operation.location(),
                        plan.doctype,
                        plan.indexes,
                        plan.views,
                        &documents,
                    )
                    .await
                    .map_err(StepError::from)
            }
        }));
        let created_at = Some(timestamp(operation.created_at));
        let files = async {
            Ok(self
                .peers
                .prepare_files(&tenant, task.id, created_at)
                .await?)
        };
        let apps = async { Ok(self.peers.prepare_apps(&tenant).await?) };
        let record = self.write_record(task);
        let (own, files, apps, ()) = tokio::try_join!(own, files, apps, record)?;
        self.require_names(task).await?;
        let made: Vec<(String, u64)> = own.into_iter().chain(files).chain(apps).collect();
        Ok(Box::new(move |work| work.databases = made))
    }

    /// Installs the apps, several at once. An app that fails does not fail the creation: its error is reported.
    async fn install_apps(
        &self,
        task: Task<'_, CreateWork>,
    ) -> Result<Report<CreateWork>, StepError> {
        let tenant = self.tenant(task);
        let outcomes: Vec<AppOutcome> = stream::iter(task.work.spec.apps.clone())
            .map(|source| self.install_app(&tenant, source))
            .buffered(APPS_AT_ONCE)
            .collect()
            .await;
        if !outcomes.is_empty() {
            self.require_names(task).await?;
        }
        Ok(Box::new(move |work| work.apps = outcomes))
    }

    /// Refuses to go on when other software, which makes no claims, has published an instance with one of the names
    /// meanwhile. What it publishes after this cannot be prevented, and is told as a conflict.
    async fn require_names(&self, task: Task<'_, CreateWork>) -> Result<(), StepError> {
        let names = task.work.spec.wanted();
        claims::require_free_of_newcomers(&self.store, &names, &task.envelope.instance).await?;
        Ok(())
    }

    async fn install_app(&self, tenant: &Tenant, source: String) -> AppOutcome {
        let limit = self.config.app_time_limit();
        let end = Instant::now() + limit;
        let heard = Instant::now() + HEARD_AFTER;
        let mut pause = Duration::from_millis(100);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let status = match self.peers.install(tenant, &source, left).await {
                Ok(app) => {
                    return AppOutcome {
                        source,
                        slug: app.slug,
                        version: app.version,
                        error: String::new(),
                    };
                }
                Err(status) => status,
            };
            // The databases exist, but a node of the cluster may not know them yet.
            let unheard = Instant::now() < heard
                && service_kit::status::reason(&status).as_deref()
                    == Some(reasons::INSTANCE_INCOMPLETE);
            let passing = unheard || status.code() == tonic::Code::Unavailable;
            let again = passing && Instant::now() + pause * 2 < end;
            if !again {
                let late = Instant::now() >= end;
                tracing::warn!(
                    domain = tenant.domain,
                    source,
                    code = %status.code(),
                    error = status.message(),
                    "an app could not be installed"
                );
                return AppOutcome {
                    source,
                    error: if late {
                        format!("it took longer than {} s", limit.as_secs())
                    } else {
                        status.message().to_owned()
                    },
                    ..AppOutcome::default()
                };
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    /// Checks that everything was made before the instance becomes visible, if owners may have overlapped. With
    /// a single owner no check is needed: the database has confirmed each document, and only the owner removes
    /// anything.
    async fn look(&self, task: Task<'_, CreateWork>) -> Result<Report<CreateWork>, StepError> {
        let operation = task.envelope;
        if !operation.taken_over {
            return Ok(nothing());
        }
        let names: Vec<DbName> = databases::doctypes()
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

    async fn write_record(&self, task: Task<'_, CreateWork>) -> Result<(), StepError> {
        let (operation, spec) = (task.envelope, &task.work.spec);
        let mut record = spec.documents().record;
        // That there is none is known, too.
        record.email.get_or_insert_default();
        let record = Record {
            prefix: operation.prefix.clone(),
            created_at: Some(operation.created_at),
            created_by: task.id.to_owned(),
            register_expires_at: match operation.sealed {
                // A passphrase is set, so there is no register link.
                Some(_) => None,
                None => operation
                    .created_at
                    .checked_add(self.config.register_link_life()),
            },
            ..record
        };
        self.store
            .write_record(&operation.instance, &record)
            .await?;
        Ok(())
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

/// The first documents of a database, besides its indexes and views.
fn first_documents(
    doctype: &str,
    operation: &Envelope,
    spec: &Spec,
    url: &str,
    credentials: Option<&Credentials>,
) -> Vec<(String, Map<String, Value>)> {
    match doctype {
        SETTINGS => {
            let own = (SETTINGS_ID.to_owned(), settings_document(spec));
            let vault = credentials.map(|credentials| {
                let settings = credentials.vault_settings(None, operation.created_at);
                (VAULT_SETTINGS_ID.to_owned(), settings)
            });
            [own].into_iter().chain(vault).collect()
        }
        // The owner is the first contact of the instance. The id may occur in two databases, and does not
        // change when the step is repeated.
        CONTACTS => vec![(operation.instance.clone(), owner_contact(spec, url))],
        _ => Vec::new(),
    }
}

/// Removes all databases of an instance: those that every instance has, and those found by listing. Returns how
/// many there were.
pub(crate) async fn remove_databases(
    store: &Store,
    location: DatabaseLocation<'_>,
) -> Result<u64, StepError> {
    const AT_ONCE: usize = 16;
    let couch = store.couch(location)?;
    let prefix = location.prefix;
    let below = format!("{}/", DbName::instance_prefix(prefix)?);
    let seen = couch.databases_with_prefix(&below).await?;
    let planned = databases::doctypes()
        .map(|doctype| DbName::instance(prefix, doctype))
        .collect::<Result<Vec<_>, _>>()?;
    let mut names: HashSet<String> = seen.into_iter().collect();
    names.extend(planned.iter().map(|name| name.as_str().to_owned()));
    let removed: Vec<bool> = stream::iter(names)
        .map(|name| async move {
            let name = DbName::new(name)?;
            let removal = couch.delete_database(&name).await?;
            Ok::<_, couch::Error>(removal == couch::Removal::Deleted)
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let left = couch.databases_with_prefix(&below).await?;
    if let Some(name) = left.first() {
        return Err(StepError::Later(format!(
            "the database {name} is still there"
        )));
    }
    Ok(removed.into_iter().filter(|&was_there| was_there).count() as u64)
}
