//! The reducers that are part of the server: `_sum`, `_count`, `_stats`, `_approx_count_distinct`.

use http::StatusCode;
use num_bigint::BigInt;
use sha1::{Digest as _, Sha1};

use crate::{
    api_error::ApiError,
    erlang::{Term, printed_readably},
    json::{Json, obj},
    numbers,
};

/// The state of a reducer.
pub(crate) enum Accumulator {
    Sum(Sum),
    Count(i64),
    Stats(Option<Stats>),
    Distinct(Box<Sketch>),
}

impl Accumulator {
    /// A reducer by its name.
    pub(crate) fn new(name: &str) -> Option<Self> {
        match name {
            "_sum" => Some(Self::Sum(Sum::Nothing)),
            "_count" => Some(Self::Count(0)),
            "_stats" => Some(Self::Stats(None)),
            "_approx_count_distinct" => Some(Self::Distinct(Box::default())),
            _ => None,
        }
    }

    /// Adds a row.
    pub(crate) fn add(&mut self, key: &Json, value: &Json) -> Result<(), ApiError> {
        match self {
            Self::Sum(sum) => {
                let before = std::mem::replace(sum, Sum::Nothing);
                *sum = before.add(value)?;
            }
            Self::Count(count) => *count += 1,
            Self::Stats(stats) => {
                let of_value = Stats::of(value)?;
                *stats = Some(match stats.take() {
                    None => of_value,
                    Some(before) => before.merge(of_value)?,
                });
            }
            Self::Distinct(sketch) => sketch.add(key),
        }
        Ok(())
    }

    /// What the rows so far were reduced to, for [`merge`](Self::merge); `None` if it must not be kept.
    pub(crate) fn partial(&self) -> Option<Json> {
        match self {
            Self::Sum(Sum::Of(sum)) => Some(sum.clone()),
            Self::Sum(Sum::Nothing | Sum::Refused(_)) | Self::Stats(None) => None,
            Self::Count(count) => Some(Json::Int(*count)),
            Self::Stats(Some(stats)) => Some(stats.result()),
            Self::Distinct(sketch) => Some(Json::Str(hex::encode(sketch.0))),
        }
    }

    /// Adds rows by what they were reduced to.
    pub(crate) fn merge(&mut self, partial: &Json) -> Result<(), ApiError> {
        match (self, partial) {
            (Self::Count(count), Json::Int(more)) => *count += more,
            (Self::Distinct(sketch), Json::Str(registers)) => sketch.merge(registers)?,
            (sum_or_stats @ (Self::Sum(_) | Self::Stats(_)), partial) => {
                // Their results are values for them, as in CouchDB.
                sum_or_stats.add(&Json::Null, partial)?;
            }
            (Self::Count(_) | Self::Distinct(_), _) => return Err(unreadable()),
        }
        Ok(())
    }

    pub(crate) fn result(self) -> Json {
        match self {
            Self::Sum(sum) => sum.result(),
            Self::Count(count) => Json::Int(count),
            Self::Stats(stats) => stats.map_or(Json::Null, |stats| stats.result()),
            Self::Distinct(sketch) => Json::Int(sketch.estimate()),
        }
    }
}

fn unreadable() -> ApiError {
    ApiError::internal("a stored reduction cannot be read")
}

#[expect(
    clippy::cast_precision_loss,
    reason = "as JavaScript does with integers beyond 53 bits"
)]
fn float(value: &Json) -> Option<f64> {
    match value {
        Json::Int(number) => Some(*number as f64),
        Json::Float(number) => Some(*number),
        Json::Big(digits) => digits.parse().ok(),
        _ => None,
    }
}

fn add_numbers(a: &Json, b: &Json) -> Option<Json> {
    if let (Json::Int(a), Json::Int(b)) = (a, b)
        && let Some(sum) = a.checked_add(*b)
    {
        return Some(Json::Int(sum));
    }
    // Whole numbers have as many digits as they need, as in Erlang.
    if let (Some(a), Some(b)) = (whole(a), whole(b)) {
        return Some(of_whole(&(a + b)));
    }
    Some(Json::Float(float(a)? + float(b)?))
}

/// `None` if the value is no whole number.
fn whole(value: &Json) -> Option<BigInt> {
    match value {
        Json::Int(number) => Some(BigInt::from(*number)),
        Json::Big(digits) => digits.parse().ok(),
        _ => None,
    }
}

fn of_whole(number: &BigInt) -> Json {
    i64::try_from(number).map_or_else(|_| Json::Big(number.to_string()), Json::Int)
}

fn is_number(value: &Json) -> bool {
    matches!(value, Json::Int(_) | Json::Big(_) | Json::Float(_))
}

/// A sum of numbers, of arrays of numbers, or of objects of sums.
pub(crate) enum Sum {
    Nothing,
    Of(Json),
    /// A value could not be added; the error takes the place of the sum.
    Refused(Json),
}

impl Sum {
    fn add(self, value: &Json) -> Result<Self, ApiError> {
        match self {
            Self::Refused(_) => Ok(self),
            Self::Nothing => Ok(match check_addend(value) {
                Ok(()) => Self::Of(value.clone()),
                Err(refused) => Self::Refused(refused),
            }),
            Self::Of(sum) => {
                if let Err(refused) = check_addend(value) {
                    return Ok(Self::Refused(refused));
                }
                add_values(sum, value).map(Self::Of)
            }
        }
    }

    fn result(self) -> Json {
        match self {
            Self::Nothing => Json::Int(0),
            Self::Of(sum) => sum,
            Self::Refused(error) => error,
        }
    }
}

fn check_addend(value: &Json) -> Result<(), Json> {
    let refused = || {
        obj([
            ("error", "builtin_reduce_error".into()),
            (
                "reason",
                "The _sum function requires that map values be numbers, arrays of numbers, or objects. Objects \
                 cannot be mixed with other data structures. Objects can be arbitrarily nested, provided that the \
                 values for all fields are themselves numbers, arrays of numbers, or objects."
                    .into(),
            ),
            ("caused_by", value.clone()),
        ])
    };
    match value {
        Json::Arr(items) if items.iter().all(is_number) => Ok(()),
        Json::Obj(_) => Ok(()),
        number if is_number(number) => Ok(()),
        _ => Err(refused()),
    }
}

fn add_values(sum: Json, value: &Json) -> Result<Json, ApiError> {
    let mixed = |value: &Json| {
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "case_clause",
            printed_readably(value),
        )
    };
    match (sum, value) {
        (Json::Arr(a), Json::Arr(b)) => Ok(Json::Arr(add_arrays(&a, b))),
        (Json::Arr(a), b) if is_number(b) => Ok(Json::Arr(add_arrays(&a, std::slice::from_ref(b)))),
        (a, Json::Arr(b)) if is_number(&a) => Ok(Json::Arr(add_arrays(&[a], b))),
        (Json::Obj(mut a), Json::Obj(b)) => {
            for (key, value) in b {
                match a.iter_mut().find(|(name, _)| name == key) {
                    Some((_, sum)) => {
                        let before = std::mem::replace(sum, Json::Null);
                        *sum = add_values(before, value)?;
                    }
                    None => a.push((key.clone(), value.clone())),
                }
            }
            a.sort_by(|(a, _), (b, _)| a.as_bytes().cmp(b.as_bytes()));
            Ok(Json::Obj(a))
        }
        (a, b) => add_numbers(&a, b).ok_or_else(|| mixed(b)),
    }
}

fn add_arrays(a: &[Json], b: &[Json]) -> Vec<Json> {
    let length = a.len().max(b.len());
    let zero = Json::Int(0);
    (0..length)
        .map(|place| {
            let (a, b) = (a.get(place), b.get(place));
            let (a, b) = (a.unwrap_or(&zero), b.unwrap_or(&zero));
            // All elements are numbers.
            add_numbers(a, b).unwrap_or(Json::Null)
        })
        .collect()
}

/// What `_stats` keeps of numbers, or of the elements of arrays.
pub(crate) enum Stats {
    One(Figures),
    Many(Vec<Figures>),
}

pub(crate) struct Figures {
    sum: Json,
    count: Json,
    min: Json,
    max: Json,
    sumsqr: Json,
}

impl Stats {
    fn of(value: &Json) -> Result<Self, ApiError> {
        match value {
            Json::Arr(items) => items
                .iter()
                .map(Figures::of)
                .collect::<Result<_, _>>()
                .map(Self::Many),
            other => Figures::of(other).map(Self::One),
        }
    }

    fn merge(self, other: Self) -> Result<Self, ApiError> {
        match (self, other) {
            (Self::One(a), Self::One(b)) => Ok(Self::One(a.merge(&b))),
            (Self::Many(a), Self::Many(b)) if a.len() == b.len() => Ok(Self::Many(
                a.into_iter().zip(&b).map(|(a, b)| a.merge(b)).collect(),
            )),
            _ => Err(invalid(
                "user _stats input is not consistent: numbers and arrays, or arrays of different lengths".to_owned(),
            )),
        }
    }

    fn result(&self) -> Json {
        match self {
            Self::One(figures) => figures.result(),
            Self::Many(many) => Json::Arr(many.iter().map(Figures::result).collect()),
        }
    }
}

fn invalid(reason: String) -> ApiError {
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "invalid_value", reason)
}

impl Figures {
    fn of(value: &Json) -> Result<Self, ApiError> {
        if let Json::Obj(_) = value {
            let field = |name: &str| match value.get(name) {
                Some(number) if is_number(number) => Ok(number.clone()),
                _ => Err(invalid(format!(
                    "user _stats input missing required field {name} ({})",
                    printed_readably(value)
                ))),
            };
            return Ok(Self {
                sum: field("sum")?,
                count: field("count")?,
                min: field("min")?,
                max: field("max")?,
                sumsqr: field("sumsqr")?,
            });
        }
        let Some(number) = float(value) else {
            return Err(invalid(format!(
                "non-numeric _stats input: {}",
                crate::erlang::printed(value)
            )));
        };
        let small = match value {
            Json::Int(number) => number.checked_mul(*number).map(Json::Int),
            _ => None,
        };
        let squared = small.or_else(|| whole(value).map(|number| of_whole(&(&number * &number))));
        Ok(Self {
            sum: value.clone(),
            count: Json::Int(1),
            min: value.clone(),
            max: value.clone(),
            sumsqr: squared.unwrap_or(Json::Float(number * number)),
        })
    }

    fn merge(self, other: &Self) -> Self {
        let add = |a: &Json, b: &Json| add_numbers(a, b).unwrap_or(Json::Null);
        let less = |a: &Json, b: &Json| numbers::compare(a, b).is_lt();
        Self {
            sum: add(&self.sum, &other.sum),
            count: add(&self.count, &other.count),
            sumsqr: add(&self.sumsqr, &other.sumsqr),
            min: if less(&other.min, &self.min) {
                other.min.clone()
            } else {
                self.min
            },
            max: if less(&self.max, &other.max) {
                other.max.clone()
            } else {
                self.max
            },
        }
    }

    fn result(&self) -> Json {
        obj([
            ("sum", self.sum.clone()),
            ("count", self.count.clone()),
            ("min", self.min.clone()),
            ("max", self.max.clone()),
            ("sumsqr", self.sumsqr.clone()),
        ])
    }
}

/// The number of registers: two to the power of CouchDB's precision, 11.
const REGISTERS: usize = 1 << 11;

/// HyperLogLog (Flajolet and others, 2007) with linear counting for small numbers. The error is about 2 %.
pub(crate) struct Sketch([u8; REGISTERS]);

impl Default for Sketch {
    fn default() -> Self {
        Self([0; REGISTERS])
    }
}

impl Sketch {
    fn add(&mut self, key: &Json) {
        let mut term = Term::new();
        term.json(key);
        let hash = Sha1::digest(term.bytes());
        let mut first = [0; 8];
        first.copy_from_slice(hash.get(..8).unwrap_or(&[0; 8]));
        let bits = u64::from_be_bytes(first);
        let place = (bits >> (64 - 11)) as usize;
        let rank = u8::try_from((bits << 11).leading_zeros() + 1).unwrap_or(u8::MAX);
        if let Some(register) = self.0.get_mut(place) {
            *register = (*register).max(rank.min(54));
        }
    }

    fn merge(&mut self, registers: &str) -> Result<(), ApiError> {
        let mut others = [0; REGISTERS];
        hex::decode_to_slice(registers, &mut others).map_err(|_| unreadable())?;
        for (own, other) in self.0.iter_mut().zip(others) {
            *own = (*own).max(other);
        }
        Ok(())
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "an estimate is rounded"
    )]
    fn estimate(&self) -> i64 {
        let registers = REGISTERS as f64;
        let alpha = 0.7213 / (1.0 + 1.079 / registers);
        let sum: f64 = self
            .0
            .iter()
            .map(|rank| 2_f64.powi(-i32::from(*rank)))
            .sum();
        let raw = alpha * registers * registers / sum;
        let empty = self.0.iter().filter(|rank| **rank == 0).count();
        let estimate = if raw <= 2.5 * registers && empty > 0 {
            registers * (registers / empty as f64).ln()
        } else {
            raw
        };
        estimate.round() as i64
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use super::Accumulator;
    use crate::json::Json;

    fn reduced(name: &str, values: &[&str]) -> String {
        let mut accumulator = Accumulator::new(name).unwrap();
        for value in values {
            let value = Json::parse(value.as_bytes()).unwrap();
            accumulator.add(&value, &value).unwrap();
        }
        accumulator.result().to_string()
    }

    #[test]
    fn sums_are_of_numbers_arrays_and_objects() {
        assert_eq!(reduced("_sum", &["1", "2", "0.5"]), "3.5");
        assert_eq!(reduced("_sum", &["[1,2]", "[1]", "4"]), "[6,2]");
        assert_eq!(
            reduced("_sum", &[r#"{"b":1,"a":[1]}"#, r#"{"a":[2],"c":3}"#]),
            r#"{"a":[3],"b":1,"c":3}"#
        );
    }

    #[test]
    fn stats_are_those_of_couchdb() {
        assert_eq!(
            reduced("_stats", &["3", "1", "2"]),
            r#"{"sum":6,"count":3,"min":1,"max":3,"sumsqr":14}"#
        );
    }

    #[test]
    fn whole_numbers_have_as_many_digits_as_they_need() {
        assert_eq!(
            reduced(
                "_sum",
                &["9223372036854775807", "9223372036854775807", "-1"]
            ),
            "18446744073709551613"
        );
        assert_eq!(
            reduced("_sum", &["-9223372036854775808", "-1", "1"]),
            "-9223372036854775808"
        );
        assert_eq!(
            reduced("_stats", &["9007199254740993", "9007199254740992"]),
            r#"{"sum":18014398509481985,"count":2,"min":9007199254740992,"max":9007199254740993,"sumsqr":162259276829213381405976519770113}"#
        );
    }

    #[test]
    fn what_rows_were_reduced_to_can_be_merged() {
        for (name, values) in [
            ("_sum", vec!["1", "2", "0.5", "7"]),
            ("_sum", vec!["[1,2]", "[1]", "4"]),
            ("_sum", vec![r#"{"b":1,"a":[1]}"#, r#"{"a":[2],"c":3}"#]),
            ("_count", vec!["1", "\"a\"", "null"]),
            ("_stats", vec!["3", "1", "2"]),
            ("_stats", vec!["[3,1]", "[1,7]", "[2,2]"]),
            ("_approx_count_distinct", vec!["1", "2", "2", "\"b\""]),
        ] {
            for cut in 0..=values.len() {
                let mut whole = Accumulator::new(name).unwrap();
                let (first, second) = values.split_at(cut);
                for part in [first, second] {
                    let mut accumulator = Accumulator::new(name).unwrap();
                    for value in part {
                        let value = Json::parse(value.as_bytes()).unwrap();
                        accumulator.add(&value, &value).unwrap();
                    }
                    if let Some(partial) = accumulator.partial() {
                        let stored = Json::parse(partial.to_string().as_bytes()).unwrap();
                        whole.merge(&stored).unwrap();
                    } else {
                        assert!(part.is_empty(), "{name} {part:?}");
                    }
                }
                assert_eq!(
                    whole.result().to_string(),
                    reduced(name, &values),
                    "{name} {cut}"
                );
            }
        }
        let mut sum = Accumulator::new("_sum").unwrap();
        sum.add(&Json::Null, &Json::Null).unwrap();
        assert!(sum.partial().is_none());
    }

    #[test]
    fn distinct_keys_are_counted_about_right() {
        let keys: Vec<String> = (0..5000).map(|n| (n % 1000).to_string()).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let count: i64 = reduced("_approx_count_distinct", &keys).parse().unwrap();
        assert!((950..=1050).contains(&count), "{count}");
    }
}
