//! Bulk requests and the requests of a replicator.

use http::StatusCode;

use super::{
    app::App, incoming, request::ApiRequest, response::ApiResponse, revisions::rev_list, root,
    writing,
};
use crate::{
    api_error::ApiError,
    json::{Json, obj},
    storage::{
        databases,
        documents::{self, NewDoc, Origin},
        partitions,
        revtree::Rev,
    },
};

pub(crate) fn only_post(request: &ApiRequest) -> Result<(), ApiError> {
    if request.method == http::Method::POST {
        Ok(())
    } else {
        Err(ApiError::method_not_allowed("POST"))
    }
}

/// `/{db}/_bulk_docs`
pub(crate) async fn bulk_docs(
    app: &App,
    request: &ApiRequest,
    name: String,
) -> Result<ApiResponse, ApiError> {
    only_post(request)?;
    request.demand_json()?;
    let body = request.json_object()?;
    let docs = match body.get("docs") {
        None => {
            return Err(ApiError::bad_request(
                "POST body must include `docs` parameter.",
            ));
        }
        Some(Json::Arr(docs)) => docs.clone(),
        Some(_) => return Err(ApiError::bad_request("`docs` parameter must be an array.")),
    };
    if body.get("all_or_nothing") == Some(&Json::Bool(true)) && !docs.is_empty() {
        let refused = docs
            .iter()
            .map(|doc| {
                obj([
                    ("id", doc.get("_id").cloned().unwrap_or(Json::Null)),
                    ("rev", "0-".into()),
                    ("error", "not_implemented".into()),
                    ("reason", "all_or_nothing is not supported".into()),
                ])
            })
            .collect();
        return Ok(ApiResponse::json(
            StatusCode::EXPECTATION_FAILED,
            &Json::Arr(refused),
        ));
    }
    let origin = match body.get("new_edits") {
        Some(Json::Bool(false)) => Origin::Replication,
        None | Some(Json::Bool(true)) => Origin::Edit,
        Some(_) => {
            return Err(ApiError::bad_request(
                "`new_edits` parameter must be a boolean.",
            ));
        }
    };
    let body_copies = body.get("w").cloned();
    drop(body);
    let new = docs
        .into_iter()
        .map(|json| {
            let doc = incoming::parse(json)?;
            let id = doc.id.clone().unwrap_or_else(root::new_id);
            match origin {
                Origin::Edit => doc.into_edit(id),
                Origin::Replication => doc.into_replicated(id),
            }
        })
        .collect::<Result<Vec<NewDoc>, ApiError>>()?;
    let asked_copies = match body_copies {
        _ if new.is_empty() => false,
        Some(Json::Int(w)) => w > 1,
        _ => request.wants_more_copies()?,
    };
    let named: Vec<(String, Option<Rev>)> = new
        .iter()
        .map(|doc| (doc.id.clone(), doc.history.first().cloned()))
        .collect();
    let outcomes = writing::save_all(app, &request.caller, &name, new, origin).await?;
    let results = named
        .into_iter()
        .zip(outcomes)
        .filter_map(|((id, sent), outcome)| {
            let is_stored = outcome.is_ok();
            let mut result = result(id, sent, outcome, origin)?;
            if let (Json::Obj(members), true, true) = (&mut result, is_stored, asked_copies) {
                members.push(("accepted".to_owned(), true.into()));
            }
            Some(result)
        })
        .collect();
    let status = if asked_copies {
        StatusCode::ACCEPTED
    } else {
        StatusCode::CREATED
    };
    Ok(ApiResponse::json(status, &Json::Arr(results)))
}

/// The entry of a response for one document. Of replicated revisions, only those that were refused are named.
fn result(
    id: String,
    sent: Option<Rev>,
    outcome: Result<Rev, ApiError>,
    origin: Origin,
) -> Option<Json> {
    match outcome {
        Ok(_) if origin == Origin::Replication => None,
        Ok(rev) => Some(obj([
            ("ok", true.into()),
            ("id", id.into()),
            ("rev", rev.to_string().into()),
        ])),
        Err(failure) => {
            let mut members = vec![("id".to_owned(), id.into())];
            if origin == Origin::Replication
                && let Some(rev) = sent
            {
                members.push(("rev".to_owned(), rev.to_string().into()));
            }
            if let Json::Obj(why) = failure.body() {
                members.extend(why);
            }
            Some(Json::Obj(members))
        }
    }
}

/// The format of the response about missing revisions.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum MissingFormat {
    Diff,
    Missing,
}

/// `/{db}/_revs_diff` and `/{db}/_missing_revs`
pub(crate) async fn revs_diff(
    app: &App,
    request: &ApiRequest,
    name: String,
    format: MissingFormat,
) -> Result<ApiResponse, ApiError> {
    only_post(request)?;
    request.demand_json()?;
    let body = request.json_object()?;
    let mut asked: Vec<(String, Vec<Rev>)> = Vec::new();
    for (id, revs) in body.as_obj().unwrap_or_default() {
        if revs.as_arr().is_none() {
            return Err(ApiError::bad_request("Revisions must be an array"));
        }
        asked.push((id.clone(), rev_list(revs)?));
    }
    let found = app.store.read(move |conn| {
        let db = databases::open(conn, &name)?;
        let mut out = Vec::new();
        for (id, _) in &asked {
            partitions::check_id(&db, id)?;
        }
        for (id, revs) in asked {
            let row = documents::find(conn, db.id, &id)?;
            let mut missing: Vec<Rev> = revs
                .into_iter()
                .filter(|rev| row.as_ref().is_none_or(|row| row.tree.get(rev).is_none()))
                .collect();
            if missing.is_empty() {
                continue;
            }
            missing.sort();
            let names = Json::Arr(missing.iter().map(|rev| rev.to_string().into()).collect());
            if format == MissingFormat::Missing {
                out.push((id, names));
                continue;
            }
            let mut members = vec![("missing".to_owned(), names)];
            let newest = missing.iter().map(|rev| rev.pos).max().unwrap_or(0);
            let ancestors: Vec<Json> = row
                .iter()
                .flat_map(|row| row.tree.leaves())
                .filter(|leaf| leaf.rev.pos < newest)
                .map(|leaf| leaf.rev.to_string().into())
                .collect();
            if !ancestors.is_empty() {
                members.push(("possible_ancestors".to_owned(), Json::Arr(ancestors)));
            }
            out.push((id, Json::Obj(members)));
        }
        Ok(Json::Obj(out))
    });
    let found = found.await?;
    Ok(ApiResponse::ok(&if format == MissingFormat::Missing {
        obj([("missing_revs", found)])
    } else {
        found
    }))
}

/// `/{db}/_purge`
pub(crate) async fn purge(
    app: &App,
    request: &ApiRequest,
    name: String,
) -> Result<ApiResponse, ApiError> {
    only_post(request)?;
    request.demand_json()?;
    let body = request.json_object()?;
    let mut asked: Vec<(String, Vec<Rev>)> = Vec::new();
    for (id, revs) in body.as_obj().unwrap_or_default() {
        asked.push((id.clone(), rev_list(revs)?));
    }
    let purged = app.store.write(move |transaction| {
        let mut db = databases::open(transaction.conn, &name)?;
        let mut out = Vec::new();
        db.seq += 1;
        for (id, _) in &asked {
            partitions::check_id(&db, id)?;
        }
        for (id, revs) in asked {
            let mut gone = Vec::new();
            if let Some(row) = documents::find(transaction.conn, db.id, &id)? {
                let mut tree = row.tree.clone();
                let mut bodies = Vec::new();
                for rev in revs {
                    if tree.purge(&rev, &mut bodies) {
                        gone.push(rev.to_string().into());
                    }
                }
                if tree.nodes().is_empty() {
                    documents::forget(transaction, &mut db, &row)?;
                } else if !gone.is_empty() {
                    documents::replace(transaction, &mut db, Some(&row), &id, &tree)?;
                }
                for body in bodies {
                    documents::drop_body(transaction.conn, body)?;
                }
            }
            db.purge_seq += 1;
            out.push((id, Json::Arr(gone)));
        }
        db.store(transaction)?;
        Ok(Json::Obj(out))
    });
    Ok(ApiResponse::json(
        StatusCode::CREATED,
        &obj([("purge_seq", Json::Null), ("purged", purged.await?)]),
    ))
}
