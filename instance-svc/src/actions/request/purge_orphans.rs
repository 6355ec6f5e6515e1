//! Requests to remove orphans.

use service_kit::secret::Secret;

use super::{Draft, Plan, RequestOptions, arguments_mac};
use crate::{
    domain::{operation::Subject, removed::Removed},
    error::Error,
    operations::{
        Work,
        orphans::{OrphanWork, Orphans},
    },
};

/// The removal of orphans. Its preview counts them.
#[derive(Debug)]
pub(crate) struct PurgeOrphansPlan<'a>(pub(crate) &'a Orphans);

impl Plan for PurgeOrphansPlan<'_> {
    type Preview = Removed;

    fn verb(&self) -> &'static str {
        "orphans"
    }

    fn mac(&self, key: &Secret) -> Result<String, Error> {
        arguments_mac(key, &())
    }

    async fn draft(&mut self, _: RequestOptions<'_>) -> Result<Draft, Error> {
        Ok(Draft {
            subject: Subject::default(),
            work: Work::PurgeOrphans(OrphanWork::default()),
        })
    }

    async fn preview(self, _: Vec<String>) -> Result<Removed, Error> {
        self.0.count().await
    }
}
