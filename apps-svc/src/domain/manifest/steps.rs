//! Paths in a manifest that would lead out of the app, wherever they stand.

use serde_json::{Map, Value};

/// Members whose texts are no paths of the app's files: rules, and what an app gives itself.
const FREE: [&str; 2] = ["permissions", "parameters"];

/// Checks that no text and no name of a member leads out of the app with `..`. Not only the members that are known today
/// are looked at: whatever serves or shows an app later may take any of them for a path.
///
/// # Errors
/// The member, and its value in part.
pub(super) fn stay_inside(members: &Map<String, Value>) -> Result<(), String> {
    for (name, value) in members {
        if leads_up(name) {
            return Err(told(name));
        }
        if !FREE.contains(&name.as_str()) {
            check(value).map_err(|wrong| format!("{}: {wrong}", shown(name)))?;
        }
    }
    Ok(())
}

fn check(value: &Value) -> Result<(), String> {
    match value {
        Value::String(text) if leads_up(text) => Err(told(text)),
        Value::Array(items) => items.iter().try_for_each(check),
        Value::Object(members) => stay_inside(members),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

fn told(text: &str) -> String {
    format!(
        "the path {:?} leads out of the app with ..; name what is in the app",
        shown(text)
    )
}

fn shown(text: &str) -> String {
    text.chars().take(100).collect()
}

/// Whether a text is a path with a step up, as a browser reads it: percent-encoded dots and slashes count, a backslash is
/// a slash, and tabs and line ends are left out. An address of the web leads to no file of the server.
fn leads_up(text: &str) -> bool {
    let is_address = ["http://", "https://"]
        .iter()
        .any(|scheme| text.starts_with(scheme));
    !is_address
        && decoded(text)
            .split(['/', '\\', '?', '#'])
            .any(|step| step == "..")
}

/// The text without the encodings that matter for steps, however often it was encoded.
fn decoded(text: &str) -> String {
    let mut text: String = text
        .chars()
        .filter(|c| !matches!(c, '\t' | '\n' | '\r'))
        .collect();
    loop {
        let mut next = text.clone();
        for (encoded, plain) in [("%2e", "."), ("%2f", "/"), ("%5c", "\\"), ("%25", "%")] {
            next = next
                .replace(encoded, plain)
                .replace(&encoded.to_ascii_uppercase(), plain);
        }
        if next == text {
            return text;
        }
        text = next;
    }
}

#[cfg(test)]
mod tests {
    use super::leads_up;

    #[test]
    fn a_step_up_is_found_however_it_is_written() {
        for up in [
            "..",
            "../x",
            "/..",
            "a/../b",
            "a\\..\\b",
            "%2e%2e/x",
            "/%2E./x",
            "..%2fx",
            "%252e%252e%252fx",
            "/.\t./x",
            "../x y.png",
        ] {
            assert!(leads_up(up), "{up:?}");
        }
        for inside in [
            "",
            ".",
            "a..b",
            "...",
            "/public/icon.svg",
            "https://example.org/a/../b",
            "Two dots .. and a path / in words",
            "50%2e",
        ] {
            assert!(!leads_up(inside), "{inside:?}");
        }
    }
}
