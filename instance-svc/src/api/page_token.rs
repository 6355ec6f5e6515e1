//! The page tokens of lists of instances: the id after which the next page begins, and a checksum, so that a token that
//! was cut or typed by hand is refused and does not begin the list somewhere else.

use sha2::{Digest as _, Sha256};

/// The length of the checksum, in characters.
const CHECKSUM: usize = 6;

/// The token of the page after this id.
pub(super) fn of(id: &str) -> String {
    format!("{}{id}", checksum(id))
}

/// The id in a token; `None` when it is no token.
pub(super) fn read(token: &str) -> Option<&str> {
    let (sum, id) = token.split_at_checked(CHECKSUM)?;
    (!id.is_empty() && sum == checksum(id)).then_some(id)
}

fn checksum(id: &str) -> String {
    let mut sum = hex::encode(Sha256::digest(id));
    sum.truncate(CHECKSUM);
    sum
}

#[cfg(test)]
mod tests {
    use super::{of, read};

    #[test]
    fn only_what_was_given_is_read() {
        let token = of("01a229df82cc0000");
        assert_eq!(read(&token), Some("01a229df82cc0000"));
        for wrong in [
            "",
            "é",
            "01a229df82cc0000",
            &token[1..],
            &token[..token.len() - 1],
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
