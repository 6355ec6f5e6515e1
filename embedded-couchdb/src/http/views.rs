//! `/{db}/_design/{ddoc}/_view/{view}`

use std::sync::Arc;

use http::{Method, StatusCode};

use super::{
    app::App,
    designs::{self, Design, View},
    reduced,
    request::ApiRequest,
    response::ApiResponse,
    view_query::{Freshness, Grouping, ViewQuery},
    view_rows::{Listing, ranges, stream},
    view_update,
};
use crate::{
    api_error::ApiError,
    json::Json,
    storage::{
        databases::{self, Database},
        view_scan::Scan,
        views::{self, Views},
    },
};

/// A query that is ready to be answered.
pub(crate) struct Prepared {
    pub(crate) db: Database,
    pub(crate) rows: Views,
    pub(crate) n: i64,
    pub(crate) view: View,
    pub(crate) query: ViewQuery,
}

impl Prepared {
    /// The reducer, if the rows are reduced.
    pub(crate) fn reducer(&self) -> Option<&str> {
        self.view
            .reduce
            .as_deref()
            .filter(|_| self.query.reduce != Some(false))
    }

    /// The rows in the order of the query.
    pub(crate) fn scan(&self) -> Scan {
        Scan::new(
            self.rows.id,
            self.n,
            ranges(&self.query, self.reducer().is_some()),
            self.query.descending,
        )
    }
}

/// `/{db}/_design/{ddoc}/_view/{view}` and `…/queries`
pub(crate) async fn view(
    app: &Arc<App>,
    request: &ApiRequest,
    name: String,
    ddoc: String,
    rest: &[&str],
) -> Result<ApiResponse, ApiError> {
    let (view, is_queries) = match rest {
        [view] => (*view, false),
        [view, "queries"] => (*view, true),
        _ => return Err(ApiError::method_not_allowed("GET,POST,HEAD")),
    };
    let body = match request.method {
        Method::GET | Method::HEAD if !is_queries => None,
        Method::POST => {
            request.demand_json()?;
            Some(request.json_object()?)
        }
        _ if is_queries => return Err(ApiError::method_not_allowed("POST")),
        _ => return Err(ApiError::method_not_allowed("GET,POST,HEAD")),
    };
    let (db, design) = designs::open(app, name, ddoc).await?;
    if !is_queries {
        if body
            .as_ref()
            .is_some_and(|body| body.get("queries").is_some())
        {
            return Err(ApiError::bad_request(
                "The `queries` parameter is no longer supported at this endpoint",
            ));
        }
        let keys = body.as_ref().and_then(|body| body.get("keys"));
        if keys.is_some_and(|keys| keys.as_arr().is_none()) {
            return Err(ApiError::bad_request("`keys` member must be an array."));
        }
        let query = ViewQuery::parse(&request.query, body.as_ref(), false)?;
        let prepared = prepare(app, db, &design, view, query).await?;
        return if prepared.reducer().is_some() {
            let text = reduced::answer(app, &prepared).await?;
            Ok(ApiResponse::text(StatusCode::OK, text + "\n"))
        } else {
            stream(app, prepared).await
        };
    }
    let queries = match body.as_ref().and_then(|body| body.get("queries")) {
        Some(Json::Arr(queries)) => queries.clone(),
        Some(_) => return Err(ApiError::bad_request("`queries` member must be an array.")),
        None => {
            return Err(ApiError::bad_request(
                "POST body must include `queries` parameter.",
            ));
        }
    };
    let mut out = String::from("{\"results\":[");
    for (place, query) in queries.iter().enumerate() {
        out.push_str(if place > 0 { ",\r\n" } else { "\r\n" });
        let query = ViewQuery::parse(&request.query, Some(query), true)?;
        let prepared = prepare(app, db.clone(), &design, view, query).await?;
        if prepared.reducer().is_some() {
            out.push_str(&reduced::answer(app, &prepared).await?);
        } else {
            let (mut listing, text) = Listing::begin(app, prepared).await?;
            out.push_str(&text);
            while let Some(text) = listing.next(app).await? {
                out.push_str(&text);
            }
        }
    }
    out.push_str("\r\n]}\n");
    Ok(ApiResponse::text(StatusCode::OK, out))
}

/// Checks a query and brings the rows up to date.
async fn prepare(
    app: &Arc<App>,
    db: Database,
    design: &Design,
    name: &str,
    query: ViewQuery,
) -> Result<Prepared, ApiError> {
    match (design.is_partitioned(&db), &query.partition) {
        (true, None) => {
            return Err(ApiError::query(
                "`partition` parameter is mandatory for queries to this view.",
            ));
        }
        (false, Some(_)) => {
            return Err(ApiError::query(
                "`partition` parameter is not supported in this design doc",
            ));
        }
        _ => {}
    }
    let views = design.views();
    let place = views.iter().position(|view| view.name == name);
    let can_reduce = place
        .and_then(|place| views.get(place))
        .is_some_and(|view| view.reduce.is_some());
    if place.is_some() {
        query.check(can_reduce)?;
        query.check_for_view()?;
    }
    let found = place.and_then(|place| Some((place, views.get(place)?.clone())));
    let (place, view) = found
        .ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "not_found", "missing_named_view"))?;
    let rows = match query.freshness {
        Freshness::First => view_update::update(app, &db, design).await?,
        Freshness::Later | Freshness::Never => {
            if query.freshness == Freshness::Later {
                update_later(app, &db, &design.id);
            }
            let (id, signature) = (db.id, design.signature());
            let rows = app
                .store
                .read(move |conn| views::find(conn, id, &signature))
                .await?;
            // Nobody asked for the rows yet.
            rows.unwrap_or(Views { id: 0, seq: 0 })
        }
    };
    Ok(Prepared {
        db,
        rows,
        n: i64::try_from(place).unwrap_or(i64::MAX),
        view,
        query,
    })
}

fn update_later(app: &Arc<App>, db: &Database, ddoc: &str) {
    let (app, db, ddoc) = (Arc::clone(app), db.clone(), ddoc.to_owned());
    let tasks = app.tasks.clone();
    tasks.spawn(async move {
        let opened = designs::open(&app, db.name.clone(), ddoc.clone()).await;
        let updated = match opened {
            Ok((_, design)) => view_update::update(&app, &db, &design).await.map(|_| ()),
            Err(failure) => Err(failure),
        };
        if let Err(error) = updated {
            tracing::debug!(%error, %ddoc, "the rows of a view are not up to date");
        }
    });
}

/// Drops the rows of views that no design document has any more.
pub(crate) async fn clean_up(app: &App, name: String) -> Result<(), ApiError> {
    app.store
        .write(move |transaction| {
            let db = databases::open(transaction.conn, &name)?;
            let ids = {
                let mut statement = transaction.conn.prepare_cached(
                    "SELECT id FROM docs WHERE db = ?1 AND id >= '_design/' AND id < '_design0' AND deleted = 0",
                )?;
                let rows = statement.query_map([db.id], |row| row.get(0))?;
                rows.collect::<Result<Vec<String>, _>>()?
            };
            let mut signatures = Vec::new();
            for id in ids {
                signatures.push(designs::read(transaction.conn, &db, &id)?.signature());
            }
            views::drop_others(transaction, db.id, &signatures)
        })
        .await
}

/// Whether two rows belong to the same group, by the parts of their keys that count.
pub(crate) fn group_of(grouping: Grouping, emitted: &Json) -> Option<Json> {
    match (grouping, emitted) {
        (Grouping::None, _) => None,
        (Grouping::Level(level), Json::Arr(items)) => {
            Some(Json::Arr(items.iter().take(level).cloned().collect()))
        }
        (Grouping::Exact | Grouping::Level(_), key) => Some(key.clone()),
    }
}
