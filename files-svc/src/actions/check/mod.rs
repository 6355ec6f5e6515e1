//! Checking that documents and contents of an instance fit together. It reports and repairs nothing.
//!
//! The tree may change meanwhile, so whatever is found wrong is looked at once more before it is told. In
//! memory are 200 documents at a time, and the names of one directory as hashes
//! ([`crate::domain::siblings`]): no more for a large tree than for a small one.

mod contents;
mod index;
mod siblings;

use futures::{Stream, StreamExt as _, stream};
use tokio::sync::mpsc;

use crate::{contents::Contents, domain::finding::Finding, error::Error, store::Store};

/// What to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    /// That the documents make a tree.
    pub(crate) index: bool,
    /// That contents are there, with their size and hash.
    pub(crate) contents: bool,
}

/// Where findings go. The check ends when nobody listens any more.
#[derive(Debug)]
struct Report(mpsc::Sender<Result<Finding, Error>>);

/// Why a check ended early.
#[derive(Debug)]
enum Stop {
    /// Nobody listens any more.
    NobodyListens,
    /// Something failed.
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

/// Checks a tree, and its contents. Nothing comes when all is well. Ends after an error.
///
/// # Errors
/// When the instance has no database of files; all other errors come as items.
pub(crate) async fn check(
    store: Store,
    contents: Contents,
    scope: Scope,
) -> Result<impl Stream<Item = Result<Finding, Error>> + Send, Error> {
    // An instance without databases is an error of the call, and not the first of its findings.
    store.entries(&[]).await?;
    let (sender, mut findings) = mpsc::channel(16);
    let work = async move {
        let report = Report(sender);
        if let Err(Stop::Failed(error)) = run(&store, &contents, scope, &report).await {
            // Whoever does not listen any more does not want to know.
            let _ = report.0.send(Err(error)).await;
        }
    };
    let findings = stream::poll_fn(move |context| findings.poll_recv(context));
    // The work goes on while its findings are asked for, and is dropped with them.
    let work = stream::once(work).filter_map(|()| std::future::ready(None));
    Ok(stream::select(findings, work))
}

async fn run(
    store: &Store,
    contents: &Contents,
    scope: Scope,
    report: &Report,
) -> Result<(), Stop> {
    if scope.index {
        index::check(store, report).await?;
        siblings::check(store, report).await?;
        index::check_versions(store, report).await?;
    }
    if scope.contents {
        contents::check_files(store, contents, report).await?;
        contents::check_versions(store, contents, report).await?;
        contents::check_objects(store, contents, report).await?;
    }
    Ok(())
}
