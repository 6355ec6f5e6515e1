//! The languages into which Hamlet is translated.

/// The languages of directory names and pages, as ISO 639-1 codes.
pub const TRANSLATED: [&str; 8] = ["de", "en", "es", "fr", "ja", "nl", "ru", "vi"];
