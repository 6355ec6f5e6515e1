//! Execution of a query: reading an index, fetching and filtering documents.

use std::time::Instant;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::StatusCode;
use rusqlite::{Connection, params};

use super::{
    collation::{self, AFTER_ALL},
    fields,
    matcher::Matcher,
    planner::{self, Candidate, Plan, Range},
    request::Find,
};
use crate::{
    api_error::ApiError,
    json::{Json, obj},
    storage::{
        databases::Database,
        documents::{self, DocRow},
        partitions,
    },
};

/// The most that is read in one snapshot of the store, before other readers get a turn.
const CHUNK_BYTES: usize = 2 * 1024 * 1024;
const CHUNK_ROWS: u64 = 5000;

/// The state of a running query.
pub(crate) struct Cursor {
    pub(crate) index: Option<i64>,
    low: Vec<u8>,
    high: Vec<u8>,
    low_id: Option<String>,
    high_id: Option<String>,
    /// The ids of a partition are between these.
    within: Option<(String, String)>,
    /// Whether the index has all that is asked for.
    covers: bool,
    /// Whether no document can match.
    unsatisfiable: bool,
    /// Whether the range has no ids.
    empty: bool,
    matcher: Matcher,
    fields: Option<Vec<Vec<String>>>,
    conflicts: bool,
    descending: bool,
    left: i64,
    skip: i64,
    /// The key and the id of the last row.
    after: Option<(Vec<u8>, String)>,
    /// The key and the id of the last match.
    mark: Option<(Vec<u8>, String)>,
    bookmark: Option<String>,
    pub(crate) keys: u64,
    pub(crate) docs: u64,
    pub(crate) results: u64,
    started: Instant,
    /// Whether all rows have been read, or the limit is reached.
    pub(crate) done: bool,
    warnings: Vec<String>,
    stats: bool,
}

impl Cursor {
    /// Prepares a query.
    pub(crate) fn new(find: &Find, plan: &Plan<'_>) -> Result<Self, ApiError> {
        let after = find.bookmark.as_deref().map(parse_bookmark).transpose()?;
        let empty = plan.ranges.contains(&Range::Empty);
        let (low, high) = bounds(&plan.ranges);
        let id = |values: Vec<&Json>| {
            values
                .first()
                .and_then(|value| value.as_str())
                .map(str::to_owned)
        };
        // Ids are strings: a range that ends before the strings has no ids.
        let ends_before_ids = matches!(plan.index, Candidate::AllDocs)
            && planner::end_values(&plan.ranges)
                .first()
                .is_some_and(|value| value.as_str().is_none());
        let within = (!find.partition.is_empty()).then(|| partitions::ids(&find.partition));
        let mut low_id = id(planner::start_values(&plan.ranges));
        let mut high_id = id(planner::end_values(&plan.ranges));
        if let Some((from, to)) = &within {
            low_id = low_id.max(Some(from.clone()));
            high_id = Some(high_id.map_or(to.clone(), |high| high.min(to.clone())));
        }
        let mut warnings = Vec::new();
        if !find.use_index.is_empty() && !plan.index.is_named(&find.use_index) {
            warnings.push(match find.use_index.as_slice() {
                [ddoc, view] => {
                    format!("_design/{ddoc}, {view} was not used because it is not a valid index for this query.")
                }
                parts => format!(
                    "_design/{} was not used because it does not contain a valid index for this query.",
                    parts.concat()
                ),
            });
        }
        if matches!(plan.index, Candidate::AllDocs) {
            warnings.push(
                "No matching index found, create an index to optimize query time.".to_owned(),
            );
        }
        Ok(Self {
            index: match plan.index {
                Candidate::AllDocs => None,
                Candidate::Json(index) => Some(index.id),
            },
            low,
            high,
            low_id,
            high_id,
            within,
            covers: planner::covers(plan.index, find),
            unsatisfiable: empty,
            empty: empty || ends_before_ids,
            matcher: Matcher::new(&find.selector)?,
            fields: find.field_paths()?,
            conflicts: find.conflicts,
            descending: find.descending(),
            left: find.limit,
            skip: find.skip,
            after,
            mark: None,
            bookmark: find.bookmark.clone(),
            keys: 0,
            docs: 0,
            results: 0,
            started: Instant::now(),
            done: false,
            warnings,
            stats: find.execution_stats,
        })
    }

    /// Reads the next chunk and appends the matches.
    pub(crate) fn read(
        &mut self,
        conn: &Connection,
        db: &Database,
        out: &mut String,
    ) -> Result<(), ApiError> {
        if self.empty || self.left == 0 {
            self.done = true;
            return Ok(());
        }
        match self.index {
            Some(index) => self.read_index(conn, db, index, out),
            None => self.read_all(conn, db, out),
        }
    }

    fn read_index(
        &mut self,
        conn: &Connection,
        db: &Database,
        index: i64,
        out: &mut String,
    ) -> Result<(), ApiError> {
        let (order, beyond) = if self.descending {
            ("DESC", "<")
        } else {
            ("ASC", ">")
        };
        let go_on = if self.after.is_some() {
            format!("AND (key, id) {beyond} (?4, ?5)")
        } else {
            "AND ?4 IS NULL AND ?5 IS NULL".to_owned()
        };
        let within = if self.within.is_some() {
            "AND id > ?6 AND id < ?7"
        } else {
            "AND ?6 IS NULL AND ?7 IS NULL"
        };
        let sql = format!(
            "SELECT key, id FROM index_rows WHERE idx = ?1 AND key >= ?2 AND key <= ?3 {go_on} {within} \
             ORDER BY key {order}, id {order}"
        );
        let mut statement = conn.prepare_cached(&sql)?;
        let (after_key, after_id) = self.after.clone().unzip();
        let (from, to) = self.within.clone().unzip();
        let mut rows = statement.query(params![
            index, self.low, self.high, after_key, after_id, from, to
        ])?;
        let (begun, first) = (out.len(), self.keys);
        while let Some(row) = rows.next()? {
            let (key, id): (Vec<u8>, String) = (row.get(0)?, row.get(1)?);
            self.keys += 1;
            let found = documents::find(conn, db.id, &id)?
                .ok_or_else(|| ApiError::internal("an index row without its document"))?;
            self.consider(conn, &found, key, id, out)?;
            if self.done || out.len() - begun > CHUNK_BYTES || self.keys - first > CHUNK_ROWS {
                return Ok(());
            }
        }
        self.done = true;
        Ok(())
    }

    fn read_all(
        &mut self,
        conn: &Connection,
        db: &Database,
        out: &mut String,
    ) -> Result<(), ApiError> {
        let (order, beyond) = if self.descending {
            ("DESC", "<")
        } else {
            ("ASC", ">")
        };
        let mut conditions = String::new();
        for (value, condition) in [(&self.low_id, "id >= ?2"), (&self.high_id, "id <= ?3")] {
            let number = condition.get(condition.len() - 2..).unwrap_or_default();
            conditions.push_str(" AND ");
            conditions.push_str(&if value.is_some() {
                condition.to_owned()
            } else {
                format!("{number} IS NULL")
            });
        }
        conditions.push_str(&if self.after.is_some() {
            format!(" AND id {beyond} ?4")
        } else {
            " AND ?4 IS NULL".to_owned()
        });
        let sql = format!(
            "SELECT id FROM docs WHERE db = ?1 {conditions} AND deleted = 0 ORDER BY id {order}"
        );
        let mut statement = conn.prepare_cached(&sql)?;
        let after = self.after.as_ref().map(|(_, id)| id.clone());
        let mut rows = statement.query(params![db.id, self.low_id, self.high_id, after])?;
        let (begun, first) = (out.len(), self.keys);
        while let Some(row) = rows.next()? {
            let id: String = row.get(0)?;
            let Some(found) = documents::find(conn, db.id, &id)? else {
                continue;
            };
            if id.starts_with("_design/") {
                // CouchDB leaves them out, and counts those that would not match anyway.
                if !self.matcher.matches(&whole(conn, &found, false)?) {
                    self.keys += 1;
                    self.docs += 1;
                }
                continue;
            }
            self.keys += 1;
            self.consider(conn, &found, Vec::new(), id, out)?;
            if self.done || out.len() - begun > CHUNK_BYTES || self.keys - first > CHUNK_ROWS {
                return Ok(());
            }
        }
        self.done = true;
        Ok(())
    }

    fn consider(
        &mut self,
        conn: &Connection,
        row: &DocRow,
        key: Vec<u8>,
        id: String,
        out: &mut String,
    ) -> Result<(), ApiError> {
        if !self.covers {
            self.docs += 1;
        }
        let doc = whole(conn, row, self.conflicts)?;
        let place = (key, id);
        self.after = Some(place.clone());
        if !self.matcher.matches(&doc) {
            return Ok(());
        }
        self.mark = Some(place);
        if self.skip > 0 {
            self.skip -= 1;
            return Ok(());
        }
        out.push_str(if self.results > 0 { ",\r\n" } else { "\r\n" });
        match &self.fields {
            Some(paths) => fields::extract(&doc, paths).write(out),
            None => doc.write(out),
        }
        self.results += 1;
        self.left -= 1;
        self.done = self.left == 0;
        Ok(())
    }

    /// Appends the end of the response.
    pub(crate) fn finish(mut self, out: &mut String) {
        out.push_str("\r\n]");
        if self.unsatisfiable {
            out.push_str("}\r\n\n");
            return;
        }
        let bookmark = match &self.mark {
            Some((key, id)) => make_bookmark(key, id),
            None => self.bookmark.clone().unwrap_or_else(|| "nil".to_owned()),
        };
        out.push_str(",\r\n\"bookmark\": ");
        Json::Str(bookmark).write(out);
        if self.stats {
            out.push_str(",\r\n\"execution_stats\": ");
            let time = (self.started.elapsed().as_secs_f64() * 1e6).round() / 1e3;
            obj([
                ("total_keys_examined", self.keys.into()),
                ("total_docs_examined", self.docs.into()),
                ("total_quorum_docs_examined", 0_i64.into()),
                ("results_returned", self.results.into()),
                ("execution_time_ms", Json::Float(time)),
            ])
            .write(out);
        }
        if self.docs > self.results.max(1) * 10 {
            self.warnings.push(
                "The number of documents examined is high in proportion to the number of results returned. \
                 Consider adding a more specific index to improve this."
                    .to_owned(),
            );
        }
        if !self.warnings.is_empty() {
            out.push_str(",\r\n\"warning\": ");
            Json::Str(self.warnings.join("\n")).write(out);
        }
        out.push_str("}\r\n\n");
    }
}

/// The lowest and the highest key of an index that is read for these ranges of its first columns.
pub(crate) fn bounds(ranges: &[Range]) -> (Vec<u8>, Vec<u8>) {
    let encode = |values: Vec<&Json>| {
        let mut key = Vec::new();
        for value in values {
            collation::encode(value, &mut key);
        }
        key
    };
    let low = encode(planner::start_values(ranges));
    let mut high = encode(planner::end_values(ranges));
    high.push(AFTER_ALL);
    (low, high)
}

/// A document as selectors see it.
pub(crate) fn whole(conn: &Connection, row: &DocRow, conflicts: bool) -> Result<Json, ApiError> {
    let mut members = vec![
        ("_id".to_owned(), row.id.as_str().into()),
        ("_rev".to_owned(), row.rev.as_str().into()),
    ];
    if let Some(body_row) = row.body {
        let body = documents::body(conn, body_row)?;
        if let Ok(Json::Obj(inner)) = Json::parse(body.text.as_bytes()) {
            members.extend(inner);
        }
        if conflicts {
            members.extend(
                documents::conflicts(&row.tree, false).map(|list| ("_conflicts".to_owned(), list)),
            );
        }
        if !body.attachments.is_empty() {
            members.push((
                "_attachments".to_owned(),
                documents::stubs(&body.attachments),
            ));
        }
    }
    if row.deleted {
        members.push(("_deleted".to_owned(), true.into()));
    }
    Ok(Json::Obj(members))
}

fn make_bookmark(key: &[u8], id: &str) -> String {
    URL_SAFE_NO_PAD.encode(obj([("key", hex::encode(key).into()), ("id", id.into())]).to_string())
}

fn parse_bookmark(text: &str) -> Result<(Vec<u8>, String), ApiError> {
    let parse = || {
        let json = Json::parse(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let key = hex::decode(json.get("key")?.as_str()?).ok()?;
        Some((key, json.get("id")?.as_str()?.to_owned()))
    };
    // The bookmark of a query without results stands for its beginning.
    parse().ok_or_else(|| {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            "invalid_bookmark",
            format!("Invalid bookmark value: {}", Json::Str(text.to_owned())),
        )
    })
}
