//! `/apps/SLUG/icon` and `/konnectors/SLUG/icon`: the icons of apps, on the host of their instance.

use axum::{
    Extension,
    extract::{Request, State},
    response::Response,
};
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS},
};
use service_kit::json_api::{self, Segments};

use super::{file::File, reading::Asked, refusal::Why};
use crate::{
    actions::Shared,
    domain::{app_type::AppType, routes::clean},
};

/// A picture does nothing, whoever opens it by itself.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";

/// Shows the icon of an app.
pub(super) async fn show(
    State(shared): State<Shared>,
    Extension(kind): Extension<AppType>,
    Segments(asked): Segments<Asked>,
    request: Request,
) -> Result<Response, json_api::Error> {
    let (head, _) = request.into_parts();
    let app = asked.app(&shared, kind, &head).await?;
    let none = |told: &str| json_api::Error::new(StatusCode::NOT_FOUND, "NO_SUCH_ICON", told);
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
