//! `/apps/SLUG/download` and `/konnectors/SLUG/download`: the code of an app, as an archive.

use axum::{
    Extension,
    body::Body,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use http::{
    Method, StatusCode,
    header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE},
};
use service_kit::json_api::{self, Segments};

use super::reading::Asked;
use crate::{
    actions::{Shared, pack::pack},
    domain::app_type::AppType,
};

/// Sends the files that are installed, wherever the app came from.
pub(super) async fn send(
    State(shared): State<Shared>,
    Extension(kind): Extension<AppType>,
    Segments(asked): Segments<Asked>,
    request: Request,
) -> Result<Response, json_api::Error> {
    let (head, _) = request.into_parts();
    let app = asked.app(&shared, kind, &head).await?;
    let Some(files) = app.files.clone() else {
        let told = "the files of the app are not in the content store; an update brings them back";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        return Err(json_api::Error::new(status, "APP_NOT_READY", told));
    };
    let name = format!("attachment; filename=\"{}.tar.gz\"", app.slug);
    let headers = [
        (CONTENT_TYPE, "application/gzip".to_owned()),
        (CONTENT_DISPOSITION, name),
        (CACHE_CONTROL, "private, no-store".to_owned()),
    ];
    if head.method == Method::HEAD {
        return Ok(headers.into_response());
    }
    let Some(archive) = pack(&shared, files) else {
        let told = "too many apps are being downloaded; try again in a moment";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        return Err(json_api::Error::new(status, "TOO_MANY_DOWNLOADS", told));
    };
    Ok((headers, Body::from_stream(archive)).into_response())
}
