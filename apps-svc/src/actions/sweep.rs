//! Removing contents that no app has any more.

use std::time::Duration;

use crate::contents::Contents;

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(3600);

/// Sweeps now and then, for ever. May be dropped anywhere.
pub(crate) async fn run(contents: Contents) {
    loop {
        tokio::time::sleep(EVERY).await;
        match contents.sweep().await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "swept contents that no app has"),
            Err(error) => tracing::warn!(%error, "contents could not be swept"),
        }
    }
}
