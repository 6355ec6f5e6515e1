//! Free text.

/// The maximum length of free text, in bytes.
pub const LONGEST: usize = 1024;

/// Checks free text: one line of limited length. It may be empty.
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
    Ok(())
}

/// Shortens a text for a message.
pub(in crate::domain::fields) fn shown(text: &str) -> String {
    const MOST: usize = 60;
    if text.chars().count() <= MOST {
        return format!("{text:?}");
    }
    let begin: String = text.chars().take(MOST).collect();
    format!("{begin:?}…")
}
