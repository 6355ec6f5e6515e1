//! Finds out how much room the files take.

use crate::{error::Error, store::Store};

/// The room that files take, in bytes, and how many documents there are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) files: i64,
    pub(crate) versions: i64,
    pub(crate) trashed: i64,
    pub(crate) file_documents: i64,
    pub(crate) version_documents: i64,
}

/// Sums up sizes. The sum of the trash reads every document.
///
/// # Errors
/// When the database fails.
pub(crate) async fn usage(store: &Store, with_trash: bool) -> Result<Usage, Error> {
    let (files, versions, (file_documents, version_documents)) = tokio::try_join!(
        store.file_bytes(),
        store.version_bytes(),
        store.document_counts()
    )?;
    Ok(Usage {
        files,
        versions,
        trashed: if with_trash {
            store.trashed_bytes().await?
        } else {
            0
        },
        file_documents,
        version_documents,
    })
}
