//! `/{db}/_index…`: the indexes for `_find`.

use http::{Method, StatusCode};

use super::{access::Access, app::App, request::ApiRequest, response::ApiResponse};
use crate::{
    api_error::ApiError,
    erlang::printed,
    json::{Json, obj},
    mango::{explain::index_json, planner::Candidate, request::NewIndex},
    storage::{
        databases::{self, Database},
        documents::{self, NewDoc, Origin},
        indexes, partitions,
        transaction::Transaction,
    },
};

/// `/{db}/_index…`
pub(crate) async fn index(
    app: &App,
    request: &ApiRequest,
    name: String,
    rest: &[&str],
) -> Result<ApiResponse, ApiError> {
    match (rest, &request.method) {
        ([], &Method::GET) => list(app, request, name).await,
        ([], &Method::POST) => create(app, request, name).await,
        ([], _) => Err(ApiError::method_not_allowed("GET,POST")),
        (["_bulk_delete"], &Method::POST) => bulk_delete(app, request, name).await,
        (["_bulk_delete"], _) => Err(ApiError::method_not_allowed("POST")),
        (["_design", ddoc, kind, index] | [ddoc, kind, index], &Method::DELETE) => {
            if *kind != "json" {
                return Err(ApiError::missing());
            }
            let ddoc = design_id(ddoc);
            let index = (*index).to_owned();
            let caller = request.caller.clone();
            app.store
                .write(move |transaction| {
                    let mut db = databases::open(transaction.conn, &name)?;
                    Access::of(&caller, &db)?.demand_admin()?;
                    remove(transaction, &mut db, &ddoc, Some(&index))?;
                    db.store(transaction)
                })
                .await?;
            Ok(ApiResponse::ok(&obj([("ok", true.into())])))
        }
        (["_design", _, _, _] | [_, _, _], _) => Err(ApiError::method_not_allowed("DELETE")),
        _ => Err(ApiError::missing()),
    }
}

fn design_id(ddoc: &str) -> String {
    if ddoc.starts_with("_design/") {
        ddoc.to_owned()
    } else {
        format!("_design/{ddoc}")
    }
}

async fn list(app: &App, request: &ApiRequest, name: String) -> Result<ApiResponse, ApiError> {
    let invalid = || {
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "invalid_list_index_params",
            "Index parameter ranges: limit > 1, skip > 0",
        )
    };
    let number = |key: &str| match request.query.get(key) {
        None => Ok(None),
        Some(text) => text.parse::<usize>().map(Some).map_err(|_| invalid()),
    };
    let limit = number("limit")?.unwrap_or(usize::MAX);
    if limit < 1 {
        return Err(invalid());
    }
    let skip = number("skip")?.unwrap_or(0);
    let all = app
        .store
        .read(move |conn| {
            let db = databases::open(conn, &name)?;
            let mut all = vec![index_json(Candidate::AllDocs)];
            all.extend(
                indexes::scoped(conn, &db)?
                    .iter()
                    .map(|index| index_json(Candidate::Json(index))),
            );
            Ok(all)
        })
        .await?;
    let total = Json::Int(i64::try_from(all.len()).unwrap_or(i64::MAX));
    let shown = all.into_iter().skip(skip).take(limit).collect();
    Ok(ApiResponse::ok(&obj([
        ("total_rows", total),
        ("indexes", Json::Arr(shown)),
    ])))
}

async fn create(app: &App, request: &ApiRequest, name: String) -> Result<ApiResponse, ApiError> {
    request.demand_json()?;
    let new = NewIndex::parse(&request.json_object()?)?;
    let (ddoc, index) = (new.ddoc.clone(), new.name.clone());
    let caller = request.caller.clone();
    let created = app
        .store
        .write(move |transaction| {
            let mut db = databases::open(transaction.conn, &name)?;
            Access::of(&caller, &db)?.demand_admin()?;
            let created = add(transaction, &mut db, &new)?;
            db.store(transaction)?;
            Ok(created)
        })
        .await?;
    Ok(ApiResponse::ok(&obj([
        ("result", if created { "created" } else { "exists" }.into()),
        ("id", ddoc.into()),
        ("name", index.into()),
    ])))
}

/// The members of a design document, and its row if it exists.
type Design = (Vec<(String, Json)>, Option<documents::DocRow>);

/// Reads a design document to change it.
fn design(transaction: &Transaction<'_>, db: &Database, ddoc: &str) -> Result<Design, ApiError> {
    let row = documents::find(transaction.conn, db.id, ddoc)?;
    let fresh = || vec![("language".to_owned(), Json::from("query"))];
    match row {
        Some(row) if !row.deleted => {
            let body_row = row
                .body
                .ok_or_else(|| ApiError::internal("a design document without a body"))?;
            let body = documents::body(transaction.conn, body_row)?;
            let Ok(Json::Obj(members)) = Json::parse(body.text.as_bytes()) else {
                return Err(ApiError::internal(
                    "a stored design document cannot be read",
                ));
            };
            let language = members
                .iter()
                .find(|(key, _)| key == "language")
                .map(|(_, value)| value.clone());
            match language {
                Some(Json::Str(language)) if language == "query" => Ok((members, Some(row))),
                other => Err(ApiError::new(
                    StatusCode::BAD_REQUEST,
                    "invalid_ddoc_lang",
                    format!(
                        "Existing design doc has an invalid language: {}",
                        other.map_or_else(
                            || "undefined".to_owned(),
                            |value| format!(
                                "{{{},{}}}",
                                printed(&"language".into()),
                                printed(&value)
                            )
                        )
                    ),
                )),
            }
        }
        row => Ok((fresh(), row)),
    }
}

fn save(
    transaction: &mut Transaction<'_>,
    db: &mut Database,
    ddoc: &str,
    row: Option<&documents::DocRow>,
    members: Vec<(String, Json)>,
    deleted: bool,
) -> Result<(), ApiError> {
    let winner = row
        .filter(|row| !row.deleted)
        .and_then(|row| row.tree.winner().map(|node| node.rev.clone()));
    let new = NewDoc {
        id: ddoc.to_owned(),
        deleted,
        body: members,
        attachments: Vec::new(),
        history: winner.into_iter().collect(),
    };
    documents::save(transaction, db, &new, Origin::Edit).map(|_| ())
}

fn add(
    transaction: &mut Transaction<'_>,
    db: &mut Database,
    new: &NewIndex,
) -> Result<bool, ApiError> {
    let (mut members, row) = design(transaction, db, &new.ddoc)?;
    let before = members.clone();
    check_scope(db, new, &members, row.as_ref())?;
    let mut views = match members.iter().find(|(key, _)| key == "views") {
        Some((_, Json::Obj(views))) => views.clone(),
        _ => Vec::new(),
    };
    put_member(&mut views, &new.name, new.view.clone());
    put_member(&mut members, "views", Json::Obj(views));
    if let (None, Some(partitioned)) = (row.as_ref().filter(|row| !row.deleted), new.partitioned) {
        members.push((
            "options".to_owned(),
            obj([("partitioned", partitioned.into())]),
        ));
    }
    if members == before {
        return Ok(false);
    }
    save(transaction, db, &new.ddoc, row.as_ref(), members, false)?;
    Ok(true)
}

/// Refuses an index of another scope than its design document has, or can have.
fn check_scope(
    db: &Database,
    new: &NewIndex,
    members: &[(String, Json)],
    row: Option<&documents::DocRow>,
) -> Result<(), ApiError> {
    let Some(wanted) = new.partitioned else {
        return Ok(());
    };
    if wanted && !db.partitioned {
        return Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "invalid_design_doc",
            "partitioned option cannot be true in a non-partitioned database.",
        ));
    }
    let is_there = row.is_some_and(|row| !row.deleted);
    let has = db.partitioned && partitions::is_for_one(&Json::Obj(members.to_vec()));
    if is_there && has != wanted {
        return Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "invalid_partitioned_option",
            format!(
                "Requested partitioned option does not match existing value on design document {}",
                new.ddoc
            ),
        ));
    }
    Ok(())
}

fn put_member(members: &mut Vec<(String, Json)>, key: &str, value: Json) {
    match members.iter_mut().find(|(name, _)| name == key) {
        Some((_, old)) => *old = value,
        None => members.push((key.to_owned(), value)),
    }
}

/// Removes an index, or all indexes of a design document. An empty design document is deleted.
fn remove(
    transaction: &mut Transaction<'_>,
    db: &mut Database,
    ddoc: &str,
    index: Option<&str>,
) -> Result<(), ApiError> {
    let there = indexes::of(transaction.conn, db.id)?;
    if !there
        .iter()
        .any(|def| def.ddoc == ddoc && index.is_none_or(|index| def.name == index))
    {
        return Err(ApiError::missing());
    }
    let (mut members, row) = design(transaction, db, ddoc)?;
    if let Some((_, Json::Obj(views))) = members.iter_mut().find(|(key, _)| key == "views") {
        views.retain(|(name, _)| index.is_some_and(|index| name != index));
        if views.is_empty() {
            members.retain(|(key, _)| key != "views");
        }
    }
    let nothing_left = matches!(members.as_slice(), [(key, _)] if key == "language");
    let members = if nothing_left { Vec::new() } else { members };
    save(transaction, db, ddoc, row.as_ref(), members, nothing_left)
}

async fn bulk_delete(
    app: &App,
    request: &ApiRequest,
    name: String,
) -> Result<ApiResponse, ApiError> {
    request.demand_json()?;
    let body = request.json_object()?;
    let ids = body.get("docids").ok_or_else(|| {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            "missing_required_key",
            "Missing required key: docids",
        )
    })?;
    let ids = ids.as_arr().ok_or_else(|| {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            "invalid_bulk_docs",
            format!(
                "Bulk Delete requires an array of non-null docids. Docids: {}",
                printed(ids)
            ),
        )
    })?;
    let ids = ids
        .iter()
        .map(|id| match id {
            Json::Str(id) => Ok(design_id(id)),
            other => Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                "invalid_index_name",
                format!("Invalid index name: {}", printed(other)),
            )),
        })
        .collect::<Result<Vec<String>, _>>()?;
    let caller = request.caller.clone();
    let (success, fail) = app
        .store
        .write(move |transaction| {
            let mut db = databases::open(transaction.conn, &name)?;
            Access::of(&caller, &db)?.demand_admin()?;
            let (mut success, mut fail) = (Vec::new(), Vec::new());
            for id in &ids {
                match remove(transaction, &mut db, id, None) {
                    Ok(()) => success.push(obj([("id", id.as_str().into()), ("ok", true.into())])),
                    Err(failure) if failure.status.is_server_error() => return Err(failure),
                    Err(failure) => {
                        fail.push(obj([
                            ("id", id.as_str().into()),
                            ("error", failure.error.as_ref().into()),
                        ]));
                    }
                }
            }
            db.store(transaction)?;
            Ok((success, fail))
        })
        .await?;
    Ok(ApiResponse::ok(&obj([
        ("success", Json::Arr(success)),
        ("fail", Json::Arr(fail)),
    ])))
}
