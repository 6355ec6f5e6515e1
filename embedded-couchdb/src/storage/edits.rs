//! Storing revisions of documents.

use rusqlite::{Connection, params};

use super::{
    attachments::{self, Attachment, Generation},
    bodies,
    databases::Database,
    documents::{DocRow, NewDoc, Origin, as_indexed, body, drop_body, find, winner_for_index},
    indexes, locals,
    revtree::{Added, Rev, RevTree, Stored},
    transaction::Transaction,
    validators, views,
};
use crate::{
    api_error::ApiError,
    erlang::{Edit, revision_id},
    json::Json,
};

/// How a revision continues the tree of its document.
pub(crate) struct Plan {
    pub(crate) there: Option<DocRow>,
    /// The ancestors of the new revision, newest first.
    pub(crate) ancestors: Vec<Rev>,
    /// Whether the revision is stored already. Its history may be longer than what is known of it.
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
                extend(transaction, db, there.as_ref(), &new.history)?;
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

/// Adds what a tree lacks of the history of a revision that it has. Who took a revision without its history may show an
/// ancestor of it as a leaf until then.
fn extend(
    transaction: &mut Transaction<'_>,
    db: &mut Database,
    there: Option<&DocRow>,
    history: &[Rev],
) -> Result<(), ApiError> {
    let known = there.zip(history.first());
    let Some((row, stored)) = known.and_then(|(row, rev)| Some((row, row.tree.get(rev)?.stored?)))
    else {
        return Ok(());
    };
    let mut tree = row.tree.clone();
    tree.add(history, stored);
    let stemmed = stem(db, &mut tree);
    if tree == row.tree {
        return Ok(());
    }
    replace(transaction, db, there, &row.id, &tree)?;
    for row in stemmed {
        drop_body(transaction.conn, row)?;
    }
    Ok(())
}

/// Shortens a tree to what the database keeps, and returns the rows of bodies that go.
fn stem(db: &Database, tree: &mut RevTree) -> Vec<i64> {
    tree.stem(usize::try_from(db.revs_limit).unwrap_or(1000))
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
    let stemmed = stem(db, &mut tree);
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
