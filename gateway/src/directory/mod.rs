//! Whose host is this? The answers of the instance service, kept for a moment.

mod cache;

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, future::BoxFuture, future::Shared};
use hamlet_proto::hamlet::instance::v1::{
    ResolveHostRequest, ResolveHostResponse, Tenant,
    directory_service_client::DirectoryServiceClient, resolve_host_response::HostState,
};
use http::HeaderValue;
use service_kit::{
    caller::{AttachKey, tenant_header},
    peer::{self, Peer},
    secret::Keyring,
};
use tokio::sync::Semaphore;
use tonic::{Code, service::interceptor::InterceptedService};

use self::cache::Cache;
use tracing::Instrument as _;

use crate::{Config, host::Host, route::Service, services::Services};

/// How long the instance service may take for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How many questions are asked at once: a flood of made-up hosts must not become one of calls.
const QUESTIONS: usize = 128;

/// Whether an instance may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Active,
    Blocked { reason: String },
    Deleting,
}

/// What a host stands for.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) tenant: Tenant,
    /// The tenant as services want it.
    pub(crate) header: HeaderValue,
    pub(crate) state: State,
    /// The app that the host names; empty for the instance itself.
    pub(crate) app_slug: String,
    /// Whether the owner has yet to choose a passphrase.
    pub(crate) onboarding: bool,
}

/// What became of a question.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Found(Arc<Place>),
    /// The host is a former address; this is the domain to go to.
    Moved(Arc<str>),
    Unknown,
    /// The instance service does not answer. Never kept.
    OutOfReach,
}

type Question = Shared<BoxFuture<'static, Answer>>;

/// The instance service's directory of hosts. An answer is used for a moment only
/// (`Config::host_ttl`), counted from when it was asked for; one question at a time is asked
/// about a host.
pub(crate) struct Directory {
    client: DirectoryServiceClient<Peer>,
    cache: Cache<Question>,
    questions: Arc<Semaphore>,
}

impl Directory {
    pub(crate) fn new(
        config: &Config,
        services: &Services,
        key: &Keyring,
    ) -> Result<Self, peer::Error> {
        let attach = AttachKey::new(key).ok_or(peer::Error::Key)?;
        let channel = services.channel(Service::Instances);
        let peer = InterceptedService::new(channel, attach);
        Ok(Self {
            client: DirectoryServiceClient::new(peer),
            cache: Cache::new(config.host_ttl, config.host_cache),
            questions: Arc::new(Semaphore::new(QUESTIONS)),
        })
    }

    /// Finds out what `host` stands for.
    pub(crate) async fn resolve(&self, host: &Host) -> Answer {
        let question =
            self.cache
                .get_or_insert_with(host.name(), tokio::time::Instant::now(), || {
                    self.ask(host.name().to_owned())
                });
        let answer = question.clone().await;
        if let Answer::Found(place) = &answer
            && place.tenant.debug
        {
            service_kit::telemetry::debug_this_call();
        }
        if matches!(answer, Answer::OutOfReach) {
            self.cache
                .remove_if(host.name(), |kept| kept.ptr_eq(&question));
        }
        answer
    }

    /// Forgets what `host` stands for: it has just changed.
    pub(crate) fn forget(&self, host: &Host) {
        self.cache.remove_if(host.name(), |_| true);
    }

    /// Asks in a task of its own, so that the answer arrives even if who asked first has gone.
    fn ask(&self, host: String) -> Question {
        let mut client = self.client.clone();
        let questions = Arc::clone(&self.questions);
        let asking = async move {
            let asked = async {
                let _turn = questions.acquire().await;
                client
                    .resolve_host(ResolveHostRequest { host })
                    .await
                    .map(tonic::Response::into_inner)
            };
            match tokio::time::timeout(ANSWER_WITHIN, asked).await {
                Ok(Ok(response)) => read(response),
                Ok(Err(status)) => match status.code() {
                    Code::NotFound | Code::InvalidArgument => Answer::Unknown,
                    code => {
                        tracing::warn!(%code, message = status.message(), "the instance service cannot say whose a host is");
                        Answer::OutOfReach
                    }
                },
                Err(_late) => {
                    tracing::warn!("the instance service is too late to say whose a host is");
                    Answer::OutOfReach
                }
            }
        };
        // In the trace of whoever asked first.
        let asking = tokio::spawn(asking.in_current_span());
        asking
            .map(|answer| answer.unwrap_or(Answer::OutOfReach))
            .boxed()
            .shared()
    }
}

fn read(response: ResolveHostResponse) -> Answer {
    if !response.redirect_domain.is_empty() {
        return Answer::Moved(response.redirect_domain.into());
    }
    let state = match response.state() {
        HostState::Active => State::Active,
        HostState::Blocked => State::Blocked {
            reason: response.blocking_reason,
        },
        // To a stranger an instance that can be brought back is as gone as one that cannot.
        HostState::Deleting | HostState::Deleted => State::Deleting,
        HostState::Unspecified => {
            tracing::error!("the instance service does not say whether an instance may be used");
            return Answer::OutOfReach;
        }
    };
    let Some(tenant) = response.tenant else {
        tracing::error!("the instance service does not say whose a host is");
        return Answer::OutOfReach;
    };
    let Ok(header) = HeaderValue::try_from(tenant_header(&tenant)) else {
        return Answer::OutOfReach;
    };
    Answer::Found(Arc::new(Place {
        tenant,
        header,
        state,
        app_slug: response.app_slug,
        onboarding: response.onboarding,
    }))
}
