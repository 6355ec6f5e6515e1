//! What can be done with apps: one action per file.

mod adopt_code;
pub(crate) mod authorize;
mod belongings;
pub(crate) mod check;
mod fetch;
pub(crate) mod install;
pub(crate) mod list;
pub(crate) mod open;
pub(crate) mod page;
pub(crate) mod sweep;
pub(crate) mod uninstall;
pub(crate) mod update;

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use couch::Clusters;
use tokio::sync::{Mutex, MutexGuard, Semaphore};

use hamlet_proto::hamlet::instance::v1::{Tenant, identity_service_client::IdentityServiceClient};
use quick_cache::sync::Cache;
use service_kit::peer::Peer;

use crate::{code::Code, contents::Contents, error::Error, sources::Sources, store::Store};

/// Maximum number of concurrent installations. Each may hold a whole unpacked app in memory.
const AT_ONCE: usize = 4;
/// Number of locks that serialize changes of one slug. Different slugs may share a lock.
const LOCKS: usize = 64;

/// The dependencies of the actions. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    couch: Clusters,
    pub(crate) contents: Contents,
    pub(crate) code: Code,
    pub(crate) sources: Sources,
    /// Who calls, and what the pages of apps hold for them.
    identity: IdentityServiceClient<Peer>,
    open_apps: Arc<open::OpenApps>,
    templates: Arc<page::Templates>,
    /// Apps whose code on the file store cannot be used.
    unusable: Arc<Cache<String, ()>>,
    at_once: Arc<Semaphore>,
    locks: Arc<Vec<Mutex<()>>>,
}

impl Shared {
    pub(crate) fn new(
        couch: Clusters,
        contents: Contents,
        code: Code,
        sources: Sources,
        instances: Peer,
    ) -> Self {
        Self {
            identity: IdentityServiceClient::new(instances),
            open_apps: Arc::new(open::open_apps()),
            templates: Arc::new(page::templates()),
            unusable: Arc::new(Cache::new(adopt_code::REMEMBERED)),
            couch,
            contents,
            code,
            sources,
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
            locks: Arc::new((0..LOCKS).map(|_| Mutex::default()).collect()),
        }
    }

    /// The documents of an instance, on the CouchDB cluster of that instance.
    ///
    /// # Errors
    /// When the configuration does not list that cluster.
    pub(crate) fn store(&self, tenant: &Tenant) -> Result<Store, Error> {
        let couch = self.couch.at(i64::from(tenant.couch_cluster))?;
        Ok(Store::new(couch.clone(), tenant))
    }

    /// Waits until no other task of this process changes the app of this slug. Other replicas may.
    async fn alone(&self, prefix: &str, slug: &str) -> Option<MutexGuard<'_, ()>> {
        let mut hasher = DefaultHasher::new();
        (prefix, slug).hash(&mut hasher);
        let place = usize::try_from(hasher.finish() % LOCKS as u64).unwrap_or_default();
        match self.locks.get(place) {
            Some(lock) => Some(lock.lock().await),
            None => None,
        }
    }
}
