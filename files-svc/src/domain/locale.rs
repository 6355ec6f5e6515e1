//! The names of the default directories in each language.
//!
//! Software of the owner finds these directories later by reference or by path, so a name is chosen once, when the tree
//! is created, and never changed.

/// The names of the directories that a new instance gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Names {
    /// Administrative papers that konnectors import.
    pub(crate) administrative: &'static str,
    /// Photos.
    pub(crate) photos: &'static str,
    /// Below photos: uploads of the photos app.
    pub(crate) uploaded: &'static str,
    /// Below photos: backups of a phone.
    pub(crate) backed_up: &'static str,
}

const ENGLISH: Names = Names {
    administrative: "Administrative",
    photos: "Photos",
    uploaded: "Uploaded from Cozy Photos",
    backed_up: "Backed up from my mobile",
};

/// Every language with translated names. "Cozy Photos" is a product name and is not translated.
const LANGUAGES: [(&str, Names); 8] = [
    ("en", ENGLISH),
    (
        "fr",
        Names {
            administrative: "Administratif",
            photos: "Photos",
            uploaded: "Importées depuis Cozy Photos",
            backed_up: "Sauvegardées depuis mon mobile",
        },
    ),
    (
        "de",
        Names {
            administrative: "Administrativ",
            photos: "Fotos",
            uploaded: "Aus Cozy Photos hochgeladen",
            backed_up: "Von meinem Handy gesichert",
        },
    ),
    (
        "es",
        Names {
            administrative: "Administrativo",
            photos: "Fotos",
            uploaded: "Subidas desde Cozy Photos",
            backed_up: "Guardadas desde mi móvil",
        },
    ),
    (
        "ja",
        Names {
            administrative: "管理",
            photos: "写真",
            uploaded: "Cozy Photosからのアップロード",
            backed_up: "スマートフォンからのバックアップ",
        },
    ),
    (
        "nl",
        Names {
            administrative: "Administratief",
            photos: "Foto's",
            uploaded: "Geüpload vanuit Cozy Photos",
            backed_up: "Back-up van mijn mobiel",
        },
    ),
    (
        "ru",
        Names {
            administrative: "Административные",
            photos: "Фотографии",
            uploaded: "Загружено из Cozy Photos",
            backed_up: "Резервная копия с моего телефона",
        },
    ),
    (
        "vi",
        Names {
            administrative: "Quản trị",
            photos: "Ảnh",
            uploaded: "Tải lên từ Cozy Photos",
            backed_up: "Sao lưu từ điện thoại của tôi",
        },
    ),
];

/// The names for a locale such as `fr`, `fr-FR` or `de_AT`, by its language; English for an unknown language.
pub(crate) fn names(locale: &str) -> Names {
    let language = locale
        .split(['-', '_', '.', '@'])
        .next()
        .unwrap_or_default();
    LANGUAGES
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(language))
        .map_or(ENGLISH, |(_, names)| *names)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{ENGLISH, LANGUAGES, names};
    use crate::domain::path::check_name;

    #[test]
    fn a_region_falls_back_to_its_language_and_then_to_english() {
        assert_eq!(names("fr").administrative, "Administratif");
        assert_eq!(names("fr-FR"), names("fr"));
        assert_eq!(names("de_AT"), names("de"));
        assert_eq!(names("nl_NL").photos, "Foto's");
        assert_eq!(names("nl"), names("nl_NL"));
        assert_eq!(names("ja_JP.UTF-8"), names("ja"));
        assert_eq!(names("FR"), names("fr"));
        for unknown in ["", "xx", "-", "fra", "pt-BR"] {
            assert_eq!(names(unknown), ENGLISH, "{unknown:?}");
        }
    }

    #[test]
    fn every_translated_name_is_valid_and_unique() {
        for (language, names) in LANGUAGES {
            for name in [
                names.administrative,
                names.photos,
                names.uploaded,
                names.backed_up,
            ] {
                assert!(check_name(name).is_ok(), "{language}: {name}");
                assert_eq!(name.trim(), name, "{language}: {name}");
            }
            assert_ne!(names.administrative, names.photos, "{language}");
            assert_ne!(names.uploaded, names.backed_up, "{language}");
        }
        let languages: HashSet<_> = LANGUAGES.iter().map(|(language, _)| *language).collect();
        assert_eq!(languages.len(), LANGUAGES.len());
        assert_eq!(languages, service_kit::languages::TRANSLATED.into());
    }
}
