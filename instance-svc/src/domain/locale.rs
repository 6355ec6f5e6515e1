//! The languages of instances.

use language_tags::LanguageTag;

/// The default language.
pub const DEFAULT: &str = "en";

/// Checks a language: a subtag of the IANA registry (RFC 5646), optionally followed by a known script and a
/// known region after `-` or `_`, as in `fr`, `fr-FR`, `nl_NL` or `zh-Hant-TW`.
///
/// Documents keep it as it was written. A language for which Hamlet has no translations is accepted:
/// directories then get English names (see [`has_names`]).
///
/// # Errors
/// What is wrong, and what would be valid.
pub fn check(text: &str) -> Result<(), String> {
    match wrong_with(text) {
        None => Ok(()),
        Some(what) => {
            let shown: String = text.chars().take(40).collect();
            Err(format!(
                "{shown:?} {what}; use one such as en, fr-FR or nl_NL"
            ))
        }
    }
}

fn wrong_with(text: &str) -> Option<&'static str> {
    /// The maximum length of a language with a script and a region.
    const LONGEST: usize = 35;
    if text.is_empty() || text.len() > LONGEST {
        return Some("is not a language");
    }
    let Ok(tag) = LanguageTag::parse(&text.replace('_', "-")) else {
        return Some("is not a language");
    };
    let parts = 1 + usize::from(tag.script().is_some()) + usize::from(tag.region().is_some());
    if !(2..=3).contains(&tag.primary_language().len()) || parts != tag.as_str().split('-').count()
    {
        return Some("is more than a language, a script and a region");
    }
    if tag.region().is_some_and(is_private) {
        return Some("names no region of the world");
    }
    match tag.validate() {
        Ok(()) => None,
        Err(_) if tag.region().is_none() && tag.script().is_none() => {
            Some("is not a known language")
        }
        Err(_) => Some("names no known language, script and region"),
    }
}

/// Regions that the registry reserves for private use. Kosovo's code is one of them, and widely used.
fn is_private(region: &str) -> bool {
    let private = ("QM"..="QZ").contains(&region) || ("XA"..="XZ").contains(&region);
    (private && region != "XK") || matches!(region, "AA" | "ZZ")
}

/// Whether the names of directories are translated into this language.
#[must_use]
pub fn has_names(locale: &str) -> bool {
    let language = locale.split(['-', '_']).next().unwrap_or_default();
    service_kit::languages::TRANSLATED
        .iter()
        .any(|translated| translated.eq_ignore_ascii_case(language))
}

#[cfg(test)]
mod tests {
    use super::{check, has_names};

    #[test]
    fn languages_are_distinguished_from_other_texts() {
        for right in [
            "en",
            "fr",
            "fr-FR",
            "de_AT",
            "nl_NL",
            "zh-Hant-TW",
            "zh_hant_tw",
            "ast",
            "pt-BR",
            "es-419",
            "sq-XK",
            "FR",
        ] {
            assert_eq!(check(right), Ok(()), "{right}");
        }
        for wrong in [
            "",
            "e",
            "French",
            "fr FR",
            "fr-",
            "fr--FR",
            "fr_FR.UTF-8",
            "../x",
            "xx",
            "fr-XX",
            "fr-ZZ",
            "fra-FR-x-secret",
            "x-klingon",
            "i-klingon",
            "en-US-u-ca-gregory",
            "Français",
            &"en-".repeat(20),
        ] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_translated_languages_are_valid_and_have_names() {
        for language in service_kit::languages::TRANSLATED {
            assert_eq!(check(language), Ok(()), "{language}");
            assert!(has_names(language), "{language}");
        }
        assert!(has_names("nl_NL"));
        assert!(!has_names("pt-BR"));
    }
}
