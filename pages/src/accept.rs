//! Content negotiation: media type and language.

use ::http::{HeaderMap, HeaderName, header};

/// A media type in which a request can be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaType {
    /// JSON.
    Json,
    /// A document of JSON:API.
    JsonApi,
    /// A page.
    Html,
    /// Plain text.
    Text,
}

impl MediaType {
    /// The header's value.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::JsonApi => "application/vnd.api+json",
            Self::Html => "text/html; charset=utf-8",
            Self::Text => "text/plain; charset=utf-8",
        }
    }
}

/// The order decides between equal qualities: programs send `*/*`, browsers name HTML.
const MEDIA_TYPES: [(MediaType, &str, &str); 4] = [
    (MediaType::Json, "application", "json"),
    (MediaType::JsonApi, "application", "vnd.api+json"),
    (MediaType::Html, "text", "html"),
    (MediaType::Text, "text", "plain"),
];

/// The media type that `Accept` prefers; `otherwise` when it is absent or accepts none.
#[must_use]
pub fn media_type(headers: &HeaderMap, otherwise: MediaType) -> MediaType {
    let items = items(headers, &header::ACCEPT);
    let quality = |kind: &str, subtype: &str| {
        let mut best = (0, 0.0);
        for (range, quality) in &items {
            let specific = match range.split_once('/') {
                Some((k, s)) if k == kind && s == subtype => 3,
                Some((k, "*")) if k == kind => 2,
                Some(("*", "*")) => 1,
                _ => continue,
            };
            if specific > best.0 {
                best = (specific, *quality);
            }
        }
        best.1
    };
    let mut chosen = (otherwise, 0.0);
    for (media_type, kind, subtype) in MEDIA_TYPES {
        let quality = quality(kind, subtype);
        if quality > chosen.1 {
            chosen = (media_type, quality);
        }
    }
    chosen.0
}

/// The language among `known` that `Accept-Language` prefers; `fr-CA` also matches `fr`.
pub fn language(headers: &HeaderMap, known: impl Fn(&str) -> bool) -> Option<String> {
    let mut chosen: Option<(String, f32)> = None;
    for (range, quality) in items(headers, &header::ACCEPT_LANGUAGE) {
        let primary = range.split('-').next().unwrap_or_default();
        if known(primary) && quality > chosen.as_ref().map_or(0.0, |(_, best)| *best) {
            chosen = Some((primary.to_owned(), quality));
        }
    }
    chosen.map(|(language, _)| language)
}

/// The items of a header with their `q`, in lower case.
fn items(headers: &HeaderMap, name: &HeaderName) -> Vec<(String, f32)> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        // A bound on the work for one header; no real client sends more.
        .take(64)
        .filter_map(|item| {
            let mut parts = item.split(';').map(str::trim);
            let range = parts.next().filter(|range| !range.is_empty())?;
            let quality = parts
                .find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
                .map_or(Some(1.0), |quality| quality.trim().parse::<f32>().ok())?;
            (0.0..=1.0)
                .contains(&quality)
                .then(|| (range.to_ascii_lowercase(), quality))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use http::HeaderMap;

    use super::{MediaType, language, media_type};

    fn accept(value: &str) -> MediaType {
        let mut headers = HeaderMap::new();
        headers.insert("accept", value.parse().unwrap());
        media_type(&headers, MediaType::Text)
    }

    #[test]
    fn browsers_get_pages_and_programs_get_json() {
        assert_eq!(
            accept("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            MediaType::Html
        );
        assert_eq!(accept("*/*"), MediaType::Json);
        assert_eq!(accept("application/vnd.api+json"), MediaType::JsonApi);
        assert_eq!(accept("text/*"), MediaType::Html);
        assert_eq!(
            accept("text/html;q=0.1, application/json;q=0.2"),
            MediaType::Json
        );
        assert_eq!(accept("application/json;q=0, */*"), MediaType::JsonApi);
        assert_eq!(accept("image/png"), MediaType::Text);
        assert_eq!(accept(",,;q=x,"), MediaType::Text);
    }

    #[test]
    fn the_preferred_language_is_chosen() {
        let choose = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("accept-language", value.parse().unwrap());
            language(&headers, |language| ["en", "fr", "de"].contains(&language))
        };
        assert_eq!(choose("fr-CA, en;q=0.5").unwrap(), "fr");
        assert_eq!(choose("zh, de;q=0.3, en;q=0.4").unwrap(), "en");
        assert_eq!(choose("zh, *"), None);
        assert_eq!(choose("de;q=0"), None);
    }
}
