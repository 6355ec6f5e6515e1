//! A lost race on command.

use http::{Method, StatusCode};

use super::{
    App,
    answer::Answer,
    call::Call,
    document::{saved, sent},
    incoming, root,
};
use crate::{
    failure::Failure,
    faults::{Race, Side},
    json::Json,
    storage::{
        databases,
        documents::{self, NewDoc, Origin},
        revtree::Rev,
    },
};

/// A fault on command: the write of this request and one of somebody else are both stored, as
/// after a race on a cluster, and this request hears 202.
pub(crate) async fn lost_race(app: &App, call: &Call, race: &Race) -> Result<Answer, Failure> {
    let segments = call.segments();
    let (name, id) = match segments.as_slice() {
        [name] => ((*name).to_owned(), root::new_id()),
        [name, "_design", id] => ((*name).to_owned(), format!("_design/{id}")),
        [name, id] => ((*name).to_owned(), (*id).to_owned()),
        _ => {
            return Err(Failure::not_implemented(
                "races are made of writes of one document",
            ));
        }
    };
    let ours = match call.method {
        Method::PUT => sent(call)?.into_edit(id)?,
        Method::POST => {
            let doc = incoming::parse(call.json()?)?;
            let id = doc.id.clone().unwrap_or(id);
            doc.into_edit(id)?
        }
        _ => {
            return Err(Failure::not_implemented(
                "races are made of PUT and POST of one document",
            ));
        }
    };
    let race = race.clone();
    let (id, rev) = app
        .store
        .write(move |writing| {
            let mut db = databases::open(writing.conn, &name)?;
            // The same checks as without a race: only who may write can lose one.
            let rev = documents::save(writing, &mut db, &ours, Origin::Edit)?;
            let row =
                documents::find(writing.conn, db.id, &ours.id)?.ok_or_else(Failure::missing)?;
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
                        return Err(Failure::bad_request(
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
            documents::save(writing, &mut db, &other, Origin::Replication)?;
            db.store(writing)?;
            Ok((ours.id, rev))
        })
        .await?;
    Ok(saved(call, StatusCode::ACCEPTED, &id, &rev))
}
