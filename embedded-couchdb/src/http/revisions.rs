//! `?open_revs=` and other requests for specific revisions.

use http::{StatusCode, header};

use super::{
    app::App,
    multipart,
    request::{ApiRequest, Query},
    response::ApiResponse,
};
use crate::{
    api_error::ApiError,
    json::{Json, obj},
    rendering::{DocOptions, render_revision},
    storage::{
        databases, documents,
        revtree::{Rev, RevTree},
    },
};

/// Parses a list of revisions.
pub(crate) fn rev_list(list: &Json) -> Result<Vec<Rev>, ApiError> {
    list.as_arr()
        .ok_or_else(|| ApiError::bad_request("Invalid list of revisions"))?
        .iter()
        .map(|rev| {
            rev.as_str().map_or_else(
                || Err(ApiError::bad_request("Invalid rev format")),
                Rev::parse,
            )
        })
        .collect()
}

/// Reads the options from the query.
pub(crate) fn doc_options(query: &Query) -> Result<DocOptions, ApiError> {
    // As CouchDB, this takes anything but `true` for `false` here.
    let on = |key| query.is_on(key);
    let atts_since = match query.json(&["atts_since"])? {
        Some(list) => Some(rev_list(&list)?),
        None => None,
    };
    Ok(DocOptions {
        revs: on("revs"),
        revs_info: on("revs_info") || on("meta"),
        conflicts: on("conflicts") || on("meta"),
        deleted_conflicts: on("deleted_conflicts") || on("meta"),
        local_seq: on("local_seq"),
        attachments: on("attachments"),
        att_encoding_info: on("att_encoding_info"),
        atts_since,
    })
}

/// The leaves that descend from a revision, in the order of the tree; the revision itself if there are none.
pub(crate) fn latest_of(tree: &RevTree, rev: Rev) -> Vec<Rev> {
    let leaves: Vec<Rev> = tree
        .leaves_in_tree_order()
        .iter()
        .filter(|leaf| tree.path(&leaf.rev).iter().any(|node| node.rev == rev))
        .map(|leaf| leaf.rev.clone())
        .collect();
    if leaves.is_empty() { vec![rev] } else { leaves }
}

/// The revisions, or the latest that descend from them, each once, as CouchDB orders them: those that are stored, by
/// generation and id, then the others.
fn ordered(tree: &RevTree, revs: Vec<Rev>, latest: bool) -> Vec<Rev> {
    let mut revs: Vec<Rev> = if latest {
        revs.into_iter()
            .flat_map(|rev| latest_of(tree, rev))
            .collect()
    } else {
        revs
    };
    let is_absent = |rev: &Rev| tree.get(rev).is_none_or(|node| node.stored.is_none());
    revs.sort_by_cached_key(|rev| (is_absent(rev), rev.clone()));
    revs.dedup();
    revs
}

enum Opened {
    Ok(String),
    Missing(String),
}

/// `?open_revs=`: several revisions of a document at once.
pub(crate) async fn open_revs(
    app: &App,
    request: &ApiRequest,
    name: String,
    id: String,
) -> Result<ApiResponse, ApiError> {
    let options = doc_options(&request.query)?.of_revision();
    let latest = request.query.is_on("latest");
    let wanted = match request.query.last_of(&["open_revs"]) {
        Some("all") => None,
        Some(text) => {
            let list = Json::parse(text.as_bytes()).map_err(|_| ApiError::bad_json())?;
            Some(rev_list(&list)?)
        }
        None => None,
    };
    let mixed = request.header(header::ACCEPT).is_none()
        || ["multipart/mixed", "multipart/*", "*/*"]
            .iter()
            .any(|kind| request.accepts(kind));
    // A multipart response always includes the data of attachments.
    let options = DocOptions {
        attachments: options.attachments || mixed,
        ..options
    };
    let opened = app.store.read(move |conn| {
        let db = databases::open(conn, &name)?;
        let Some(row) = documents::find(conn, db.id, &id)? else {
            return match wanted {
                None => Err(ApiError::missing()),
                Some(revs) => Ok((
                    revs.iter()
                        .map(|rev| Opened::Missing(rev.to_string()))
                        .collect(),
                    Vec::new(),
                )),
            };
        };
        let revs = match wanted {
            None => {
                let leaves = row.tree.leaves();
                let revs = leaves.iter().map(|leaf| leaf.rev.clone()).collect();
                ordered(&row.tree, revs, false)
            }
            Some(revs) => ordered(&row.tree, revs, latest),
        };
        let mut opened = Vec::new();
        let mut parts = Vec::new();
        for rev in revs {
            match render_revision(conn, &row, &rev, &options)? {
                Some(text) => {
                    if mixed {
                        parts.push(multipart::related(conn, &row, &rev, &options)?);
                    }
                    opened.push(Opened::Ok(text));
                }
                None => opened.push(Opened::Missing(rev.to_string())),
            }
        }
        Ok((opened, parts))
    });
    let (opened, parts): (Vec<Opened>, Vec<Option<multipart::RelatedBody>>) = opened.await?;
    if mixed {
        return Ok(multipart::revisions(opened_parts(opened, parts)));
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
    Ok(ApiResponse::text(StatusCode::OK, out).with(header::CONTENT_TYPE, "application/json"))
}

fn opened_parts(
    opened: Vec<Opened>,
    related: Vec<Option<multipart::RelatedBody>>,
) -> Vec<multipart::Part> {
    let mut related = related.into_iter();
    opened
        .into_iter()
        .map(|one| match one {
            Opened::Ok(text) => match related.next().flatten() {
                Some(parts) => multipart::Part::Related(parts),
                None => multipart::Part::Json(text),
            },
            Opened::Missing(rev) => {
                multipart::Part::Error(obj([("missing", rev.into())]).to_string())
            }
        })
        .collect()
}
