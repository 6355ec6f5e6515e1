//! `/auth/register`: OAuth clients register themselves, and read, change and remove their registration (RFC 7591, RFC 7592).
//!
//! Refusals are plain JSON in the form of these RFCs, not JSON:API.

use std::time::Instant;

use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{
    HeaderValue, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use identity::client::{Registration, is_unapproved};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use service_kit::{json_api, json_api::Segments};

use crate::{
    actions::oauth::Registrant,
    api::{
        Shared,
        pages::{Asked, collect, from_json, json_answer},
        strangers::token_in,
    },
    domain::{instance::InstanceDocument, spec::InvalidField},
    error::Error,
};

const INVALID_METADATA: &str = "invalid_client_metadata";

/// A change of a registration. It has no `Debug`: the secret is one.
#[derive(Deserialize)]
struct Change {
    #[serde(default)]
    client_id: String,
    /// The present secret, where another one is wanted.
    #[serde(default)]
    client_secret: String,
    #[serde(flatten)]
    registration: Registration,
}

/// Why a client is not served.
enum Refusal {
    Failed(Error, String),
    /// The code, and what is wrong for people.
    Told(&'static str, String),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Failed(error, String::new())
    }
}

impl Refusal {
    fn response(self) -> Response {
        let (error, software) = match self {
            Self::Told(code, told) => return refused(StatusCode::BAD_REQUEST, code, &told),
            Self::Failed(error, software) => (error, software),
        };
        match &error {
            Error::Field(field) => {
                let code = code_of(field, &software);
                refused(
                    StatusCode::BAD_REQUEST,
                    code,
                    &told(std::slice::from_ref(field)),
                )
            }
            Error::Fields(fields) => {
                let code = fields
                    .first()
                    .map_or(INVALID_METADATA, |it| code_of(it, &software));
                refused(StatusCode::BAD_REQUEST, code, &told(fields))
            }
            // The texts are those that compatible clients know.
            Error::NoSuchClient { .. } => {
                json_answer(StatusCode::NOT_FOUND, &json!({"error": "Client not found"}))
            }
            Error::Token(_) => {
                let answer = json!({"error": "invalid_token"});
                let mut response = json_answer(StatusCode::UNAUTHORIZED, &answer);
                let wanted = HeaderValue::from_static(r#"Bearer error="invalid_token""#);
                response.headers_mut().insert(WWW_AUTHENTICATE, wanted);
                response
            }
            Error::TooManyClients { wait } => {
                let told = error.to_string();
                let status = StatusCode::TOO_MANY_REQUESTS;
                let mut response = refused(status, "too_many_requests", &told);
                let wait = wait.as_secs() + 1;
                response.headers_mut().insert(RETRY_AFTER, wait.into());
                response
            }
            _ => {
                let failed = json_api::Error::from(error);
                let code = failed.code().to_owned();
                let told = "it failed; try again in a moment";
                refused(failed.status(), &code, told)
            }
        }
    }
}

fn refused(status: StatusCode, code: &str, told: &str) -> Response {
    json_answer(status, &json!({"error": code, "error_description": told}))
}

/// The codes of the RFCs.
fn code_of(field: &InvalidField, software: &str) -> &'static str {
    match field.field.as_str() {
        "redirect_uris" => "invalid_redirect_uri",
        "client_id" => "invalid_client_id",
        "client_secret" => "invalid_client_secret",
        "software_id" if is_unapproved(software) => "unapproved_software_id",
        _ => INVALID_METADATA,
    }
}

fn told(fields: &[InvalidField]) -> String {
    let told: Vec<String> = fields
        .iter()
        .map(|it| format!("{} {}", it.field, it.wrong))
        .collect();
    told.join("; ")
}

/// Compatible clients say that they send and take JSON.
fn check_headers(asked: &Asked) -> Result<(), Refusal> {
    let text = |name| {
        let value = asked.headers.get(name);
        value.and_then(|it| it.to_str().ok()).unwrap_or_default()
    };
    let accept: &str = text(ACCEPT);
    if !accept.is_empty() && !accept.contains("*/*") && !accept.contains("application/json") {
        let told = "Accept has to allow application/json";
        return Err(Refusal::Told("bad_accept_header", told.to_owned()));
    }
    if !text(CONTENT_TYPE).starts_with("application/json") {
        let told = "Content-Type has to be application/json";
        return Err(Refusal::Told("bad_content_type", told.to_owned()));
    }
    Ok(())
}

async fn read<T: serde::de::DeserializeOwned>(asked: &Asked, body: Body) -> Result<T, Refusal> {
    check_headers(asked)?;
    let read = async { from_json(&collect(body).await?) };
    read.await
        .map_err(|unreadable| Refusal::Told(INVALID_METADATA, unreadable.to_string()))
}

async fn instance(shared: &Shared, asked: &Asked) -> Result<InstanceDocument, Refusal> {
    let found = shared.store.instance(&asked.tenant.id).await;
    let found = found.map_err(Error::from)?;
    let found = found.ok_or_else(|| Error::NoSuchInstance(asked.tenant.domain.clone()))?;
    Ok(found.body)
}

/// Counts what strangers write.
fn count(shared: &Shared, asked: &Asked) -> Result<(), Error> {
    shared
        .registrations
        .take(asked.address, &asked.tenant.id, Instant::now())
        .map_err(|wait| Error::TooManyClients { wait })
}

/// What a client is told of itself.
fn shown(id: &str, mut document: Map<String, Value>) -> Map<String, Value> {
    document.shift_remove("pending");
    let mut shown = Map::new();
    shown.insert("client_id".to_owned(), id.into());
    shown.append(&mut document);
    shown
}

/// Registers a client.
pub(super) async fn register(State(shared): State<Shared>, asked: Asked, body: Body) -> Response {
    let registered = async {
        let registration: Registration = read(&asked, body).await?;
        count(&shared, &asked)?;
        let instance = instance(&shared, &asked).await?;
        let oauth = shared.oauth(&asked.tenant.id, &instance);
        let registered = oauth.register(&registration, Registrant::Itself).await;
        let registered =
            registered.map_err(|error| Refusal::Failed(error, registration.software_id.clone()))?;
        let mut answer = shown(&registered.id, registered.document);
        answer.insert(
            "registration_access_token".to_owned(),
            registered.token.expose().into(),
        );
        Ok::<_, Refusal>(answer)
    };
    match registered.await {
        Ok(answer) => json_answer(StatusCode::CREATED, &Value::Object(answer)),
        Err(refusal) => refusal.response(),
    }
}

/// Requires the token of the registration.
async fn required(shared: &Shared, asked: &Asked, id: &str) -> Result<InstanceDocument, Refusal> {
    let instance = instance(shared, asked).await?;
    // This token never expires, so it is not taken from an address.
    let token = token_in(&asked.headers, &http::Uri::default());
    shared
        .oauth(&asked.tenant.id, &instance)
        .require_registrant(id, token.as_deref())?;
    Ok(instance)
}

/// Shows a client its registration.
pub(super) async fn show(
    State(shared): State<Shared>,
    asked: Asked,
    Segments(id): Segments<String>,
) -> Response {
    let found = async {
        let instance = required(&shared, &asked, &id).await?;
        let oauth = shared.oauth(&asked.tenant.id, &instance);
        let client = oauth.registration(&id).await?;
        Ok::<_, Refusal>(shown(&client.id, client.body))
    };
    match found.await {
        Ok(answer) => json_answer(StatusCode::OK, &Value::Object(answer)),
        Err(refusal) => refusal.response(),
    }
}

/// Changes a registration.
pub(super) async fn change(
    State(shared): State<Shared>,
    asked: Asked,
    Segments(id): Segments<String>,
    body: Body,
) -> Response {
    let changed = async {
        let instance = required(&shared, &asked, &id).await?;
        let change: Change = read(&asked, body).await?;
        if change.client_id != id {
            let told = "client_id is missing, or not that of the registration";
            return Err(Refusal::Told("invalid_client_id", told.to_owned()));
        }
        count(&shared, &asked)?;
        let oauth = shared.oauth(&asked.tenant.id, &instance);
        let client = oauth
            .change(&id, &change.registration, &change.client_secret)
            .await?;
        Ok(shown(&client.id, client.body))
    };
    match changed.await {
        Ok(answer) => json_answer(StatusCode::OK, &Value::Object(answer)),
        Err(refusal) => refusal.response(),
    }
}

/// Removes a client. One that is gone already is gone.
pub(super) async fn remove(
    State(shared): State<Shared>,
    asked: Asked,
    Segments(id): Segments<String>,
) -> Response {
    let removed = async {
        let instance = required(&shared, &asked, &id).await?;
        let oauth = shared.oauth(&asked.tenant.id, &instance);
        let _was_there = oauth.remove(&id).await?;
        Ok::<_, Refusal>(())
    };
    match removed.await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(refusal) => refusal.response(),
    }
}
