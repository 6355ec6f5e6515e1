//! Settings: `key:value`.

use std::collections::HashMap;

/// Reads one setting; the value may hold colons.
///
/// # Errors
/// When there is no colon, or no key before it.
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

/// Puts settings together.
///
/// # Errors
/// When a key is given twice.
pub(crate) fn collect(settings: Vec<(String, String)>) -> Result<HashMap<String, String>, String> {
    let mut all = HashMap::new();
    for (key, value) in settings {
        if all.insert(key.clone(), value).is_some() {
            return Err(format!("--settings: {key} is given twice; give it once"));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::{collect, parse};

    #[test]
    fn a_value_may_hold_colons_and_a_key_comes_once() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(parse("a:b:c"), Ok(pair("a", "b:c")));
        assert_eq!(parse("a:"), Ok(pair("a", "")));
        assert!(parse("a").is_err());
        assert!(parse(":b").is_err());
        assert!(collect(vec![pair("a", "1"), pair("a", "2")]).is_err());
    }
}
