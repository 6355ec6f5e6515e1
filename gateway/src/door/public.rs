//! The door for everybody.

use std::sync::Arc;

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tonic::Status;

use super::refuse_odd_grpc;
use crate::{
    accept::Handler,
    answer::{
        Body,
        grpc::{self, is_grpc},
        http::{Asked, plain, redirect},
    },
    directory::{Answer, Directory, Place, State},
    forward::Forwarder,
    host::Host,
    onboarding::{Onboarding, Step},
    pages::{Page, Pages},
    route,
};

/// Finds the instance of the host, refuses what must not be used, forwards gRPC, shows pages.
pub(crate) struct PublicDoor {
    pub(crate) onboarding: Onboarding,
    pub(crate) directory: Arc<Directory>,
    pub(crate) forwarder: Forwarder,
    pub(crate) pages: Arc<Pages>,
}

impl Handler for PublicDoor {
    const DOOR: &'static str = "public";

    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let host = match Host::of(&request) {
            Ok(host) => host,
            Err(malformed) => return plain(StatusCode::BAD_REQUEST, &malformed.to_string()),
        };
        // The query may hold a register token, so it is never logged.
        tracing::debug!(method = %request.method(), host = host.name(), path = request.uri().path(), "request");
        if !is_grpc(request.headers()) {
            return self.page(&host, request).await;
        }
        if let Some(refused) = refuse_odd_grpc(&request) {
            return refused;
        }
        self.call(&host, request)
            .await
            .unwrap_or_else(|status| grpc::answer(&status))
    }
}

impl PublicDoor {
    async fn call(
        &self,
        host: &Host,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Status> {
        let path = request.uri().path();
        let route = route::service_of(path)
            .and_then(route::public)
            .ok_or_else(|| grpc::no_such_service(path))?;
        let place = match self.directory.resolve(host).await {
            Answer::Found(place) => place,
            Answer::Moved(to) => return Err(grpc::moved(host, &to)),
            Answer::Unknown => return Err(grpc::unknown(host)),
            Answer::OutOfReach => return Err(grpc::out_of_reach()),
        };
        if let Some(refused) = grpc::refuse(&place) {
            return Err(refused);
        }
        self.forwarder
            .forward(route.service, host, Some(&place), request)
            .await
    }

    async fn page(&self, host: &Host, request: Request<Incoming>) -> Response<Body> {
        let answer = self.directory.resolve(host).await;
        let on_app_host = matches!(&answer, Answer::Found(place) if !place.app_slug.is_empty());
        let asked = Asked::of(&request, on_app_host || is_for_people(request.uri().path()));
        let show = |page: &Page<'_>, locale: &str| asked.page(&self.pages, page, locale);
        match &answer {
            Answer::Found(place) => match page_of(place, &request) {
                Found::Page(page) => show(&page, &place.tenant.locale),
                Found::Step(step) => {
                    self.onboarding
                        .answer(step, host, place, &asked, request)
                        .await
                }
            },
            Answer::Unknown => show(&Page::Unknown { host: host.name() }, ""),
            Answer::OutOfReach => show(&Page::OutOfReach, ""),
            Answer::Moved(to) => {
                let path = request
                    .uri()
                    .path_and_query()
                    .map_or("/", |path| path.as_str());
                redirect(to, path).unwrap_or_else(|| {
                    tracing::error!("a former address leads to what is no domain");
                    show(&Page::Unknown { host: host.name() }, "")
                })
            }
        }
    }
}

/// Whether pages are what who asks for a path without `Accept` means.
fn is_for_people(path: &str) -> bool {
    path == "/" || path.starts_with("/auth/")
}

/// What is at a path.
enum Found<'a> {
    Page(Page<'a>),
    Step(Step),
}

fn page_of<'a>(place: &'a Place, request: &Request<Incoming>) -> Found<'a> {
    let domain = place.tenant.domain.as_str();
    let path = request.uri().path();
    Found::Page(match &place.state {
        State::Deleting => Page::Deleting { domain },
        State::Blocked { reason } => Page::Blocked { domain, reason },
        State::Active if !place.app_slug.is_empty() => Page::App {
            domain,
            app: &place.app_slug,
        },
        State::Active => match Step::at(path) {
            Some(step) if !step.allows(request.method()) => Page::WrongMethod {
                allow: step.methods(),
            },
            Some(Step::Start) if !place.onboarding => Page::Ready { domain },
            Some(step) => return Found::Step(step),
            None => Page::NoPath { domain },
        },
    })
}
