//! Mango indexes: what design documents define, and the rows kept for each of them.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::writer::Writing;
use crate::{
    failure::Failure,
    json::{Json, obj},
    mango::{collation, fields, matcher::Matcher, selector},
};

/// A Mango index of type `json`.
pub(crate) struct IndexDef {
    pub(crate) id: i64,
    /// With `_design/`.
    pub(crate) ddoc: String,
    pub(crate) name: String,
    /// Names and directions, in order.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) partial: Option<Json>,
    /// Whether all documents are in it.
    pub(crate) ready: bool,
    paths: Vec<Vec<String>>,
    matcher: Matcher,
}

impl IndexDef {
    /// Reads the definition (`map`) that a design document holds.
    fn new(id: i64, ddoc: &str, name: &str, map: &Json, ready: bool) -> Option<Self> {
        let fields: Vec<(String, String)> = map
            .get("fields")?
            .as_obj()?
            .iter()
            .map(|(field, direction)| Some((field.clone(), direction.as_str()?.to_owned())))
            .collect::<Option<_>>()?;
        let partial = map
            .get("partial_filter_selector")
            .or_else(|| map.get("selector"))
            .filter(|selector| selector.as_obj().is_some_and(|members| !members.is_empty()))
            .cloned();
        let matcher = match &partial {
            Some(partial) => Matcher::new(&selector::normalize(partial).ok()?).ok()?,
            None => Matcher::Everything,
        };
        let paths = fields
            .iter()
            .map(|(field, _)| fields::path(field).ok())
            .collect::<Option<_>>()?;
        Some(Self {
            id,
            ddoc: ddoc.to_owned(),
            name: name.to_owned(),
            fields,
            partial,
            ready,
            paths,
            matcher,
        })
    }

    /// The names of its fields.
    pub(crate) fn columns(&self) -> Vec<&str> {
        self.fields
            .iter()
            .map(|(field, _)| field.as_str())
            .collect()
    }

    /// The key under which a document lies in this index, if it belongs there.
    pub(crate) fn key(&self, doc: &Json) -> Option<Vec<u8>> {
        if doc
            .get("_id")
            .and_then(Json::as_str)
            .is_some_and(|id| id.starts_with("_design/"))
            || !self.matcher.matches(doc)
        {
            return None;
        }
        let mut key = Vec::with_capacity(48);
        for path in &self.paths {
            collation::encode(fields::get(doc, path)?, &mut key);
        }
        Some(key)
    }

    /// The definition as `GET /{db}/_index` shows it.
    pub(crate) fn to_json(&self) -> Json {
        let fields = self
            .fields
            .iter()
            .map(|(field, direction)| obj([(field, direction.as_str().into())]))
            .collect();
        let mut def = vec![("fields".to_owned(), Json::Arr(fields))];
        if let Some(partial) = &self.partial {
            def.push(("partial_filter_selector".to_owned(), partial.clone()));
        }
        obj([
            ("ddoc", self.ddoc.as_str().into()),
            ("name", self.name.as_str().into()),
            ("type", "json".into()),
            ("partitioned", false.into()),
            ("def", Json::Obj(def)),
        ])
    }
}

/// The definitions in a design document: name and `map`.
fn defined(ddoc: &Json) -> Vec<(&str, &Json)> {
    if ddoc.get("language").and_then(Json::as_str) != Some("query") {
        return Vec::new();
    }
    let views = ddoc.get("views").and_then(Json::as_obj).unwrap_or_default();
    views
        .iter()
        .filter(|(_, view)| {
            view.get("options")
                .is_some_and(|options| options.as_obj().is_some())
        })
        .filter_map(|(name, view)| Some((name.as_str(), view.get("map")?)))
        .filter(|(name, map)| IndexDef::new(0, "", name, map, false).is_some())
        .collect()
}

/// The indexes of a database.
pub(crate) fn of(conn: &Connection, db: i64) -> Result<Vec<IndexDef>, Failure> {
    let mut statement = conn.prepare_cached(
        "SELECT id, ddoc, name, def, ready FROM indexes WHERE db = ?1 ORDER BY ddoc, name",
    )?;
    let mut rows = statement.query([db])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (id, ddoc, name, def): (i64, String, String, String) =
            (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        let map = Json::parse(def.as_bytes()).map_err(|_| damaged())?;
        found.push(IndexDef::new(id, &ddoc, &name, &map, row.get(4)?).ok_or_else(damaged)?);
    }
    Ok(found)
}

fn damaged() -> Failure {
    Failure::internal("a stored index definition cannot be read")
}

/// The same, remembered by the writer.
pub(crate) fn cached(writing: &mut Writing<'_>, db: i64) -> Result<Arc<Vec<IndexDef>>, Failure> {
    if let Some(found) = writing.indexes.get(&db) {
        return Ok(Arc::clone(found));
    }
    // Thousands of instances have sixteen databases each.
    if writing.indexes.len() >= 1024 {
        writing.indexes.clear();
    }
    let found = Arc::new(of(writing.conn, db)?);
    writing.indexes.insert(db, Arc::clone(&found));
    Ok(found)
}

/// Brings the rows of a document up to date.
pub(crate) fn update(
    writing: &mut Writing<'_>,
    indexes: &[IndexDef],
    id: &str,
    before: Option<&Json>,
    after: Option<&Json>,
) -> Result<(), Failure> {
    for index in indexes {
        let old = before.and_then(|doc| index.key(doc));
        let new = after.and_then(|doc| index.key(doc));
        if old == new && index.ready {
            continue;
        }
        if let Some(old) = old {
            writing
                .conn
                .prepare_cached("DELETE FROM index_rows WHERE idx = ?1 AND key = ?2 AND id = ?3")?
                .execute(params![index.id, old, id])?;
        }
        if let Some(new) = new {
            add_row(writing.conn, index.id, &new, id)?;
        }
    }
    Ok(())
}

/// Adds one row, if it is not there.
pub(crate) fn add_row(conn: &Connection, index: i64, key: &[u8], id: &str) -> Result<(), Failure> {
    conn.prepare_cached("INSERT OR IGNORE INTO index_rows (idx, key, id) VALUES (?1, ?2, ?3)")?
        .execute(params![index, key, id])?;
    Ok(())
}

/// Makes the indexes that a design document defines now, and drops those that it no longer does.
pub(crate) fn follow_design_document(
    writing: &mut Writing<'_>,
    db: i64,
    id: &str,
    body: Option<&Json>,
) -> Result<(), Failure> {
    let wanted = body.map(defined).unwrap_or_default();
    let mut statement = writing
        .conn
        .prepare_cached("SELECT id, name, def FROM indexes WHERE db = ?1 AND ddoc = ?2")?;
    let there: Vec<(i64, String, String)> = statement
        .query_map(params![db, id], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?
        .collect::<Result<_, _>>()?;
    let unchanged = |name: &str, def: &str| {
        wanted
            .iter()
            .any(|(other, map)| *other == name && map.to_string() == def)
    };
    for (index, name, def) in &there {
        if !unchanged(name, def) {
            writing
                .conn
                .prepare_cached("DELETE FROM indexes WHERE id = ?1")?
                .execute([index])?;
            writing
                .conn
                .prepare_cached("INSERT INTO chores (kind, subject) VALUES ('index', ?1)")?
                .execute([index])?;
        }
    }
    for (name, map) in wanted {
        let def = map.to_string();
        if there
            .iter()
            .any(|(_, other, old)| other == name && *old == def)
        {
            continue;
        }
        writing
            .conn
            .prepare_cached(
                "INSERT INTO indexes (db, ddoc, name, def, ready) VALUES (?1, ?2, ?3, ?4, 0)",
            )?
            .execute(params![db, id, name, def])?;
        let index = writing.conn.last_insert_rowid();
        let empty: bool = writing
            .conn
            .prepare_cached("SELECT NOT EXISTS (SELECT 1 FROM docs WHERE db = ?1 AND id != ?2)")?
            .query_row(params![db, id], |row| row.get(0))?;
        if empty {
            writing
                .conn
                .prepare_cached("UPDATE indexes SET ready = 1 WHERE id = ?1")?
                .execute([index])?;
        } else {
            writing
                .conn
                .prepare_cached("INSERT INTO chores (kind, subject) VALUES ('build', ?1)")?
                .execute([index])?;
        }
    }
    writing.indexes.remove(&db);
    Ok(())
}

/// Whether an index is complete; none if it is gone.
pub(crate) fn is_ready(conn: &Connection, index: i64) -> Result<Option<bool>, Failure> {
    Ok(conn
        .prepare_cached("SELECT ready FROM indexes WHERE id = ?1")?
        .query_row([index], |row| row.get(0))
        .optional()?)
}
