//! What belongs to the server as a whole.

use std::{
    sync::atomic::Ordering,
    time::{SystemTime, UNIX_EPOCH},
};

use http::{StatusCode, header};

use super::{App, VERSION, answer::Answer, call::Call};
use crate::{
    failure::Failure,
    json::{Json, obj},
    storage::databases::{self, NameRange},
};

/// Seconds since the epoch.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn only_reads(call: &Call) -> Result<(), Failure> {
    match call.method.as_str() {
        "GET" | "HEAD" => Ok(()),
        _ => Err(Failure::method_not_allowed("GET,HEAD")),
    }
}

/// `/`
pub(crate) fn welcome(app: &App, call: &Call) -> Result<Answer, Failure> {
    only_reads(call)?;
    Ok(Answer::ok(&obj([
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
pub(crate) fn up(call: &Call) -> Result<Answer, Failure> {
    only_reads(call)?;
    Ok(Answer::ok(&obj([
        ("status", "ok".into()),
        ("seeds", obj([])),
    ])))
}

/// `/favicon.ico`
pub(crate) fn favicon() -> Result<Answer, Failure> {
    Ok(Answer::text(StatusCode::NOT_FOUND, "Not found.".to_owned())
        .with(header::CONTENT_TYPE, "text/plain"))
}

/// `/_uuids`
pub(crate) fn uuids(call: &Call) -> Result<Answer, Failure> {
    if call.method != http::Method::GET {
        return Err(Failure::method_not_allowed("GET"));
    }
    let count = call.query.get("count").unwrap_or("1");
    let count: u32 = count
        .parse()
        .map_err(|_| Failure::bad_request("count must be a positive integer"))?;
    if count > 1000 {
        return Err(Failure::bad_request("count parameter too large"));
    }
    let list = (0..count).map(|_| new_id().into()).collect();
    Ok(Answer::ok(&obj([("uuids", Json::Arr(list))]))
        .with(header::CACHE_CONTROL, "no-cache")
        .with(header::PRAGMA, "no-cache"))
}

/// An id for a document that came without one. Ids made one after the other lie side by side.
pub(crate) fn new_id() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

/// The paths that only an administrator may use. None: the path is a database's.
pub(crate) async fn server_level(
    app: &App,
    call: &Call,
    segments: &[&str],
    admin: bool,
) -> Result<Option<Answer>, Failure> {
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
        "_config",
        "_stats",
        "_system",
        "_restart",
        "_log",
        "_reshard",
    ];
    if !known.contains(&first) || (first == "_db_updates" && admin) {
        return Ok(None);
    }
    if !admin {
        return Err(Failure::unauthorized(
            if matches!(segments, ["_node", _, "_stats", ..]) {
                "You are not a server admin or read-only metrics user"
            } else {
                "You are not a server admin."
            },
        ));
    }
    let empty_list = |key| {
        obj([
            ("total_rows", 0_i64.into()),
            ("offset", 0_i64.into()),
            (key, Json::Arr(Vec::new())),
        ])
    };
    let answer = match segments {
        ["_all_dbs"] => all_dbs(app, call).await?,
        ["_dbs_info"] => dbs_info(app, call).await?,
        ["_active_tasks"] => {
            only_reads(call)?;
            Answer::ok(&Json::Arr(Vec::new()))
        }
        ["_scheduler", "jobs"] => Answer::ok(&empty_list("jobs")),
        ["_scheduler", "docs"] => Answer::ok(&empty_list("docs")),
        ["_membership"] => {
            let nodes = || Json::Arr(vec!["nonode@nohost".into()]);
            Answer::ok(&obj([("all_nodes", nodes()), ("cluster_nodes", nodes())]))
        }
        ["_cluster_setup"] => Answer::ok(&obj([("state", "single_node_enabled".into())])),
        ["_node", "_local"] => Answer::ok(&obj([("name", "nonode@nohost".into())])),
        ["_node", "_local", "_stats", ..] => stats(app),
        ["_node", "_local", "_config", ..] => {
            return Err(Failure::not_implemented(
                "this server is configured by its command line and environment",
            ));
        }
        ["_replicate"] => {
            return Err(Failure::not_implemented(
                "this server does not replicate by itself; let a CouchDB replicate from it or to it",
            ));
        }
        ["_hamlet", "faults"] if app.faults.is_some() => faults(app, call)?,
        _ => return Err(Failure::missing()),
    };
    Ok(Some(answer))
}

fn faults(app: &App, call: &Call) -> Result<Answer, Failure> {
    let Some(faults) = &app.faults else {
        return Err(Failure::missing());
    };
    match call.method.as_str() {
        "PUT" => {
            faults
                .replace_from_json(&call.json()?)
                .map_err(Failure::bad_request)?;
            Ok(Answer::ok(&obj([("ok", true.into())])))
        }
        "DELETE" => {
            faults.clear();
            Ok(Answer::ok(&obj([("ok", true.into())])))
        }
        _ => Err(Failure::method_not_allowed("DELETE,PUT")),
    }
}

fn stats(app: &App) -> Answer {
    let requests = app.requests.load(Ordering::Relaxed);
    let counter = obj([
        ("value", requests.into()),
        ("type", "counter".into()),
        ("desc", "number of HTTP requests".into()),
    ]);
    Answer::ok(&obj([(
        "couchdb",
        obj([("httpd", obj([("requests", counter)]))]),
    )]))
}

fn name_range(call: &Call) -> Result<NameRange, Failure> {
    let text = |names: &[&str]| -> Result<Option<String>, Failure> {
        match call.query.json(names)? {
            None => Ok(None),
            Some(Json::Str(name)) => Ok(Some(name)),
            Some(other) => Err(Failure::query(format!(
                "Invalid value for a database name: {other}"
            ))),
        }
    };
    Ok(NameRange {
        start: text(&["startkey", "start_key"])?,
        end: text(&["endkey", "end_key"])?,
        inclusive_end: call.query.flag("inclusive_end")?.unwrap_or(true),
        descending: call.query.on("descending")?,
        skip: call.query.count("skip")?.unwrap_or(0),
        limit: call.query.count("limit")?.unwrap_or(-1),
    })
}

async fn all_dbs(app: &App, call: &Call) -> Result<Answer, Failure> {
    only_reads(call)?;
    let range = name_range(call)?;
    let found = app
        .store
        .read(move |conn| databases::list(conn, &range))
        .await?;
    Ok(Answer::ok(&Json::Arr(
        found.into_iter().map(|db| db.name.into()).collect(),
    )))
}

async fn dbs_info(app: &App, call: &Call) -> Result<Answer, Failure> {
    let keys = match call.method.as_str() {
        "GET" | "HEAD" => {
            let range = name_range(call)?;
            let found = app
                .store
                .read(move |conn| databases::list(conn, &range))
                .await?;
            let list = found
                .iter()
                .map(|db| obj([("key", db.name.as_str().into()), ("info", db.info())]))
                .collect();
            return Ok(Answer::ok(&Json::Arr(list)));
        }
        "POST" => {
            call.demand_json()?;
            let body = call.json_object()?;
            let keys = body.get("keys").and_then(Json::as_arr);
            keys.ok_or_else(|| Failure::bad_request("`keys` member must exist."))?
                .to_vec()
        }
        _ => return Err(Failure::method_not_allowed("GET,HEAD,POST")),
    };
    if keys.len() > 100 {
        return Err(Failure::bad_request("`keys` cannot exceed 100"));
    }
    let list = app
        .store
        .read(move |conn| {
            keys.into_iter()
                .map(|key| {
                    let found = match key.as_str() {
                        Some(name) => databases::open(conn, name),
                        None => Err(Failure::no_database()),
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
    Ok(Answer::ok(&Json::Arr(list)))
}
