//! Who calls: the gateway finds a session cookie or a token of the instance in the request, asks the instance service whose
//! it is, and keeps the answer for a moment. A request with neither costs nothing.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hamlet_proto::hamlet::instance::v1::{
    AuthenticateRequest, Tenant, identity_service_client::IdentityServiceClient,
};
use http::{
    HeaderMap, HeaderValue, Request as HttpRequest,
    header::{AUTHORIZATION, COOKIE, ORIGIN},
};
use service_kit::{
    caller::{AttachKey, TENANT_HEADER, Unproven, header_value, message_of},
    peer::{self, Peer},
    secret::Keyring,
};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use tonic::{
    Code, Extensions, Request, Status, metadata::MetadataMap,
    service::interceptor::InterceptedService,
};
use tonic_types::StatusExt as _;
use url::form_urlencoded;

use crate::{
    answer::grpc::is_grpc, caller::CallerKey, directory::HostEntry, refusal::Refusal,
    route::Service, seldom::Seldom, services::Services,
};

/// How long an answer is used, from the beginning of its question.
const FRESH: Duration = Duration::from_secs(1);
/// After so long, answers are kept in a new map.
const GENERATION: Duration = Duration::from_millis(500);
/// The most answers that one map keeps.
const KEPT: usize = 16_384;
/// How long a question may take.
const WITHIN: Duration = Duration::from_secs(5);
/// How many questions are asked at once, of all clients and of one.
const ASKED: usize = 256;
const ASKED_BY_ONE: usize = 16;
/// How many cookies of the same name are tried: those of an instance above this one have it, too.
const COOKIES: usize = 3;
/// The longest cookie and token that are worth a question.
const LONGEST_COOKIE: usize = 256;
const LONGEST_TOKEN: usize = 16 * 1024;

/// The session cookie of an instance with nested app hosts.
const NESTED_COOKIE: &str = "cozysessid";
/// The beginning of the name of that of an instance with flat app hosts. The prefix of its databases follows.
const FLAT_COOKIE: &str = "sess-";

static FAILED: Seldom = Seldom::new();

type Key = [u8; 32];

/// Who calls.
#[derive(Clone, Debug)]
pub(crate) enum Identity {
    /// Somebody: the header for services.
    Known(HeaderValue),
    /// A stranger, and why.
    Stranger(Unproven),
}

impl Identity {
    /// Whether it is somebody.
    pub(crate) const fn is_known(&self) -> bool {
        matches!(self, Self::Known(_))
    }
}

/// Who calls, as the instance service has answered of late.
pub(crate) struct Identities {
    client: IdentityServiceClient<Peer>,
    kept: Mutex<Kept>,
    asking: Mutex<HashMap<CallerKey, usize>>,
}

/// Answers in two maps: the older one is dropped as a whole.
struct Kept {
    since: Instant,
    now: HashMap<Key, (Instant, Identity)>,
    before: HashMap<Key, (Instant, Identity)>,
}

/// What a request has to prove who calls.
#[derive(Default)]
struct Proofs {
    token: Option<String>,
    cookies: Vec<String>,
    /// Whether a cookie counts without a token.
    cookies_count: bool,
    /// Why the caller is a stranger if nothing else is found out.
    unproven: Unproven,
}

impl Identities {
    pub(crate) fn new(services: &Services, key: &Keyring) -> Result<Self, peer::Error> {
        let attach = AttachKey::new(key).ok_or(peer::Error::Key)?;
        let channel = services.channel(Service::Instances);
        Ok(Self {
            client: IdentityServiceClient::new(InterceptedService::new(channel, attach)),
            kept: Mutex::new(Kept {
                since: Instant::now(),
                now: HashMap::new(),
                before: HashMap::new(),
            }),
            asking: Mutex::default(),
        })
    }

    /// Who sent a request to the instance of `entry`. `by_session` is whether a session may count without a token.
    ///
    /// # Errors
    /// When the service cannot be asked, or the client has too many questions at once.
    pub(crate) async fn of<B>(
        &self,
        entry: &HostEntry,
        client: CallerKey,
        request: &HttpRequest<B>,
        by_session: bool,
    ) -> Result<Identity, Refusal> {
        let proofs = Proofs::of(request, || {
            let tenant: Option<Tenant> = message_of(entry.header.as_bytes());
            tenant.map(|tenant| tenant.prefix).unwrap_or_default()
        });
        let mut unproven = proofs.unproven;
        if let Some(token) = &proofs.token {
            // A token that is bound to a session counts together with the cookie of that session only.
            let none = String::new();
            let cookies = proofs.cookies.iter().chain([&none]).take(COOKIES);
            for cookie in cookies {
                match self.ask(entry, client, cookie, token).await? {
                    found @ Identity::Known(_) => return Ok(found),
                    Identity::Stranger(why) => unproven = why,
                }
            }
        }
        if proofs.cookies_count && by_session {
            for cookie in &proofs.cookies {
                let found = self.ask(entry, client, cookie, "").await?;
                if found.is_known() {
                    return Ok(found);
                }
            }
        }
        Ok(Identity::Stranger(unproven))
    }

    async fn ask(
        &self,
        entry: &HostEntry,
        client: CallerKey,
        cookie: &str,
        token: &str,
    ) -> Result<Identity, Refusal> {
        let key = key(&entry.tenant.id, cookie, token);
        if let Some(answer) = self.kept(&key) {
            return Ok(answer);
        }
        let _turn = Turn::take(self, client).ok_or(Refusal::TooManyCalls)?;
        let asked_at = Instant::now();
        let message = AuthenticateRequest {
            session_cookie: cookie.to_owned(),
            token: token.to_owned(),
        };
        let mut headers = HeaderMap::new();
        headers.insert(TENANT_HEADER, entry.header.clone());
        let metadata = MetadataMap::from_headers(headers);
        let mut request = Request::from_parts(metadata, Extensions::default(), message);
        request.set_timeout(WITHIN);
        let answer = match self.client.clone().authenticate(request).await {
            Ok(identity) => {
                let header = HeaderValue::try_from(header_value(identity.get_ref()));
                let mut header = header.map_err(|_| Refusal::DirectoryUnreachable)?;
                header.set_sensitive(true);
                Identity::Known(header)
            }
            Err(refused) if refused.code() == Code::Unauthenticated => {
                Identity::Stranger(unproven(&refused))
            }
            Err(failed) => {
                if let Some(unseen) = FAILED.now() {
                    tracing::warn!(
                        code = %failed.code(),
                        message = failed.message(),
                        unseen,
                        "the instance service could not be asked who calls"
                    );
                }
                return Err(Refusal::ServiceUnreachable {
                    service: Service::Instances.name(),
                });
            }
        };
        self.keep(key, asked_at, answer.clone());
        Ok(answer)
    }

    fn kept(&self, key: &Key) -> Option<Identity> {
        let mut kept = lock(&self.kept);
        kept.turn_over();
        let (asked_at, answer) = kept.now.get(key).or_else(|| kept.before.get(key))?;
        (asked_at.elapsed() < FRESH).then(|| answer.clone())
    }

    fn keep(&self, key: Key, asked_at: Instant, answer: Identity) {
        let mut kept = lock(&self.kept);
        kept.turn_over();
        if kept.now.len() < KEPT {
            kept.now.insert(key, (asked_at, answer));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Kept {
    fn turn_over(&mut self) {
        if self.since.elapsed() >= GENERATION {
            self.before = std::mem::take(&mut self.now);
            self.since = Instant::now();
        }
    }
}

/// Why the instance service says that a token or a cookie proves nothing.
fn unproven(refused: &Status) -> Unproven {
    let details = refused.get_error_details();
    let reason = details.error_info().map(|info| info.reason.as_str());
    if reason == Some(Unproven::Expired.reason()) {
        Unproven::Expired
    } else {
        Unproven::Wrong
    }
}

/// A secret is never kept, only what it hashes to.
fn key(instance: &str, cookie: &str, token: &str) -> Key {
    let mut hash = Sha256::new();
    for part in [instance, cookie, token] {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// A question that is being asked.
struct Turn<'a> {
    identities: &'a Identities,
    client: CallerKey,
}

impl<'a> Turn<'a> {
    fn take(identities: &'a Identities, client: CallerKey) -> Option<Self> {
        let mut asking = lock(&identities.asking);
        let all: usize = asking.values().sum();
        let own = asking.get(&client).copied().unwrap_or_default();
        if all >= ASKED || own >= ASKED_BY_ONE {
            return None;
        }
        asking.insert(client, own + 1);
        Some(Self { identities, client })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut asking = lock(&self.identities.asking);
        if let Some(own) = asking.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                asking.remove(&self.client);
            }
        }
    }
}

impl Proofs {
    /// `prefix` tells that of the instance's databases. Only instances with flat app hosts have it in their cookies.
    fn of<B>(request: &HttpRequest<B>, prefix: impl FnOnce() -> String) -> Self {
        let headers = request.headers();
        let token = token_in(headers, request.uri().query().unwrap_or_default());
        // The pages of apps are at home where the cookie is, and may do less than the owner. What they may read over HTTP
        // needs a token (`CrossOrigin::needs_token`); over gRPC, none of them may come with the cookie alone.
        let cookies_count = !is_grpc(headers)
            || !headers.contains_key(ORIGIN) && !headers.contains_key(AUTHORIZATION);
        let mut proofs = Self {
            unproven: if token.is_none() && headers.contains_key(AUTHORIZATION) {
                Unproven::Wrong
            } else {
                Unproven::Missing
            },
            token,
            cookies: Vec::new(),
            cookies_count,
        };
        if headers.contains_key(COOKIE) {
            let lines = headers.get_all(COOKIE).iter();
            let mut lines = lines.filter_map(|line| line.to_str().ok());
            // One with this instance's own name before one with the general name.
            if lines.any(|line| line.contains(FLAT_COOKIE)) {
                let name = format!("{FLAT_COOKIE}{}", prefix());
                proofs.cookies.extend(cookies(headers, &name));
            }
            proofs.cookies.extend(cookies(headers, NESTED_COOKIE));
            proofs.cookies.truncate(COOKIES);
        }
        proofs
    }
}

fn cookies(headers: &HeaderMap, name: &str) -> Vec<String> {
    let lines = headers.get_all(COOKIE).iter();
    let pairs = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'));
    pairs
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(of, value)| *of == name && !value.is_empty() && value.len() <= LONGEST_COOKIE)
        .map(|(_, value)| value.to_owned())
        .collect()
}

/// The token of a request: as `Bearer`, as the password of `Basic`, or in the query. What cannot be one is none: a proxy may
/// have put a password of its own into the header.
fn token_in(headers: &HeaderMap, query: &str) -> Option<String> {
    let sent = headers.get(AUTHORIZATION);
    let token = match sent.and_then(|sent| sent.to_str().ok()?.split_once(' ')) {
        Some((scheme, value)) if scheme.eq_ignore_ascii_case("bearer") => value.trim().to_owned(),
        Some((scheme, value)) if scheme.eq_ignore_ascii_case("basic") => {
            let pair = String::from_utf8(STANDARD.decode(value.trim()).ok()?).ok()?;
            pair.split_once(':')?.1.to_owned()
        }
        Some(_) => return None,
        None if query.contains("bearer_token=") => form_urlencoded::parse(query.as_bytes())
            .find(|(name, _)| name == "bearer_token")?
            .1
            .into_owned(),
        None => return None,
    };
    let may_be_one = token.len() <= LONGEST_TOKEN && token.matches('.').count() == 2;
    may_be_one.then_some(token)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use http::{HeaderMap, Request};

    use super::{Proofs, key, token_in};

    #[test]
    fn proofs_are_found_where_clients_put_them() {
        let request = Request::get("http://a.example/x?y=1")
            .header("cookie", "_csrf=x; cozysessid=one; other=2")
            .header("cookie", "sess-cozy0=own;sess-cozy1=theirs; cozysessid=")
            .body(())
            .unwrap();
        let proofs = Proofs::of(&request, || "cozy0".to_owned());
        assert_eq!(proofs.cookies, ["own", "one"]);
        assert_eq!(proofs.token, None);
        let of = |header: &str, query: &str| {
            let mut headers = HeaderMap::new();
            if !header.is_empty() {
                headers.insert("authorization", header.parse().unwrap());
            }
            token_in(&headers, query)
        };
        assert_eq!(of("Bearer a.b.c", "").as_deref(), Some("a.b.c"));
        assert_eq!(of("basic eDphLmIuYw==", "").as_deref(), Some("a.b.c"));
        assert_eq!(of("", "x=1&bearer_token=a.b.c").as_deref(), Some("a.b.c"));
        for (header, query) in [
            ("Basic cHJveHk6c2VjcmV0", ""),
            ("Bearer secret", ""),
            ("Digest a.b.c", ""),
            ("Bearer x", "bearer_token=a.b.c"),
            ("", "bearer_token=x"),
            ("", ""),
        ] {
            assert_eq!(of(header, query), None, "{header} {query}");
        }
    }

    #[test]
    fn parts_of_a_key_are_not_mixed_up() {
        assert_ne!(key("a", "bc", ""), key("a", "b", "c"));
        assert_ne!(key("a", "b", ""), key("b", "a", ""));
    }
}
