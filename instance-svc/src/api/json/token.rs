//! `POST /instances/token`.

use std::time::Duration;

use axum::extract::State;
use hamlet_proto::hamlet::instance::v1::{
    CreateTokenRequest, create_token_request::Audience,
    instance_service_server::InstanceService as _,
};
use http::StatusCode;
use serde::Deserialize;
use service_kit::json_api::{Administrator, Error, Query, query::text};
use utoipa::IntoParams;

use super::{parameters::refusal, show::resource_name};
use crate::api::{Shared, instances::Instances};

/// The parameters of a token.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, rename_all = "PascalCase")]
#[into_params(parameter_in = Query)]
pub(super) struct TokenParameters {
    /// The domain of the instance, or an alias.
    #[serde(deserialize_with = "text")]
    domain: Option<String>,
    /// Who may use it: `app`, `webapp`, `konn`, `konnector`, `access`, `access-token`, `refresh`, `refresh-token` or
    /// `cli`.
    #[serde(deserialize_with = "text")]
    audience: Option<String>,
    /// The permissions, separated by spaces.
    #[serde(deserialize_with = "text")]
    scope: Option<String>,
    /// The slug of the app, or the id of the OAuth client.
    #[serde(deserialize_with = "text")]
    subject: Option<String>,
    /// How long it is valid, such as `30m`; `0s` for the default.
    #[serde(deserialize_with = "text")]
    expire: Option<String>,
}

fn audience(name: &str) -> Option<Audience> {
    match name {
        "app" | "webapp" => Some(Audience::App),
        "konn" | "konnector" => Some(Audience::Konnector),
        "access" | "access-token" => Some(Audience::Access),
        "refresh" | "refresh-token" => Some(Audience::Refresh),
        "cli" => Some(Audience::Cli),
        _ => None,
    }
}

/// Reads a time as compatible clients write it: numbers with units, from `ns` to `h`, as in `24h0m0s`. `None` when it is
/// none, or negative.
pub(super) fn go_duration(given: &str) -> Option<Duration> {
    let mut rest = given.strip_prefix('+').unwrap_or(given);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut whole = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|it: char| !it.is_ascii_digit() && it != '.')?;
        let (number, after) = rest.split_at_checked(digits)?;
        let end = after
            .find(|it: char| it.is_ascii_digit() || it == '.')
            .unwrap_or(after.len());
        let (unit, next) = after.split_at_checked(end)?;
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        whole = whole.checked_add(part)?;
        rest = next;
    }
    Some(whole)
}

impl TokenParameters {
    fn request(self) -> Result<CreateTokenRequest, Error> {
        let name = resource_name(&self.domain.unwrap_or_default())?;
        let named = self.audience.unwrap_or_default();
        let audience = audience(&named).ok_or_else(|| {
            Error::new(
                StatusCode::BAD_REQUEST,
                "INVALID_FIELD",
                format!("{named:?} is no audience; use app, konn, access, refresh or cli"),
            )
            .because_of("Audience")
        })?;
        let life = match self.expire {
            None => Duration::ZERO,
            Some(given) => go_duration(&given).ok_or_else(|| {
                Error::parameter("Expire", format!("{given:?} is no time such as 30m"))
            })?,
        };
        // The command line names itself, which says nothing.
        let subject = match audience {
            Audience::Cli => String::new(),
            _ => self.subject.unwrap_or_default(),
        };
        let scope = self.scope.unwrap_or_default();
        let scopes = scope.split_whitespace().map(str::to_owned).collect();
        let lifetime = if life.is_zero() {
            None
        } else {
            let life = prost_types::Duration::try_from(life);
            Some(life.map_err(|_| Error::parameter("Expire", "is too long"))?)
        };
        Ok(CreateTokenRequest {
            name,
            audience: audience.into(),
            subject,
            scopes,
            lifetime,
        })
    }
}

/// Makes a token with which a program may call an instance.
#[utoipa::path(
    post,
    path = "/instances/token",
    operation_id = "create_token",
    tag = "instances",
    params(TokenParameters),
    responses(
        (status = 200, description = "The token", body = String, content_type = "text/plain"),
    )
)]
pub(super) async fn create(
    State(shared): State<Shared>,
    Administrator(caller): Administrator,
    Query(parameters): Query<TokenParameters>,
) -> Result<String, Error> {
    let request = parameters.request()?;
    let token = Instances(shared)
        .create_token(caller.call(request))
        .await
        .map_err(refusal)?;
    Ok(token.into_inner().token)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::go_duration;

    #[test]
    fn times_are_read_as_compatible_clients_write_them() {
        for (text, seconds) in [
            ("24h0m0s", Some(86_400.0)),
            ("1h30m", Some(5400.0)),
            ("1.5s", Some(1.5)),
            ("250ms", Some(0.25)),
            ("0s", Some(0.0)),
            ("0", Some(0.0)),
            ("10", None),
            ("", None),
            ("x", None),
            ("-1s", None),
            ("1d", None),
            ("1.2.3s", None),
            ("999999999999999999999h", None),
        ] {
            let expected = seconds.map(Duration::from_secs_f64);
            assert_eq!(go_duration(text), expected, "{text}");
        }
    }
}
