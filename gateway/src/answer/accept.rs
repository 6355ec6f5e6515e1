//! What a caller would like to read: media type and language.

use ::http::{HeaderMap, HeaderName, header};

/// A form of answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    JsonApi,
    Html,
    Text,
}

impl Form {
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::JsonApi => "application/vnd.api+json",
            Self::Html => "text/html; charset=utf-8",
            Self::Text => "text/plain; charset=utf-8",
        }
    }
}

/// The order decides between what is liked equally: programs say `*/*`, browsers name HTML.
const FORMS: [(Form, &str, &str); 4] = [
    (Form::Json, "application", "json"),
    (Form::JsonApi, "application", "vnd.api+json"),
    (Form::Html, "text", "html"),
    (Form::Text, "text", "plain"),
];

/// The form that `Accept` likes best; `otherwise` when it is absent or likes none.
pub(crate) fn form(headers: &HeaderMap, otherwise: Form) -> Form {
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
    for (form, kind, subtype) in FORMS {
        let quality = quality(kind, subtype);
        if quality > chosen.1 {
            chosen = (form, quality);
        }
    }
    chosen.0
}

/// The language that `Accept-Language` likes best among `known`; `fr-CA` also means `fr`.
pub(crate) fn language(headers: &HeaderMap, known: impl Fn(&str) -> bool) -> Option<String> {
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
        // Nobody means more than this; a header full of commas is no reason to work hard.
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

    use super::{Form, form, language};

    fn accept(value: &str) -> Form {
        let mut headers = HeaderMap::new();
        headers.insert("accept", value.parse().unwrap());
        form(&headers, Form::Text)
    }

    #[test]
    fn browsers_get_pages_and_programs_get_json() {
        assert_eq!(
            accept("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            Form::Html
        );
        assert_eq!(accept("*/*"), Form::Json);
        assert_eq!(accept("application/vnd.api+json"), Form::JsonApi);
        assert_eq!(accept("text/*"), Form::Html);
        assert_eq!(
            accept("text/html;q=0.1, application/json;q=0.2"),
            Form::Json
        );
        assert_eq!(accept("application/json;q=0, */*"), Form::JsonApi);
        assert_eq!(accept("image/png"), Form::Text);
        assert_eq!(accept(",,;q=x,"), Form::Text);
    }

    #[test]
    fn the_language_liked_best_is_taken() {
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
