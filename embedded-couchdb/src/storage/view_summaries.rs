//! Making the summaries of blocks that lack one. Blocks that became large are divided meanwhile.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    transaction::Transaction,
    view_blocks::{Block, MANY, Position, Start, Summary, insert},
    view_scan::{Found, Range, Scan},
};
use crate::{api_error::ApiError, json::Json, mango::collation::AFTER_ALL};

/// How many rows a block has when it is made. It grows until its summary is made again.
const ROWS: usize = MANY / 2;

/// How many bytes the rows of a block have when it is made, unless one row has more.
const BYTES: usize = 256 << 10;

/// How many rows of blocks are read at once, and how many bytes.
const BATCH_ROWS: usize = 4000;
const BATCH_BYTES: usize = 1 << 20;

/// A larger summary is not kept: reading it would cost as much as reading rows.
const MOST_SUMMARY_BYTES: usize = 16 << 10;

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
    if is_whole && rows.len() <= MANY && bytes <= 2 * BYTES {
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
        let as_read: Option<i64> = conn
            .prepare_cached(
                "SELECT rows FROM view_blocks \
                 WHERE view = ?1 AND n = ?2 AND key = ?3 AND id = ?4 AND stamp = ?5 AND value IS NULL",
            )?
            .query_row(params![view, n, start.key, start.id, stamp], |row| row.get(0))
            .optional()?;
        let Some(mut left) = as_read else {
            continue;
        };
        conn.prepare_cached(
            "DELETE FROM view_blocks WHERE view = ?1 AND n = ?2 AND key = ?3 AND id = ?4",
        )?
        .execute(params![view, n, start.key, start.id])?;
        for piece in pieces.iter().filter(|piece| !piece.is_needless()) {
            // A piece that was not read is the last one.
            let read = piece.rows.as_ref().map(Vec::len);
            let rows = read.map_or(left, |rows| i64::try_from(rows).unwrap_or(i64::MAX));
            left -= rows;
            insert(conn, (view, n), &piece.start, rows, piece.summary.as_ref())?;
        }
    }
    Ok(())
}
