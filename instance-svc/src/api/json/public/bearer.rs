//! Who sends a request to an instance.

use axum::{
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use hamlet_proto::hamlet::instance::v1::Tenant;
use http::{HeaderValue, header::WWW_AUTHENTICATE, request::Parts};
use service_kit::{caller::Caller, json_api};
use tonic::Status;

use crate::{
    actions::{
        authenticate::{ProvenWith, cookie_name},
        check_token::{self, check_token},
    },
    api::{Shared, json::parameters::refused, pages::cookies_named, strangers::token_in},
    domain::bearer::Refused,
    error::Error,
    messages,
};

/// The bearer of a token, and the instance that the request is for.
#[derive(Debug)]
pub(super) struct Bearer {
    pub(super) tenant: Tenant,
    pub(super) token: check_token::Bearer,
}

/// A refusal. It says which authentication is wanted where that is the reason.
#[derive(Debug)]
pub(super) struct Refusal(Error);

impl Refusal {
    /// Whether nothing was wrong but that there was no token.
    pub(super) const fn is_missing(&self) -> bool {
        matches!(self.0, Error::Token(Refused::Missing))
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self(Error::Service(status))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let wanted = match &self.0 {
            Error::Token(Refused::Missing) => Some("Bearer"),
            Error::Token(Refused::Wrong) => Some(r#"Bearer error="invalid_token""#),
            Error::Token(Refused::Expired) => {
                Some(r#"Bearer error="invalid_token" error_description="The access token expired""#)
            }
            Error::Token(Refused::Scope) => Some(r#"Bearer error="insufficient_scope""#),
            _ => None,
        };
        let mut response = match self.0 {
            // It is for the caller, as the service put it.
            Error::Service(status) => json_api::Error::from(status).into_response(),
            error => refused(error).into_response(),
        };
        if let Some(wanted) = wanted {
            let headers = response.headers_mut();
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(wanted));
        }
        response
    }
}

impl FromRequestParts<Shared> for Bearer {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Refusal> {
        let caller = parts
            .extensions
            .get::<Caller>()
            .ok_or_else(|| Status::internal("the routes were served without authentication"))?;
        let tenant = caller.tenant()?.clone();
        let who = caller.identity().and_then(messages::who);
        // The session of the browser is no token: what it opens are pages.
        let who = who.filter(|who| who.proven_with != ProvenWith::Session);
        // What proves nothing to the gateway says here why.
        let token = token_in(&parts.headers, &parts.uri);
        let document = match (&who, &token) {
            (None, Some(_)) => shared
                .store
                .instance(&tenant.id)
                .await
                .map_err(Error::from)?,
            _ => None,
        };
        let cookie = document.and_then(|found| {
            let name = cookie_name(&shared.contexts, &found.body);
            cookies_named(&parts.headers, &name)
                .next()
                .map(str::to_owned)
        });
        let token = check_token(
            shared.authentication(),
            &tenant,
            who,
            token.as_deref(),
            cookie.as_deref().unwrap_or_default(),
        )
        .await?;
        Ok(Self { tenant, token })
    }
}
