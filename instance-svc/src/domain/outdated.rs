//! What makes answers about hosts outdated.

use std::sync::Arc;

/// Answers about hosts that are outdated.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outdated {
    /// Those about this host, and those that this host takes precedence over: about hosts of its apps.
    Host(Arc<str>),
    /// Those that lead to the instance with this id.
    Instance(Arc<str>),
}

impl Outdated {
    pub(crate) fn host(host: &str) -> Self {
        Self::Host(host.into())
    }

    pub(crate) fn instance(id: &str) -> Self {
        Self::Instance(id.into())
    }
}
