//! Tells in the health of the service whether its database answers.
//!
//! The service goes on without it: it says itself, to each caller, what it cannot do. But monitors that look for the
//! health of an installation want to see it.

use std::time::Duration;

use couch::Couch;
use service_kit::server::Told;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(2);
/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Looks until `shutdown`.
pub(crate) async fn follow(couch: Couch, told: Told, shutdown: CancellationToken) {
    tokio::select! {
        () = look(&couch, &told) => {}
        () = shutdown.cancelled() => {}
    }
}

async fn look(couch: &Couch, told: &Told) {
    let mut answered = None;
    loop {
        let answers = match timeout(ANSWER_WITHIN, couch.up()).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                if answered != Some(false) {
                    tracing::warn!(%error, "the database does not answer");
                }
                false
            }
            Err(_late) => {
                if answered != Some(false) {
                    tracing::warn!("the database does not answer within {ANSWER_WITHIN:?}");
                }
                false
            }
        };
        if answered == Some(false) && answers {
            tracing::info!("the database answers again");
        }
        if answered != Some(answers) {
            told.tell(answers).await;
        }
        answered = Some(answers);
        sleep(EVERY).await;
    }
}
