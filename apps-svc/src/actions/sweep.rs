//! Garbage collection of contents to which no app refers.

use std::time::Duration;

use crate::contents::Contents;

/// The interval between two runs.
const EVERY: Duration = Duration::from_secs(3600);

/// Sweeps periodically, without end. Dropping the future at any point is safe.
pub(crate) async fn run(contents: Contents) {
    loop {
        tokio::time::sleep(EVERY).await;
        match contents.sweep().await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "unreferenced contents removed"),
            Err(error) => tracing::warn!(%error, "unreferenced contents could not be removed"),
        }
    }
}
