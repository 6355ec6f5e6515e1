//! Connections that become tunnels, as for WebSocket.

use std::sync::Arc;

use http::{
    HeaderMap, HeaderValue, Version,
    header::{CONNECTION, UPGRADE},
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use service_kit::telemetry::InUse;
use tokio::io::copy_bidirectional_with_sizes;

use super::hops::listed;
use crate::{
    accept::Connection,
    forward::{active::Running, turns::Turn},
};

/// A wish for another protocol, such as WebSocket.
pub(super) struct Upgrade {
    protocol: HeaderValue,
    pub(super) ours: OnUpgrade,
}

impl Upgrade {
    /// HTTP/2 has no such wish.
    pub(super) fn asked(head: &mut http::request::Parts) -> Option<Self> {
        let is_asked = head.version == Version::HTTP_11
            && listed(&head.headers, &CONNECTION)
                .any(|option| option.eq_ignore_ascii_case("upgrade"));
        let protocol = head.headers.get(UPGRADE).filter(|_| is_asked)?.clone();
        if listed(&head.headers, &UPGRADE).any(is_of_requests) {
            return None;
        }
        let ours = head.extensions.remove::<OnUpgrade>()?;
        Some(Self { protocol, ours })
    }

    pub(super) fn ask(&self, headers: &mut HeaderMap) {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, self.protocol.clone());
    }
}

/// Whether a protocol carries further requests. They would pass through the tunnel unseen: for other hosts, for other
/// instances, with headers of their own. A server may ignore a wish, so the request goes on without it.
fn is_of_requests(protocol: &str) -> bool {
    let name = protocol.split('/').next().unwrap_or_default().trim();
    ["h2c", "h2", "http", "tls"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}

/// How much is carried at once in each direction, in bytes. A tunnel that is quiet holds as much.
const CARRIED: usize = 4 * 1024;

/// What a tunnel holds while it lasts.
pub(super) struct Held {
    /// Its call, which can be ended from outside.
    pub(super) running: Running,
    /// Its turn among what lasts.
    pub(super) lasting: Option<Turn>,
    /// What counts it, at its door and at a backend.
    pub(super) counted: (InUse, Option<InUse>),
}

/// Carries bytes in both directions until both have ended.
pub(super) async fn tunnel(
    ours: OnUpgrade,
    theirs: OnUpgrade,
    connection: Arc<Connection>,
    held: Held,
) {
    let _busy = connection.begin();
    let carrying = async {
        let (ours, theirs) = futures::future::try_join(ours, theirs).await?;
        let (mut ours, mut theirs) = (TokioIo::new(ours), TokioIo::new(theirs));
        let carried = copy_bidirectional_with_sizes(&mut ours, &mut theirs, CARRIED, CARRIED);
        if let Err(error) = carried.await {
            tracing::debug!(%error, "a tunnel broke off");
        }
        Ok::<_, hyper::Error>(())
    };
    tokio::select! {
        carried = carrying => if let Err(error) = carried {
            tracing::debug!(%error, "a connection was not upgraded");
        },
        () = connection.over() => {}
        () = held.running.exchange().over() => {}
    }
    drop((held.lasting, held.counted));
}
