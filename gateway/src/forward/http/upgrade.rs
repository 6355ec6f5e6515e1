//! Connections that become tunnels, as for WebSocket.

use std::sync::Arc;

use http::{
    HeaderMap, HeaderValue, Version,
    header::{CONNECTION, UPGRADE},
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use super::hops::listed;
use crate::accept::Connection;

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
        let ours = head.extensions.remove::<OnUpgrade>()?;
        Some(Self { protocol, ours })
    }

    pub(super) fn ask(&self, headers: &mut HeaderMap) {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, self.protocol.clone());
    }
}

/// Carries bytes in both directions until both have ended.
pub(super) async fn tunnel(ours: OnUpgrade, theirs: OnUpgrade, connection: Arc<Connection>) {
    let _busy = connection.begin();
    let carrying = async {
        let (ours, theirs) = futures::future::try_join(ours, theirs).await?;
        let (mut ours, mut theirs) = (TokioIo::new(ours), TokioIo::new(theirs));
        if let Err(error) = tokio::io::copy_bidirectional(&mut ours, &mut theirs).await {
            tracing::debug!(%error, "a tunnel broke off");
        }
        Ok::<_, hyper::Error>(())
    };
    tokio::select! {
        carried = carrying => if let Err(error) = carried {
            tracing::debug!(%error, "a connection was not upgraded");
        },
        () = connection.over() => {}
    }
}
