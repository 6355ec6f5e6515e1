//! Escaping for terminals: texts of servers and users may hold control characters.

use std::{borrow::Cow, fmt::Write as _};

/// Whether a terminal interprets a character: to move the cursor, change colours, or reverse the direction of text.
const fn is_unsafe(c: char) -> bool {
    c.is_ascii_control()
        || matches!(c,
            '\u{80}'..='\u{9f}' // C1: some terminals interpret them
            | '\u{61c}' | '\u{200e}' | '\u{200f}' // marks of direction
            | '\u{2028}' | '\u{2029}' // line and paragraph separators
            | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') // overrides of direction
}

/// Whether a text holds characters that a terminal interprets.
pub(crate) fn is_unclean(text: &str) -> bool {
    text.contains(is_unsafe)
}

/// `text` with the characters that a terminal interprets escaped as `\u{1b}`.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    replace(text, |c| format!("\\u{{{:x}}}", u32::from(c)))
}

/// A JSON text on one line, with the characters that a terminal interprets in JSON's escapes. On one line such
/// characters occur within strings only, where the escape means the same.
pub(crate) fn clean_json(line: &str) -> Cow<'_, str> {
    replace(line, |c| format!("\\u{:04x}", u32::from(c)))
}

/// `text` with its very long words cut: nobody reads a name of thousands of characters in a message.
pub(crate) fn shortened(text: &str) -> Cow<'_, str> {
    /// No host, path or address of everyday is longer.
    const LONGEST: usize = 400;
    const SHOWN: usize = 80;
    let is_long = |word: &str| word.len() > LONGEST;
    if !text.split(' ').any(is_long) {
        return Cow::Borrowed(text);
    }
    let words: Vec<Cow<'_, str>> = text
        .split(' ')
        .map(|word| match is_long(word) {
            false => Cow::Borrowed(word),
            true => {
                let start: String = word.chars().take(SHOWN).collect();
                let quote = if word.starts_with(['"', '\'']) {
                    word.get(..1).unwrap_or_default()
                } else {
                    ""
                };
                Cow::Owned(format!("{start}…{quote}"))
            }
        })
        .collect();
    Cow::Owned(words.join(" "))
}

fn replace(text: &str, escape: impl Fn(char) -> String) -> Cow<'_, str> {
    if !is_unclean(text) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_unsafe(c) {
            // Writing to a String cannot fail.
            let _ = write!(safe, "{}", escape(c));
        } else {
            safe.push(c);
        }
    }
    Cow::Owned(safe)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use super::{clean, clean_json, shortened};

    #[test]
    fn long_words_of_a_message_are_cut() {
        let long = "a".repeat(6000);
        let told = shortened(&format!("no context is called {long}; see")).into_owned();
        assert!(told.len() < 200 && told.ends_with("… see"), "{told}");
        assert_eq!(shortened("a b"), "a b");
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(
            clean("a\u{1b}[2Jb\nc\u{9b}d\u{202e}"),
            "a\\u{1b}[2Jb\\u{a}c\\u{9b}d\\u{202e}"
        );
        assert_eq!(clean("Bücher 日本 🦀"), "Bücher 日本 🦀");
    }

    #[test]
    fn json_means_the_same_afterwards() {
        let value = serde_json::json!({"a": "x\u{7f}\u{9b}\u{202e}\u{1b}y"});
        let line = value.to_string();
        let safe = clean_json(&line);
        assert!(safe.is_ascii());
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&safe).unwrap(),
            value
        );
    }
}
