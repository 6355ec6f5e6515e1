//! Checks the documents and contents of an instance for consistency. Reports only; repairs nothing.
//!
//! The tree may change during a check, so every problem is verified by a second read before it is reported. Memory use
//! does not depend on the size of the tree: at most 200 documents, and the names of one directory as hashes
//! ([`crate::domain::siblings`]).

mod contents;
mod index;
mod measure;
pub(crate) mod on_disk;
mod siblings;
mod versions;

use futures::{Stream, StreamExt as _, stream};
use tokio::sync::mpsc;

use self::on_disk::Place;
use crate::{contents::Contents, domain::finding::Finding, error::Error, store::Store};

/// Which parts to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    /// The documents form a tree.
    pub(crate) index: bool,
    /// The contents exist, with the documented size and hash.
    pub(crate) contents: bool,
}

/// Receives the findings. The check ends when the receiver is dropped.
#[derive(Debug)]
struct Report(mpsc::Sender<Result<Finding, Error>>);

/// Why a check ended early.
#[derive(Debug)]
enum Stop {
    /// The receiver was dropped.
    NobodyListens,
    /// A read failed.
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Report {
    async fn tell(&self, finding: Finding) -> Result<(), Stop> {
        self.0
            .send(Ok(finding))
            .await
            .map_err(|_| Stop::NobodyListens)
    }
}

/// Checks the tree and its contents: those in the folder `place`, if it is given. The stream is empty when nothing is wrong, and ends after the first error.
///
/// # Errors
/// Returns an error only when the instance has no database of files. All later errors are items of the stream.
pub(crate) async fn check(
    store: Store,
    contents: Contents,
    place: Option<Place>,
    scope: Scope,
) -> Result<impl Stream<Item = Result<Finding, Error>> + Send, Error> {
    // A missing database is an error of the call itself, not an item of the stream.
    store.entries(&[]).await?;
    let (sender, mut findings) = mpsc::channel(16);
    let work = async move {
        let report = Report(sender);
        if let Err(Stop::Failed(error)) =
            run(&store, &contents, place.as_ref(), scope, &report).await
        {
            // When this fails, the receiver has been dropped.
            let _ = report.0.send(Err(error)).await;
        }
    };
    let findings = stream::poll_fn(move |context| findings.poll_recv(context));
    // The check runs only while its findings are read, and is dropped with the stream.
    let work = stream::once(work).filter_map(|()| std::future::ready(None));
    Ok(stream::select(findings, work))
}

async fn run(
    store: &Store,
    contents: &Contents,
    place: Option<&Place>,
    scope: Scope,
    report: &Report,
) -> Result<(), Stop> {
    if scope.index {
        index::check(store, report).await?;
        siblings::check(store, report).await?;
        index::check_versions(store, report).await?;
    }
    if scope.contents {
        match place {
            Some(place) => on_disk::check(store, place, report).await?,
            None => {
                contents::check_files(store, contents, report).await?;
                contents::check_versions(store, contents, report).await?;
            }
        }
        contents::check_objects(store, contents, report).await?;
    }
    Ok(())
}
