//! What a host resolves to.

use std::{
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
};

use hamlet_proto::hamlet::instance::v1::{
    Backend, Operator, ResolveHostResponse, Tenant, resolve_host_response::HostState,
};
use http::HeaderValue;
use prost_types::Timestamp;
use service_kit::{
    backend::{BackendAddress, RouteGroup},
    caller::header_value,
    telemetry::Trace,
};

use crate::host::Host;

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
    /// Its address in a browser. Of a usual one, only what precedes the domain.
    url: Arc<str>,
    /// Whether the address is `url`, the domain and a slash.
    has_usual_url: bool,
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
    /// Whether the owner has yet to choose a passphrase.
    pub(crate) onboarding: bool,
    /// Who runs the installation; `None` when the configuration does not say.
    pub(crate) operator: Option<Arc<Operator>>,
    /// The server that serves the instance in Hamlet's stead; `None` when Hamlet does.
    pub(crate) backend: Option<Arc<BackendRoute>>,
    /// Whether other software has set the state.
    pub(crate) set_by_other_software: bool,
}

/// Where the requests for the instances of a context go, when Hamlet does not serve them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BackendRoute {
    /// The addresses of the server.
    pub(crate) addresses: Vec<BackendAddress>,
    /// The groups of routes that Hamlet serves all the same.
    pub(crate) own: Vec<RouteGroup>,
}

impl BackendRoute {
    /// Reads what the instance service says. `None` if an address cannot be used: then nobody serves the instance, rather
    /// than the wrong server. A group that this version does not have stays with the backend.
    fn read(backend: &Backend) -> Option<Self> {
        let addresses = backend.addresses.iter();
        let addresses: Vec<_> = addresses
            .map(|text| BackendAddress::parse(text).ok())
            .collect::<Option<_>>()?;
        (!addresses.is_empty()).then(|| Self {
            addresses,
            own: backend
                .own
                .iter()
                .filter_map(|name| RouteGroup::named(name))
                .collect(),
        })
    }
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

impl HostEntry {
    /// Whether the host is that of an app of an active instance whose owner has yet to choose a passphrase.
    pub(crate) fn is_app_without_owner(&self) -> bool {
        self.onboarding && !self.app_slug.is_empty() && self.state == InstanceState::Active
    }
}

impl HostTenant {
    /// The main domain as a host.
    pub(crate) fn host(&self) -> Option<Host> {
        let domain = self.domain.as_str();
        // Domains are kept in Unicode.
        let name = match domain.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => domain,
        };
        if name.is_ascii() {
            return Host::parse(name).ok();
        }
        let name = idna::domain_to_ascii(name).ok()?;
        Host::parse(&name).ok()
    }

    /// The address of the instance in a browser, with a final slash.
    pub(crate) fn url(&self) -> String {
        if self.has_usual_url {
            format!("{}{}/", self.url, self.domain.as_str())
        } else {
            self.url.as_ref().to_owned()
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
    backends: Mutex<Vec<Arc<BackendRoute>>>,
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
        let set_by_other_software = response.set_by_other_software;
        let backend = match &response.backend {
            Some(told) => {
                let route = Arc::new(BackendRoute::read(told)?);
                Some(shared(
                    &self.backends,
                    |it| *it == *route,
                    || Arc::clone(&route),
                ))
            }
            None => None,
        };
        let tenant = response.tenant?;
        let header = HeaderValue::try_from(header_value(&tenant)).ok()?;
        Some(HostEntry {
            tenant: self.tenant(key, tenant),
            header,
            state,
            backend,
            set_by_other_software,
            app_slug: response.app_slug.into(),
            onboarding: response.onboarding,
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
        let before = tenant
            .url
            .strip_suffix('/')
            .and_then(|url| url.strip_suffix(tenant.domain.as_str()));
        HostTenant {
            locale: text(&tenant.locale),
            debug: tenant.debug,
            has_usual_url: before.is_some(),
            url: before.map_or_else(|| tenant.url.as_str().into(), text),
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
impl HostEntry {
    /// An entry of nobody's, for tests that look at its state.
    pub(crate) fn of_state(state: InstanceState, set_by_other_software: bool) -> Self {
        let text = || Arc::<str>::from("");
        Self {
            tenant: HostTenant {
                id: Text(text()),
                domain: Text(text()),
                locale: text(),
                url: text(),
                has_usual_url: false,
                debug: false,
            },
            header: HeaderValue::from_static(""),
            state,
            app_slug: "".into(),
            onboarding: false,
            operator: None,
            backend: None,
            set_by_other_software,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::panic,
        reason = "a failed expectation is the test failing"
    )]

    use std::sync::Arc;

    use hamlet_proto::hamlet::instance::v1::{Backend, Operator, ResolveHostResponse, Tenant};
    use service_kit::backend::RouteGroup;

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
        assert_eq!(one.tenant.url(), "http://a.example:8080/");
        assert_eq!(two.tenant.url(), "http://b.example/");
        let odd = entry(&reader, "c.example", "https://elsewhere.example/c/");
        assert_eq!(odd.tenant.url(), "https://elsewhere.example/c/");
    }

    #[test]
    fn a_backend_is_kept_once_and_one_that_cannot_be_used_is_no_answer() {
        let reader = Reader::default();
        let read = |address: &str| {
            let response = ResolveHostResponse {
                tenant: Some(Tenant::default()),
                state: 1,
                backend: Some(Backend {
                    addresses: vec![address.to_owned()],
                    own: vec!["flags".to_owned(), "of a later version".to_owned()],
                }),
                ..ResolveHostResponse::default()
            };
            reader.read(&"".into(), response).map(|it| it.resolution)
        };
        let Some(Resolution::Found(one)) = read("http://127.0.0.1:1") else {
            panic!("no answer");
        };
        let Some(Resolution::Found(two)) = read("http://127.0.0.1:1/") else {
            panic!("no answer");
        };
        let backends = [one.backend.as_ref(), two.backend.as_ref()].map(Option::unwrap);
        assert!(Arc::ptr_eq(backends[0], backends[1]));
        assert_eq!(backends[0].own, [RouteGroup::Flags]);
        assert!(read("https://127.0.0.1").is_none());
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
