//! `/instances/{domain}/debug`: whether calls for an instance are logged in detail.

use std::time::Duration;

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use hamlet_proto::hamlet::instance::v1::Instance;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};
use service_kit::{
    caller::Caller,
    json_api::{Administrator, Error, ErrorDocument, Json, Query, Segments, query::text},
};
use utoipa::IntoParams;

use super::{
    change::make,
    show::find,
    token::go_duration,
    write::{Outcome, Write, WriteHeaders},
};
use crate::{api::Shared, domain::time::Time, messages};

/// How long it lasts by default.
pub(super) const LIFE: Duration = Duration::from_secs(24 * 3600);

/// The parameters of a beginning.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct DebugParameters {
    /// How long it lasts, such as `24h` or `1h30m`; a day by default.
    #[serde(rename = "TTL", deserialize_with = "text")]
    ttl: Option<String>,
}

/// Tells until when calls for an instance are logged in detail.
#[utoipa::path(
    get,
    path = "/instances/{domain}/debug",
    operation_id = "show_debug",
    tag = "instances",
    params(("domain" = String, Path, description = "The domain of the instance, or an alias")),
    responses(
        (status = 200, description = "The domain with `true`, and `until`", body = Map<String, Value>, content_type = "application/json"),
        (status = 404, description = "They are not, or there is no such instance", body = ErrorDocument, content_type = "application/vnd.api+json")
    )
)]
pub(super) async fn show(
    State(shared): State<Shared>,
    Administrator(_): Administrator,
    Segments(domain): Segments<String>,
) -> Result<Json<Map<String, Value>>, Error> {
    let found = find(&shared, &domain).await?;
    let record = found.record.as_ref();
    let until = record
        .and_then(|record| record.body.debug_until)
        .filter(|end| *end > shared.clock.now());
    let off = || {
        Error::new(
            StatusCode::NOT_FOUND,
            "DEBUG_IS_OFF",
            format!("calls for {domain} are not logged in detail"),
        )
    };
    let until: Time = until.ok_or_else(off)?;
    let until = serde_json::to_value(until).map_err(crate::error::Error::from)?;
    let domain = found.document.body.domain.clone();
    Ok(Json(Map::from_iter([
        (domain, Value::Bool(true)),
        ("until".to_owned(), until),
    ])))
}

/// Has calls for an instance logged in detail.
#[utoipa::path(
    post,
    path = "/instances/{domain}/debug",
    operation_id = "begin_debug",
    tag = "instances",
    params(
        ("domain" = String, Path, description = "The domain of the instance, or an alias"),
        DebugParameters,
        WriteHeaders
    ),
    responses(
        (status = 204, description = "They are"),
    )
)]
pub(super) async fn begin(
    State(shared): State<Shared>,
    Administrator(caller): Administrator,
    Segments(domain): Segments<String>,
    Query(parameters): Query<DebugParameters>,
    write: Write,
) -> Result<Response, Error> {
    let life = match &parameters.ttl {
        None => LIFE,
        Some(given) => go_duration(given)
            .ok_or_else(|| Error::parameter("TTL", format!("{given:?} is no time such as 24h")))?,
    };
    let until = messages::timestamp(shared.clock.after(life));
    set(&shared, &caller, &domain, Some(until), &write).await
}

/// Has calls for an instance logged as all others.
#[utoipa::path(
    delete,
    path = "/instances/{domain}/debug",
    operation_id = "end_debug",
    tag = "instances",
    params(
        ("domain" = String, Path, description = "The domain of the instance, or an alias"),
        WriteHeaders
    ),
    responses(
        (status = 204, description = "They are"),
    )
)]
pub(super) async fn end(
    State(shared): State<Shared>,
    Administrator(caller): Administrator,
    Segments(domain): Segments<String>,
    write: Write,
) -> Result<Response, Error> {
    set(&shared, &caller, &domain, None, &write).await
}

async fn set(
    shared: &Shared,
    caller: &Caller,
    domain: &str,
    debug_until: Option<prost_types::Timestamp>,
    write: &Write,
) -> Result<Response, Error> {
    let instance = Instance {
        debug_until,
        ..Instance::default()
    };
    let paths = vec!["debug_until".to_owned()];
    let outcome = make(shared, caller, domain, instance, paths, write).await?;
    Ok(match outcome {
        Outcome::Begun(response) => response,
        Outcome::Done(_) => StatusCode::NO_CONTENT.into_response(),
    })
}
