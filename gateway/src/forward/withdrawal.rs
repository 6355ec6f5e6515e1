//! Ends calls that are at work when the state of their instance does not let them pass any more: also bodies that stream,
//! event streams and tunnels.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use tokio::time::{Instant, sleep};

use super::{
    Limits,
    active::{End, Exchange},
    backend::Backends,
};
use crate::{
    directory::{Directory, HostEntry, Resolution},
    gate::Passage,
};

/// How often changes are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often all calls are looked at while changes are not told. An answer of the directory lives for half a second then.
const LOOK_UNTOLD_EVERY: Duration = Duration::from_millis(250);

/// How long calls are looked at after a change, as often as while changes are not told: one that passed just before it may
/// have begun just after the first look.
const LOOK_ON_FOR: Duration = Duration::from_secs(1);

/// How often they are looked at in any case, so that changes are watched while calls last that nobody adds to.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(20);

/// How many hosts are asked for at once.
const AT_ONCE: usize = 32;

/// What ends calls.
pub(crate) struct Withdrawal {
    pub(crate) directory: Arc<Directory>,
    pub(crate) backends: Arc<Backends>,
}

impl Withdrawal {
    /// Looks after the calls of a door, without end.
    pub(crate) async fn watch(&self, limits: &Limits) {
        let mut seen = None;
        let mut looked = Instant::now();
        let mut changed = Instant::now();
        loop {
            sleep(LOOK_EVERY).await;
            let changes = self.directory.changes();
            let longest = match changes {
                Some(_) if changes != seen => {
                    changed = Instant::now();
                    Duration::ZERO
                }
                Some(_) if changed.elapsed() > LOOK_ON_FOR => LOOK_AT_LEAST_EVERY,
                Some(_) | None => LOOK_UNTOLD_EVERY,
            };
            if looked.elapsed() < longest {
                continue;
            }
            // Read before the look: what changes during it is looked at again.
            seen = changes;
            looked = Instant::now();
            self.look(limits).await;
        }
    }

    async fn look(&self, limits: &Limits) {
        let mut by_instance: HashMap<&str, Vec<&Arc<Exchange>>> = HashMap::new();
        let backends = self.backends.active();
        let calls: Vec<_> = limits
            .active()
            .chain(&backends)
            .flat_map(|active| active.of_instances())
            .collect();
        for call in &calls {
            if let Some(entry) = &call.whose().instance {
                let calls = by_instance.entry(entry.tenant.id.as_str());
                calls.or_default().push(call);
            }
        }
        stream::iter(by_instance.into_values())
            .for_each_concurrent(AT_ONCE, |calls| self.look_at(calls))
            .await;
    }

    /// Ends those of an instance's calls that do not pass now.
    async fn look_at(&self, calls: Vec<&Arc<Exchange>>) {
        let entry = calls
            .first()
            .and_then(|call| call.whose().instance.as_ref());
        let Some(entry) = entry else { return };
        let Some(host) = entry.tenant.host() else {
            return;
        };
        let now = self.directory.look(&host).await;
        for call in calls {
            if !passes(call.whose().passage, entry, &now) {
                call.end(Some(End::Withdrawn));
            }
        }
    }
}

/// Whether a call for an instance still passes, given what its host resolves to now.
pub(super) fn passes(passage: Passage, then: &HostEntry, now: &Resolution) -> bool {
    match now {
        Resolution::Found(now) if now.tenant.id == then.tenant.id => passage.closed(now).is_none(),
        // It is gone, and another one may have its name.
        Resolution::Found(_) | Resolution::Unknown => false,
        // It has another name now, or nobody knows: what goes on was right before.
        Resolution::Moved(_) | Resolution::OutOfReach => true,
    }
}
