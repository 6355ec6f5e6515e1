//! Room that is kept aside on the disk, so that room can be made when the disk is full.
//!
//! Deleting needs room itself: a tombstone, the document of an operation, the pages of a transaction. So a file keeps some
//! room. From the moment at which the disk is found full, only those writes are carried out that make room, or that an
//! installation needs for that. When one of them finds no room, a part of the file goes to the database's log: one part,
//! and not to the file system for everybody, because whoever fills the disk would take it. The file grows again in parts
//! as room allows, and the log is written into the file of the database, so that what was deleted can be used. Other writes
//! are carried out again when enough is kept again, or when the database has as much free space inside.
//!
//! The last part is for the start of the program, which needs a little room before it can delete anything.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rusqlite::Connection;
use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// A part of the room, in bytes.
const PART: u64 = 1 << 20;

/// The room that is kept when the disk has enough.
const SIZE: u64 = 8 * PART;

/// How much has to be kept or free inside for ordinary writes after the disk was full.
const ENOUGH: u64 = 2 * PART;

/// What a start needs: the index of the log, and small files of the installation.
const START: u64 = PART / 4;

/// The size of a page of the database.
const PAGE: u64 = 4096;

/// How often it is tried to keep room again.
const AGAIN_EVERY: Duration = Duration::from_secs(10);

/// The file that keeps the room.
const FILE: &str = "couch.reserve";

/// The room that is kept aside.
pub(crate) struct Reserve {
    keeper: Keeper,
    /// How much is kept, in bytes.
    held: u64,
    /// Whether only writes that make room are carried out.
    is_short: bool,
    next_try: Instant,
}

enum Keeper {
    /// A file, and the log of the database, which gets what is given out.
    File { path: PathBuf, log: PathBuf },
    /// A limit of pages that tests set.
    Limit(u64),
}

impl Reserve {
    /// Makes the room that opening the database needs, when the disk has none: from the room that is kept.
    ///
    /// # Errors
    /// When the disk is full and nothing is kept.
    pub(super) fn make_room_to_start(folder: &Path) -> io::Result<()> {
        let free = free_in(folder);
        if free >= START {
            return Ok(());
        }
        let path = folder.join(FILE);
        let held = kept(&path);
        if held == 0 {
            tracing::warn!(free, "the disk is full, and no room is kept aside on it");
            return Ok(());
        }
        tracing::warn!(
            free,
            "the disk is full: the start takes room that was kept aside"
        );
        let file = OpenOptions::new().write(true).open(&path)?;
        file.set_len(held.saturating_sub(START))
    }

    /// Keeps room beside the file of the database, or below the limit of pages.
    pub(super) fn new(folder: &Path, database: &Path, max_pages: Option<u32>) -> Self {
        let (keeper, held) = match max_pages {
            Some(pages) => (Keeper::Limit(pages.into()), SIZE),
            None => {
                let path = folder.join(FILE);
                let held = kept(&path);
                let mut log = database.as_os_str().to_owned();
                log.push("-wal");
                let log = log.into();
                (Keeper::File { path, log }, held)
            }
        };
        let mut reserve = Self {
            keeper,
            held,
            is_short: false,
            next_try: Instant::now(),
        };
        reserve.hold();
        reserve.is_short = reserve.held < ENOUGH && free_in(folder) < ENOUGH;
        reserve
    }

    /// Keeps as much as room allows: half of what is free stays free for ordinary writes.
    fn hold(&mut self) {
        self.next_try = Instant::now() + AGAIN_EVERY;
        // Nothing lowers a limit again.
        let Keeper::File { path, .. } = &self.keeper else {
            return;
        };
        let free = free_in(path.parent().unwrap_or(path));
        let wanted = self.held.saturating_add(free / 2).min(SIZE);
        let wanted = if wanted == SIZE {
            SIZE
        } else {
            wanted - wanted % PART
        };
        if wanted <= self.held {
            return;
        }
        match allocate(path, self.held, wanted) {
            Ok(()) => self.held = wanted,
            Err(error) if is_full(&error) => {
                // What was allocated of it is needed elsewhere.
                if let Err(error) = shrink(path, self.held) {
                    tracing::warn!(%error, "the room that is kept aside cannot be given back");
                }
            }
            Err(error) => {
                tracing::debug!(%error, "no room is kept aside for deletions on a full disk");
                self.held = SIZE;
            }
        }
    }

    /// Whether only writes that make room may be carried out.
    pub(super) fn is_short(&mut self, conn: &Connection) -> bool {
        if !self.is_short {
            if self.held < SIZE && Instant::now() >= self.next_try {
                self.hold();
            }
            return false;
        }
        if Instant::now() >= self.next_try {
            self.regain(conn);
        }
        if self.is_short {
            let free = conn.query_row("PRAGMA freelist_count", [], |row| row.get::<_, u32>(0));
            return free.is_ok_and(|free| u64::from(free) * PAGE < ENOUGH);
        }
        false
    }

    /// Writes the log into the file of the database, and keeps room again.
    fn regain(&mut self, conn: &Connection) {
        if let Keeper::File { path, log } = &self.keeper {
            let (path, needed) = (path.clone(), length(log));
            // The file of the database may have to grow before the log can shrink.
            let lent = needed.min(self.held.saturating_sub(PART));
            if lent > 0 && free_in(path.parent().unwrap_or(&path)) < needed {
                match shrink(&path, self.held - lent) {
                    Ok(()) => self.held -= lent,
                    Err(error) => tracing::warn!(%error, "no room can be lent to a checkpoint"),
                }
            }
            if let Err(error) = checkpoint(conn) {
                tracing::warn!(%error, "the log could not be written into the file of the database");
            }
        }
        self.hold();
        if matches!(self.keeper, Keeper::File { .. }) && self.held >= ENOUGH {
            self.is_short = false;
            tracing::info!("the disk has room again");
        }
    }

    /// Takes note that the disk is full. A write that makes room gets a part of what is kept.
    pub(super) fn found_full(&mut self, conn: &Connection, makes_room: bool) {
        if !self.is_short {
            self.is_short = true;
            self.next_try = Instant::now() + AGAIN_EVERY;
            tracing::error!(
                "the disk is full: only what makes room is carried out until there is some again"
            );
        }
        if !makes_room || self.held <= PART {
            return;
        }
        let rest = self.held.saturating_sub(PART).max(PART);
        let part = self.held - rest;
        let given = match &mut self.keeper {
            Keeper::File { path, log } => {
                let given = shrink(path, rest);
                if given.is_ok()
                    && let Err(error) = lengthen(log, part)
                {
                    tracing::warn!(%error, "what was kept aside is free for everybody now");
                }
                given
            }
            Keeper::Limit(pages) => {
                *pages += part / PAGE;
                let pragma = format!("PRAGMA max_page_count={pages}");
                conn.query_row(&pragma, [], |_| Ok(()))
                    .map_err(io::Error::other)
            }
        };
        match given {
            Ok(()) => self.held = rest,
            Err(error) => {
                tracing::error!(%error, "the room that was kept aside cannot be used");
            }
        }
    }
}

/// Writes the log into the file of the database, and shortens it. A reader may prevent the second.
fn checkpoint(conn: &Connection) -> rusqlite::Result<()> {
    /// Reads are short; nothing is lost when one is not.
    const PATIENCE: Duration = Duration::from_millis(100);
    /// What the writer waits for otherwise.
    const USUAL: Duration = Duration::from_secs(10);
    conn.busy_timeout(PATIENCE)?;
    let done = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    conn.busy_timeout(USUAL)?;
    done
}

/// What is free for this program on the disk of a folder; much when that cannot be found out.
fn free_in(folder: &Path) -> u64 {
    match statvfs(folder) {
        Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
        Err(error) => {
            tracing::debug!(%error, "the free space of the disk is not known");
            SIZE * 2
        }
    }
}

/// How much a file keeps: one that was copied may be empty inside.
fn kept(path: &Path) -> u64 {
    /// The unit of `st_blocks`.
    const BLOCK: u64 = 512;
    fs::metadata(path).map_or(0, |found| {
        found.len().min(found.blocks().saturating_mul(BLOCK))
    })
}

/// The length of a file; zero when there is none.
fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |found| found.len())
}

fn shrink(path: &Path, to: u64) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.set_len(to)
}

/// Keeps this much room behind the end of a file for its further growth.
fn lengthen(path: &Path, by: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    let end = file.metadata()?.len();
    Ok(fallocate(&file, FallocateFlags::KEEP_SIZE, end, by)?)
}

/// Lengthens the file that keeps the room.
fn allocate(path: &Path, from: u64, to: u64) -> io::Result<()> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)?;
    match fallocate(&file, FallocateFlags::empty(), 0, to) {
        Ok(()) => Ok(()),
        Err(error) if is_full(&error.into()) => Err(error.into()),
        // Some file systems allocate only what is written.
        Err(_) => write_zeros(file, from, to),
    }
}

fn write_zeros(mut file: File, from: u64, to: u64) -> io::Result<()> {
    use io::Seek as _;

    const AT_ONCE: u64 = 1 << 16;
    let zeros = [0; AT_ONCE as usize];
    file.seek(io::SeekFrom::Start(from))?;
    let mut at = from;
    while at < to {
        file.write_all(&zeros)?;
        at += AT_ONCE;
    }
    file.set_len(to)?;
    file.sync_all()
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use std::{fs, os::unix::fs::MetadataExt as _, time::Instant};

    use rusqlite::Connection;

    use super::{PART, Reserve, SIZE, START, kept, shrink};

    #[test]
    fn a_full_disk_gives_one_part_to_the_log_and_nothing_to_ordinary_writes() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path();
        let (file, log) = (folder.join("couch.sqlite"), folder.join("couch.sqlite-wal"));
        let conn = Connection::open(&file).unwrap();
        conn.query_row("PRAGMA journal_mode=WAL", [], |_| Ok(()))
            .unwrap();
        conn.execute_batch("CREATE TABLE t (x)").unwrap();
        let reserve = folder.join("couch.reserve");
        let mut kept_aside = Reserve::new(folder, &file, None);
        assert_eq!(kept(&reserve), SIZE);
        assert!(!kept_aside.is_short(&conn));

        kept_aside.found_full(&conn, false);
        assert_eq!(kept(&reserve), SIZE, "an ordinary write gets nothing");
        assert!(kept_aside.is_short(&conn));
        let before = fs::metadata(&log).unwrap();
        kept_aside.found_full(&conn, true);
        assert_eq!(kept(&reserve), SIZE - PART);
        let after = fs::metadata(&log).unwrap();
        assert_eq!(before.len(), after.len());
        assert!(
            after.blocks() * 512 >= before.len() + PART,
            "the log has the room"
        );
        for _ in 0..20 {
            kept_aside.found_full(&conn, true);
        }
        assert_eq!(kept(&reserve), PART, "the last part is for a start");

        // This disk has room: what is in the log goes into the file, and all is kept again.
        kept_aside.next_try = Instant::now();
        assert!(!kept_aside.is_short(&conn));
        assert_eq!(kept(&reserve), SIZE);
        assert_eq!(fs::metadata(&log).unwrap().len(), 0);
    }

    #[test]
    fn the_reserve_of_an_earlier_process_is_taken_up() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("couch.sqlite");
        drop(Reserve::new(place.path(), &file, None));
        let reserve = place.path().join("couch.reserve");
        shrink(&reserve, SIZE - START).unwrap();
        // There is room, so that a start needs none of it.
        Reserve::make_room_to_start(place.path()).unwrap();
        assert_eq!(kept(&reserve), SIZE - START);
        drop(Reserve::new(place.path(), &file, None));
        assert_eq!(kept(&reserve), SIZE);
    }
}
