//! Texts that people read: one line that reads as it is.

/// The maximum length of such a text, in bytes.
pub const LONGEST: usize = 1024;

/// Checks a text: one line of limited length. It may be empty.
///
/// # Errors
/// What is wrong, and what would be valid.
pub fn check(text: &str) -> Result<(), String> {
    if text.len() > LONGEST {
        return Err(format!(
            "is longer than {LONGEST} bytes; use a shorter text"
        ));
    }
    if text.chars().any(char::is_control) {
        return Err("holds a control character; use printable text on one line".to_owned());
    }
    if text.contains(turns_text) {
        return Err(
            "holds a character that breaks lines or turns the direction of text; leave it out"
                .to_owned(),
        );
    }
    if !text.is_empty() && text.trim().is_empty() {
        return Err("is blank; write something, or leave it out".to_owned());
    }
    Ok(())
}

/// Whether a character makes the text after it look like another one: overrides of the direction, and separators of lines
/// (UAX #9, UAX #14). The marks of direction, which languages need, do no such thing.
const fn turns_text(c: char) -> bool {
    matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn text_is_one_line_that_reads_as_it_is() {
        for right in ["", "Rechnung 42 offen", "\u{200f}عربي", "日本"] {
            assert_eq!(check(right), Ok(()), "{right:?}");
        }
        for wrong in [
            " ",
            "   ",
            "\u{3000}",
            "a\nb",
            "\u{202e}evil",
            "a\u{2066}b",
            "a\u{2028}b",
        ] {
            assert!(check(wrong).is_err(), "{wrong:?}");
        }
    }
}
