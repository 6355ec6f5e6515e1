//! Sponsors of an instance.

use super::text::shown;

/// The maximum number of sponsors of an instance.
const MOST: usize = 50;

/// Checks the sponsors of an instance: each is a name under which a logo is found.
///
/// # Errors
/// What is wrong, and what would be valid.
pub fn check(sponsors: &[String]) -> Result<(), String> {
    if sponsors.len() > MOST {
        return Err(format!("names more than {MOST} sponsors; use fewer"));
    }
    for (position, sponsor) in sponsors.iter().enumerate() {
        let well_formed = (1..=64).contains(&sponsor.len())
            && sponsor.starts_with(|c: char| c.is_ascii_alphanumeric())
            && sponsor
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !well_formed {
            return Err(format!(
                "{} is no name of a sponsor; use up to 64 letters, digits and - _ ., such as acme",
                shown(sponsor)
            ));
        }
        if sponsors.iter().take(position).any(|other| other == sponsor) {
            return Err(format!("names {sponsor} a second time"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;

    fn checked(sponsors: &[&str]) -> Result<(), String> {
        let sponsors: Vec<String> = sponsors.iter().map(|&text| text.to_owned()).collect();
        check(&sponsors)
    }

    #[test]
    fn sponsors_are_distinct_names() {
        assert_eq!(checked(&[]), Ok(()));
        assert_eq!(checked(&["acme", "Grand-Lyon_2"]), Ok(()));
        for wrong in [
            &[""][..],
            &["a b"],
            &["../x"],
            &["a,b"],
            &["acme", "acme"],
            &["x"; 51],
        ] {
            assert!(checked(wrong).is_err(), "{wrong:?}");
        }
    }
}
