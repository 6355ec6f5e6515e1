//! Reads the rows of a view in their order.

use rusqlite::{Connection, named_params, params};

use crate::{api_error::ApiError, json::write_string, mango::collation::AFTER_ALL};

/// The most that is read in one snapshot of the store.
const CHUNK_BYTES: usize = 1 << 20;
const CHUNK_ROWS: usize = 5000;

/// A row of a view.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) id: String,
    /// The key as rows are ordered by it.
    pub(crate) key: Vec<u8>,
    /// The key as it was emitted, in JSON.
    pub(crate) emitted: String,
    /// In JSON.
    pub(crate) value: String,
    place: i64,
}

impl Found {
    /// How much it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.key.len() + self.id.len() + self.emitted.len() + self.value.len()
    }

    /// The row as functions that reduce take it, `[[key, id], value]`, in JSON.
    pub(crate) fn for_function(&self) -> String {
        let mut text = format!("[[{},", self.emitted);
        write_string(&self.id, &mut text);
        text.push_str("],");
        text.push_str(&self.value);
        text.push(']');
        text
    }
}

/// Rows between two keys, the lower one first, whatever the direction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Range {
    pub(crate) low: Option<Vec<u8>>,
    /// Of the rows with the lowest key, only those from this id on.
    pub(crate) low_id: Option<String>,
    pub(crate) excludes_low: bool,
    pub(crate) high: Option<Vec<u8>>,
    /// Of the rows with the highest key, only those up to this id.
    pub(crate) high_id: Option<String>,
    pub(crate) excludes_high: bool,
}

/// A position in the rows of some ranges.
#[derive(Clone, Debug)]
pub(crate) struct Scan {
    view: i64,
    n: i64,
    ranges: Vec<Range>,
    descending: bool,
    /// The range that is read.
    at: usize,
    /// The last row that was read.
    after: Option<(Vec<u8>, String, i64)>,
}

impl Scan {
    /// The rows of the ranges, one range after the other.
    pub(crate) fn new(view: i64, n: i64, ranges: Vec<Range>, descending: bool) -> Self {
        Self {
            view,
            n,
            ranges,
            descending,
            at: 0,
            after: None,
        }
    }

    /// Whether all rows were read.
    pub(crate) fn is_over(&self) -> bool {
        self.at >= self.ranges.len()
    }

    /// Reads the next rows, at most `most`.
    pub(crate) fn next(&mut self, conn: &Connection, most: i64) -> Result<Vec<Found>, ApiError> {
        let mut found = Vec::new();
        let mut bytes = 0;
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(CHUNK_ROWS);
        while let Some(range) = self.ranges.get(self.at) {
            let sql = self.sql(range);
            let mut statement = conn.prepare_cached(&sql)?;
            let (after_key, after_id, after_place) = match &self.after {
                Some((key, id, place)) => (Some(key), Some(id), Some(place)),
                None => (None, None, None),
            };
            let mut rows = statement.query(named_params! {
                ":view": self.view,
                ":n": self.n,
                ":low": range.low.as_deref().unwrap_or_default(),
                ":low_id": range.low_id,
                ":high": range.high.as_deref().unwrap_or(&[AFTER_ALL]),
                ":high_id": range.high_id,
                ":after_key": after_key,
                ":after_id": after_id,
                ":after_place": after_place,
            })?;
            while let Some(row) = rows.next()? {
                if found.len() >= most || bytes > CHUNK_BYTES {
                    return Ok(found);
                }
                let row = Found {
                    key: row.get(0)?,
                    id: row.get(1)?,
                    place: row.get(2)?,
                    emitted: row.get(3)?,
                    value: row.get(4)?,
                };
                bytes += row.emitted.len() + row.value.len();
                self.after = Some((row.key.clone(), row.id.clone(), row.place));
                found.push(row);
            }
            self.at += 1;
            self.after = None;
        }
        Ok(found)
    }

    fn sql(&self, range: &Range) -> String {
        let (order, beyond) = if self.descending {
            ("DESC", "<")
        } else {
            ("ASC", ">")
        };
        // Every parameter must be named, also where it does not count.
        let go_on = if self.after.is_some() {
            format!(
                "((key, id) {beyond} (:after_key, :after_id) \
                 OR (key = :after_key AND id = :after_id AND place > :after_place))"
            )
        } else {
            ":after_key IS NULL AND :after_id IS NULL AND :after_place IS NULL".to_owned()
        };
        format!(
            "SELECT key, id, place, emitted, value FROM view_rows WHERE view = :view AND n = :n \
             AND {} AND {go_on} ORDER BY key {order}, id {order}, place",
            conditions(range)
        )
    }
}

fn conditions(range: &Range) -> String {
    let low = match (range.excludes_low, &range.low_id) {
        (false, None) => "key >= :low AND :low_id IS NULL",
        (true, None) => "key > :low AND :low_id IS NULL",
        (false, Some(_)) => "key >= :low AND (key, id) >= (:low, :low_id)",
        (true, Some(_)) => "key >= :low AND (key, id) > (:low, :low_id)",
    };
    let high = match (range.excludes_high, &range.high_id) {
        (false, None) => "key <= :high AND :high_id IS NULL",
        (true, None) => "key < :high AND :high_id IS NULL",
        (false, Some(_)) => "key <= :high AND (key, id) <= (:high, :high_id)",
        (true, Some(_)) => "key <= :high AND (key, id) < (:high, :high_id)",
    };
    format!("{low} AND {high}")
}

/// About how many bytes the rows of views have.
pub(crate) fn bytes(conn: &Connection, view: i64) -> Result<i64, ApiError> {
    // Of many rows, the first ones stand for the others.
    let of_one: f64 = conn
        .prepare_cached(
            "SELECT coalesce(avg(length(key) + length(id) + length(emitted) + length(value)), 0.0) \
             FROM (SELECT * FROM view_rows WHERE view = ?1 LIMIT 1000)",
        )?
        .query_row([view], |row| row.get(0))?;
    Ok(conn
        .prepare_cached(
            "SELECT CAST(coalesce(sum(total), 0) * ?2 AS INTEGER) FROM view_totals WHERE view = ?1",
        )?
        .query_row(params![view, of_one], |row| row.get(0))?)
}

/// The number of rows in a range.
pub(crate) fn count(conn: &Connection, view: i64, n: i64, range: &Range) -> Result<i64, ApiError> {
    count_of(conn, (view, n), range, "")
}

/// The number of rows in a range, as far as `most`.
pub(crate) fn count_up_to(
    conn: &Connection,
    view: (i64, i64),
    range: &Range,
    most: usize,
) -> Result<usize, ApiError> {
    let counted = count_of(conn, view, range, &format!("LIMIT {most}"))?;
    Ok(usize::try_from(counted).unwrap_or(usize::MAX))
}

fn count_of(
    conn: &Connection,
    (view, n): (i64, i64),
    range: &Range,
    limit: &str,
) -> Result<i64, ApiError> {
    let sql = format!(
        "SELECT count(*) FROM (SELECT 1 FROM view_rows WHERE view = :view AND n = :n AND {} {limit})",
        conditions(range)
    );
    Ok(conn.prepare_cached(&sql)?.query_row(
        named_params! {
            ":view": view,
            ":n": n,
            ":low": range.low.as_deref().unwrap_or_default(),
            ":low_id": range.low_id,
            ":high": range.high.as_deref().unwrap_or(&[AFTER_ALL]),
            ":high_id": range.high_id,
        },
        |row| row.get(0),
    )?)
}
