//! A request, read and taken apart.

use bytes::Bytes;
use http::{HeaderMap, Method, header};

use crate::{failure::Failure, json::Json, storage::revtree::Rev};

/// A request whose body has arrived.
pub(crate) struct Call {
    pub(crate) method: Method,
    /// The segments of the path, decoded.
    pub(crate) path: Vec<String>,
    /// The path as it was sent.
    pub(crate) raw_path: String,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn segments(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }

    pub(crate) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Refuses a body that does not say it is JSON.
    pub(crate) fn demand_json(&self) -> Result<(), Failure> {
        let kind = self.header(header::CONTENT_TYPE).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if kind.eq_ignore_ascii_case("application/json") {
            Ok(())
        } else {
            Err(Failure::bad_content_type(
                "Content-Type must be application/json",
            ))
        }
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Result<Json, Failure> {
        Json::parse(&self.body).map_err(|_| Failure::bad_json())
    }

    /// The body as a JSON object.
    pub(crate) fn json_object(&self) -> Result<Json, Failure> {
        let json = self.json()?;
        if json.as_obj().is_some() {
            Ok(json)
        } else {
            Err(Failure::bad_request("Request body must be a JSON object"))
        }
    }

    /// Where this server is, as the client calls it.
    pub(crate) fn base(&self) -> String {
        format!(
            "http://{}",
            self.header(header::HOST).unwrap_or("127.0.0.1")
        )
    }

    /// The revision named by `If-Match`.
    pub(crate) fn if_match(&self) -> Option<&str> {
        self.header(header::IF_MATCH)
            .map(|value| value.trim().trim_matches('"'))
    }

    /// The revision named by the query or by `If-Match`.
    pub(crate) fn named_rev(&self) -> Result<Option<Rev>, Failure> {
        let query = self.query.get("rev");
        let matched = self.if_match();
        match (query, matched) {
            (Some(query), Some(matched)) if query != matched => Err(Failure::bad_request(
                "Document rev and etag have different values",
            )),
            (Some(rev), _) | (None, Some(rev)) => Rev::parse(rev).map(Some),
            (None, None) => Ok(None),
        }
    }
}

/// Decodes one segment of a path or a part of a form, in which `+` is a space.
pub(crate) fn decode(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    let bytes: Vec<u8> = percent_encoding::percent_decode_str(&spaced).collect();
    String::from_utf8(bytes).ok()
}

/// The query's parameters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let invalid = || Failure::bad_request("invalid UTF-8 in the query");
        text.split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                Ok((
                    decode(key).ok_or_else(invalid)?,
                    decode(value).ok_or_else(invalid)?,
                ))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    pub(crate) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    pub(crate) fn push(&mut self, key: &str, value: String) {
        self.0.push((key.to_owned(), value));
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|(k, _)| k == key)
            .map(|(_, v)| v.as_str())
    }

    /// A switch: `true` or `false`.
    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, Failure> {
        match self.get(key) {
            None => Ok(None),
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(text) => Err(Failure::query(format!(
                "Invalid boolean parameter: {text:?}"
            ))),
        }
    }

    /// A switch that is off unless given.
    pub(crate) fn on(&self, key: &str) -> Result<bool, Failure> {
        Ok(self.flag(key)?.unwrap_or(false))
    }

    /// A number from zero.
    pub(crate) fn count(&self, key: &str) -> Result<Option<i64>, Failure> {
        let Some(text) = self.get(key) else {
            return Ok(None);
        };
        match text.parse::<i64>() {
            Ok(n) if n >= 0 => Ok(Some(n)),
            Ok(_) => Err(Failure::query(format!(
                "Invalid value for positive integer: {text:?}"
            ))),
            Err(_) => Err(Failure::query(format!(
                "Invalid value for integer: {text:?}"
            ))),
        }
    }

    /// A JSON value under one of its names.
    pub(crate) fn json(&self, names: &[&str]) -> Result<Option<Json>, Failure> {
        match names.iter().find_map(|name| self.get(name)) {
            None => Ok(None),
            Some(text) => Json::parse(text.as_bytes())
                .map(Some)
                .map_err(|_| Failure::bad_json()),
        }
    }
}
