//! The steps of removing orphans, in the order in which a destruction removes.
//!
//! Each step finds its own, so that it may be done twice and by another replica. Whatever is removed was
//! looked at twice, and once more right before.

use couch::Exchange;
use hamlet_proto::hamlet::instance::v1::Tenant;

use super::{AT_ONCE, Orphans};
use crate::{
    domain::{operation::Removed, steps::OrphanStep},
    error::Error,
    operations::{Report, StepError},
};

impl Orphans {
    pub(crate) async fn perform(&self, step: OrphanStep) -> Result<Report, StepError> {
        let removed = match step {
            OrphanStep::Contents => self.remove_contents().await?,
            OrphanStep::Databases => self.remove_databases().await?,
            OrphanStep::Records => self.remove_records().await?,
            OrphanStep::Claims => self.remove_claims().await?,
        };
        Ok(Box::new(move |operation| {
            let sum = &mut operation.removed;
            sum.objects += removed.objects;
            sum.databases += removed.databases;
            sum.documents += removed.documents;
            sum.claims += removed.claims;
        }))
    }

    async fn remove_contents(&self) -> Result<Removed, StepError> {
        let mut removed = Removed::default();
        for some in self.contents().await?.chunks(AT_ONCE) {
            let prefixes = some.iter().map(|(prefix, _)| prefix.clone()).collect();
            for prefix in self.lost(prefixes).await? {
                tracing::info!(prefix, "contents of nobody are removed");
                let nobody = Tenant {
                    prefix,
                    ..Tenant::default()
                };
                removed.objects += self.peers.purge(&nobody).await?;
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
                    "databases of nobody are removed"
                );
                removed.databases += databases.remove().await?;
            }
        }
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
                // It was changed or removed meanwhile: somebody has it.
                Exchange::Lost => {}
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
