//! Feature flags: named values by which apps decide what they offer.
//!
//! Four sources have flags, and the first that has one counts: the instance itself, the configuration of its context,
//! the shares of its context, the defaults of the installation. The original asks a manager of installations too;
//! Hamlet has none.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use super::fields::formats::text::shown;

/// The maximum number of flags of one source.
pub(crate) const MOST: usize = 500;
/// The maximum length of a name, in bytes.
pub(crate) const LONGEST_NAME: usize = 128;
/// The maximum length of a value as JSON, in bytes.
pub(crate) const LONGEST_VALUE: usize = 4096;
/// The maximum number of shares of a flag.
const MOST_SHARES: usize = 100;

/// Flags by name.
pub(crate) type Flags = Map<String, Value>;

/// A value for a share of the instances.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Share {
    /// The share, from 0 to 1.
    pub(crate) ratio: Number,
    /// The value.
    pub(crate) value: Value,
}

/// Checks the name of a flag.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    // The database keeps the names that begin with an underscore to itself.
    let is_usable = !name.is_empty()
        && name.len() <= LONGEST_NAME
        && !name.starts_with('_')
        && !name.contains(|it: char| it.is_control() || it.is_whitespace());
    if is_usable {
        return Ok(());
    }
    Err(format!(
        "{} is no name of a flag; use one word of at most {LONGEST_NAME} bytes that does not begin with _, such as \
         drive.office",
        shown(name)
    ))
}

/// Reads the value of a flag from its text.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    if text.len() > LONGEST_VALUE {
        return Err(format!(
            "is longer than {LONGEST_VALUE} bytes; use a shorter value"
        ));
    }
    match serde_json::from_str(text) {
        Ok(Value::Null) => Err("is null; remove the flag instead".to_owned()),
        Ok(value) => Ok(value),
        Err(_) => Err(format!(
            "{} is no JSON; write a text in quotes, such as \"beta\"",
            shown(text)
        )),
    }
}

/// The values as texts.
pub(crate) fn texts(flags: &Flags) -> HashMap<String, String> {
    let flags = flags.iter();
    flags
        .map(|(name, value)| (name.clone(), value.to_string()))
        .collect()
}

/// Checks the shares of a flag.
///
/// # Errors
/// Says what is wrong with them.
pub(crate) fn check_shares(shares: &[Share]) -> Result<(), String> {
    if shares.len() > MOST_SHARES {
        return Err(format!("has more than {MOST_SHARES} shares; use fewer"));
    }
    let mut sum = 0.0;
    for share in shares {
        let ratio = share.ratio.as_f64().unwrap_or(f64::NAN);
        if !(0.0..=1.0).contains(&ratio) {
            return Err(format!(
                "has the ratio {}; a ratio is a number from 0 to 1, such as 0.25",
                share.ratio
            ));
        }
        if share.value.is_null() {
            return Err("has the value null; leave that share out".to_owned());
        }
        if share.value.to_string().len() > LONGEST_VALUE {
            return Err(format!(
                "has a value of more than {LONGEST_VALUE} bytes; use a shorter one"
            ));
        }
        sum += ratio;
    }
    // Ten tenths are a little more than 1.
    if sum > 1.0 + 1e-9 {
        return Err(format!("has shares of {sum} together; they are 1 at most"));
    }
    Ok(())
}

/// Sets and removes flags. The result is sorted by name.
pub(crate) fn change(flags: &Flags, set: Flags, removed: &[String]) -> Flags {
    let mut changed = flags.clone();
    for name in removed {
        changed.shift_remove(name);
    }
    changed.extend(set);
    changed.sort_keys();
    changed
}

/// What each source says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sources {
    /// The flags of the instance.
    pub(crate) instance: Flags,
    /// The flags of the configuration for its context.
    pub(crate) configured: Flags,
    /// The shares of its context: lists of [`Share`] by flag.
    pub(crate) context: Flags,
    /// The flags of all instances.
    pub(crate) defaults: Flags,
}

impl Sources {
    /// The flags that apply to the instance whose document has this id, by name.
    pub(crate) fn flags(&self, id: &str) -> Flags {
        let mut flags = self.defaults.clone();
        for (name, shares) in &self.context {
            if let Some(value) = value_of(shares, place(id, name)) {
                flags.insert(name.clone(), value.clone());
            }
        }
        flags.extend(self.configured.clone());
        flags.extend(self.instance.clone());
        flags.retain(|_, value| !value.is_null());
        flags.sort_keys();
        flags
    }
}

/// The value at a place between 0 and 1. What other software wrote in another form gives none.
fn value_of(shares: &Value, place: f64) -> Option<&Value> {
    let mut end = 0.0;
    for share in shares.as_array()? {
        end += share.get("ratio")?.as_f64()?;
        if place < end {
            return share.get("value");
        }
    }
    None
}

/// The place of an instance among all, for a flag: from 0 to below 1. It is the same as at the original, so that an
/// instance has the same value on both: found by comparing which instances get which value there.
fn place(id: &str, flag: &str) -> f64 {
    let hash = crc32fast::hash(format!("{id}:{flag}").as_bytes());
    f64::from(hash) / 4_294_967_296.0
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use serde_json::{Value, json};

    use super::{Flags, Share, Sources, change, check_name, check_shares, parse, place};

    fn flags(value: &Value) -> Flags {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn the_first_source_with_a_flag_counts() {
        let all = |value: &str| json!([{"ratio": 1, "value": value}]);
        let sources = Sources {
            instance: flags(&json!({"a": "instance"})),
            configured: flags(&json!({"a": "configured", "b": "configured"})),
            context: flags(
                &json!({"a": all("context"), "b": all("context"), "c": all("context"), "odd": 5, "none": []}),
            ),
            defaults: flags(&json!({"a": 1, "b": 1, "c": 1, "d": [1], "none": true, "null": null})),
        };
        let expected = r#"{"a":"instance","b":"configured","c":"context","d":[1],"none":true}"#;
        assert_eq!(Value::Object(sources.flags("1")).to_string(), expected);
    }

    /// Recorded from the original: with shares of 0.0001 each, these instances had these shares of these flags.
    #[test]
    fn an_instance_has_the_value_that_it_has_at_the_original() {
        for (id, places) in [
            ("5633554a8e4dcef9932ff1e3660031a3", [4637, 66, 5966, 9364]),
            ("5633554a8e4dcef9932ff1e3660055a1", [1444, 3280, 7927, 7420]),
        ] {
            for (number, expected) in places.into_iter().enumerate() {
                let place = place(id, &format!("h{number}")) * 10_000.0;
                let expected = f64::from(expected);
                assert!((expected..expected + 1.0).contains(&place), "{id} {place}");
            }
        }
    }

    #[test]
    fn shares_are_given_by_place() {
        let shares = json!([{"ratio": 0.3, "value": 1}, {"ratio": 0.2, "value": 2}]);
        for (place, value) in [(0.0, Some(1)), (0.29, Some(1)), (0.3, Some(2)), (0.5, None)] {
            let found = super::value_of(&shares, place).and_then(Value::as_i64);
            assert_eq!(found, value, "{place}");
        }
    }

    #[test]
    fn what_is_no_flag_is_refused() {
        for name in ["", "_id", "a b", "a\n", &"x".repeat(129)] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        assert_eq!(check_name("drive.office-1"), Ok(()));
        for text in [
            "",
            "null",
            "beta",
            "{",
            &format!("\"{}\"", "x".repeat(4096)),
        ] {
            assert!(parse(text).is_err(), "{text:.20}");
        }
        assert_eq!(
            parse("12345678901234567890"),
            Ok(json!(12_345_678_901_234_567_890_u64))
        );
        let shares = |value: Value| serde_json::from_value::<Vec<Share>>(value).unwrap();
        for wrong in [
            json!([{"ratio": 2, "value": 1}]),
            json!([{"ratio": -0.1, "value": 1}]),
            json!([{"ratio": 0.6, "value": 1}, {"ratio": 0.6, "value": 2}]),
            json!([{"ratio": 0.6, "value": null}]),
        ] {
            assert!(check_shares(&shares(wrong.clone())).is_err(), "{wrong}");
        }
        let tenth = json!({"ratio": 0.1, "value": 1});
        assert_eq!(check_shares(&shares(json!(vec![tenth; 10]))), Ok(()));
    }

    #[test]
    fn a_change_sets_and_removes() {
        let before = flags(&json!({"b": 1, "a": 2}));
        let after = change(&before, flags(&json!({"c": 3, "b": 4})), &["a".to_owned()]);
        assert_eq!(Value::Object(after).to_string(), r#"{"b":4,"c":3}"#);
    }
}
