//! The order of numbers, exactly: beyond 53 bits, the float that is nearest to an integer is another number.

use std::{borrow::Cow, cmp::Ordering};

use crate::json::Json;

/// A number by its decimal digits.
struct Exact<'a> {
    is_negative: bool,
    /// The digits of the whole part of the magnitude, without zeros before them.
    whole: Cow<'a, str>,
    /// The rest of the magnitude, below 1.
    fraction: f64,
}

impl<'a> Exact<'a> {
    /// `None` if the value is no number.
    fn of(value: &'a Json) -> Option<Self> {
        let (is_negative, whole, fraction) = match value {
            Json::Int(number) => {
                let whole = Cow::Owned(number.unsigned_abs().to_string());
                (*number < 0, whole, 0.0)
            }
            Json::Big(digits) => match digits.strip_prefix('-') {
                Some(digits) => (true, Cow::Borrowed(digits), 0.0),
                None => (false, Cow::Borrowed(digits.as_str()), 0.0),
            },
            Json::Float(number) => {
                let magnitude = number.abs();
                let whole = Cow::Owned(format!("{:.0}", magnitude.trunc()));
                (*number < 0.0, whole, magnitude.fract())
            }
            _ => return None,
        };
        Some(Self {
            is_negative,
            whole,
            fraction,
        })
    }

    fn compare_magnitude(&self, other: &Self) -> Ordering {
        let whole = compare_digits(&self.whole, &other.whole);
        whole.then_with(|| self.fraction.total_cmp(&other.fraction))
    }
}

/// The order of two whole numbers by their digits. There is no zero before them.
pub(crate) fn compare_digits(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// The order of two numbers, as in Erlang. Any value that is no number is equal to any other.
pub(crate) fn compare(a: &Json, b: &Json) -> Ordering {
    match (a, b) {
        (Json::Int(a), Json::Int(b)) => return a.cmp(b),
        (Json::Float(a), Json::Float(b)) => return a.partial_cmp(b).unwrap_or(Ordering::Equal),
        _ => {}
    }
    let (Some(a), Some(b)) = (Exact::of(a), Exact::of(b)) else {
        return Ordering::Equal;
    };
    match (a.is_negative, b.is_negative) {
        (false, false) => a.compare_magnitude(&b),
        (true, true) => b.compare_magnitude(&a),
        (false, true) => Ordering::Greater,
        (true, false) => Ordering::Less,
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a failed expectation is the test failing"
    )]

    use super::compare;
    use crate::json::Json;

    #[test]
    fn integers_are_compared_exactly() {
        let text = "[-1e30,-9223372036854775809,-9223372036854775808.0,-9223372036854775807,-9007199254740993,\
             -9007199254740992.0,-1,-0.5,0,1e-300,0.5,1,1.5,2,9007199254740992,9007199254740993,\
             9223372036854775807,9223372036854775808,9223372036854775809,18446744073709551614,\
             18446744073709551615,1e30,1000000000000000019884624838657,1e308]";
        let Json::Arr(numbers) = Json::parse(text.as_bytes()).unwrap() else {
            unreachable!("the list is an array")
        };
        for (n, a) in numbers.iter().enumerate() {
            for (m, b) in numbers.iter().enumerate() {
                assert_eq!(compare(a, b), n.cmp(&m), "{a} {b}");
            }
        }
        assert!(compare(&Json::Float(-0.0), &Json::Int(0)).is_eq());
        assert!(compare(&Json::Float(2.0), &Json::Int(2)).is_eq());
    }
}
