//! Why the gateway itself refuses a gRPC call, and the status that says so.

use std::time::Duration;

use service_kit::{
    deadline::NoTimeout,
    status::{ServiceError, StatusBuilder},
};
use tonic::{Code, Status};

use crate::{
    credential::CredentialError,
    directory::{HostEntry, InstanceState},
    host::Host,
};

/// When a call that found no turn may be tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a call is not forwarded, or ends without an answer of the service.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("there is no instance {host}")]
    UnknownHost { host: String },
    #[error("the instance of {host} is now at {domain}")]
    Moved { host: String, domain: String },
    #[error("whose host this is cannot be found out now; try again in a moment")]
    DirectoryUnreachable,
    #[error("the instance {domain} is blocked")]
    Blocked { domain: String, reason: String },
    #[error("the instance {domain} is being destroyed")]
    Deleting { domain: String },
    #[error(transparent)]
    Credential(#[from] CredentialError),
    #[error("{path} cannot be called through this door")]
    NoSuchService { path: String },
    #[error("{path} is no method that this version has")]
    NoSuchMethod { path: String },
    #[error("the path is not one of a gRPC call")]
    Path,
    #[error("{0}")]
    Timeout(#[from] NoTimeout),
    #[error("too many calls are running; end some or try again in a moment")]
    TooManyCalls,
    #[error("calls come too fast; wait {} ms, then go on more slowly", wait.as_millis())]
    TooFast { wait: Duration },
    #[error("too many wrong tries; wait {} s before the next one", wait.as_secs().max(1))]
    TooManyGuesses { wait: Duration },
    #[error("the call waited for its caller while others waited for it; send and read faster")]
    Stalled,
    #[error(
        "the instance was blocked, or is being removed, while the call was at work; what it began may still be done"
    )]
    Withdrawn,
    #[error("the caller broke the call off")]
    CallerGone,
    #[error("the call took longer than it may; what it began may still be done")]
    DeadlineExceeded,
    #[error("the {service} is out of reach; nothing was done, try again in a moment")]
    ServiceUnreachable { service: &'static str },
    #[error("the {service} broke the call off; it may have been carried out")]
    BrokenOff { service: &'static str, code: Code },
    #[error(transparent)]
    ClusterKey(#[from] service_kit::peer::Error),
}

impl Refusal {
    pub(crate) fn unknown(host: &Host) -> Self {
        Self::UnknownHost {
            host: host.name().to_owned(),
        }
    }

    pub(crate) fn moved(host: &Host, domain: &str) -> Self {
        Self::Moved {
            host: host.name().to_owned(),
            domain: domain.to_owned(),
        }
    }

    /// Why the public may not use the instance in its present state; `None` when it may.
    pub(crate) fn of_state(entry: &HostEntry) -> Option<Self> {
        let domain = entry.tenant.domain.to_string();
        match &entry.state {
            InstanceState::Active => None,
            InstanceState::Blocked { reason } => Some(Self::Blocked {
                domain,
                reason: reason.to_string(),
            }),
            InstanceState::Deleting | InstanceState::Deleted { .. } => {
                Some(Self::Deleting { domain })
            }
        }
    }
}

impl ServiceError for Refusal {
    fn status(&self) -> StatusBuilder {
        let (code, reason) = match self {
            Self::UnknownHost { .. } => (Code::NotFound, "INSTANCE_NOT_FOUND"),
            Self::Moved { .. } => (Code::NotFound, "INSTANCE_MOVED"),
            Self::DirectoryUnreachable => (Code::Unavailable, "DIRECTORY_OUT_OF_REACH"),
            Self::Blocked { .. } => (Code::FailedPrecondition, "INSTANCE_BLOCKED"),
            Self::Deleting { .. } => (Code::NotFound, "INSTANCE_DELETING"),
            Self::Credential(error) => (Code::Unauthenticated, error.reason()),
            Self::NoSuchService { .. } | Self::Path => (Code::Unimplemented, "NO_SUCH_SERVICE"),
            Self::NoSuchMethod { .. } => (Code::Unimplemented, "NO_SUCH_METHOD"),
            Self::Timeout(error) => {
                return StatusBuilder::invalid_field("grpc-timeout", error.to_string());
            }
            Self::TooManyCalls => (Code::ResourceExhausted, "TOO_MANY_CALLS"),
            Self::TooFast { .. } => (Code::ResourceExhausted, "TOO_MANY_CALLS"),
            Self::TooManyGuesses { .. } => (Code::ResourceExhausted, "TOO_MANY_GUESSES"),
            Self::Stalled => (Code::ResourceExhausted, "CALL_STALLED"),
            Self::Withdrawn => (Code::FailedPrecondition, "INSTANCE_WITHDRAWN"),
            Self::CallerGone => (Code::Cancelled, "CALLER_GONE"),
            Self::DeadlineExceeded => (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
            Self::ServiceUnreachable { .. } => (Code::Unavailable, "SERVICE_OUT_OF_REACH"),
            Self::BrokenOff { code, .. } => (*code, "CALL_BROKEN_OFF"),
            Self::ClusterKey(_) => (Code::Internal, "CLUSTER_KEY_UNUSABLE"),
        };
        let status = StatusBuilder::new(code, reason, self.to_string());
        match self {
            Self::UnknownHost { host } => status.with("host", host),
            Self::Moved { host, domain } => status.with("host", host).with("domain", domain),
            Self::Blocked { domain, reason } => status
                .with("reason", if reason.is_empty() { "UNKNOWN" } else { reason })
                .with("domain", domain),
            Self::Deleting { domain } => status.with("domain", domain),
            Self::TooManyCalls | Self::Stalled => status.retry_after(RETRY_AFTER),
            Self::TooFast { wait } | Self::TooManyGuesses { wait } => status.retry_after(*wait),
            _ => status,
        }
    }
}

/// Without a log line: what an operator has to know of is logged where it happens.
impl From<&Refusal> for Status {
    fn from(refusal: &Refusal) -> Self {
        refusal.status().build()
    }
}
