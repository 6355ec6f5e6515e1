//! The order of keys.

use std::cmp::Ordering;

use crate::{
    erlang,
    json::Json,
    mango::collation::{compare, compare_raw, compare_strings, key},
};

/// The most keys.
const MOST: usize = 12;

/// Each line is a key in JSON.
///
/// # Panics
/// If the order of keys is not the order of their encoded form, or is none.
pub fn view_keys(bytes: &[u8]) {
    let keys: Vec<Json> = super::json_lines(bytes, MOST).collect();
    let encoded: Vec<Vec<u8>> = keys.iter().map(key).collect();
    for (a, a_encoded) in keys.iter().zip(&encoded) {
        for (b, b_encoded) in keys.iter().zip(&encoded) {
            let order = compare(a, b);
            assert_eq!(order, a_encoded.cmp(b_encoded), "encoded: {a} {b}");
            assert_eq!(order, by_element(a, b), "element by element: {a} {b}");
            let is_prefix = a_encoded.starts_with(b_encoded);
            assert!(!is_prefix || order.is_eq(), "a key inside another: {a} {b}");
        }
    }
    is_an_order(&keys, compare);
    is_an_order(&keys, compare_raw);
    is_an_order(&keys, erlang::compare);
}

/// Asserts that an order is total: that the place of each key in it tells how it compares with any other.
fn is_an_order(keys: &[Json], compare: fn(&Json, &Json) -> Ordering) {
    let mut sorted: Vec<&Json> = keys.iter().collect();
    sorted.sort_by(|a, b| compare(a, b));
    let mut places = vec![0];
    for pair in sorted.windows(2) {
        let is_next = matches!(pair, [a, b] if compare(a, b).is_ne());
        places.push(places.last().copied().unwrap_or(0) + i32::from(is_next));
    }
    for (a, a_place) in sorted.iter().zip(&places) {
        for (b, b_place) in sorted.iter().zip(&places) {
            assert_eq!(compare(a, b), a_place.cmp(b_place), "{a} {b}");
        }
    }
}

/// The order of two keys without their encoded form.
fn by_element(a: &Json, b: &Json) -> Ordering {
    let rank = |value: &Json| match value {
        Json::Null => 0,
        Json::Bool(false) => 1,
        Json::Bool(true) => 2,
        Json::Int(_) | Json::Big(_) | Json::Float(_) => 3,
        Json::Str(_) => 4,
        Json::Arr(_) => 5,
        Json::Obj(_) => 6,
    };
    match (a, b) {
        (Json::Str(a), Json::Str(b)) => compare_strings(a, b),
        (Json::Arr(a), Json::Arr(b)) => {
            let mut pairs = a.iter().zip(b).map(|(a, b)| by_element(a, b));
            let first = pairs.find(|order| order.is_ne());
            first.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (Json::Obj(a), Json::Obj(b)) => {
            let mut pairs = a.iter().zip(b).map(|((a_name, a), (b_name, b))| {
                compare_strings(a_name, b_name).then_with(|| by_element(a, b))
            });
            let first = pairs.find(|order| order.is_ne());
            first.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        _ if rank(a) == 3 && rank(b) == 3 => erlang::compare(a, b),
        _ => rank(a).cmp(&rank(b)),
    }
}
