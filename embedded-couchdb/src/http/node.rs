//! `/_node/{node}/…`: the only node.

use std::sync::atomic::Ordering;

use http::StatusCode;

use super::{app::App, cluster::only_reads_of, config, request::ApiRequest, response::ApiResponse};
use crate::{
    api_error::ApiError,
    json::{Json, obj},
};

/// The name of the only node.
pub(crate) const NODE: &str = "nonode@nohost";

/// What sorts strings. An index that another version made would have to be built again.
pub(crate) const COLLATOR: &str = "icu4x-2.4";

/// `/_node/{node}/…`; `path` follows `_node`.
pub(crate) async fn node(
    app: &App,
    request: &ApiRequest,
    path: &[&str],
) -> Result<ApiResponse, ApiError> {
    let [node, rest @ ..] = path else {
        return Err(ApiError::bad_request("Incomplete path to _node request"));
    };
    if let ["_stats" | "_system" | "_versions"] = rest {
        only_reads_of(request, "GET")?;
    }
    if *node != "_local" && *node != NODE {
        return Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("no such node: {node}"),
        ));
    }
    match rest {
        [] => Ok(ApiResponse::ok(&obj([("name", NODE.into())]))),
        ["_stats", path @ ..] => {
            only_reads_of(request, "GET")?;
            Ok(ApiResponse::ok(&part(stats(app), path)))
        }
        ["_versions"] => Ok(ApiResponse::ok(&versions())),
        ["_config", path @ ..] => config::config(app, request, path).await,
        _ => Err(ApiError::missing()),
    }
}

/// What is at a path below an object: `null` if nothing is.
fn part(whole: Json, path: &[&str]) -> Json {
    path.iter().fold(whole, |within, name| {
        within.get(name).cloned().unwrap_or(Json::Null)
    })
}

fn stats(app: &App) -> Json {
    let requests = app.requests.load(Ordering::Relaxed);
    let counter = obj([
        ("value", requests.into()),
        ("type", "counter".into()),
        ("desc", "number of HTTP requests".into()),
    ]);
    obj([("couchdb", obj([("httpd", obj([("requests", counter)]))]))])
}

fn versions() -> Json {
    obj([
        ("javascript_engine", obj([("name", "quickjs".into())])),
        (
            "collation_driver",
            obj([
                ("name", "icu4x".into()),
                ("collator_version", COLLATOR.into()),
            ]),
        ),
    ])
}
