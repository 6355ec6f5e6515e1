//! Scripted answers of an installation's admin door, for tests of the command line.

mod apps;
mod files;
mod instances;
mod operations;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use hamlet_proto::{
    google::longrunning::Operation,
    hamlet::{
        apps::v1::App,
        files::v1::{File, Finding, TreeEntry},
        instance::v1::{Instance, NameConflict, Orphan, RegisterLink},
    },
};
use tokio_stream::Stream;
use tonic::{Request, Status};

use super::{Asked, Fake};

/// How a watch stream ends.
#[derive(Debug)]
pub enum WatchEnd {
    /// The stream ends without an error.
    Stop,
    /// The stream stays open and silent.
    Hang,
    /// The stream fails.
    Fail(Status),
}

/// The states that one watch stream sends, and how the stream ends.
pub type Watch = (Vec<Operation>, WatchEnd);

/// The answers. Failures and watches are consumed from the front. All other fields are the stored state.
#[derive(Debug, Default)]
pub struct Script {
    /// Refuses every call with this status.
    pub refuse: Option<Status>,
    /// The first creations fail with these statuses.
    pub failing_creations: VecDeque<Status>,
    /// The response to changes.
    pub accepted: Operation,
    /// The response to changes with `validate_only`; `accepted` when absent.
    pub checked: Option<Operation>,
    /// The watch streams, one per call.
    pub watches: VecDeque<Watch>,
    /// The instances. Pages contain at most two.
    pub instances: Vec<Instance>,
    /// How many documents of instances have no database.
    pub instances_without_database: i64,
    /// After this number of pages of instances, the request for the next page hangs.
    pub pages: Option<usize>,
    /// The operations.
    pub operations: Vec<Operation>,
    /// The children of any directory.
    pub files: Vec<File>,
    /// The tree.
    pub tree: Vec<TreeEntry>,
    /// The apps of any instance.
    pub apps: Vec<App>,
    /// The register link of any instance.
    pub link: RegisterLink,
    /// The orphans.
    pub orphans: Vec<Orphan>,
    /// The names that several instances have.
    pub conflicts: Vec<NameConflict>,
    /// The findings of any tree.
    pub findings: Vec<Finding>,
    /// The error with which lists of orphans and findings end.
    pub broken: Option<Status>,
}

impl Fake {
    /// Answers according to `script`.
    pub fn play(&self, mut script: Script) {
        if let Some(status) = script.refuse.take() {
            self.refuse(status);
        }
        let stage = Stage {
            fake: self,
            script: Arc::new(Mutex::new(script)),
        };
        instances::play(&stage);
        operations::play(&stage);
        files::play(&stage);
        apps::play(&stage);
    }
}

/// A fake and the script that it plays.
struct Stage<'a> {
    fake: &'a Fake,
    script: Arc<Mutex<Script>>,
}

impl Stage<'_> {
    fn answer<Q: Asked, A: prost::Name + 'static>(
        &self,
        answer: impl Fn(&mut Script, Q) -> Result<A, Status> + Send + Sync + 'static,
    ) {
        let script = Arc::clone(&self.script);
        self.fake.answer(move |request: Request<Q>| {
            let mut script = script.lock().unwrap_or_else(PoisonError::into_inner);
            answer(&mut script, request.into_inner())
        });
    }

    fn stream<Q: Asked, A: prost::Name + 'static, S>(
        &self,
        answer: impl Fn(&mut Script, Q) -> Result<S, Status> + Send + Sync + 'static,
    ) where
        S: Stream<Item = Result<A, Status>> + Send + 'static,
    {
        let script = Arc::clone(&self.script);
        self.fake.stream(move |request: Request<Q>| {
            let mut script = script.lock().unwrap_or_else(PoisonError::into_inner);
            answer(&mut script, request.into_inner())
        });
    }
}

impl Script {
    /// The response to a change.
    fn change(&self, only_check: bool) -> Operation {
        match &self.checked {
            Some(checked) if only_check => checked.clone(),
            _ => self.accepted.clone(),
        }
    }
}

/// The page that a token names, and the token of the next page. Pages contain at most `size` items (0: no limit), and
/// never more than two: as with real servers, a page may be smaller than requested.
fn page<T: Clone>(all: &[T], token: &str, size: i32) -> (Vec<T>, String) {
    let size = usize::try_from(size).expect("a size").clamp(0, 2);
    let size = if size == 0 { 2 } else { size };
    let start = token.parse().unwrap_or(0);
    let items: Vec<T> = all.iter().skip(start).take(size).cloned().collect();
    let next = start + items.len();
    let token = if next < all.len() {
        next.to_string()
    } else {
        String::new()
    };
    (items, token)
}

/// A stream of items that may end with an error.
fn list<T: Clone>(
    items: &[T],
    broken: Option<&Status>,
) -> impl Stream<Item = Result<T, Status>> + use<T> {
    let items: Vec<Result<T, Status>> = items
        .iter()
        .cloned()
        .map(Ok)
        .chain(broken.cloned().map(Err))
        .collect();
    tokio_stream::iter(items)
}
