//! The options of a feed of changes.

use std::{collections::HashSet, time::Duration};

use http::StatusCode;

use super::{app::App, designs, functions, request::ApiRequest};
use crate::{
    api_error::ApiError,
    changes::{FeedOptions, Filter, Function},
    json::Json,
    mango::{fields, matcher::Matcher, selector},
    storage::databases::Database,
};

/// CouchDB's longest wait for a change and its default heartbeat.
pub(crate) const MAX_WAIT: Duration = Duration::from_mins(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FeedType {
    Normal,
    Longpoll,
    Continuous,
    EventSource,
}

/// The options with the function that filters, if the request names one.
pub(super) async fn with_function(
    app: &App,
    request: &ApiRequest,
    db: &Database,
    options: FeedOptions,
) -> Result<FeedOptions, ApiError> {
    let malformed =
        || ApiError::bad_request("`filter` must be of the form `designname/filtername`");
    let (operation, group, named) = match request.query.get("filter") {
        Some("_view") => {
            let view = request.query.get("view").filter(|view| !view.is_empty());
            let view = view
                .ok_or_else(|| ApiError::bad_request("`view` filter parameter is not provided."))?;
            ("filterByView", "views", view)
        }
        Some(name) if !name.is_empty() && !name.starts_with('_') => ("filter", "filters", name),
        _ => return Ok(options),
    };
    let (ddoc, function) = named
        .split_once('/')
        .filter(|(ddoc, function)| {
            !ddoc.is_empty() && !function.is_empty() && !function.contains('/')
        })
        .ok_or_else(malformed)?;
    let id = format!("_design/{ddoc}");
    let (_, design) = designs::open(app, db.name.clone(), id).await?;
    design.demand_javascript()?;
    let there = design.body.get(group).and_then(|group| group.get(function));
    if there.is_none() {
        return Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("missing json key: {function}"),
        ));
    }
    let mut path: Vec<Json> = vec![group.into(), function.into()];
    if group == "views" {
        path.push("map".into());
    }
    Ok(FeedOptions {
        filter: Filter::Function(Box::new(Function {
            operation,
            realm: design.realm(),
            path: Json::Arr(path),
            request: functions::as_seen(request, db, None),
            design: design.body,
        })),
        ..options
    })
}

/// The options of a request, without the function that filters.
pub(super) fn parse(
    request: &ApiRequest,
    body: Option<&Json>,
    feed_type: FeedType,
) -> Result<FeedOptions, ApiError> {
    let filter = match request.query.get("filter") {
        None | Some("") => Filter::All,
        Some("_doc_ids") => {
            let ids = match body.and_then(|body| body.get("doc_ids")) {
                Some(ids) => Some(ids.clone()),
                None => request.query.json(&["doc_ids"])?,
            };
            let ids = ids.as_ref().and_then(Json::as_arr);
            let ids: Option<HashSet<String>> = ids.and_then(|ids| {
                ids.iter()
                    .map(|id| id.as_str().map(str::to_owned))
                    .collect()
            });
            Filter::Ids(ids.ok_or_else(|| {
                ApiError::bad_request("`doc_ids` filter parameter is not a list of doc ids.")
            })?)
        }
        Some("_selector") => {
            let body = body.ok_or_else(|| {
                ApiError::bad_request("Selector must be specified in POST payload")
            })?;
            let chosen = body
                .get("selector")
                .filter(|chosen| chosen.as_obj().is_some());
            let chosen = chosen
                .ok_or_else(|| ApiError::bad_request("Selector error: expected a JSON object"))?;
            let matcher = selector::normalize(chosen)
                .and_then(|normal| Matcher::new(&normal))
                .map_err(|failure| ApiError::bad_request(failure.reason))?;
            let only = match body.get("fields") {
                None => None,
                Some(Json::Arr(list)) => {
                    let paths = list
                        .iter()
                        .map(|field| {
                            field.as_str().map_or_else(
                                || {
                                    Err(ApiError::bad_request(
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
                    return Err(ApiError::bad_request(
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
        // Its function is found once the database is known.
        Some("_view") => Filter::All,
        Some(name) if name.starts_with('_') => {
            return Err(ApiError::bad_request("unknown builtin filter name"));
        }
        Some(_) => Filter::All,
    };
    let row: fn(&str, &mut String, bool) = match feed_type {
        FeedType::Normal | FeedType::Longpoll => |line, out, first| {
            out.push_str(if first { "" } else { ",\n" });
            out.push_str(line);
        },
        FeedType::Continuous => |line, out, _| {
            out.push_str(line);
            out.push('\n');
        },
        FeedType::EventSource => event_source_row,
    };
    // As CouchDB, this takes anything but `true` for `false` here.
    let on = |key| request.query.get(key) == Some("true");
    Ok(FeedOptions {
        filter,
        all_leaves: match request.query.get("style") {
            None | Some("main_only") => false,
            Some("all_docs") => true,
            Some(_) => {
                return Err(ApiError::bad_request(
                    "`style` must be `main_only` or `all_docs`",
                ));
            }
        },
        include_docs: on("include_docs"),
        conflicts: on("conflicts"),
        attachments: on("attachments"),
        descending: on("descending"),
        seq_interval: match request.query.get("seq_interval").map(str::parse) {
            None => None,
            Some(Ok(interval @ 1..)) => Some(interval),
            Some(_) => return Err(ApiError::bad_request("invalid_seq_interval")),
        },
        tells_pending: true,
        row,
    })
}

/// A change as an event. Its id is the sequence, in JSON.
pub(crate) fn event_source_row(line: &str, out: &mut String, _: bool) {
    let change = Json::parse(line.as_bytes()).unwrap_or(Json::Null);
    out.push_str("data: ");
    out.push_str(line);
    out.push_str("\nid: ");
    if let Some(seq) = change.get("seq") {
        out.push_str(&seq.to_string());
    }
    out.push_str("\n\n");
}

/// An integer, where CouchDB takes a negative one for none.
pub(super) fn integer(request: &ApiRequest, key: &str) -> Result<Option<i64>, ApiError> {
    match request.query.get(key).map(str::parse) {
        None => Ok(None),
        Some(Ok(number)) => Ok(Some(number)),
        Some(Err(_)) => Err(ApiError::query(format!(
            "Invalid value for integer: {:?}",
            request.query.get(key).unwrap_or_default()
        ))),
    }
}

/// How long a feed waits for a change, and how often it sends a heartbeat.
pub(crate) struct WaitLimits {
    /// Does not count for a feed with a heartbeat, which ends only when the client disconnects.
    pub(crate) timeout: Duration,
    pub(crate) heartbeat: Option<Duration>,
}

impl WaitLimits {
    /// The limits of a request.
    pub(super) fn new(request: &ApiRequest) -> Result<Self, ApiError> {
        let heartbeat = match request.query.get("heartbeat") {
            None => None,
            Some("true") => Some(MAX_WAIT),
            Some(text) => match text.parse::<i64>() {
                Ok(n) if n > 0 => Some(Duration::from_millis(n.unsigned_abs())),
                Ok(_) => {
                    return Err(ApiError::bad_request(
                        "The heartbeat value should be a positive integer (in milliseconds).",
                    ));
                }
                Err(_) => {
                    return Err(ApiError::bad_request(
                        "Invalid heartbeat value. Expecting a positive integer value (in milliseconds).",
                    ));
                }
            },
        };
        let timeout = integer(request, "timeout")?;
        let timeout = timeout.and_then(|ms| u64::try_from(ms).ok());
        let timeout = timeout.map(Duration::from_millis);
        Ok(Self {
            timeout: timeout.map_or(MAX_WAIT, |timeout| timeout.min(MAX_WAIT)),
            heartbeat,
        })
    }
}
