//! Chores: background work in small steps between requests, resumed after a restart.
//!
//! Chores delete the documents of deleted databases and the rows of dropped indexes and views, build indexes over
//! the documents of a database that is not small, and compact databases.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{documents, index_def::IndexDef, indexes, revtree::RevTree, views};
use crate::api_error::ApiError;

/// How long a step may take. A write waits for it.
const STEP: Duration = Duration::from_millis(3);

/// The most documents that are read at once.
const READ_AT_ONCE: i64 = 100;

/// The outcome of a step.
pub(crate) enum ChoreProgress {
    Idle,
    Ongoing,
    /// At least one chore has ended.
    Finished,
}

/// Whose turn it is. Chores take turns, however many there are. Every second turn belongs to the builds, because a query
/// may be waiting for one, while nothing waits for the other chores.
#[derive(Debug)]
pub(crate) struct Turns {
    /// Whether the next turn belongs to a build.
    is_for_build: bool,
    last_build: i64,
    last_other: (String, i64),
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            is_for_build: true,
            last_build: 0,
            last_other: Self::before_others(),
        }
    }
}

struct Chore {
    kind: String,
    subject: i64,
    done_to: String,
}

impl Turns {
    /// The names of the other kinds follow `build`.
    fn before_others() -> (String, i64) {
        ("build".to_owned(), i64::MAX)
    }

    /// The next chore. The cost does not depend on how many there are.
    fn next(&mut self, conn: &Connection) -> Result<Option<Chore>, ApiError> {
        let is_for_build = self.is_for_build;
        self.is_for_build = !is_for_build;
        let first = if is_for_build {
            self.build(conn)?
        } else {
            self.other(conn)?
        };
        match first {
            Some(chore) => Ok(Some(chore)),
            None if is_for_build => self.other(conn),
            None => self.build(conn),
        }
    }

    fn build(&mut self, conn: &Connection) -> Result<Option<Chore>, ApiError> {
        for after in [self.last_build, 0] {
            let found = conn
                .prepare_cached(
                    "SELECT kind, subject, done_to FROM chores WHERE kind = 'build' AND subject > ?1 \
                     ORDER BY subject LIMIT 1",
                )?
                .query_row([after], chore)
                .optional()?;
            if let Some(chore) = found {
                self.last_build = chore.subject;
                return Ok(Some(chore));
            }
        }
        Ok(None)
    }

    fn other(&mut self, conn: &Connection) -> Result<Option<Chore>, ApiError> {
        for (kind, subject) in [self.last_other.clone(), Self::before_others()] {
            let found = conn
                .prepare_cached(
                    "SELECT kind, subject, done_to FROM chores WHERE (kind, subject) > (?1, ?2) \
                     ORDER BY kind, subject LIMIT 1",
                )?
                .query_row(params![kind, subject], chore)
                .optional()?;
            if let Some(chore) = found {
                self.last_other = (chore.kind.clone(), chore.subject);
                return Ok(Some(chore));
            }
        }
        Ok(None)
    }
}

fn chore(row: &rusqlite::Row<'_>) -> rusqlite::Result<Chore> {
    Ok(Chore {
        kind: row.get(0)?,
        subject: row.get(1)?,
        done_to: row.get(2)?,
    })
}

/// Works on chores for a few milliseconds, in one transaction.
///
/// The transaction need not be on disk when this returns: what is lost is done again.
pub(crate) fn run_step(
    conn: &Connection,
    cache: &mut HashMap<i64, Arc<Vec<IndexDef>>>,
    turns: &mut Turns,
) -> Result<ChoreProgress, ApiError> {
    let until = Instant::now() + STEP;
    let Some(mut chore) = turns.next(conn)? else {
        return Ok(ChoreProgress::Idle);
    };
    conn.execute_batch("BEGIN IMMEDIATE")?;
    let mut finished = false;
    loop {
        let Chore {
            kind,
            subject,
            done_to,
        } = &chore;
        let goes_on = match kind.as_str() {
            "database" => sweep_database(conn, *subject, until)?,
            "index" => sweep_index(conn, *subject)?,
            "build" => build(conn, *subject, done_to, until)?,
            "compact" => compact(conn, *subject, done_to, until)?,
            "view" => views::sweep(conn, *subject, READ_AT_ONCE * 5)?.then(String::new),
            _ => None,
        };
        match &goes_on {
            Some(done_to) => conn
                .prepare_cached("UPDATE chores SET done_to = ?3 WHERE kind = ?1 AND subject = ?2")?
                .execute(params![kind, subject, done_to])?,
            None => conn
                .prepare_cached("DELETE FROM chores WHERE kind = ?1 AND subject = ?2")?
                .execute(params![kind, subject])?,
        };
        finished |= goes_on.is_none();
        if Instant::now() >= until {
            break;
        }
        match turns.next(conn)? {
            Some(next) => chore = next,
            None => break,
        }
    }
    conn.execute_batch("COMMIT")?;
    if finished {
        cache.clear();
        Ok(ChoreProgress::Finished)
    } else {
        Ok(ChoreProgress::Ongoing)
    }
}

fn trees(conn: &Connection, db: i64, after: &str) -> Result<Vec<(String, RevTree)>, ApiError> {
    let mut statement = conn.prepare_cached(
        "SELECT id, tree FROM docs WHERE db = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
    )?;
    let mut rows = statement.query(params![db, after, READ_AT_ONCE])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let tree: Vec<u8> = row.get(1)?;
        found.push((row.get(0)?, documents::tree(&tree)?));
    }
    Ok(found)
}

fn sweep_database(conn: &Connection, db: i64, until: Instant) -> Result<Option<String>, ApiError> {
    loop {
        let found = trees(conn, db, "")?;
        if found.is_empty() {
            return Ok(None);
        }
        for (id, tree) in found {
            for node in tree.nodes() {
                if let Some(body) = node.stored.and_then(|stored| stored.body) {
                    documents::drop_body(conn, body)?;
                }
            }
            conn.prepare_cached("DELETE FROM docs WHERE db = ?1 AND id = ?2")?
                .execute(params![db, id])?;
            if Instant::now() >= until {
                return Ok(Some(String::new()));
            }
        }
    }
}

fn sweep_index(conn: &Connection, index: i64) -> Result<Option<String>, ApiError> {
    let swept = conn
        .prepare_cached(
            "DELETE FROM index_rows WHERE (idx, key, id) IN \
             (SELECT idx, key, id FROM index_rows WHERE idx = ?1 LIMIT ?2)",
        )?
        .execute(params![index, READ_AT_ONCE * 5])?;
    let all = i64::try_from(swept).unwrap_or(i64::MAX) < READ_AT_ONCE * 5;
    Ok((!all).then(String::new))
}

fn build(
    conn: &Connection,
    index: i64,
    done_to: &str,
    until: Instant,
) -> Result<Option<String>, ApiError> {
    let db: Option<i64> = conn
        .prepare_cached("SELECT db FROM indexes WHERE id = ?1")?
        .query_row([index], |row| row.get(0))
        .optional()?;
    let Some(db) = db else {
        return Ok(None);
    };
    let all = indexes::of(conn, db)?;
    let Some(def) = all.iter().find(|def| def.id == index) else {
        return Ok(None);
    };
    indexes::build(conn, db, def, done_to, || Instant::now() >= until)
}

fn compact(
    conn: &Connection,
    db: i64,
    done_to: &str,
    until: Instant,
) -> Result<Option<String>, ApiError> {
    let mut last = done_to.to_owned();
    loop {
        let found = trees(conn, db, &last)?;
        if found.is_empty() {
            conn.prepare_cached("UPDATE dbs SET stale = 0 WHERE id = ?1")?
                .execute([db])?;
            return Ok(None);
        }
        for (id, mut tree) in found {
            let bodies = tree.compact();
            if !bodies.is_empty() {
                for body in bodies {
                    documents::drop_body(conn, body)?;
                }
                conn.prepare_cached("UPDATE docs SET tree = ?3 WHERE db = ?1 AND id = ?2")?
                    .execute(params![db, id, tree.encode()])?;
            }
            last = id;
            if Instant::now() >= until {
                return Ok(Some(last));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use std::collections::HashSet;

    use rusqlite::Connection;

    use super::Turns;

    #[test]
    fn chores_take_turns_and_every_second_one_is_a_build() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(
            "CREATE TABLE chores (kind TEXT, subject INTEGER, done_to TEXT DEFAULT '', PRIMARY KEY (kind, subject))",
        )
        .unwrap();
        let add = |kind: &str, subject: i64| {
            conn.execute(
                "INSERT INTO chores (kind, subject) VALUES (?1, ?2)",
                (kind, subject),
            )
            .unwrap();
        };
        for subject in 1..=3 {
            add("build", subject);
        }
        for subject in 1..=5 {
            add("database", subject);
            add("index", subject);
        }
        let mut turns = Turns::default();
        let seen: Vec<(String, i64)> = (0..20)
            .map(|_| turns.next(&conn).unwrap().unwrap())
            .map(|chore| (chore.kind, chore.subject))
            .collect();
        for pair in seen.chunks(2) {
            assert_eq!(pair.iter().filter(|(kind, _)| kind == "build").count(), 1);
        }
        let different: HashSet<_> = seen.into_iter().collect();
        assert_eq!(different.len(), 13, "each had a turn");
        conn.execute_batch("DELETE FROM chores").unwrap();
        assert!(turns.next(&conn).unwrap().is_none());
    }
}
