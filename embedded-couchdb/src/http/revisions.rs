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

/// Reads the options from the query.
pub(crate) fn doc_options(query: &Query) -> Result<DocOptions, ApiError> {
    let meta = query.on("meta")?;
    let atts_since = match query.json(&["atts_since"])? {
        Some(Json::Arr(list)) => Some(
            list.iter()
                .filter_map(Json::as_str)
                .map(str::to_owned)
                .collect(),
        ),
        Some(_) => return Err(ApiError::bad_request("atts_since must be a JSON array")),
        None => None,
    };
    Ok(DocOptions {
        revs: query.on("revs")?,
        revs_info: query.on("revs_info")? || meta,
        conflicts: query.on("conflicts")? || meta,
        deleted_conflicts: query.on("deleted_conflicts")? || meta,
        local_seq: query.on("local_seq")?,
        attachments: query.on("attachments")?,
        atts_since,
    })
}

/// The winner among the leaves that descend from a revision.
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
    request: &ApiRequest,
    name: String,
    id: String,
) -> Result<ApiResponse, ApiError> {
    let options = doc_options(&request.query)?;
    let latest = request.query.on("latest")?;
    let wanted = match request.query.get("open_revs") {
        Some("all") => None,
        Some(text) => {
            let list = Json::parse(text.as_bytes()).map_err(|_| ApiError::bad_json())?;
            let list = list
                .as_arr()
                .ok_or_else(|| ApiError::bad_request("`open_revs` must be `all` or an array"))?;
            let revs = list
                .iter()
                .map(|rev| {
                    rev.as_str().map_or_else(
                        || Err(ApiError::bad_request("Invalid rev format")),
                        Rev::parse,
                    )
                })
                .collect::<Result<Vec<_>, _>>()?;
            Some(revs)
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
        return Ok(multipart::mixed(opened_parts(opened, parts)));
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
) -> Vec<multipart::MixedPart> {
    let mut related = related.into_iter();
    opened
        .into_iter()
        .map(|one| match one {
            Opened::Ok(text) => match related.next().flatten() {
                Some(parts) => multipart::MixedPart::Related(parts),
                None => multipart::MixedPart::Json(text),
            },
            Opened::Missing(rev) => {
                multipart::MixedPart::Error(obj([("missing", rev.into())]).to_string())
            }
        })
        .collect()
}
