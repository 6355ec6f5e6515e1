//! Blocks of a view's rows, each with what its rows were reduced to.
//!
//! Without them, a reduced query would read every row. The rows of a view are divided at positions; the rows from one
//! position to the next are a block. A change of a row takes the summary of its block away, in the same transaction
//! ([`touch`]); a query makes the summaries that it misses ([`keep`]). So a summary is always that of the block's rows.
//! CouchDB keeps reductions in the inner nodes of its B-trees for the same purpose.

use rusqlite::{Connection, OptionalExtension as _, named_params, params};

use super::{
    transaction::Transaction,
    view_scan::{Found, Range, Scan},
};
use crate::{api_error::ApiError, json::Json, mango::collation::AFTER_ALL};

/// How many rows a block has when it is made. It grows until its summary is made again.
const ROWS: usize = 500;

/// A block with more rows is divided when its summary is made.
const MOST_ROWS: usize = 2 * ROWS;

/// How many rows of blocks are read at once.
const BATCH_ROWS: usize = 4000;

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
    /// The key of the row that was there when the block was made, in JSON.
    pub(crate) emitted: String,
}

impl Start {
    fn of(row: &Found) -> Self {
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
    stamp: i64,
    pub(crate) summary: Option<Summary>,
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
    fn range(&self) -> Range {
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
    (view, n): (i64, i64),
    range: &Range,
    descending: bool,
    wanted: impl Fn(&Block) -> bool,
) -> Result<Vec<Part>, ApiError> {
    let mut parts = Vec::new();
    let mut rest = Some(range.clone());
    for block in within(conn, (view, n), range)? {
        let Some(before) = rest.clone() else {
            break;
        };
        if block.summary.is_none() || !wanted(&block) {
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
        "SELECT key, id, emitted, stamp, value, first FROM view_blocks \
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
        let value: Option<String> = row.get(4)?;
        let first: Option<String> = row.get(5)?;
        blocks.push(Block {
            start,
            end: None,
            stamp: row.get(3)?,
            summary: value
                .zip(first)
                .map(|(value, first)| Summary { value, first }),
        });
    }
    // The end of the last one may lie beyond the range: then it is not within.
    blocks.retain(|block| block.is_within(range));
    Ok(blocks)
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
    let mut left = MOST_ROWS;
    for range in ranges {
        left = left.saturating_sub(super::view_scan::count_up_to(conn, (view, n), range, left)?);
        if left == 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Where the rows of a view can be divided.
pub(crate) fn borders(conn: &Connection, view: i64, n: i64) -> Result<Vec<Start>, ApiError> {
    let mut statement = conn.prepare_cached(
        "SELECT key, id, emitted FROM view_rows WHERE view = ?1 AND n = ?2 ORDER BY key, id, place",
    )?;
    let mut rows = statement.query(params![view, n])?;
    let mut borders = vec![Start {
        at: Position::default(),
        emitted: "null".to_owned(),
    }];
    let mut count: usize = 0;
    while let Some(row) = rows.next()? {
        count += 1;
        if count.is_multiple_of(ROWS) {
            borders.push(Start {
                at: Position {
                    key: row.get(0)?,
                    id: row.get(1)?,
                },
                emitted: row.get(2)?,
            });
        }
    }
    Ok(borders)
}

/// Divides the rows of a view, unless they are divided, or gone.
pub(crate) fn divide(
    transaction: &Transaction<'_>,
    view: i64,
    n: i64,
    borders: &[Start],
) -> Result<(), ApiError> {
    let conn = transaction.conn;
    let is_there = conn
        .prepare_cached("SELECT 1 FROM views WHERE id = ?1")?
        .exists([view])?;
    if !is_there || are_there(conn, view, n)? {
        return Ok(());
    }
    for border in borders {
        insert(conn, (view, n), border, None)?;
    }
    Ok(())
}

fn insert(
    conn: &Connection,
    (view, n): (i64, i64),
    start: &Start,
    summary: Option<&Summary>,
) -> Result<(), ApiError> {
    conn.prepare_cached(
        "INSERT OR IGNORE INTO view_blocks (view, n, key, id, emitted, stamp, value, first) \
         VALUES (?1, ?2, ?3, ?4, ?5, random(), ?6, ?7)",
    )?
    .execute(params![
        view,
        n,
        start.at.key,
        start.at.id,
        start.emitted,
        summary.map(|summary| &summary.value),
        summary.map(|summary| &summary.first),
    ])?;
    Ok(())
}

/// A block without a summary, with its rows.
#[derive(Debug)]
pub(crate) struct Unsummarised {
    pub(crate) start: Position,
    stamp: i64,
    /// The block, or the parts into which it is to be divided.
    pub(crate) pieces: Vec<Piece>,
}

/// A block to be.
#[derive(Debug)]
pub(crate) struct Piece {
    start: Start,
    /// All its rows, or `None` if they were too many to be read.
    pub(crate) rows: Option<Vec<Found>>,
    pub(crate) summary: Option<Summary>,
}

impl Unsummarised {
    /// Whether there is something to keep: a summary, a division, or that no row is left.
    pub(crate) fn is_of_use(&self) -> bool {
        self.pieces.len() != 1
            || self
                .pieces
                .iter()
                .any(|piece| piece.summary.is_some() || piece.is_needless())
    }
}

impl Piece {
    const fn unsummarised(start: Start, rows: Option<Vec<Found>>) -> Self {
        Self {
            start,
            rows,
            summary: None,
        }
    }

    /// Sets what the rows were reduced to.
    pub(crate) fn summarise(&mut self, value: Option<Json>) {
        let first = self.rows.as_ref().and_then(|rows| rows.first());
        self.summary = value.zip(first).map(|(value, first)| Summary {
            value: value.to_string(),
            first: first.emitted.clone(),
        });
    }

    /// Whether the block can become a part of the one before it: it has no rows.
    fn is_needless(&self) -> bool {
        self.rows.as_ref().is_some_and(Vec::is_empty) && self.start.at != Position::default()
    }
}

/// Some of the blocks of the ranges that are `wanted` and have no summary, with their rows.
pub(crate) fn unsummarised(
    conn: &Connection,
    (view, n): (i64, i64),
    ranges: &[Range],
    wanted: impl Fn(&Block) -> bool,
) -> Result<Vec<Unsummarised>, ApiError> {
    let mut found = Vec::new();
    let mut read = 0;
    for range in ranges {
        for block in within(conn, (view, n), range)? {
            if block.summary.is_some() || !wanted(&block) {
                continue;
            }
            let rows = rows(conn, (view, n), &block)?;
            read += rows.len().max(1);
            found.push(Unsummarised {
                start: block.start.at.clone(),
                stamp: block.stamp,
                pieces: pieces(block.start, rows),
            });
            if read >= BATCH_ROWS {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

/// The rows of a block, one more than [`BATCH_ROWS`] at most.
fn rows(conn: &Connection, (view, n): (i64, i64), block: &Block) -> Result<Vec<Found>, ApiError> {
    let most = BATCH_ROWS + 1;
    let mut scan = Scan::new(view, n, vec![block.range()], false);
    let mut rows = Vec::new();
    while !scan.is_over() && rows.len() < most {
        let left = i64::try_from(most - rows.len()).unwrap_or(i64::MAX);
        rows.extend(scan.next(conn, left)?);
    }
    Ok(rows)
}

/// Divides the rows of a block, if they are many. A border lies between two documents or keys: rows of one document with
/// equal keys stay together.
fn pieces(start: Start, rows: Vec<Found>) -> Vec<Piece> {
    let is_whole = rows.len() <= BATCH_ROWS;
    if rows.len() <= MOST_ROWS {
        return vec![Piece::unsummarised(start, Some(rows))];
    }
    let mut divided: Vec<Vec<Found>> = Vec::new();
    for row in rows {
        let joined = divided.last_mut().filter(|piece| {
            let last = piece.last();
            piece.len() < ROWS || last.is_some_and(|last| last.key == row.key && last.id == row.id)
        });
        match joined {
            Some(piece) => piece.push(row),
            None => divided.push(vec![row]),
        }
    }
    let count = divided.len();
    let mut start = Some(start);
    divided
        .into_iter()
        .enumerate()
        .map(|(place, rows)| {
            let of_first_row = || rows.first().map(Start::of).unwrap_or_default();
            let start = start.take().unwrap_or_else(of_first_row);
            // More rows of the last piece may follow, which were not read.
            let is_read = is_whole || place + 1 < count;
            Piece::unsummarised(start, is_read.then_some(rows))
        })
        .collect()
}

/// Keeps the summaries of blocks, except of those that changed in the meantime.
pub(crate) fn keep(
    transaction: &Transaction<'_>,
    (view, n): (i64, i64),
    made: Vec<Unsummarised>,
) -> Result<(), ApiError> {
    let conn = transaction.conn;
    for Unsummarised {
        start,
        stamp,
        pieces,
    } in made
    {
        let is_as_read = conn
            .prepare_cached(
                "SELECT 1 FROM view_blocks \
                 WHERE view = ?1 AND n = ?2 AND key = ?3 AND id = ?4 AND stamp = ?5 AND value IS NULL",
            )?
            .exists(params![view, n, start.key, start.id, stamp])?;
        if !is_as_read {
            continue;
        }
        conn.prepare_cached(
            "DELETE FROM view_blocks WHERE view = ?1 AND n = ?2 AND key = ?3 AND id = ?4",
        )?
        .execute(params![view, n, start.key, start.id])?;
        for piece in pieces.iter().filter(|piece| !piece.is_needless()) {
            insert(conn, (view, n), &piece.start, piece.summary.as_ref())?;
        }
    }
    Ok(())
}

/// Takes the summaries of the blocks away in which rows of a view change.
pub(crate) fn touch(
    conn: &Connection,
    view: i64,
    mut changed: Vec<(i64, Position)>,
) -> Result<(), ApiError> {
    changed.sort_unstable();
    let mut block_end: Option<(i64, Option<Position>)> = None;
    for (n, position) in changed {
        let is_done = block_end
            .as_ref()
            .is_some_and(|(of, end)| *of == n && end.as_ref().is_none_or(|end| position < *end));
        if is_done {
            continue;
        }
        conn.prepare_cached(
            "UPDATE view_blocks SET value = NULL, first = NULL, stamp = random() \
             WHERE view = ?1 AND n = ?2 AND (key, id) = \
             (SELECT key, id FROM view_blocks WHERE view = ?1 AND n = ?2 AND (key, id) <= (?3, ?4) \
              ORDER BY key DESC, id DESC LIMIT 1)",
        )?
        .execute(params![view, n, position.key, position.id])?;
        let next = conn
            .prepare_cached(
                "SELECT key, id FROM view_blocks WHERE view = ?1 AND n = ?2 AND (key, id) > (?3, ?4) \
                 ORDER BY key, id LIMIT 1",
            )?
            .query_row(params![view, n, position.key, position.id], |row| {
                Ok(Position {
                    key: row.get(0)?,
                    id: row.get(1)?,
                })
            })
            .optional()?;
        block_end = Some((n, next));
    }
    Ok(())
}

/// Whether the rows of any of the views are divided.
pub(crate) fn are_there_for_any(conn: &Connection, view: i64) -> Result<bool, ApiError> {
    Ok(conn
        .prepare_cached("SELECT 1 FROM view_blocks WHERE view = ?1 LIMIT 1")?
        .exists([view])?)
}
