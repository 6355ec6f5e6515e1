//! The slug of an app: its name in addresses.

/// The longest slug, in characters: a slug is a label of a host name.
const LONGEST: usize = 63;

/// Why a slug is invalid and what a valid one looks like; `None` when it is valid.
pub(crate) fn wrong(text: &str) -> Option<String> {
    if text.is_empty() {
        return Some("is empty; give a slug such as home".to_owned());
    }
    if text.len() > LONGEST {
        return Some(format!("is longer than {LONGEST} characters"));
    }
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if !text.bytes().all(allowed) {
        return Some(format!(
            "{text:?} is no slug; only a-z, 0-9 and - can stand in it"
        ));
    }
    None
}
