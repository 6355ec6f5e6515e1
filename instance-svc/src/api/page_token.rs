//! The page tokens of lists of instances: the id after which the next page begins, and a checksum, so that a token that
//! was cut or typed by hand is refused and does not begin the list somewhere else. Version 0.1.0 took the id alone; it
//! refuses the hyphens.

use sha2::{Digest as _, Sha256};

/// The length of the checksum, in characters.
const CHECKSUM: usize = 6;

/// After what a page begins. Instances come first, then those that are being created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position<'a> {
    /// The instance with this id.
    Instance(&'a str),
    /// The creation of the instance with this id.
    Creation(&'a str),
}

/// The token of the page after this position.
pub(super) fn of(position: Position<'_>) -> String {
    let text = match position {
        Position::Instance(id) => id.to_owned(),
        Position::Creation(id) => format!("creation-{id}"),
    };
    format!("{}-{text}", checksum(&text))
}

/// The position in a token; `None` when it is no token.
pub(super) fn read(token: &str) -> Option<Position<'_>> {
    let (sum, text) = token.split_once('-')?;
    if text.is_empty() || sum != checksum(text) {
        return None;
    }
    Some(match text.strip_prefix("creation-") {
        Some(id) => Position::Creation(id),
        None => Position::Instance(text),
    })
}

fn checksum(text: &str) -> String {
    let mut sum = hex::encode(Sha256::digest(text));
    sum.truncate(CHECKSUM);
    sum
}

#[cfg(test)]
mod tests {
    use super::{Position, of, read};

    #[test]
    fn only_what_was_given_is_read() {
        for position in [
            Position::Instance("01a229df82cc0000"),
            Position::Creation("01a229df82cc0000"),
        ] {
            let token = of(position);
            assert_eq!(read(&token), Some(position));
            for wrong in [
                "",
                "é",
                "01a229df82cc0000",
                token.get(1..).unwrap_or_default(),
                token.get(..token.len() - 1).unwrap_or_default(),
            ] {
                assert_eq!(read(wrong), None, "{wrong}");
            }
        }
    }
}
