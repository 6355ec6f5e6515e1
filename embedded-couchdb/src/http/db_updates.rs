//! `/_db_updates`: what happened to databases, read from the changes of `_global_changes`.

use std::sync::Arc;

use http::Method;

use super::{
    app::App,
    feed,
    feed_options::{self, FeedType, MAX_WAIT, WaitLimits},
    request::ApiRequest,
    response::ApiResponse,
};
use crate::{
    api_error::ApiError,
    changes::{FeedOptions, Filter},
    json::{Json, obj},
    storage::{databases, db_updates::GLOBAL_CHANGES},
};

/// `/_db_updates`, for an administrator.
pub(crate) async fn db_updates(
    app: &Arc<App>,
    request: &ApiRequest,
) -> Result<ApiResponse, ApiError> {
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return Err(ApiError::method_not_allowed("GET"));
    }
    let feed_type = match request.query.get("feed") {
        None | Some("normal") => FeedType::Normal,
        Some("longpoll") => FeedType::Longpoll,
        Some("continuous") => FeedType::Continuous,
        Some("eventsource") => FeedType::EventSource,
        Some(_) => {
            return Err(ApiError::bad_request(
                "Supported `feed` types: normal, continuous, longpoll, eventsource",
            ));
        }
    };
    let limit = integer(request, "limit")?;
    let limits = WaitLimits {
        // As for changes, a heartbeat takes the place of the timeout.
        heartbeat: match request.query.get("heartbeat") {
            Some("true") => Some(MAX_WAIT),
            _ => integer(request, "heartbeat")?
                .filter(|beat| *beat > 0)
                .map(milliseconds),
        },
        timeout: integer(request, "timeout")?.map_or(MAX_WAIT, milliseconds),
    };
    let db = app
        .store
        .read(|conn| databases::open(conn, GLOBAL_CHANGES))
        .await?;
    let options = FeedOptions {
        filter: Filter::All,
        all_leaves: false,
        include_docs: false,
        conflicts: false,
        attachments: false,
        descending: request.query.get("descending") == Some("true"),
        seq_interval: None,
        tells_pending: false,
        row: match feed_type {
            FeedType::Normal | FeedType::Longpoll => |line, out, first| {
                out.push_str(if first { "" } else { ",\n" });
                out.push_str(&event(line));
            },
            FeedType::Continuous => |line, out, _| {
                out.push_str(&event(line));
                out.push('\n');
            },
            FeedType::EventSource => feed_options::event_source_row,
        },
    };
    feed::start(app, request, db, options, feed_type, limit, limits).await
}

fn milliseconds(number: i64) -> std::time::Duration {
    std::time::Duration::from_millis(number.unsigned_abs()).min(MAX_WAIT)
}

fn integer(request: &ApiRequest, key: &str) -> Result<Option<i64>, ApiError> {
    match request.query.get(key).map(str::parse) {
        None => Ok(None),
        Some(Ok(number)) if number >= 0 => Ok(Some(number)),
        Some(_) => Err(ApiError::bad_request("invalid_integer")),
    }
}

/// A change of a record, as an event: the id of the record is the type and the name.
fn event(line: &str) -> String {
    let change = Json::parse(line.as_bytes()).unwrap_or(Json::Null);
    let id = change.get("id").and_then(Json::as_str).unwrap_or_default();
    let (kind, name) = id.split_once(':').unwrap_or(("updated", id));
    let seq = change.get("seq").cloned().unwrap_or(Json::Null);
    obj([
        ("db_name", name.into()),
        ("type", kind.into()),
        ("seq", seq),
    ])
    .to_string()
}
