//! What a host resolves to.

use std::{
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
};

use hamlet_proto::hamlet::instance::v1::{
    Operator, ResolveHostResponse, Tenant, resolve_host_response::HostState,
};
use http::HeaderValue;
use prost_types::Timestamp;
use service_kit::{caller::header_value, telemetry::Trace};

/// How many different values of a kind are shared between entries. There are a handful of each.
const SHARED: usize = 256;

/// Whether an instance may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum InstanceState {
    Active,
    Blocked {
        reason: Box<str>,
    },
    Deleting,
    /// Deleted softly; it can be brought back until then.
    Deleted {
        until: Option<Timestamp>,
    },
}

/// A text that takes no more room than it needs, and may be shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text(Arc<str>);

impl Text {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// What the gateway itself needs of the tenant of a host. The rest is in the header.
#[derive(Debug)]
pub(crate) struct HostTenant {
    /// The id of the instance's document.
    pub(crate) id: Text,
    /// The main domain, with its port when it has one.
    pub(crate) domain: Text,
    pub(crate) locale: Arc<str>,
    /// Whether calls for it are logged in detail.
    pub(crate) debug: bool,
}

/// What a host resolves to: an instance, or one of its apps. Made to be kept a hundred thousand times.
#[derive(Debug)]
pub(crate) struct HostEntry {
    pub(crate) tenant: HostTenant,
    /// The value of the tenant header.
    pub(crate) header: HeaderValue,
    pub(crate) state: InstanceState,
    /// The app of an app host; empty for the instance itself.
    pub(crate) app_slug: Box<str>,
    /// Who runs the installation; `None` when the configuration does not say.
    pub(crate) operator: Option<Arc<Operator>>,
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

impl Resolution {
    /// Whether calls are logged in detail.
    pub(super) fn is_debugged(&self) -> bool {
        matches!(self, Self::Found(entry) if entry.tenant.debug)
    }
}

impl HostEntry {
    /// The trace of a request for the instance: with a span, and with its DEBUG lines, where an administrator asked for
    /// detailed logs.
    pub(crate) fn trace(&self, trace: &Trace, name: &str) -> Trace {
        if self.tenant.debug {
            trace.debugged(name)
        } else {
            trace.clone()
        }
    }
}

/// An answer of the instance service.
pub(super) struct Answer {
    pub(super) resolution: Resolution,
    /// The host in canonical form; empty when the service did not say.
    pub(super) host: String,
    /// The id of the instance.
    pub(super) instance: String,
}

/// Reads answers, and shares the parts that many of them have in common.
#[derive(Default)]
pub(super) struct Reader {
    texts: Mutex<Vec<Arc<str>>>,
    operators: Mutex<Vec<Arc<Operator>>>,
}

impl Reader {
    /// Reads an answer that is kept under `key`; `None` if it makes no sense.
    pub(super) fn read(&self, key: &Arc<str>, response: ResolveHostResponse) -> Option<Answer> {
        let instance = response.tenant.as_ref().map(|tenant| tenant.id.clone());
        let instance = instance.unwrap_or_default();
        let host = response.canonical_host.clone();
        let resolution = if response.redirect_domain.is_empty() {
            Resolution::Found(Arc::new(self.entry(key, response)?))
        } else {
            Resolution::Moved(response.redirect_domain.into())
        };
        Some(Answer {
            resolution,
            host,
            instance,
        })
    }

    fn entry(&self, key: &Arc<str>, response: ResolveHostResponse) -> Option<HostEntry> {
        let state = match response.state() {
            HostState::Active => InstanceState::Active,
            HostState::Blocked => InstanceState::Blocked {
                reason: response.blocking_reason.into(),
            },
            HostState::Deleting => InstanceState::Deleting,
            HostState::Deleted => InstanceState::Deleted {
                until: response.purge_time,
            },
            HostState::Unspecified => return None,
        };
        let tenant = response.tenant?;
        let header = HeaderValue::try_from(header_value(&tenant)).ok()?;
        Some(HostEntry {
            tenant: self.tenant(key, tenant),
            header,
            state,
            app_slug: response.app_slug.into(),
            operator: response.operator.map(|operator| {
                shared(
                    &self.operators,
                    |it| *it == operator,
                    || operator.clone().into(),
                )
            }),
        })
    }

    fn tenant(&self, key: &Arc<str>, tenant: Tenant) -> HostTenant {
        let text = |text: &str| shared(&self.texts, |it| *it == *text, || text.into());
        HostTenant {
            locale: text(&tenant.locale),
            debug: tenant.debug,
            id: Text(tenant.id.into()),
            domain: Text(if tenant.domain.as_str() == key.as_ref() {
                Arc::clone(key)
            } else {
                tenant.domain.into()
            }),
        }
    }
}

/// The value that others use already, or a new one.
fn shared<T: ?Sized>(
    known: &Mutex<Vec<Arc<T>>>,
    is: impl Fn(&T) -> bool,
    make: impl FnOnce() -> Arc<T>,
) -> Arc<T> {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = known.iter().find(|it| is(it)) {
        return Arc::clone(found);
    }
    let new = make();
    // Values that nobody uses any more make room: the configuration may change.
    known.retain(|it| Arc::strong_count(it) > 1);
    if known.len() < SHARED {
        known.push(Arc::clone(&new));
    }
    new
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::panic,
        reason = "a failed expectation is the test failing"
    )]

    use std::sync::Arc;

    use hamlet_proto::hamlet::instance::v1::{Operator, ResolveHostResponse, Tenant};

    use super::{HostEntry, Reader, Resolution};

    fn entry(reader: &Reader, domain: &str, url: &str) -> Arc<HostEntry> {
        let answer = reader.read(
            &"a.example".into(),
            ResolveHostResponse {
                tenant: Some(Tenant {
                    domain: domain.to_owned(),
                    url: url.to_owned(),
                    locale: "fr".to_owned(),
                    ..Tenant::default()
                }),
                state: 1,
                operator: Some(Operator {
                    name: "Somebody".to_owned(),
                    ..Operator::default()
                }),
                ..ResolveHostResponse::default()
            },
        );
        match answer.unwrap().resolution {
            Resolution::Found(entry) => entry,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_many_entries_have_in_common_is_kept_once() {
        let reader = Reader::default();
        let one = entry(&reader, "a.example:8080", "http://a.example:8080/");
        let two = entry(&reader, "b.example", "http://b.example/");
        assert!(Arc::ptr_eq(&one.tenant.locale, &two.tenant.locale));
        let operators = [one.operator.as_ref(), two.operator.as_ref()].map(Option::unwrap);
        assert!(Arc::ptr_eq(operators[0], operators[1]));
    }

    #[test]
    fn an_answer_that_does_not_say_what_may_be_used_is_none() {
        let reader = Reader::default();
        assert!(
            reader
                .read(&"".into(), ResolveHostResponse::default())
                .is_none()
        );
        let without_tenant = ResolveHostResponse {
            state: 1,
            ..ResolveHostResponse::default()
        };
        assert!(reader.read(&"".into(), without_tenant).is_none());
    }
}
