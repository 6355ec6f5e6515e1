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

/// The deepest nesting of a selector. What becomes of a level takes more of the stack than a level of a document.
const MAX_DEPTH: u32 = 250;

/// Whether a value is nested deeper than `levels`.
fn is_deeper(value: &Json, levels: u32) -> bool {
    let Some(below) = levels.checked_sub(1) else {
        return true;
    };
    match value {
        Json::Arr(items) => items.iter().any(|item| is_deeper(item, below)),
        Json::Obj(members) => members.iter().any(|(_, value)| is_deeper(value, below)),
        _ => false,
    }
}

/// Refuses a selector that is nested too deep. Its normal form, which can be deeper, must pass too: it may be normalized
/// again.
fn check_depth(selector: &Json) -> Result<(), ApiError> {
    if is_deeper(selector, MAX_DEPTH) {
        let reason = format!("The selector is nested deeper than {MAX_DEPTH} levels.");
        return Err(refused("invalid_selector", reason));
    }
    Ok(())
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
        Some(_) => check_depth(selector)?,
    }
    let with_ops = explicit(selector)?;
    let with_fields = Paths::default().full(&with_ops)?;
    let normal = push_negations(&with_fields)?;
    if matches!(single(&normal), Some(("", _))) {
        return Err(refused(
            "invalid_selector",
            "One or more conditions is missing a field name.".to_owned(),
        ));
    }
    check_depth(&normal)?;
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
    match selector.as_obj() {
        None | Some([]) => Ok(one("$eq", selector.clone())),
        Some([(key, arg)]) => explicit_member(key, arg),
        Some(several) => {
            let parts: Result<Vec<Json>, ApiError> = several
                .iter()
                .map(|(key, arg)| explicit_member(key, arg))
                .collect();
            Ok(one("$and", Json::Arr(parts?)))
        }
    }
}

fn explicit_member(key: &str, arg: &Json) -> Result<Json, ApiError> {
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
        Ok(one(key, arg.clone()))
    } else {
        Err(bad_arg(key, arg))
    }
}

/// The most bytes that the paths of all conditions have together. Each condition repeats the names above it, so that a
/// small selector could become one that fits in no memory.
const MOST_PATHS: usize = 16 << 20;

/// Moves field names down to the conditions: `{a:{b:{$gt:1}}}` becomes `{"a.b":{$gt:1}}`.
#[derive(Default)]
struct Paths {
    /// The path to where the selector is read.
    path: String,
    written: usize,
}

impl Paths {
    fn full(&mut self, selector: &Json) -> Result<Json, ApiError> {
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
                    .map(|inner| self.full(inner))
                    .collect();
                Ok(one(key, Json::Arr(args?)))
            }
            "$not" => Ok(one(key, self.full(arg)?)),
            "$elemMatch" | "$allMatch" | "$keyMapMatch" => {
                let outer = std::mem::take(&mut self.path);
                let inner = self.full(arg);
                self.path = outer;
                self.at_path(one(key, inner?))
            }
            _ if key.starts_with('$') => self.at_path(selector.clone()),
            _ => {
                let length = self.path.len();
                if length > 0 {
                    self.path.push('.');
                }
                self.path.push_str(key);
                let inner = self.full(arg);
                self.path.truncate(length);
                inner
            }
        }
    }

    /// A condition on the field of the path.
    fn at_path(&mut self, condition: Json) -> Result<Json, ApiError> {
        self.written = self.written.saturating_add(self.path.len());
        if self.written > MOST_PATHS {
            let reason = "The names of the fields in the selector are too long.".to_owned();
            return Err(refused("invalid_selector", reason));
        }
        Ok(one(&self.path, condition))
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

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use super::normalize;
    use crate::{json::Json, mango::matcher::Matcher};

    #[test]
    fn names_above_many_conditions_do_not_fill_the_memory() {
        let name = "a".repeat(1 << 20);
        let conditions = vec![r#"{"$gt":1}"#; 100_000].join(",");
        let selector = format!(r#"{{"{name}":{{"$and":[{conditions}]}}}}"#);
        let refused = normalize(&Json::parse(selector.as_bytes()).unwrap());
        assert_eq!(refused.unwrap_err().status, 400);
    }

    #[test]
    fn what_is_deep_inside_is_copied_once() {
        let nested = |levels: usize, inner: &str| {
            let text = format!(
                r#"{}{inner}{}"#,
                r#"{"b":1,"a":"#.repeat(levels),
                "}".repeat(levels)
            );
            normalize(&Json::parse(text.as_bytes()).unwrap())
        };
        // A copy at each level would be of half a gigabyte.
        let large = format!("\"{}\"", "x".repeat(4 << 20));
        assert!(nested(120, &large).unwrap().to_string().len() > 4 << 20);
        assert_eq!(nested(990, "1").unwrap_err().status, 400);
    }

    #[test]
    fn the_deepest_selectors_fit_on_the_stack_of_a_thread() {
        let forms = [
            (r#"{"$not":"#, "}", 1),
            (r#"{"$and":["#, "]}", 2),
            (r#"{"a":{"$elemMatch":"#, "}}", 2),
        ];
        for (before, after, levels) in forms {
            let times = 246 / levels;
            let text = format!(
                r#"{}{{"a":1}}{}"#,
                before.repeat(times),
                after.repeat(times)
            );
            let normal = normalize(&Json::parse(text.as_bytes()).unwrap()).unwrap();
            let matcher = Matcher::new(&normal).unwrap();
            assert!(!matcher.matches(&Json::Obj(Vec::new())), "{before}");
        }
    }
}
