//! `PUT /settings/instance/auth_mode`: the owner turns the second factor on and off.

use axum::{
    body::Bytes,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use serde::Deserialize;
use service_kit::{json_api, rights::Verb};

use super::bearer::{Bearer, Refusal};
use crate::{
    api::{
        Shared,
        pages::{Asked, choose_auth_mode},
    },
    domain::fields::AuthMode,
    error::Error,
};

const DOCTYPE: &str = "io.cozy.settings";
const INSTANCE: &str = "io.cozy.settings.instance";

#[derive(Deserialize)]
struct Choice {
    auth_mode: String,
    #[serde(default)]
    two_factor_activation_code: String,
}

/// Chooses the mode. The second factor is turned on in two steps: the first request mails a code, the second one brings it.
pub(super) async fn choose(
    State(shared): State<Shared>,
    bearer: Bearer,
    asked: Asked,
    body: Bytes,
) -> Result<Response, Refusal> {
    bearer.token.require_one(DOCTYPE, Verb::Put, INSTANCE)?;
    let wrong = |code, told: &str| {
        json_api::Error::new(StatusCode::UNPROCESSABLE_ENTITY, code, told)
            .because_of("auth_mode")
            .into_response()
    };
    let Ok(choice) = serde_json::from_slice::<Choice>(&body) else {
        let told = "the body is no object with an auth_mode";
        let wrong = json_api::Error::new(StatusCode::BAD_REQUEST, "INVALID_BODY", told);
        return Ok(wrong.into_response());
    };
    let mode = match choice.auth_mode.as_str() {
        "basic" => AuthMode::Basic,
        "two_factor_mail" => AuthMode::TwoFactorMail,
        _ => {
            let told = "is no mode that an owner chooses; use basic or two_factor_mail";
            return Ok(wrong("INVALID_FIELD", told));
        }
    };
    let document = &bearer.token.found.document.body;
    let code = choice.two_factor_activation_code;
    match choose_auth_mode(&shared, &asked, document, mode, &code).await {
        Ok(_) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(error @ Error::WrongCode) => {
            let told = error.to_string();
            let wrong = json_api::Error::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "CODE_WRONG",
                told.as_str(),
            )
            .because_of("two_factor_activation_code");
            Ok(wrong.into_response())
        }
        Err(error) => Err(error.into()),
    }
}
