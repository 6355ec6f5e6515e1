//! What a cluster tells of itself and of its work. Here it is one node with nothing to do.

use http::{Method, StatusCode};

use super::{app::App, node::NODE, request::ApiRequest, response::ApiResponse};
use crate::{
    api_error::ApiError,
    json::{Json, obj},
    storage::databases,
};

/// Allows only reading, and tells so as `allowed` does.
pub(crate) fn only_reads_of(request: &ApiRequest, allowed: &str) -> Result<(), ApiError> {
    match request.method {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(ApiError::method_not_allowed(allowed)),
    }
}

fn empty_list(key: &str) -> ApiResponse {
    ApiResponse::ok(&obj([
        ("total_rows", 0_i64.into()),
        ("offset", 0_i64.into()),
        (key, Json::Arr(Vec::new())),
    ]))
}

/// `/_membership`
pub(crate) fn membership(request: &ApiRequest) -> Result<ApiResponse, ApiError> {
    only_reads_of(request, "GET")?;
    let nodes = || Json::Arr(vec![NODE.into()]);
    Ok(ApiResponse::ok(&obj([
        ("all_nodes", nodes()),
        ("cluster_nodes", nodes()),
    ])))
}

/// `/_scheduler/…`: there are no replications.
pub(crate) async fn scheduler(
    app: &App,
    request: &ApiRequest,
    path: &[&str],
) -> Result<ApiResponse, ApiError> {
    only_reads_of(request, "GET,HEAD")?;
    match path {
        ["jobs"] => {
            for name in ["limit", "skip"] {
                check_number(request, name)?;
            }
            Ok(empty_list("jobs"))
        }
        ["jobs", _] => Err(ApiError::missing()),
        ["docs", rest @ ..] => {
            let (database, document) = match rest {
                [] => (None, None),
                [database] => (Some((*database).to_owned()), None),
                [database, document] if database.ends_with("_replicator") => {
                    (Some((*database).to_owned()), Some(*document))
                }
                [folder @ .., "_replicator"] => {
                    (Some(format!("{}/_replicator", folder.join("/"))), None)
                }
                [folder @ .., "_replicator", document] => (
                    Some(format!("{}/_replicator", folder.join("/"))),
                    Some(*document),
                ),
                _ => return Err(ApiError::bad_request("Invalid path")),
            };
            if let Some(database) = database {
                if database != "_replicator" && !database.ends_with("/_replicator") {
                    return Err(ApiError::bad_request("Invalid path"));
                }
                app.store
                    .read(move |conn| databases::open(conn, &database))
                    .await?;
            }
            if document.is_some() {
                return Err(ApiError::missing());
            }
            request.query.count("limit")?;
            request.query.count("skip")?;
            check_states(request)?;
            Ok(empty_list("docs"))
        }
        _ => Ok(ApiResponse::json(
            StatusCode::NOT_FOUND,
            &obj([("error", "not found".into())]),
        )),
    }
}

/// Refuses states in which no replication can be.
fn check_states(request: &ApiRequest) -> Result<(), ApiError> {
    const STATES: &str = "initializing,error,running,pending,crashing,completed,failed";
    let Some(states) = request.query.get("states").filter(|it| !it.is_empty()) else {
        return Ok(());
    };
    let states: Vec<String> = states.split(',').map(str::to_ascii_lowercase).collect();
    let is_word =
        |state: &String| !state.is_empty() && state.bytes().all(|byte| byte.is_ascii_lowercase());
    if !states.iter().all(is_word) {
        return Err(ApiError::query(format!(
            "States must be one or more of [{STATES}]"
        )));
    }
    let unknown: Vec<String> = states
        .into_iter()
        .filter(|state| !STATES.split(',').any(|known| known == state))
        .collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(ApiError::query(format!(
        "Unknown states [{}]. Choose from: [{STATES}]",
        unknown.join(",")
    )))
}

fn check_number(request: &ApiRequest, name: &str) -> Result<(), ApiError> {
    match request.query.get(name).map(str::parse::<i64>) {
        None | Some(Ok(0..)) => Ok(()),
        Some(Ok(_)) => Err(ApiError::query(format!(
            "{name} not in range of [0,infinity]"
        ))),
        Some(Err(_)) => Err(ApiError::query(format!("{name} must be an integer"))),
    }
}

/// `/_reshard…`: databases are not divided here, so there is nothing to divide anew.
pub(crate) async fn reshard(
    app: &App,
    request: &ApiRequest,
    path: &[&str],
) -> Result<ApiResponse, ApiError> {
    let refused =
        || ApiError::not_implemented("databases are in one piece here, and cannot be divided");
    match (path, request.method.as_str()) {
        ([], "GET" | "HEAD") => {
            let mut state = vec![
                ("state".to_owned(), "running".into()),
                ("state_reason".to_owned(), Json::Null),
            ];
            for count in ["completed", "failed", "running", "stopped", "total"] {
                state.push((count.to_owned(), 0_i64.into()));
            }
            Ok(ApiResponse::ok(&Json::Obj(state)))
        }
        ([], _) => Err(ApiError::method_not_allowed("GET,HEAD")),
        (["state"], "GET" | "HEAD") => Ok(ApiResponse::ok(&obj([
            ("state", "running".into()),
            ("reason", Json::Null),
        ]))),
        (["state"], "PUT") => match request.json_object()?.get("state").and_then(Json::as_str) {
            Some("running") => Ok(ApiResponse::ok(&obj([("ok", true.into())]))),
            Some("stopped") => Err(refused()),
            _ => Err(ApiError::bad_request(
                "State field not `running` or `stopped`",
            )),
        },
        (["state"], _) => Err(ApiError::method_not_allowed("GET,HEAD,PUT")),
        (["jobs"], "GET" | "HEAD") => Ok(empty_list("jobs")),
        (["jobs"], "POST") => {
            request.demand_json()?;
            let job = request.json_object()?;
            if job.get("type").and_then(Json::as_str) != Some("split") {
                return Err(ApiError::bad_request("`job type must be `split`"));
            }
            if job.get("db").is_none() && job.get("shard").is_none() {
                return Err(ApiError::bad_request(
                    "Must specify at least `db` or `shard`",
                ));
            }
            if let Some(name) = job.get("db") {
                let name = name.as_str().unwrap_or_default().to_owned();
                let there = app.store.read(move |conn| databases::open(conn, &name));
                there
                    .await
                    .map_err(|_| ApiError::bad_request("Invalid `db`"))?;
            }
            Err(refused())
        }
        (["jobs"], _) => Err(ApiError::method_not_allowed("GET,HEAD,POST")),
        (["jobs", _], "GET" | "HEAD" | "DELETE")
        | (["jobs", _, "state"], "GET" | "HEAD" | "PUT") => Err(ApiError::missing()),
        (["jobs", _], _) => Err(ApiError::method_not_allowed("GET,HEAD,DELETE")),
        (["jobs", _, "state"], _) => Err(ApiError::method_not_allowed("GET,HEAD,PUT")),
        _ => Err(ApiError::missing()),
    }
}

/// `/{db}/_shards` and `/{db}/_shards/{id}`
pub(crate) async fn shards(
    app: &App,
    request: &ApiRequest,
    name: String,
    id: &[&str],
) -> Result<ApiResponse, ApiError> {
    const ALL: &str = "00000000-ffffffff";
    app.store
        .read(move |conn| databases::open(conn, &name))
        .await?;
    only_reads_of(request, "GET")?;
    let nodes = Json::Arr(vec![NODE.into()]);
    match id {
        [] => Ok(ApiResponse::ok(&obj([("shards", obj([(ALL, nodes)]))]))),
        [_] => Ok(ApiResponse::ok(&obj([
            ("range", ALL.into()),
            ("nodes", nodes),
        ]))),
        _ => Err(ApiError::missing()),
    }
}
