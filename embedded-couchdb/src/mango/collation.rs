//! CouchDB's collation, as sort keys that are compared by their bytes.
//!
//! null < false < true < numbers < strings < arrays < objects. Strings are ordered by ICU's root collation, as in
//! CouchDB's views and Mango. Document ids in `_all_docs` are ordered by their bytes and do not use this module.

use std::{cmp::Ordering, convert::Infallible, sync::LazyLock};

use icu_collator::{CollatorBorrowed, options::CollatorOptions};

use crate::{json::Json, numbers::compare_digits};

static COLLATOR: LazyLock<Option<CollatorBorrowed<'static>>> = LazyLock::new(|| {
    CollatorBorrowed::try_new(Default::default(), CollatorOptions::default()).ok()
});

/// Greater than every key.
pub(crate) const AFTER_ALL: u8 = 0xff;

const NULL: u8 = 1;
const FALSE: u8 = 2;
const TRUE: u8 = 3;
const NUMBER: u8 = 4;
const STRING: u8 = 5;
const ARRAY: u8 = 6;
const OBJECT: u8 = 7;
const END: u8 = 0;

/// Appends the sort key of a value.
pub(crate) fn encode(value: &Json, out: &mut Vec<u8>) {
    match value {
        Json::Null => out.push(NULL),
        Json::Bool(false) => out.push(FALSE),
        Json::Bool(true) => out.push(TRUE),
        Json::Int(_) | Json::Big(_) | Json::Float(_) => {
            out.push(NUMBER);
            encode_number(value, out);
        }
        Json::Str(s) => encode_string(s, out),
        Json::Arr(items) => {
            out.push(ARRAY);
            for item in items {
                encode(item, out);
            }
            out.push(END);
        }
        Json::Obj(members) => {
            out.push(OBJECT);
            for (key, value) in members {
                encode_string(key, out);
                encode(value, out);
            }
            out.push(END);
        }
    }
}

/// Compares two values by CouchDB's collation.
pub(crate) fn compare(a: &Json, b: &Json) -> Ordering {
    match (a, b) {
        (Json::Int(a), Json::Int(b)) => a.cmp(b),
        (Json::Str(a), Json::Str(b)) => compare_strings(a, b),
        (a, b) if class(a) != class(b) => class(a).cmp(&class(b)),
        (a, b) => key(a).cmp(&key(b)),
    }
}

/// Compares two strings by CouchDB's collation.
pub(crate) fn compare_strings(a: &str, b: &str) -> Ordering {
    match &*COLLATOR {
        _ if a == b => Ordering::Equal,
        Some(collator) => collator.compare(a, b),
        None => a.cmp(b),
    }
}

/// Compares two values in Erlang's order, which Mango uses for `_id`: strings by their bytes.
pub(crate) fn compare_raw(a: &Json, b: &Json) -> Ordering {
    let rank = |value: &Json| match value {
        Json::Int(_) | Json::Big(_) | Json::Float(_) => 0,
        Json::Bool(_) | Json::Null => 1,
        Json::Obj(_) => 2,
        Json::Arr(_) => 3,
        Json::Str(_) => 4,
    };
    match (a, b) {
        (Json::Str(a), Json::Str(b)) => a.as_bytes().cmp(b.as_bytes()),
        (a, b) if rank(a) != rank(b) => rank(a).cmp(&rank(b)),
        (a, b) => compare(a, b),
    }
}

fn class(value: &Json) -> u8 {
    match value {
        Json::Null => NULL,
        Json::Bool(false) => FALSE,
        Json::Bool(true) => TRUE,
        Json::Int(_) | Json::Big(_) | Json::Float(_) => NUMBER,
        Json::Str(_) => STRING,
        Json::Arr(_) => ARRAY,
        Json::Obj(_) => OBJECT,
    }
}

/// The sort key of a value.
pub(crate) fn key(value: &Json) -> Vec<u8> {
    let mut out = Vec::with_capacity(24);
    encode(value, &mut out);
    out
}

fn encode_string(s: &str, out: &mut Vec<u8>) {
    out.push(STRING);
    match &*COLLATOR {
        Some(collator) => {
            let written: Result<_, Infallible> = collator.write_sort_key_to(s, out);
            match written {
                Ok(_) => {}
            }
        }
        None => out.extend_from_slice(s.as_bytes()),
    }
    out.push(END);
}

/// The place of an integer that is equal to its nearest float. Neighbouring floats below 2^63 are at most 1024 apart.
const NEAREST: u16 = 0x4000;

/// Appends the nearest float in an encoding that sorts by its bytes, and the difference of an integer from it.
fn encode_number(value: &Json, out: &mut Vec<u8>) {
    let (near, rest) = match value {
        Json::Int(n) => {
            let near = *n as f64;
            (near, i128::from(*n) - near as i128)
        }
        Json::Big(digits) => return encode_big(digits, out),
        Json::Float(x) => (*x, 0),
        _ => (0.0, 0),
    };
    encode_float(near, out);
    let rest = (rest + i128::from(NEAREST)).clamp(0, 0x7fff) as u16;
    out.extend_from_slice(&rest.to_be_bytes());
}

/// The same for an integer of more than 64 bits. If a float is not equal to it, all digits follow, after their number.
fn encode_big(signed: &str, out: &mut Vec<u8>) {
    let (is_negative, digits) = match signed.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, signed),
    };
    let near: f64 = digits.parse().unwrap_or(f64::INFINITY);
    encode_float(if is_negative { -near } else { near }, out);
    let order = if near.is_finite() {
        compare_digits(digits, &format!("{near:.0}"))
    } else {
        Ordering::Less
    };
    let order = if is_negative { order.reverse() } else { order };
    let rest: u16 = match order {
        Ordering::Less => 0,
        Ordering::Equal => NEAREST,
        Ordering::Greater => 0x7fff,
    };
    out.extend_from_slice(&rest.to_be_bytes());
    if order.is_ne() {
        let count = u32::try_from(digits.len()).unwrap_or(u32::MAX);
        let written = count.to_be_bytes().into_iter().chain(digits.bytes());
        // Of negative numbers, the one with the smaller magnitude is the greater.
        out.extend(written.map(|byte| if is_negative { !byte } else { byte }));
    }
}

fn encode_float(x: f64, out: &mut Vec<u8>) {
    // -0.0 equals 0.0.
    let x = if x == 0.0 { 0.0 } else { x };
    let bits = x.to_bits();
    let ordered = if bits >> 63 == 0 {
        bits | 1 << 63
    } else {
        !bits
    };
    out.extend_from_slice(&ordered.to_be_bytes());
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a failed expectation is the test failing"
    )]

    use super::{compare, key};
    use crate::json::Json;

    /// From the collation chapter of CouchDB's documentation, with additional strings.
    const IN_ORDER: &str = r#"[null,false,true,-1e300,-18446744073709551615,-18446744073709551614,-3,-0.5,0,1,2,3.0e10,9007199254740992,9007199254740993,
        9223372036854775807,9223372036854775808,9223372036854775809,18446744073709551614,18446744073709551615,
        "","_","-","~","1","10","2","a","A","ä","aa","b","B","ba","bb","é","日",
        [],["a"],["b"],["b","c"],["b","c","a"],["b","d"],["b","d","e"],
        {},{"a":1},{"a":2},{"b":1},{"b":2},{"b":2,"a":1},{"b":2,"c":2}]"#;

    #[test]
    fn keys_sort_in_couchdbs_order() {
        let Json::Arr(values) = Json::parse(IN_ORDER.as_bytes()).unwrap() else {
            unreachable!("the list is an array")
        };
        for pair in values.windows(2) {
            assert!(key(&pair[0]) < key(&pair[1]), "{} {}", pair[0], pair[1]);
            assert!(
                compare(&pair[0], &pair[1]).is_lt(),
                "{} {}",
                pair[0],
                pair[1]
            );
        }
    }
}
