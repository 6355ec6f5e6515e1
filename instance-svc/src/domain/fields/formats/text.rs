//! Free text.

pub use identity::text::{LONGEST, check};

/// Shortens a text for a message.
pub(in crate::domain) fn shown(text: &str) -> String {
    const MOST: usize = 60;
    if text.chars().count() <= MOST {
        return format!("{text:?}");
    }
    let begin: String = text.chars().take(MOST).collect();
    format!("{begin:?}…")
}
