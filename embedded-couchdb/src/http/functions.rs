//! Update and show functions: `/{db}/_design/{ddoc}/_update/{function}` and `…/_show/{function}`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderName, StatusCode, header};

use super::{
    app::App,
    body::Body,
    designs::{self, Design},
    incoming,
    request::{ApiRequest, decode},
    response::ApiResponse,
    root, writing,
};
use crate::{
    api_error::ApiError,
    json::{Json, obj},
    rendering::{DocOptions, render_revision},
    storage::{
        databases::{self, Database},
        documents::{self, Origin},
    },
};

/// A request as functions see it.
pub(crate) fn as_seen(request: &ApiRequest, db: &Database, id: Option<&str>) -> Json {
    let texts = |list: &[String]| Json::Arr(list.iter().map(|text| text.as_str().into()).collect());
    let pairs = |list: Vec<(String, String)>| {
        Json::Obj(
            list.into_iter()
                .map(|(key, value)| (key, value.into()))
                .collect(),
        )
    };
    let headers = request
        .headers
        .iter()
        .filter(|(name, _)| *name != header::AUTHORIZATION && *name != header::COOKIE)
        .filter_map(|(name, value)| Some((title_case(name), value.to_str().ok()?.to_owned())))
        .collect();
    let body = request.body().unwrap_or_default();
    let is_form = request
        .header(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    let form: Vec<(String, String)> = if is_form {
        String::from_utf8_lossy(&body)
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .filter_map(|(key, value)| {
                let plain = |text: &str| decode(&text.replace('+', " "));
                Some((plain(key)?, plain(value)?))
            })
            .collect()
    } else {
        Vec::new()
    };
    let body = if body.is_empty() {
        Json::from("undefined")
    } else {
        String::from_utf8_lossy(&body).into_owned().into()
    };
    obj([
        ("info", db.info()),
        ("uuid", root::new_id().into()),
        ("id", id.map_or(Json::Null, Json::from)),
        ("method", request.method.as_str().into()),
        ("requested_path", texts(&request.path)),
        ("path", texts(&request.path)),
        ("raw_path", request.raw_path.as_str().into()),
        ("query", pairs(request.query.pairs().to_vec())),
        ("headers", pairs(headers)),
        ("body", body),
        ("peer", request.peer.to_string().into()),
        ("form", pairs(form)),
        ("cookie", obj([])),
        ("userCtx", request.caller.context_in(&db.name)),
        ("secObj", db.security()),
    ])
}

/// The name of a header as it is usually written: `X-My-Header`.
fn title_case(name: &HeaderName) -> String {
    let mut starts = true;
    name.as_str()
        .chars()
        .map(|letter| {
            let upper = std::mem::replace(&mut starts, letter == '-');
            if upper {
                letter.to_ascii_uppercase()
            } else {
                letter
            }
        })
        .collect()
}

/// A kind of function that makes a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Show,
    Update,
}

struct Called {
    db: Database,
    design: Design,
    doc: Json,
}

/// Calls a function and answers with what it returned.
pub(crate) async fn call(
    app: &App,
    request: &ApiRequest,
    name: String,
    ddoc: String,
    kind: Kind,
    rest: &[&str],
) -> Result<ApiResponse, ApiError> {
    let Some((function, id)) = rest.split_first().filter(|(name, _)| !name.is_empty()) else {
        return Err(ApiError::new(
            StatusCode::NOT_FOUND,
            match kind {
                Kind::Show => "show_error",
                Kind::Update => "update_error",
            },
            "Invalid path.",
        ));
    };
    if kind == Kind::Update && matches!(request.method.as_str(), "GET" | "HEAD") {
        return Err(ApiError::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "Update functions do not allow GET",
        ));
    }
    let id = (!id.is_empty()).then(|| id.join("/"));
    let (opened, wanted) = (name.clone(), id.clone());
    let Called { db, design, doc } = app
        .store
        .read(move |conn| {
            let db = databases::open(conn, &opened)?;
            let design = designs::read(conn, &db, &ddoc)?;
            let row = match &wanted {
                Some(id) => documents::find(conn, db.id, id)?.filter(|row| !row.deleted),
                None => None,
            };
            let options = DocOptions {
                revs: true,
                ..DocOptions::default()
            };
            let doc = match row.as_ref().and_then(|row| Some((row, row.tree.winner()?))) {
                Some((row, winner)) => render_revision(conn, row, &winner.rev, &options)?,
                None => None,
            };
            let doc = doc.and_then(|text| Json::parse(text.as_bytes()).ok());
            Ok(Called {
                db,
                design,
                doc: doc.unwrap_or(Json::Null),
            })
        })
        .await?;
    design.demand_javascript()?;
    let group = match kind {
        Kind::Show => "shows",
        Kind::Update => "updates",
    };
    let seen = as_seen(request, &db, id.as_deref());
    let run = obj([
        ("operation", "render".into()),
        ("design", design.body.clone()),
        ("path", Json::Arr(vec![group.into(), (*function).into()])),
        ("arguments", Json::Arr(vec![doc, seen])),
    ]);
    let answer = app
        .javascript
        .run(db.id, &design.realm(), run.to_string())
        .await?;
    let result = answer.get("result").cloned().unwrap_or(Json::Null);
    if kind == Kind::Show {
        return response(&result, StatusCode::OK);
    }
    let (new, shown) = match result {
        Json::Arr(pair) => {
            let mut pair = pair.into_iter();
            (
                pair.next().unwrap_or(Json::Null),
                pair.next().unwrap_or(Json::Null),
            )
        }
        _ => {
            return Err(ApiError::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "render_error",
                "an update function must return a document or null, and a response",
            ));
        }
    };
    if new == Json::Null {
        return response(&shown, StatusCode::OK);
    }
    let created = response(&shown, StatusCode::CREATED)?;
    let new = incoming::parse(new)?;
    let id = new
        .id
        .clone()
        .ok_or_else(|| ApiError::illegal_docid("Document id must not be empty"))?;
    let new = new.into_edit(id.clone())?;
    let rev = writing::save(app, &request.caller, &name, new, Origin::Edit).await?;
    Ok(created
        .with(HeaderName::from_static("x-couch-id"), id)
        .with(
            HeaderName::from_static("x-couch-update-newrev"),
            rev.to_string(),
        ))
}

/// The response that a function described.
fn response(described: &Json, status: StatusCode) -> Result<ApiResponse, ApiError> {
    let text = |status, text: String| {
        ApiResponse::text(status, text)
            .with(header::CONTENT_TYPE, "text/html; charset=utf-8")
            .with(header::VARY, "Accept")
    };
    let members = match described {
        Json::Null => return Ok(text(status, String::new())),
        Json::Str(body) => return Ok(text(status, body.clone())),
        Json::Obj(members) => members,
        other => {
            return Err(ApiError::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "render_error",
                format!("undefined response from function: {other}"),
            ));
        }
    };
    let member = |key: &str| described.get(key);
    if let Some((unknown, _)) = members.iter().find(|(key, _)| {
        !matches!(
            key.as_str(),
            "code" | "headers" | "body" | "json" | "base64" | "stop"
        )
    }) {
        return Err(ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "external_response_error",
            format!("a response has no member {unknown}"),
        ));
    }
    let status = match member("code") {
        None => status,
        Some(code) => code
            .as_i64()
            .and_then(|code| u16::try_from(code).ok())
            .and_then(|code| StatusCode::from_u16(code).ok())
            .filter(|status| !status.is_informational())
            .ok_or_else(|| {
                ApiError::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "external_response_error",
                    "the code of a response must be an HTTP status",
                )
            })?,
    };
    let mut response = if let (Some(_), Some(json)) = (member("body"), member("json")) {
        text(status, json.to_string())
    } else if let Some(Json::Str(body)) = member("body") {
        text(status, body.clone())
    } else if let Some(Json::Str(data)) = member("base64") {
        let bytes = STANDARD.decode(data).map_err(|_| {
            ApiError::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "external_response_error",
                "the base64 of a response cannot be read",
            )
        })?;
        ApiResponse {
            status,
            headers: Vec::new(),
            body: Body::full(bytes),
        }
        .with(header::CONTENT_TYPE, "application/binary")
    } else if let Some(json) = member("json") {
        ApiResponse::text(status, json.to_string()).with(header::VARY, "Accept")
    } else {
        text(status, String::new())
    };
    for (name, value) in member("headers").and_then(Json::as_obj).unwrap_or_default() {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        if let Ok(name) = HeaderName::try_from(name.as_str()) {
            response.headers.retain(|(known, _)| *known != name);
            response = response.with(name, value);
        }
    }
    Ok(response)
}
