//! What can be done with apps, one verb a file.

pub(crate) mod install;
pub(crate) mod list;
pub(crate) mod sweep;
pub(crate) mod uninstall;

use std::sync::Arc;

use couch::Couch;
use tokio::sync::{Mutex, Semaphore};

use crate::{contents::Contents, sources::Sources};

/// Installations at work at once: each may hold a whole unpacked app in memory.
const AT_ONCE: usize = 4;
/// Locks that installations of one slug wait for; different slugs may share one.
const LOCKS: usize = 64;

/// What the actions work with. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) couch: Couch,
    pub(crate) contents: Contents,
    pub(crate) sources: Sources,
    at_once: Arc<Semaphore>,
    locks: Arc<Vec<Mutex<()>>>,
}

impl Shared {
    pub(crate) fn new(couch: Couch, contents: Contents, sources: Sources) -> Self {
        Self {
            couch,
            contents,
            sources,
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
            locks: Arc::new((0..LOCKS).map(|_| Mutex::default()).collect()),
        }
    }
}
