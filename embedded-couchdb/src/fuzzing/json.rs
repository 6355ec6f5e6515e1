//! Texts in JSON.

use crate::{
    erlang::{Term, printed, printed_readably},
    json::Json,
};

/// Parses the bytes as JSON and returns the text that is written for them; `None` if they are none.
///
/// # Panics
/// If the written text does not stand for the same value, is not written the same again, or has a float in another
/// form than CouchDB's.
#[must_use]
pub fn json(bytes: &[u8]) -> Option<String> {
    let value = Json::parse(bytes).ok()?;
    let text = value.to_string();
    let back = Json::parse(text.as_bytes());
    assert_eq!(
        back.as_ref(),
        Ok(&value),
        "the text of a value is another value"
    );
    assert_eq!(
        back.map(|back| back.to_string()).as_ref(),
        Ok(&text),
        "a value is written in two ways"
    );
    check_floats(&value);
    // Any value has a term and can be in a message.
    let mut term = Term::new();
    term.json(&value);
    assert!(!term.bytes().is_empty());
    assert!(printed(&value).is_ascii(), "bytes are printed as numbers");
    let _ = printed_readably(&value);
    Some(text)
}

/// Floats are written with a fraction from 1e-6 to 1e21, and with an exponent beyond.
fn check_floats(value: &Json) {
    match value {
        Json::Float(number) => {
            let text = value.to_string();
            let plain = *number == 0.0 || (1e-6..1e21).contains(&number.abs());
            assert_eq!(plain, !text.contains('e'), "{text}");
            assert!(!plain || text.contains('.'), "{text} would be an integer");
        }
        Json::Arr(items) => items.iter().for_each(check_floats),
        Json::Obj(members) => members.iter().for_each(|(_, value)| check_floats(value)),
        _ => {}
    }
}
