//! The texts of all pages in eight languages.

use std::collections::HashMap;

/// The language when none of the reader's is available.
const FALLBACK: &str = "en";

/// The texts of pages, and those that have to do with mail.
const TEXTS: [(&str, [&str; 2]); 8] = [
    (
        "en",
        [
            include_str!("texts/en.json"),
            include_str!("texts/mail/en.json"),
        ],
    ),
    (
        "fr",
        [
            include_str!("texts/fr.json"),
            include_str!("texts/mail/fr.json"),
        ],
    ),
    (
        "de",
        [
            include_str!("texts/de.json"),
            include_str!("texts/mail/de.json"),
        ],
    ),
    (
        "es",
        [
            include_str!("texts/es.json"),
            include_str!("texts/mail/es.json"),
        ],
    ),
    (
        "ja",
        [
            include_str!("texts/ja.json"),
            include_str!("texts/mail/ja.json"),
        ],
    ),
    (
        "nl",
        [
            include_str!("texts/nl.json"),
            include_str!("texts/mail/nl.json"),
        ],
    ),
    (
        "ru",
        [
            include_str!("texts/ru.json"),
            include_str!("texts/mail/ru.json"),
        ],
    ),
    (
        "vi",
        [
            include_str!("texts/vi.json"),
            include_str!("texts/mail/vi.json"),
        ],
    ),
];

/// The texts. A key has a list of them: of a page, its title and its paragraphs.
#[derive(Debug)]
pub struct Texts(HashMap<&'static str, HashMap<String, Vec<String>>>);

impl Texts {
    /// Reads the texts.
    ///
    /// # Errors
    /// When they are not well-formed, which a test rules out.
    pub fn new() -> Result<Self, serde_json::Error> {
        let mut all = HashMap::new();
        for (language, files) in TEXTS {
            let texts: &mut HashMap<_, _> = all.entry(language).or_default();
            for file in files {
                texts.extend(serde_json::from_str::<HashMap<_, _>>(file)?);
            }
        }
        Ok(Self(all))
    }

    /// Whether there are texts in a language.
    #[must_use]
    pub fn knows(&self, language: &str) -> bool {
        self.0.contains_key(language)
    }

    /// The language of an instance's locale: `fr` for `fr-FR` and `fr_CA`.
    #[must_use]
    pub fn language_of(&self, locale: &str) -> &'static str {
        let primary = locale.split(['-', '_']).next().unwrap_or_default();
        self.0
            .get_key_value(primary.to_ascii_lowercase().as_str())
            .map_or(FALLBACK, |(language, _)| language)
    }

    /// The texts of a key; none when there is no such key.
    #[must_use]
    pub fn all(&self, key: &str, language: &str) -> &[String] {
        [language, FALLBACK]
            .iter()
            .find_map(|language| self.0.get(*language)?.get(key))
            .map_or(&[], Vec::as_slice)
    }

    /// The single text of a key.
    #[must_use]
    pub fn say(&self, key: &str, language: &str) -> String {
        self.all(key, language).first().cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a failed expectation is the test failing"
    )]

    use super::Texts;

    #[test]
    fn every_language_says_everything() {
        let texts = Texts::new().unwrap();
        let english = &texts.0["en"];
        for (language, texts) in &texts.0 {
            let missing: Vec<_> = english
                .keys()
                .filter(|it| !texts.contains_key(*it))
                .collect();
            assert!(missing.is_empty(), "{language}: {missing:?}");
            assert_eq!(texts.len(), english.len(), "{language}");
            for (key, text) in english {
                let other = &texts[key];
                assert_eq!(text.len(), other.len(), "{language} {key}");
                for (one, two) in text.iter().zip(other) {
                    assert!(!two.is_empty());
                    for slot in [
                        "{name}",
                        "{app}",
                        "{until}",
                        "{reason}",
                        "{time}",
                        "{used}",
                        "{browser}",
                        "{address}",
                        "{version}",
                        "{what}",
                        "{host}",
                        "{kind}",
                        "{list}",
                        "{selector}",
                    ] {
                        assert_eq!(
                            one.contains(slot),
                            two.contains(slot),
                            "{language} {key} {slot}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_locale_falls_back_to_its_language_and_then_to_english() {
        let texts = Texts::new().unwrap();
        assert_eq!(texts.language_of("fr-FR"), "fr");
        assert_eq!(texts.language_of("de_AT"), "de");
        assert_eq!(texts.language_of("xx"), "en");
        assert_eq!(texts.language_of(""), "en");
        assert_eq!(
            texts.say("form_submit", "xx"),
            texts.say("form_submit", "en")
        );
        assert_eq!(texts.say("nothing", "de"), "");
    }
}
