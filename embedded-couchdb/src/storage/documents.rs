//! Documents: storing and reading revisions.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    attachments::{self, Generation},
    bodies,
    databases::Database,
    indexes, locals, partitions,
    revtree::{Added, Rev, RevTree, Stored},
    transaction::Transaction,
    validators, views,
};
use crate::{
    api_error::ApiError,
    erlang::{Edit, revision_id},
    json::{Json, write_string},
};

pub(crate) use super::attachments::{Attachment, NewAttachment, stubs};

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
    size: i64,
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

/// How a revision continues the tree of its document.
pub(crate) struct Plan {
    pub(crate) there: Option<DocRow>,
    /// The ancestors of the new revision, newest first.
    pub(crate) ancestors: Vec<Rev>,
    /// Whether the revision is stored already, so that there is nothing to do.
    pub(crate) is_known: bool,
}

impl Plan {
    /// The revision that the new one replaces, if it is stored and alive.
    pub(crate) fn replaced(&self) -> Option<&Rev> {
        let parent = self.ancestors.first()?;
        let node = self.there.as_ref()?.tree.get(parent)?;
        node.stored
            .is_some_and(|stored| !stored.deleted && stored.body.is_some())
            .then_some(parent)
    }
}

/// Finds out how a revision continues the tree of its document, which must not be local.
///
/// # Errors
/// 409 for an edit of what is no leaf.
pub(crate) fn plan(
    conn: &Connection,
    db: i64,
    new: &NewDoc,
    origin: Origin,
) -> Result<Plan, ApiError> {
    let there = find(conn, db, &new.id)?;
    let (ancestors, is_known) = match origin {
        Origin::Edit => (edited(conn, db, there.as_ref(), new)?, false),
        Origin::Replication => {
            let rev = new
                .history
                .first()
                .ok_or_else(|| ApiError::bad_request("Missing revision"))?;
            let is_known = there
                .as_ref()
                .and_then(|row| row.tree.get(rev))
                .is_some_and(|node| node.stored.is_some());
            (new.history.get(1..).unwrap_or_default().to_vec(), is_known)
        }
    };
    Ok(Plan {
        there,
        ancestors,
        is_known,
    })
}

/// Stores a revision. An error changes nothing.
pub(crate) fn save(
    transaction: &mut Transaction<'_>,
    db: &mut Database,
    new: &NewDoc,
    origin: Origin,
) -> Result<Rev, ApiError> {
    if new.id.starts_with("_local/") {
        return locals::save(transaction, db, new, origin);
    }
    let plan = plan(transaction.conn, db.id, new, origin)?;
    carry_out(transaction, db, new, origin, plan)
}

/// Stores a revision as planned in the same transaction.
pub(crate) fn carry_out(
    transaction: &mut Transaction<'_>,
    db: &mut Database,
    new: &NewDoc,
    origin: Origin,
    plan: Plan,
) -> Result<Rev, ApiError> {
    let Plan {
        there,
        ancestors,
        is_known,
    } = plan;
    let parent = ancestors.first();
    let kept = attachments_of(transaction.conn, there.as_ref(), &ancestors)?;
    let (rev, generation) = match origin {
        Origin::Edit => {
            let is_revival = new.history.is_empty() && parent.is_some();
            let rev = Rev {
                pos: parent.map_or(0, |rev| rev.pos) + 1,
                id: revision_id(&Edit {
                    deleted: new.deleted,
                    parent: parent.map(|rev| (rev.pos, rev.id.as_str())),
                    body: &new.body,
                    attachments: attachments::digests(&new.attachments, &kept),
                    is_revival,
                }),
            };
            let generation = if is_revival {
                Generation::First
            } else {
                Generation::OfRevision
            };
            (rev, generation)
        }
        Origin::Replication => {
            let rev = new.history.first().cloned();
            let rev = rev.ok_or_else(|| ApiError::bad_request("Missing revision"))?;
            if is_known {
                return Ok(rev);
            }
            (rev, Generation::AsSent)
        }
    };
    if let Some(stub) = attachments::missing_stub(&new.attachments, &kept) {
        return Err(ApiError::missing_stub(&new.id, &stub.name));
    }
    let attachments =
        attachments::store(transaction.conn, &new.attachments, &kept, &rev, generation)?;
    let mut path = vec![rev.clone()];
    path.extend(ancestors);
    insert(
        transaction,
        db,
        there.as_ref(),
        new,
        attachments.as_deref(),
        &path,
    )?;
    Ok(rev)
}

/// Whether nothing was ever stored in a database.
fn is_empty(conn: &Connection, db: i64) -> Result<bool, ApiError> {
    let there: bool = conn
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM docs WHERE db = ?1)")?
        .query_row([db], |row| row.get(0))?;
    Ok(!there)
}

/// The history that an edit continues: empty for a new document.
fn edited(
    conn: &Connection,
    db: i64,
    there: Option<&DocRow>,
    new: &NewDoc,
) -> Result<Vec<Rev>, ApiError> {
    let Some(there) = there else {
        // CouchDB takes a new document that names a revision as the successor of that, but not as the first document of
        // a database.
        if !new.history.is_empty() && is_empty(conn, db)? {
            return Err(ApiError::conflict());
        }
        return Ok(new.history.clone());
    };
    let leaf = match new.history.first() {
        // The successor of a tombstone does not name it.
        Some(named) if there.tree.is_leaf(named) && !there.deleted => named.clone(),
        Some(_) => return Err(ApiError::conflict()),
        // A deleted document may be created again, as the successor of its tombstone.
        None if there.deleted && !new.deleted => there
            .tree
            .winner()
            .map(|node| node.rev.clone())
            .ok_or_else(ApiError::conflict)?,
        None => return Err(ApiError::conflict()),
    };
    Ok(there
        .tree
        .path(&leaf)
        .iter()
        .map(|node| node.rev.clone())
        .collect())
}

/// The attachments of the nearest ancestor whose body is stored.
fn attachments_of(
    conn: &Connection,
    there: Option<&DocRow>,
    ancestors: &[Rev],
) -> Result<Vec<Attachment>, ApiError> {
    let Some(there) = there else {
        return Ok(Vec::new());
    };
    let nearest = ancestors
        .iter()
        .find_map(|rev| there.tree.get(rev)?.stored?.body);
    match nearest {
        Some(row) => Ok(body(conn, row)?.attachments),
        None => Ok(Vec::new()),
    }
}

fn insert(
    transaction: &mut Transaction<'_>,
    db: &mut Database,
    there: Option<&DocRow>,
    new: &NewDoc,
    attachments: Option<&str>,
    path: &[Rev],
) -> Result<(), ApiError> {
    let text = Json::Obj(new.body.clone()).to_string();
    let body_row = match attachments {
        // Every instance has the same design documents.
        None if new.id.starts_with("_design/") => bodies::share(transaction.conn, &text)?,
        attachments => bodies::insert(transaction.conn, &text, attachments)?,
    };

    let mut tree = there.map(|row| row.tree.clone()).unwrap_or_default();
    let added = tree.add(
        path,
        Stored {
            deleted: new.deleted,
            body: Some(body_row),
        },
    );
    if added == Added::Known {
        return Err(ApiError::conflict());
    }
    let stemmed = tree.stem(usize::try_from(db.revs_limit).unwrap_or(1000));
    replace(transaction, db, there, &new.id, &tree)?;
    for row in stemmed {
        drop_body(transaction.conn, row)?;
    }
    Ok(())
}

/// Stores the changed tree of a document, and updates counters and indexes.
pub(crate) fn replace(
    transaction: &mut Transaction<'_>,
    db: &mut Database,
    there: Option<&DocRow>,
    id: &str,
    tree: &RevTree,
) -> Result<(), ApiError> {
    let winner = tree
        .winner()
        .and_then(|node| node.stored.map(|stored| (node.rev.clone(), stored)));
    let (rev, stored) =
        winner.ok_or_else(|| ApiError::internal("a document without a revision"))?;
    let defs = indexes::cached(transaction, db.id)?;
    let is_design = id.starts_with("_design/");
    let before = match there {
        Some(row) if !row.deleted && !defs.is_empty() && !is_design => {
            winner_for_index(transaction.conn, row)?
        }
        _ => None,
    };
    if db.just_stored.as_deref() != Some(id) {
        db.seq += 1;
        db.just_stored = Some(id.to_owned());
    }
    let now_body = stored
        .body
        .map(|row| body(transaction.conn, row))
        .transpose()?;
    let size = now_body.as_ref().map_or(0, |body| {
        let attached: i64 = body
            .attachments
            .iter()
            .map(|attachment| attachment.length)
            .sum();
        i64::try_from(body.text.len())
            .unwrap_or(i64::MAX)
            .saturating_add(attached)
    });
    transaction
        .conn
        .prepare_cached(
            "INSERT INTO docs (db, id, seq, deleted, rev, size, body, tree) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) \
             ON CONFLICT (db, id) DO UPDATE SET seq = ?3, deleted = ?4, rev = ?5, size = ?6, body = ?7, tree = ?8",
        )?
        .execute(params![db.id, id, db.seq, stored.deleted, rev.to_string(), size, stored.body, tree.encode()])?;

    count(
        db,
        there.map(|row| (row.deleted, row.size)),
        Some((stored.deleted, size)),
    );
    if there.is_some() {
        db.stale += 1;
        compact_if_due(transaction, db)?;
    }
    if !defs.is_empty() && !is_design {
        let after = match &now_body {
            Some(body) if !stored.deleted => Some(as_indexed(id, &rev, tree, body)),
            _ => None,
        };
        indexes::update(transaction, &defs, id, before.as_ref(), after.as_ref())?;
    }
    if is_design {
        let parsed = match &now_body {
            Some(body) if !stored.deleted => Json::parse(body.text.as_bytes()).ok(),
            _ => None,
        };
        indexes::follow_design_document(transaction, db, id, parsed.as_ref())?;
        validators::follow_design_document(transaction, db.id, id, parsed.as_ref())?;
    }
    Ok(())
}

/// Removes a document with all its revisions.
pub(crate) fn forget(
    transaction: &mut Transaction<'_>,
    db: &mut Database,
    there: &DocRow,
) -> Result<(), ApiError> {
    let defs = indexes::cached(transaction, db.id)?;
    if !there.deleted && !defs.is_empty() {
        let before = winner_for_index(transaction.conn, there)?;
        indexes::update(transaction, &defs, &there.id, before.as_ref(), None)?;
    }
    views::forget(transaction, db.id, &there.id)?;
    transaction
        .conn
        .prepare_cached("DELETE FROM docs WHERE db = ?1 AND id = ?2")?
        .execute(params![db.id, there.id])?;
    if there.id.starts_with("_design/") {
        indexes::follow_design_document(transaction, db, &there.id, None)?;
        validators::follow_design_document(transaction, db.id, &there.id, None)?;
    }
    count(db, Some((there.deleted, there.size)), None);
    Ok(())
}

fn count(db: &mut Database, before: Option<(bool, i64)>, after: Option<(bool, i64)>) {
    for (state, sign) in [(before, -1), (after, 1)] {
        match state {
            Some((true, size)) => {
                db.deleted += sign;
                db.external += sign * size;
            }
            Some((false, size)) => {
                db.docs += sign;
                db.external += sign * size;
            }
            None => {}
        }
    }
}

/// Starts a compaction if there are many old revisions. Until then their bodies are kept, as in CouchDB.
fn compact_if_due(transaction: &mut Transaction<'_>, db: &mut Database) -> Result<(), ApiError> {
    if db.stale > 1000.max(db.docs) {
        db.stale = 0;
        compact(transaction, db.id)?;
    }
    Ok(())
}

/// Schedules the removal of the bodies of old revisions.
pub(crate) fn compact(transaction: &mut Transaction<'_>, db: i64) -> Result<(), ApiError> {
    transaction
        .conn
        .prepare_cached("INSERT OR REPLACE INTO chores (kind, subject) VALUES ('compact', ?1)")?
        .execute([db])?;
    Ok(())
}

fn winner_for_index(conn: &Connection, row: &DocRow) -> Result<Option<Json>, ApiError> {
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

fn as_indexed(id: &str, rev: &Rev, tree: &RevTree, body: &Body) -> Json {
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
