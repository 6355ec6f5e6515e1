//! The looks at operations that have ended: a node of the database that was away, or that hung, can bring something back.

use std::time::Duration;

use crate::{clock::Clock, domain::operation::Envelope, store::Store};

/// How soon an ended operation looks again whether all nodes of the database are back. The pause grows to an eighth
/// of the time since its end, because a node may be away for days and each look is a write.
const NODES_EVERY: Duration = Duration::from_secs(30);

/// How long to wait before the next look, because a node is still away; `None` when all are connected.
///
/// # Errors
/// When a server does not answer.
pub(super) async fn pause(
    store: &Store,
    clock: &Clock,
    envelope: &Envelope,
) -> Result<Option<Duration>, couch::Error> {
    if store.is_whole(envelope.location()).await? {
        return Ok(None);
    }
    let since = envelope
        .ended_at
        .map_or(Duration::ZERO, |ended| clock.since(ended));
    Ok(Some(NODES_EVERY.max(since / 8)))
}
