//! Settings: `KEY:VALUE` in a list, `NAME=VALUE` alone.

/// Reads one setting of a list. Its value may contain colons, but no commas, which separate settings.
///
/// # Errors
/// When the text has no colon, or no key before it.
pub(crate) fn of_list(text: &str) -> Result<(String, String), String> {
    split(text, ':').ok_or_else(|| {
        format!(
            "{text:?} is no setting; write KEY:VALUE, several separated by commas (--setting takes a value with a comma)"
        )
    })
}

/// Reads one setting that stands alone. Its value may be any text.
///
/// # Errors
/// When the text has no equals sign, or no name before it.
pub(crate) fn alone(text: &str) -> Result<(String, String), String> {
    split(text, '=').ok_or_else(|| format!("{text:?} is no setting; write NAME=VALUE"))
}

fn split(text: &str, at: char) -> Option<(String, String)> {
    let (key, value) = text.split_once(at)?;
    let key = key.trim();
    (!key.is_empty()).then(|| (key.to_owned(), value.to_owned()))
}

/// Reads a boolean as the original's settings hold it.
///
/// # Errors
/// When the text is none.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!(
            "{text:?} is neither true nor false; write one of them"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::{alone, boolean, of_list};

    #[test]
    fn a_value_may_hold_the_separator() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(of_list("a:b:c"), Ok(pair("a", "b:c")));
        assert_eq!(of_list("a:"), Ok(pair("a", "")));
        assert_eq!(alone("a=b=c, d:e"), Ok(pair("a", "b=c, d:e")));
        for wrong in ["a", ":b"] {
            assert!(of_list(wrong).is_err(), "{wrong}");
        }
        for wrong in ["a:b", "=b"] {
            assert!(alone(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn booleans_are_those_of_the_original() {
        assert_eq!(boolean("T"), Ok(true));
        assert_eq!(boolean("0"), Ok(false));
        assert!(boolean("yes").is_err());
    }
}
