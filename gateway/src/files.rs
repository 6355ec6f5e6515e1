//! How many connections the process has room for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Config;

/// Files that are kept aside: for connections to services, for logs, and for what else runs in the process.
const KEPT_ASIDE: u64 = 256;

/// How many connections each door may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Connections {
    pub(crate) public: usize,
    pub(crate) admin: usize,
}

/// Raises the process's limit of open files as far as it may, and fits the number of connections to it.
pub(crate) fn connections(config: &Config) -> Connections {
    let limit = raise();
    let fitted = fit(config.limits.connections, limit);
    if fitted.public < config.limits.connections {
        tracing::warn!(
            public = fitted.public,
            admin = fitted.admin,
            files = limit,
            "the process may open few files, so the public door has fewer connections than --connections says"
        );
    }
    fitted
}

/// The limit of open files, after it was raised to the hard one. `None` when there is none.
fn raise() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files cannot be raised");
            limit.current
        }
    }
}

/// The admin door keeps a quarter for itself: a flood at the public one cannot lock administrators out.
fn fit(wanted: usize, limit: Option<u64>) -> Connections {
    let room = limit.map_or(u64::MAX, |limit| limit.saturating_sub(KEPT_ASIDE).max(8));
    let part = |part: u64| usize::try_from(part).unwrap_or(usize::MAX).min(wanted);
    Connections {
        public: part(room - room / 4),
        admin: part(room / 4),
    }
}

#[cfg(test)]
mod tests {
    use super::{Connections, fit};

    #[test]
    fn the_doors_share_what_the_process_may_open() {
        let (public, admin) = (4096, 4096);
        assert_eq!(fit(4096, None), Connections { public, admin });
        assert_eq!(fit(4096, Some(1 << 20)), Connections { public, admin });
        let (public, admin) = (576, 192);
        assert_eq!(fit(4096, Some(1024)), Connections { public, admin });
        let (public, admin) = (6, 2);
        assert_eq!(fit(4096, Some(10)), Connections { public, admin });
    }
}
