//! The shared state of the server.

use std::sync::atomic::AtomicU64;

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{auth::Auth, config::Settings, receiving::Room, view_update::Updating};
use crate::{faults::Faults, javascript::Javascript, storage::Store};

/// The state that all requests share.
pub(crate) struct App {
    pub(crate) store: Store,
    pub(crate) auth: Auth,
    pub(crate) settings: Settings,
    pub(crate) javascript: Javascript,
    /// The views that are being updated.
    pub(crate) updating: Updating,
    pub(crate) room: Room,
    pub(crate) uuid: String,
    pub(crate) faults: Option<Faults>,
    pub(crate) requests: AtomicU64,
    pub(crate) stop: CancellationToken,
    /// The tasks that stream responses.
    pub(crate) tasks: TaskTracker,
}
