//! Settings that have no field of their own.

use super::text::{self, shown};

/// The maximum number of settings of an instance.
pub const MOST: usize = 100;
/// The maximum length of a name, in bytes.
const LONGEST_NAME: usize = 64;

/// Reserved names: each means a field. Accepting them here would give one thing two values. Other software
/// removes them from the settings, or adds its own values under these names.
const OWN_FIELDS: [(&str, &str); 17] = [
    ("context", "use instance.context"),
    ("locale", "use instance.locale"),
    ("uuid", "use instance.uuid"),
    ("oidc_id", "use instance.oidc_id"),
    ("tos", "use instance.tos_signed"),
    ("tos_latest", "use instance.tos_latest"),
    ("auto_update", "use instance.no_auto_update"),
    ("auth_mode", "use instance.auth_mode"),
    ("sponsorships", "use instance.sponsorships"),
    ("onboarding_finished", "use instance.onboarding_finished"),
    ("tz", "use instance.timezone"),
    ("email", "use instance.email"),
    ("public_name", "use instance.public_name"),
    ("phone", "use instance.phone"),
    ("password_defined", "it follows from the passphrase"),
    ("feature_sets", "it cannot be set as text"),
    ("feature_flags", "it cannot be set as text"),
];

/// Checks a setting: its name, and its value, which is stored as a string.
///
/// # Errors
/// What is wrong, and what would be valid.
pub fn check(name: &str, value: &str) -> Result<(), String> {
    check_name(name)?;
    if let Some((_, instead)) = OWN_FIELDS.iter().find(|(taken, _)| *taken == name) {
        return Err(format!("has a field of its own: {instead}"));
    }
    text::check(value)
}

/// Checks the name of a setting. The command line of the compatible software has to be able to write it, too.
///
/// # Errors
/// What is wrong, and what would be valid.
pub fn check_name(name: &str) -> Result<(), String> {
    let well_formed = (1..=LONGEST_NAME).contains(&name.len())
        && !name.starts_with('_')
        && !name.contains(|c: char| c.is_control() || c.is_whitespace() || ":,".contains(c));
    if well_formed {
        Ok(())
    } else {
        Err(format!(
            "{} is no name of a setting; use up to {LONGEST_NAME} bytes without spaces, commas and colons, not \
             beginning with _",
            shown(name)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn a_setting_has_a_name_of_its_own() {
        for (name, value) in [("offer", "freemium"), ("partner", "a, b: c"), ("note", "")] {
            assert_eq!(check(name, value), Ok(()), "{name}");
        }
        for name in [
            "",
            "_id",
            "_rev",
            "a b",
            "a:b",
            "a,b",
            "a\nb",
            &"x".repeat(65),
        ] {
            assert!(check(name, "x").is_err(), "{name:?}");
        }
        for (name, told) in [
            ("locale", "use instance.locale"),
            ("tz", "use instance.timezone"),
            ("feature_sets", "cannot be set as text"),
        ] {
            assert!(
                check(name, "x").is_err_and(|wrong| wrong.contains(told)),
                "{name}"
            );
        }
        assert!(check("offer", "a\nb").is_err());
        assert!(check("offer", &"x".repeat(1025)).is_err());
    }
}
