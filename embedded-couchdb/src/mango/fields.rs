//! Field paths of Mango: names separated by dots.

use crate::{api_error::ApiError, json::Json};

/// Splits a path at its dots. `\.` stands for a dot in a name.
pub(crate) fn path(name: &str) -> Result<Vec<String>, ApiError> {
    let mut parts = vec![String::new()];
    let mut chars = name.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '.' => parts.push(String::new()),
            '\\' => {
                if chars.peek() == Some(&'.') {
                    chars.next();
                    if let Some(part) = parts.last_mut() {
                        part.push('.');
                    }
                }
            }
            c => {
                if let Some(part) = parts.last_mut() {
                    part.push(c);
                }
            }
        }
    }
    if parts.iter().any(String::is_empty) {
        return Err(ApiError::new(
            http::StatusCode::BAD_REQUEST,
            "invalid_field_name",
            format!("Invalid field name: {name}"),
        ));
    }
    Ok(parts)
}

/// The value at a path, if there is one. Numbers index arrays.
pub(crate) fn get<'a>(value: &'a Json, path: &[String]) -> Option<&'a Json> {
    let Some((name, rest)) = path.split_first() else {
        return Some(value);
    };
    let inner = match value {
        Json::Obj(_) => value.get(name)?,
        Json::Arr(items) => items.get(name.parse::<usize>().ok()?)?,
        _ => return None,
    };
    get(inner, rest)
}

/// Sets the value at a path and creates missing objects.
pub(crate) fn set(target: &mut Json, path: &[String], value: Json) {
    let Some((name, rest)) = path.split_first() else {
        *target = value;
        return;
    };
    if !matches!(target, Json::Obj(_)) {
        *target = Json::Obj(Vec::new());
    }
    if let Json::Obj(members) = target {
        if let Some((_, inner)) = members.iter_mut().find(|(key, _)| key == name) {
            set(inner, rest, value);
        } else {
            let mut inner = Json::Obj(Vec::new());
            set(&mut inner, rest, value);
            members.push((name.clone(), inner));
        }
    }
}

/// A copy of the document with only these fields.
pub(crate) fn extract(doc: &Json, fields: &[Vec<String>]) -> Json {
    let mut out = Json::Obj(Vec::new());
    for field in fields {
        if let Some(value) = get(doc, field) {
            set(&mut out, field, value.clone());
        }
    }
    out
}
