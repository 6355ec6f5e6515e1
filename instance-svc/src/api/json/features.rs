//! Feature flags: `/instances/{domain}/feature/…` and `/instances/feature/…`.

use axum::{
    body::Bytes,
    extract::State,
    response::{IntoResponse as _, Response},
};
use hamlet_proto::hamlet::instance::v1::Instance;
use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};
use service_kit::json_api::{Administrator, Error, Json, Segments};
use utoipa::ToSchema;

use super::{
    change::make,
    contexts::no_such_context,
    operation::OperationAnswer,
    parameters::refused,
    show::find,
    write::{Outcome, Write, WriteHeaders},
};
use crate::{
    actions::features::change::{FlagsChange, change, stored_shares},
    api::Shared,
    domain::features::{Share, check_name},
    store::{FlagsOf, Found},
};

/// Flags by name; null where there never were any.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Flags(Option<Map<String, Value>>);

fn bad(detail: String) -> Error {
    Error::new(StatusCode::BAD_REQUEST, "INVALID_FIELD", detail)
}

fn object(body: &[u8]) -> Result<Map<String, Value>, Error> {
    serde_json::from_slice(body)
        .map_err(|wrong| bad(format!("the body is no object of flags: {wrong}")))
}

/// Tells the flags to set from those to remove, whose value is null.
fn asked(
    flags: Map<String, Value>,
    stored: impl Fn(&str, Value) -> Result<Option<Value>, Error>,
) -> Result<FlagsChange, Error> {
    let mut asked = FlagsChange::default();
    for (name, value) in flags {
        let value = if value.is_null() {
            None
        } else {
            stored(&name, value)?
        };
        match value {
            Some(value) => {
                asked.set.insert(name, value);
            }
            None => asked.removed.push(name),
        }
    }
    Ok(asked)
}

/// An empty list of shares removes a flag.
fn shares(name: &str, value: Value) -> Result<Option<Value>, Error> {
    let shares: Vec<Share> = serde_json::from_value(value).map_err(|wrong| {
        bad(format!(
            "{name:?} is no list of objects with a ratio and a value: {wrong}"
        ))
    })?;
    if shares.is_empty() {
        return Ok(None);
    }
    stored_shares(name, &shares).map(Some).map_err(refused)
}

fn flags_of(found: &Found) -> Json<Flags> {
    Json(Flags(found.document.body.feature_flags().cloned()))
}

fn context_named(name: &str) -> Result<(), Error> {
    check_name(name).map_err(|wrong| Error::parameter("context", wrong))
}

/// Shows the flags of an instance alone.
#[utoipa::path(
    get,
    path = "/instances/{domain}/feature/flags",
    operation_id = "show_instance_flags",
    tag = "features",
    params(("domain" = String, Path, description = "The domain of the instance, or an alias")),
    responses((status = 200, description = "The flags by name, or null", body = Flags, content_type = "application/json"))
)]
pub(super) async fn show_flags(
    State(shared): State<Shared>,
    Administrator(_): Administrator,
    Segments(domain): Segments<String>,
) -> Result<Json<Flags>, Error> {
    let found = find(&shared, &domain).await?;
    Ok(flags_of(&found))
}

/// Sets flags of an instance alone, and removes those whose value is null.
#[utoipa::path(
    patch,
    path = "/instances/{domain}/feature/flags",
    operation_id = "change_instance_flags",
    tag = "features",
    params(
        ("domain" = String, Path, description = "The domain of the instance, or an alias"),
        WriteHeaders
    ),
    request_body(content = Object, content_type = "application/json"),
    responses(
        (status = 200, description = "The flags by name, or null", body = Flags, content_type = "application/json"),
        (status = 202, description = "The operation", body = OperationAnswer, content_type = "application/vnd.api+json"),
    )
)]
pub(super) async fn change_flags(
    State(shared): State<Shared>,
    Administrator(caller): Administrator,
    Segments(domain): Segments<String>,
    write: Write,
    body: Bytes,
) -> Result<Response, Error> {
    let found = find(&shared, &domain).await?;
    let flags = object(&body)?;
    if flags.is_empty() {
        return Ok(flags_of(&found).into_response());
    }
    let mut instance = Instance::default();
    let mut paths = Vec::new();
    for (name, value) in flags {
        paths.push(format!("feature_flags.{name}"));
        // A name of the mask without a value removes the flag.
        if !value.is_null() {
            instance.feature_flags.insert(name, value.to_string());
        }
    }
    match make(&shared, &caller, &domain, instance, paths, &write).await? {
        Outcome::Begun(response) => Ok(response),
        Outcome::Done(done) => {
            let found = done.instance(&shared).await?;
            Ok(flags_of(&found).into_response())
        }
    }
}

/// Shows the feature sets of an instance.
#[utoipa::path(
    get,
    path = "/instances/{domain}/feature/sets",
    operation_id = "show_instance_sets",
    tag = "features",
    params(("domain" = String, Path, description = "The domain of the instance, or an alias")),
    responses(
        (status = 200, description = "The sets, or null", body = Option<Vec<String>>, content_type = "application/json")
    )
)]
pub(super) async fn show_sets(
    State(shared): State<Shared>,
    Administrator(_): Administrator,
    Segments(domain): Segments<String>,
) -> Result<Json<Option<Vec<String>>>, Error> {
    let found = find(&shared, &domain).await?;
    let sets = found.document.body.feature_sets();
    Ok(Json((!sets.is_empty()).then_some(sets)))
}

/// Replaces the feature sets of an instance.
#[utoipa::path(
    put,
    path = "/instances/{domain}/feature/sets",
    operation_id = "change_instance_sets",
    tag = "features",
    params(
        ("domain" = String, Path, description = "The domain of the instance, or an alias"),
        WriteHeaders
    ),
    request_body(content = Vec<String>, content_type = "application/json"),
    responses(
        (status = 200, description = "The sets, sorted", body = Vec<String>, content_type = "application/json"),
        (status = 202, description = "The operation", body = OperationAnswer, content_type = "application/vnd.api+json"),
    )
)]
pub(super) async fn change_sets(
    State(shared): State<Shared>,
    Administrator(caller): Administrator,
    Segments(domain): Segments<String>,
    write: Write,
    body: Bytes,
) -> Result<Response, Error> {
    find(&shared, &domain).await?;
    let feature_sets: Option<Vec<String>> = serde_json::from_slice(&body)
        .map_err(|wrong| bad(format!("the body is no list of feature sets: {wrong}")))?;
    let instance = Instance {
        feature_sets: feature_sets.unwrap_or_default(),
        ..Instance::default()
    };
    let paths = vec!["feature_sets".to_owned()];
    match make(&shared, &caller, &domain, instance, paths, &write).await? {
        Outcome::Begun(response) => Ok(response),
        Outcome::Done(done) => {
            let found = done.instance(&shared).await?;
            Ok(Json(found.document.body.feature_sets()).into_response())
        }
    }
}

/// Shows the flags that the configuration gives to all instances of a context.
#[utoipa::path(
    get,
    path = "/instances/feature/config/{context}",
    operation_id = "show_configured_flags",
    tag = "features",
    params(("context" = String, Path, description = "The name of the context")),
    responses((status = 200, description = "The flags by name", body = Flags, content_type = "application/json"))
)]
pub(super) async fn show_config(
    State(shared): State<Shared>,
    Administrator(_): Administrator,
    Segments(context): Segments<String>,
) -> Result<Json<Flags>, Error> {
    if !shared.contexts.knows(&context) {
        return Err(no_such_context(&context));
    }
    Ok(Json(Flags(Some(shared.contexts.get(&context).features))))
}

/// Shows the flags of a context, each with its shares.
#[utoipa::path(
    get,
    path = "/instances/feature/contexts/{context}",
    operation_id = "show_context_flags",
    tag = "features",
    params(("context" = String, Path, description = "The name of the context")),
    responses(
        (status = 200, description = "The shares of the flags by name, or null", body = Flags, content_type = "application/json")
    )
)]
pub(super) async fn show_context(
    State(shared): State<Shared>,
    Administrator(_): Administrator,
    Segments(context): Segments<String>,
) -> Result<Json<Flags>, Error> {
    context_named(&context)?;
    shown(&shared, FlagsOf::Context(&context)).await
}

/// Sets flags of a context, each with its shares: `[{"ratio": 0.1, "value": true}]`. One without shares is removed.
#[utoipa::path(
    patch,
    path = "/instances/feature/contexts/{context}",
    operation_id = "change_context_flags",
    tag = "features",
    params(("context" = String, Path, description = "The name of the context")),
    request_body(content = Object, content_type = "application/json"),
    responses(
        (status = 200, description = "The shares of the flags by name", body = Flags, content_type = "application/json")
    )
)]
pub(super) async fn change_context(
    State(shared): State<Shared>,
    Administrator(_): Administrator,
    Segments(context): Segments<String>,
    body: Bytes,
) -> Result<Json<Flags>, Error> {
    context_named(&context)?;
    let asked = asked(object(&body)?, shares)?;
    changed(&shared, FlagsOf::Context(&context), asked).await
}

/// Shows the flags that apply where nothing else says otherwise.
#[utoipa::path(
    get,
    path = "/instances/feature/defaults",
    operation_id = "show_default_flags",
    tag = "features",
    responses((status = 200, description = "The flags by name, or null", body = Flags, content_type = "application/json"))
)]
pub(super) async fn show_defaults(
    State(shared): State<Shared>,
    Administrator(_): Administrator,
) -> Result<Json<Flags>, Error> {
    shown(&shared, FlagsOf::Everyone).await
}

/// Sets such flags, and removes those whose value is null.
#[utoipa::path(
    patch,
    path = "/instances/feature/defaults",
    operation_id = "change_default_flags",
    tag = "features",
    request_body(content = Object, content_type = "application/json"),
    responses((status = 200, description = "The flags by name", body = Flags, content_type = "application/json"))
)]
pub(super) async fn change_defaults(
    State(shared): State<Shared>,
    Administrator(_): Administrator,
    body: Bytes,
) -> Result<Json<Flags>, Error> {
    let asked = asked(object(&body)?, |_, value| Ok(Some(value)))?;
    changed(&shared, FlagsOf::Everyone, asked).await
}

async fn shown(shared: &Shared, of: FlagsOf<'_>) -> Result<Json<Flags>, Error> {
    let found = shared.store.flags(of).await;
    let found = found.map_err(|error| refused(error.into()))?;
    Ok(Json(Flags(found.map(|found| found.body))))
}

async fn changed(
    shared: &Shared,
    of: FlagsOf<'_>,
    asked: FlagsChange,
) -> Result<Json<Flags>, Error> {
    let changed = change(&shared.store, of, asked, false).await;
    let changed = changed.map_err(refused)?;
    Ok(Json(Flags(Some(changed))))
}
