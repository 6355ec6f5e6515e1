//! Writes: their request ids, and waiting for the end of their operations.

use std::{pin::pin, sync::Arc};

use axum::{
    extract::FromRequestParts,
    response::{IntoResponse as _, Response},
};
use futures::StreamExt as _;
use hamlet_proto::google::longrunning;
use http::{HeaderName, HeaderValue, StatusCode, header::LOCATION, request::Parts};
use service_kit::json_api::{Error, JsonApi};

use super::{operation::OperationAnswer, parameters::refused, resource::WriteMeta};
use crate::{
    actions::follow::follow,
    api::Shared,
    domain::{
        claim::NameKind,
        operation::{OperationFailure, Phase},
    },
    error, messages,
    operations::Operation,
    store::Found,
};

/// The header with the request id: the same id with the same arguments begins no second operation.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// How a write is asked for.
#[derive(Clone, Debug)]
pub(super) struct Write {
    /// Its request id; empty for none.
    pub(super) request_id: String,
    /// Whether its end is not waited for.
    responds_early: bool,
}

/// The headers of a write, for the document.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "the members describe what `Write` reads")]
pub(super) struct WriteHeaders {
    /// The id of the request. A request with the same id and the same parameters is carried out once.
    #[param(rename = "Idempotency-Key")]
    idempotency_key: Option<String>,
    /// With `respond-async` the response comes at once, with the operation.
    #[param(rename = "Prefer")]
    prefer: Option<String>,
}

impl<S: Sync> FromRequestParts<S> for Write {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let request_id = match parts.headers.get(IDEMPOTENCY_KEY) {
            None => String::new(),
            Some(id) => {
                let id = id.to_str().map_err(|_| {
                    Error::parameter("Idempotency-Key", "is no text; give a UUID, best")
                })?;
                // The draft of the header has a quoted string.
                id.trim_matches('"').to_owned()
            }
        };
        let preferences = parts.headers.get_all(PREFER);
        let responds_early = preferences
            .iter()
            .filter_map(|it| it.to_str().ok())
            .flat_map(|it| it.split(','))
            .any(|it| it.trim().eq_ignore_ascii_case("respond-async"));
        Ok(Self {
            request_id,
            responds_early,
        })
    }
}

/// What came of a write.
pub(super) enum Outcome {
    /// Its end was not waited for.
    Begun(Response),
    /// Its operation has succeeded.
    Done(Done),
}

/// An operation that has succeeded.
pub(super) struct Done {
    id: String,
    pub(super) operation: Arc<Operation>,
}

impl Write {
    /// Waits for the end of an operation, unless the caller does not want to.
    ///
    /// # Errors
    /// The error with which the operation ended.
    pub(super) async fn end(
        &self,
        shared: &Shared,
        operation: longrunning::Operation,
    ) -> Result<Outcome, Error> {
        let id = messages::operation_id(&operation.name)
            .map_err(|wrong| refused(error::Error::from(wrong)))?;
        if self.responds_early {
            return Ok(Outcome::Begun(begun(&operation)));
        }
        let mut states = pin!(follow(shared.engine.clone(), id.clone()));
        let mut last = None;
        while let Some(state) = states.next().await {
            last = Some(state.map_err(refused)?);
        }
        let operation =
            last.ok_or_else(|| refused(error::Error::NoSuchOperation(format!("operations/{id}"))))?;
        if operation.phase == Phase::Succeeded {
            return Ok(Outcome::Done(Done { id, operation }));
        }
        Err(refused(error::Error::Ended(failure(&operation))))
    }
}

/// Why an operation did not do what was asked for.
fn failure(operation: &Operation) -> OperationFailure {
    operation.error.clone().unwrap_or_else(|| OperationFailure {
        code: tonic::Code::Unknown as i32,
        reason: String::new(),
        message: "the operation failed for a reason that was not kept".to_owned(),
    })
}

fn begun(operation: &longrunning::Operation) -> Response {
    let answer = OperationAnswer::new(operation);
    let mut response = JsonApi(StatusCode::ACCEPTED, &answer).into_response();
    let headers = response.headers_mut();
    headers.insert(
        PREFERENCE_APPLIED,
        HeaderValue::from_static("respond-async"),
    );
    if let Ok(path) = HeaderValue::try_from(answer.path()) {
        headers.insert(LOCATION, path);
    }
    response
}

impl Done {
    /// The instance as the operation left it.
    ///
    /// # Errors
    /// When it is gone already, or the database fails.
    pub(super) async fn instance(&self, shared: &Shared) -> Result<Found, Error> {
        let id = &self.operation.instance;
        let found = shared
            .store
            .found_without_settings(id, NameKind::Domain)
            .await;
        let missing = || error::Error::NoSuchInstance(self.operation.domain.clone());
        found
            .map_err(error::Error::from)
            .and_then(|found| found.ok_or_else(missing))
            .map_err(refused)
    }

    /// What an administrator has to know of the write.
    pub(super) fn meta(&self) -> WriteMeta {
        WriteMeta {
            operation: format!("operations/{}", self.id),
            warnings: self.operation.warnings.clone(),
            apps: Vec::new(),
        }
    }
}
