//! Resolving hosts by the instance service, with a short-lived cache.

mod cache;

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, future::BoxFuture, future::Shared};
use hamlet_proto::hamlet::instance::v1::{
    Operator, ResolveHostRequest, ResolveHostResponse, Tenant,
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

use prost_types::Timestamp;

use self::cache::Cache;
use tracing::Instrument as _;

use crate::{Config, host::Host, route::Service, services::Services};

/// How long the instance service may take to resolve a host.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How many hosts are resolved at once: a flood of invented hosts must not become a flood of calls.
const QUESTIONS: usize = 128;

/// Whether an instance may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum InstanceState {
    Active,
    Blocked {
        reason: String,
    },
    Deleting,
    /// Deleted softly; it can be brought back until then.
    Deleted {
        until: Option<Timestamp>,
    },
}

/// What a host resolves to: an instance, or one of its apps.
#[derive(Debug)]
pub(crate) struct HostEntry {
    pub(crate) tenant: Tenant,
    /// The value of the tenant header.
    pub(crate) header: HeaderValue,
    pub(crate) state: InstanceState,
    /// The app of an app host; empty for the instance itself.
    pub(crate) app_slug: String,
    /// Whether the owner has yet to choose a passphrase.
    pub(crate) onboarding: bool,
    /// Who runs the installation; `None` when the configuration does not say.
    pub(crate) operator: Option<Operator>,
}

/// The outcome of resolving a host.
#[derive(Clone, Debug)]
pub(crate) enum Resolution {
    Found(Arc<HostEntry>),
    /// The host is a former domain of the instance that is now at this domain.
    Moved(Arc<str>),
    Unknown,
    /// The instance service does not answer. Never cached.
    OutOfReach,
}

type Question = Shared<BoxFuture<'static, Resolution>>;

/// The instance service's directory of hosts. A resolution is used for `Config::host_ttl` from the start of
/// its request; there is one request at a time for a host.
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

    /// Resolves `host`.
    pub(crate) async fn resolve(&self, host: &Host) -> Resolution {
        let question =
            self.cache
                .get_or_insert_with(host.name(), tokio::time::Instant::now(), || {
                    self.ask(host.name().to_owned())
                });
        let answer = question.clone().await;
        if let Resolution::Found(entry) = &answer
            && entry.tenant.debug
        {
            service_kit::telemetry::debug_this_call();
        }
        if matches!(answer, Resolution::OutOfReach) {
            self.cache
                .remove_if(host.name(), |kept| kept.ptr_eq(&question));
        }
        answer
    }

    /// Removes `host` from the cache, because it has just changed.
    pub(crate) fn forget(&self, host: &Host) {
        self.cache.remove_if(host.name(), |_| true);
    }

    /// Asks in a task of its own, so that the request continues when its first caller goes away.
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
                    Code::NotFound | Code::InvalidArgument => Resolution::Unknown,
                    code => {
                        tracing::warn!(%code, message = status.message(), "the instance service cannot say whose a host is");
                        Resolution::OutOfReach
                    }
                },
                Err(_late) => {
                    tracing::warn!("the instance service is too late to say whose a host is");
                    Resolution::OutOfReach
                }
            }
        };
        // In the trace of the first caller.
        let asking = tokio::spawn(asking.in_current_span());
        asking
            .map(|answer| answer.unwrap_or(Resolution::OutOfReach))
            .boxed()
            .shared()
    }
}

fn read(response: ResolveHostResponse) -> Resolution {
    if !response.redirect_domain.is_empty() {
        return Resolution::Moved(response.redirect_domain.into());
    }
    let state = match response.state() {
        HostState::Active => InstanceState::Active,
        HostState::Blocked => InstanceState::Blocked {
            reason: response.blocking_reason,
        },
        HostState::Deleting => InstanceState::Deleting,
        HostState::Deleted => InstanceState::Deleted {
            until: response.purge_time,
        },
        HostState::Unspecified => {
            tracing::error!("the instance service does not say whether an instance may be used");
            return Resolution::OutOfReach;
        }
    };
    let Some(tenant) = response.tenant else {
        tracing::error!("the instance service does not say whose a host is");
        return Resolution::OutOfReach;
    };
    let Ok(header) = HeaderValue::try_from(tenant_header(&tenant)) else {
        return Resolution::OutOfReach;
    };
    Resolution::Found(Arc::new(HostEntry {
        tenant,
        header,
        state,
        app_slug: response.app_slug,
        onboarding: response.onboarding,
        operator: response.operator,
    }))
}
