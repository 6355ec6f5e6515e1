//! Full-text search, which is an addition to CouchDB: the answers are those of a CouchDB without it.

use http::StatusCode;

use super::{
    app::App, cluster::only_reads_of, designs, request::ApiRequest, response::ApiResponse,
};
use crate::{api_error::ApiError, storage::databases};

fn unavailable() -> ApiError {
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "service unavailable",
        "Search is not available",
    )
}

fn only_get_and_post(request: &ApiRequest) -> Result<(), ApiError> {
    match request.method.as_str() {
        "GET" | "HEAD" | "POST" => Ok(()),
        _ => Err(ApiError::method_not_allowed("GET,POST")),
    }
}

/// `/_search_analyze` and `/_nouveau_analyze`
pub(crate) fn analyze(request: &ApiRequest, route: &str) -> Result<ApiResponse, ApiError> {
    if route == "_search_analyze" {
        only_get_and_post(request)?;
        return Err(unavailable());
    }
    match request.method.as_str() {
        "POST" => Err(ApiError::missing()),
        _ => Err(ApiError::method_not_allowed("POST")),
    }
}

/// `/{db}/_design/{ddoc}/_search…` and `…/_nouveau…`
pub(crate) async fn search(
    app: &App,
    request: &ApiRequest,
    name: String,
    ddoc: String,
    function: &str,
    rest: &[&str],
) -> Result<ApiResponse, ApiError> {
    if function.starts_with("_nouveau") {
        app.store
            .read(move |conn| databases::open(conn, &name))
            .await?;
        return Err(ApiError::missing());
    }
    designs::open(app, name, ddoc).await?;
    if rest.len() != 1 {
        return Err(ApiError::bad_request("path not recognized"));
    }
    if function == "_search" {
        only_get_and_post(request)?;
    } else {
        only_reads_of(request, "GET")?;
    }
    Err(unavailable())
}
