//! Injection of a lost race.

use http::{Method, StatusCode};

use super::{
    app::App,
    document::{saved, sent},
    incoming,
    request::ApiRequest,
    response::ApiResponse,
    root,
};
use crate::{
    api_error::ApiError,
    faults::{Race, Side},
    json::Json,
    storage::{
        databases,
        documents::{self, NewDoc, Origin},
        revtree::Rev,
    },
};

/// Stores the write of this request and a conflicting leaf of another writer, as after a race on a cluster.
/// The response is 202.
pub(crate) async fn lost_race(
    app: &App,
    request: &ApiRequest,
    race: &Race,
) -> Result<ApiResponse, ApiError> {
    let segments = request.segments();
    let (name, id) = match segments.as_slice() {
        [name] => ((*name).to_owned(), root::new_id()),
        [name, "_design", id] => ((*name).to_owned(), format!("_design/{id}")),
        [name, id] => ((*name).to_owned(), (*id).to_owned()),
        _ => {
            return Err(ApiError::not_implemented(
                "races are made of writes of one document",
            ));
        }
    };
    let ours = match request.method {
        Method::PUT => sent(request)?.into_edit(id)?,
        Method::POST => {
            let doc = incoming::parse(request.json()?)?;
            let id = doc.id.clone().unwrap_or(id);
            doc.into_edit(id)?
        }
        _ => {
            return Err(ApiError::not_implemented(
                "races are made of PUT and POST of one document",
            ));
        }
    };
    let race = race.clone();
    let database = name.clone();
    let (id, rev) = app
        .store
        .write(move |transaction| {
            let mut db = databases::open(transaction.conn, &database)?;
            // The write is validated as without a race: only a valid write can lose one.
            let rev = documents::save(transaction, &mut db, &ours, Origin::Edit)?;
            let row = documents::find(transaction.conn, db.id, &ours.id)?
                .ok_or_else(ApiError::missing)?;
            let mut history: Vec<Rev> = row
                .tree
                .path(&rev)
                .iter()
                .map(|node| node.rev.clone())
                .collect();
            let edge = match race.ours {
                Side::Loses => "ffffffffffffffffffffffffffff",
                Side::Wins => "0000000000000000000000000000",
            };
            let theirs = Rev {
                pos: rev.pos,
                id: format!("{edge}{:04x}", db.seq & 0xffff),
            };
            if let Some(first) = history.first_mut() {
                *first = theirs;
            }
            let body = match &race.other {
                Some(text) => match Json::parse(text.as_bytes()) {
                    Ok(Json::Obj(members)) => members,
                    _ => {
                        return Err(ApiError::bad_request(
                            "the other writer's document must be a JSON object",
                        ));
                    }
                },
                None => {
                    let mut members = ours.body.clone();
                    members.push(("other_writer".to_owned(), true.into()));
                    members
                }
            };
            let other = NewDoc {
                id: ours.id.clone(),
                deleted: false,
                body,
                attachments: Vec::new(),
                history,
            };
            documents::save(transaction, &mut db, &other, Origin::Replication)?;
            db.store(transaction)?;
            Ok((ours.id, rev))
        })
        .await?;
    Ok(saved(request, StatusCode::ACCEPTED, &name, &id, &rev))
}
