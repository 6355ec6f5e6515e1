//! What the HTTP/2 connections of callers and those to services have in common.

use std::time::Duration;

/// How many bytes of one call may be received and not yet read, on each of the two connections. Fixed: an
/// adaptive window begins small and sends PINGs that strict peers answer with GOAWAY.
pub(crate) const STREAM_WINDOW: u32 = 128 * 1024;
/// How often the other side is asked for a sign of life. With the timeout, this is how long a cut link goes
/// unnoticed.
pub(crate) const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How long that answer may take.
pub(crate) const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
