//! Blocks of a view's rows, each with what its rows were reduced to.
//!
//! Without them, a reduced query would read every row. The rows of a view are divided at positions; the rows from one
//! position to the next are a block. At first all rows are one, which is divided as far as it is read. A change of a row takes the summary of its block away, in the same transaction
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

/// How many bytes the rows of a block have when it is made, unless one row has more.
const BYTES: usize = 256 << 10;

/// How many rows of blocks are read at once, and how many bytes.
const BATCH_ROWS: usize = 4000;
const BATCH_BYTES: usize = 1 << 20;

/// A larger summary is not kept: reading it would cost as much as reading rows.
const MOST_SUMMARY_BYTES: usize = 16 << 10;

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
    has_summary: bool,
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
    let mut left = MOST_ROWS;
    for range in ranges {
        left = left.saturating_sub(super::view_scan::count_up_to(conn, (view, n), range, left)?);
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
        insert(conn, (view, n), &Start::default(), None)?;
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

    /// Sets what the rows were reduced to, unless it is too large to be kept.
    pub(crate) fn summarise(&mut self, value: &Json) {
        let first = self.rows.as_ref().and_then(|rows| rows.first());
        let value = value.to_string();
        self.summary = first
            .filter(|_| value.len() <= MOST_SUMMARY_BYTES)
            .map(|first| Summary {
                value,
                first: first.emitted.clone(),
            });
    }

    /// Whether the block can become a part of the one before it: it has no rows.
    fn is_needless(&self) -> bool {
        self.rows.as_ref().is_some_and(Vec::is_empty) && self.start.at != Position::default()
    }
}

/// How far the blocks of some ranges were looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    range: usize,
    /// Where the next block begins; `None` at the first one of the range.
    next: Option<Position>,
}

/// The next blocks that have no summary, and perhaps rows of the ranges, with their rows. None if there are no more.
pub(crate) fn unsummarised(
    conn: &Connection,
    view: (i64, i64),
    ranges: &[Range],
    progress: &mut Progress,
) -> Result<Vec<Unsummarised>, ApiError> {
    let mut found: Vec<Unsummarised> = Vec::new();
    let mut room = Room {
        rows: BATCH_ROWS,
        bytes: BATCH_BYTES,
    };
    while let Some(range) = ranges.get(progress.range) {
        let Some(block) = next_unsummarised(conn, view, range, progress.next.as_ref())? else {
            progress.range += 1;
            progress.next = None;
            continue;
        };
        let (rows, is_whole) = rows(conn, view, &block, &mut room)?;
        if !is_whole && !found.is_empty() {
            // There is more room for it the next time.
            return Ok(found);
        }
        let pieces = pieces(block.start.clone(), rows, is_whole);
        // Of a block that was not read to its end, the rest is the next block.
        progress.next = match pieces.last() {
            Some(rest) if rest.rows.is_none() && pieces.len() > 1 => Some(rest.start.at.clone()),
            _ => block.end.map(|end| end.at),
        };
        if progress.next.is_none() {
            progress.range += 1;
        }
        found.push(Unsummarised {
            start: block.start.at,
            stamp: block.stamp,
            pieces,
        });
        if room.is_used_up() {
            break;
        }
    }
    Ok(found)
}

/// The next block without a summary that begins at a position or after it, or where the range begins.
fn next_unsummarised(
    conn: &Connection,
    (view, n): (i64, i64),
    range: &Range,
    from: Option<&Position>,
) -> Result<Option<Block>, ApiError> {
    let start_of = |row: &rusqlite::Row<'_>| {
        let at = Position {
            key: row.get(0)?,
            id: row.get(1)?,
        };
        let emitted = row.get(2)?;
        Ok(Start { at, emitted })
    };
    let low = range.low.as_deref().unwrap_or_default();
    let low_id = range.low_id.as_deref().unwrap_or_default();
    let from = match from {
        Some(from) => Some(from.clone()),
        None => conn
            .prepare_cached(
                "SELECT key, id, emitted FROM view_blocks WHERE view = ?1 AND n = ?2 AND (key, id) <= (?3, ?4) \
                 ORDER BY key DESC, id DESC LIMIT 1",
            )?
            .query_row(params![view, n, low, low_id], start_of)
            .optional()?
            .map(|start| start.at),
    };
    let Some(from) = from else {
        return Ok(None);
    };
    let high = range.high.as_deref().unwrap_or(&[AFTER_ALL]);
    let found = conn
        .prepare_cached(
            "SELECT key, id, emitted, stamp FROM view_blocks \
             WHERE view = ?1 AND n = ?2 AND (key, id) >= (?3, ?4) AND key <= ?5 AND value IS NULL \
             ORDER BY key, id LIMIT 1",
        )?
        .query_row(params![view, n, from.key, from.id, high], |row| {
            Ok((start_of(row)?, row.get(3)?))
        })
        .optional()?;
    let Some((start, stamp)) = found else {
        return Ok(None);
    };
    let end = conn
        .prepare_cached(
            "SELECT key, id, emitted FROM view_blocks WHERE view = ?1 AND n = ?2 AND (key, id) > (?3, ?4) \
             ORDER BY key, id LIMIT 1",
        )?
        .query_row(params![view, n, start.at.key, start.at.id], start_of)
        .optional()?;
    Ok(Some(Block {
        start,
        end,
        stamp,
        has_summary: false,
    }))
}

/// What may still be read.
struct Room {
    rows: usize,
    bytes: usize,
}

impl Room {
    const fn is_used_up(&self) -> bool {
        self.rows == 0 || self.bytes == 0
    }
}

/// The rows of a block, as far as there is room, and whether these are all.
fn rows(
    conn: &Connection,
    (view, n): (i64, i64),
    block: &Block,
    room: &mut Room,
) -> Result<(Vec<Found>, bool), ApiError> {
    let mut scan = Scan::new(view, n, vec![block.range()], false);
    let mut rows = Vec::new();
    while !scan.is_over() && !room.is_used_up() {
        let most = i64::try_from(room.rows).unwrap_or(i64::MAX);
        let more = scan.next(conn, most)?;
        room.rows = room.rows.saturating_sub(more.len());
        let bytes: usize = more.iter().map(Found::bytes).sum();
        room.bytes = room.bytes.saturating_sub(bytes);
        rows.extend(more);
    }
    // A block without rows takes its share of the time, too.
    room.rows = room.rows.saturating_sub(1);
    Ok((rows, scan.is_over()))
}

/// Divides the rows of a block, if they are many. A border lies between two documents or keys: rows of one document with
/// equal keys stay together.
fn pieces(start: Start, rows: Vec<Found>, is_whole: bool) -> Vec<Piece> {
    let bytes: usize = rows.iter().map(Found::bytes).sum();
    if is_whole && rows.len() <= MOST_ROWS && bytes <= 2 * BYTES {
        return vec![Piece::unsummarised(start, Some(rows))];
    }
    let mut divided: Vec<Vec<Found>> = Vec::new();
    let mut bytes = 0;
    for row in rows {
        let joined = divided.last_mut().filter(|piece| {
            let last = piece.last();
            (piece.len() < ROWS && bytes < BYTES)
                || last.is_some_and(|last| last.key == row.key && last.id == row.id)
        });
        match joined {
            Some(piece) => {
                bytes += row.bytes();
                piece.push(row);
            }
            None => {
                bytes = row.bytes();
                divided.push(vec![row]);
            }
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
