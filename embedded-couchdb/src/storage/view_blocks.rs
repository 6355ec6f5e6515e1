//! Blocks of a view's rows, each with what its rows were reduced to.
//!
//! Without them, a reduced query would read every row. The rows of a view are divided at positions; the rows from one
//! position to the next are a block. At first all rows are one, which is divided as far as it is read. A change of a row
//! takes the summary of its block away, in the same transaction ([`touch`]); a query makes the summaries that it misses
//! ([`view_summaries`](super::view_summaries)). So a summary is always that of the block's rows. How many rows a block has is
//! always known ([`view_counts`](super::view_counts)). CouchDB keeps reductions and counts in the inner nodes of its B-trees
//! for the same purpose.

use rusqlite::{Connection, OptionalExtension as _, named_params, params};

use super::{
    transaction::Transaction,
    view_scan::{Found, Range, count_up_to},
};
use crate::{api_error::ApiError, mango::collation::AFTER_ALL};

/// How many rows a view or a range has at least, before it is worth it to divide them. A block with more is divided when
/// its summary is made.
pub(super) const MANY: usize = 1000;

/// A place in the order of rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Position {
    /// The key as rows are ordered by it. An empty one comes before all rows.
    pub(crate) key: Vec<u8>,
    pub(crate) id: String,
}

/// Where a block begins.
#[derive(Clone, Debug, Default)]
pub(crate) struct Start {
    pub(crate) at: Position,
    /// The key of the row that was there when the block was made, in JSON; empty before all rows.
    pub(crate) emitted: String,
}

impl Start {
    pub(super) fn of(row: &Found) -> Self {
        Self {
            at: Position {
                key: row.key.clone(),
                id: row.id.clone(),
            },
            emitted: row.emitted.clone(),
        }
    }
}

/// Some rows that follow each other.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) start: Start,
    /// Where the next block begins; `None` for the last block.
    pub(crate) end: Option<Start>,
    /// Another one after each change.
    pub(super) stamp: i64,
    pub(super) has_summary: bool,
}

/// What the rows of a block were reduced to.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    /// In JSON.
    pub(crate) value: String,
    /// The key of the first row, in JSON.
    pub(crate) first: String,
}

impl Block {
    /// The rows of the block.
    pub(crate) fn range(&self) -> Range {
        let end = self.end.as_ref().map(|end| &end.at);
        Range {
            low: Some(self.start.at.key.clone()),
            low_id: Some(self.start.at.id.clone()),
            excludes_low: false,
            high: end.map(|end| end.key.clone()),
            high_id: end.map(|end| end.id.clone()),
            excludes_high: end.is_some(),
        }
    }

    /// Whether the block has only rows of the range, whatever rows it has.
    fn is_within(&self, range: &Range) -> bool {
        begins_within(&self.start.at, range) && ends_within(self.end.as_ref(), range)
    }
}

fn begins_within(start: &Position, range: &Range) -> bool {
    let Some(low) = &range.low else {
        return true;
    };
    let of_low = (low.as_slice(), range.low_id.as_deref());
    match (range.excludes_low, of_low) {
        (false, (low, id)) => (start.key.as_slice(), start.id.as_str()) >= (low, id.unwrap_or("")),
        (true, (low, None)) => start.key.as_slice() > low,
        (true, (low, Some(id))) => (start.key.as_slice(), start.id.as_str()) > (low, id),
    }
}

fn ends_within(end: Option<&Start>, range: &Range) -> bool {
    let Some(high) = &range.high else {
        return true;
    };
    let Some(Start { at: end, .. }) = end else {
        return false;
    };
    match (range.excludes_high, &range.high_id) {
        (false, None) => end.key <= *high,
        // The rows before `end` may have its key.
        (true, None) => end.key < *high,
        (_, Some(id)) => (&end.key, &end.id) <= (high, id),
    }
}

/// A part of what a query reads.
#[derive(Debug)]
pub(crate) enum Part {
    /// The rows of a range.
    Rows(Range),
    /// A block that has a summary.
    Block(Block),
}

/// What there is to read of a range, in the order of the query. Blocks that are `wanted` and have a summary stand for
/// their rows.
pub(crate) fn parts(
    conn: &Connection,
    view: (i64, i64),
    range: &Range,
    descending: bool,
    wanted: impl Fn(&Block) -> bool,
) -> Result<Vec<Part>, ApiError> {
    let mut parts = Vec::new();
    let mut rest = Some(range.clone());
    for block in within(conn, view, range)? {
        let Some(before) = rest.clone() else {
            break;
        };
        if !block.has_summary || !wanted(&block) {
            continue;
        }
        let start = &block.start.at;
        let is_next = before.low.as_ref() == Some(&start.key)
            && before.low_id.as_ref() == Some(&start.id)
            && !before.excludes_low;
        if !is_next {
            parts.push(Part::Rows(Range {
                high: Some(start.key.clone()),
                high_id: Some(start.id.clone()),
                excludes_high: true,
                ..before.clone()
            }));
        }
        rest = block.end.as_ref().map(|end| Range {
            low: Some(end.at.key.clone()),
            low_id: Some(end.at.id.clone()),
            excludes_low: false,
            ..before
        });
        parts.push(Part::Block(block));
    }
    parts.extend(rest.map(Part::Rows));
    if descending {
        parts.reverse();
    }
    Ok(parts)
}

/// The blocks that have only rows of the range.
fn within(conn: &Connection, (view, n): (i64, i64), range: &Range) -> Result<Vec<Block>, ApiError> {
    let mut statement = conn.prepare_cached(
        "SELECT key, id, emitted, stamp, value IS NOT NULL FROM view_blocks \
         WHERE view = :view AND n = :n AND key >= :low AND key <= :high ORDER BY key, id",
    )?;
    let mut rows = statement.query(named_params! {
        ":view": view,
        ":n": n,
        ":low": range.low.as_deref().unwrap_or_default(),
        ":high": range.high.as_deref().unwrap_or(&[AFTER_ALL]),
    })?;
    let mut blocks: Vec<Block> = Vec::new();
    while let Some(row) = rows.next()? {
        let start = Start {
            at: Position {
                key: row.get(0)?,
                id: row.get(1)?,
            },
            emitted: row.get(2)?,
        };
        if let Some(last) = blocks.last_mut() {
            last.end = Some(start.clone());
        }
        blocks.push(Block {
            start,
            end: None,
            stamp: row.get(3)?,
            has_summary: row.get(4)?,
        });
    }
    // The end of the last one may lie beyond the range: then it is not within.
    blocks.retain(|block| block.is_within(range));
    Ok(blocks)
}

/// The summary of a block; `None` if it has none, or if the block changed since it was read.
pub(crate) fn summary(
    conn: &Connection,
    (view, n): (i64, i64),
    block: &Block,
) -> Result<Option<Summary>, ApiError> {
    let at = &block.start.at;
    let found: Option<(Option<String>, Option<String>)> = conn
        .prepare_cached(
            "SELECT value, first FROM view_blocks \
             WHERE view = ?1 AND n = ?2 AND key = ?3 AND id = ?4 AND stamp = ?5",
        )?
        .query_row(params![view, n, at.key, at.id, block.stamp], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    Ok(found.and_then(|(value, first)| {
        let (value, first) = value.zip(first)?;
        Some(Summary { value, first })
    }))
}

/// Whether the rows of a view are divided.
pub(crate) fn are_there(conn: &Connection, view: i64, n: i64) -> Result<bool, ApiError> {
    Ok(conn
        .prepare_cached("SELECT 1 FROM view_blocks WHERE view = ?1 AND n = ?2 LIMIT 1")?
        .exists(params![view, n])?)
}

/// Whether a range has so many rows that blocks are worth it.
pub(crate) fn is_worth_it(
    conn: &Connection,
    (view, n): (i64, i64),
    ranges: &[Range],
) -> Result<bool, ApiError> {
    let mut left = MANY;
    for range in ranges {
        left = left.saturating_sub(count_up_to(conn, (view, n), range, left)?);
        if left == 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Makes all rows of a view one block, unless there are blocks, or the view is gone.
pub(crate) fn begin(transaction: &Transaction<'_>, view: i64, n: i64) -> Result<(), ApiError> {
    let conn = transaction.conn;
    let is_there = conn
        .prepare_cached("SELECT 1 FROM views WHERE id = ?1")?
        .exists([view])?;
    if is_there && !are_there(conn, view, n)? {
        let rows = conn
            .prepare_cached("SELECT total FROM view_totals WHERE view = ?1 AND n = ?2")?
            .query_row(params![view, n], |row| row.get(0))
            .optional()?;
        insert(conn, (view, n), &Start::default(), rows.unwrap_or(0), None)?;
    }
    Ok(())
}

/// Adds a block. One that begins at the same place stays.
pub(super) fn insert(
    conn: &Connection,
    (view, n): (i64, i64),
    start: &Start,
    rows: i64,
    summary: Option<&Summary>,
) -> Result<(), ApiError> {
    conn.prepare_cached(
        "INSERT OR IGNORE INTO view_blocks (view, n, key, id, emitted, rows, stamp, value, first) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, random(), ?7, ?8)",
    )?
    .execute(params![
        view,
        n,
        start.at.key,
        start.at.id,
        start.emitted,
        rows,
        summary.map(|summary| &summary.value),
        summary.map(|summary| &summary.first),
    ])?;
    Ok(())
}

/// A row that comes or goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowChange {
    /// The position of the view in its design document.
    pub(crate) n: i64,
    pub(crate) at: Position,
    /// 1 for a new row, -1 for one that goes.
    pub(crate) difference: i64,
}

/// Takes the summaries of the blocks away in which rows of a view change, and counts these rows.
pub(crate) fn touch(
    conn: &Connection,
    view: i64,
    mut changed: Vec<RowChange>,
) -> Result<(), ApiError> {
    changed.sort_unstable();
    let mut rest = changed.as_slice();
    while let Some(RowChange { n, at, .. }) = rest.first() {
        let end = conn
            .prepare_cached(
                "SELECT key, id FROM view_blocks WHERE view = ?1 AND n = ?2 AND (key, id) > (?3, ?4) \
                 ORDER BY key, id LIMIT 1",
            )?
            .query_row(params![view, n, at.key, at.id], |row| {
                Ok(Position {
                    key: row.get(0)?,
                    id: row.get(1)?,
                })
            })
            .optional()?;
        let is_of_block =
            |change: &RowChange| change.n == *n && end.as_ref().is_none_or(|end| change.at < *end);
        let (of_block, others) = rest.split_at(rest.partition_point(is_of_block));
        let difference: i64 = of_block.iter().map(|change| change.difference).sum();
        conn.prepare_cached(
            "UPDATE view_blocks SET value = NULL, first = NULL, stamp = random(), rows = rows + ?5 \
             WHERE view = ?1 AND n = ?2 AND (key, id) = \
             (SELECT key, id FROM view_blocks WHERE view = ?1 AND n = ?2 AND (key, id) <= (?3, ?4) \
              ORDER BY key DESC, id DESC LIMIT 1)",
        )?
        .execute(params![view, n, at.key, at.id, difference])?;
        rest = others;
    }
    Ok(())
}

/// Whether the rows of any of the views are divided.
pub(crate) fn are_there_for_any(conn: &Connection, view: i64) -> Result<bool, ApiError> {
    Ok(conn
        .prepare_cached("SELECT 1 FROM view_blocks WHERE view = ?1 LIMIT 1")?
        .exists([view])?)
}
