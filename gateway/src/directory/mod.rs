//! The directory of hosts: which instance a host belongs to, as the instance service says.
//!
//! Answers are kept, and kept true by a stream of changes (`watch`). While the stream carries heartbeats, a known host
//! costs no question. Without it, an answer lives for `Config::host_ttl`. While the instance service does not answer
//! at all, known hosts go on for `Config::host_grace`, and what was blocked stays blocked.
//!
//! `freshness` says until when an answer may be used, `table` keeps answers, `questions` limits questions, `entry`
//! reads answers.

mod entry;
mod freshness;
#[cfg(test)]
mod measures;
mod questions;
mod table;
mod watch;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::FutureExt as _;
use hamlet_proto::hamlet::instance::v1::{
    ResolveHostRequest, ResolveHostResponse, directory_service_client::DirectoryServiceClient,
};
use service_kit::{
    caller::AttachKey,
    peer::{self, Peer},
    secret::Keyring,
};
use tokio::{sync::Notify, task::JoinHandle, time::timeout};
use tonic::{Code, Status, service::interceptor::InterceptedService};
use tracing::Instrument as _;

use self::{
    entry::Reader,
    freshness::{Freshness, Moment, Slots, Use},
    questions::{PATIENCE, Place, Question, Questions},
    table::Table,
};
use crate::{Config, host::Host, route::Service, services::Services};

pub(crate) use self::entry::{BackendRoute, HostEntry, InstanceState, Resolution};

/// How long the instance service may take to resolve a host.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How many hosts without an instance are kept. They live for `Config::host_ttl`.
const UNKNOWN: usize = 4096;
/// Without a call for this time, changes are not watched, in microseconds.
const IDLE_AFTER: u64 = 60_000_000;

/// The instance service's directory of hosts. Dropping it ends its stream.
pub(crate) struct Directory {
    core: Arc<Core>,
    watching: JoinHandle<()>,
}

struct Core {
    client: DirectoryServiceClient<Peer>,
    freshness: Freshness,
    /// Hosts with an instance.
    known: Table<Known>,
    /// Hosts without one, and when they were asked for.
    unknown: Table<Moment>,
    questions: Questions,
    reader: Reader,
    grace: Duration,
    life: Duration,
    /// When a host was last asked for, within a second.
    called_at: AtomicU64,
    called: Notify,
}

/// A kept answer.
#[derive(Clone)]
struct Known {
    resolution: Resolution,
    /// When the question began.
    asked: Moment,
    slots: Slots,
}

/// What is known of a host without a question.
enum Found {
    /// The answer.
    Right(Resolution),
    /// An earlier answer.
    Old(Resolution, Use),
    Nothing,
}

/// Whether the directory keeps its answers true, for health.
#[derive(Clone, Default)]
pub(crate) struct DirectoryState(Option<Arc<Core>>);

impl DirectoryState {
    /// Whether changes are seen late, because no heartbeat comes. Not while nobody asks for hosts.
    pub(crate) fn is_degraded(&self) -> bool {
        self.0.as_ref().is_some_and(|core| core.is_degraded())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

impl Directory {
    /// Runs a task, so it needs a runtime.
    pub(crate) fn new(
        config: &Config,
        services: &Services,
        key: &Keyring,
    ) -> Result<Self, peer::Error> {
        let attach = AttachKey::new(key).ok_or(peer::Error::Key)?;
        let channel = services.channel(Service::Instances);
        let peer = InterceptedService::new(channel, attach);
        let core = Arc::new(Core {
            client: DirectoryServiceClient::new(peer),
            freshness: Freshness::new(config.limits.host_ttl),
            known: Table::new(config.limits.host_cache),
            unknown: Table::new(UNKNOWN),
            questions: Questions::new(),
            reader: Reader::default(),
            grace: config.limits.host_grace,
            life: config.limits.host_ttl,
            called_at: AtomicU64::new(0),
            called: Notify::new(),
        });
        let watching = tokio::spawn(watch::keep(Arc::clone(&core)));
        Ok(Self { core, watching })
    }

    /// Whether the directory keeps its answers true.
    pub(crate) fn state(&self) -> DirectoryState {
        DirectoryState(Some(Arc::clone(&self.core)))
    }

    /// The answer about `host`, if no question is needed.
    pub(crate) fn known(&self, host: &Host) -> Option<Resolution> {
        match self.core.find(host.name(), self.core.freshness.now()) {
            Found::Right(answer) => Some(noticed(answer)),
            Found::Old(..) | Found::Nothing => None,
        }
    }

    /// Resolves `host` for nobody's call. Hosts count as asked for meanwhile, so that changes are watched.
    pub(crate) async fn look(&self, host: &Host) -> Resolution {
        match self.core.find(host.name(), self.core.freshness.now()) {
            Found::Right(answer) => answer,
            Found::Old(..) | Found::Nothing => self.core.ask_for(host.name()).await,
        }
    }

    /// How often answers may have changed so far. It says nothing while changes are not told.
    pub(crate) fn changes(&self) -> Option<u64> {
        let freshness = &self.core.freshness;
        freshness.is_fresh().then(|| freshness.changes())
    }

    /// Resolves `host`.
    pub(crate) async fn resolve(&self, host: &Host) -> Resolution {
        if let Some(answer) = self.known(host) {
            return answer;
        }
        let answer = self.core.ask_for(host.name()).await;
        let answer = match self.core.find(host.name(), self.core.freshness.now()) {
            // Others had asked before something changed.
            Found::Old(_, Use::Outdated) => self.core.ask_for(host.name()).await,
            _ => answer,
        };
        noticed(answer)
    }
}

/// A call of an instance that is debugged is logged in detail.
fn noticed(answer: Resolution) -> Resolution {
    if answer.is_debugged() {
        service_kit::telemetry::debug_this_call();
    }
    answer
}

impl Core {
    fn find(&self, host: &str, now: Moment) -> Found {
        self.note_call(now);
        if let Some(known) = self.known.get(host) {
            // Nobody tells of the end of detailed logs.
            let lasts = !known.resolution.is_debugged();
            let judged = self.freshness.judge(known.asked, known.slots, lasts, now);
            return match judged {
                Use::Now => Found::Right(known.resolution),
                judged => Found::Old(known.resolution, judged),
            };
        }
        match self.unknown.get(host) {
            Some(asked) if u128::from(now.saturating_sub(asked)) < self.life.as_micros() => {
                Found::Right(Resolution::Unknown)
            }
            _ => Found::Nothing,
        }
    }

    /// Asks for a host, unless there is an answer meanwhile.
    async fn ask_for(self: &Arc<Self>, host: &str) -> Resolution {
        let now = self.freshness.now();
        match self.find(host, now) {
            Found::Right(answer) => answer,
            Found::Old(old, judged) => self.ask_again(host, old, judged, now).await,
            Found::Nothing => match self.ask(host, false) {
                Some(question) => question.await,
                None => Resolution::OutOfReach,
            },
        }
    }

    /// Asks for a host that has an answer, and uses that one if the service does not answer.
    async fn ask_again(
        self: &Arc<Self>,
        host: &str,
        old: Resolution,
        judged: Use,
        now: Moment,
    ) -> Resolution {
        if !self.may_go_on(&old, judged) {
            return match self.ask(host, true) {
                Some(question) => question.await,
                None => Resolution::OutOfReach,
            };
        }
        if self.questions.pauses(now) {
            return old;
        }
        let was_away = self.questions.is_away();
        let Some(question) = self.ask(host, true) else {
            return old;
        };
        if was_away {
            // The question goes on by itself; its answer is for the next call.
            return old;
        }
        match timeout(PATIENCE, question).await {
            Ok(Resolution::OutOfReach) => old,
            Ok(answer) => answer,
            Err(_late) => {
                self.report(&Status::deadline_exceeded("no answer yet"));
                old
            }
        }
    }

    /// Whether an earlier answer may be used while the instance service does not answer. One from before a change may
    /// not, except that what must not be used stays so.
    fn may_go_on(&self, old: &Resolution, judged: Use) -> bool {
        match old {
            Resolution::Found(entry) if entry.state != InstanceState::Active => true,
            _ => matches!(judged, Use::Aged(age) if age < self.grace),
        }
    }

    /// Asks in a task of its own, so that the question continues when its first caller goes away.
    fn ask(self: &Arc<Self>, host: &str, is_known: bool) -> Option<Question> {
        self.questions.ask(host, is_known, |host, place| {
            let ending = Ending(Arc::clone(self), host);
            let asking = async move { ending.0.answer(&ending.1, &place).await };
            // In the trace of the first caller.
            let asking = tokio::spawn(asking.in_current_span());
            asking
                .map(|answer| answer.unwrap_or(Resolution::OutOfReach))
                .boxed()
                .shared()
        })
    }

    async fn answer(&self, host: &str, place: &Place) -> Resolution {
        let mut client = self.client.clone();
        let asked = async {
            let _turn = place.turn().await;
            let asked = self.freshness.now();
            let request = ResolveHostRequest {
                host: host.to_owned(),
            };
            (asked, client.resolve_host(request).await)
        };
        match timeout(ANSWER_WITHIN, asked).await {
            Ok((asked, Ok(response))) => self.take(host, asked, response.into_inner()),
            Ok((asked, Err(status))) => match status.code() {
                Code::NotFound | Code::InvalidArgument => {
                    self.questions.answered();
                    self.known.remove(host);
                    self.unknown.insert(host.into(), asked);
                    Resolution::Unknown
                }
                _ => {
                    self.report(&status);
                    Resolution::OutOfReach
                }
            },
            Err(_late) => {
                self.report(&Status::deadline_exceeded("no answer in time"));
                Resolution::OutOfReach
            }
        }
    }

    fn take(&self, host: &str, asked: Moment, response: ResolveHostResponse) -> Resolution {
        let key = self.known.key(host);
        let Some(answer) = self.reader.read(&key, response) else {
            self.report(&Status::data_loss("the answer makes no sense"));
            return Resolution::OutOfReach;
        };
        self.questions.answered();
        let canonical = if answer.host.is_empty() {
            host
        } else {
            answer.host.as_str()
        };
        let is_own =
            matches!(&answer.resolution, Resolution::Found(entry) if entry.app_slug.is_empty());
        let slots = self.freshness.slots(canonical, &answer.instance, !is_own);
        self.unknown.remove(host);
        self.known.insert(
            key,
            Known {
                resolution: answer.resolution.clone(),
                asked,
                slots,
            },
        );
        answer.resolution
    }

    /// A question failed. There is a log line for some of them at most.
    fn report(&self, status: &Status) {
        // The service answers, though not this question.
        let answers = matches!(
            status.code(),
            Code::Internal | Code::DataLoss | Code::FailedPrecondition | Code::Unimplemented
        );
        if self.questions.failed(self.freshness.now(), !answers) {
            tracing::warn!(
                code = %status.code(),
                message = status.message(),
                "the instance service cannot say whose a host is"
            );
        }
    }

    fn note_call(&self, now: Moment) {
        let called_at = self.called_at.load(Ordering::Relaxed);
        // Not at every call: callers on several processors would wait for each other.
        if called_at == 0 || now.saturating_sub(called_at) > 1_000_000 {
            self.called_at.store(now, Ordering::Relaxed);
            self.called.notify_waiters();
        }
    }

    /// Whether no host was asked for in the last minute.
    fn is_idle(&self) -> bool {
        let called_at = self.called_at.load(Ordering::Relaxed);
        called_at == 0 || self.freshness.now().saturating_sub(called_at) > IDLE_AFTER
    }

    /// Waits until hosts are asked for.
    async fn until_called(&self) {
        loop {
            let mut called = std::pin::pin!(self.called.notified());
            // Before the look, so that no call is missed.
            called.as_mut().enable();
            if !self.is_idle() {
                return;
            }
            called.await;
        }
    }

    fn is_degraded(&self) -> bool {
        !self.is_idle() && !self.freshness.is_fresh()
    }
}

/// Ends a question, also when its task does not come to its end.
struct Ending(Arc<Core>, Arc<str>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.questions.end(&self.1);
    }
}
