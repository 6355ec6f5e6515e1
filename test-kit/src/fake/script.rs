//! What an installation answers at its admin door, as far as the command line calls it.

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
        instance::v1::{Instance, Orphan, RegisterLink},
    },
};
use tokio_stream::Stream;
use tonic::{Request, Status};

use super::{Asked, Fake};

/// How a stream of states ends.
#[derive(Debug)]
pub enum WatchEnd {
    /// It just stops.
    Stop,
    /// It says no more, and stays open.
    Hang,
    /// It fails.
    Fail(Status),
}

/// The states of an operation that one watch tells, and how it ends.
pub type Watch = (Vec<Operation>, WatchEnd);

/// What is answered. Failures and watches are used up from the front; everything else stands for stored things.
#[derive(Debug, Default)]
pub struct Script {
    /// Refuses any call with this.
    pub refuse: Option<Status>,
    /// The first creations fail with these.
    pub failing_creations: VecDeque<Status>,
    /// Answers changes.
    pub accepted: Operation,
    /// Answers changes that are only checked; as others when absent.
    pub checked: Option<Operation>,
    /// The streams of states, one a watch.
    pub watches: VecDeque<Watch>,
    /// The instances, listed in pages of two.
    pub instances: Vec<Instance>,
    /// After so many pages of instances, the next is never answered.
    pub pages: Option<usize>,
    /// The operations.
    pub operations: Vec<Operation>,
    /// The files of any directory.
    pub files: Vec<File>,
    /// The tree.
    pub tree: Vec<TreeEntry>,
    /// The apps of any instance.
    pub apps: Vec<App>,
    /// The register link of any instance.
    pub link: RegisterLink,
    /// What belongs to nobody.
    pub orphans: Vec<Orphan>,
    /// What is wrong with any tree.
    pub findings: Vec<Finding>,
    /// Breaks off the lists of orphans and findings at their end.
    pub broken: Option<Status>,
}

impl Fake {
    /// Answers as `script` says.
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

/// A fake and the script of its answers.
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
    /// The answer to a change.
    fn change(&self, only_check: bool) -> Operation {
        match &self.checked {
            Some(checked) if only_check => checked.clone(),
            _ => self.accepted.clone(),
        }
    }
}

/// The page that a token names, and the token of the next. As real servers do, it never holds more than was asked
/// for (0: anything), and sometimes less: two at most.
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

/// A stream of items that may fail at its end.
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
