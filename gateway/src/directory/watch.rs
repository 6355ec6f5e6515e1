//! The stream of changes by which the directory keeps its answers true.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
    time::Duration,
};

use futures::future::join;
use hamlet_proto::hamlet::instance::v1::{WatchHostsRequest, WatchHostsResponse};
use service_kit::telemetry;
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};

use super::Core;

/// How long the beginning of a stream may take.
const BEGIN_WITHIN: Duration = Duration::from_secs(2);
/// Heartbeats come several times a second. A stream without any is given up: another replica may do better.
const SILENCE: Duration = Duration::from_secs(3);
/// The first and the longest pause after a stream that failed.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// The pause after an instance service that is too old for streams.
const OLD_PAUSE: Duration = Duration::from_secs(10);
/// How often the state of the directory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Why a stream has ended.
enum End {
    /// Nobody asks for hosts.
    Idle,
    /// It failed, or the service ended it.
    Broken(Option<Status>),
}

/// Watches while hosts are asked for, without end.
pub(super) async fn keep(core: Arc<Core>) {
    join(watch(&core), observe(&core)).await;
}

async fn watch(core: &Core) {
    let mut token = String::new();
    let mut pause = FIRST_PAUSE;
    loop {
        core.until_called().await;
        match follow(core, &mut token, &mut pause).await {
            End::Idle => {}
            End::Broken(Some(status)) if status.code() == Code::Unimplemented => {
                tracing::debug!("the instance service is too old to tell of changes");
                sleep(jittered(OLD_PAUSE)).await;
            }
            End::Broken(status) => {
                tracing::debug!(?status, "the stream of changes has ended");
                sleep(jittered(pause)).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Follows one stream to its end.
async fn follow(core: &Core, token: &mut String, pause: &mut Duration) -> End {
    let request = WatchHostsRequest {
        resume_token: token.clone(),
    };
    let mut client = core.client.clone();
    let mut stream = match timeout(BEGIN_WITHIN, client.watch_hosts(request)).await {
        Ok(Ok(response)) => response.into_inner(),
        Ok(Err(status)) => return End::Broken(Some(status)),
        Err(_late) => return End::Broken(None),
    };
    loop {
        match timeout(SILENCE, stream.message()).await {
            Ok(Ok(Some(message))) => {
                *pause = FIRST_PAUSE;
                take(core, message, token);
            }
            Ok(Ok(None)) | Err(_) => return End::Broken(None),
            Ok(Err(status)) => return End::Broken(Some(status)),
        }
        if core.is_idle() {
            return End::Idle;
        }
    }
}

fn take(core: &Core, message: WatchHostsResponse, token: &mut String) {
    let freshness = &core.freshness;
    if message.reset {
        freshness.reset();
    }
    if !message.canonical_host.is_empty() {
        freshness.host_changed(&message.canonical_host);
    }
    if !message.instance_id.is_empty() {
        freshness.instance_changed(&message.instance_id);
    }
    if message.heartbeat.is_some() {
        freshness.heartbeat();
    }
    if !message.resume_token.is_empty() {
        *token = message.resume_token;
    }
}

/// Tells operators when answers are no longer kept true, and when they are again.
async fn observe(core: &Core) {
    let mut was_degraded = false;
    // Whoever watches the metric finds it before the first call.
    telemetry::directory_fresh(!was_degraded);
    loop {
        core.until_called().await;
        sleep(LOOK_EVERY).await;
        let is_degraded = core.is_degraded();
        telemetry::directory_fresh(!is_degraded);
        if is_degraded != was_degraded {
            was_degraded = is_degraded;
            if is_degraded {
                tracing::warn!(
                    "the instance service does not tell of changes; hosts are asked for again and again"
                );
            } else {
                tracing::info!("the instance service tells of changes");
            }
        }
    }
}

/// Between half of `pause` and all of it: gateways do not come back together.
fn jittered(pause: Duration) -> Duration {
    // A new state of the standard library's hashes is random.
    let random = RandomState::new().hash_one(0_u8) % 512;
    pause - pause * u32::try_from(random).unwrap_or(0) / 1024
}
