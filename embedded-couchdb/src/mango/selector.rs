//! Normalization of selectors.
//!
//! In the normal form, each object has one member, `$and` and `$eq` are explicit, field paths are complete, and
//! negations are pushed down to the conditions. `_explain` shows it and the planner uses it.

use http::StatusCode;

use crate::{
    api_error::ApiError,
    erlang::printed,
    json::{Json, obj},
};

fn refused(error: &'static str, reason: String) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, error, reason)
}

fn bad_arg(op: &str, arg: &Json) -> ApiError {
    refused(
        "bad_arg",
        format!("Bad argument for operator {op}: {}", printed(arg)),
    )
}

/// The only member of a normalized selector.
pub(crate) fn single(value: &Json) -> Option<(&str, &Json)> {
    match value.as_obj() {
        Some([(key, value)]) => Some((key, value)),
        _ => None,
    }
}

/// Normalizes a selector, which must be an object.
pub(crate) fn normalize(selector: &Json) -> Result<Json, ApiError> {
    match selector.as_obj() {
        None => {
            return Err(refused(
                "invalid_selector_json",
                format!("Selector must be a JSON object, not: {}", printed(selector)),
            ));
        }
        Some([]) => return Ok(selector.clone()),
        Some(_) => {}
    }
    let with_ops = explicit(selector)?;
    let with_fields = full_paths(&with_ops, "")?;
    let normal = push_negations(&with_fields)?;
    if matches!(single(&normal), Some(("", _))) {
        return Err(refused(
            "invalid_selector",
            "One or more conditions is missing a field name.".to_owned(),
        ));
    }
    Ok(normal)
}

fn one(op: &str, arg: Json) -> Json {
    obj([(op, arg)])
}

fn each(
    op: &str,
    args: &Json,
    with: fn(&Json) -> Result<Json, ApiError>,
) -> Result<Json, ApiError> {
    let args = args.as_arr().ok_or_else(|| bad_arg(op, args))?;
    let args: Result<Vec<Json>, ApiError> = args.iter().map(with).collect();
    Ok(one(op, Json::Arr(args?)))
}

/// Makes `$and` and `$eq` explicit and validates the arguments of operators.
fn explicit(selector: &Json) -> Result<Json, ApiError> {
    let Some(members) = selector.as_obj() else {
        return Ok(one("$eq", selector.clone()));
    };
    let (key, arg) = match members {
        [] => return Ok(one("$eq", selector.clone())),
        [(key, arg)] => (key.as_str(), arg),
        several => {
            let parts: Result<Vec<Json>, ApiError> = several
                .iter()
                .map(|(key, value)| explicit(&obj([(key.as_str(), value.clone())])))
                .collect();
            return Ok(one("$and", Json::Arr(parts?)));
        }
    };
    if !key.starts_with('$') {
        return Ok(one(key, explicit(arg)?));
    }
    let fine = match key {
        "$and" | "$or" | "$nor" => return each(key, arg, explicit),
        "$not" | "$elemMatch" | "$allMatch" | "$keyMapMatch" => {
            if arg.as_obj().is_none() {
                return Err(bad_arg(key, arg));
            }
            return Ok(one(key, explicit(arg)?));
        }
        "$in" | "$nin" | "$all" => arg.as_arr().is_some(),
        "$exists" => arg.as_bool().is_some(),
        "$type" | "$beginsWith" => arg.as_str().is_some(),
        "$mod" => matches!(
            arg.as_arr(),
            Some([Json::Int(_) | Json::Big(_), Json::Int(_) | Json::Big(_)])
        ),
        "$regex" => arg
            .as_str()
            .is_some_and(|pattern| fancy_regex::Regex::new(pattern).is_ok()),
        "$size" => arg.as_i64().is_some_and(|n| n >= 0),
        "$lt" | "$lte" | "$eq" | "$ne" | "$gte" | "$gt" | "$default" => true,
        "$text" => {
            return Err(ApiError::new(
                StatusCode::NOT_IMPLEMENTED,
                "not_implemented",
                "$text needs a text index, which this server does not have",
            ));
        }
        "$where" | "$geoWithin" | "$geoIntersects" | "$near" | "$nearSphere" => {
            return Err(refused(
                "not_supported",
                format!("Unsupported operator: {key}"),
            ));
        }
        _ => {
            return Err(refused(
                "invalid_operator",
                format!("Invalid operator: {key}"),
            ));
        }
    };
    if fine {
        Ok(selector.clone())
    } else {
        Err(bad_arg(key, arg))
    }
}

/// Moves field names down to the conditions: `{a:{b:{$gt:1}}}` becomes `{"a.b":{$gt:1}}`.
fn full_paths(selector: &Json, path: &str) -> Result<Json, ApiError> {
    let Some((key, arg)) = single(selector) else {
        return Err(refused(
            "bad_field",
            format!(
                "Invalid field normalization on selector: {}",
                printed(selector)
            ),
        ));
    };
    match key {
        "$and" | "$or" | "$nor" => {
            let args: Result<Vec<Json>, ApiError> = arg
                .as_arr()
                .unwrap_or_default()
                .iter()
                .map(|inner| full_paths(inner, path))
                .collect();
            Ok(one(key, Json::Arr(args?)))
        }
        "$not" => Ok(one(key, full_paths(arg, path)?)),
        "$elemMatch" | "$allMatch" | "$keyMapMatch" => {
            Ok(one(path, one(key, full_paths(arg, "")?)))
        }
        _ if key.starts_with('$') => Ok(one(path, selector.clone())),
        _ if path.is_empty() => full_paths(arg, key),
        _ => full_paths(arg, &format!("{path}.{key}")),
    }
}

fn all(op: &str, args: &Json, with: fn(&Json) -> Result<Json, ApiError>) -> Result<Json, ApiError> {
    let args: Result<Vec<Json>, ApiError> =
        args.as_arr().unwrap_or_default().iter().map(with).collect();
    Ok(one(op, Json::Arr(args?)))
}

fn push_negations(selector: &Json) -> Result<Json, ApiError> {
    let Some((key, arg)) = single(selector) else {
        return Ok(selector.clone());
    };
    match key {
        "$not" => negate(arg),
        "$nor" => all("$and", arg, negate),
        "$and" | "$or" => all(key, arg, push_negations),
        "$elemMatch" | "$allMatch" | "$keyMapMatch" => Ok(one(key, push_negations(arg)?)),
        _ => Ok(selector.clone()),
    }
}

fn negate(selector: &Json) -> Result<Json, ApiError> {
    let Some((key, arg)) = single(selector) else {
        return Ok(one("$not", selector.clone()));
    };
    let opposite = match key {
        "$not" => return push_negations(arg),
        "$nor" => return all("$or", arg, push_negations),
        "$and" => return all("$or", arg, negate),
        "$or" => return all("$and", arg, negate),
        "$lt" => "$gte",
        "$lte" => "$gt",
        "$eq" => "$ne",
        "$ne" => "$eq",
        "$gte" => "$lt",
        "$gt" => "$lte",
        "$in" => "$nin",
        "$nin" => "$in",
        "$exists" => {
            return Ok(one(
                "$exists",
                Json::Bool(!arg.as_bool().unwrap_or_default()),
            ));
        }
        _ if key.starts_with('$') => return Ok(one("$not", selector.clone())),
        _ => return Ok(one(key, negate(arg)?)),
    };
    Ok(one(opposite, arg.clone()))
}

/// The fields in a selector.
pub(crate) fn fields(selector: &Json) -> Vec<String> {
    match single(selector) {
        Some((key, Json::Arr(args))) if key.starts_with('$') => {
            args.iter().flat_map(fields).collect()
        }
        Some((key, _)) => vec![key.to_owned()],
        None => Vec::new(),
    }
}

/// The fields in `required` that a matching document may lack.
fn not_required<'a>(selectors: &[&Json], required: Vec<&'a str>) -> Vec<&'a str> {
    let mut left = required;
    for selector in selectors {
        if left.is_empty() {
            return left;
        }
        match single(selector) {
            None => return left,
            Some(("$and", Json::Arr(args))) => {
                left = not_required(&args.iter().collect::<Vec<_>>(), left);
            }
            Some(("$or", Json::Arr(args))) => {
                let mut missing: Vec<&str> = args
                    .iter()
                    .flat_map(|arg| not_required(&[arg], left.clone()))
                    .collect();
                missing.sort_unstable();
                missing.dedup();
                left = missing;
            }
            Some((_, condition))
                if matches!(single(condition), Some(("$exists", Json::Bool(false)))) => {}
            Some((field, _)) => left.retain(|name| *name != field),
        }
    }
    left
}

/// Whether every matching document has all `fields`.
pub(crate) fn requires(selector: &Json, fields: Vec<&str>) -> bool {
    not_required(&[selector], fields).is_empty()
}

/// Whether the selector restricts a field to one value.
pub(crate) fn is_constant(selector: &Json, field: &str) -> bool {
    match single(selector) {
        Some(("$and", Json::Arr(args))) => args.iter().any(|arg| is_constant(arg, field)),
        Some((name, condition)) if name == field => matches!(single(condition), Some(("$eq", _))),
        _ => false,
    }
}
