//! Settings: `key:value`.

/// Reads one setting. Its value may contain colons.
///
/// # Errors
/// When the text has no colon, or no key before it.
pub(crate) fn parse(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.to_owned()))
        }
        _ => Err(format!(
            "{text:?} is no setting; write KEY:VALUE, several separated by commas"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_value_may_hold_colons() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(parse("a:b:c"), Ok(pair("a", "b:c")));
        assert_eq!(parse("a:"), Ok(pair("a", "")));
        assert!(parse("a").is_err());
        assert!(parse(":b").is_err());
    }
}
