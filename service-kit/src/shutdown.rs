//! Stopping when asked to.

use std::{io, time::Duration};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How long a server may take to finish what it is doing once it was asked to stop.
pub const GRACE: Duration = Duration::from_secs(3);

/// A token that is cancelled by Ctrl-C and SIGTERM.
///
/// # Errors
/// When the signals cannot be listened to.
pub fn on_signal() -> io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let asked = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("asked to stop");
        asked.cancel();
    });
    Ok(token)
}
