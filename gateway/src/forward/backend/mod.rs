//! The servers that serve the instances of contexts in Hamlet's stead.
//!
//! A backend has one or more servers ([`server`]), each at one address, with connections of its own and a circuit
//! ([`circuit`]). Requests take turns among those that are not away. All threads of the door share them.

mod circuit;
mod server;

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    thread::ThreadId,
    time::Duration,
};

use http::{Request, Response};
use hyper::{body::Incoming, client::conn::http1::SendRequest};
use service_kit::telemetry::{self, InUse};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

pub(in crate::forward) use self::server::Server;
use super::{
    active::Active,
    http::{SendError, Upload},
    turns::{TurnLimits, Turns},
};
use crate::{Config, directory::BackendRoute, seldom::Seldom};

/// The backends that entries of the directory name.
pub(crate) struct Backends {
    config: Limits,
    known: Mutex<Known>,
}

struct Limits {
    turns: TurnLimits,
    lasting: TurnLimits,
    places: usize,
}

#[derive(Default)]
struct Known {
    backends: Vec<(Arc<BackendRoute>, Arc<Backend>)>,
    servers: Vec<Weak<Server>>,
}

/// The backend of some contexts.
pub(in crate::forward) struct Backend {
    servers: Box<[Arc<Server>]>,
    turn: AtomicUsize,
    pub(in crate::forward) turns: Arc<Turns>,
    /// For what lasts: tunnels and event streams.
    pub(in crate::forward) lasting: Arc<Turns>,
    pub(in crate::forward) active: Arc<Active>,
    pub(in crate::forward) out_of_reach: Seldom,
    patience: Duration,
}

/// A connection to a server while its request is at work.
pub(in crate::forward) struct Lease {
    sender: SendRequest<Upload>,
    server: Arc<Server>,
    /// The thread on which the connection is driven.
    thread: ThreadId,
    place: OwnedSemaphorePermit,
}

impl Lease {
    /// Counts the connection as a tunnel.
    pub(in crate::forward) fn becomes_tunnel(&self) -> InUse {
        telemetry::backend_tunnel(&self.server.address().to_string())
    }

    /// Keeps the connection for another request, once it is ready for one.
    pub(in crate::forward) fn end(mut self) {
        if self.sender.is_ready() {
            self.server.keep(self.sender, self.thread);
            return;
        }
        tokio::spawn(async move {
            if self.sender.ready().await.is_ok() {
                self.server.keep(self.sender, self.thread);
            }
            drop(self.place);
        });
    }
}

impl Backends {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            config: Limits {
                turns: TurnLimits::of_public(config),
                lasting: TurnLimits::of_lasting(config),
                places: config.limits.backend_connections,
            },
            known: Mutex::default(),
        }
    }

    /// Whether a server of a backend is away.
    pub(crate) fn is_degraded(&self) -> bool {
        let servers = self.known().servers.clone();
        let mut servers = servers.iter().filter_map(Weak::upgrade);
        servers.any(|server| server.is_away())
    }

    /// The calls at work, for each backend.
    pub(super) fn active(&self) -> Vec<Arc<Active>> {
        let known = self.known();
        let active = known.backends.iter();
        active
            .map(|(_, backend)| Arc::clone(&backend.active))
            .collect()
    }

    /// The backend of a route.
    pub(super) fn of(&self, route: &Arc<BackendRoute>) -> Arc<Backend> {
        let mut known = self.known();
        let found = known.backends.iter();
        let mut found = found.filter(|(it, _)| Arc::ptr_eq(it, route) || it == route);
        if let Some((_, backend)) = found.next() {
            return Arc::clone(backend);
        }
        // Backends of an earlier configuration make room.
        known
            .backends
            .retain(|(it, backend)| Arc::strong_count(it) > 1 || Arc::strong_count(backend) > 1);
        known.servers.retain(|server| server.strong_count() > 0);
        let servers = route.addresses.iter().map(|address| {
            let there = known.servers.iter().filter_map(Weak::upgrade);
            let mut there = there.filter(|server| server.address() == address);
            there
                .next()
                .unwrap_or_else(|| Server::start(address.clone(), self.config.places))
        });
        let servers: Box<[_]> = servers.collect();
        known.servers.extend(servers.iter().map(Arc::downgrade));
        let backend = Arc::new(Backend {
            servers,
            turn: AtomicUsize::new(0),
            turns: Arc::new(Turns::new(self.config.turns)),
            lasting: Arc::new(Turns::new(self.config.lasting)),
            active: Arc::new(Active::new()),
            out_of_reach: Seldom::default(),
            patience: self.config.turns.patience,
        });
        known
            .backends
            .push((Arc::clone(route), Arc::clone(&backend)));
        backend
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend {
    /// Sends a request to a server that is not away. It is sent again only if it never left.
    pub(super) async fn send(
        &self,
        mut request: Request<Upload>,
    ) -> Result<(Response<Incoming>, Lease), SendError> {
        let mut failure = SendError::Connect(io::Error::new(
            io::ErrorKind::NotConnected,
            "all its servers are away",
        ));
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        for number in 0..self.servers.len() {
            let at = first.wrapping_add(number) % self.servers.len();
            let Some(server) = self.servers.get(at).filter(|server| !server.is_away()) else {
                continue;
            };
            let place = self.place(&server.places).await?;
            // A connection that was kept may have been closed meanwhile. A new one is tried once.
            loop {
                let ((mut sender, thread), is_new) = match server.take() {
                    Some(kept) => (kept, false),
                    None => match server.connect().await {
                        Ok(sender) => ((sender, std::thread::current().id()), true),
                        Err(error) => {
                            failure = SendError::Connect(error);
                            break;
                        }
                    },
                };
                match sender.try_send_request(request).await {
                    Ok(response) => {
                        server.worked();
                        let lease = Lease {
                            sender,
                            server: Arc::clone(server),
                            thread,
                            place,
                        };
                        return Ok((response, lease));
                    }
                    Err(mut error) => match error.take_message() {
                        Some(unsent) => {
                            request = unsent;
                            failure = SendError::Broken(error.into_error());
                            if is_new {
                                break;
                            }
                        }
                        None => return Err(SendError::Broken(error.into_error())),
                    },
                }
            }
        }
        Err(failure)
    }

    async fn place(&self, places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, SendError> {
        if let Ok(place) = Arc::clone(places).try_acquire_owned() {
            return Ok(place);
        }
        match timeout(self.patience, Arc::clone(places).acquire_owned()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(SendError::Busy),
        }
    }
}
