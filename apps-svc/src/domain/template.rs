//! The pages of apps: HTML with slots such as `{{.Domain}}`, which are filled in for whoever opens the page.
//!
//! A page is read once. A tokenizer finds out where each slot stands, and the value is escaped for that place: a text or the
//! value of an attribute. There is no safe way to put a value into a script or a style sheet, so a page that wants that is
//! refused. A page with something between double braces that is no slot has a syntax of its own, and is left as it is.

use std::fmt::Write as _;

use html5gum::{DefaultEmitter, Token, Tokenizer};
use sha2::{Digest as _, Sha256};

/// A page with its slots.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Template {
    /// It has slots, perhaps none.
    Filled(Vec<Piece>),
    /// It has other things between double braces, and is sent as it is.
    Raw(String),
}

/// A part of a page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// HTML as it is.
    Html(String),
    /// The place of a value: its name, and what it stands in.
    Slot(String, Place),
}

/// What a slot stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A text or a comment.
    Text,
    /// The value of an attribute, in quotes or not.
    Attribute,
}

/// Why a page cannot be shown. It is a fault of whoever wrote the app.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Wrong {
    /// A slot has a name that stands for nothing.
    #[error("the slot {{{{.{0}}}}} stands for nothing that is known")]
    Unknown(String),
    /// It wants something to be decided or repeated.
    #[error("the page has {{{{{0}}}}}, and only values such as {{{{.Domain}}}} are filled in")]
    Action(String),
    /// A slot stands where a value would be run or obeyed.
    #[error("the slot {{{{.{slot}}}}} stands in {place}, where no value can be put safely")]
    Unsafe {
        /// Its name.
        slot: String,
        /// Where it stands.
        place: String,
    },
}

/// A value for a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// A text, which is escaped.
    Text(String),
    /// HTML, which is not escaped. It can stand between tags only.
    Html(String),
}

impl Template {
    /// Reads a page.
    ///
    /// # Errors
    /// When a slot stands where no value can be put.
    pub(crate) fn parse(page: &str) -> Result<Self, Wrong> {
        let Some(parts) = split(page)? else {
            return Ok(Self::Raw(page.to_owned()));
        };
        // Each slot is replaced by a word that the page does not have, so that the tokenizer sees where it stands.
        let seed = hex::encode(Sha256::digest(page));
        let word = |index: usize| format!("slot{seed}x{index}x");
        let mut marked = String::with_capacity(page.len());
        for (index, part) in parts.iter().enumerate() {
            match part {
                Part::Html(html) => marked.push_str(html),
                Part::Slot(_) => marked.push_str(&word(index)),
            }
        }
        let seen = places(&marked, &format!("slot{seed}x"));
        let mut pieces = Vec::with_capacity(parts.len());
        for (index, part) in parts.into_iter().enumerate() {
            pieces.push(match part {
                Part::Html(html) => Piece::Html(html.to_owned()),
                Part::Slot(name) => {
                    let place = seen.iter().find(|(at, _)| *at == index);
                    let place = place.map_or_else(
                        || Err("a place that has no meaning".to_owned()),
                        |(_, place)| place.clone(),
                    );
                    let place = place.map_err(|place| Wrong::Unsafe {
                        slot: name.to_owned(),
                        place,
                    })?;
                    Piece::Slot(name.to_owned(), place)
                }
            });
        }
        Ok(Self::Filled(pieces))
    }

    /// The page with the values that `value` gives.
    ///
    /// # Errors
    /// When a slot has an unknown name, or wants HTML in an attribute.
    pub(crate) fn fill(&self, value: impl Fn(&str) -> Option<Value>) -> Result<String, Wrong> {
        let pieces = match self {
            Self::Raw(page) => return Ok(page.clone()),
            Self::Filled(pieces) => pieces,
        };
        let mut page = String::new();
        for piece in pieces {
            let (name, place) = match piece {
                Piece::Html(html) => {
                    page.push_str(html);
                    continue;
                }
                Piece::Slot(name, place) => (name, *place),
            };
            match (value(name), place) {
                (None, _) => return Err(Wrong::Unknown(name.clone())),
                (Some(Value::Html(html)), Place::Text) => page.push_str(&html),
                (Some(Value::Html(_)), Place::Attribute) => {
                    return Err(Wrong::Unsafe {
                        slot: name.clone(),
                        place: "an attribute".to_owned(),
                    });
                }
                // Without quotes, nothing at all would be taken for the beginning of what follows.
                (Some(Value::Text(text)), Place::Attribute)
                    if text.is_empty() && page.ends_with('=') =>
                {
                    page.push_str("\"\"");
                }
                (Some(Value::Text(text)), place) => escape(&text, place, &mut page),
            }
        }
        Ok(page)
    }

    /// How much memory it takes, about.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Raw(page) => page.len(),
            Self::Filled(pieces) => {
                let of = |piece: &Piece| match piece {
                    Piece::Html(text) | Piece::Slot(text, _) => text.len() + 40,
                };
                pieces.iter().map(of).sum()
            }
        }
    }
}

enum Part<'a> {
    Html(&'a str),
    Slot(&'a str),
}

/// What the language of these pages has besides values.
const ACTIONS: [&str; 8] = [
    "block", "define", "else", "end", "if", "range", "template", "with",
];

/// The slots of a page, and what is between them. `None` when something of another syntax stands between double braces.
fn split(page: &str) -> Result<Option<Vec<Part<'_>>>, Wrong> {
    let mut parts = Vec::new();
    let mut rest = page;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((action, after)) = after.split_once("}}") else {
            return Ok(None);
        };
        let (mut before, mut action, mut after) = (before, action, after);
        // A dash takes the white space beside it away.
        if let Some(inner) = action.strip_prefix("- ") {
            (before, action) = (before.trim_end(), inner);
        }
        if let Some(inner) = action.strip_suffix(" -") {
            (action, after) = (inner, after.trim_start());
        }
        let action = action.trim();
        if let Some(word) = action.split_whitespace().next()
            && ACTIONS.contains(&word)
        {
            return Err(Wrong::Action(action.chars().take(80).collect()));
        }
        let name = action.strip_prefix('.').filter(|name| {
            name.starts_with(|it: char| it.is_ascii_alphabetic())
                && name
                    .bytes()
                    .all(|it| it.is_ascii_alphanumeric() || it == b'_')
        });
        let Some(name) = name else {
            return Ok(None);
        };
        parts.push(Part::Html(before));
        parts.push(Part::Slot(name));
        rest = after;
    }
    parts.push(Part::Html(rest));
    Ok(Some(parts))
}

/// Where the words that begin with `word` stand, each by its number; an error names a place where no value can be put.
fn places(page: &str, word: &str) -> Vec<(usize, Result<Place, String>)> {
    let mut emitter = DefaultEmitter::default();
    emitter.naively_switch_states(true);
    let mut seen = Vec::new();
    let mut note = |text: &[u8], place: &Result<Place, String>| {
        let text = String::from_utf8_lossy(text);
        for found in text.split(word).skip(1) {
            let number = found.split('x').next().unwrap_or_default();
            if let Ok(number) = number.parse() {
                seen.push((number, place.clone()));
            }
        }
    };
    let text: Result<Place, String> = Ok(Place::Text);
    let mut inside = text.clone();
    for token in Tokenizer::new_with_emitter(page, emitter) {
        let Ok(token) = token;
        match token {
            Token::StartTag(tag) => {
                let name = String::from_utf8_lossy(&tag.name).into_owned();
                note(&tag.name, &Err("the name of a tag".to_owned()));
                for (attribute, value) in &tag.attributes {
                    let attribute_name = String::from_utf8_lossy(attribute);
                    note(attribute, &Err("the name of an attribute".to_owned()));
                    let is_obeyed = attribute_name.starts_with("on")
                        || ["style", "srcdoc"].contains(&attribute_name.as_ref());
                    if is_obeyed {
                        note(value, &Err(format!("the attribute {attribute_name}")));
                    } else {
                        note(value, &Ok(Place::Attribute));
                    }
                }
                if !tag.self_closing && ["script", "style"].contains(&name.as_str()) {
                    inside = Err(format!("<{name}>"));
                }
            }
            Token::EndTag(tag) => {
                note(&tag.name, &Err("the name of a tag".to_owned()));
                if [b"script".as_slice(), b"style"].contains(&tag.name.as_slice()) {
                    inside = text.clone();
                }
            }
            Token::String(content) => note(&content, &inside),
            Token::Comment(content) => note(&content, &text),
            Token::Doctype(_) | Token::Error(_) => {}
        }
    }
    seen
}

fn escape(text: &str, place: Place, into: &mut String) {
    for character in text.chars() {
        let is_plain = match place {
            Place::Text => !matches!(character, '&' | '<' | '>' | '"' | '\'' | '\0'),
            // Such a value ends nowhere, whether it is in quotes or not.
            Place::Attribute => {
                !character.is_ascii()
                    || character.is_ascii_alphanumeric()
                    || matches!(
                        character,
                        '-' | '_'
                            | '.'
                            | ','
                            | ':'
                            | ';'
                            | '/'
                            | '?'
                            | '#'
                            | '{'
                            | '}'
                            | '['
                            | ']'
                            | '('
                            | ')'
                    )
            }
        };
        match character {
            // No reference stands for it.
            '\0' => into.push('\u{fffd}'),
            character if is_plain => into.push(character),
            character => {
                // Writing to a String cannot fail.
                let _ = write!(into, "&#{};", u32::from(character));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use proptest::prelude::*;

    use super::{Template, Value, Wrong};

    const HOSTILE: &str = "\"'><script>alert(1)</script> a=b `&amp; --> ${x}";

    fn fill(page: &str) -> Result<String, Wrong> {
        Template::parse(page)?.fill(|name| match name {
            "Text" => Some(Value::Text(HOSTILE.to_owned())),
            "Plain" => Some(Value::Text("é-1".to_owned())),
            "Empty" => Some(Value::Text(String::new())),
            "Html" => Some(Value::Html("<link>".to_owned())),
            _ => None,
        })
    }

    /// The texts of a page, and the values of its attributes.
    fn read(page: &str) -> (Vec<String>, Vec<String>) {
        let mut emitter = html5gum::DefaultEmitter::default();
        emitter.naively_switch_states(true);
        let (mut texts, mut values) = (Vec::new(), Vec::new());
        for token in html5gum::Tokenizer::new_with_emitter(page, emitter) {
            let html = |html: &[u8]| String::from_utf8(html.to_vec()).unwrap();
            match token.unwrap() {
                html5gum::Token::String(text) => texts.push(html(&text)),
                html5gum::Token::StartTag(tag) => {
                    values.extend(tag.attributes.values().map(|value| html(value)));
                }
                _ => {}
            }
        }
        (texts, values)
    }

    #[test]
    fn a_value_stays_where_it_was_put() {
        for page in [
            "<p>{{.Text}}</p>",
            "<title>{{ .Text }}</title>",
            "<textarea>{{.Text}}</textarea>",
        ] {
            assert_eq!(read(&fill(page).unwrap()).0, [HOSTILE], "{page}");
        }
        for page in [
            "<p data-cozy=\"{{.Text}}\">",
            "<p data-cozy='{{.Text}}'>",
            "<p data-cozy={{.Text}}>",
            "<script src=\"{{.Text}}\"></script>",
        ] {
            assert_eq!(read(&fill(page).unwrap()).1, [HOSTILE], "{page}");
        }
        let comment = fill("<!-- {{.Text}} --><p>x").unwrap();
        assert_eq!(read(&comment).0, ["x"]);
        let page = "<html lang={{.Plain}}><p title=\"a {{.Plain}}&quot;\">{{.Plain}}, {{.Html}}";
        let filled = "<html lang=é-1><p title=\"a é-1&quot;\">é-1, <link>";
        assert_eq!(fill(page).unwrap(), filled);
    }

    #[test]
    fn a_value_is_not_put_where_it_would_be_run() {
        for (page, place) in [
            ("<script>var a = '{{.Text}}'</script>", "<script>"),
            ("<style>a { color: {{.Text}} }</style>", "<style>"),
            ("<p onclick=\"{{.Text}}\">", "the attribute onclick"),
            ("<p style=\"{{.Text}}\">", "the attribute style"),
            ("<iframe srcdoc=\"{{.Text}}\">", "the attribute srcdoc"),
            ("<p {{.Text}}>", "the name of an attribute"),
            ("<{{.Text}}>", "the name of a tag"),
            ("<p{{.Text}}>", "the name of a tag"),
            ("<p a=1 a=\"{{.Text}}\">", "a place that has no meaning"),
            ("<!doctype {{.Text}}>", "a place that has no meaning"),
        ] {
            let refused = fill(page).unwrap_err();
            let is_so = matches!(&refused, Wrong::Unsafe { place: it, .. } if it == place);
            assert!(is_so, "{page}: {refused}");
        }
        assert!(matches!(
            fill("<p a='{{.Html}}'>"),
            Err(Wrong::Unsafe { .. })
        ));
        assert!(fill("<script></script>{{.Text}}").is_ok());
    }

    #[test]
    fn a_page_with_another_syntax_is_left_as_it_is() {
        for page in [
            "<p>{{ message }}</p>{{.Text}}",
            "<p>{{.Text | html}}</p>",
            "<p>{{.Text",
            "<p>{{.a.b}}</p>",
        ] {
            assert_eq!(fill(page).unwrap(), page);
        }
        assert_eq!(fill("<p>{.Text} }}").unwrap(), "<p>{.Text} }}");
        assert_eq!(fill("a \n{{- .Plain -}} \n b").unwrap(), "aé-1b");
    }

    #[test]
    fn a_value_that_is_empty_takes_nothing_with_it() {
        let filled = fill("<p a={{.Empty}} b='{{.Empty}}'>").unwrap();
        assert_eq!(filled, "<p a=\"\" b=''>");
    }

    #[test]
    fn an_unknown_slot_is_named() {
        let refused = fill("<p>{{.Other}}").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the slot {{.Other}} stands for nothing that is known"
        );
        let refused = fill("{{if .Plain}}x{{end}}").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the page has {{if .Plain}}, and only values such as {{.Domain}} are filled in"
        );
    }

    proptest! {
        #[test]
        fn no_value_changes_what_is_around_it(value in "[ -~\\n\u{0}é]{0,40}", quote in "[\"']?") {
            let page = format!("<p title={quote}{{{{.Text}}}}{quote}>{{{{.Text}}}}</p><i>");
            let filled = Template::parse(&page).unwrap();
            let filled = filled.fill(|_| Some(Value::Text(value.clone()))).unwrap();
            let (texts, values) = read(&filled);
            let expected = value.replace('\0', "\u{fffd}");
            prop_assert_eq!(texts.concat(), expected.clone());
            prop_assert_eq!(values.concat(), expected);
        }
    }
}
