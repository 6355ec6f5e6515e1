//! `/{db}` and its settings.

use std::sync::Arc;

use http::{Method, StatusCode, header};

use super::{App, answer::Answer, call::Call, incoming, root};
use crate::{
    failure::Failure,
    json::{Json, obj},
    storage::{
        databases::{self, NewDatabase},
        documents::{self, Origin},
    },
};

/// `/{db}`
pub(crate) async fn database(app: &App, call: &Call, name: String) -> Result<Answer, Failure> {
    match call.method {
        Method::GET | Method::HEAD => {
            let db = app
                .store
                .read(move |conn| databases::open(conn, &name))
                .await?;
            Ok(Answer::ok(&db.info()))
        }
        Method::PUT => create(app, call, name).await,
        Method::DELETE => {
            app.store
                .write(move |writing| databases::delete(writing, &name))
                .await?;
            Ok(Answer::ok(&obj([("ok", true.into())])))
        }
        Method::POST => post(app, call, name).await,
        _ => Err(Failure::method_not_allowed("DELETE,GET,HEAD,POST")),
    }
}

fn is_legal(name: &str) -> bool {
    matches!(name, "_users" | "_replicator" | "_global_changes")
        || (name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_$()+-/".contains(&b)))
}

fn positive(call: &Call, key: &str) -> Result<Option<i64>, Failure> {
    match call.query.get(key) {
        None => Ok(None),
        Some(text) => match text.parse() {
            Ok(n) if n > 0 => Ok(Some(n)),
            _ => Err(Failure::bad_request(format!(
                "The `{key}` value should be a positive integer."
            ))),
        },
    }
}

async fn create(app: &App, call: &Call, name: String) -> Result<Answer, Failure> {
    if !is_legal(&name) {
        return Err(Failure::new(
            StatusCode::BAD_REQUEST,
            "illegal_database_name",
            format!(
                "Name: '{name}'. Only lowercase characters (a-z), digits (0-9), and any of the characters _, $, (, ), \
                 +, -, and / are allowed. Must begin with a letter."
            ),
        ));
    }
    if name.len() > 238 {
        return Err(Failure::new(
            StatusCode::BAD_REQUEST,
            "database_name_too_long",
            format!("At least one path segment of `{name}` is too long."),
        ));
    }
    let shards = positive(call, "q")?.unwrap_or(2);
    positive(call, "n")?;
    let new = NewDatabase {
        name,
        shards,
        partitioned: call.query.get("partitioned") == Some("true"),
        now: root::now(),
    };
    app.store
        .write(move |writing| databases::create(writing, &new))
        .await?;
    Ok(
        Answer::json(StatusCode::CREATED, &obj([("ok", true.into())])).with(
            header::LOCATION,
            format!("{}{}", call.base(), call.raw_path),
        ),
    )
}

async fn post(app: &App, call: &Call, name: String) -> Result<Answer, Failure> {
    call.demand_json()?;
    let doc = incoming::parse(call.json()?)?;
    let id = doc.id.clone().unwrap_or_else(root::new_id);
    let new = doc.into_edit(id.clone())?;
    let rev = app
        .store
        .write(move |writing| {
            let mut db = databases::open(writing.conn, &name)?;
            let rev = documents::save(writing, &mut db, &new, Origin::Edit)?;
            db.store(writing)?;
            Ok(rev)
        })
        .await?;
    let status = if call.query.get("batch") == Some("ok") {
        StatusCode::ACCEPTED
    } else {
        StatusCode::CREATED
    };
    Ok(Answer::json(
        status,
        &obj([
            ("ok", true.into()),
            ("id", id.as_str().into()),
            ("rev", rev.to_string().into()),
        ]),
    )
    .with(
        header::LOCATION,
        format!("{}/{}/{id}", call.base(), call.raw_path.trim_matches('/')),
    ))
}

/// The other paths below a database that start with `_`.
pub(crate) async fn special(
    app: &Arc<App>,
    call: &Call,
    name: String,
    segments: &[&str],
) -> Result<Answer, Failure> {
    let done = |status| Answer::json(status, &obj([("ok", true.into())]));
    match segments {
        [_, "_security"] => security(app, call, name).await,
        [_, setting @ ("_revs_limit" | "_purged_infos_limit")] => {
            limit(app, call, name, setting).await
        }
        [_, "_ensure_full_commit"] => {
            only(call, "POST")?;
            call.demand_json()?;
            let db = app
                .store
                .read(move |conn| databases::open(conn, &name))
                .await?;
            let body = obj([
                ("ok", true.into()),
                ("instance_start_time", db.created.to_string().into()),
            ]);
            Ok(Answer::json(StatusCode::CREATED, &body))
        }
        [_, "_compact", ..] => {
            only(call, "POST")?;
            call.demand_json()?;
            app.store
                .write(move |writing| {
                    let db = databases::open(writing.conn, &name)?;
                    documents::compact(writing, db.id)
                })
                .await?;
            Ok(done(StatusCode::ACCEPTED))
        }
        [_, "_view_cleanup"] => {
            only(call, "POST")?;
            app.store
                .read(move |conn| databases::open(conn, &name))
                .await?;
            Ok(done(StatusCode::ACCEPTED))
        }
        [_, "_sync_shards"] => {
            only(call, "POST")?;
            Ok(done(StatusCode::ACCEPTED))
        }
        [_, "_shards"] => {
            app.store
                .read(move |conn| databases::open(conn, &name))
                .await?;
            let nodes = Json::Arr(vec!["nonode@nohost".into()]);
            Ok(Answer::ok(&obj([(
                "shards",
                obj([("00000000-ffffffff", nodes)]),
            )])))
        }
        [_, "_partition", ..] => {
            app.store
                .read(move |conn| databases::open(conn, &name))
                .await?;
            Err(Failure::bad_request("database is not partitioned"))
        }
        [_, "_temp_view"] => Err(Failure::new(
            StatusCode::GONE,
            "gone",
            "Temporary views are not supported in CouchDB",
        )),
        _ => {
            app.store
                .read(move |conn| databases::open(conn, &name))
                .await?;
            if call.method == Method::PUT {
                return Err(Failure::illegal_docid(
                    "Only reserved document ids may start with underscore.",
                ));
            }
            Err(Failure::missing())
        }
    }
}

fn only(call: &Call, method: &str) -> Result<(), Failure> {
    if call.method.as_str() == method {
        Ok(())
    } else {
        Err(Failure::method_not_allowed(method))
    }
}

/// What a database has until it is given something else: only administrators.
const SECURITY: &str = r#"{"members":{"roles":["_admin"]},"admins":{"roles":["_admin"]}}"#;

async fn security(app: &App, call: &Call, name: String) -> Result<Answer, Failure> {
    match call.method {
        Method::GET | Method::HEAD => {
            let db = app
                .store
                .read(move |conn| databases::open(conn, &name))
                .await?;
            Ok(Answer::text(
                StatusCode::OK,
                format!("{}\n", db.security.as_deref().unwrap_or(SECURITY)),
            ))
        }
        Method::PUT => {
            let body = call.json_object()?;
            for part in ["admins", "members"] {
                check_group(&body, part)?;
            }
            app.store
                .write(move |writing| {
                    let mut db = databases::open(writing.conn, &name)?;
                    db.security = Some(body.to_string());
                    db.seq += 1;
                    db.store(writing)
                })
                .await?;
            Ok(Answer::ok(&obj([("ok", true.into())])))
        }
        _ => Err(Failure::method_not_allowed("PUT,GET")),
    }
}

fn check_group(security: &Json, part: &str) -> Result<(), Failure> {
    let Some(group) = security.get(part) else {
        return Ok(());
    };
    if group.as_obj().is_none() {
        return Err(Failure::bad_request(format!(
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
            return Err(Failure::bad_request(format!(
                "{list} must be a JSON list of strings"
            )));
        }
    }
    Ok(())
}

async fn limit(app: &App, call: &Call, name: String, setting: &str) -> Result<Answer, Failure> {
    let revs = setting == "_revs_limit";
    match call.method {
        Method::GET | Method::HEAD => {
            let db = app
                .store
                .read(move |conn| databases::open(conn, &name))
                .await?;
            Ok(Answer::ok(&Json::Int(if revs {
                db.revs_limit
            } else {
                db.purged_limit
            })))
        }
        Method::PUT => {
            let limit = call.json()?.as_i64().filter(|limit| *limit > 0);
            let limit = limit.ok_or_else(|| {
                if revs {
                    Failure::bad_request("`rev_limits` must be a positive integer")
                } else {
                    Failure::bad_request("`purge_infos_limit` must be positive integer")
                }
            })?;
            app.store
                .write(move |writing| {
                    let mut db = databases::open(writing.conn, &name)?;
                    if revs {
                        db.revs_limit = limit;
                    } else {
                        db.purged_limit = limit;
                    }
                    db.seq += 1;
                    db.store(writing)
                })
                .await?;
            Ok(Answer::ok(&obj([("ok", true.into())])))
        }
        _ => Err(Failure::method_not_allowed("PUT,GET")),
    }
}
