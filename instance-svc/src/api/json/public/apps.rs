//! `/apps` and `/konnectors`: the apps of an instance.

use std::time::Duration;

use axum::{
    Extension,
    extract::State,
    response::{IntoResponse as _, Response},
};
use hamlet_proto::hamlet::apps::v1::{
    App, GetAppRequest, InstallAppRequest, ListAppsRequest, UninstallAppRequest, UpdateAppRequest,
    app,
};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use service_kit::{
    caller::for_tenant,
    json_api::{
        self, JsonApi, Query, Segments,
        query::{flag, number, text},
    },
    rights::Verb,
};
use tonic::{Code, Request, Status};

use super::bearer::{Bearer, Refusal};
use crate::{
    api::Shared,
    domain::{name::app_domain, scope},
};

/// How long a call that reads or removes may take.
const CALL: Duration = Duration::from_secs(10);
/// How long fetching and installing an app may take.
const INSTALLATION: Duration = Duration::from_secs(120);
/// How many apps a page has when the request does not say.
const PAGE: i64 = 100;
/// The largest number of apps in a page. One more is read.
const LARGEST_PAGE: usize = 999;

/// A kind of app.
#[derive(Debug)]
pub(super) struct Kind {
    kind: app::Kind,
    doctype: &'static str,
    /// The path of its routes, without a slash.
    pub(super) path: &'static str,
}

impl Kind {
    pub(super) const WEBAPP: &'static Self = &Self {
        kind: app::Kind::Webapp,
        doctype: "io.cozy.apps",
        path: "apps",
    };
    pub(super) const KONNECTOR: &'static Self = &Self {
        kind: app::Kind::Konnector,
        doctype: "io.cozy.konnectors",
        path: "konnectors",
    };
}

type ThisKind = Extension<&'static Kind>;

fn call<T>(message: T, bearer: &Bearer, limit: Duration) -> Request<T> {
    let mut request = for_tenant(message, &bearer.tenant);
    request.set_timeout(limit);
    request
}

/// The parameters of lists.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Page {
    #[serde(deserialize_with = "number")]
    limit: Option<i64>,
    /// The id of the first app of the page.
    #[serde(deserialize_with = "text")]
    start_key: Option<String>,
}

/// Lists apps.
pub(super) async fn list(
    State(shared): State<Shared>,
    Extension(kind): ThisKind,
    bearer: Bearer,
    Query(page): Query<Page>,
) -> Result<Response, Refusal> {
    bearer.token.require(kind.doctype, Verb::Get)?;
    // 0 is no limit at the original, and no client of it expects an empty page.
    let limit = page.limit.filter(|it| *it != 0).unwrap_or(PAGE);
    let Some(limit) = usize::try_from(limit)
        .ok()
        .filter(|it| (1..=LARGEST_PAGE).contains(it))
    else {
        let wrong = format!("is no number of apps; give 1 to {LARGEST_PAGE}");
        return Ok(json_api::Error::parameter("limit", wrong).into_response());
    };
    let prefix = format!("{}/", kind.doctype);
    let start = page.start_key.unwrap_or_default();
    let start = start.strip_prefix(&prefix).unwrap_or(&start);
    let mut apps = Vec::new();
    if !start.is_empty() {
        apps.extend(installed(get(&shared, kind, &bearer, start).await)?);
    }
    // One more than the page has: the next page begins with it.
    let rest = (limit + 1).saturating_sub(apps.len());
    let request = ListAppsRequest {
        kind: kind.kind.into(),
        page_size: i32::try_from(rest).unwrap_or(i32::MAX),
        page_token: start.to_owned(),
        with_document: true,
    };
    let mut client = shared.peers.apps();
    let listed = client.list_apps(call(request, &bearer, CALL)).await?;
    apps.extend(listed.into_inner().apps);
    let links = match apps.get(limit) {
        None => json!({}),
        Some(next) => json!({
            "next": format!("/{}/?limit={limit}&start_key={}%2F{}", kind.path, kind.doctype, next.slug)
        }),
    };
    apps.truncate(limit);
    let apps: Vec<Value> = apps
        .iter()
        .map(|app| object(&shared, kind, app, Some(&bearer)))
        .collect();
    let document = json!({"meta": {"count": apps.len()}, "data": apps, "links": links});
    Ok(JsonApi(StatusCode::OK, document).into_response())
}

async fn get(shared: &Shared, kind: &Kind, bearer: &Bearer, slug: &str) -> Result<App, Status> {
    let request = GetAppRequest {
        slug: slug.to_owned(),
        kind: kind.kind.into(),
        with_document: true,
    };
    let mut client = shared.peers.apps();
    let app = client.get_app(call(request, bearer, CALL)).await?;
    Ok(app.into_inner())
}

/// The app that was read; `None` when it is not installed.
fn installed(read: Result<App, Status>) -> Result<Option<App>, Status> {
    match read {
        Ok(app) => Ok(Some(app)),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(status),
    }
}

/// Shows an app.
pub(super) async fn show(
    State(shared): State<Shared>,
    Extension(kind): ThisKind,
    bearer: Bearer,
    Segments(slug): Segments<String>,
) -> Result<JsonApi<Value>, Refusal> {
    let id = format!("{}/{slug}", kind.doctype);
    bearer.token.require_one(kind.doctype, Verb::Get, &id)?;
    let app = get(&shared, kind, &bearer, &slug).await?;
    let data = object(&shared, kind, &app, Some(&bearer));
    Ok(JsonApi(StatusCode::OK, json!({"data": data})))
}

/// The parameters of installations and updates.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Source {
    #[serde(deserialize_with = "text")]
    source: Option<String>,
    #[serde(deserialize_with = "flag")]
    deactivated: Option<bool>,
    #[serde(deserialize_with = "flag")]
    permissions_acked: Option<bool>,
    #[serde(deserialize_with = "text")]
    parameters: Option<String>,
}

impl Source {
    /// Refuses what this version cannot do.
    fn check_built(&self) -> Result<(), json_api::Error> {
        let unbuilt = [
            ("Deactivated", self.deactivated == Some(true)),
            ("Parameters", self.parameters.is_some()),
        ];
        match unbuilt.into_iter().find(|(_, is_asked)| *is_asked) {
            None => Ok(()),
            Some((name, _)) => {
                let told = format!("this version cannot do what {name} asks for; leave it out");
                Err(json_api::Error::not_built(told).because_of(name))
            }
        }
    }
}

fn check_slug(slug: &str) -> Result<(), json_api::Error> {
    if scope::is_slug(slug) {
        return Ok(());
    }
    Err(json_api::Error::parameter(
        "slug",
        "is no slug of an app; one looks like drive",
    ))
}

/// Installs an app, and answers when that is done.
pub(super) async fn install(
    State(shared): State<Shared>,
    Extension(kind): ThisKind,
    bearer: Bearer,
    Segments(slug): Segments<String>,
    Query(asked): Query<Source>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    bearer.token.require(kind.doctype, Verb::Post)?;
    if let Err(refused) = check_slug(&slug).and_then(|()| asked.check_built()) {
        return Ok(refused.into_response());
    }
    let source = asked.source;
    let request = InstallAppRequest {
        source: source.unwrap_or_else(|| slug.clone()),
        slug,
        kind: kind.kind.into(),
        time_limit: prost_types::Duration::try_from(INSTALLATION).ok(),
        with_document: true,
        ..InstallAppRequest::default()
    };
    let mut client = shared.peers.apps();
    let installed = client
        .install_app(call(request, &bearer, INSTALLATION))
        .await;
    Ok(written(&shared, kind, installed, &headers))
}

/// Updates an app, and answers when that is done. A version that asks for more than is granted waits for the owner, unless the
/// parameters grant it.
pub(super) async fn update(
    State(shared): State<Shared>,
    Extension(kind): ThisKind,
    bearer: Bearer,
    Segments(slug): Segments<String>,
    Query(asked): Query<Source>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    // The original asks for this verb here, too.
    bearer.token.require(kind.doctype, Verb::Post)?;
    if let Err(refused) = asked.check_built() {
        return Ok(refused.into_response());
    }
    let request = UpdateAppRequest {
        slug,
        kind: kind.kind.into(),
        source: asked.source.unwrap_or_default(),
        permissions_acked: asked.permissions_acked == Some(true),
        time_limit: prost_types::Duration::try_from(INSTALLATION).ok(),
        with_document: true,
        ..UpdateAppRequest::default()
    };
    let mut client = shared.peers.apps();
    let updated = client
        .update_app(call(request, &bearer, INSTALLATION))
        .await;
    Ok(written(&shared, kind, updated, &headers))
}

/// Removes an app.
pub(super) async fn uninstall(
    State(shared): State<Shared>,
    Extension(kind): ThisKind,
    bearer: Bearer,
    Segments(slug): Segments<String>,
) -> Result<JsonApi<Value>, Refusal> {
    bearer.token.require(kind.doctype, Verb::Delete)?;
    let request = UninstallAppRequest {
        slug,
        kind: kind.kind.into(),
        with_document: true,
        ..UninstallAppRequest::default()
    };
    let mut client = shared.peers.apps();
    let removed = client.uninstall_app(call(request, &bearer, CALL)).await?;
    let app = removed.into_inner().app.unwrap_or_default();
    let data = object(&shared, kind, &app, None);
    Ok(JsonApi(StatusCode::OK, json!({"data": data})))
}

/// What is below an app and not built yet: its logs, opening it.
pub(super) async fn unbuilt(_: Bearer) -> json_api::Error {
    json_api::Error::not_built("this version does not have what is below an app")
}

/// The parameter that gives a field of the contract.
fn parameter_of(field: &str) -> String {
    match field {
        "source" => "Source".to_owned(),
        other => other.to_owned(),
    }
}

/// What came of an installation or an update: an event for callers that want a stream of them.
fn written(
    shared: &Shared,
    kind: &Kind,
    outcome: Result<tonic::Response<App>, Status>,
    headers: &HeaderMap,
) -> Response {
    let accepted = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let wants_events = accepted.is_some_and(|accept| accept.contains("text/event-stream"));
    let outcome = outcome.map(|app| json!({"data": object(shared, kind, &app.into_inner(), None)}));
    if !wants_events {
        return match outcome {
            Ok(document) => JsonApi(StatusCode::ACCEPTED, document).into_response(),
            Err(status) => json_api::Error::from(status)
                .with_parameters(parameter_of)
                .into_response(),
        };
    }
    let (event, data) = match outcome {
        Ok(document) => ("state", document),
        Err(status) => ("error", status.message().into()),
    };
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, format!("event: {event}\r\ndata: {data}\r\n\r\n")).into_response()
}

/// An app as a resource. What a bearer sees of an installed web app has the address of its host.
fn object(shared: &Shared, kind: &Kind, app: &App, bearer: Option<&Bearer>) -> Value {
    let Kind { path, doctype, .. } = kind;
    let slug = &app.slug;
    let attributes: Map<String, Value> = serde_json::from_str(&app.document).unwrap_or_default();
    let mut links: Map<String, Value> = [
        ("self", format!("/{path}/{slug}")),
        ("icon", format!("/{path}/{slug}/icon/{}", app.version)),
    ]
    .map(|(name, link)| (name.to_owned(), link.into()))
    .into_iter()
    .collect();
    match (kind.kind, bearer) {
        (app::Kind::Webapp, Some(bearer)) => {
            let document = &bearer.token.found.document.body;
            let subdomains = shared.contexts.get(&document.context).subdomains;
            let host = app_domain(&document.domain, slug, subdomains);
            links.insert("related".to_owned(), shared.config.url_of(&host).into());
        }
        (app::Kind::Konnector, _) => {
            let link = format!("/permissions/{path}/{slug}");
            links.insert("permissions".to_owned(), link.into());
        }
        _ => {}
    }
    json!({
        "type": doctype, "id": format!("{doctype}/{slug}"), "attributes": attributes,
        "meta": {"rev": app.etag}, "links": links
    })
}
