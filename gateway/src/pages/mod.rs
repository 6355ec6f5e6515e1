//! The gateway's pages: one template, texts in eight languages, no external resources. One page has a script,
//! and works without it.

mod form;
mod html;

use std::collections::HashMap;

use base64::Engine as _;
use hamlet_proto::hamlet::instance::v1::Operator;
use http::{HeaderValue, StatusCode};
use prost_types::Timestamp;
use serde_json::json;
use sha2::{Digest as _, Sha256};

pub(crate) use self::form::{PassphraseForm, SCRIPT_PATH, SUBMIT_PATH};
pub(crate) use self::html::{FAVICON_PATH, Text};

/// The script of the form with the passphrase.
pub(crate) const SCRIPT: &str = include_str!("passphrase.js");

/// The icon of all pages.
pub(crate) const FAVICON: &str = include_str!("favicon.svg");

/// The language when none of the reader's is available.
const FALLBACK: &str = "en";
const STYLE: &str = include_str!("page.css");
const TEXTS: [(&str, &str); 8] = [
    ("en", include_str!("texts/en.json")),
    ("fr", include_str!("texts/fr.json")),
    ("de", include_str!("texts/de.json")),
    ("es", include_str!("texts/es.json")),
    ("ja", include_str!("texts/ja.json")),
    ("nl", include_str!("texts/nl.json")),
    ("ru", include_str!("texts/ru.json")),
    ("vi", include_str!("texts/vi.json")),
];

/// The pages.
#[derive(Clone, Copy)]
pub(crate) enum Page<'a> {
    /// No instance has this host.
    Unknown { host: &'a str },
    /// The instance is being destroyed.
    Deleting { domain: &'a str },
    /// The instance is blocked. The reason is a code, or a text for the owner.
    Blocked { domain: &'a str, reason: &'a str },
    /// The instance was deleted softly.
    Deleted {
        domain: &'a str,
        until: Option<&'a Timestamp>,
    },
    /// The host cannot be resolved now.
    OutOfReach,
    /// The instance is ready.
    Ready { domain: &'a str },
    /// Its owner has not chosen a passphrase yet.
    Waiting { domain: &'a str },
    /// The form to choose the passphrase, for a valid link.
    Choose { form: &'a PassphraseForm<'a> },
    /// The passphrase has been chosen.
    Done { domain: &'a str },
    /// Where an owner who has a passphrase learns how it is changed.
    Change { domain: &'a str },
    /// The link is not valid or was used already.
    DeadLink { domain: &'a str },
    /// The link has expired.
    ExpiredLink { domain: &'a str },
    /// The form was sent by another site.
    CrossSite { domain: &'a str },
    /// The link is incomplete.
    BrokenLink { domain: &'a str },
    /// An app of the instance.
    App { domain: &'a str, app: &'a str },
    /// There is no such path.
    NoPath { domain: &'a str },
    /// The path allows only these methods.
    WrongMethod { allow: &'static str },
}

impl Page<'_> {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Ready { .. } | Self::Waiting { .. } | Self::Done { .. } | Self::Change { .. } => {
                StatusCode::OK
            }
            Self::Choose { form } if form.error == Some("error_later") => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Choose { form } if form.error.is_some() => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Choose { .. } => StatusCode::OK,
            Self::BrokenLink { .. } => StatusCode::BAD_REQUEST,
            Self::DeadLink { .. } | Self::ExpiredLink { .. } | Self::CrossSite { .. } => {
                StatusCode::FORBIDDEN
            }
            Self::Blocked {
                reason: "PAYMENT_FAILED",
                ..
            } => StatusCode::PAYMENT_REQUIRED,
            Self::Unknown { .. }
            | Self::Deleting { .. }
            | Self::Deleted { .. }
            | Self::NoPath { .. } => StatusCode::NOT_FOUND,
            Self::WrongMethod { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::App { .. } => StatusCode::NOT_IMPLEMENTED,
            Self::Blocked { .. } | Self::OutOfReach => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The code for programs.
    pub(crate) fn code(&self) -> &str {
        match self {
            Self::Unknown { .. } => "INSTANCE_NOT_FOUND",
            Self::Deleting { .. } => "INSTANCE_DELETING",
            Self::Deleted { .. } => "INSTANCE_DELETED",
            // A reason that is a code is the code, as in the compatible API.
            Self::Blocked { reason, .. } if is_code(reason) => reason,
            Self::Blocked { .. } => "UNKNOWN",
            Self::OutOfReach => "DIRECTORY_OUT_OF_REACH",
            Self::Ready { .. }
            | Self::Waiting { .. }
            | Self::Choose { .. }
            | Self::Done { .. }
            | Self::Change { .. } => "OK",
            Self::DeadLink { .. } => "REGISTER_TOKEN_WRONG",
            Self::ExpiredLink { .. } => "REGISTER_TOKEN_EXPIRED",
            Self::CrossSite { .. } => "CROSS_SITE",
            Self::App { .. } => "NOT_BUILT_YET",
            Self::BrokenLink { .. } => "REGISTER_TOKEN_MALFORMED",
            Self::NoPath { .. } => "NO_SUCH_PATH",
            Self::WrongMethod { .. } => "METHOD_NOT_ALLOWED",
        }
    }

    /// The title for programs, the same in every language.
    pub(crate) fn summary(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "Instance not found",
            Self::Deleting { .. } => "Instance is being destroyed",
            Self::Deleted { .. } => "Instance was deleted",
            Self::Blocked { .. } => "Blocked",
            Self::OutOfReach => "Try again later",
            Self::Ready { .. } | Self::Waiting { .. } | Self::Done { .. } => "Instance",
            Self::Choose { .. } | Self::Change { .. } => "Passphrase",
            Self::DeadLink { .. } | Self::ExpiredLink { .. } | Self::CrossSite { .. } => {
                "Forbidden"
            }
            Self::App { .. } => "Not Implemented",
            Self::BrokenLink { .. } => "Bad Request",
            Self::NoPath { .. } => "Not Found",
            Self::WrongMethod { .. } => "Method Not Allowed",
        }
    }

    /// The JSON document of pages that are not errors.
    pub(crate) fn document(&self) -> Option<serde_json::Value> {
        let (domain, onboarding) = match self {
            Self::Choose { form } if form.error.is_none() => {
                return Some(json!({"data": {
                    "type": "hamlet.passphrase-parameters",
                    "id": form.domain,
                    "attributes": {"salt": form.salt, "kdf": 0, "iterations": form.iterations},
                }}));
            }
            Self::Ready { domain } | Self::Done { domain } | Self::Change { domain } => {
                (domain, false)
            }
            Self::Waiting { domain } => (domain, true),
            _ => return None,
        };
        Some(json!({"data": {
            "type": "hamlet.tenants",
            "id": domain,
            "attributes": {"domain": domain, "onboarding": onboarding},
        }}))
    }

    /// Whether a retry may succeed soon.
    pub(crate) const fn may_pass(&self) -> bool {
        matches!(self, Self::OutOfReach)
    }

    /// The key of its texts.
    fn key(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "unknown",
            Self::Deleting { .. } => "deleting",
            Self::Deleted { .. } => "deleted",
            Self::Blocked { reason, .. } => match *reason {
                "PAYMENT_FAILED" => "blocked_payment",
                "LOGIN_FAILED" => "blocked_login",
                "IMPORTING" | "MOVING" => "blocked_moving",
                _ => "blocked",
            },
            Self::OutOfReach => "out_of_reach",
            Self::Ready { .. } => "ready",
            Self::Waiting { .. } => "waiting",
            Self::Choose { .. } => "choose",
            Self::Done { .. } => "done",
            Self::Change { .. } => "change",
            Self::DeadLink { .. } => "dead_link",
            Self::ExpiredLink { .. } => "expired_link",
            Self::CrossSite { .. } => "cross_site",
            Self::BrokenLink { .. } => "broken_link",
            Self::App { .. } => "app",
            Self::NoPath { .. } => "no_path",
            Self::WrongMethod { .. } => "wrong_method",
        }
    }

    /// The value of `{name}` in its texts.
    fn name(&self) -> &str {
        match self {
            Self::Unknown { host: name }
            | Self::Deleting { domain: name }
            | Self::Deleted { domain: name, .. }
            | Self::Blocked { domain: name, .. }
            | Self::Ready { domain: name }
            | Self::Waiting { domain: name }
            | Self::Done { domain: name }
            | Self::Change { domain: name }
            | Self::DeadLink { domain: name }
            | Self::ExpiredLink { domain: name }
            | Self::CrossSite { domain: name }
            | Self::BrokenLink { domain: name }
            | Self::App { domain: name, .. }
            | Self::NoPath { domain: name } => name,
            Self::Choose { form } => form.domain,
            Self::WrongMethod { allow } => allow,
            Self::OutOfReach => "",
        }
    }
}

/// Whether a blocking reason is a code such as `PAYMENT_FAILED`, and not a text for the owner.
fn is_code(reason: &str) -> bool {
    reason.starts_with(|it: char| it.is_ascii_uppercase())
        && reason
            .bytes()
            .all(|it| it.is_ascii_uppercase() || it.is_ascii_digit() || it == b'_')
}

/// A point in time for a reader of any language.
fn shown(time: &Timestamp) -> String {
    // `2026-12-29T14:05:00Z`
    let text = time.to_string();
    match text.split_once('T') {
        Some((date, clock)) => format!("{date} {} UTC", clock.get(..5).unwrap_or(clock)),
        None => text,
    }
}

type Locale = HashMap<String, Vec<String>>;

/// The texts of all pages, and their content security policies.
pub(crate) struct Pages {
    locales: HashMap<&'static str, Locale>,
    policy: HeaderValue,
    form_policy: HeaderValue,
}

impl Pages {
    /// Reads the texts.
    pub(crate) fn new() -> Result<Self, serde_json::Error> {
        let locales = TEXTS
            .into_iter()
            .map(|(language, texts)| Ok((language, serde_json::from_str(texts)?)))
            .collect::<Result<_, serde_json::Error>>()?;
        let style = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(STYLE));
        let policy = |more: &str| {
            let policy = format!(
                "default-src 'none'; img-src 'self'; style-src 'sha256-{style}'; base-uri 'none'; frame-ancestors 'none'; {more}"
            );
            HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static(
                "default-src 'none'; frame-ancestors 'none'",
            ))
        };
        Ok(Self {
            locales,
            policy: policy("form-action 'none'"),
            form_policy: policy("form-action 'self'; script-src 'self'; connect-src 'self'"),
        })
    }

    pub(crate) fn knows(&self, language: &str) -> bool {
        self.locales.contains_key(language)
    }

    /// The language of an instance's locale: `fr` for `fr-FR` and `fr_CA`.
    pub(crate) fn language_of(&self, locale: &str) -> &'static str {
        let primary = locale.split(['-', '_']).next().unwrap_or_default();
        self.locales
            .get_key_value(primary.to_ascii_lowercase().as_str())
            .map_or(FALLBACK, |(language, _)| language)
    }

    /// The content security policy of a page.
    pub(crate) const fn policy(&self, page: &Page<'_>) -> &HeaderValue {
        match page {
            Page::Choose { .. } => &self.form_policy,
            _ => &self.policy,
        }
    }

    pub(crate) fn text(&self, page: &Page<'_>, language: &str) -> Text {
        let app = match page {
            Page::App { app, .. } => app,
            _ => "",
        };
        let until = match page {
            Page::Deleted {
                until: Some(until), ..
            } => shown(until),
            _ => "…".to_owned(),
        };
        let fill = |text: &String| {
            text.replace("{until}", &until)
                .replace("{app}", app)
                .replace("{name}", page.name())
        };
        let texts = [language, FALLBACK]
            .iter()
            .find_map(|language| self.locales.get(language)?.get(page.key()));
        let mut filled = texts.into_iter().flatten().map(fill);
        let title = filled.next().unwrap_or_else(|| page.summary().to_owned());
        let mut paragraphs: Vec<String> = filled.collect();
        if let Page::Blocked { reason, .. } = page
            && !reason.is_empty()
            && !is_code(reason)
        {
            let given = self.say("blocked_reason", language);
            // Filled in last, so that nothing of the reason is taken for a slot; and the last paragraph, because a reason
            // may end without a full stop, and JSON has all paragraphs in one line.
            paragraphs.push(given.replace("{reason}", reason));
        }
        Text { title, paragraphs }
    }

    /// The single text of a key.
    pub(crate) fn say(&self, key: &str, language: &str) -> String {
        [language, FALLBACK]
            .iter()
            .find_map(|language| self.locales.get(language)?.get(key)?.first())
            .cloned()
            .unwrap_or_default()
    }

    /// The page as HTML.
    pub(crate) fn html(
        &self,
        page: &Page<'_>,
        text: &Text,
        language: &str,
        operator: Option<&Operator>,
    ) -> String {
        let form = match page {
            Page::Choose { form } => form::html(form, |key| self.say(key, language)),
            _ => String::new(),
        };
        html::page(text, language, STYLE, &form, &html::footer(operator))
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a failed expectation is the test failing"
    )]

    use super::{Page, Pages, PassphraseForm};

    const fn form(error: Option<&'static str>) -> PassphraseForm<'static> {
        PassphraseForm {
            domain: "a.example",
            token: "\"><script>",
            salt: "me@a.example",
            iterations: 650_000,
            hint: "\" autofocus=\"",
            error,
        }
    }

    #[test]
    fn the_form_says_what_was_wrong_and_keeps_all_but_the_passphrase() {
        let pages = Pages::new().unwrap();
        for (error, status) in [
            (None, 200),
            (Some("error_empty"), 422),
            (Some("error_hint"), 422),
            (Some("error_field"), 422),
            (Some("error_later"), 503),
        ] {
            let form = form(error);
            let page = Page::Choose { form: &form };
            assert_eq!(page.status(), status);
            let html = pages.html(&page, &pages.text(&page, "de"), "de", None);
            assert_eq!(html.contains("role=\"alert\" hidden"), error.is_none());
            if let Some(key) = error {
                assert!(html.contains(&pages.locales["de"][key][0]), "{key}");
            }
            assert!(
                html.contains("value=\"&quot;&gt;&lt;script&gt;\""),
                "{html}"
            );
            assert!(html.contains("value=\"&quot; autofocus=&quot;\""), "{html}");
        }
    }

    #[test]
    fn every_language_says_everything() {
        let pages = Pages::new().unwrap();
        let english = &pages.locales["en"];
        for (language, texts) in &pages.locales {
            assert_eq!(texts.len(), english.len(), "{language}");
            for (key, text) in english {
                let other = &texts[key];
                assert_eq!(text.len(), other.len(), "{language} {key}");
                for (one, two) in text.iter().zip(other) {
                    assert!(!two.is_empty());
                    for slot in ["{name}", "{app}", "{until}", "{reason}"] {
                        assert_eq!(
                            one.contains(slot),
                            two.contains(slot),
                            "{language} {key} {slot}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn no_page_is_without_texts() {
        let pages = Pages::new().unwrap();
        let domain = "a.example";
        for page in [
            Page::Unknown { host: domain },
            Page::Deleting { domain },
            Page::Blocked { domain, reason: "" },
            Page::Deleted {
                domain,
                until: None,
            },
            Page::Blocked {
                domain,
                reason: "PAYMENT_FAILED",
            },
            Page::Blocked {
                domain,
                reason: "LOGIN_FAILED",
            },
            Page::Blocked {
                domain,
                reason: "MOVING",
            },
            Page::OutOfReach,
            Page::Ready { domain },
            Page::Waiting { domain },
            Page::Done { domain },
            Page::Change { domain },
            Page::DeadLink { domain },
            Page::ExpiredLink { domain },
            Page::CrossSite { domain },
            Page::Choose { form: &form(None) },
            Page::BrokenLink { domain },
            Page::App {
                domain,
                app: "drive",
            },
            Page::NoPath { domain },
            Page::WrongMethod { allow: "POST" },
        ] {
            assert!(
                !pages.text(&page, "fr").paragraphs.is_empty(),
                "{}",
                page.code()
            );
        }
    }

    #[test]
    fn a_locale_falls_back_to_its_language_and_then_to_english() {
        let pages = Pages::new().unwrap();
        assert_eq!(pages.language_of("fr-FR"), "fr");
        assert_eq!(pages.language_of("de_AT"), "de");
        assert_eq!(pages.language_of("xx"), "en");
        assert_eq!(pages.language_of(""), "en");
    }

    #[test]
    fn names_are_escaped() {
        let pages = Pages::new().unwrap();
        let page = Page::App {
            domain: "<b>.example",
            app: "\"><script>'&",
        };
        let html = pages.html(&page, &pages.text(&page, "en"), "en", None);
        assert!(!html.contains("<script") && !html.contains("<b>"));
        assert!(html.contains("&quot;&gt;&lt;script&gt;&#39;&amp;"));
    }

    #[test]
    fn a_blocking_reason_is_a_code_or_a_text_for_the_owner() {
        let pages = Pages::new().unwrap();
        let domain = "a.example";
        let reason = "Rechnung 42 <offen> {name}";
        let page = Page::Blocked { domain, reason };
        assert_eq!(page.code(), "UNKNOWN");
        let text = pages.text(&page, "de");
        assert!(text.paragraphs[2].ends_with(reason), "{text:?}");
        let html = pages.html(&page, &text, "de", None);
        assert!(html.contains("Rechnung 42 &lt;offen&gt; {name}"), "{html}");
        for code in ["PAYMENT_FAILED", "UNKNOWN", "OTHER_2"] {
            let page = Page::Blocked {
                domain,
                reason: code,
            };
            assert_eq!(page.code(), code);
            assert!(
                !pages
                    .text(&page, "en")
                    .paragraphs
                    .iter()
                    .any(|it| it.contains(code))
            );
        }
    }

    #[test]
    fn an_instance_that_was_deleted_softly_says_until_when_it_can_be_brought_back() {
        let pages = Pages::new().unwrap();
        let until = prost_types::Timestamp {
            seconds: 1_798_553_100,
            nanos: 5,
        };
        let page = Page::Deleted {
            domain: "a.example",
            until: Some(&until),
        };
        let told = pages.text(&page, "fr").paragraphs.join(" ");
        assert!(told.contains("2026-12-29 14:05 UTC"), "{told}");
    }

    #[test]
    fn the_operator_is_named_at_the_end_of_a_page() {
        let with = |contact: &str, link: &str| {
            super::html::footer(Some(&hamlet_proto::hamlet::instance::v1::Operator {
                name: "<Us>".to_owned(),
                contact: contact.to_owned(),
                link: link.to_owned(),
            }))
        };
        assert_eq!(
            with("help@example.org", "https://example.org/?a=1&b=2"),
            "<a href=\"https://example.org/?a=1&amp;b=2\" rel=\"noreferrer\">&lt;Us&gt;</a> · \
             <a href=\"mailto:help@example.org\">help@example.org</a>"
        );
        for (contact, shown) in [
            (
                "a?subject=\"x\"&b@example.org",
                "<a href=\"mailto:a%3Fsubject=%22x%22%26b@example.org\">a?subject=&quot;x&quot;&amp;b@example.org</a>",
            ),
            (
                "https://example.org/help",
                "<a href=\"https://example.org/help\" rel=\"noreferrer\">https://example.org/help</a>",
            ),
            ("+33 1 23 45", "<a href=\"tel:+3312345\">+33 1 23 45</a>"),
            ("ask at desk 7 @ noon", "ask at desk 7 @ noon"),
            ("javascript:alert(1)", "javascript:alert(1)"),
            ("a@b", "a@b"),
            ("mail help@example.org", "mail help@example.org"),
        ] {
            assert_eq!(with(contact, ""), format!("&lt;Us&gt; · {shown}"));
        }
        assert_eq!(super::html::footer(None), "Hamlet");
    }
}
