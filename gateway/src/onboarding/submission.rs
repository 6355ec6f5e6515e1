//! The body that sets a passphrase: a form or JSON, with the fields of the compatible API.

use std::time::Duration;

use hamlet_proto::hamlet::instance::v1::RegisterPassphraseRequest;
use http::{HeaderMap, Request, header::CONTENT_TYPE};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use serde::Deserialize;

/// The longest body, in bytes. Real ones are shorter than 10 000.
const LONGEST: usize = 64 * 1024;
/// How long the body may take to arrive.
const WITHIN: Duration = Duration::from_secs(30);

/// The fields of the body. It has no `Debug`, because most of them are secret.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Submission {
    pub(super) register_token: String,
    pub(super) passphrase: String,
    pub(super) iterations: i32,
    key: String,
    public_key: String,
    private_key: String,
    pub(super) hint: String,
}

/// Why a body cannot be read. The messages never repeat its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
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

impl Submission {
    pub(super) async fn read(request: Request<Incoming>) -> Result<Self, Unreadable> {
        let (head, body) = request.into_parts();
        let is_json = is_json(&head.headers).ok_or(Unreadable::Type)?;
        let body = tokio::time::timeout(WITHIN, collect(body))
            .await
            .map_err(|_late| Unreadable::Time)??;
        if is_json {
            // A list would be taken for the fields in their order.
            if body.trim_ascii_start().first() != Some(&b'{') {
                return Err(Unreadable::Json);
            }
            // The parser's message could contain the passphrase.
            serde_json::from_slice(&body).map_err(|_| Unreadable::Json)
        } else {
            Self::from_form(&body)
        }
    }

    fn from_form(body: &[u8]) -> Result<Self, Unreadable> {
        // The parser would replace invalid UTF-8, which would set another passphrase than was typed.
        percent_encoding::percent_decode(body)
            .decode_utf8()
            .map_err(|_| Unreadable::Encoding)?;
        let mut read = Self::default();
        for (name, value) in url::form_urlencoded::parse(body) {
            let value = value.into_owned();
            match name.as_ref() {
                "register_token" => read.register_token = value,
                "passphrase" => read.passphrase = value,
                "iterations" if value.is_empty() => read.iterations = 0,
                "iterations" => {
                    read.iterations = value.parse().map_err(|_| Unreadable::Iterations)?;
                }
                "key" => read.key = value,
                "public_key" => read.public_key = value,
                "private_key" => read.private_key = value,
                "hint" => read.hint = value,
                // Existing clients send further fields, which have no meaning here.
                _ => {}
            }
        }
        Ok(read)
    }

    /// Whether the hint is the passphrase itself.
    pub(super) fn repeats_passphrase(&self) -> bool {
        !self.hint.is_empty() && self.hint == self.passphrase
    }

    pub(super) fn message(&self) -> RegisterPassphraseRequest {
        RegisterPassphraseRequest {
            register_token: self.register_token.clone(),
            passphrase: self.passphrase.clone(),
            iterations: self.iterations,
            key: self.key.clone(),
            public_key: self.public_key.clone(),
            private_key: self.private_key.clone(),
            hint: self.hint.clone(),
        }
    }
}

/// Reads a body into one buffer. Its pieces are copied: each would keep the whole buffer of its connection.
async fn collect(mut body: Incoming) -> Result<Vec<u8>, Unreadable> {
    if body.size_hint().lower() > LONGEST as u64 {
        return Err(Unreadable::Length);
    }
    let mut collected = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Unreadable::Broken)?;
        if let Some(data) = frame.data_ref() {
            if collected.len() + data.len() > LONGEST {
                return Err(Unreadable::Length);
            }
            collected.extend_from_slice(data);
        }
    }
    Ok(collected)
}

/// Whether the body is JSON, or a form; `None` when it is neither.
fn is_json(headers: &HeaderMap) -> Option<bool> {
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
