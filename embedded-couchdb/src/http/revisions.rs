//! Revisions of a document as answers show them, one or several.

use http::{StatusCode, header};
use rusqlite::Connection;

use super::{
    App,
    answer::Answer,
    attachments,
    call::{Call, Query},
};
use crate::{
    failure::Failure,
    json::{Json, obj},
    storage::{
        databases,
        documents::{self, DocRow},
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

/// The winning leaf of those that follow a revision.
pub(crate) fn leaf_of(tree: &RevTree, rev: &Rev) -> Option<Rev> {
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

/// `?open_revs=`: several revisions of a document at once.
pub(crate) async fn open_revs(
    app: &App,
    call: &Call,
    name: String,
    id: String,
) -> Result<Answer, Failure> {
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
