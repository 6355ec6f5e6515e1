//! Passing an administrator's request on to the admin door of the original.

use std::{
    collections::HashMap,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    response::Response,
};
use futures::{Stream, StreamExt as _};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        AUTHORIZATION, CONNECTION, EXPECT, FORWARDED, HOST, PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, WWW_AUTHENTICATE,
    },
    request::Parts,
};
use service_kit::json_api::{Error, REQUEST_ID_HEADER};

use super::parameters::refused;
use crate::{
    actions::{
        find,
        follow::follow,
        request::{Answer, RequestOptions, Requests, relay::RelayPlan},
    },
    api::Shared,
    domain::{name::Name, operation::Phase},
    error,
    operations::{
        backend::{Asked, Backend, RelayError},
        relay::Ticket,
    },
};

/// Headers that are for one hop, or for Hamlet alone.
const KEPT_BACK: [HeaderName; 13] = [
    AUTHORIZATION,
    CONNECTION,
    EXPECT,
    HOST,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    WWW_AUTHENTICATE,
    SET_COOKIE,
];

/// Passes a request on. `route` is its route and `what` is what that is for; `parameters` are those of its path.
///
/// # Errors
/// 501 where there is no admin backend, the refusal of an instance that cannot be held, and 502 to 504 when the backend
/// does not answer.
pub(super) async fn pass_on(
    shared: &Shared,
    route: &str,
    what: &str,
    parameters: &HashMap<String, String>,
    request: Request,
) -> Result<Response, Error> {
    if shared.backends.is_empty() {
        return Err(lacks(what));
    }
    let (head, body) = request.into_parts();
    let is_odd = |value: &String| value.is_empty() || value == "." || value == "..";
    if parameters.values().any(is_odd) {
        return Err(Error::new(
            StatusCode::NOT_FOUND,
            "NO_SUCH_PATH",
            "a segment of the path is empty or consists of dots",
        ));
    }
    let caller = Whose::of(&head);
    let Some(domain) = parameters.get("domain") else {
        let backend = backend_of(shared, "", what)?;
        caller.log(route, "", "");
        return send(backend, head, body, None).await;
    };
    let name: Name = domain.parse().map_err(|_| {
        refused(error::Error::NoSuchInstance(
            domain.chars().take(80).collect(),
        ))
    })?;
    let found = find::idle_by_name(&shared.store, &name)
        .await
        .map_err(refused)?;
    let backend = backend_of(shared, &found.document.body.context, what)?;
    let mut ticket = None;
    let plan = RelayPlan {
        requests: &shared.relayed,
        found: &found,
        route,
        ticket: &mut ticket,
    };
    let key = shared.key.current();
    let requests = Requests {
        engine: &shared.engine,
        key: &key,
    };
    // A body cannot be compared, so the same request is never one that is known already.
    let options = RequestOptions {
        request_id: "",
        validate_only: false,
    };
    let answer = requests.ask(plan, options).await.map_err(refused)?;
    let (Answer::Accepted { id, .. }, Some(ticket)) = (answer, ticket) else {
        return Err(refused(error::Error::NoSuchOperation("relay".to_owned())));
    };
    caller.log(route, &found.document.body.domain, &id);
    tokio::select! {
        () = ticket.held() => {}
        failed = failure(shared, &id) => return Err(failed),
    }
    send(backend, head, body, Some(ticket)).await
}

/// Why the operation did not get the instance. Without end while it may.
async fn failure(shared: &Shared, id: &str) -> Error {
    let mut states = std::pin::pin!(follow(shared.engine.clone(), id.to_owned()));
    while let Some(state) = states.next().await {
        match state {
            Ok(operation) if operation.phase == Phase::Failed => {
                return refused(match operation.error.clone() {
                    Some(failure) => error::Error::Ended(failure),
                    None => error::Error::NoSuchOperation(format!("operations/{id}")),
                });
            }
            Ok(_) => {}
            Err(error) => return refused(error),
        }
    }
    std::future::pending().await
}

fn backend_of<'a>(shared: &'a Shared, context: &str, what: &str) -> Result<&'a Backend, Error> {
    shared.backends.of(context).ok_or_else(|| lacks(what))
}

fn lacks(what: &str) -> Error {
    Error::not_built(format!(
        "this version does not have it: {what}; with an admin_backend for the context, the original does it"
    ))
}

async fn send(
    backend: &Backend,
    head: Parts,
    body: Body,
    mut ticket: Option<Ticket>,
) -> Result<Response, Error> {
    let asked = Asked {
        method: head.method.clone(),
        path_and_query: head.uri.path_and_query().map_or("/", |it| it.as_str()),
        headers: passed_on(&head.headers),
        body: reqwest::Body::wrap_stream(body.into_data_stream()),
    };
    let answer = backend
        .relay(asked)
        .await
        .map_err(|error| refusal(&error))?;
    let status = answer.status();
    if let Some(ticket) = &mut ticket {
        ticket.answered(status.as_u16());
    }
    let headers = passed_on(answer.headers());
    let mut response = Response::new(Body::from_stream(Held {
        body: Box::pin(answer.bytes_stream()),
        _ticket: ticket,
    }));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

fn refusal(error: &RelayError) -> Error {
    let (status, code) = match error {
        RelayError::Password(_) | RelayError::Refused | RelayError::Path => {
            (StatusCode::BAD_GATEWAY, "ADMIN_BACKEND_UNUSABLE")
        }
        RelayError::Away(error) if error.is_timeout() => {
            (StatusCode::GATEWAY_TIMEOUT, "ADMIN_BACKEND_LATE")
        }
        RelayError::Away(_) => (StatusCode::BAD_GATEWAY, "ADMIN_BACKEND_AWAY"),
    };
    Error::new(status, code, error.to_string())
}

/// The headers that are passed on in either direction.
fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let is_kept_back = |name: &HeaderName| {
        KEPT_BACK.contains(name) || named.contains(name) || name.as_str().starts_with("x-hamlet-")
    };
    headers
        .iter()
        .filter(|(name, _)| !is_kept_back(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Whose request it is, for the log.
struct Whose {
    client: String,
    request_id: String,
}

impl Whose {
    /// The gateway has written the header anew, so that it is true.
    fn of(head: &Parts) -> Self {
        let text = |value: Option<&HeaderValue>| {
            let text = value.and_then(|value| value.to_str().ok());
            text.unwrap_or_default().chars().take(200).collect()
        };
        Self {
            client: text(head.headers.get(FORWARDED)),
            request_id: text(head.headers.get(REQUEST_ID_HEADER)),
        }
    }

    /// Without the query, which may hold secrets.
    fn log(&self, route: &str, domain: &str, operation: &str) {
        tracing::info!(
            route,
            domain,
            operation,
            client = self.client,
            request_id = self.request_id,
            "an administrator's request goes to the admin backend"
        );
    }
}

/// The body of the response. Its end frees the instance.
struct Held<S> {
    body: Pin<Box<S>>,
    _ticket: Option<Ticket>,
}

impl<S: Stream<Item = reqwest::Result<Bytes>>> Stream for Held<S> {
    type Item = reqwest::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.body.as_mut().poll_next(cx)
    }
}
