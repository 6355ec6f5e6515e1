//! The steps of removing orphans, in the same order as in a destruction.
//!
//! Each step finds its orphans itself, so it may be repeated, also by another replica. Everything is checked
//! twice, and once more right before it is removed.

use std::time::Duration;

use couch::Exchange;
use futures::future::BoxFuture;
use hamlet_proto::hamlet::instance::v1::{PurgeOrphansResult, Tenant};
use prost_types::Any;
use serde::{Deserialize, Serialize};

use super::{AT_ONCE, OrphanRemoval, Orphans};
use crate::{
    domain::removed::Removed,
    error::Error,
    messages,
    operations::{
        Work,
        engine::{Detail, Kind, Report, Step, StepError, StepFuture, Task},
        holdings,
    },
};

/// The results of the removal so far.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct OrphanWork {
    /// What was removed.
    #[serde(default)]
    pub removed: Removed,
}

impl Kind for OrphanRemoval {
    type Work = OrphanWork;
    type All = Work;

    // The number of removed items has to be written, because the result reports it.
    const STEPS: &'static [Step<Self>] = &[
        Step::<Self>::new("contents", |it, _| counted(it.0.remove_contents())).written_before(),
        Step::<Self>::new("databases", |it, _| counted(it.0.remove_databases())).written_before(),
        // Instances without any database, then records.
        Step::<Self>::new("records", |it, _| counted(it.0.remove_documents())).written_before(),
        Step::<Self>::new("claims", |it, _| counted(it.0.remove_claims())).written_before(),
    ];

    const NAMES: &'static [&'static str] = &["orphans"];

    fn name(_: &OrphanWork) -> &'static str {
        "orphans"
    }

    /// What was removed belonged to nobody, so the operation may stop at any step.
    fn reversible_steps(_: &OrphanWork) -> usize {
        Self::STEPS.len()
    }

    fn refuses_cancel(_: &OrphanWork, _: bool) -> Option<&'static str> {
        None
    }

    fn patience(&self, _: Task<'_, OrphanWork>) -> Option<Duration> {
        Some(PATIENCE)
    }

    fn respond<'a>(
        &'a self,
        task: Task<'a, OrphanWork>,
        _: Detail,
    ) -> BoxFuture<'a, Result<Any, Error>> {
        let response = hamlet_proto::pack(&PurgeOrphansResult {
            removed: messages::removed(&task.work.removed),
        });
        Box::pin(std::future::ready(Ok(response)))
    }
}

/// How long removing may keep failing before the operation fails.
const PATIENCE: Duration = Duration::from_secs(600);

/// Adds what a step has removed to the total.
fn counted<'a>(
    removal: impl Future<Output = Result<Removed, StepError>> + Send + 'a,
) -> StepFuture<'a, OrphanWork> {
    Box::pin(async move {
        let removed = removal.await?;
        let report: Report<OrphanWork> = Box::new(move |work| work.removed += removed);
        Ok(report)
    })
}

impl Orphans {
    async fn remove_contents(&self) -> Result<Removed, StepError> {
        let mut removed = Removed::default();
        for some in self.contents().await?.chunks_mut(AT_ONCE) {
            let prefixes = some.iter().map(|it| it.prefix.clone()).collect();
            let lost = self.lost(prefixes).await?;
            self.leave_used_domains(some).await?;
            for contents in some.iter().filter(|it| lost.contains(&it.prefix)) {
                tracing::info!(
                    prefix = contents.prefix,
                    domain = contents.domain,
                    "orphaned contents are removed"
                );
                let nobody = Tenant {
                    prefix: contents.prefix.clone(),
                    domain: contents.domain.clone(),
                    ..Tenant::default()
                };
                removed.objects += self.peers.purge(&nobody, false).await?;
            }
        }
        Ok(removed)
    }

    async fn remove_databases(&self) -> Result<Removed, StepError> {
        let mut removed = Removed::default();
        for some in self.databases().await?.chunks(AT_ONCE) {
            let prefixes = some.iter().map(|it| it.prefix.clone()).collect();
            let lost = self.lost(prefixes).await?;
            for databases in some.iter().filter(|it| lost.contains(&it.prefix)) {
                tracing::info!(
                    prefix = databases.prefix,
                    count = databases.names.len(),
                    "orphaned databases are removed"
                );
                removed.databases += databases.remove().await?;
            }
        }
        Ok(removed)
    }

    async fn remove_documents(&self) -> Result<Removed, StepError> {
        let mut removed = self.remove_bare_instances().await?;
        removed += self.remove_records().await?;
        Ok(removed)
    }

    async fn remove_records(&self) -> Result<Removed, StepError> {
        let mut removed = Removed::default();
        for record in self.records().await? {
            match self
                .store
                .remove_record_at(&record.id, &record.rev)
                .await
                .map_err(Error::from)?
            {
                Exchange::Won(_) => removed.documents += 1,
                // It was changed or removed meanwhile, so it has an owner.
                Exchange::Lost => {}
            }
        }
        Ok(removed)
    }

    async fn remove_bare_instances(&self) -> Result<Removed, StepError> {
        let mut removed = Removed::default();
        for bare in self.bare_instances().await? {
            let Some(found) = self.store.instance(&bare.id).await.map_err(Error::from)? else {
                continue;
            };
            tracing::info!(
                domain = bare.body.domain(),
                instance = bare.id,
                "an instance without any database is removed"
            );
            // Its folder on a file store is known by its domain alone, so it goes before the document.
            let document = &found.body;
            let tenant = Tenant {
                id: bare.id.clone(),
                domain: document.domain.clone(),
                prefix: document.database_prefix().to_owned(),
                ..Tenant::default()
            };
            removed.objects += holdings::purge(&self.store, &self.peers, tenant).await?;
            for gone in [
                self.store.unpublish(&bare.id).await,
                self.store.remove_record(&bare.id).await,
            ] {
                removed.documents += u64::from(gone.map_err(Error::from)?);
            }
            for name in found.body.wanted() {
                let released = self
                    .store
                    .release(&name.id, |claim| claim.instance == bare.id)
                    .await;
                removed.claims += u64::from(released.map_err(Error::from)?);
            }
        }
        Ok(removed)
    }

    async fn remove_claims(&self) -> Result<Removed, StepError> {
        let mut removed = Removed::default();
        for claim in self.claims().await? {
            let was_there = self
                .store
                .release(&claim.id, |now| *now == claim.body)
                .await
                .map_err(Error::from)?;
            removed.claims += u64::from(was_there);
        }
        Ok(removed)
    }
}
