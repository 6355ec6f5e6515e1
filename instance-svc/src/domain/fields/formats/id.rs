//! Ids from other parties: the hosting provider and identity providers.

use super::text::shown;
use crate::domain::name::Name;

/// The maximum length of a provider's id, in bytes.
const LONGEST_UUID: usize = 128;
/// The maximum length of a subject, in bytes (OpenID Connect Core 1.0, section 2, `sub`).
const LONGEST_SUBJECT: usize = 255;

/// Checks an id of the hosting provider. It is usually a UUID and part of the provider's URLs, so it has to be
/// one path segment without escaping.
///
/// # Errors
/// What is wrong, and what would be valid.
pub fn check_uuid(text: &str) -> Result<(), String> {
    let well_formed = (1..=LONGEST_UUID).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:~".contains(&byte));
    if well_formed {
        Ok(())
    } else {
        Err(format!(
            "{} is no id; use a UUID such as 018f3b2e-7c61-7a40-8f0e-5b1c2d3e4f50, or up to {LONGEST_UUID} \
             letters, digits and - _ . : ~",
            shown(text)
        ))
    }
}

/// Checks the domain of an organisation. It names no instance, so it is stored as it was written.
///
/// # Errors
/// What is wrong, and what would be valid.
pub fn check_org_domain(text: &str) -> Result<(), String> {
    let name: Result<Name, _> = text.parse();
    name.and_then(|name| name.require_reachable())
        .map_err(|wrong| wrong.to_string())
}

/// Checks a subject of an OpenID Connect provider, the `sub` of its tokens.
///
/// # Errors
/// What is wrong, and what would be valid.
pub fn check_subject(text: &str) -> Result<(), String> {
    let well_formed = (1..=LONGEST_SUBJECT).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() || byte == b' ')
        && text.trim() == text;
    if well_formed {
        Ok(())
    } else {
        Err(format!(
            "{} is no subject of OpenID Connect; use the sub of the provider's tokens, up to {LONGEST_SUBJECT} \
             printable ASCII characters",
            shown(text)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::{check_org_domain, check_subject, check_uuid};

    #[test]
    fn an_organisation_has_a_domain() {
        for right in ["org.example", "org.example:8080", "élodie.example"] {
            assert_eq!(check_org_domain(right), Ok(()), "{right}");
        }
        for wrong in ["", "a b", "org.example/x", "1.2.3"] {
            assert!(check_org_domain(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_id_of_the_provider_is_one_segment_of_a_path() {
        for right in [
            "018f3b2e-7c61-7a40-8f0e-5b1c2d3e4f50",
            "58a4f3a0e4b0",
            "tenant:42",
        ] {
            assert_eq!(check_uuid(right), Ok(()), "{right}");
        }
        for wrong in ["", ".", "..", "a/b", "a b", "é", "a?b", "%41", "-"] {
            assert!(check_uuid(wrong).is_err(), "{wrong:?}");
        }
        assert!(check_uuid(&"x".repeat(129)).is_err());
    }

    #[test]
    fn a_subject_is_what_a_provider_may_send() {
        for right in [
            "248289761001",
            "auth0|5f7c8ec7c33c6c004bbafe82",
            "bob@example.org",
        ] {
            assert_eq!(check_subject(right), Ok(()), "{right}");
        }
        for wrong in ["", " ", "bob ", "élodie", "a\nb"] {
            assert!(check_subject(wrong).is_err(), "{wrong:?}");
        }
        assert!(check_subject(&"x".repeat(256)).is_err());
    }
}
