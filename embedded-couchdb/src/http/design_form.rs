//! The form of design documents, which CouchDB checks when they are written.

use http::StatusCode;

use crate::{api_error::ApiError, json::Json};

type Members = [(String, Json)];

fn invalid(reason: String) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "invalid_design_doc", reason)
}

fn wrong_type(path: &str, wanted: &str) -> ApiError {
    invalid(format!("`{path}` field must have {wanted} type"))
}

fn member<'a>(members: &'a Members, key: &str) -> Option<&'a Json> {
    members
        .iter()
        .find(|(name, _)| name == key)
        .map(|(_, value)| value)
}

/// Refuses a design document whose members have the wrong form.
pub(crate) fn check(body: &Members) -> Result<(), ApiError> {
    let object = |key: &str| match member(body, key) {
        None => Ok(&[][..]),
        Some(Json::Obj(members)) => Ok(members.as_slice()),
        Some(_) => Err(wrong_type(key, "object")),
    };
    for (option, value) in object("options")? {
        let is_flag = matches!(
            option.as_str(),
            "local_seq" | "include_design" | "partitioned"
        );
        if is_flag && value.as_bool().is_none() {
            return Err(wrong_type(&format!("options.{option}"), "boolean"));
        }
    }
    for kind in ["filters", "lists", "shows", "updates"] {
        for (name, function) in object(kind)? {
            if !matches!(function, Json::Str(_) | Json::Obj(_)) {
                return Err(wrong_type(&format!("{kind}.{name}"), "string or object"));
            }
        }
    }
    for key in ["language", "validate_doc_update"] {
        if member(body, key).is_some_and(|value| value.as_str().is_none()) {
            return Err(wrong_type(key, "string"));
        }
    }
    if member(body, "rewrites")
        .is_some_and(|rewrites| !matches!(rewrites, Json::Arr(_) | Json::Str(_)))
    {
        return Err(wrong_type("rewrites", "array or string"));
    }
    let is_query = member(body, "language").and_then(Json::as_str) == Some("query");
    for (name, view) in object("views")? {
        let Json::Obj(view) = view else {
            return Err(wrong_type(&format!("views.{name}"), "object"));
        };
        if name == "lib" || is_query {
            continue;
        }
        for (function, value) in view {
            if matches!(function.as_str(), "map" | "reduce") && value.as_str().is_none() {
                return Err(wrong_type(&format!("views.{name}.{function}"), "string"));
            }
        }
        if member(view, "map").is_none() {
            return Err(invalid(format!("View `{name}` must contain map function")));
        }
    }
    Ok(())
}
