//! Room that is kept aside on the disk, so that room can be made when the disk is full.
//!
//! Deleting needs room itself: a tombstone, the document of an operation, the pages of a transaction. So a file keeps some
//! room. When the disk is full, it is removed, and from then on only those writes are carried out that make room, or that
//! an installation needs for that. Others are carried out again when the file could be made anew, or when the database
//! has as much free space inside.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rusqlite::Connection;
use rustix::fs::{FallocateFlags, fallocate};

/// The room that is kept, in bytes.
const SIZE: u64 = 8 << 20;

/// The same in pages of the database.
const PAGES: u32 = 2048;

/// How often it is tried to keep room again.
const AGAIN_EVERY: Duration = Duration::from_secs(10);

/// The room that is kept aside.
pub(crate) struct Reserve {
    keeper: Keeper,
    /// Whether the room is kept.
    held: bool,
    next_try: Instant,
}

enum Keeper {
    /// A file of [`SIZE`] bytes.
    File(PathBuf),
    /// A limit of pages that tests set.
    Limit(u32),
}

impl Reserve {
    /// Keeps room beside the file of the database, or below the limit of pages.
    pub(super) fn new(folder: &Path, max_pages: Option<u32>) -> Self {
        let keeper = match max_pages {
            Some(pages) => Keeper::Limit(pages),
            None => Keeper::File(folder.join("couch.reserve")),
        };
        let mut reserve = Self {
            keeper,
            held: false,
            next_try: Instant::now(),
        };
        reserve.hold();
        reserve
    }

    fn hold(&mut self) {
        self.next_try = Instant::now() + AGAIN_EVERY;
        self.held = match &self.keeper {
            // Only [`Self::give_out`] raises the limit.
            Keeper::Limit(_) => !self.held,
            Keeper::File(path) => match allocate(path) {
                Ok(()) => true,
                Err(error) if is_full(&error) => {
                    // What was allocated of it is needed elsewhere.
                    let _ = fs::remove_file(path);
                    false
                }
                Err(error) => {
                    tracing::debug!(%error, "no room is kept aside for deletions on a full disk");
                    true
                }
            },
        };
    }

    /// Whether only writes that make room may be carried out.
    pub(super) fn is_short(&mut self, conn: &Connection) -> bool {
        if self.held {
            return false;
        }
        if matches!(self.keeper, Keeper::File(_)) && Instant::now() >= self.next_try {
            self.hold();
            if self.held {
                tracing::info!("the disk has room again");
                return false;
            }
        }
        let free = conn.query_row("PRAGMA freelist_count", [], |row| row.get::<_, u32>(0));
        free.is_ok_and(|free| free < PAGES)
    }

    /// Gives out the room, because the disk is full.
    pub(super) fn give_out(&mut self, conn: &Connection) {
        if !self.held {
            return;
        }
        tracing::error!(
            "the disk is full: only what makes room is carried out until there is some again"
        );
        self.held = false;
        self.next_try = Instant::now() + AGAIN_EVERY;
        let given = match &self.keeper {
            Keeper::File(path) => fs::remove_file(path),
            Keeper::Limit(pages) => {
                let pages = pages + PAGES;
                conn.query_row(&format!("PRAGMA max_page_count={pages}"), [], |_| Ok(()))
                    .map_err(io::Error::other)
            }
        };
        if let Err(error) = given {
            tracing::error!(%error, "the room that was kept aside cannot be used");
        }
    }
}

fn allocate(path: &Path) -> io::Result<()> {
    let mut file = File::create(path)?;
    match fallocate(&file, FallocateFlags::empty(), 0, SIZE) {
        Ok(()) => Ok(()),
        Err(error) if is_full(&error.into()) => Err(error.into()),
        // Some file systems allocate only what is written.
        Err(_) => {
            let zeros = vec![0; 1 << 16];
            for _ in 0..SIZE / (1 << 16) {
                file.write_all(&zeros)?;
            }
            file.sync_all()
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
