//! The certificates of a door, by the names of hosts.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::pair::Pair;

/// The name of the pair that is shown where no other fits.
const DEFAULT: &str = "default";

/// All certificates at one moment.
#[derive(Debug, Default)]
pub(super) struct Set {
    by_host: HashMap<String, Arc<Pair>>,
    /// For clients that name a host of no pair.
    default: Option<Arc<Pair>>,
    /// For clients that name no host.
    nameless: Option<Arc<Pair>>,
}

impl Set {
    /// `pairs` are in the order of their files. Where two are for one host, the one that is valid for longer is shown:
    /// the other is left from before a renewal.
    pub(super) fn new<'a>(pairs: impl Iterator<Item = &'a Arc<Pair>>) -> Self {
        let mut set = Self::default();
        for pair in pairs {
            if pair.name == DEFAULT {
                set.default = Some(Arc::clone(pair));
            }
            set.nameless.get_or_insert_with(|| Arc::clone(pair));
            for host in &pair.hosts {
                let shown = set
                    .by_host
                    .entry(host.clone())
                    .or_insert_with(|| Arc::clone(pair));
                if shown.expires < pair.expires {
                    *shown = Arc::clone(pair);
                }
            }
        }
        if let Some(default) = &set.default {
            set.nameless = Some(Arc::clone(default));
        }
        set
    }

    /// The certificate for a host. The exact name comes before a wildcard, whose `*` stands for one label
    /// (RFC 9525, section 6.3).
    pub(super) fn find(&self, host: Option<&str>) -> Option<&Arc<Pair>> {
        let Some(host) = host else {
            return self.nameless.as_ref();
        };
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let wildcard = || {
            let (_, parent) = host.split_once('.')?;
            self.by_host.get(&format!("*.{parent}"))
        };
        self.by_host
            .get(&host)
            .or_else(wildcard)
            .or(self.default.as_ref())
    }
}

/// Chooses from the present set.
#[derive(Debug, Default)]
pub(super) struct Resolver(RwLock<Arc<Set>>);

impl Resolver {
    pub(super) fn set(&self) -> Arc<Set> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn replace(&self, set: Set) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(set);
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let set = self.set();
        let pair = set.find(hello.server_name())?;
        Some(Arc::clone(&pair.key))
    }
}
