//! Matching documents with selectors.

use fancy_regex::Regex;

use super::{collation, fields, selector::single};
use crate::{api_error::ApiError, json::Json};

/// A compiled selector.
pub(crate) enum Matcher {
    Everything,
    And(Vec<Matcher>),
    Or(Vec<Matcher>),
    Not(Box<Matcher>),
    Field {
        path: Vec<String>,
        is_id: bool,
        matches_missing: bool,
        condition: Box<Matcher>,
    },
    /// A condition on the value itself, inside `$elemMatch` and similar operators.
    Itself(Box<Matcher>),
    Element(Box<Matcher>),
    EveryElement(Box<Matcher>),
    Key(Box<Matcher>),
    Compare(Comparison, Json),
    In(Vec<Json>),
    NotIn(Vec<Json>),
    All(Vec<Json>),
    Exists(bool),
    Type(String),
    Mod(i64, i64),
    BeginsWith(String),
    Regex(Box<Regex>),
    Size(usize),
    Nothing,
}

#[derive(Clone, Copy)]
pub(crate) enum Comparison {
    Lt,
    Lte,
    Eq,
    Ne,
    Gte,
    Gt,
}

impl Matcher {
    /// Compiles a normalized selector.
    pub(crate) fn new(selector: &Json) -> Result<Self, ApiError> {
        let Some((key, arg)) = single(selector) else {
            return Ok(Matcher::Everything);
        };
        let inner = || Matcher::new(arg).map(Box::new);
        let parts = || {
            arg.as_arr()
                .unwrap_or_default()
                .iter()
                .map(Matcher::new)
                .collect::<Result<Vec<_>, _>>()
        };
        let list = || arg.as_arr().unwrap_or_default().to_vec();
        let text = || arg.as_str().unwrap_or_default().to_owned();
        let compare = |how| Ok(Matcher::Compare(how, arg.clone()));
        match key {
            "$and" => Ok(Matcher::And(parts()?)),
            "$or" => Ok(Matcher::Or(parts()?)),
            "$not" => Ok(Matcher::Not(inner()?)),
            "$elemMatch" => Ok(Matcher::Element(inner()?)),
            "$allMatch" => Ok(Matcher::EveryElement(inner()?)),
            "$keyMapMatch" => Ok(Matcher::Key(inner()?)),
            "$lt" => compare(Comparison::Lt),
            "$lte" => compare(Comparison::Lte),
            "$eq" => compare(Comparison::Eq),
            "$ne" => compare(Comparison::Ne),
            "$gte" => compare(Comparison::Gte),
            "$gt" => compare(Comparison::Gt),
            "$in" => Ok(Matcher::In(list())),
            "$nin" => Ok(Matcher::NotIn(list())),
            "$all" => Ok(Matcher::All(list())),
            "$exists" => Ok(Matcher::Exists(arg.as_bool().unwrap_or_default())),
            "$type" => Ok(Matcher::Type(text())),
            "$beginsWith" => Ok(Matcher::BeginsWith(text())),
            "$size" => Ok(Matcher::Size(
                arg.as_i64()
                    .and_then(|n| n.try_into().ok())
                    .unwrap_or(usize::MAX),
            )),
            "$mod" => match arg.as_arr() {
                Some([Json::Int(divisor), Json::Int(rest)]) => Ok(Matcher::Mod(*divisor, *rest)),
                _ => Ok(Matcher::Nothing),
            },
            "$regex" => Regex::new(&text())
                .map(|regex| Matcher::Regex(Box::new(regex)))
                .map_err(|_| ApiError::bad_request("invalid regular expression")),
            "" => Ok(Matcher::Itself(inner()?)),
            field => Ok(Matcher::Field {
                path: fields::path(field)?,
                is_id: field == "_id",
                matches_missing: matches!(single(arg), Some(("$exists", Json::Bool(false)))),
                condition: inner()?,
            }),
        }
    }

    /// Whether a document matches.
    pub(crate) fn matches(&self, value: &Json) -> bool {
        self.applies(value, false)
    }

    fn applies(&self, value: &Json, by_bytes: bool) -> bool {
        let compare = |a: &Json, b: &Json| {
            if by_bytes {
                collation::compare_raw(a, b)
            } else {
                collation::compare(a, b)
            }
        };
        match self {
            Matcher::Everything => true,
            Matcher::Nothing => false,
            Matcher::And(parts) => parts.iter().all(|part| part.applies(value, by_bytes)),
            Matcher::Or(parts) => {
                parts.is_empty() || parts.iter().any(|part| part.applies(value, by_bytes))
            }
            Matcher::Not(inner) => !inner.applies(value, by_bytes),
            Matcher::Itself(inner) => inner.applies(value, by_bytes),
            Matcher::Field {
                path,
                is_id,
                matches_missing,
                condition,
            } => {
                match fields::get(value, path) {
                    Some(inner) => condition.applies(inner, by_bytes || *is_id),
                    // A path through an array is not a missing field, except for an index beyond its end.
                    None => *matches_missing && !blocked(value, path),
                }
            }
            Matcher::Element(inner) => value
                .as_arr()
                .is_some_and(|items| items.iter().any(|item| inner.applies(item, by_bytes))),
            Matcher::EveryElement(inner) => value.as_arr().is_some_and(|items| {
                !items.is_empty() && items.iter().all(|item| inner.applies(item, by_bytes))
            }),
            Matcher::Key(inner) => value.as_obj().is_some_and(|members| {
                members
                    .iter()
                    .any(|(key, _)| inner.applies(&Json::Str(key.clone()), by_bytes))
            }),
            Matcher::Compare(how, arg) => {
                let order = compare(value, arg);
                match how {
                    Comparison::Lt => order.is_lt(),
                    Comparison::Lte => order.is_le(),
                    Comparison::Eq => order.is_eq(),
                    Comparison::Ne => order.is_ne(),
                    Comparison::Gte => order.is_ge(),
                    Comparison::Gt => order.is_gt(),
                }
            }
            Matcher::In(args) => is_in(value, args, compare),
            Matcher::NotIn(args) => !is_in(value, args, compare),
            Matcher::All(args) => value.as_arr().is_some_and(|items| {
                !args.is_empty()
                    && (args.iter().all(|arg| items.contains(arg))
                        || matches!(args.as_slice(), [Json::Arr(only)] if only == items))
            }),
            Matcher::Exists(exists) => *exists,
            Matcher::Type(name) => name == type_name(value),
            Matcher::Mod(divisor, rest) => value
                .as_i64()
                .and_then(|n| n.checked_rem(*divisor))
                .is_some_and(|found| found == *rest),
            Matcher::BeginsWith(prefix) => value.as_str().is_some_and(|s| s.starts_with(prefix)),
            Matcher::Regex(regex) => value
                .as_str()
                .is_some_and(|s| regex.is_match(s).unwrap_or(false)),
            Matcher::Size(size) => value.as_arr().is_some_and(|items| items.len() == *size),
        }
    }
}

fn is_in(
    value: &Json,
    args: &[Json],
    compare: impl Fn(&Json, &Json) -> std::cmp::Ordering,
) -> bool {
    match value {
        Json::Arr(items) => args
            .iter()
            .any(|arg| items.iter().any(|item| compare(item, arg).is_eq())),
        value => args.iter().any(|arg| compare(value, arg).is_eq()),
    }
}

/// Whether a path leads through a value that is no object.
fn blocked(value: &Json, path: &[String]) -> bool {
    let Some((name, rest)) = path.split_first() else {
        return false;
    };
    match value {
        Json::Obj(_) => value.get(name).is_some_and(|inner| blocked(inner, rest)),
        Json::Arr(items) => match name.parse::<usize>().ok().and_then(|at| items.get(at)) {
            Some(inner) => blocked(inner, rest),
            None => true,
        },
        _ => true,
    }
}

fn type_name(value: &Json) -> &'static str {
    match value {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Int(_) | Json::Big(_) | Json::Float(_) => "number",
        Json::Str(_) => "string",
        Json::Arr(_) => "array",
        Json::Obj(_) => "object",
    }
}
