//! A fake instance service for gateways: `DirectoryService` and `IdentityService` with what a test sets.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::StreamExt as _;
use hamlet_proto::hamlet::instance::v1::{
    AuthenticateRequest, Identity, ResolveHostRequest, ResolveHostResponse, Tenant,
    WatchHostsRequest, WatchHostsResponse, resolve_host_response::HostState,
    watch_hosts_response::Heartbeat,
};
use service_kit::caller::Caller;
use tokio::sync::broadcast;
use tokio_stream::{
    Stream,
    wrappers::{BroadcastStream, IntervalStream},
};
use tonic::{Request, Status};

use super::Fake;

/// The fake instance service. Dropping this value stops it.
#[derive(Debug)]
pub struct Directory {
    fake: Fake,
    known: Known,
}

#[derive(Clone, Debug, Default)]
struct Known(Arc<Mutex<Hosts>>);

#[derive(Debug, Default)]
struct Hosts {
    answers: HashMap<String, ResolveHostResponse>,
    delay: Duration,
    failure: Option<Status>,
    asked_now: usize,
    peak: usize,
    /// Who has which session cookie or token.
    identities: HashMap<String, Identity>,
}

/// The answer for an active instance with a passphrase.
#[must_use]
pub fn active_instance(domain: &str) -> ResolveHostResponse {
    ResolveHostResponse {
        tenant: Some(Tenant {
            id: format!("id of {domain}"),
            domain: domain.to_owned(),
            prefix: "cozy0123".to_owned(),
            locale: "fr".to_owned(),
            ..Tenant::default()
        }),
        state: HostState::Active.into(),
        canonical_host: domain.to_owned(),
        ..ResolveHostResponse::default()
    }
}

impl Directory {
    /// Starts a service that knows no host.
    ///
    /// # Panics
    /// When no port is free.
    #[must_use]
    pub fn start() -> Self {
        let fake = Fake::service();
        let known = Known::default();
        let hosts = known.clone();
        fake.answer_later(move |request| hosts.clone().resolve(request));
        let hosts = known.clone();
        fake.answer(move |request| hosts.authenticate(&request));
        Self { fake, known }
    }

    /// The address on which it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.fake.address()
    }

    /// Sets the answer for a host.
    pub fn set(&self, host: &str, answer: ResolveHostResponse) {
        self.known.lock().answers.insert(host.to_owned(), answer);
    }

    /// Sets the health of a service by its name.
    pub fn report_health(&self, service: &str, serves: bool) {
        self.fake.report_health(service, serves);
    }

    /// Marks the instance of a host as blocked.
    pub fn block(&self, host: &str, reason: &str) {
        let mut answer = active_instance(host);
        answer.set_state(HostState::Blocked);
        answer.blocking_reason = reason.to_owned();
        self.set(host, answer);
    }

    /// Marks the instance of a host as being destroyed.
    pub fn delete(&self, host: &str) {
        let mut answer = active_instance(host);
        answer.set_state(HostState::Deleting);
        self.set(host, answer);
    }

    /// Delays each answer about a host, after it was made.
    pub fn answer_after(&self, delay: Duration) {
        self.known.lock().delay = delay;
    }

    /// Refuses to resolve hosts with this status; `None` resolves them again.
    pub fn fail(&self, failure: Option<Status>) {
        self.known.lock().failure = failure;
    }

    /// The largest number of hosts that were being resolved at once, since the last call of this function.
    #[must_use]
    pub fn peak(&self) -> usize {
        let mut hosts = self.known.lock();
        let asked_now = hosts.asked_now;
        std::mem::replace(&mut hosts.peak, asked_now)
    }

    /// From now on tells watchers of changes. Without it, the service is too old to do so.
    #[must_use]
    pub fn tell_changes(&self) -> Changes {
        let changes = Changes {
            messages: broadcast::channel(1024).0,
            is_silent: Arc::default(),
        };
        let told = changes.clone();
        self.fake.stream(move |request| told.watch(&request));
        changes
    }

    /// The resume tokens with which streams began.
    #[must_use]
    pub fn resumed(&self) -> Vec<String> {
        let asked = self.fake.asked::<WatchHostsRequest>();
        asked.into_iter().map(|asked| asked.resume_token).collect()
    }

    /// The number of calls that resolved a host.
    #[must_use]
    pub fn questions(&self) -> usize {
        self.fake.called("ResolveHost")
    }

    /// From now on, a session cookie or a token with this value proves who calls; `None` for nobody.
    pub fn identify(&self, proof: &str, identity: Option<Identity>) {
        let identities = &mut self.known.lock().identities;
        match identity {
            Some(identity) => identities.insert(proof.to_owned(), identity),
            None => identities.remove(proof),
        };
    }

    /// The number of calls that asked who calls.
    #[must_use]
    pub fn identity_questions(&self) -> usize {
        self.fake.called("Authenticate")
    }
}

impl Known {
    fn lock(&self) -> MutexGuard<'_, Hosts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn resolve(
        self,
        request: Request<ResolveHostRequest>,
    ) -> Result<ResolveHostResponse, Status> {
        Caller::of(&request)?.require_internal()?;
        let (delay, answer) = {
            let mut hosts = self.lock();
            hosts.asked_now += 1;
            hosts.peak = hosts.peak.max(hosts.asked_now);
            let found = hosts.answers.get(&request.get_ref().host).cloned();
            let found = found.ok_or_else(|| Status::not_found("no such host"));
            let answer = hosts.failure.clone().map_or(found, Err);
            (hosts.delay, answer)
        };
        tokio::time::sleep(delay).await;
        self.lock().asked_now -= 1;
        answer
    }

    fn authenticate(&self, request: &Request<AuthenticateRequest>) -> Result<Identity, Status> {
        Caller::of(request)?.tenant()?;
        let sent = request.get_ref();
        let proof = if sent.token.is_empty() {
            &sent.session_cookie
        } else {
            &sent.token
        };
        let found = self.lock().identities.get(proof).cloned();
        found.ok_or_else(|| Status::unauthenticated("nobody"))
    }
}

/// What watchers of the fake instance service are told.
#[derive(Clone, Debug)]
pub struct Changes {
    /// `None` ends the streams.
    messages: broadcast::Sender<Option<WatchHostsResponse>>,
    is_silent: Arc<AtomicBool>,
}

/// How often a watcher gets a heartbeat.
const HEARTBEAT_EVERY: Duration = Duration::from_millis(50);
/// The only token.
const TOKEN: &str = "the fake";

impl Changes {
    /// Tells that a host has changed.
    pub fn host(&self, host: &str) {
        self.tell(WatchHostsResponse {
            canonical_host: host.to_owned(),
            ..WatchHostsResponse::default()
        });
    }

    /// Tells that the instance of a host of [`active_instance`] has changed.
    pub fn instance_of(&self, host: &str) {
        self.tell(WatchHostsResponse {
            instance_id: format!("id of {host}"),
            ..WatchHostsResponse::default()
        });
    }

    /// Tells that changes may have been missed.
    pub fn reset(&self) {
        self.tell(WatchHostsResponse {
            reset: true,
            ..WatchHostsResponse::default()
        });
    }

    /// Stops or starts the heartbeats.
    pub fn be_silent(&self, is_silent: bool) {
        self.is_silent.store(is_silent, Ordering::SeqCst);
    }

    /// Ends the streams. Watchers come back.
    pub fn end(&self) {
        self.messages.send(None).ok();
    }

    fn tell(&self, message: WatchHostsResponse) {
        self.messages.send(Some(message)).ok();
    }

    fn watch(
        &self,
        request: &Request<WatchHostsRequest>,
    ) -> Result<impl Stream<Item = Result<WatchHostsResponse, Status>> + use<>, Status> {
        Caller::of(request)?.require_internal()?;
        let first = WatchHostsResponse {
            reset: request.get_ref().resume_token != TOKEN,
            resume_token: TOKEN.to_owned(),
            ..WatchHostsResponse::default()
        };
        let is_silent = Arc::clone(&self.is_silent);
        let beats = IntervalStream::new(tokio::time::interval(HEARTBEAT_EVERY));
        let beats = beats.filter_map(move |_| {
            let beat = WatchHostsResponse {
                heartbeat: Some(Heartbeat::default()),
                ..WatchHostsResponse::default()
            };
            let beats = !is_silent.load(Ordering::SeqCst);
            std::future::ready(beats.then_some(Some(beat)))
        });
        let messages = BroadcastStream::new(self.messages.subscribe());
        let messages = messages.filter_map(|message| std::future::ready(message.ok()));
        let told = futures::stream::select(messages, beats)
            .take_while(|message| std::future::ready(message.is_some()))
            .filter_map(std::future::ready);
        Ok(futures::stream::iter([first]).chain(told).map(Ok))
    }
}
