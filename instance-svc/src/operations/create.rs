//! The steps of a creation, done and undone.
//!
//! Each may be done any number of times: what it makes is named by the operation (its prefix, its ids),
//! so that a second time finds what the first one made.

use std::{collections::HashSet, sync::Arc, time::Duration};

use couch::DbName;
use futures::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};
use hamlet_proto::hamlet::instance::v1::Tenant;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::{Peers, Report, Sealing, StepError, claims, nothing};
use crate::{
    clock,
    config::Config,
    domain::{
        databases::{self, CONTACTS, OWN, SETTINGS},
        instance::{InstanceDocument, SETTINGS_ID, owner_contact, settings_document},
        operation::{AppOutcome, Operation, Published},
        passphrase::{Credentials, credentials::VAULT_SETTINGS_ID},
        place::Place,
        record::Record,
        spec::Spec,
        steps::CreateStep,
    },
    error::Error,
    store::Store,
};

/// How many apps are installed at once.
const APPS_AT_ONCE: usize = 4;

/// After how long every node of a cluster has heard of a new database.
const HEARD_AFTER: Duration = Duration::from_secs(5);

/// What a creation works with.
#[derive(Clone, Debug)]
pub struct Creation {
    pub(crate) store: Store,
    pub(crate) peers: Peers,
    pub(crate) config: Config,
    pub(crate) sealing: Sealing,
}

impl Creation {
    pub(crate) async fn perform(
        &self,
        step: CreateStep,
        id: &str,
        operation: &Operation,
        spec: &Spec,
    ) -> Result<Report, StepError> {
        match step {
            CreateStep::Claims => self.claim_names(id, operation, spec).await,
            CreateStep::Databases => self.make_databases(id, operation, spec).await,
            CreateStep::Apps => self.install_apps(operation, spec).await,
            CreateStep::Look => self.look(operation).await,
            CreateStep::Publish => self.publish(id, operation, spec).await,
        }
    }

    pub(crate) async fn undo(
        &self,
        step: CreateStep,
        id: &str,
        operation: &Operation,
        spec: &Spec,
    ) -> Result<Report, StepError> {
        match step {
            CreateStep::Claims => self.release_names(id, spec).await,
            CreateStep::Databases => {
                let record = async {
                    let removed = self.store.remove_record(&operation.instance).await;
                    removed.map_err(StepError::from)
                };
                tokio::try_join!(remove_databases(&self.store, operation.place()), record)?;
                Ok(nothing())
            }
            CreateStep::Apps => {
                self.peers
                    .purge(&self.tenant(operation, spec))
                    .await
                    .map_err(StepError::from)?;
                Ok(nothing())
            }
            // Looking leaves nothing, and a publication is never taken back.
            CreateStep::Look | CreateStep::Publish => Ok(nothing()),
        }
    }

    fn tenant(&self, operation: &Operation, spec: &Spec) -> Tenant {
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
        id: &str,
        operation: &Operation,
        spec: &Spec,
    ) -> Result<Report, StepError> {
        let wanted = spec.wanted();
        for wanted in &wanted {
            if operation.names.contains(&wanted.id) {
                continue;
            }
            let claim = claims::of_operation(wanted, id, operation);
            claims::claim(&self.store, &wanted.id, &claim).await?;
        }
        let names: Vec<String> = wanted.into_iter().map(|wanted| wanted.id).collect();
        Ok(Box::new(move |operation| operation.names = names))
    }

    /// Gives the names back in reverse order.
    async fn release_names(&self, id: &str, spec: &Spec) -> Result<Report, StepError> {
        for wanted in spec.wanted().iter().rev() {
            self.store
                .release(&wanted.id, |claim| claim.operation == id)
                .await?;
        }
        Ok(nothing())
    }

    /// What the first passphrase becomes, when there is one.
    fn credentials(
        &self,
        id: &str,
        operation: &Operation,
    ) -> Result<Option<Credentials>, StepError> {
        let carried = self.sealing.open(id, operation.sealed.as_ref())?;
        Ok(carried.and_then(|carried| carried.credentials().cloned()))
    }

    /// Makes the databases with all that is in them at first, and gives the instance its place in lists,
    /// side by side: nobody sees either before the instance document is there.
    async fn make_databases(
        &self,
        id: &str,
        operation: &Operation,
        spec: &Spec,
    ) -> Result<Report, StepError> {
        let tenant = self.tenant(operation, spec);
        let credentials = self.credentials(id, operation)?;
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
                        operation.place(),
                        plan.doctype,
                        plan.indexes,
                        plan.views,
                        &documents,
                    )
                    .await
                    .map_err(StepError::from)
            }
        }));
        let created_at = clock::parse(&operation.created_at).map(|time| prost_types::Timestamp {
            seconds: time.unix_timestamp(),
            nanos: i32::try_from(time.nanosecond()).unwrap_or_default(),
        });
        let files = async { Ok(self.peers.prepare_files(&tenant, id, created_at).await?) };
        let apps = async { Ok(self.peers.prepare_apps(&tenant).await?) };
        let record = self.write_record(id, operation, spec);
        let (own, files, apps, ()) = tokio::try_join!(own, files, apps, record)?;
        let made: Vec<(String, u64)> = own.into_iter().chain(files).chain(apps).collect();
        Ok(Box::new(move |operation| operation.databases = made))
    }

    /// Installs the apps, some at once. One that fails does not fail the instance: it is reported.
    async fn install_apps(&self, operation: &Operation, spec: &Spec) -> Result<Report, StepError> {
        let tenant = self.tenant(operation, spec);
        let outcomes: Vec<AppOutcome> = stream::iter(spec.apps.clone())
            .map(|source| self.install_app(&tenant, source))
            .buffered(APPS_AT_ONCE)
            .collect()
            .await;
        Ok(Box::new(move |operation| operation.apps = outcomes))
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
            // The databases are there, but a node of a cluster may not have heard of them yet.
            let unheard = Instant::now() < heard
                && service_kit::status::reason(&status).as_deref() == Some("INSTANCE_INCOMPLETE");
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

    /// Looks whether all that was made is there, before anybody may see it: two owners may have
    /// overlapped. A single one need not look: the database has answered for each document, and only who
    /// owns the operation takes anything away.
    async fn look(&self, operation: &Operation) -> Result<Report, StepError> {
        if !operation.taken_over {
            return Ok(nothing());
        }
        let names: Vec<DbName> = databases::doctypes()
            .map(|doctype| DbName::instance(&operation.prefix, doctype))
            .collect::<Result<_, _>>()?;
        let couch = self.store.couch(operation.place())?;
        let found = couch.database_infos(&names).await?;
        for name in &names {
            let least = operation
                .databases
                .iter()
                .find(|(database, _)| database == name.as_str())
                .map_or(0, |(_, documents)| *documents);
            let whole = found.get(name).is_some_and(|info| info.doc_count >= least);
            if !whole {
                return Err(StepError::Again(
                    "databases",
                    format!("the database {} is not whole", name.as_str()),
                ));
            }
        }
        Ok(nothing())
    }

    async fn write_record(
        &self,
        id: &str,
        operation: &Operation,
        spec: &Spec,
    ) -> Result<(), StepError> {
        let record = Record {
            prefix: operation.prefix.clone(),
            created_at: operation.created_at.clone(),
            created_by: id.to_owned(),
            register_expires_at: match operation.sealed {
                // The passphrase is chosen; there is no link.
                Some(_) => None,
                None => clock::later(&operation.created_at, self.config.register_link_life()),
            },
            ..spec.documents().record
        };
        self.store
            .write_record(&operation.instance, &record)
            .await?;
        Ok(())
    }

    async fn publish(
        &self,
        id: &str,
        operation: &Operation,
        spec: &Spec,
    ) -> Result<Report, StepError> {
        let mut document =
            InstanceDocument::draw(spec, operation.place()).map_err(Error::Randomness)?;
        if let Some(credentials) = self.credentials(id, operation)? {
            document.take_credentials(&credentials);
        }
        let published = self.store.publish(&operation.instance, document).await?;
        Ok(Box::new(move |operation| {
            operation.published = Some(Published(Arc::new(published)));
        }))
    }
}

/// The position of an instance's CouchDB server as other services are told it. One that no message can
/// hold is in no list either: they refuse it.
pub(super) fn cluster_of(operation: &Operation) -> i32 {
    i32::try_from(operation.couch_cluster).unwrap_or(-1)
}

/// The first documents of a database, beside its indexes and views.
fn first_documents(
    doctype: &str,
    operation: &Operation,
    spec: &Spec,
    url: &str,
    credentials: Option<&Credentials>,
) -> Vec<(String, Map<String, Value>)> {
    match doctype {
        SETTINGS => {
            let own = (SETTINGS_ID.to_owned(), settings_document(spec));
            let vault = credentials.map(|credentials| {
                let settings = credentials.vault_settings(None, &operation.created_at);
                (VAULT_SETTINGS_ID.to_owned(), settings)
            });
            [own].into_iter().chain(vault).collect()
        }
        // The owner is the first contact of the instance: one id in two databases harms nobody, and
        // stays the same when this is done twice.
        CONTACTS => vec![(operation.instance.clone(), owner_contact(spec, url))],
        _ => Vec::new(),
    }
}

/// Removes all databases of an instance: by the list of those that every instance has, and by what is
/// seen. Returns how many there were.
pub(crate) async fn remove_databases(store: &Store, place: Place<'_>) -> Result<u64, StepError> {
    const AT_ONCE: usize = 16;
    let couch = store.couch(place)?;
    let prefix = place.prefix;
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
