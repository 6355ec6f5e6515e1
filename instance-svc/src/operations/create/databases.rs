//! The step that makes the databases, and its undo.

use std::collections::HashSet;

use couch::DbName;
use futures::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};
use serde_json::{Map, Value};

use super::{CreateWork, Creation};
use crate::{
    domain::{
        databases::{self, CONTACTS, OWN, SETTINGS},
        instance::{SETTINGS_ID, owner_contact, settings_document},
        location::DatabaseLocation,
        operation::Envelope,
        passphrase::{Credentials, credentials::VAULT_SETTINGS_ID},
        record::Record,
        spec::Spec,
    },
    messages::timestamp,
    operations::engine::{Report, StepError, Task},
    store::Store,
};

impl Creation {
    /// Makes the databases with their first documents and, at the same time, the record that adds the instance
    /// to lists. Neither is visible before the instance document exists.
    pub(super) async fn make_databases(
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
