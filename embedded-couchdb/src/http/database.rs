//! `/{db}` and the settings of a database.

use std::sync::Arc;

use http::{Method, StatusCode, header};

use super::{
    app::App, clock, cluster, form, incoming, request::ApiRequest, response::ApiResponse, root,
    users::USERS, views, writing,
};
use crate::{
    api_error::ApiError,
    json::{Json, obj},
    storage::{
        databases::{self, NewDatabase},
        documents::{self, Origin},
    },
};

/// `/{db}`
pub(crate) async fn database(
    app: &App,
    request: &ApiRequest,
    name: String,
) -> Result<ApiResponse, ApiError> {
    match request.method {
        Method::GET | Method::HEAD => {
            let db = app
                .store
                .read(move |conn| databases::open(conn, &name))
                .await?;
            Ok(ApiResponse::ok(&db.info()))
        }
        Method::PUT => create(app, request, name).await,
        // Whoever forgot the document's id must not lose the database.
        Method::DELETE if request.query.get("rev").is_some() => Err(ApiError::bad_request(
            "You tried to DELETE a database with a ?=rev parameter. Did you mean to DELETE a document instead?",
        )),
        Method::DELETE => {
            app.store
                .write_making_room(move |transaction| databases::delete(transaction, &name))
                .await?;
            Ok(ApiResponse::ok(&obj([("ok", true.into())])))
        }
        Method::POST => post(app, request, name).await,
        _ => Err(ApiError::method_not_allowed("DELETE,GET,HEAD,POST")),
    }
}

fn is_legal(name: &str) -> bool {
    matches!(name, "_users" | "_replicator" | "_global_changes")
        || (name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_$()+-/".contains(&b)))
}

fn positive(request: &ApiRequest, key: &str) -> Result<Option<i64>, ApiError> {
    match request.query.get(key) {
        None => Ok(None),
        Some(text) => match text.parse() {
            Ok(n) if n > 0 => Ok(Some(n)),
            _ => Err(ApiError::bad_request(format!(
                "The `{key}` value should be a positive integer."
            ))),
        },
    }
}

/// Refuses what CouchDB refuses of parameters that have no effect here.
fn check_placement(request: &ApiRequest) -> Result<(), ApiError> {
    if let Some(placement) = request.query.get("placement") {
        let is_zone = |part: &str| {
            part.split_once(':').is_some_and(|(zone, count)| {
                !zone.is_empty() && count.parse::<u32>().is_ok_and(|count| count > 0)
            })
        };
        if !placement.split(',').all(is_zone) {
            return Err(ApiError::bad_request(
                "The `placement` value should be in a format `zone:n`.",
            ));
        }
    }
    match request.query.get("engine") {
        None | Some("couch") => Ok(()),
        Some(_) => Err(ApiError::bad_request("invalid_engine_extension")),
    }
}

async fn create(app: &App, request: &ApiRequest, name: String) -> Result<ApiResponse, ApiError> {
    if !is_legal(&name) {
        return Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "illegal_database_name",
            format!(
                "Name: '{name}'. Only lowercase characters (a-z), digits (0-9), and any of the characters _, $, (, ), \
                 +, -, and / are allowed. Must begin with a letter."
            ),
        ));
    }
    if name.len() > 238 {
        return Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "database_name_too_long",
            format!("At least one path segment of `{name}` is too long."),
        ));
    }
    let location = request.location(&[&name]);
    let shards = positive(request, "q")?.unwrap_or(2);
    positive(request, "n")?;
    check_placement(request)?;
    let partitioned = match request.query.get("partitioned") {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => {
            return Err(ApiError::bad_request("Invalid `partitioned` parameter"));
        }
    };
    let new = NewDatabase {
        name,
        shards,
        partitioned,
        now: clock::now(),
    };
    app.store
        .write(move |transaction| databases::create(transaction, &new))
        .await?;
    Ok(
        ApiResponse::json(StatusCode::CREATED, &obj([("ok", true.into())]))
            .with(header::LOCATION, location),
    )
}

async fn post(app: &App, request: &ApiRequest, name: String) -> Result<ApiResponse, ApiError> {
    request.demand_json()?;
    let doc = incoming::parse(request.json()?)?;
    let more_copies = request.wants_more_copies()?;
    let has_id = doc.id.is_some();
    let id = doc.id.clone().unwrap_or_else(root::new_id);
    let mut new = doc.into_edit(id.clone())?;
    if !has_id {
        // Nothing can be known of the revisions of a document that has no name yet.
        new.history.clear();
    }
    let rev = writing::save(app, &request.caller, &name, new, Origin::Edit).await?;
    if request.query.get("batch") == Some("ok") {
        return Ok(ApiResponse::json(
            StatusCode::ACCEPTED,
            &obj([("ok", true.into()), ("id", id.into())]),
        ));
    }
    let status = if more_copies {
        StatusCode::ACCEPTED
    } else {
        StatusCode::CREATED
    };
    Ok(ApiResponse::json(
        status,
        &obj([
            ("ok", true.into()),
            ("id", id.as_str().into()),
            ("rev", rev.to_string().into()),
        ]),
    )
    .with(header::LOCATION, request.location(&[&name, &id])))
}

/// The other paths below a database that start with `_`.
pub(crate) async fn special(
    app: &Arc<App>,
    request: &ApiRequest,
    name: String,
    segments: &[&str],
) -> Result<ApiResponse, ApiError> {
    let done = |status| ApiResponse::json(status, &obj([("ok", true.into())]));
    match segments {
        [_, "_security"] => security(app, request, name).await,
        [_, setting @ ("_revs_limit" | "_purged_infos_limit")] => {
            limit(app, request, name, setting).await
        }
        [_, "_purged_infos"] => purged_infos(app, request, name).await,
        [_, "_ensure_full_commit"] => {
            only(request, "POST")?;
            request.demand_json()?;
            let db = app
                .store
                .read(move |conn| databases::open(conn, &name))
                .await?;
            let body = obj([
                ("ok", true.into()),
                ("instance_start_time", db.created.to_string().into()),
            ]);
            Ok(ApiResponse::json(StatusCode::CREATED, &body))
        }
        [_, "_compact", of_design @ ..] => {
            only(request, "POST")?;
            request.demand_json()?;
            let ddoc = of_design.first().map(|ddoc| format!("_design/{ddoc}"));
            app.store
                .write(move |transaction| {
                    let db = databases::open(transaction.conn, &name)?;
                    if let Some(ddoc) = &ddoc {
                        documents::find(transaction.conn, db.id, ddoc)?
                            .filter(|row| !row.deleted)
                            .ok_or_else(ApiError::missing)?;
                    }
                    documents::compact(transaction, db.id)
                })
                .await?;
            Ok(done(StatusCode::ACCEPTED))
        }
        [_, "_view_cleanup", ..] => {
            only(request, "POST")?;
            views::clean_up(app, name).await?;
            Ok(done(StatusCode::ACCEPTED))
        }
        [_, "_sync_shards"] => {
            only(request, "POST")?;
            Ok(done(StatusCode::ACCEPTED))
        }
        [_, "_shards", id @ ..] => cluster::shards(app, request, name, id).await,
        [_, "_temp_view"] => Err(ApiError::new(
            StatusCode::GONE,
            "gone",
            "Temporary views are not supported in CouchDB",
        )),
        _ => {
            app.store
                .read(move |conn| databases::open(conn, &name))
                .await?;
            if request.method == Method::POST {
                if segments.len() > 2 {
                    return Err(ApiError::method_not_allowed("DELETE,GET,HEAD,PUT"));
                }
                form::check_referer(request)?;
            }
            if request.method == Method::PUT {
                return Err(ApiError::illegal_docid(
                    "Only reserved document ids may start with underscore.",
                ));
            }
            Err(ApiError::missing())
        }
    }
}

/// `/{db}/_purged_infos`: what was purged is not kept.
async fn purged_infos(
    app: &App,
    request: &ApiRequest,
    name: String,
) -> Result<ApiResponse, ApiError> {
    cluster::only_reads_of(request, "GET")?;
    let db = app
        .store
        .read(move |conn| databases::open(conn, &name))
        .await?;
    if db.purge_seq > 0 {
        return Err(ApiError::not_implemented(
            "this server does not keep what was purged",
        ));
    }
    Ok(ApiResponse::ok(&obj([(
        "purged_infos",
        Json::Arr(Vec::new()),
    )])))
}

fn only(request: &ApiRequest, method: &str) -> Result<(), ApiError> {
    if request.method.as_str() == method {
        Ok(())
    } else {
        Err(ApiError::method_not_allowed(method))
    }
}

async fn security(app: &App, request: &ApiRequest, name: String) -> Result<ApiResponse, ApiError> {
    match request.method {
        Method::GET | Method::HEAD => {
            let db = app
                .store
                .read(move |conn| databases::open(conn, &name))
                .await?;
            Ok(ApiResponse::ok(&db.security()))
        }
        Method::PUT => {
            if name == USERS && !app.settings.is_on("couchdb", "users_db_security_editable") {
                return Err(ApiError::forbidden(
                    "You can't edit the security object of the user database.",
                ));
            }
            let body = request.json_object()?;
            for part in ["admins", "members", "readers"] {
                check_group(&body, part)?;
            }
            app.store
                .write(move |transaction| {
                    let mut db = databases::open(transaction.conn, &name)?;
                    db.security = Some(body.to_string());
                    db.seq += 1;
                    db.store(transaction)
                })
                .await?;
            Ok(ApiResponse::ok(&obj([("ok", true.into())])))
        }
        _ => Err(ApiError::method_not_allowed("PUT,GET")),
    }
}

fn check_group(security: &Json, part: &str) -> Result<(), ApiError> {
    let Some(group) = security.get(part) else {
        return Ok(());
    };
    if group.as_obj().is_none() {
        return Err(ApiError::bad_request(format!(
            "{part} must be a JSON object"
        )));
    }
    for list in ["names", "roles"] {
        let fine = match group.get(list) {
            None => true,
            Some(Json::Arr(items)) => items.iter().all(|item| item.as_str().is_some()),
            Some(_) => false,
        };
        if !fine {
            return Err(ApiError::bad_request(format!(
                "{list} must be a JSON list of strings"
            )));
        }
    }
    Ok(())
}

async fn limit(
    app: &App,
    request: &ApiRequest,
    name: String,
    setting: &str,
) -> Result<ApiResponse, ApiError> {
    let revs = setting == "_revs_limit";
    match request.method {
        Method::GET | Method::HEAD => {
            let db = app
                .store
                .read(move |conn| databases::open(conn, &name))
                .await?;
            Ok(ApiResponse::ok(&Json::Int(if revs {
                db.revs_limit
            } else {
                db.purged_limit
            })))
        }
        Method::PUT => {
            let limit = request.json()?.as_i64().filter(|limit| *limit > 0);
            let limit = limit.ok_or_else(|| {
                if revs {
                    ApiError::bad_request("`rev_limits` must be a positive integer")
                } else {
                    ApiError::bad_request("`purged_infos_limit` must be positive integer")
                }
            })?;
            app.store
                .write(move |transaction| {
                    let mut db = databases::open(transaction.conn, &name)?;
                    if revs {
                        db.revs_limit = limit;
                    } else {
                        db.purged_limit = limit;
                    }
                    db.seq += 1;
                    db.store(transaction)
                })
                .await?;
            Ok(ApiResponse::ok(&obj([("ok", true.into())])))
        }
        _ => Err(ApiError::method_not_allowed("PUT,GET")),
    }
}
