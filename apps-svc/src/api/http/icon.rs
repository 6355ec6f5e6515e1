//! `/apps/SLUG/icon` and `/konnectors/SLUG/icon`: the icons of apps, on the host of their instance.

use axum::{
    Extension, Router,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_SECURITY_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS},
};
use serde::Deserialize;
use service_kit::{
    caller::Caller,
    json_api::{self, Segments},
};
use tonic::Status;

use super::{file::File, refusal::Why};
use crate::{
    actions::{Shared, authorize::may_read, open::open},
    domain::{app_type::AppType, routes::clean, slug},
    error::Error,
};

/// A picture does nothing, whoever opens it by itself.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";

/// The parameters in the path.
#[derive(Debug, Deserialize)]
struct Asked {
    slug: String,
    version: Option<String>,
}

pub(super) fn routes() -> Router<Shared> {
    let of = |path: &str, kind: AppType| {
        Router::new()
            .route(&format!("/{path}/{{slug}}/icon"), get(show))
            .route(&format!("/{path}/{{slug}}/icon/{{version}}"), get(show))
            .layer(Extension(kind))
    };
    of("apps", AppType::Webapp).merge(of("konnectors", AppType::Konnector))
}

async fn show(
    State(shared): State<Shared>,
    Extension(kind): Extension<AppType>,
    Segments(asked): Segments<Asked>,
    request: Request,
) -> Result<Response, json_api::Error> {
    let (head, _) = request.into_parts();
    let caller = head
        .extensions
        .get::<Caller>()
        .ok_or_else(|| Status::internal("the routes were served without authentication"))?;
    if let Some(wrong) = slug::wrong(&asked.slug) {
        return Err(json_api::Error::parameter("slug", wrong));
    }
    let tenant = caller.tenant()?;
    let Some(identity) = caller.identity() else {
        let told = "log in, or send a token of the instance";
        let status = StatusCode::UNAUTHORIZED;
        let mut response = json_api::Error::new(status, "TOKEN_MISSING", told).into_response();
        let wanted = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(WWW_AUTHENTICATE, wanted);
        return Ok(response);
    };
    let may = may_read(&shared, tenant, identity, kind, &asked.slug).await;
    if !may.map_err(Status::from)? {
        return Err(json_api::Error::new(
            StatusCode::FORBIDDEN,
            "SCOPE_TOO_SMALL",
            format!("the token needs {}:GET", kind.doctype()),
        ));
    }
    let app = open(&shared, tenant, kind, &asked.slug)
        .await
        .map_err(Status::from)?;
    let app = app.ok_or_else(|| {
        Status::from(Error::NotInstalled {
            kind: kind.permission_type(),
            slug: asked.slug.clone(),
            domain: tenant.domain.clone(),
        })
    })?;
    let none = |told: &str| json_api::Error::new(StatusCode::NOT_FOUND, "NO_SUCH_ICON", told);
    if asked.version.as_ref().is_some_and(|it| *it != app.version) {
        return Err(none("this version is not the one that is installed"));
    }
    let path = clean(&format!("/{}", app.icon));
    let leaf = app
        .files
        .as_ref()
        .and_then(|files| files.get(path.trim_start_matches('/')))
        .ok_or_else(|| none("the app has no icon"))?;
    let file = File {
        leaf,
        // Another version has another address.
        is_immutable: asked.version.is_some(),
        is_public: false,
    };
    let mut response = file
        .answer(&shared.contents, &head)
        .await
        .map_err(|why| match why {
            Why::Failed(status) => json_api::Error::from(status),
            _ => none("the files of the app are not in the content store"),
        })?;
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}
