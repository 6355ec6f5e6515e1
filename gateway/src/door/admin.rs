//! The door for administrators.

use std::sync::Arc;

use http::{Method, Request, Response, StatusCode, header::AUTHORIZATION};
use hyper::body::Incoming;
use serde_json::json;
use service_kit::status::Failure;
use tonic::{Code, Status};
use tower::ServiceExt as _;

use super::refuse_odd_grpc;
use crate::{
    accept::Handler,
    answer::{
        Body,
        grpc::{self, is_grpc},
        http::{Asked, challenge, errors, plain},
    },
    credential::{Credential, Refused},
    directory::{Answer, Directory, Place},
    forward::Forwarder,
    health::{self, HealthService},
    host::Host,
    route,
};

/// Lets in who has the admin credential, and forwards gRPC. Blocked instances and those that are
/// being destroyed are reachable here.
pub(crate) struct AdminDoor {
    pub(crate) directory: Arc<Directory>,
    pub(crate) forwarder: Forwarder,
    pub(crate) credential: Credential,
    pub(crate) health: HealthService,
}

impl Handler for AdminDoor {
    const DOOR: &'static str = "admin";

    async fn handle(&self, mut request: Request<Incoming>) -> Response<Body> {
        let host = match Host::of(&request) {
            Ok(host) => host,
            Err(malformed) => return plain(StatusCode::BAD_REQUEST, &malformed.to_string()),
        };
        tracing::debug!(method = %request.method(), host = host.name(), path = request.uri().path(), "admin request");
        let checked = self.credential.check(request.headers());
        // It opened this door, and opens nothing behind it.
        request.headers_mut().remove(AUTHORIZATION);
        if !is_grpc(request.headers()) {
            return answer_http(&request, checked);
        }
        if let Some(refused) = refuse_odd_grpc(&request) {
            return refused;
        }
        self.call(&host, request, checked)
            .await
            .unwrap_or_else(|status| grpc::answer(&status))
    }
}

impl AdminDoor {
    async fn call(
        &self,
        host: &Host,
        request: Request<Incoming>,
        checked: Result<(), Refused>,
    ) -> Result<Response<Body>, Status> {
        let path = request.uri().path();
        let service = route::service_of(path);
        if service == Some(health::SERVICE) {
            let Ok(response) = self.health.clone().oneshot(request).await;
            return Ok(response.map(Body::Own));
        }
        checked.map_err(|refused| {
            Failure::new(Code::Unauthenticated, reason(refused), refused.to_string()).build()
        })?;
        let route = service
            .and_then(route::admin)
            .ok_or_else(|| grpc::no_such_service(path))?;
        let place = if route.for_instance {
            Some(self.place(host).await?)
        } else {
            None
        };
        self.forwarder
            .forward(route.service, host, place.as_deref(), request)
            .await
    }

    async fn place(&self, host: &Host) -> Result<Arc<Place>, Status> {
        match self.directory.resolve(host).await {
            Answer::Found(place) => Ok(place),
            Answer::Moved(to) => Err(grpc::moved(host, &to)),
            Answer::Unknown => Err(grpc::unknown(host)),
            Answer::OutOfReach => Err(grpc::out_of_reach()),
        }
    }
}

fn answer_http(request: &Request<Incoming>, checked: Result<(), Refused>) -> Response<Body> {
    let asked = Asked::of(request, false);
    let error = |status: StatusCode, code: &str, title: &str, detail: &str| {
        asked.json(status, &errors(status, code, title, detail))
    };
    if let Err(refused) = checked {
        let status = StatusCode::UNAUTHORIZED;
        let mut response = error(
            status,
            reason(refused),
            "Unauthorized",
            &refused.to_string(),
        );
        challenge(response.headers_mut());
        return response;
    }
    let path = request.uri().path();
    let read = [Method::GET, Method::HEAD].contains(request.method());
    if path == "/version" && read {
        return asked.json(
            StatusCode::OK,
            &json!({"name": "hamlet", "version": env!("CARGO_PKG_VERSION")}),
        );
    }
    if path == "/instances" || path.starts_with("/instances/") {
        return error(
            StatusCode::NOT_IMPLEMENTED,
            "NOT_BUILT_YET",
            "Not Implemented",
            "the JSON API for instances is not built yet; use gRPC on this port, or the hamlet command",
        );
    }
    error(
        StatusCode::NOT_FOUND,
        "NO_SUCH_PATH",
        "Not Found",
        "there is nothing at this path; gRPC is spoken on this port, and GET /version answers",
    )
}

const fn reason(refused: Refused) -> &'static str {
    match refused {
        Refused::Missing => "ADMIN_CREDENTIAL_MISSING",
        Refused::Wrong => "ADMIN_CREDENTIAL_WRONG",
    }
}
