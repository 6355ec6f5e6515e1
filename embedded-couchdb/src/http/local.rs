//! `/{db}/_local/{id}`

use http::{Method, StatusCode};

use super::{App, answer::Answer, call::Call, incoming};
use crate::{
    failure::Failure,
    json::{Json, obj},
    storage::{databases, documents, locals},
};

/// Reads the number of `0-N`; local documents have no tree.
fn number(rev: Option<&str>) -> Result<Option<i64>, Failure> {
    match rev {
        None => Ok(None),
        Some(text) => text
            .strip_prefix("0-")
            .and_then(|number| number.parse().ok())
            .map(Some)
            .ok_or_else(|| Failure::bad_request("Invalid rev format")),
    }
}

/// `/{db}/_local/{id}`
pub(crate) async fn local(
    app: &App,
    call: &Call,
    name: String,
    id: String,
) -> Result<Answer, Failure> {
    match call.method {
        Method::GET | Method::HEAD => {
            let wanted = id.clone();
            let found = app
                .store
                .read(move |conn| {
                    let db = databases::open(conn, &name)?;
                    locals::find(conn, db.id, &wanted)
                })
                .await?;
            let (rev, body) = found.ok_or_else(Failure::missing)?;
            let mut text = documents::render(&id, &format!("0-{rev}"), false, &body, &[]);
            text.push('\n');
            Ok(Answer::text(StatusCode::OK, text))
        }
        Method::PUT => {
            let mut json = call.json()?;
            let mut rev = call.query.get("rev").or(call.if_match()).map(str::to_owned);
            if let Json::Obj(members) = &mut json {
                // Replicators send it along; a local document has no tree to put it in.
                members.retain(|(key, _)| key != "_revisions");
                // Its form is `0-N`, which the check of ordinary revisions lets through.
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
            Ok(Answer::json(
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
                .write(move |writing| {
                    let db = databases::open(writing.conn, &name)?;
                    locals::delete(writing, &db, &gone)
                })
                .await?;
            Ok(Answer::ok(&obj([
                ("ok", true.into()),
                ("id", id.into()),
                ("rev", "0-0".into()),
            ])))
        }
        _ => Err(Failure::method_not_allowed("DELETE,GET,HEAD,PUT,COPY")),
    }
}

async fn save(
    app: &App,
    name: String,
    id: String,
    edited: Option<i64>,
    body: String,
) -> Result<i64, Failure> {
    app.store
        .write(move |writing| {
            let db = databases::open(writing.conn, &name)?;
            locals::save(writing, &db, &id, edited, &body)
        })
        .await
}
