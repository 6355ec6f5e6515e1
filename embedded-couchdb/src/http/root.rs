//! The resources of the server, outside of databases.

use http::{StatusCode, header};

use super::{
    access, app::App, cluster, node, request::ApiRequest, response::ApiResponse,
    view_query::ViewQuery,
};
use crate::{
    api_error::ApiError,
    erlang::etag,
    json::{Json, obj},
    storage::databases::{self, NameRange},
};

/// The version of CouchDB whose API this server implements.
const VERSION: &str = "3.4.3";

fn only_reads(request: &ApiRequest) -> Result<(), ApiError> {
    match request.method.as_str() {
        "GET" | "HEAD" => Ok(()),
        _ => Err(ApiError::method_not_allowed("GET,HEAD")),
    }
}

/// `/`
pub(crate) fn welcome(app: &App, request: &ApiRequest) -> Result<ApiResponse, ApiError> {
    only_reads(request)?;
    Ok(ApiResponse::ok(&obj([
        ("couchdb", "Welcome".into()),
        ("version", VERSION.into()),
        ("uuid", app.uuid.as_str().into()),
        ("features", Json::Arr(Vec::new())),
        (
            "vendor",
            obj([
                ("name", "embedded-couchdb".into()),
                ("version", env!("CARGO_PKG_VERSION").into()),
            ]),
        ),
    ])))
}

/// `/_up`
pub(crate) fn up(request: &ApiRequest) -> Result<ApiResponse, ApiError> {
    only_reads(request)?;
    Ok(ApiResponse::ok(&obj([
        ("status", "ok".into()),
        ("seeds", obj([])),
    ])))
}

/// `/favicon.ico`
pub(crate) fn favicon(request: &ApiRequest) -> Result<ApiResponse, ApiError> {
    only_reads(request)?;
    Ok(
        ApiResponse::text(StatusCode::NOT_FOUND, "Not found.".to_owned())
            .with(header::CONTENT_TYPE, "text/plain"),
    )
}

/// `/_uuids`
pub(crate) fn uuids(request: &ApiRequest) -> Result<ApiResponse, ApiError> {
    if request.method != http::Method::GET {
        return Err(ApiError::method_not_allowed("GET"));
    }
    let count = request.query.get("count").unwrap_or("1");
    let count: u32 = count
        .parse()
        .map_err(|_| ApiError::bad_request("count must be a positive integer"))?;
    if count > 1000 {
        return Err(ApiError::bad_request("count parameter too large"));
    }
    let list = (0..count).map(|_| new_id().into()).collect();
    Ok(ApiResponse::ok(&obj([("uuids", Json::Arr(list))]))
        .with(header::CACHE_CONTROL, "no-cache")
        .with(header::PRAGMA, "no-cache"))
}

/// An id for a document without one. Ids ascend with time, so that B-trees grow at their end.
pub(crate) fn new_id() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

/// Handles the paths that need an administrator. `None` if the path belongs to a database.
pub(crate) async fn server_level(
    app: &App,
    request: &ApiRequest,
    segments: &[&str],
) -> Result<Option<ApiResponse>, ApiError> {
    let admin = request.caller.is_admin();
    let first = segments.first().copied().unwrap_or_default();
    let known = [
        "_all_dbs",
        "_dbs_info",
        "_active_tasks",
        "_scheduler",
        "_membership",
        "_node",
        "_replicate",
        "_hamlet",
        "_cluster_setup",
        "_db_updates",
        "_reshard",
    ];
    if !known.contains(&first) || (first == "_db_updates" && admin) {
        return Ok(None);
    }
    if !admin {
        return Err(match segments {
            ["_node", _, "_stats" | "_system" | "_prometheus", ..] => {
                ApiError::unauthorized("You are not a server admin or read-only metrics user")
            }
            ["_replicate"] if request.caller.name.is_none() => {
                ApiError::unauthorized("You are not an authenticated user")
            }
            _ => access::not_server_admin(),
        });
    }
    let response = match segments {
        ["_all_dbs", ..] => all_dbs(app, request).await?,
        ["_dbs_info", ..] => dbs_info(app, request).await?,
        ["_active_tasks", ..] => {
            only_reads(request)?;
            ApiResponse::ok(&Json::Arr(Vec::new()))
        }
        ["_scheduler", path @ ..] => cluster::scheduler(app, request, path).await?,
        ["_membership"] => cluster::membership(request)?,
        ["_reshard", path @ ..] => cluster::reshard(app, request, path).await?,
        ["_cluster_setup", ..] if request.method == http::Method::POST => {
            return Err(ApiError::not_implemented(
                "this server is one node, and needs no setup",
            ));
        }
        ["_cluster_setup", ..] => {
            cluster::only_reads_of(request, "GET,POST")?;
            ApiResponse::ok(&obj([("state", "single_node_enabled".into())]))
        }
        ["_node", path @ ..] => node::node(app, request, path).await?,
        ["_replicate", ..] => {
            if request.method != http::Method::POST {
                return Err(ApiError::method_not_allowed("POST"));
            }
            return Err(ApiError::not_implemented(
                "this server does not replicate by itself; let a CouchDB replicate from it or to it",
            ));
        }
        ["_hamlet", "faults"] if app.faults.is_some() => faults(app, request)?,
        _ => return Err(ApiError::missing()),
    };
    Ok(Some(response))
}

fn faults(app: &App, request: &ApiRequest) -> Result<ApiResponse, ApiError> {
    let Some(faults) = &app.faults else {
        return Err(ApiError::missing());
    };
    match request.method.as_str() {
        "PUT" => {
            faults
                .replace_from_json(&request.json()?)
                .map_err(ApiError::bad_request)?;
            Ok(ApiResponse::ok(&obj([("ok", true.into())])))
        }
        "DELETE" => {
            faults.clear();
            Ok(ApiResponse::ok(&obj([("ok", true.into())])))
        }
        _ => Err(ApiError::method_not_allowed("DELETE,PUT")),
    }
}

/// Databases are listed with the parameters of views.
fn name_range(request: &ApiRequest) -> Result<NameRange, ApiError> {
    let query = ViewQuery::parse(&request.query, None, false)?;
    query.check(false)?;
    Ok(NameRange {
        start: query.start.as_id(),
        end: query.end.as_id(),
        inclusive_end: query.inclusive_end,
        descending: query.descending,
        skip: query.skip,
        limit: query.limit,
    })
}

async fn all_dbs(app: &App, request: &ApiRequest) -> Result<ApiResponse, ApiError> {
    only_reads(request)?;
    let range = name_range(request)?;
    let found = app
        .store
        .read(move |conn| databases::list(conn, &range))
        .await?;
    let names = found.into_iter().map(|db| db.name.into()).collect();
    Ok(tagged(request, &Json::Arr(names)))
}

/// A response with an ETag of its text.
fn tagged(request: &ApiRequest, body: &Json) -> ApiResponse {
    let etag = etag(body.to_string().as_bytes());
    if request.has_seen(&etag) {
        return ApiResponse::not_modified(etag);
    }
    ApiResponse::ok(body).with(header::ETAG, etag)
}

async fn dbs_info(app: &App, request: &ApiRequest) -> Result<ApiResponse, ApiError> {
    let keys = match request.method.as_str() {
        "GET" | "HEAD" => {
            let range = name_range(request)?;
            let found = app
                .store
                .read(move |conn| databases::list(conn, &range))
                .await?;
            let list = found
                .iter()
                .map(|db| obj([("key", db.name.as_str().into()), ("info", db.info())]))
                .collect();
            return Ok(tagged(request, &Json::Arr(list)));
        }
        "POST" => {
            request.demand_json()?;
            let body = request.json_object()?;
            let keys = body
                .get("keys")
                .ok_or_else(|| ApiError::bad_request("`keys` member must exist."))?;
            keys.as_arr()
                .ok_or_else(|| ApiError::bad_request("`keys` member must be an array."))?
                .to_vec()
        }
        _ => return Err(ApiError::method_not_allowed("GET,HEAD,POST")),
    };
    if keys.len() > 100 {
        return Err(ApiError::bad_request("`keys` cannot exceed 100"));
    }
    let list = app
        .store
        .read(move |conn| {
            keys.into_iter()
                .map(|key| {
                    let found = match key.as_str() {
                        Some(name) => databases::open(conn, name),
                        None => Err(ApiError::no_database()),
                    };
                    match found {
                        Ok(db) => Ok(obj([("key", key), ("info", db.info())])),
                        Err(failure) if failure.status == StatusCode::NOT_FOUND => {
                            Ok(obj([("key", key), ("error", "not_found".into())]))
                        }
                        Err(failure) => Err(failure),
                    }
                })
                .collect::<Result<Vec<_>, _>>()
        })
        .await?;
    Ok(ApiResponse::ok(&Json::Arr(list)))
}
