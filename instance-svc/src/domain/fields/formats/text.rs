//! Free text.

/// The longest free text, in bytes.
pub const LONGEST: usize = 1024;

/// Checks a text that people wrote: one line of limited length. Empty is fine.
///
/// # Errors
/// What is wrong, and what would be right.
pub fn check(text: &str) -> Result<(), String> {
    if text.len() > LONGEST {
        return Err(format!(
            "is longer than {LONGEST} bytes; use a shorter text"
        ));
    }
    if text.chars().any(char::is_control) {
        return Err("holds a control character; use printable text on one line".to_owned());
    }
    Ok(())
}

/// As much of a text as a message can show.
pub(in crate::domain::fields) fn shown(text: &str) -> String {
    const MOST: usize = 60;
    if text.chars().count() <= MOST {
        return format!("{text:?}");
    }
    let begin: String = text.chars().take(MOST).collect();
    format!("{begin:?}…")
}
