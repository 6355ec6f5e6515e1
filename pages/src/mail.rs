//! Mails to an owner: plain text, and the same as HTML that needs nothing from elsewhere.

use hamlet_proto::hamlet::instance::v1::Operator;

use crate::{Texts, escape, footer};

/// What a mail is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// A link to open.
    Link(&'a str),
    /// A code to type, or another short text that stands alone.
    Code(&'a str),
    /// Nothing but its texts.
    Words,
}

/// A mail to write.
#[derive(Clone, Copy)]
pub struct Mail<'a> {
    /// The key of its texts: the subject, the paragraph before the content, for a link its name, the paragraphs after it.
    pub key: &'a str,
    /// The language.
    pub language: &'a str,
    /// How the owner is called; may be empty.
    pub owner: &'a str,
    /// What stands in the place of slots, such as `{name}`.
    pub slots: &'a [(&'a str, &'a str)],
    /// What it is about.
    pub content: Content<'a>,
    /// Who runs the installation.
    pub operator: Option<&'a Operator>,
}

impl std::fmt::Debug for Mail<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail").field("key", &self.key).finish()
    }
}

/// A mail that is written.
#[derive(Clone, PartialEq, Eq)]
pub struct Written {
    /// Its subject.
    pub subject: String,
    /// Its plain text.
    pub plain: String,
    /// The same as HTML.
    pub html: String,
}

impl std::fmt::Debug for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Written(…)")
    }
}

/// A part of a mail, not escaped.
enum Part<'a> {
    Paragraph(String),
    Link(&'a str, String),
    Code(&'a str),
}

const BODY: &str =
    "margin:0;padding:24px;background:#f6f4ef;color:#23262b;font:16px/1.6 system-ui,sans-serif";
const CARD: &str = "max-width:544px;margin:0 auto;padding:32px;background:#ffffff;border:1px solid #d9d5cb;\
                    border-top:5px solid #2f6f5e;border-radius:8px";
const BUTTON: &str = "display:inline-block;padding:11px 20px;background:#2f6f5e;color:#ffffff;font-weight:600;\
                      text-decoration:none;border-radius:6px";
const CODE: &str =
    "font:600 28px/1.4 ui-monospace,monospace;letter-spacing:4px;overflow-wrap:anywhere";
const SMALL: &str = "font-size:14px;color:#5b616b;overflow-wrap:anywhere";
const TITLE: &str = "margin:0 0 12px;font-size:22px;line-height:1.3";
const FOOT: &str =
    "max-width:544px;margin:16px auto 0;text-align:center;font-size:14px;color:#5b616b";

impl Mail<'_> {
    /// Writes it.
    #[must_use]
    pub fn write(&self, texts: &Texts) -> Written {
        let mut lines = texts.all(self.key, self.language).iter();
        let subject = lines.next().map(|it| self.filled(it)).unwrap_or_default();
        let mut parts = Vec::new();
        if !self.owner.is_empty() {
            let hello = texts.say("mail_hello", self.language);
            parts.push(Part::Paragraph(hello.replace("{name}", self.owner)));
        }
        parts.extend(lines.next().map(|it| Part::Paragraph(self.filled(it))));
        match self.content {
            Content::Link(address) => {
                let name = lines.next().map(|it| self.filled(it)).unwrap_or_default();
                parts.push(Part::Link(address, name));
            }
            Content::Code(code) => parts.push(Part::Code(code)),
            Content::Words => {}
        }
        parts.extend(lines.map(|it| Part::Paragraph(self.filled(it))));
        Written {
            plain: self.plain(&parts),
            html: self.html(&subject, &parts),
            subject,
        }
    }

    fn filled(&self, text: &str) -> String {
        let mut filled = text.to_owned();
        for (slot, value) in self.slots {
            filled = filled.replace(slot, value);
        }
        filled
    }

    fn plain(&self, parts: &[Part<'_>]) -> String {
        let mut plain = String::new();
        for part in parts {
            let text = match part {
                Part::Paragraph(text) => text,
                Part::Link(address, _) => *address,
                Part::Code(code) => *code,
            };
            plain.push_str(text);
            plain.push_str("\n\n");
        }
        plain.push_str("-- \n");
        plain.push_str(&signature(self.operator));
        plain.push('\n');
        plain
    }

    fn html(&self, subject: &str, parts: &[Part<'_>]) -> String {
        let mut html = format!(
            "<!doctype html>\n<html lang=\"{language}\">\n<head><meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light\"><title>{subject}</title></head>\n\
             <body style=\"{BODY}\">\n<main style=\"{CARD}\">\n<h1 style=\"{TITLE}\">{subject}</h1>\n",
            language = escape(self.language),
            subject = escape(subject),
        );
        for part in parts {
            html.push_str(&match part {
                Part::Paragraph(text) => format!("<p>{}</p>\n", escape(text)),
                Part::Link(address, name) => {
                    let address = escape(address);
                    format!(
                        "<p><a href=\"{address}\" style=\"{BUTTON}\">{name}</a></p>\n<p style=\"{SMALL}\">{address}</p>\n",
                        name = escape(name)
                    )
                }
                Part::Code(code) => format!("<p style=\"{CODE}\">{}</p>\n", escape(code)),
            });
        }
        html.push_str(&format!(
            "</main>\n<p style=\"{FOOT}\">{}</p>\n</body>\n</html>\n",
            footer(self.operator)
        ));
        html
    }
}

fn signature(operator: Option<&Operator>) -> String {
    let Some(operator) = operator else {
        return "Hamlet".to_owned();
    };
    let parts = [&operator.name, &operator.contact, &operator.link];
    let told = parts.into_iter().filter(|part| !part.is_empty());
    told.cloned().collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use hamlet_proto::hamlet::instance::v1::Operator;

    use super::{Content, Mail};
    use crate::Texts;

    #[test]
    fn a_mail_says_the_same_twice() {
        let texts = Texts::new().unwrap();
        let operator = Operator {
            name: "<Us>".to_owned(),
            contact: "help@example.org".to_owned(),
            link: String::new(),
        };
        let mail = Mail {
            key: "mail_reset",
            language: "en",
            owner: "Lea & co",
            slots: &[("{name}", "lea.example"), ("{time}", "15")],
            content: Content::Link("https://lea.example/x?a=1&b=2"),
            operator: Some(&operator),
        };
        let written = mail.write(&texts);
        assert!(
            written.subject.contains("lea.example"),
            "{}",
            written.subject
        );
        let plain = &written.plain;
        assert!(plain.starts_with("Hello Lea & co,\n\n"), "{plain}");
        assert!(
            plain.contains("\n\nhttps://lea.example/x?a=1&b=2\n\n"),
            "{plain}"
        );
        assert!(plain.contains("15 minutes"), "{plain}");
        assert!(plain.ends_with("-- \n<Us>\nhelp@example.org\n"), "{plain}");
        let html = &written.html;
        for part in [
            "<html lang=\"en\">",
            "Lea &amp; co",
            "href=\"https://lea.example/x?a=1&amp;b=2\"",
            "&lt;Us&gt;",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert!(
            !html.contains("{name}") && !html.contains("<script"),
            "{html}"
        );
        assert_eq!(
            format!("{mail:?} {written:?}"),
            "Mail { key: \"mail_reset\" } Written(…)"
        );
    }

    #[test]
    fn a_code_stands_alone_in_every_language() {
        let texts = Texts::new().unwrap();
        for language in ["en", "fr", "de", "es", "ja", "nl", "ru", "vi"] {
            for key in [
                "mail_code",
                "mail_confirm",
                "mail_passphrase_code",
                "mail_hint",
            ] {
                let mail = Mail {
                    key,
                    language,
                    owner: "",
                    slots: &[("{name}", "lea.example"), ("{time}", "15")],
                    content: Content::Code("012345"),
                    operator: None,
                };
                let plain = mail.write(&texts).plain;
                assert!(plain.contains("\n\n012345\n\n"), "{plain}");
                assert!(!plain.contains('{'), "{plain}");
                assert!(plain.ends_with("-- \nHamlet\n"), "{plain}");
            }
        }
    }
}
