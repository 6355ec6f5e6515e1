//! `/{db}/{id}`

use http::{Method, StatusCode, header};
use rusqlite::Connection;

use super::{
    App,
    answer::Answer,
    attachments,
    call::{Call, Query, decode},
    incoming, root,
};
use crate::{
    failure::Failure,
    faults::{Race, Side},
    json::{Json, obj},
    storage::{
        databases,
        documents::{self, DocRow, NewDoc, Origin},
        revtree::{Rev, RevTree},
    },
};

/// What of a document is asked for, beside its members.
#[derive(Clone, Debug, Default)]
pub(crate) struct Show {
    pub(crate) revs: bool,
    pub(crate) revs_info: bool,
    pub(crate) conflicts: bool,
    pub(crate) deleted_conflicts: bool,
    pub(crate) local_seq: bool,
    pub(crate) attachments: bool,
    /// Data of attachments is left out if it came with one of these revisions or an ancestor.
    pub(crate) atts_since: Option<Vec<String>>,
}

impl Show {
    pub(crate) fn from_query(query: &Query) -> Result<Self, Failure> {
        let meta = query.on("meta")?;
        let atts_since = match query.json(&["atts_since"])? {
            Some(Json::Arr(list)) => Some(
                list.iter()
                    .filter_map(Json::as_str)
                    .map(str::to_owned)
                    .collect(),
            ),
            Some(_) => return Err(Failure::bad_request("atts_since must be a JSON array")),
            None => None,
        };
        Ok(Self {
            revs: query.on("revs")?,
            revs_info: query.on("revs_info")? || meta,
            conflicts: query.on("conflicts")? || meta,
            deleted_conflicts: query.on("deleted_conflicts")? || meta,
            local_seq: query.on("local_seq")?,
            attachments: query.on("attachments")?,
            atts_since,
        })
    }
}

/// The text of one revision; none if it is not there.
pub(crate) fn show(
    conn: &Connection,
    row: &DocRow,
    rev: &Rev,
    show: &Show,
) -> Result<Option<String>, Failure> {
    let Some(stored) = row.tree.get(rev).and_then(|node| node.stored) else {
        return Ok(None);
    };
    let Some(body_row) = stored.body else {
        return Ok(None);
    };
    let body = documents::body(conn, body_row)?;
    let mut extra = meta(&row.tree, rev, row.seq, show);
    if !body.attachments.is_empty() {
        extra.push((
            "_attachments",
            attachments::list(conn, &row.tree, rev, &body.attachments, show)?,
        ));
    }
    Ok(Some(documents::render(
        &row.id,
        &rev.to_string(),
        stored.deleted,
        &body.text,
        &extra,
    )))
}

/// The members that tell of the tree.
pub(crate) fn meta(tree: &RevTree, rev: &Rev, seq: i64, show: &Show) -> Vec<(&'static str, Json)> {
    let mut extra = Vec::new();
    if show.revs {
        extra.push(("_revisions", revisions(tree, rev)));
    }
    if show.revs_info {
        let list = tree
            .path(rev)
            .iter()
            .map(|node| {
                let status = match node.stored {
                    Some(stored) if stored.body.is_none() => "missing",
                    Some(stored) if stored.deleted => "deleted",
                    Some(_) => "available",
                    None => "missing",
                };
                obj([
                    ("rev", node.rev.to_string().into()),
                    ("status", status.into()),
                ])
            })
            .collect();
        extra.push(("_revs_info", Json::Arr(list)));
    }
    if show.local_seq {
        extra.push(("_local_seq", seq.into()));
    }
    if show.conflicts
        && let Some(list) = documents::conflicts(tree, false)
    {
        extra.push(("_conflicts", list));
    }
    if show.deleted_conflicts
        && let Some(list) = documents::conflicts(tree, true)
    {
        extra.push(("_deleted_conflicts", list));
    }
    extra
}

fn revisions(tree: &RevTree, rev: &Rev) -> Json {
    let ids = tree
        .path(rev)
        .iter()
        .map(|node| node.rev.id.as_str().into())
        .collect();
    obj([("start", rev.pos.into()), ("ids", Json::Arr(ids))])
}

/// `/{db}/{id}`
pub(crate) async fn document(
    app: &App,
    call: &Call,
    name: String,
    id: String,
) -> Result<Answer, Failure> {
    match call.method.as_str() {
        "GET" | "HEAD" => {
            incoming::check_id(&id)?;
            if call.query.get("open_revs").is_some() {
                open_revs(app, call, name, id).await
            } else {
                get(app, call, name, id).await
            }
        }
        "PUT" => put(app, call, name, id).await,
        "DELETE" => delete(app, call, name, id).await,
        "COPY" => copy(app, call, name, id).await,
        "POST" => attachments::post_form(app, call, name, id).await,
        _ => Err(Failure::method_not_allowed("DELETE,GET,HEAD,POST,PUT,COPY")),
    }
}

async fn get(app: &App, call: &Call, name: String, id: String) -> Result<Answer, Failure> {
    let options = Show::from_query(&call.query)?;
    let named = call.query.get("rev").map(Rev::parse).transpose()?;
    let latest = call.query.on("latest")?;
    let wants_multipart = options.attachments && attachments::accepts(call, "multipart/related");
    let found = app.store.read(move |conn| {
        let db = databases::open(conn, &name)?;
        let row = documents::find(conn, db.id, &id)?.ok_or_else(Failure::missing)?;
        let rev = match named {
            Some(rev) if latest => leaf_of(&row.tree, &rev).ok_or_else(Failure::missing)?,
            Some(rev) => rev,
            None if row.deleted => return Err(Failure::deleted()),
            None => row
                .tree
                .winner()
                .map(|node| node.rev.clone())
                .ok_or_else(Failure::missing)?,
        };
        if wants_multipart && let Some(parts) = attachments::related(conn, &row, &rev, &options)? {
            return Ok((rev, Err(parts), true));
        }
        let text = show(conn, &row, &rev, &options)?.ok_or_else(Failure::missing)?;
        // With what tells of other revisions, its own says too little about the answer.
        let plain = meta(&row.tree, &rev, row.seq, &options)
            .iter()
            .all(|(key, _)| *key == "_revisions");
        Ok((rev, Ok(text), plain))
    });
    let (rev, content, plain) = found.await?;
    let etag = format!("\"{rev}\"");
    if plain
        && call
            .header(header::IF_NONE_MATCH)
            .is_some_and(|seen| seen.contains(&etag))
    {
        return Ok(Answer::text(StatusCode::NOT_MODIFIED, String::new()).with(header::ETAG, etag));
    }
    let answer = match content {
        Ok(mut text) => {
            text.push('\n');
            Answer::text(StatusCode::OK, text)
        }
        Err(parts) => parts.answer(),
    };
    Ok(if plain {
        answer.with(header::ETAG, etag)
    } else {
        answer
    })
}

/// The winning leaf of those that follow a revision.
fn leaf_of(tree: &RevTree, rev: &Rev) -> Option<Rev> {
    let leaves = tree.leaves();
    let following = leaves
        .iter()
        .find(|leaf| tree.path(&leaf.rev).iter().any(|node| node.rev == *rev));
    following.map(|leaf| leaf.rev.clone())
}

enum Opened {
    Ok(String),
    Missing(String),
}

async fn open_revs(app: &App, call: &Call, name: String, id: String) -> Result<Answer, Failure> {
    let options = Show::from_query(&call.query)?;
    let latest = call.query.on("latest")?;
    let wanted = match call.query.get("open_revs") {
        Some("all") => None,
        Some(text) => {
            let list = Json::parse(text.as_bytes()).map_err(|_| Failure::bad_json())?;
            let list = list
                .as_arr()
                .ok_or_else(|| Failure::bad_request("`open_revs` must be `all` or an array"))?;
            let revs = list
                .iter()
                .map(|rev| {
                    rev.as_str().map_or_else(
                        || Err(Failure::bad_request("Invalid rev format")),
                        Rev::parse,
                    )
                })
                .collect::<Result<Vec<_>, _>>()?;
            Some(revs)
        }
        None => None,
    };
    let mixed = call.header(header::ACCEPT).is_none()
        || ["multipart/mixed", "multipart/*", "*/*"]
            .iter()
            .any(|kind| attachments::accepts(call, kind));
    // In parts, the data of attachments comes along without being asked for.
    let options = Show {
        attachments: options.attachments || mixed,
        ..options
    };
    let opened = app.store.read(move |conn| {
        let db = databases::open(conn, &name)?;
        let Some(row) = documents::find(conn, db.id, &id)? else {
            return match wanted {
                None => Err(Failure::missing()),
                Some(revs) => Ok((
                    revs.iter()
                        .map(|rev| Opened::Missing(rev.to_string()))
                        .collect(),
                    Vec::new(),
                )),
            };
        };
        let revs = match wanted {
            None => row
                .tree
                .leaves_in_tree_order()
                .iter()
                .map(|leaf| leaf.rev.clone())
                .collect(),
            Some(revs) => revs,
        };
        let mut opened = Vec::new();
        let mut parts = Vec::new();
        for asked in revs {
            let rev = if latest {
                leaf_of(&row.tree, &asked).unwrap_or(asked)
            } else {
                asked
            };
            match show(conn, &row, &rev, &options)? {
                Some(text) => {
                    if mixed {
                        parts.push(attachments::related(conn, &row, &rev, &options)?);
                    }
                    opened.push(Opened::Ok(text));
                }
                None => opened.push(Opened::Missing(rev.to_string())),
            }
        }
        Ok((opened, parts))
    });
    let (opened, parts): (Vec<Opened>, Vec<Option<attachments::Related>>) = opened.await?;
    if mixed {
        return Ok(attachments::mixed(opened_parts(opened, parts)));
    }
    let mut out = String::from("[");
    for (n, one) in opened.iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        match one {
            Opened::Ok(text) => {
                out.push_str("{\"ok\":");
                out.push_str(text);
                out.push('}');
            }
            Opened::Missing(rev) => obj([("missing", rev.as_str().into())]).write(&mut out),
        }
    }
    out.push_str("]\n");
    Ok(Answer::text(StatusCode::OK, out).with(header::CONTENT_TYPE, "application/json"))
}

fn opened_parts(
    opened: Vec<Opened>,
    related: Vec<Option<attachments::Related>>,
) -> Vec<attachments::Part> {
    let mut related = related.into_iter();
    opened
        .into_iter()
        .map(|one| match one {
            Opened::Ok(text) => match related.next().flatten() {
                Some(parts) => attachments::Part::Related(parts),
                None => attachments::Part::Json(text),
            },
            Opened::Missing(rev) => {
                attachments::Part::Error(obj([("missing", rev.into())]).to_string())
            }
        })
        .collect()
}

/// Reads the body of a PUT, whatever form it has.
fn sent(call: &Call) -> Result<incoming::Doc, Failure> {
    let kind = call.header(header::CONTENT_TYPE).unwrap_or_default();
    let mut doc = if kind.starts_with("multipart/related") {
        attachments::parse_related(kind, &call.body)?
    } else {
        if call.body.is_empty() {
            return Err(Failure::bad_request("Missing request body"));
        }
        let json = call.json()?;
        if json.as_obj().is_none() {
            return Err(Failure::bad_request("Document must be a JSON object"));
        }
        incoming::parse(json)?
    };
    let in_query = call.query.get("rev").map(Rev::parse).transpose()?;
    let in_header = call.if_match().map(Rev::parse).transpose()?;
    for named in [&in_query, &in_header].into_iter().flatten() {
        if doc.rev.as_ref().is_some_and(|rev| rev != named) {
            return Err(Failure::bad_request(
                "Document rev from request body and query string have different values",
            ));
        }
        doc.rev = Some(named.clone());
    }
    Ok(doc)
}

async fn put(app: &App, call: &Call, name: String, id: String) -> Result<Answer, Failure> {
    incoming::check_id(&id)?;
    let doc = sent(call)?;
    let (new, origin) = if call.query.flag("new_edits")? == Some(false) {
        (doc.into_replicated(id)?, Origin::Replication)
    } else {
        (doc.into_edit(id)?, Origin::Edit)
    };
    let deleted = new.deleted;
    let (id, rev) = save(app, name, new, origin).await?;
    if call.query.get("batch") == Some("ok") {
        return Ok(Answer::json(
            StatusCode::ACCEPTED,
            &obj([("ok", true.into()), ("id", id.into())]),
        ));
    }
    let status = if deleted {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    Ok(saved(call, status, &id, &rev))
}

async fn save(
    app: &App,
    name: String,
    new: NewDoc,
    origin: Origin,
) -> Result<(String, Rev), Failure> {
    app.store
        .write(move |writing| {
            let mut db = databases::open(writing.conn, &name)?;
            let rev = documents::save(writing, &mut db, &new, origin)?;
            db.store(writing)?;
            Ok((new.id, rev))
        })
        .await
}

/// The answer to a stored revision.
fn saved(call: &Call, status: StatusCode, id: &str, rev: &Rev) -> Answer {
    Answer::json(
        status,
        &obj([
            ("ok", true.into()),
            ("id", id.into()),
            ("rev", rev.to_string().into()),
        ]),
    )
    .with(header::ETAG, format!("\"{rev}\""))
    .with(
        header::LOCATION,
        format!("{}{}", call.base(), call.raw_path),
    )
}

async fn delete(app: &App, call: &Call, name: String, id: String) -> Result<Answer, Failure> {
    incoming::check_id(&id)?;
    let rev = call.named_rev()?;
    let (id, rev) = app
        .store
        .write(move |writing| {
            let mut db = databases::open(writing.conn, &name)?;
            match documents::find(writing.conn, db.id, &id)? {
                None => return Err(Failure::missing()),
                Some(row) if row.deleted => return Err(Failure::deleted()),
                Some(_) => {}
            }
            let new = NewDoc {
                id,
                deleted: true,
                body: Vec::new(),
                attachments: Vec::new(),
                history: rev.into_iter().collect(),
            };
            let rev = documents::save(writing, &mut db, &new, Origin::Edit)?;
            db.store(writing)?;
            Ok((new.id, rev))
        })
        .await?;
    Ok(Answer::ok(&obj([
        ("ok", true.into()),
        ("id", id.into()),
        ("rev", rev.to_string().into()),
    ]))
    .with(header::ETAG, format!("\"{rev}\"")))
}

async fn copy(app: &App, call: &Call, name: String, id: String) -> Result<Answer, Failure> {
    let destination = call
        .headers
        .get("destination")
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| Failure::bad_request("Destination header is mandatory for COPY."))?;
    let (target, target_rev) = match destination.split_once("?rev=") {
        Some((target, rev)) => (target, Some(Rev::parse(rev)?)),
        None => (destination, None),
    };
    let target = decode(target.trim_start_matches('/'))
        .ok_or_else(|| Failure::bad_request("invalid UTF-8 in Destination"))?;
    incoming::check_id(&target)?;
    let source_rev = call.query.get("rev").map(Rev::parse).transpose()?;
    let (new_id, rev) = app
        .store
        .write(move |writing| {
            let mut db = databases::open(writing.conn, &name)?;
            let row = documents::find(writing.conn, db.id, &id)?.ok_or_else(Failure::missing)?;
            let source = match source_rev {
                Some(rev) => rev,
                None if row.deleted => return Err(Failure::deleted()),
                None => row
                    .tree
                    .winner()
                    .map(|node| node.rev.clone())
                    .ok_or_else(Failure::missing)?,
            };
            let stored = row
                .tree
                .get(&source)
                .and_then(|node| node.stored)
                .ok_or_else(Failure::missing)?;
            let body = documents::body(writing.conn, stored.body.ok_or_else(Failure::missing)?)?;
            let Ok(Json::Obj(members)) = Json::parse(body.text.as_bytes()) else {
                return Err(Failure::internal("a stored document cannot be read"));
            };
            let mut attachments = Vec::new();
            for attachment in &body.attachments {
                attachments.push(documents::NewAttachment {
                    name: attachment.name.clone(),
                    content_type: attachment.content_type.clone(),
                    revpos: None,
                    data: Some(attachment.data(writing.conn)?),
                });
            }
            let new = NewDoc {
                id: target,
                deleted: false,
                body: members,
                attachments,
                history: target_rev.into_iter().collect(),
            };
            let rev = documents::save(writing, &mut db, &new, Origin::Edit)?;
            db.store(writing)?;
            Ok((new.id, rev))
        })
        .await?;
    Ok(Answer::json(
        StatusCode::CREATED,
        &obj([
            ("ok", true.into()),
            ("id", new_id.as_str().into()),
            ("rev", rev.to_string().into()),
        ]),
    )
    .with(header::ETAG, format!("\"{rev}\""))
    .with(
        header::LOCATION,
        format!(
            "{}/{}/{new_id}",
            call.base(),
            call.raw_path.split('/').nth(1).unwrap_or_default()
        ),
    ))
}

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
