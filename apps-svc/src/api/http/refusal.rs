//! Tells why an app does not answer: a page for people, in their language, and the reason for programs.

use std::{collections::HashMap, sync::LazyLock};

use axum::response::{IntoResponse as _, Response};
use hamlet_pages::{
    Text as Shown,
    accept::{self, MediaType},
    escape, footer, page, policy,
};
use hamlet_proto::hamlet::instance::v1::Operator;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, RETRY_AFTER,
        VARY,
    },
};
use serde::Deserialize;
use service_kit::json_api;
use tonic::{Code, Status};

const TEXTS: &str = include_str!("refusals.json");
/// The language when none of the reader's is available.
const FALLBACK: &str = "en";

/// Texts by language and key.
static PAGES: LazyLock<HashMap<String, HashMap<String, Text>>> =
    LazyLock::new(|| serde_json::from_str(TEXTS).unwrap_or_default());

/// Title and text of a page.
#[derive(Clone, Debug, Deserialize)]
struct Text(String, String);

/// Why an app does not answer.
#[derive(Debug)]
pub(super) enum Why {
    /// It has no such method.
    Method,
    /// The host names no app.
    Slug,
    /// The app is not installed.
    NotInstalled,
    /// The app cannot be used now.
    NotReady,
    /// There is nothing at the path.
    NoFile,
    /// It is for the owner.
    LogIn,
    /// Its page cannot be shown, and why.
    Broken(String),
    /// Something that it needs has failed.
    Failed(Status),
}

impl Why {
    fn status(&self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Slug => StatusCode::BAD_REQUEST,
            Self::NotInstalled | Self::NoFile => StatusCode::NOT_FOUND,
            Self::NotReady => StatusCode::SERVICE_UNAVAILABLE,
            Self::LogIn => StatusCode::UNAUTHORIZED,
            Self::Broken(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Failed(status) => match status.code() {
                Code::Internal | Code::Unknown | Code::DataLoss => {
                    StatusCode::INTERNAL_SERVER_ERROR
                }
                _ => StatusCode::SERVICE_UNAVAILABLE,
            },
        }
    }

    /// The reason for programs.
    const fn code(&self) -> &'static str {
        match self {
            Self::Method => "METHOD_NOT_ALLOWED",
            Self::Slug => "APP_SLUG_INVALID",
            Self::NotInstalled => "APP_NOT_INSTALLED",
            Self::NotReady => "APP_NOT_READY",
            Self::NoFile => "NO_SUCH_PATH",
            Self::LogIn => "LOGIN_REQUIRED",
            Self::Broken(_) => "APP_PAGE_INVALID",
            Self::Failed(_) => "APP_OUT_OF_REACH",
        }
    }

    /// The key of its texts.
    const fn key(&self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Slug => "slug",
            Self::NotInstalled => "not_installed",
            Self::NotReady => "not_ready",
            Self::NoFile => "no_file",
            Self::LogIn => "log_in",
            Self::Broken(_) => "broken",
            Self::Failed(_) => "failed",
        }
    }
}

/// A refusal, for whoever made the request.
pub(super) struct Refusal<'a> {
    pub(super) why: Why,
    pub(super) slug: &'a str,
    /// The address of the instance.
    pub(super) start: String,
    /// The language of the instance.
    pub(super) locale: &'a str,
    /// Who runs the installation.
    pub(super) operator: Option<Operator>,
    pub(super) headers: &'a HeaderMap,
}

impl Refusal<'_> {
    pub(super) fn response(&self) -> Response {
        let status = self.why.status();
        let media_type = accept::media_type(self.headers, MediaType::Text);
        let language = self.language();
        let Text(title, text) = self.text(&language);
        let kind = [(CONTENT_TYPE, media_type.content_type())];
        let mut response = match media_type {
            MediaType::Json | MediaType::JsonApi => {
                json_api::Error::new(status, self.why.code(), text).into_response()
            }
            MediaType::Html => {
                let page = self.page(&language, title, text);
                let mut response = (status, kind, page).into_response();
                if let Ok(policy) = policy(None).try_into() {
                    let headers = response.headers_mut();
                    headers.insert(CONTENT_SECURITY_POLICY, policy);
                }
                response
            }
            MediaType::Text => (status, kind, format!("{title}\n\n{text}\n")).into_response(),
        };
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(VARY, HeaderValue::from_static("accept, accept-language"));
        if let Ok(language) = language.try_into() {
            headers.insert(CONTENT_LANGUAGE, language);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }

    /// The language that the reader prefers among those that there are, or else that of the instance.
    fn language(&self) -> String {
        let knows = |language: &str| PAGES.contains_key(language);
        accept::language(self.headers, knows).unwrap_or_else(|| {
            let primary = self.locale.split(['-', '_']).next().unwrap_or_default();
            let known = PAGES.get_key_value(&primary.to_ascii_lowercase());
            known.map_or(FALLBACK, |(language, _)| language).to_owned()
        })
    }

    fn text(&self, language: &str) -> Text {
        let found = [language, FALLBACK]
            .iter()
            .find_map(|language| PAGES.get(*language)?.get(self.why.key()));
        let Text(title, text) = found
            .cloned()
            .unwrap_or_else(|| Text(self.why.code().to_owned(), String::new()));
        let reason = match &self.why {
            Why::Broken(reason) => reason,
            _ => "",
        };
        let fill = |text: String| text.replace("{app}", self.slug).replace("{reason}", reason);
        Text(fill(title), fill(text))
    }

    fn page(&self, language: &str, title: String, text: String) -> String {
        let start = PAGES.get(language).and_then(|texts| texts.get("start"));
        let start = start.map_or_else(String::new, |text| escape(&text.0));
        let link = format!("<p><a href=\"{}/\">{start}</a></p>\n", escape(&self.start));
        let shown = Shown {
            title,
            paragraphs: vec![text],
        };
        page(&shown, language, &link, &footer(self.operator.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a failed expectation is the test failing"
    )]

    use http::{HeaderMap, StatusCode};

    use super::{PAGES, Refusal, Why};

    fn refusal<'a>(headers: &'a HeaderMap, why: Why) -> Refusal<'a> {
        Refusal {
            why,
            slug: "drive",
            start: "http://ann.example".to_owned(),
            locale: "fr",
            operator: None,
            headers,
        }
    }

    #[test]
    fn every_language_says_everything() {
        let english = &PAGES["en"];
        assert_eq!(PAGES.len(), 8);
        for (language, texts) in PAGES.iter() {
            for (key, text) in english {
                let other = &texts[key];
                for slot in ["{app}", "{reason}"] {
                    let of = |it: &super::Text| format!("{}{}", it.0, it.1).contains(slot);
                    assert_eq!(of(text), of(other), "{language} {key} {slot}");
                }
            }
            assert_eq!(texts.len(), english.len(), "{language}");
        }
    }

    #[test]
    fn people_get_a_page_and_programs_the_reason() {
        let mut headers = HeaderMap::new();
        let of = |headers: &HeaderMap| {
            let response = refusal(headers, Why::NotInstalled).response();
            assert_eq!(response.status(), StatusCode::NOT_FOUND);
            let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
            (header("content-type"), header("content-language"))
        };
        assert_eq!(of(&headers).0, "text/plain; charset=utf-8");
        headers.insert("accept", "application/json".parse().unwrap());
        assert_eq!(of(&headers).0, "application/vnd.api+json");
        headers.insert("accept", "text/html,*/*;q=0.8".parse().unwrap());
        let page = ("text/html; charset=utf-8".to_owned(), "fr".to_owned());
        assert_eq!(of(&headers), page);
        headers.insert("accept-language", "zz, de-AT;q=0.7".parse().unwrap());
        assert_eq!(of(&headers).1, "de");
    }

    #[test]
    fn a_reason_is_no_html() {
        let headers = HeaderMap::new();
        let refusal = refusal(&headers, Why::Broken("<script>".to_owned()));
        let super::Text(title, text) = refusal.text("en");
        assert!(text.contains("<script>"));
        assert!(!refusal.page("en", title, text).contains("<script>"));
    }
}
