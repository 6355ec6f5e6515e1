//! Phone numbers.

use super::text::shown;

/// The minimum and maximum number of digits: the shortest number in use, and the maximum of E.164.
const DIGITS: std::ops::RangeInclusive<usize> = 3..=15;

/// Checks a phone number: digits, which may be grouped by spaces, dots, hyphens, slashes and parentheses, with
/// a `+` before the country code.
///
/// Documents keep it as it was written: the usual grouping differs from country to country.
///
/// # Errors
/// What is wrong, and what would be valid.
pub fn check(text: &str) -> Result<(), String> {
    let number = text.strip_prefix('+').unwrap_or(text);
    let digits = number.bytes().filter(u8::is_ascii_digit).count();
    let well_formed = number
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b" .-/()".contains(&byte))
        && number.starts_with(|c: char| c.is_ascii_digit() || c == '(')
        && number.ends_with(|c: char| c.is_ascii_digit())
        && text.len() <= 40;
    if well_formed && DIGITS.contains(&digits) {
        Ok(())
    } else {
        Err(format!(
            "{} is no phone number; it looks like +33 6 12 34 56 78, with {} to {} digits",
            shown(text),
            DIGITS.start(),
            DIGITS.end()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn numbers_are_distinguished_from_other_texts() {
        for right in [
            "+33612345678",
            "+33 6 12 34 56 78",
            "06.12.34.56.78",
            "(030) 123-4567",
            "+49 (0)30/1234567",
            "112",
        ] {
            assert_eq!(check(right), Ok(()), "{right}");
        }
        for wrong in [
            "",
            "+",
            "12",
            "+1234567890123456",
            "++33612345678",
            "33+612345678",
            "06 12 x",
            "+33 6 12 -",
            "٠٦١٢٣٤٥٦٧٨",
            "+33\t612345678",
        ] {
            assert!(check(wrong).is_err(), "{wrong:?}");
        }
    }
}
