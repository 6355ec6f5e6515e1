//! Documents: their revisions and bodies, as they are stored and shown.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    attachments, bodies, partitions,
    revtree::{Rev, RevTree},
};
use crate::{
    api_error::ApiError,
    json::{Json, write_string},
};

pub(crate) use super::{
    attachments::{Attachment, NewAttachment, stubs},
    edits::{Plan, carry_out, compact, forget, plan, replace, save},
};

/// A revision to store.
#[derive(Clone, Debug)]
pub(crate) struct NewDoc {
    pub(crate) id: String,
    pub(crate) deleted: bool,
    /// The members, without those that begin with `_`.
    pub(crate) body: Vec<(String, Json)>,
    pub(crate) attachments: Vec<NewAttachment>,
    /// For an edit: the parent revision, if the request names it. For a replicated revision: the revision and
    /// its ancestors, newest first.
    pub(crate) history: Vec<Rev>,
}

/// The origin of a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// An edit by a client, which must change a leaf.
    Edit,
    /// A replicated revision, which is added to the tree unchanged.
    Replication,
}

/// The row of a document.
pub(crate) struct DocRow {
    pub(crate) id: String,
    pub(crate) seq: i64,
    /// Whether the winner is deleted.
    pub(crate) deleted: bool,
    /// The winning revision.
    pub(crate) rev: String,
    pub(crate) body: Option<i64>,
    pub(crate) tree: RevTree,
    pub(super) size: i64,
}

/// The stored body of a revision.
#[derive(Clone)]
pub(crate) struct Body {
    pub(crate) text: String,
    pub(crate) attachments: Vec<Attachment>,
}

/// Decodes a stored tree.
pub(crate) fn tree(bytes: &[u8]) -> Result<RevTree, ApiError> {
    RevTree::decode(bytes)
        .ok_or_else(|| ApiError::internal("a stored revision tree cannot be read"))
}

/// Finds a document, including deleted ones.
pub(crate) fn find(conn: &Connection, db: i64, id: &str) -> Result<Option<DocRow>, ApiError> {
    let row = conn
        .prepare_cached(
            "SELECT seq, deleted, rev, body, size, tree FROM docs WHERE db = ?1 AND id = ?2",
        )?
        .query_row(params![db, id], |row| {
            Ok((
                row.get(0)?,
                row.get(1)?,
                row.get(2)?,
                row.get(3)?,
                row.get(4)?,
                row.get::<_, Vec<u8>>(5)?,
            ))
        })
        .optional()?;
    let Some((seq, deleted, rev, body, size, bytes)) = row else {
        return Ok(None);
    };
    Ok(Some(DocRow {
        id: id.to_owned(),
        seq,
        deleted,
        rev,
        body,
        size,
        tree: tree(&bytes)?,
    }))
}

/// Reads a stored body.
pub(crate) fn body(conn: &Connection, row: i64) -> Result<Body, ApiError> {
    let (text, attachments): (String, Option<String>) = conn
        .prepare_cached("SELECT body, attachments FROM bodies WHERE id = ?1")?
        .query_row([row], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(Body {
        text,
        attachments: attachments
            .as_deref()
            .map(attachments::parse)
            .transpose()?
            .unwrap_or_default(),
    })
}

/// How many documents a partition has, and how large they are.
pub(crate) struct PartitionCounts {
    pub(crate) documents: i64,
    pub(crate) deleted: i64,
    pub(crate) bytes: i64,
}

/// Counts the documents of a partition.
pub(crate) fn counts_of_partition(
    conn: &Connection,
    db: i64,
    partition: &str,
) -> Result<PartitionCounts, ApiError> {
    let (low, high) = partitions::ids(partition);
    Ok(conn
        .prepare_cached(
            "SELECT count(*) - coalesce(sum(deleted), 0), coalesce(sum(deleted), 0), \
             coalesce(sum(size * (1 - deleted)), 0) FROM docs WHERE db = ?1 AND id > ?2 AND id < ?3",
        )?
        .query_row(params![db, low, high], |row| {
            Ok(PartitionCounts {
                documents: row.get(0)?,
                deleted: row.get(1)?,
                bytes: row.get(2)?,
            })
        })?)
}

/// The members of a document from its stored text.
pub(crate) fn members(text: &str) -> Result<Vec<(String, Json)>, ApiError> {
    match Json::parse(text.as_bytes()) {
        Ok(Json::Obj(members)) => Ok(members),
        _ => Err(ApiError::internal("a stored document cannot be read")),
    }
}

/// Removes a body and its references to attachments.
pub(crate) fn drop_body(conn: &Connection, row: i64) -> Result<(), ApiError> {
    if bodies::release_shared(conn, row)? {
        return Ok(());
    }
    attachments::release(conn, &body(conn, row)?.attachments)?;
    conn.prepare_cached("DELETE FROM bodies WHERE id = ?1")?
        .execute([row])?;
    Ok(())
}

/// A document as index definitions see it.
pub(crate) fn for_index(
    id: &str,
    tree: &RevTree,
    text: &str,
    attachments: Option<&str>,
) -> Result<Json, ApiError> {
    let attachments = attachments
        .map(attachments::parse)
        .transpose()?
        .unwrap_or_default();
    let winner = tree
        .winner()
        .ok_or_else(|| ApiError::internal("a document without a revision"))?;
    Ok(as_indexed(
        id,
        &winner.rev,
        tree,
        &Body {
            text: text.to_owned(),
            attachments,
        },
    ))
}

/// The live or the deleted leaves besides the winner; `None` if there are none.
pub(crate) fn conflicts(tree: &RevTree, deleted: bool) -> Option<Json> {
    let list: Vec<Json> = tree
        .leaves()
        .iter()
        .skip(1)
        .filter(|leaf| leaf.stored.is_some_and(|stored| stored.deleted) == deleted)
        .map(|leaf| leaf.rev.to_string().into())
        .collect();
    (!list.is_empty()).then_some(Json::Arr(list))
}

/// The JSON of a document from its stored body, followed by the members `extra`.
pub(crate) fn render(
    id: &str,
    rev: &str,
    deleted: bool,
    text: &str,
    extra: &[(&str, Json)],
) -> String {
    let mut out = String::with_capacity(text.len() + 100);
    out.push_str("{\"_id\":");
    write_string(id, &mut out);
    out.push_str(",\"_rev\":");
    write_string(rev, &mut out);
    // The stored text is a JSON object that this program wrote.
    let inner = text
        .get(1..text.len().saturating_sub(1))
        .unwrap_or_default();
    if !inner.is_empty() {
        out.push(',');
        out.push_str(inner);
    }
    if deleted {
        out.push_str(",\"_deleted\":true");
    }
    for (key, value) in extra {
        out.push(',');
        write_string(key, &mut out);
        out.push(':');
        value.write(&mut out);
    }
    out.push('}');
    out
}

pub(super) fn winner_for_index(conn: &Connection, row: &DocRow) -> Result<Option<Json>, ApiError> {
    let (Some(body_row), Some(winner)) = (row.body, row.tree.winner()) else {
        return Ok(None);
    };
    Ok(Some(as_indexed(
        &row.id,
        &winner.rev,
        &row.tree,
        &body(conn, body_row)?,
    )))
}

pub(super) fn as_indexed(id: &str, rev: &Rev, tree: &RevTree, body: &Body) -> Json {
    let mut members = vec![
        ("_id".to_owned(), id.into()),
        ("_rev".to_owned(), rev.to_string().into()),
    ];
    if let Ok(Json::Obj(inner)) = Json::parse(body.text.as_bytes()) {
        members.extend(inner);
    }
    members.extend(conflicts(tree, false).map(|list| ("_conflicts".to_owned(), list)));
    members.extend(conflicts(tree, true).map(|list| ("_deleted_conflicts".to_owned(), list)));
    if !body.attachments.is_empty() {
        members.push(("_attachments".to_owned(), stubs(&body.attachments)));
    }
    Json::Obj(members)
}
