//! `POST /auth/access_token`: OAuth clients fetch their tokens (RFC 6749).

use axum::{body::Body, extract::State, response::Response};
use http::StatusCode;
use identity::grant::{Redeemed, Refused};
use serde_json::{Value, json};
use service_kit::json_api;

use crate::{
    actions::oauth::{Credentials, Granted},
    api::{
        Shared,
        pages::{Asked, Form, json_answer},
    },
    error::Error,
};

/// Gives a client tokens, for a code or for a refresh token.
pub(super) async fn give(State(shared): State<Shared>, asked: Asked, body: Body) -> Response {
    let form = match Form::read(&asked.headers, body).await {
        Ok(form) => form,
        Err(unreadable) => {
            let answer = json!({"error": unreadable.to_string()});
            return json_answer(unreadable.status(), &answer);
        }
    };
    match granted(&shared, &asked, &form).await {
        Ok(granted) => json_answer(StatusCode::OK, &answer(&granted)),
        // The texts are those that compatible clients know.
        Err(Error::Grant(refused)) => json_answer(
            StatusCode::BAD_REQUEST,
            &json!({"error": refused.to_string()}),
        ),
        Err(error) => {
            let failed = json_api::Error::from(error);
            json_answer(failed.status(), &json!({"error": failed.code()}))
        }
    }
}

async fn granted(shared: &Shared, asked: &Asked, form: &Form) -> Result<Granted, Error> {
    let required = |name: &'static str| match form.get(name) {
        "" => Err(Refused::Missing(name)),
        given => Ok(given),
    };
    let grant_type = required("grant_type")?;
    let credentials = Credentials {
        client_id: required("client_id")?,
        client_secret: form.get("client_secret"),
    };
    let instance = shared.store.instance(&asked.tenant.id).await?;
    let instance = instance.ok_or_else(|| Error::NoSuchInstance(asked.tenant.domain.clone()))?;
    let oauth = shared.oauth(&asked.tenant.id, &instance.body);
    match grant_type {
        "authorization_code" => {
            let redeemed = Redeemed {
                client_id: credentials.client_id,
                code_verifier: form.get("code_verifier"),
                redirect_uri: form.get("redirect_uri"),
            };
            oauth.redeem(credentials, form.get("code"), redeemed).await
        }
        "refresh_token" => oauth.refresh(credentials, form.get("refresh_token")).await,
        _ => Err(Refused::GrantType.into()),
    }
}

fn answer(granted: &Granted) -> Value {
    let mut answer = json!({
        "token_type": "bearer", "scope": granted.scope, "access_token": granted.access.expose()
    });
    if let Some(refresh) = &granted.refresh
        && let Value::Object(answer) = &mut answer
    {
        answer.insert("refresh_token".to_owned(), refresh.expose().into());
    }
    answer
}
