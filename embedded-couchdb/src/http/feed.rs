//! `/{db}/_changes`

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, StatusCode, header};
use rusqlite::Connection;
use tokio::{sync::mpsc, time::Instant};

use super::{
    app::App,
    body::Body,
    feed_options::{self, FeedType, WaitLimits},
    request::ApiRequest,
    response::ApiResponse,
};
use crate::{
    api_error::ApiError,
    changes::{self, FeedChunk, FeedOptions, FeedPosition, Filter, NO_LIMIT},
    erlang::etag,
    json::obj,
    storage::databases::{self, Database},
};

type ChunkSender = mpsc::Sender<Result<Bytes, io::Error>>;

/// `/{db}/_changes`
pub(crate) async fn changes(
    app: &Arc<App>,
    request: &ApiRequest,
    name: String,
) -> Result<ApiResponse, ApiError> {
    let request = &request.with_parameters_of_feed();
    let body = match request.method {
        Method::GET | Method::HEAD => None,
        Method::POST => {
            request.demand_json()?;
            if request.sent_body.is_empty() {
                None
            } else {
                Some(request.json_object()?)
            }
        }
        _ => return Err(ApiError::method_not_allowed("GET,POST,HEAD")),
    };
    let feed_type = match request.query.get("feed") {
        None | Some("normal") => FeedType::Normal,
        Some("longpoll") => FeedType::Longpoll,
        Some("continuous" | "live") => FeedType::Continuous,
        Some("eventsource") => FeedType::EventSource,
        Some(_) => {
            return Err(ApiError::bad_request(
                "Supported `feed` types: normal, continuous, live, longpoll, eventsource",
            ));
        }
    };
    let parsed = feed_options::parse(request, body.as_ref(), feed_type)?;
    let db = app
        .store
        .read(move |conn| databases::open(conn, &name))
        .await?;
    let options = feed_options::with_function(app, request, &db, parsed).await?;
    let limit = feed_options::integer(request, "limit")?.filter(|limit| *limit >= 0);
    let limits = WaitLimits::new(request)?;
    start(app, request, db, options, feed_type, limit, limits).await
}

/// Begins a feed.
pub(crate) async fn start(
    app: &Arc<App>,
    request: &ApiRequest,
    db: Database,
    options: FeedOptions,
    feed_type: FeedType,
    limit: Option<i64>,
    limits: WaitLimits,
) -> Result<ApiResponse, ApiError> {
    let etag = etag(db.seq_text(db.seq).as_bytes());
    if feed_type == FeedType::Normal && request.has_seen(&etag) {
        return Ok(ApiResponse::not_modified(etag));
    }
    let feed_options = Arc::new(options);
    let since = match request.header(header::HeaderName::from_static("last-event-id")) {
        Some(id) if feed_type == FeedType::EventSource => Some(id),
        _ => request.query.last_of(&["since", "last-event-id"]),
    };
    let since = since.filter(|_| !feed_options.descending);
    let since = match since.map(|text| text.trim_matches('"')) {
        None | Some("0") => 0,
        Some("now") => db.seq,
        Some(text) => db.parse_seq(text)?,
    };
    let since = if feed_options.descending {
        i64::MAX
    } else {
        since
    };
    let position = FeedPosition {
        seq: since,
        left: limit.unwrap_or(NO_LIMIT),
        told: 0,
    };
    let (chunks, body) = mpsc::channel(4);
    let mut feed = Feed {
        app: Arc::clone(app),
        db,
        feed_options,
        feed_type,
        position,
        limits,
        chunks,
        first: None,
    };
    if matches!(feed.feed_options.filter, Filter::Function(_)) {
        // A function that fails at once makes the response an error.
        let (db, chunk) = feed.next_chunk().await?;
        feed.first = Some((db, chunk));
    }
    app.tasks.spawn(feed.run());
    let response = ApiResponse {
        status: StatusCode::OK,
        headers: Vec::new(),
        body: Body::Stream(body),
    };
    Ok(match feed_type {
        FeedType::EventSource => response.with(header::CONTENT_TYPE, "text/event-stream"),
        FeedType::Normal => response.with(header::ETAG, etag),
        _ => response,
    })
}

struct Feed {
    app: Arc<App>,
    db: Database,
    feed_options: Arc<FeedOptions>,
    feed_type: FeedType,
    position: FeedPosition,
    limits: WaitLimits,
    chunks: ChunkSender,
    /// What was read before the response began.
    first: Option<(Database, FeedChunk)>,
}

impl Feed {
    async fn send(&self, text: String) -> Result<(), ()> {
        if text.is_empty() {
            return Ok(());
        }
        self.chunks
            .send(Ok(Bytes::from(text)))
            .await
            .map_err(|_| ())
    }

    async fn run(mut self) {
        // The client has disconnected, or its response was ended with an error.
        let _ = self.send_changes().await;
    }

    async fn send_changes(&mut self) -> Result<(), ()> {
        let lists = matches!(self.feed_type, FeedType::Normal | FeedType::Longpoll);
        if lists {
            self.send("{\"results\":[\n".to_owned()).await?;
        }
        let mut watcher = self.app.store.notifier.watch_database(self.db.id);
        let mut pending;
        loop {
            watcher.borrow_and_update();
            let Some(left) = self.send_available().await? else {
                break;
            };
            pending = left;
            let waits = match self.feed_type {
                FeedType::Normal => false,
                FeedType::Longpoll => self.position.told == 0,
                FeedType::Continuous | FeedType::EventSource => self.position.left > 0,
            };
            if waits && self.wait(&mut watcher).await? {
                continue;
            }
            self.finish(pending).await?;
            break;
        }
        Ok(())
    }

    async fn finish(&self, pending: i64) -> Result<(), ()> {
        let last = if self.feed_options.descending && self.position.seq == i64::MAX {
            0
        } else {
            self.position.seq
        };
        let mut seq = String::new();
        crate::json::write_string(&self.db.seq_text(last), &mut seq);
        let pending = match self.feed_options.tells_pending {
            true => format!(",\"pending\":{pending}"),
            false => String::new(),
        };
        match self.feed_type {
            FeedType::Normal | FeedType::Longpoll => {
                self.send(format!("\n],\n\"last_seq\":{seq}{pending}}}\n\n"))
                    .await
            }
            FeedType::Continuous => {
                self.send(format!("{{\"last_seq\":{seq}{pending}}}\n\n"))
                    .await
            }
            FeedType::EventSource => Ok(()),
        }
    }

    /// Reads the next changes.
    async fn next_chunk(&self) -> Result<(Database, FeedChunk), ApiError> {
        let (feed_options, position, name, id) = (
            Arc::clone(&self.feed_options),
            self.position,
            self.db.name.clone(),
            self.db.id,
        );
        let opened = move |conn: &Connection| {
            let db = databases::open(conn, &name)?;
            if db.id == id {
                Ok(db)
            } else {
                Err(ApiError::no_database())
            }
        };
        let Filter::Function(function) = &self.feed_options.filter else {
            return self
                .app
                .store
                .read(move |conn| {
                    let db = opened(conn)?;
                    let chunk = changes::read_chunk(conn, &db, &feed_options, position)?;
                    Ok((db, chunk))
                })
                .await;
        };
        let (reopened, options) = (opened.clone(), Arc::clone(&feed_options));
        let (candidates, is_end) = self
            .app
            .store
            .read(move |conn| changes::candidates(conn, &opened(conn)?, &feed_options, position))
            .await?;
        let docs: Vec<&str> = candidates
            .iter()
            .flat_map(|candidate| candidate.docs.iter().map(String::as_str))
            .collect();
        let verdicts = if docs.is_empty() {
            Vec::new()
        } else {
            let head = obj([
                ("operation", function.operation.into()),
                ("design", function.design.clone()),
                ("path", function.path.clone()),
                ("request", function.request.clone()),
            ])
            .to_string();
            // The documents are JSON already.
            let head = head.strip_suffix('}').unwrap_or(&head);
            let request = format!("{head},\"docs\":[{}]}}", docs.join(","));
            let answer = self
                .app
                .javascript
                .run(self.db.id, &function.realm, request)
                .await?;
            let verdicts = answer.as_arr().unwrap_or_default();
            verdicts
                .iter()
                .map(|verdict| verdict.as_bool() == Some(true))
                .collect()
        };
        self.app
            .store
            .read(move |conn| {
                let db = reopened(conn)?;
                let mut chunk =
                    changes::judged_chunk(conn, &db, &options, position, candidates, &verdicts)?;
                if is_end && !chunk.end {
                    chunk.end = true;
                    if !options.descending {
                        chunk.position.seq = chunk.position.seq.max(position.seq);
                    }
                }
                Ok((db, chunk))
            })
            .await
    }

    /// Sends the changes so far and returns the number of pending ones; `None` if the database was deleted.
    async fn send_available(&mut self) -> Result<Option<i64>, ()> {
        loop {
            let read = match self.first.take() {
                Some(first) => Ok(first),
                None => self.next_chunk().await,
            };
            match read {
                Ok((db, chunk)) => {
                    self.db = db;
                    self.position = chunk.position;
                    self.send(chunk.text).await?;
                    if chunk.end {
                        return Ok(Some(chunk.pending));
                    }
                }
                Err(failure) if failure.status == StatusCode::NOT_FOUND => {
                    if matches!(self.feed_type, FeedType::Normal | FeedType::Longpoll) {
                        self.finish(0).await?;
                    }
                    return Ok(None);
                }
                Err(failure) => {
                    // The error closes the connection, so that the client notices the incomplete response.
                    let _ = self.chunks.send(Err(io::Error::other(failure))).await;
                    return Err(());
                }
            }
        }
    }

    /// Waits for a change. Returns whether there was one in time.
    async fn wait(&self, watcher: &mut tokio::sync::watch::Receiver<u64>) -> Result<bool, ()> {
        let waits_forever = self.limits.heartbeat.is_some();
        let deadline = (!waits_forever).then(|| Instant::now() + self.limits.timeout);
        loop {
            let beat = self.limits.heartbeat.map(|beat| Instant::now() + beat);
            let far = Instant::now() + Duration::from_secs(86_400);
            tokio::select! {
                changed = watcher.changed() => return Ok(changed.is_ok()),
                () = tokio::time::sleep_until(deadline.unwrap_or(far)), if deadline.is_some() => return Ok(false),
                () = tokio::time::sleep_until(beat.unwrap_or(far)), if beat.is_some() => {
                    let beat = if self.feed_type == FeedType::EventSource { "event: heartbeat\ndata: \n\n" } else { "\n" };
                    self.send(beat.to_owned()).await?;
                }
                () = self.app.stop.cancelled() => return Ok(false),
                () = self.chunks.closed() => return Err(()),
            }
        }
    }
}
