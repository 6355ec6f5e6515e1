//! The languages that Hamlet speaks.

/// The languages in which it has names for directories and texts for pages, by their ISO 639-1 codes.
pub const TRANSLATED: [&str; 8] = ["de", "en", "es", "fr", "ja", "nl", "ru", "vi"];
