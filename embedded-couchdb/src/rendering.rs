//! The JSON of stored documents, with the members that a request asks for.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rusqlite::Connection;

use crate::{
    api_error::ApiError,
    json::{Json, obj},
    storage::{
        documents::{self, Attachment, DocRow},
        revtree::{Rev, RevTree},
    },
};

/// Which members a response adds to those of a document.
#[derive(Clone, Debug, Default)]
pub(crate) struct DocOptions {
    pub(crate) revs: bool,
    pub(crate) revs_info: bool,
    pub(crate) conflicts: bool,
    pub(crate) deleted_conflicts: bool,
    pub(crate) local_seq: bool,
    pub(crate) attachments: bool,
    /// Whether and how attachments are compressed.
    pub(crate) att_encoding_info: bool,
    /// The data of attachments is left out if one of these revisions or an ancestor has it.
    pub(crate) atts_since: Option<Vec<Rev>>,
}

impl DocOptions {
    /// The options that count when a revision is named: not those that describe the other revisions.
    pub(crate) fn of_revision(self) -> Self {
        Self {
            revs: self.revs,
            attachments: self.attachments,
            att_encoding_info: self.att_encoding_info,
            atts_since: self.atts_since,
            ..Self::default()
        }
    }
}

/// The JSON of a revision; `None` if its body is not stored.
pub(crate) fn render_revision(
    conn: &Connection,
    row: &DocRow,
    rev: &Rev,
    options: &DocOptions,
) -> Result<Option<String>, ApiError> {
    let Some(stored) = row.tree.get(rev).and_then(|node| node.stored) else {
        return Ok(None);
    };
    let Some(body_row) = stored.body else {
        return Ok(None);
    };
    let body = documents::body(conn, body_row)?;
    let mut extra = meta_members(&row.tree, rev, row.seq, options);
    if !body.attachments.is_empty() {
        extra.push((
            "_attachments",
            attachment_members(conn, &row.tree, rev, &body.attachments, options)?,
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

/// The members that describe the revision tree.
pub(crate) fn meta_members(
    tree: &RevTree,
    rev: &Rev,
    seq: i64,
    options: &DocOptions,
) -> Vec<(&'static str, Json)> {
    let mut extra = Vec::new();
    if options.revs {
        extra.push(("_revisions", revisions(tree, rev)));
    }
    if options.revs_info {
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
    if options.local_seq {
        extra.push(("_local_seq", seq.into()));
    }
    if options.conflicts
        && let Some(list) = documents::conflicts(tree, false)
    {
        extra.push(("_conflicts", list));
    }
    if options.deleted_conflicts
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

/// Whether a response includes the data of an attachment.
pub(crate) fn sends_data(
    tree: &RevTree,
    rev: &Rev,
    attachment: &Attachment,
    options: &DocOptions,
) -> bool {
    let Some(since) = &options.atts_since else {
        return options.attachments;
    };
    // The client already has the data of the revisions that it names.
    let newest = tree
        .path(rev)
        .iter()
        .filter(|node| since.contains(&node.rev))
        .map(|node| node.rev.pos)
        .max()
        .unwrap_or(0);
    attachment.revpos > newest
}

/// The value of `_attachments`.
fn attachment_members(
    conn: &Connection,
    tree: &RevTree,
    rev: &Rev,
    attachments: &[Attachment],
    options: &DocOptions,
) -> Result<Json, ApiError> {
    let mut members = Vec::new();
    for attachment in attachments {
        let entry = if sends_data(tree, rev, attachment, options) {
            let mut members = attachment.describe(options.att_encoding_info);
            let data = STANDARD.encode(attachment.plain(conn)?);
            members.push(("data".to_owned(), data.into()));
            Json::Obj(members)
        } else {
            attachment.stub(options.att_encoding_info)
        };
        members.push((attachment.name.clone(), entry));
    }
    Ok(Json::Obj(members))
}
