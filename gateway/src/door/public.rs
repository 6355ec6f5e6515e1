//! The door for users and the public.

use std::sync::Arc;

use http::{Method, Request, Response, StatusCode, Version, header::STRICT_TRANSPORT_SECURITY};
use hyper::body::Incoming;
use tracing::Instrument as _;

use crate::{
    accept::{Connection, Handler, Origin},
    answer::{
        Body,
        grpc::{self, is_grpc},
        http::{
            Negotiated, favicon, found_at, keep_from_guesses, only, plain, redirect, robots,
            to_start, unless_read,
        },
    },
    cors::CrossOrigin,
    directory::{Directory, HostEntry, InstanceState, Resolution},
    exposure::Exposure,
    forward::{Forwarder, Target, Whose},
    gate::{Closed, Passage},
    health::Readiness,
    host::{Host, Malformed},
    identities::Identities,
    pages::{FAVICON_PATH, Page, Pages},
    proxied::Client,
    refusal::Refusal,
    route::{self, HttpRoutes},
};

/// Where a person sees how far a move of data is, at a backend that moves data.
const MOVE_PATH: &str = "/move/importing";
/// Where robots ask what they may look at.
const ROBOTS_PATH: &str = "/robots.txt";

/// Resolves the host, refuses blocked and deleted instances, finds out who calls, and forwards.
pub(crate) struct PublicDoor {
    pub(crate) identities: Arc<Identities>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) forwarder: Forwarder,
    pub(crate) pages: Arc<Pages>,
    pub(crate) readiness: Readiness,
    pub(crate) exposure: Arc<Exposure>,
    pub(crate) routes: HttpRoutes,
}

impl Handler for PublicDoor {
    const DOOR: &'static str = "public";
    const HTTP_SPAN: &'static str = "HTTP at the public door";

    async fn handle(&self, request: Request<Incoming>, origin: &Origin) -> Response<Body> {
        if let Some(answer) = self.readiness.of_process(&request) {
            return answer;
        }
        if request.method() == Method::CONNECT {
            return only("", "this is no proxy for others");
        }
        let sent = match Host::of(&request) {
            Ok(host) => host,
            Err(malformed) => return self.without_host(&request, malformed),
        };
        let client = Client::of(origin.peer, request.headers(), &self.exposure.trusted);
        let host = client
            .host_or(&sent)
            .or_default(self.exposure.default_instance.as_ref());
        // The query may hold a register token, so it is never logged.
        if !origin.trace.span().is_disabled() {
            tracing::debug!(method = %request.method(), host = host.name(), path = request.uri().path(), "request");
        }
        let whose = Whose {
            client: &client,
            host,
            entry: None,
            identity: None,
            passage: Passage::Active,
            trace: &origin.trace,
            last_lines: &origin.last_lines,
        };
        if !is_grpc(request.headers()) {
            let mut response = match grpc::refuse_no_call(&request) {
                Some(refused) => refused,
                None => self.answer(whose, request, &origin.connection).await,
            };
            if let Some(hsts) = self.exposure.hsts.header(client.scheme, host) {
                let headers = response.headers_mut();
                headers.entry(STRICT_TRANSPORT_SECURITY).or_insert(hsts);
            }
            return response;
        }
        if let Some(refused) = grpc::refuse_malformed(&request) {
            return refused;
        }
        self.call(whose, request)
            .await
            .unwrap_or_else(|refusal| grpc::refuse(&refusal))
    }
}

impl PublicDoor {
    /// Answers a request whose host cannot be read. Load balancers that look for the health send none with HTTP/1.0.
    fn without_host<B>(&self, request: &Request<B>, malformed: Malformed) -> Response<Body> {
        let may_lack_one = malformed == Malformed::Missing && request.version() == Version::HTTP_10;
        let health = may_lack_one.then(|| self.readiness.as_original(request));
        health
            .flatten()
            .unwrap_or_else(|| plain(StatusCode::BAD_REQUEST, &malformed.to_string()))
    }

    async fn call(
        &self,
        whose: Whose<'_>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Refusal> {
        let host = whose.host;
        let path = request.uri().path();
        let route = route::service_of(path)
            .and_then(route::public)
            .ok_or_else(|| Refusal::NoSuchService {
                path: path.to_owned(),
            })?;
        let entry = match self.directory.resolve(host).await {
            Resolution::Found(entry) => entry,
            Resolution::Moved(to) => return Err(Refusal::moved(host, &to)),
            Resolution::Unknown => return Err(Refusal::unknown(host)),
            Resolution::OutOfReach => return Err(Refusal::DirectoryUnreachable),
        };
        if let Some(refused) = Refusal::of_state(&entry) {
            return Err(refused);
        }
        let identity = self.identities.of(&entry, whose.caller(), &request, true);
        let identity = identity.await?;
        let trace = entry.trace(whose.trace, path);
        let whose = Whose {
            entry: Some(&entry),
            identity: Some(&identity),
            trace: &trace,
            ..whose
        };
        self.forwarder
            .forward(route.service, whose, request)
            .instrument(trace.span().clone())
            .await
            .map(|response| response.map(Body::Forwarded))
    }

    /// Answers a request that is no gRPC: by the service of its path, by the backend of the instance, or with a page.
    async fn answer(
        &self,
        whose: Whose<'_>,
        request: Request<Incoming>,
        connection: &Arc<Connection>,
    ) -> Response<Body> {
        let resolution = self.directory.resolve(whose.host).await;
        let other_page =
            CrossOrigin::of(&request).filter(|_| !self.is_for_backend(&resolution, &request));
        let Some(page) = other_page else {
            return self
                .answer_of(whose, request, connection, &resolution, true)
                .await;
        };
        let host = whose.host;
        if let Some(answer) = page.preflight(&self.directory, host).await {
            return answer;
        }
        let by_session = !page.needs_token(host);
        let mut response = self
            .answer_of(whose, request, connection, &resolution, by_session)
            .await;
        // Refusals, too: a script that may not read them takes them for a broken network.
        page.open(&self.directory, host, response.headers_mut())
            .await;
        response
    }

    /// Whether a backend answers, which says itself who may read its answers.
    fn is_for_backend(&self, resolution: &Resolution, request: &Request<Incoming>) -> bool {
        let Resolution::Found(entry) = resolution else {
            return false;
        };
        let target = self.target(entry, request);
        matches!(target, Some((Target::Backend(_), _)))
    }

    /// The same, whatever page asks. The session counts for something only where `by_session` says so.
    async fn answer_of(
        &self,
        whose: Whose<'_>,
        request: Request<Incoming>,
        connection: &Arc<Connection>,
        resolution: &Resolution,
        by_session: bool,
    ) -> Response<Body> {
        let Resolution::Found(entry) = resolution else {
            return match self.readiness.as_original(&request) {
                Some(answer) => answer,
                None => self.page(whose, resolution, &request),
            };
        };
        if entry.backend.is_none()
            && let Some(answer) = self.readiness.as_original(&request)
        {
            return answer;
        }
        let Some((target, passage)) = self.target(entry, &request) else {
            return self.page(whose, resolution, &request);
        };
        if let Some(closed) = passage.closed(entry) {
            let asked = Negotiated::of(&request, passage.is_for_people());
            let moves = closed == Closed::Moving && asked.wants_page();
            return match moves {
                true if is_read(request.method()) => found_at(MOVE_PATH),
                _ => self.page(Whose { passage, ..whose }, resolution, &request),
            };
        }
        let is_for_people = passage.is_for_people() || is_for_people(request.uri().path());
        let asked = Negotiated::of(&request, is_for_people);
        let mut identity = None;
        // A backend authenticates its callers itself.
        if let Target::Service(_) = target {
            let found = self
                .identities
                .of(entry, whose.caller(), &request, by_session);
            let found = match found.await {
                Ok(found) => found,
                Err(refusal) => return asked.refuse(&self.pages, &refusal, &entry.tenant.locale),
            };
            // Who has a session is the owner, who may have arrived this moment.
            if !found.is_known() && entry.is_app_without_owner() {
                return to_start(&entry.tenant.url());
            }
            identity = Some(found);
        }
        let is_of_service = matches!(target, Target::Service(_));
        let trace = entry.trace(whose.trace, Self::HTTP_SPAN);
        let whose = Whose {
            entry: Some(entry),
            identity: identity.as_ref(),
            passage,
            trace: &trace,
            ..whose
        };
        let forwarded = self
            .forwarder
            .forward_http(target, whose, connection, request)
            .instrument(trace.span().clone())
            .await;
        match forwarded {
            Ok(mut response) => {
                // A backend says itself how browsers are to take its answers.
                if is_of_service {
                    keep_from_guesses(response.headers_mut());
                }
                response.map(Body::ForwardedHttp)
            }
            Err(refusal) => asked.refuse(&self.pages, &refusal, &entry.tenant.locale),
        }
    }

    /// Where a request goes, and what the state of the instance has to let pass for it; `None` for the gateway's own pages.
    fn target<'a>(
        &self,
        entry: &'a HostEntry,
        request: &Request<Incoming>,
    ) -> Option<(Target<'a>, Passage)> {
        let (method, path) = (request.method(), request.uri().path());
        let is_app_host = !entry.app_slug.is_empty();
        let Some(backend) = &entry.backend else {
            let service = self.routes.of(path, is_app_host)?;
            return Some((Target::Service(service), Passage::Active));
        };
        let own = self.routes.own(&backend.own, method, path, is_app_host);
        let target = own.map_or(Target::Backend(backend), Target::Service);
        let passage = Passage::to_backend(path, is_app_host, &entry.state, request.headers());
        Some((target, passage))
    }

    fn page(
        &self,
        whose: Whose<'_>,
        answer: &Resolution,
        request: &Request<Incoming>,
    ) -> Response<Body> {
        let host = whose.host;
        let on_app_host = matches!(answer, Resolution::Found(entry) if !entry.app_slug.is_empty());
        let is_for_people =
            on_app_host || whose.passage.is_for_people() || is_for_people(request.uri().path());
        let asked = Negotiated::of(request, is_for_people);
        let show = |page: &Page<'_>, locale: &str| asked.page(&self.pages, page, locale);
        let is_head = request.method() == Method::HEAD;
        match answer {
            _ if answers_robots(answer, request) => {
                unless_read(request).unwrap_or_else(|| robots(is_head))
            }
            Resolution::Found(_) if is_favicon(request.uri().path()) => {
                unless_read(request).unwrap_or_else(|| favicon(is_head))
            }
            Resolution::Found(entry) => asked.page_by(
                &self.pages,
                &page_of(entry),
                &entry.tenant.locale,
                entry.operator.as_deref(),
            ),
            Resolution::Unknown => show(&Page::Unknown { host: host.name() }, ""),
            Resolution::OutOfReach => show(&Page::OutOfReach, ""),
            Resolution::Moved(to) => {
                let path = request
                    .uri()
                    .path_and_query()
                    .map_or("/", |path| path.as_str());
                redirect(to, path).unwrap_or_else(|| {
                    tracing::error!("the redirect of a former domain is not a domain");
                    show(&Page::Unknown { host: host.name() }, "")
                })
            }
        }
    }
}

fn is_read(method: &Method) -> bool {
    [Method::GET, Method::HEAD].contains(method)
}

/// Whether a request for this path without `Accept` is answered with a page.
fn is_for_people(path: &str) -> bool {
    path == "/" || path.starts_with("/auth/")
}

/// Whether a robot asks where it may look, at a host that no backend and no app answers for.
fn answers_robots(answer: &Resolution, request: &Request<Incoming>) -> bool {
    let is_here = match answer {
        Resolution::Found(entry) => entry.backend.is_none(),
        Resolution::Unknown => true,
        Resolution::Moved(_) | Resolution::OutOfReach => false,
    };
    is_here && request.uri().path() == ROBOTS_PATH
}

fn is_favicon(path: &str) -> bool {
    path == FAVICON_PATH || path == "/favicon.ico"
}

/// What a person sees where no service answers.
fn page_of(entry: &HostEntry) -> Page<'_> {
    let domain = entry.tenant.domain.as_str();
    match &entry.state {
        InstanceState::Deleting => Page::Deleting { domain },
        InstanceState::Blocked { reason } => Page::Blocked { domain, reason },
        InstanceState::Deleted { until } => Page::Deleted {
            domain,
            until: until.as_ref(),
        },
        InstanceState::Active => Page::NoPath { domain },
    }
}
