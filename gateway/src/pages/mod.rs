//! The gateway's own pages: the states of instances. Pages with forms are the instance service's.

use hamlet_pages::{Text, Texts, footer};
use hamlet_proto::hamlet::instance::v1::Operator;
use http::{HeaderValue, StatusCode};
use prost_types::Timestamp;

pub(crate) use hamlet_pages::{FAVICON, FAVICON_PATH};

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
    /// There is no such path.
    NoPath { domain: &'a str },
}

impl Page<'_> {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Blocked {
                reason: "PAYMENT_FAILED",
                ..
            } => StatusCode::PAYMENT_REQUIRED,
            Self::Unknown { .. }
            | Self::Deleting { .. }
            | Self::Deleted { .. }
            | Self::NoPath { .. } => StatusCode::NOT_FOUND,
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
            Self::NoPath { .. } => "NO_SUCH_PATH",
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
            Self::NoPath { .. } => "Not Found",
        }
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
            Self::NoPath { .. } => "no_path",
        }
    }

    /// The value of `{name}` in its texts.
    fn name(&self) -> &str {
        match self {
            Self::Unknown { host: name }
            | Self::Deleting { domain: name }
            | Self::Deleted { domain: name, .. }
            | Self::Blocked { domain: name, .. }
            | Self::NoPath { domain: name } => name,
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

/// The texts of all pages, and their content security policy.
pub(crate) struct Pages {
    texts: Texts,
    policy: HeaderValue,
}

impl Pages {
    /// Reads the texts.
    pub(crate) fn new() -> Result<Self, serde_json::Error> {
        Ok(Self {
            texts: Texts::new()?,
            policy: HeaderValue::try_from(hamlet_pages::policy(None)).unwrap_or(
                HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
            ),
        })
    }

    pub(crate) fn knows(&self, language: &str) -> bool {
        self.texts.knows(language)
    }

    /// The language of an instance's locale.
    pub(crate) fn language_of(&self, locale: &str) -> &'static str {
        self.texts.language_of(locale)
    }

    /// The content security policy of every page.
    pub(crate) const fn policy(&self) -> &HeaderValue {
        &self.policy
    }

    pub(crate) fn text(&self, page: &Page<'_>, language: &str) -> Text {
        let until = match page {
            Page::Deleted {
                until: Some(until), ..
            } => shown(until),
            _ => "…".to_owned(),
        };
        let fill = |text: &String| {
            text.replace("{until}", &until)
                .replace("{name}", page.name())
        };
        let mut filled = self.texts.all(page.key(), language).iter().map(fill);
        let title = filled.next().unwrap_or_else(|| page.summary().to_owned());
        let mut paragraphs: Vec<String> = filled.collect();
        if let Page::Blocked { reason, .. } = page
            && !reason.is_empty()
            && !is_code(reason)
        {
            let given = self.texts.say("blocked_reason", language);
            // Filled in last, so that nothing of the reason is taken for a slot; and the last paragraph, because a reason
            // may end without a full stop, and JSON has all paragraphs in one line.
            paragraphs.push(given.replace("{reason}", reason));
        }
        Text { title, paragraphs }
    }

    /// The page as HTML.
    pub(crate) fn html(&self, text: &Text, language: &str, operator: Option<&Operator>) -> String {
        hamlet_pages::page(text, language, "", &footer(operator))
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a failed expectation is the test failing"
    )]

    use super::{Page, Pages};

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
            Page::NoPath { domain },
        ] {
            assert!(
                !pages.text(&page, "fr").paragraphs.is_empty(),
                "{}",
                page.code()
            );
        }
    }

    #[test]
    fn names_are_escaped() {
        let pages = Pages::new().unwrap();
        let page = Page::Blocked {
            domain: "<b>.example",
            reason: "\"><script>'&",
        };
        let html = pages.html(&pages.text(&page, "en"), "en", None);
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
        let html = pages.html(&text, "de", None);
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
}
