//! Brings the rows of views up to date.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::{Connection, params};

use super::{app::App, designs::Design};
use crate::{
    api_error::ApiError,
    json::{Json, obj},
    rendering::{DocOptions, render_revision},
    storage::{
        databases::{self, Database},
        documents,
        views::{self, Row, Update, Views},
    },
};

/// How many changes are read at once.
const BATCH: i64 = 400;

/// How many bytes of documents go to the functions at once.
const BATCH_BYTES: usize = 4 << 20;

type Lock = Arc<tokio::sync::Mutex<()>>;

/// One update of the same rows at a time: others wait for it instead of doing the same. The key is the database and the
/// signature.
#[derive(Default)]
pub(crate) struct Updating(Mutex<HashMap<(i64, String), Lock>>);

impl Updating {
    fn lock(&self, db: i64, signature: &str) -> Lock {
        let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody holds are new again.
        if locks.len() > 1000 {
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
        }
        Arc::clone(locks.entry((db, signature.to_owned())).or_default())
    }

    /// The only one that does this to a database now; `None` if there is one already.
    pub(crate) fn alone(&self, db: i64, what: &str) -> Option<tokio::sync::OwnedMutexGuard<()>> {
        self.lock(db, what).try_lock_owned().ok()
    }

    /// Whether the rows are being updated.
    pub(crate) fn is_running(&self, db: i64, signature: &str) -> bool {
        let locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        locks
            .get(&(db, signature.to_owned()))
            .is_some_and(|lock| lock.try_lock().is_err())
    }
}

/// Changes of documents: each id with the document, which is `None` if it has no rows.
struct Batch {
    view: Views,
    /// The sequence up to which the batch goes.
    to: i64,
    documents: Vec<(String, Option<String>)>,
    is_last: bool,
}

/// Brings the rows of a design document's views up to what the database holds now.
///
/// # Errors
/// What the functions threw that ends an update, and their death.
pub(crate) async fn update(app: &App, db: &Database, design: &Design) -> Result<Views, ApiError> {
    design.demand_javascript()?;
    let signature = design.signature();
    let lock = app.updating.lock(db.id, &signature);
    let _held = lock.lock().await;
    let functions: Vec<Json> = design
        .views()
        .iter()
        .map(|view| view.map.as_str().into())
        .collect();
    let modules = design.modules();
    loop {
        let batch = next_batch(app, db, design, &signature).await?;
        if batch.to == batch.view.seq {
            return Ok(batch.view);
        }
        let live: Vec<&str> = batch
            .documents
            .iter()
            .filter_map(|(_, doc)| doc.as_deref())
            .collect();
        let emitted = if live.is_empty() {
            Vec::new()
        } else {
            let head = obj([
                ("operation", "map".into()),
                ("design", modules.clone()),
                ("functions", Json::Arr(functions.clone())),
            ])
            .to_string();
            // The documents are JSON already.
            let head = head.strip_suffix('}').unwrap_or(&head);
            let request = format!("{head},\"docs\":[{}]}}", live.join(","));
            match app.javascript.run(db.id, &signature, request).await? {
                Json::Arr(emitted) => emitted,
                _ => return Err(unreadable()),
            }
        };
        let mut emitted = emitted.into_iter();
        let mut documents = Vec::with_capacity(batch.documents.len());
        for (id, doc) in batch.documents {
            let rows = match doc {
                Some(_) => rows(emitted.next().ok_or_else(unreadable)?)?,
                None => Vec::new(),
            };
            documents.push((id, rows));
        }
        let update = Update {
            view: batch.view.id,
            from: batch.view.seq,
            to: batch.to,
            is_partitioned: design.is_partitioned(db),
            documents,
        };
        app.store
            .write(move |transaction| views::store(transaction, update))
            .await?;
        if batch.is_last {
            return Ok(Views {
                seq: batch.to,
                ..batch.view
            });
        }
    }
}

fn unreadable() -> ApiError {
    ApiError::internal("the rows of a function cannot be read")
}

/// The rows of one document: for each view, a list of keys and values.
fn rows(emitted: Json) -> Result<Vec<Row>, ApiError> {
    let Json::Arr(of_views) = emitted else {
        return Err(unreadable());
    };
    let mut found = Vec::new();
    for (n, of_view) in (0_i64..).zip(of_views) {
        let Json::Arr(pairs) = of_view else {
            return Err(unreadable());
        };
        for pair in pairs {
            let Json::Arr(pair) = pair else {
                return Err(unreadable());
            };
            let mut pair = pair.into_iter();
            let (Some(key), Some(value)) = (pair.next(), pair.next()) else {
                return Err(unreadable());
            };
            found.push(Row { n, key, value });
        }
    }
    Ok(found)
}

async fn next_batch(
    app: &App,
    db: &Database,
    design: &Design,
    signature: &str,
) -> Result<Batch, ApiError> {
    let (name, id) = (db.name.clone(), db.id);
    let options = DocOptions {
        conflicts: true,
        deleted_conflicts: true,
        local_seq: design.wants_local_seq(),
        ..DocOptions::default()
    };
    let with_designs = design.wants_designs();
    loop {
        let (name, options, wanted) = (name.clone(), options.clone(), signature.to_owned());
        let found = app.store.read(move |conn| {
            let db = databases::open(conn, &name)?;
            if db.id != id {
                return Err(ApiError::no_database());
            }
            match views::find(conn, db.id, &wanted)? {
                Some(view) => batch(conn, &db, view, &options, with_designs).map(Some),
                None => Ok(None),
            }
        });
        if let Some(batch) = found.await? {
            return Ok(batch);
        }
        let wanted = signature.to_owned();
        app.store
            .write(move |transaction| views::create(transaction, id, &wanted))
            .await?;
    }
}

fn batch(
    conn: &Connection,
    db: &Database,
    view: Views,
    options: &DocOptions,
    with_designs: bool,
) -> Result<Batch, ApiError> {
    let mut statement = conn
        .prepare_cached("SELECT id FROM docs WHERE db = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3")?;
    let mut rows = statement.query(params![db.id, view.seq, BATCH])?;
    let (mut to, mut bytes, mut documents) = (view.seq, 0, Vec::new());
    while let Some(row) = rows.next()? {
        let id: String = row.get(0)?;
        let Some(found) = documents::find(conn, db.id, &id)? else {
            continue;
        };
        to = found.seq;
        let is_seen = !found.deleted && (with_designs || !id.starts_with("_design/"));
        let doc = match found.tree.winner() {
            Some(winner) if is_seen => render_revision(conn, &found, &winner.rev, options)?,
            _ => None,
        };
        bytes += doc.as_ref().map_or(0, String::len);
        documents.push((id, doc));
        if bytes > BATCH_BYTES {
            return Ok(Batch {
                view,
                to,
                documents,
                is_last: false,
            });
        }
    }
    let is_last = i64::try_from(documents.len()).unwrap_or(BATCH) < BATCH;
    if is_last {
        // Some sequences belong to no document: those of settings and of documents that are purged.
        to = db.seq;
    }
    Ok(Batch {
        view,
        to,
        documents,
        is_last,
    })
}
