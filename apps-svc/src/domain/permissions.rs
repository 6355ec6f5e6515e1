//! The permissions of a manifest.

use serde_json::{Map, Value, json};

/// The verbs of a rule.
const VERBS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// The rules of a manifest as they are stored, in their order; `None` when there are none.
///
/// # Errors
/// A message that names the invalid rule and says what a valid one looks like.
pub(crate) fn read(value: Option<&Value>) -> Result<Option<Map<String, Value>>, String> {
    let rules = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(rules)) if rules.is_empty() => return Ok(None),
        Some(Value::Object(rules)) => rules,
        Some(_) => return Err("permissions: is no object of rules".to_owned()),
    };
    rules
        .iter()
        .map(|(name, value)| {
            let stored = rule(value).map_err(|wrong| format!("permissions.{name}: {wrong}"))?;
            Ok((name.clone(), Value::Object(stored)))
        })
        .collect::<Result<Map<_, _>, String>>()
        .map(Some)
}

fn rule(value: &Value) -> Result<Map<String, Value>, String> {
    let Value::Object(rule) = value else {
        return Err("is no object".to_owned());
    };
    let text = |field: &str| match rule.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err(format!("{field} is no text")),
    };
    let texts = |field: &str| match rule.get(field) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| {
                item.as_str()
                    .ok_or_else(|| format!("{field} holds no text"))
            })
            .collect(),
        Some(_) => Err(format!("{field} is no array of texts")),
    };
    let doctype = text("type")?.ok_or("names no doctype in type")?;
    check_doctype(doctype)?;
    let verbs = texts("verbs")?;
    if let Some(verb) = verbs
        .iter()
        .find(|verb| **verb != "ALL" && !VERBS.contains(verb))
    {
        return Err(format!(
            "{verb:?} is no verb; those are {} and ALL",
            VERBS.join(", ")
        ));
    }
    let values = texts("values")?;
    let mut stored = Map::new();
    stored.insert("type".to_owned(), json!(doctype));
    if let Some(description) = text("description")? {
        stored.insert("description".to_owned(), json!(description));
    }
    // An empty list of verbs stands for all verbs.
    if !verbs.contains(&"ALL") && !verbs.is_empty() {
        stored.insert("verbs".to_owned(), json!(verbs));
    }
    if let Some(selector) = text("selector")? {
        stored.insert("selector".to_owned(), json!(selector));
    }
    if !values.is_empty() {
        stored.insert("values".to_owned(), json!(values));
    }
    Ok(stored)
}

/// Checks a doctype: lower-case letters, digits, `.` and `_`. `X.*` stands for X and everything below it; X must be
/// more specific than a whole family such as `io.cozy`.
fn check_doctype(doctype: &str) -> Result<(), String> {
    let name = match doctype.strip_suffix(".*") {
        Some(_) if doctype.matches('.').count() < 3 => {
            return Err(format!(
                "the wildcard {doctype:?} is too wide; one looks like io.cozy.bank.*"
            ));
        }
        Some(name) => name,
        None => doctype,
    };
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_');
    if name.is_empty()
        || !name.chars().all(allowed)
        || name.starts_with('.')
        || name.ends_with('.')
        || name.contains("..")
    {
        return Err(format!(
            "{doctype:?} is no doctype; one looks like io.cozy.files"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use serde_json::{Value, json};

    use super::read;

    #[test]
    fn all_verbs_are_stored_as_an_empty_list_and_members_in_order() {
        let asked = json!({
            "z": {"verbs": ["ALL"], "description": "d", "type": "io.cozy.files"},
            "a": {"values": ["v"], "selector": "worker", "verbs": ["POST"], "type": "io.cozy.jobs"},
        });
        let stored = Value::Object(read(Some(&asked)).unwrap().unwrap());
        assert_eq!(
            stored.to_string(),
            r#"{"z":{"type":"io.cozy.files","description":"d"},"a":{"type":"io.cozy.jobs","verbs":["POST"],"selector":"worker","values":["v"]}}"#
        );
    }

    #[test]
    fn too_wide_and_invalid_doctypes_are_refused() {
        for doctype in [
            "io.cozy.*",
            "*",
            "io.*",
            "",
            "IO.Cozy",
            "io..cozy",
            ".io",
            "io.cozy.",
            "a/b",
        ] {
            let asked = json!({"all": {"type": doctype}});
            assert!(
                read(Some(&asked)).unwrap_err().contains("permissions.all"),
                "{doctype}"
            );
        }
        assert!(read(Some(&json!({"b": {"type": "io.cozy.bank.*"}}))).is_ok());
        assert!(read(Some(&json!({"b": {"type": "io.cozy.x", "verbs": ["EAT"]}}))).is_err());
        assert!(read(Some(&json!([]))).is_err());
    }
}
