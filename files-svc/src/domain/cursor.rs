//! Page tokens of directory listings.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::order::SortKey;

/// The position at which a page ended. It is a position in the order and not a row number, so the next page repeats and
/// skips nothing when entries are added or removed in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The id of the directory.
    pub(crate) directory: String,
    /// The position of the page's last entry.
    pub(crate) last: SortKey,
}

impl Cursor {
    /// Encodes the token for callers.
    pub(crate) fn to_token(&self) -> String {
        let parts = [&self.directory, &self.last.name, &self.last.id];
        URL_SAFE_NO_PAD.encode(serde_json::json!(parts).to_string())
    }

    /// Decodes a token. `None` when it is not a token of this service.
    pub(crate) fn from_token(token: &str) -> Option<Self> {
        let text = URL_SAFE_NO_PAD.decode(token).ok()?;
        let [directory, name, id]: [String; 3] = serde_json::from_slice(&text).ok()?;
        Some(Self {
            directory,
            last: SortKey { name, id },
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Cursor, SortKey};

    proptest! {
        #[test]
        fn a_token_is_read_as_it_was_written(directory in ".*", name in ".*", id in ".*") {
            let cursor = Cursor { directory, last: SortKey { name, id } };
            prop_assert_eq!(Cursor::from_token(&cursor.to_token()), Some(cursor));
        }

        #[test]
        fn any_text_can_be_given_as_a_token(text in ".*") {
            let _ = Cursor::from_token(&text);
        }
    }

    #[test]
    fn foreign_tokens_are_refused() {
        for token in ["", "x", "????", "W10", "WyJhIiwiYiJd", "e30"] {
            assert_eq!(Cursor::from_token(token), None, "{token:?}");
        }
    }
}
