//! How much room the files take.

use std::future::ready;

use couch::{AllDocs, Document};
use futures::TryStreamExt as _;
use serde::Deserialize;
use serde_json::Value;

use super::Store;
use crate::error::Error;

/// What is read of a file.
#[derive(Deserialize)]
struct Sized {
    #[serde(default)]
    trashed: bool,
    /// A number, or its text.
    #[serde(default)]
    size: Value,
}

impl Sized {
    fn bytes(&self) -> i64 {
        let text = self.size.as_str();
        let bytes = text.map_or_else(|| self.size.as_i64(), |text| text.parse().ok());
        bytes.unwrap_or_default()
    }
}

impl Store {
    /// The bytes of all files.
    pub(crate) async fn file_bytes(&self) -> Result<i64, Error> {
        Ok(whole(self.files.reduction("disk-usage").await?))
    }

    /// The bytes of all old versions.
    pub(crate) async fn version_bytes(&self) -> Result<i64, Error> {
        let sum = self.versions.reduction("old-versions-disk-usage").await?;
        Ok(whole(sum))
    }

    /// The bytes of the files in the trash. Reads every document.
    pub(crate) async fn trashed_bytes(&self) -> Result<i64, Error> {
        let documents = self.files.all_docs_with_bodies::<Sized>(AllDocs::new());
        let trashed = documents
            .try_filter(|document: &Document<Sized>| ready(document.body.trashed))
            .try_fold(0_i64, |sum, document| {
                ready(Ok(sum.saturating_add(document.body.bytes())))
            });
        Ok(trashed.await?)
    }

    /// The number of documents of files and of old versions, definitions of indexes and views among them.
    pub(crate) async fn document_counts(&self) -> Result<(i64, i64), Error> {
        let names = [self.files.name().clone(), self.versions.name().clone()];
        let infos = self.couch.database_infos(&names).await?;
        let count = |name| {
            infos
                .get(name)
                .map_or(0, |info| i64::try_from(info.doc_count).unwrap_or(i64::MAX))
        };
        Ok((count(self.files.name()), count(self.versions.name())))
    }
}

/// The sum of a view. Sizes are whole numbers, but other software may have stored a fraction.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a sum beyond the numbers of bytes is cut to the largest"
)]
fn whole(sum: Option<Value>) -> i64 {
    let sum = sum.unwrap_or_default();
    sum.as_i64()
        .unwrap_or_else(|| sum.as_f64().unwrap_or_default() as i64)
}
