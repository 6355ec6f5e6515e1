//! `/{db}/_local/{id}`

use http::{Method, StatusCode};

use super::{app::App, incoming, request::ApiRequest, response::ApiResponse};
use crate::{
    api_error::ApiError,
    json::{Json, obj},
    storage::{databases, documents, locals},
};

/// Parses a revision `0-N` of a local document, which has no revision tree.
fn number(rev: Option<&str>) -> Result<Option<i64>, ApiError> {
    match rev {
        None => Ok(None),
        Some(text) => text
            .strip_prefix("0-")
            .and_then(|number| number.parse().ok())
            .map(Some)
            .ok_or_else(|| ApiError::bad_request("Invalid rev format")),
    }
}

/// `/{db}/_local/{id}`
pub(crate) async fn local(
    app: &App,
    request: &ApiRequest,
    name: String,
    id: String,
) -> Result<ApiResponse, ApiError> {
    match request.method {
        Method::GET | Method::HEAD => {
            let wanted = id.clone();
            let found = app
                .store
                .read(move |conn| {
                    let db = databases::open(conn, &name)?;
                    locals::find(conn, db.id, &wanted)
                })
                .await?;
            let (rev, body) = found.ok_or_else(ApiError::missing)?;
            let mut text = documents::render(&id, &format!("0-{rev}"), false, &body, &[]);
            text.push('\n');
            Ok(ApiResponse::text(StatusCode::OK, text))
        }
        Method::PUT => {
            let mut json = request.json()?;
            let mut rev = request
                .query
                .get("rev")
                .or(request.if_match())
                .map(str::to_owned);
            if let Json::Obj(members) = &mut json {
                // Replicators send `_revisions`. A local document has no revision tree.
                members.retain(|(key, _)| key != "_revisions");
                // The form `0-N` passes the validation of ordinary revisions.
                if let Some(at) = members.iter().position(|(key, _)| key == "_rev")
                    && let (_, Json::Str(inner)) = members.remove(at)
                {
                    rev = Some(inner);
                }
            }
            let doc = incoming::parse(json)?;
            let edited = number(rev.as_deref())?;
            let body = Json::Obj(doc.body).to_string();
            let rev = save(app, name, id.clone(), edited, body).await?;
            Ok(ApiResponse::json(
                StatusCode::CREATED,
                &obj([
                    ("ok", true.into()),
                    ("id", id.into()),
                    ("rev", format!("0-{rev}").into()),
                ]),
            ))
        }
        Method::DELETE => {
            let gone = id.clone();
            app.store
                .write(move |transaction| {
                    let db = databases::open(transaction.conn, &name)?;
                    locals::delete(transaction, &db, &gone)
                })
                .await?;
            Ok(ApiResponse::ok(&obj([
                ("ok", true.into()),
                ("id", id.into()),
                ("rev", "0-0".into()),
            ])))
        }
        _ => Err(ApiError::method_not_allowed("DELETE,GET,HEAD,PUT,COPY")),
    }
}

async fn save(
    app: &App,
    name: String,
    id: String,
    edited: Option<i64>,
    body: String,
) -> Result<i64, ApiError> {
    app.store
        .write(move |transaction| {
            let db = databases::open(transaction.conn, &name)?;
            locals::save(transaction, &db, &id, edited, &body)
        })
        .await
}
