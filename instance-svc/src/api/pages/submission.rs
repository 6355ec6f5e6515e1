//! The body that sets a passphrase: a form or JSON, with the fields of the compatible API.

use std::time::Duration;

use axum::{body::Body, http::HeaderMap};
use hamlet_proto::hamlet::instance::v1::RegisterPassphraseRequest;
use http::{StatusCode, header::CONTENT_TYPE};
use serde::{Deserialize, de::DeserializeOwned};

use crate::actions::register_passphrase::Link;

/// The longest body, in bytes. Real ones are shorter than 10 000.
const LONGEST: usize = 64 * 1024;
/// How long the body may take to arrive.
const WITHIN: Duration = Duration::from_secs(30);

/// The fields of the body. It has no `Debug`, because most of them are secret.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::api) struct Submission {
    register_token: String,
    passphrase_reset_token: String,
    pub(in crate::api) passphrase: String,
    pub(in crate::api) iterations: i32,
    key: String,
    public_key: String,
    private_key: String,
    pub(in crate::api) hint: String,
    /// Where to go afterwards: a place in an app.
    pub(in crate::api) redirection: String,
}

/// Why a body cannot be read. The messages never repeat its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::api) enum Unreadable {
    #[error("the body is longer than {LONGEST} bytes")]
    Length,
    #[error("the body did not arrive in time")]
    Time,
    #[error("the body broke off")]
    Broken,
    #[error("the body has to be application/x-www-form-urlencoded or application/json")]
    Type,
    #[error("the body is not UTF-8")]
    Encoding,
    #[error("the body is not a JSON object with the expected types")]
    Json,
    #[error("iterations is not a number")]
    Iterations,
}

impl Unreadable {
    /// The status of its refusal.
    pub(in crate::api) const fn status(self) -> StatusCode {
        match self {
            Self::Length => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Time => StatusCode::REQUEST_TIMEOUT,
            Self::Type => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Broken | Self::Encoding | Self::Json | Self::Iterations => {
                StatusCode::BAD_REQUEST
            }
        }
    }
}

impl Submission {
    pub(in crate::api) async fn read(headers: &HeaderMap, body: Body) -> Result<Self, Unreadable> {
        let is_json = is_json(headers).ok_or(Unreadable::Type)?;
        let body = collect(body).await?;
        if is_json {
            from_json(&body)
        } else {
            Self::from_form(&body)
        }
    }

    fn from_form(body: &[u8]) -> Result<Self, Unreadable> {
        let mut read = Self::default();
        for (name, value) in Form::parse(body)?.0 {
            match name.as_str() {
                "register_token" => read.register_token = value,
                "passphrase_reset_token" => read.passphrase_reset_token = value,
                "passphrase" => read.passphrase = value,
                "iterations" if value.is_empty() => read.iterations = 0,
                "iterations" => {
                    read.iterations = value.parse().map_err(|_| Unreadable::Iterations)?;
                }
                "key" => read.key = value,
                "public_key" => read.public_key = value,
                "private_key" => read.private_key = value,
                "hint" => read.hint = value,
                "redirection" => read.redirection = value,
                // Existing clients send further fields, which have no meaning here.
                _ => {}
            }
        }
        Ok(read)
    }

    /// Whether the hint is the passphrase itself.
    pub(in crate::api) fn repeats_passphrase(&self) -> bool {
        !self.hint.is_empty() && self.hint == self.passphrase
    }

    /// The token of the link.
    pub(in crate::api) fn token(&self, link: Link) -> &str {
        match link {
            Link::Register => &self.register_token,
            Link::Reset => &self.passphrase_reset_token,
        }
    }

    pub(in crate::api) fn message(&self, link: Link) -> RegisterPassphraseRequest {
        RegisterPassphraseRequest {
            register_token: self.token(link).to_owned(),
            passphrase: self.passphrase.clone(),
            iterations: self.iterations,
            key: self.key.clone(),
            public_key: self.public_key.clone(),
            private_key: self.private_key.clone(),
            hint: self.hint.clone(),
        }
    }
}

/// Reads JSON, which has to be an object.
pub(in crate::api) fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Unreadable> {
    // A list would be taken for the fields in their order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Unreadable::Json);
    }
    // The parser's message could contain the passphrase.
    serde_json::from_slice(body).map_err(|_| Unreadable::Json)
}

/// The fields of a form, the first of each name.
pub(in crate::api) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads a form.
    pub(in crate::api) async fn read(headers: &HeaderMap, body: Body) -> Result<Self, Unreadable> {
        if is_json(headers) == Some(true) {
            return Err(Unreadable::Type);
        }
        Self::parse(&collect(body).await?)
    }

    fn parse(body: &[u8]) -> Result<Self, Unreadable> {
        // The parser would replace invalid UTF-8, which would be another passphrase than was typed.
        percent_encoding::percent_decode(body)
            .decode_utf8()
            .map_err(|_| Unreadable::Encoding)?;
        let pairs = url::form_urlencoded::parse(body);
        let pairs = pairs.map(|(name, value)| (name.into_owned(), value.into_owned()));
        Ok(Self(pairs.collect()))
    }

    /// The value of a field; empty when there is none.
    pub(in crate::api) fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(of, _)| of == name);
        found.map_or("", |(_, value)| value)
    }

    /// Whether a box was ticked.
    pub(in crate::api) fn is_ticked(&self, name: &str) -> bool {
        matches!(
            self.get(name),
            "1" | "t" | "T" | "true" | "TRUE" | "True" | "on"
        )
    }
}

/// Reads a body into one buffer.
pub(in crate::api) async fn collect(body: Body) -> Result<Vec<u8>, Unreadable> {
    let read = axum::body::to_bytes(body, LONGEST);
    let read = tokio::time::timeout(WITHIN, read)
        .await
        .map_err(|_late| Unreadable::Time)?;
    match read {
        Ok(body) => Ok(body.into()),
        Err(error) if is_too_long(&error) => Err(Unreadable::Length),
        Err(_) => Err(Unreadable::Broken),
    }
}

fn is_too_long(error: &axum::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Whether the body is JSON, or a form; `None` when it is neither.
pub(in crate::api) fn is_json(headers: &HeaderMap) -> Option<bool> {
    let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") {
        Some(true)
    } else if kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use super::{Submission, Unreadable};

    #[test]
    fn a_form_is_decoded() {
        let body =
            b"register_token=00ff&passphrase=caf%C3%A9+%2B&iterations=650000&key=0.a%3D%7Cb&hint=h&from=x";
        let read = Submission::from_form(body).unwrap_or_default();
        assert_eq!(read.register_token, "00ff");
        assert_eq!(read.passphrase, "café +");
        assert_eq!(read.iterations, 650_000);
        assert_eq!(read.key, "0.a=|b");
        assert_eq!(read.hint, "h");
        assert!(Submission::from_form(b"").is_ok());
    }

    #[test]
    fn invalid_values_are_refused() {
        for (body, why) in [
            (&b"passphrase=%FF"[..], Unreadable::Encoding),
            (b"passphrase=\xff", Unreadable::Encoding),
            (b"iterations=abc", Unreadable::Iterations),
            (b"iterations=1e5", Unreadable::Iterations),
            (b"iterations=99999999999", Unreadable::Iterations),
        ] {
            assert_eq!(Submission::from_form(body).err(), Some(why));
        }
    }

    #[test]
    fn json_may_omit_fields_but_not_change_their_types() {
        let read: Submission = serde_json::from_str(
            r#"{"register_token":"00ff","passphrase":"x","iterations":0,"redirection":"home/"}"#,
        )
        .unwrap();
        assert_eq!(read.passphrase, "x");
        for wrong in ["{", r#"{"iterations":"x"}"#, r#"{"passphrase":1}"#] {
            assert!(
                serde_json::from_str::<Submission>(wrong).is_err(),
                "{wrong}"
            );
        }
    }
}
