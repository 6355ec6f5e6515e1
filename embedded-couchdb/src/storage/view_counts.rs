//! How many rows of a view come before a key.
//!
//! Each block of rows knows how many it has, so that a count reads the rows of one block only. Where many rows were read
//! nevertheless, the blocks that are too large are divided.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    transaction::Transaction,
    view_blocks::{MANY, Position, Start, insert},
    view_scan::{self, Range},
};
use crate::api_error::ApiError;

/// How many rows a block has when it is made.
const ROWS: i64 = 500;

/// How many rows are read at once to divide a block.
const BATCH_ROWS: i64 = 8000;

/// A number of rows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Count {
    pub(crate) rows: i64,
    /// How many of them were read one by one.
    pub(crate) read: i64,
}

impl Count {
    /// Whether the rows should be divided, so that the next count reads fewer.
    pub(crate) fn is_costly(self) -> bool {
        self.read > 2 * i64::try_from(MANY).unwrap_or(i64::MAX)
    }
}

/// Counts the rows up to the high end of a range that has no low end.
pub(crate) fn up_to(
    conn: &Connection,
    (view, n): (i64, i64),
    range: &Range,
) -> Result<Count, ApiError> {
    let last = last_block(conn, (view, n), range)?;
    let before = match &last {
        None => 0,
        Some(start) => conn
            .prepare_cached(
                "SELECT coalesce(sum(rows), 0) FROM view_blocks \
                 WHERE view = ?1 AND n = ?2 AND (key, id) < (?3, ?4)",
            )?
            .query_row(params![view, n, start.key, start.id], |row| row.get(0))?,
    };
    let rest = Range {
        low: last.as_ref().map(|start| start.key.clone()),
        low_id: last.map(|start| start.id),
        excludes_low: false,
        ..range.clone()
    };
    let read = view_scan::count(conn, view, n, &rest)?;
    Ok(Count {
        rows: read + before,
        read,
    })
}

/// Where the block begins in which a range ends; `None` if the rows are not divided.
fn last_block(
    conn: &Connection,
    (view, n): (i64, i64),
    range: &Range,
) -> Result<Option<Position>, ApiError> {
    let ends_between_keys = range.high_id.is_none() && !range.excludes_high;
    let until = match (&range.high, ends_between_keys) {
        (None, _) => "?3 IS NULL AND ?4 = ''",
        (Some(_), true) => "key <= ?3 AND ?4 = ''",
        (Some(_), false) => "(key, id) <= (?3, ?4)",
    };
    let id = range.high_id.as_deref().unwrap_or_default();
    Ok(conn
        .prepare_cached(&format!(
            "SELECT key, id FROM view_blocks WHERE view = ?1 AND n = ?2 AND {until} \
             ORDER BY key DESC, id DESC LIMIT 1"
        ))?
        .query_row(params![view, n, range.high, id], |row| {
            Ok(Position {
                key: row.get(0)?,
                id: row.get(1)?,
            })
        })
        .optional()?)
}

/// How a block of many rows can be divided.
#[derive(Debug)]
pub(crate) struct Division {
    start: Position,
    stamp: i64,
    /// The blocks to be, each with its rows. The first one begins where the block does.
    pieces: Vec<(Start, i64)>,
    /// Where the next one is looked for; `None` after the last block.
    pub(crate) next: Option<Position>,
}

impl Division {
    /// Whether it is one: rows of one document with equal keys stay together.
    pub(crate) fn is_of_use(&self) -> bool {
        self.pieces.len() > 1
    }
}

/// Finds the next block of many rows, from a position on. `None` if there is none.
pub(crate) fn next_division(
    conn: &Connection,
    (view, n): (i64, i64),
    from: &Position,
) -> Result<Option<Division>, ApiError> {
    let found = conn
        .prepare_cached(
            "SELECT key, id, emitted, stamp, rows FROM view_blocks \
             WHERE view = ?1 AND n = ?2 AND (key, id) >= (?3, ?4) AND rows > ?5 ORDER BY key, id LIMIT 1",
        )?
        .query_row(
            params![view, n, from.key, from.id, i64::try_from(MANY).unwrap_or(i64::MAX)],
            |row| {
                let start = Start {
                    at: Position {
                        key: row.get(0)?,
                        id: row.get(1)?,
                    },
                    emitted: row.get(2)?,
                };
                Ok((start, row.get(3)?, row.get(4)?))
            },
        )
        .optional()?;
    let Some((start, stamp, rows)) = found else {
        return Ok(None);
    };
    let pieces = pieces(conn, (view, n), start.clone(), rows)?;
    let next = match pieces.as_slice() {
        [_] => conn
            .prepare_cached(
                "SELECT key, id FROM view_blocks WHERE view = ?1 AND n = ?2 AND (key, id) > (?3, ?4) \
                 ORDER BY key, id LIMIT 1",
            )?
            .query_row(params![view, n, start.at.key, start.at.id], |row| {
                Ok(Position {
                    key: row.get(0)?,
                    id: row.get(1)?,
                })
            })
            .optional()?,
        // Of a block that was not read to its end, the rest is the last piece.
        pieces => pieces.last().map(|(start, _)| start.at.clone()),
    };
    Ok(Some(Division {
        start: start.at,
        stamp,
        pieces,
        next,
    }))
}

/// Divides the first rows of a block. A border lies between two documents or keys.
fn pieces(
    conn: &Connection,
    (view, n): (i64, i64),
    start: Start,
    rows: i64,
) -> Result<Vec<(Start, i64)>, ApiError> {
    let mut statement = conn.prepare_cached(
        "SELECT key, id, emitted FROM view_rows WHERE view = ?1 AND n = ?2 AND (key, id) >= (?3, ?4) \
         ORDER BY key, id, place LIMIT ?5",
    )?;
    let (key, id) = (start.at.key.clone(), start.at.id.clone());
    let mut read = statement.query(params![view, n, key, id, BATCH_ROWS.min(rows)])?;
    let mut pieces = vec![(start, 0)];
    let (mut last, mut left) = (None, rows);
    while let Some(row) = read.next()? {
        let at = Position {
            key: row.get(0)?,
            id: row.get(1)?,
        };
        if let Some((_, of_piece)) = pieces.last_mut() {
            if *of_piece < ROWS || last.as_ref() == Some(&at) {
                *of_piece += 1;
            } else {
                let emitted = row.get(2)?;
                let start = Start {
                    at: at.clone(),
                    emitted,
                };
                pieces.push((start, 1));
            }
        }
        last = Some(at);
    }
    // The last piece has what was not read, too.
    for (_, of_piece) in pieces.iter().rev().skip(1) {
        left -= of_piece;
    }
    if let Some((_, of_piece)) = pieces.last_mut() {
        *of_piece = left;
    }
    Ok(pieces)
}

/// Divides a block, unless it changed in the meantime. Its summary is lost: it stood for many rows.
pub(crate) fn divide(
    transaction: &Transaction<'_>,
    (view, n): (i64, i64),
    division: &Division,
) -> Result<(), ApiError> {
    let conn = transaction.conn;
    let Some(((_, first_rows), others)) = division.pieces.split_first() else {
        return Ok(());
    };
    let Position { key, id } = &division.start;
    let changed = conn
        .prepare_cached(
            "UPDATE view_blocks SET value = NULL, first = NULL, stamp = random(), rows = ?6 \
             WHERE view = ?1 AND n = ?2 AND key = ?3 AND id = ?4 AND stamp = ?5",
        )?
        .execute(params![view, n, key, id, division.stamp, first_rows])?;
    if changed == 0 {
        return Ok(());
    }
    for (start, rows) in others {
        insert(conn, (view, n), start, *rows, None)?;
    }
    Ok(())
}
