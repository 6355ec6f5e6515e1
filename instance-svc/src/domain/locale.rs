//! The languages of instances.

/// The language of an instance that names none.
pub const DEFAULT: &str = "en";

/// Checks that `text` looks like a language: two or three letters, then parts of two to eight letters
/// or digits after `-` or `_`, as in `fr`, `fr-FR` or `nl_NL`.
///
/// Languages that Hamlet has no names for are fine: directories then get their English names.
///
/// # Errors
/// What is wrong, and what would be right.
pub fn check(text: &str) -> Result<(), String> {
    let mut parts = text.split(['-', '_']);
    let language = parts.next().unwrap_or_default();
    let well_formed = (2..=3).contains(&language.len())
        && language.bytes().all(|byte| byte.is_ascii_alphabetic())
        && text.len() <= 35
        && parts.all(|part| {
            (2..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        });
    if well_formed {
        Ok(())
    } else {
        let shown: String = text.chars().take(40).collect();
        Err(format!(
            "{shown:?} is not a language; use one such as en, fr-FR or nl_NL"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn languages_are_told_from_other_texts() {
        for right in ["en", "fr", "fr-FR", "de_AT", "nl_NL", "zh-Hant-TW", "ast"] {
            assert_eq!(check(right), Ok(()), "{right}");
        }
        for wrong in [
            "", "e", "engl", "fr-", "fr--FR", "../fr", "fr FR", "12", "é",
        ] {
            assert!(check(wrong).is_err(), "{wrong:?}");
        }
    }
}
