//! How hard a passphrase in plain text is to guess.

use zxcvbn::zxcvbn;

use crate::invalid_field::InvalidField;

/// How many characters are looked at. A longer passphrase is at least as strong, and the time for the look grows with
/// the length.
const LOOKED_AT: usize = 100;

/// Checks that a passphrase has at least this score of zxcvbn, from 0 (too guessable) to 4 (very unguessable):
/// Wheeler, "zxcvbn: Low-Budget Password Strength Estimation", USENIX Security 2016. `known` are texts that a guesser
/// knows, such as the domain.
///
/// # Errors
/// What is wrong, for the field `field`. The passphrase itself is not repeated.
pub fn check_strength(
    field: &str,
    passphrase: &str,
    known: &[&str],
    least: u8,
) -> Result<(), InvalidField> {
    if least == 0 {
        return Ok(());
    }
    let start: String = passphrase.chars().take(LOOKED_AT).collect();
    let words: Vec<&str> = known
        .iter()
        .flat_map(|text| text.split(|it: char| !it.is_alphanumeric()))
        .filter(|word| word.chars().count() > 2)
        .collect();
    if is_made_of(&start, &words) {
        return Err(InvalidField {
            field: field.to_owned(),
            wrong: "is too easy to guess: it is made of what everybody knows, such as the domain; use several words that do \
                    not belong together"
                .to_owned(),
        });
    }
    let strength = zxcvbn(&start, &words);
    let score = u8::from(strength.score());
    if score >= least {
        return Ok(());
    }
    let warning = strength
        .feedback()
        .and_then(zxcvbn::feedback::Feedback::warning)
        .map(|warning| format!(" ({})", warning.to_string().trim_end_matches('.')))
        .unwrap_or_default();
    Err(InvalidField {
        field: field.to_owned(),
        wrong: format!(
            "is too easy to guess: {score} of 4 points, at least {least} are asked for{warning}; use several words that \
             do not belong together"
        ),
    })
}

/// Whether nothing but separators and a few characters is left of a passphrase without the words that a guesser knows.
fn is_made_of(passphrase: &str, words: &[&str]) -> bool {
    /// What people add to a word that they know.
    const ADDED: usize = 3;
    let whole = passphrase.to_lowercase();
    let mut words: Vec<String> = words.iter().map(|word| word.to_lowercase()).collect();
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    let mut rest = whole.clone();
    for word in &words {
        rest = rest.replace(word.as_str(), " ");
    }
    rest != whole && rest.chars().filter(|it| it.is_alphanumeric()).count() <= ADDED
}

#[cfg(test)]
mod tests {
    use super::check_strength;

    #[test]
    fn what_is_easy_to_guess_is_refused_and_never_repeated() {
        for weak in ["passw0rd", "aaaaaaaaaaaa", "alice1", "20251231"] {
            let wrong = check_strength("passphrase", weak, &["alice.example.org"], 2);
            let told = wrong.err().map(|wrong| wrong.to_string());
            assert!(
                told.is_some_and(|told| told.contains("too easy to guess") && !told.contains(weak)),
                "{weak}"
            );
            assert!(check_strength("passphrase", weak, &[], 0).is_ok());
        }
        for known in [
            "csv.localhost",
            "CSV.Localhost",
            "localhost18080",
            "csv-localhost!1",
            "csv.localhost:18080",
        ] {
            let checked = check_strength("passphrase", known, &["csv.localhost:18080"], 2);
            assert!(checked.is_err(), "{known}");
        }
        let long = "correct horse battery staple ".repeat(40);
        for strong in ["correct horse battery staple", "kX9#vQ2m", long.as_str()] {
            assert!(
                check_strength("passphrase", strong, &[], 2).is_ok(),
                "{strong}"
            );
        }
    }
}
