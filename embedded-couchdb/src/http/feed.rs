//! `/{db}/_changes`

use std::{collections::HashSet, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, StatusCode, header};
use tokio::{sync::mpsc, time::Instant};

use super::{App, answer::Answer, body::Body, call::Call};
use crate::{
    changes::{self, Filter, Place, Shape},
    failure::Failure,
    json::Json,
    mango::{fields, matcher::Matcher, selector},
    storage::databases::{self, Database},
};

/// CouchDB's longest wait for a change, and its usual heartbeat, in milliseconds.
const TIMEOUT: u64 = 60_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Normal,
    Longpoll,
    Continuous,
    EventSource,
}

type Pieces = mpsc::Sender<Result<Bytes, io::Error>>;

/// `/{db}/_changes`
pub(crate) async fn changes(app: &Arc<App>, call: &Call, name: String) -> Result<Answer, Failure> {
    let body = match call.method {
        Method::GET | Method::HEAD => None,
        Method::POST if call.body.is_empty() => None,
        Method::POST => {
            call.demand_json()?;
            Some(call.json_object()?)
        }
        _ => return Err(Failure::method_not_allowed("GET,POST,HEAD")),
    };
    let kind = match call.query.get("feed") {
        None | Some("normal") => Kind::Normal,
        Some("longpoll") => Kind::Longpoll,
        Some("continuous" | "live") => Kind::Continuous,
        Some("eventsource") => Kind::EventSource,
        Some(_) => {
            return Err(Failure::bad_request(
                "Supported `feed` types: normal, continuous, live, longpoll, eventsource",
            ));
        }
    };
    let shape = Arc::new(shape(call, body.as_ref(), kind)?);
    let db = app
        .store
        .read(move |conn| databases::open(conn, &name))
        .await?;
    let since = match call.header(header::HeaderName::from_static("last-event-id")) {
        Some(id) if kind == Kind::EventSource => Some(id),
        _ => call.query.get("since"),
    };
    let since = match since.map(|text| text.trim_matches('"')) {
        None | Some("" | "0") => 0,
        Some("now") => db.seq,
        Some(text) => db.parse_seq(text)?,
    };
    let since = if shape.descending { i64::MAX } else { since };
    let limit = call.query.count("limit")?.unwrap_or(i64::MAX);
    let waiting = Waiting::new(call)?;
    let place = Place {
        seq: since,
        left: limit,
        told: 0,
    };
    let (pieces, body) = mpsc::channel(4);
    let feed = Feed {
        app: Arc::clone(app),
        db,
        shape,
        kind,
        place,
        waiting,
        pieces,
    };
    app.tasks.spawn(feed.run());
    let answer = Answer {
        status: StatusCode::OK,
        headers: Vec::new(),
        body: Body::Pieces(body),
    };
    Ok(match kind {
        Kind::EventSource => answer.with(header::CONTENT_TYPE, "text/event-stream"),
        _ => answer,
    })
}

fn shape(call: &Call, body: Option<&Json>, kind: Kind) -> Result<Shape, Failure> {
    let filter = match call.query.get("filter") {
        None => Filter::All,
        Some("_doc_ids") => {
            let ids = match body.and_then(|body| body.get("doc_ids")) {
                Some(ids) => Some(ids.clone()),
                None => call.query.json(&["doc_ids"])?,
            };
            let ids = ids.as_ref().and_then(Json::as_arr).ok_or_else(|| {
                Failure::bad_request("`doc_ids` filter parameter is not a JSON array.")
            })?;
            Filter::Ids(
                ids.iter()
                    .filter_map(Json::as_str)
                    .map(str::to_owned)
                    .collect::<HashSet<_>>(),
            )
        }
        Some("_selector") => {
            let body = body.ok_or_else(|| {
                Failure::bad_request("Selector must be specified in POST payload")
            })?;
            let chosen = body
                .get("selector")
                .filter(|chosen| chosen.as_obj().is_some());
            let chosen = chosen
                .ok_or_else(|| Failure::bad_request("Selector error: expected a JSON object"))?;
            let matcher = selector::normalize(chosen)
                .and_then(|normal| Matcher::new(&normal))
                .map_err(|failure| Failure::bad_request(failure.reason))?;
            let only = match body.get("fields") {
                None => None,
                Some(Json::Arr(list)) => {
                    let paths = list
                        .iter()
                        .map(|field| {
                            field.as_str().map_or_else(
                                || {
                                    Err(Failure::bad_request(
                                        "Selector error: fields must be JSON array",
                                    ))
                                },
                                fields::path,
                            )
                        })
                        .collect::<Result<_, _>>()?;
                    Some(paths)
                }
                Some(_) => {
                    return Err(Failure::bad_request(
                        "Selector error: fields must be JSON array",
                    ));
                }
            };
            Filter::Selector {
                matcher,
                fields: only,
            }
        }
        Some("_design") => Filter::Designs,
        Some("_view") => {
            return Err(Failure::not_implemented(
                "this server runs no JavaScript; filter with _selector or _doc_ids",
            ));
        }
        Some(name) if name.contains('/') => {
            return Err(Failure::not_implemented(
                "this server runs no JavaScript; filter with _selector or _doc_ids",
            ));
        }
        Some(_) => {
            return Err(Failure::bad_request(
                "`filter` must be of the form `designname/filtername`",
            ));
        }
    };
    let row: fn(&str, &mut String, bool) = match kind {
        Kind::Normal | Kind::Longpoll => |line, out, first| {
            out.push_str(if first { "" } else { ",\n" });
            out.push_str(line);
        },
        Kind::Continuous => |line, out, _| {
            out.push_str(line);
            out.push('\n');
        },
        Kind::EventSource => |line, out, _| {
            let id = Json::parse(line.as_bytes())
                .ok()
                .and_then(|json| json.get("seq").cloned());
            out.push_str("data: ");
            out.push_str(line);
            out.push_str("\nid: ");
            out.push_str(id.as_ref().and_then(Json::as_str).unwrap_or_default());
            out.push_str("\n\n");
        },
    };
    Ok(Shape {
        filter,
        all_leaves: match call.query.get("style") {
            None | Some("main_only") => false,
            Some("all_docs") => true,
            Some(_) => {
                return Err(Failure::bad_request(
                    "`style` must be `main_only` or `all_docs`",
                ));
            }
        },
        include_docs: call.query.on("include_docs")?,
        conflicts: call.query.on("conflicts")?,
        attachments: call.query.on("attachments")?,
        descending: call.query.get("descending") == Some("true")
            || call.query.get("dir") == Some("rev"),
        row,
    })
}

/// How long a feed waits, and what it sends meanwhile.
struct Waiting {
    timeout: Option<Duration>,
    heartbeat: Option<Duration>,
}

impl Waiting {
    fn new(call: &Call) -> Result<Self, Failure> {
        let milliseconds = |key: &str| {
            call.query
                .count(key)
                .map(|found| found.map(i64::unsigned_abs))
        };
        let heartbeat = match call.query.get("heartbeat") {
            None => None,
            Some("true") => Some(TIMEOUT),
            Some(text) => match text.parse::<u64>() {
                Ok(n) if n > 0 => Some(n),
                _ => {
                    return Err(Failure::bad_request(
                        "Invalid heartbeat value. Expecting a positive integer value (in milliseconds).",
                    ));
                }
            },
        };
        let timeout = milliseconds("timeout")?.map_or(TIMEOUT, |n| n.min(TIMEOUT));
        Ok(Self {
            // A feed with a heartbeat goes on until the client leaves.
            timeout: heartbeat.is_none().then(|| Duration::from_millis(timeout)),
            heartbeat: heartbeat.map(Duration::from_millis),
        })
    }
}

struct Feed {
    app: Arc<App>,
    db: Database,
    shape: Arc<Shape>,
    kind: Kind,
    place: Place,
    waiting: Waiting,
    pieces: Pieces,
}

impl Feed {
    async fn send(&self, text: String) -> Result<(), ()> {
        if text.is_empty() {
            return Ok(());
        }
        self.pieces
            .send(Ok(Bytes::from(text)))
            .await
            .map_err(|_| ())
    }

    async fn run(mut self) {
        // An error means that the client is gone or has been told so.
        let _ = self.tell().await;
    }

    async fn tell(&mut self) -> Result<(), ()> {
        let lists = matches!(self.kind, Kind::Normal | Kind::Longpoll);
        if lists {
            self.send("{\"results\":[\n".to_owned()).await?;
        }
        let mut bell = self.app.store.bells.database(self.db.id);
        let mut pending;
        loop {
            bell.borrow_and_update();
            let Some(left) = self.catch_up().await? else {
                break;
            };
            pending = left;
            let waits = match self.kind {
                Kind::Normal => false,
                Kind::Longpoll => self.place.told == 0,
                Kind::Continuous | Kind::EventSource => self.place.left > 0,
            };
            if waits && self.wait(&mut bell).await? {
                continue;
            }
            self.finish(pending).await?;
            break;
        }
        Ok(())
    }

    async fn finish(&self, pending: i64) -> Result<(), ()> {
        let last = if self.shape.descending && self.place.seq == i64::MAX {
            0
        } else {
            self.place.seq
        };
        let mut seq = String::new();
        crate::json::write_string(&self.db.seq_text(last), &mut seq);
        match self.kind {
            Kind::Normal | Kind::Longpoll => {
                let before = if self.place.told > 0 { "\n" } else { "" };
                self.send(format!(
                    "{before}],\n\"last_seq\":{seq},\"pending\":{pending}}}\n"
                ))
                .await
            }
            Kind::Continuous => {
                self.send(format!("{{\"last_seq\":{seq},\"pending\":{pending}}}\n"))
                    .await
            }
            Kind::EventSource => Ok(()),
        }
    }

    /// Tells what is there; none if the database is gone.
    async fn catch_up(&mut self) -> Result<Option<i64>, ()> {
        loop {
            let (shape, place, name, id) = (
                Arc::clone(&self.shape),
                self.place,
                self.db.name.clone(),
                self.db.id,
            );
            let read = self.app.store.read(move |conn| {
                let db = databases::open(conn, &name)?;
                if db.id != id {
                    return Err(Failure::no_database());
                }
                let piece = changes::read(conn, &db, &shape, place)?;
                Ok((db, piece))
            });
            match read.await {
                Ok((db, piece)) => {
                    self.db = db;
                    self.place = piece.place;
                    self.send(piece.text).await?;
                    if piece.end {
                        return Ok(Some(piece.pending));
                    }
                }
                Err(failure) if failure.status == StatusCode::NOT_FOUND => {
                    if matches!(self.kind, Kind::Normal | Kind::Longpoll) {
                        self.finish(0).await?;
                    }
                    return Ok(None);
                }
                Err(failure) => {
                    // The connection breaks, so that the client sees that something is missing.
                    let _ = self.pieces.send(Err(io::Error::other(failure))).await;
                    return Err(());
                }
            }
        }
    }

    /// Waits for a change; false if none came in time.
    async fn wait(&self, bell: &mut tokio::sync::watch::Receiver<u64>) -> Result<bool, ()> {
        let deadline = self.waiting.timeout.map(|timeout| Instant::now() + timeout);
        loop {
            let beat = self.waiting.heartbeat.map(|beat| Instant::now() + beat);
            let far = Instant::now() + Duration::from_secs(86_400);
            tokio::select! {
                changed = bell.changed() => return Ok(changed.is_ok()),
                () = tokio::time::sleep_until(deadline.unwrap_or(far)), if deadline.is_some() => return Ok(false),
                () = tokio::time::sleep_until(beat.unwrap_or(far)), if beat.is_some() => {
                    let beat = if self.kind == Kind::EventSource { "event: heartbeat\ndata: \n\n" } else { "\n" };
                    self.send(beat.to_owned()).await?;
                }
                () = self.app.stop.cancelled() => return Ok(false),
                () = self.pieces.closed() => return Err(()),
            }
        }
    }
}
