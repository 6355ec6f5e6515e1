//! What another implementation says of the same bytes. The targets and the replay of their corpus use this.

use serde_json::Value;

/// Reads a text in JSON as the crate and as `serde_json` do.
///
/// # Panics
/// If only one accepts it, or both read different values.
pub(crate) fn json(bytes: &[u8]) {
    let written = embedded_couchdb::fuzzing::json(bytes);
    let theirs = serde_json::from_slice::<Value>(bytes);
    match (written, theirs) {
        (Some(text), Ok(theirs)) => {
            let ours: Value = serde_json::from_str(&text).expect("what is written is JSON");
            assert!(is_same(&ours, &theirs), "{ours} {theirs}");
        }
        (None, Ok(theirs)) => {
            // The rounding of the two may differ at the greatest float.
            assert!(has_limit(&theirs), "not accepted: {theirs}");
        }
        (Some(text), Err(error)) => {
            let why = error.to_string();
            // What has a smaller limit there.
            let is_limit = why.contains("recursion limit") || why.contains("number out of range");
            assert!(is_limit, "accepted: {text}: {why}");
        }
        (None, Err(_)) => {}
    }
}

/// Whether two values are equal. Floats are read with an error of a few units in the last place there.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) if a == b => true,
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= a.abs() * 1e-14 + 1e-307
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, a)| b.get(key).is_some_and(|b| is_same(a, b)))
        }
        _ => a == b,
    }
}

fn has_limit(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_f64().is_some_and(|x| x.abs() > 1.797e308),
        Value::Array(items) => items.iter().any(has_limit),
        Value::Object(members) => members.values().any(has_limit),
        _ => false,
    }
}
