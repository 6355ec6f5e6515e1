//! A parsed request.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Method, header};

use super::{auth::Caller, receiving::Held};
use crate::{
    api_error::ApiError,
    json::Json,
    storage::{attachment_data::unpack, revtree::Rev},
};

/// A request, with its complete body once that is received.
#[derive(Clone)]
pub(crate) struct ApiRequest {
    pub(crate) method: Method,
    /// The decoded segments of the path.
    pub(crate) path: Vec<String>,
    /// The path as it was sent.
    pub(crate) raw_path: String,
    /// The query string as it was sent.
    pub(crate) raw_query: String,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) peer: IpAddr,
    /// Who sent it, once that is known.
    pub(crate) caller: Caller,
    /// The body as it was sent, perhaps compressed.
    pub(crate) sent_body: Bytes,
    /// The memory that the body takes.
    pub(crate) held: Arc<Held>,
}

impl ApiRequest {
    pub(crate) fn segments(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }

    pub(crate) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether the client lists this type in `Accept`.
    pub(crate) fn accepts(&self, kind: &str) -> bool {
        self.header(header::ACCEPT).is_some_and(|accepted| {
            accepted
                .split(',')
                .any(|entry| entry.split(';').next().unwrap_or_default().trim() == kind)
        })
    }

    /// Whether the client takes a compressed response (RFC 9110, section 12.5.3).
    pub(crate) fn takes_gzip(&self) -> bool {
        let accepted = self.header(header::ACCEPT_ENCODING).unwrap_or_default();
        let weight = |coding: &str| {
            accepted.split(',').find_map(|entry| {
                let mut parts = entry.split(';').map(str::trim);
                let is_it = parts.next()?.eq_ignore_ascii_case(coding);
                let weight = parts.find_map(|part| part.strip_prefix("q="));
                is_it.then(|| weight.map_or(1.0, |weight| weight.parse::<f32>().unwrap_or(0.0)))
            })
        };
        weight("gzip").or_else(|| weight("*")).unwrap_or(0.0) > 0.0
    }

    /// Whether the client has what `etag` (in quotes) stands for.
    pub(crate) fn has_seen(&self, etag: &str) -> bool {
        self.header(header::IF_NONE_MATCH).is_some_and(|seen| {
            seen.split(',').any(|one| {
                let one = one.trim();
                one.strip_prefix("W/").unwrap_or(one) == etag
            })
        })
    }

    /// The URL of a path below this server.
    pub(crate) fn location(&self, segments: &[&str]) -> String {
        /// What stands for itself in a segment, as CouchDB writes it.
        const SEGMENT: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
            .remove(b'-')
            .remove(b':')
            .remove(b'.')
            .remove(b'_');
        let mut url = self.base();
        for segment in segments {
            url.push('/');
            url.extend(percent_encoding::utf8_percent_encode(segment, SEGMENT));
        }
        url
    }

    /// Refuses a body whose content type is not JSON.
    pub(crate) fn demand_json(&self) -> Result<(), ApiError> {
        let kind = self.header(header::CONTENT_TYPE).unwrap_or_default();
        // CouchDB takes it only as it is usually written.
        if kind.split(';').next() == Some("application/json") {
            Ok(())
        } else {
            Err(ApiError::bad_content_type(
                "Content-Type must be application/json",
            ))
        }
    }

    /// The request with the parameters of a feed: their names are in lower case, and the last of two with one name
    /// counts, unless the first has switched something on.
    pub(crate) fn with_parameters_of_feed(&self) -> Self {
        const SWITCHES: [&str; 4] = ["attachments", "conflicts", "descending", "include_docs"];
        let mut read: Vec<(String, String)> = Vec::new();
        for (name, value) in self.query.pairs() {
            let name = name.to_ascii_lowercase();
            match read.iter_mut().find(|(before, _)| *before == name) {
                Some((_, before)) if SWITCHES.contains(&name.as_str()) && before == "true" => {}
                Some((_, before)) => before.clone_from(value),
                None => read.push((name, value.clone())),
            }
        }
        Self {
            query: Query(read),
            ..self.clone()
        }
    }

    /// The body, uncompressed.
    ///
    /// # Errors
    /// 415 for an unknown encoding, 400 for a body that is not encoded so, 413 for one that becomes too large.
    pub(crate) fn body(&self) -> Result<Cow<'_, [u8]>, ApiError> {
        // As CouchDB, this takes the names in lower case only.
        match self.header(header::CONTENT_ENCODING) {
            None | Some("identity") => Ok(Cow::Borrowed(&self.sent_body)),
            Some("gzip") => {
                unpack(&self.sent_body, "Request body is not properly gzipped.").map(Cow::Owned)
            }
            Some(other) => Err(ApiError::bad_content_type(format!(
                "{other} is not a supported content encoding."
            ))),
        }
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Result<Json, ApiError> {
        Json::parse(&self.body()?).map_err(|_| ApiError::bad_json())
    }

    /// The body as a JSON object.
    pub(crate) fn json_object(&self) -> Result<Json, ApiError> {
        let json = self.json()?;
        if json.as_obj().is_some() {
            Ok(json)
        } else {
            Err(ApiError::bad_request("Request body must be a JSON object"))
        }
    }

    /// The base URL of this server, with the host that the client sent, perhaps to a proxy.
    pub(crate) fn base(&self) -> String {
        let forwarded = |name| self.header(header::HeaderName::from_static(name));
        let is_secure = forwarded("x-forwarded-ssl") == Some("on")
            || forwarded("x-forwarded-proto") == Some("https");
        let scheme = if is_secure { "https" } else { "http" };
        let host = forwarded("x-forwarded-host").or_else(|| self.header(header::HOST));
        format!("{scheme}://{}", host.unwrap_or("127.0.0.1"))
    }

    /// Whether more copies of a write are asked for than the only node can make. CouchDB then writes all the same, and
    /// answers 202.
    ///
    /// # Errors
    /// 400 for what is no number.
    pub(crate) fn wants_more_copies(&self) -> Result<bool, ApiError> {
        Self::number_of_nodes("w", self.query.get("w")).map(|w| w > 1)
    }

    /// Refuses a number of copies to read that is none.
    pub(crate) fn check_reads(&self) -> Result<(), ApiError> {
        Self::number_of_nodes("r", self.query.last_of(&["r"])).map(|_| ())
    }

    fn number_of_nodes(parameter: &str, value: Option<&str>) -> Result<i64, ApiError> {
        match value.map(str::parse) {
            None => Ok(1),
            Some(Ok(number)) => Ok(number),
            Some(Err(_)) => Err(ApiError::bad_request(format!(
                "`{parameter}` must be an integer"
            ))),
        }
    }

    /// The revision named by `If-Match`.
    pub(crate) fn if_match(&self) -> Option<&str> {
        self.header(header::IF_MATCH)
            .map(|value| value.trim().trim_matches('"'))
    }

    /// The revision named by the query or by `If-Match`.
    pub(crate) fn named_rev(&self) -> Result<Option<Rev>, ApiError> {
        let query = self.query.rev()?;
        let matched = self.if_match().map(Rev::parse).transpose()?;
        if let (Some(query), Some(matched)) = (&query, &matched)
            && query != matched
        {
            return Err(ApiError::bad_request(
                "Document rev and etag have different values",
            ));
        }
        Ok(query.or(matched))
    }
}

/// Percent-decodes a segment of a path or a part of a form. `+` stands for a space. `None` when a percent sign has no two
/// hexadecimal digits after it, or the bytes are no UTF-8.
pub(crate) fn decode(text: &str) -> Option<String> {
    let is_digit = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_hexdigit());
    let mut after_signs = text.split('%').skip(1).map(str::bytes);
    if !after_signs.all(|mut after| is_digit(after.next()) && is_digit(after.next())) {
        return None;
    }
    let spaced = text.replace('+', " ");
    let bytes: Vec<u8> = percent_encoding::percent_decode_str(&spaced).collect();
    String::from_utf8(bytes).ok()
}

/// The parameters of the query string.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        let invalid = || ApiError::bad_request("invalid_url_encoding");
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

    /// The value of a parameter; the first one if it is repeated, as CouchDB reads most.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let mut pairs = self.0.iter();
        pairs
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// The revision that the query names. CouchDB reads all that are given, and takes the last.
    pub(crate) fn rev(&self) -> Result<Option<Rev>, ApiError> {
        let named = self.0.iter().filter(|(name, _)| name == "rev");
        named
            .map(|(_, rev)| Rev::parse(rev))
            .try_fold(None, |_, rev| rev.map(Some))
    }

    /// Whether a parameter is `true`, perhaps among other values. CouchDB reads those of documents and feeds so.
    pub(crate) fn is_on(&self, key: &str) -> bool {
        self.0
            .iter()
            .any(|(name, value)| name == key && value == "true")
    }

    /// The value of the last parameter with one of these names.
    pub(crate) fn last_of(&self, names: &[&str]) -> Option<&str> {
        let mut pairs = self.0.iter().rev();
        pairs
            .find(|(name, _)| names.contains(&name.as_str()))
            .map(|(_, value)| value.as_str())
    }

    /// A non-negative number.
    pub(crate) fn count(&self, key: &str) -> Result<Option<i64>, ApiError> {
        let Some(text) = self.get(key) else {
            return Ok(None);
        };
        match text.parse::<i64>() {
            Ok(n) if n >= 0 => Ok(Some(n)),
            Ok(_) => Err(ApiError::query(format!(
                "Invalid value for positive integer: {text:?}"
            ))),
            Err(_) => Err(ApiError::query(format!(
                "Invalid value for integer: {text:?}"
            ))),
        }
    }

    /// A JSON parameter, under the first of `names` that is given.
    pub(crate) fn json(&self, names: &[&str]) -> Result<Option<Json>, ApiError> {
        match names.iter().find_map(|name| self.get(name)) {
            None => Ok(None),
            Some(text) => Json::parse(text.as_bytes())
                .map(Some)
                .map_err(|_| ApiError::bad_json()),
        }
    }
}
