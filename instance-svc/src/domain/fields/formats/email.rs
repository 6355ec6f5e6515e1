//! Mail addresses.

use super::text::shown;

/// The longest address that fits into the commands of SMTP (RFC 5321, 4.5.3.1.3), in bytes.
const LONGEST: usize = 254;
/// The longest part before the `@` (RFC 5321, 4.5.3.1.1), in bytes.
const LONGEST_LOCAL: usize = 64;

/// Checks a mail address. Accepts what mail servers accept: only text that cannot be an address is refused.
///
/// # Errors
/// What is wrong, and what would be valid.
pub fn check(text: &str) -> Result<(), String> {
    let plausible = text.len() <= LONGEST
        && text.rsplit_once('@').is_some_and(|(local, host)| {
            !local.is_empty()
                && local.len() <= LONGEST_LOCAL
                && host.split('.').all(|label| !label.is_empty())
                && !text
                    .contains(|c: char| c.is_whitespace() || c.is_control() || ",;<>".contains(c))
        });
    if plausible {
        Ok(())
    } else {
        Err(format!(
            "{} is no mail address; it looks like bob@example.org, without a name around it",
            shown(text)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn addresses_are_distinguished_from_other_texts() {
        for right in [
            "bob@example.org",
            "b.o+b@mail.example.org",
            "jürgen@exämple.de",
            "root@localhost",
            "\"a@b\"@example.org",
        ] {
            assert_eq!(check(right), Ok(()), "{right}");
        }
        for wrong in [
            "bob",
            "@example.org",
            "bob@",
            "bob@example..org",
            "bob@.org",
            "bob example@x.y",
            "Bob <bob@example.org>",
            "a@b.c,d@e.f",
        ] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
        assert!(check(&format!("{}@example.org", "x".repeat(65))).is_err());
        assert!(check(&format!("x@{}.org", "y".repeat(254))).is_err());
    }
}
