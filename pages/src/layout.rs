//! The one template of all pages.

use hamlet_proto::hamlet::instance::v1::Operator;
use percent_encoding::{AsciiSet, CONTROLS};

use crate::STYLE;

/// What would end an address in a `mailto:` link (RFC 6068), or means something in HTML.
const OUTSIDE_OF_ADDRESSES: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'&')
    .add(b',')
    .add(b';')
    .add(b'<')
    .add(b'>')
    .add(b'?');

/// The text of a page in one language, not escaped.
#[derive(Clone, Debug)]
pub struct Text {
    /// The title.
    pub title: String,
    /// What follows it.
    pub paragraphs: Vec<String>,
}

/// Where the icon of all pages lies.
pub const FAVICON_PATH: &str = "/favicon.svg";

/// The end of a page: who runs the installation.
#[must_use]
pub fn footer(operator: Option<&Operator>) -> String {
    let Some(operator) = operator else {
        return "Hamlet".to_owned();
    };
    let named = if operator.name.is_empty() {
        &operator.link
    } else {
        &operator.name
    };
    let name = if operator.link.is_empty() {
        escape(named)
    } else {
        let link = escape(&operator.link);
        format!(
            "<a href=\"{link}\" rel=\"noreferrer\">{}</a>",
            escape(named)
        )
    };
    let parts = [name, contact(&operator.contact)];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(" · ")
}

/// How the operator is reached: a link where the text is nothing but an address, which a browser can open.
fn contact(text: &str) -> String {
    let shown = escape(text);
    let is_web = ["https://", "http://"]
        .iter()
        .any(|scheme| text.starts_with(scheme));
    if is_web && !text.contains(char::is_whitespace) {
        return format!("<a href=\"{shown}\" rel=\"noreferrer\">{shown}</a>");
    }
    if is_mail_address(text) {
        let target = percent_encoding::utf8_percent_encode(text, OUTSIDE_OF_ADDRESSES);
        return format!("<a href=\"mailto:{target}\">{shown}</a>");
    }
    if is_phone_number(text) {
        let dialled: String = text
            .chars()
            .filter(|it| it.is_ascii_digit() || *it == '+')
            .collect();
        return format!("<a href=\"tel:{dialled}\">{shown}</a>");
    }
    shown
}

fn is_mail_address(text: &str) -> bool {
    let is_plain = |it: char| !it.is_whitespace() && !it.is_control() && it != '@';
    text.split_once('@').is_some_and(|(name, host)| {
        !name.is_empty()
            && text.matches('@').count() == 1
            && text.chars().filter(|it| *it != '@').all(is_plain)
            && host.split('.').count() > 1
            && host.split('.').all(|label| !label.is_empty())
    })
}

/// A number in the international form: other ones mean something in one country only.
fn is_phone_number(text: &str) -> bool {
    text.strip_prefix('+').is_some_and(|rest| {
        rest.starts_with(|it: char| it.is_ascii_digit())
            && rest
                .chars()
                .all(|it| it.is_ascii_digit() || " -./()".contains(it))
    })
}

/// A whole page. `more` is HTML after the text, `footer` is HTML at the end.
#[must_use]
pub fn page(text: &Text, language: &str, more: &str, footer: &str) -> String {
    // Its hash is in the policy.
    let style = STYLE;
    let title = escape(&text.title);
    let language = escape(language);
    let paragraphs: String = text
        .paragraphs
        .iter()
        .map(|paragraph| format!("<p>{}</p>\n", escape(paragraph)))
        .collect();
    format!(
        "<!doctype html>\n<html lang=\"{language}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"robots\" content=\"noindex\">\n<title>{title}</title>\n\
         <link rel=\"icon\" href=\"{FAVICON_PATH}\" type=\"image/svg+xml\">\n<style>{style}</style>\n</head>\n\
         <body>\n<main>\n<h1>{title}</h1>\n{paragraphs}{more}</main>\n<footer>{footer}</footer>\n</body>\n</html>\n"
    )
}

/// Escapes a text for use between tags and in quoted attributes.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_operator_is_named_at_the_end_of_a_page() {
        let with = |contact: &str, link: &str| {
            super::footer(Some(&hamlet_proto::hamlet::instance::v1::Operator {
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
        assert_eq!(super::footer(None), "Hamlet");
    }
}
