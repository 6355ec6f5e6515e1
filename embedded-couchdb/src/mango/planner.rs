//! The choice of an index for a query, and of the range to read.

use std::cmp::Ordering;

use http::StatusCode;

use super::{
    collation::compare,
    request::Find,
    selector::{self, single},
};
use crate::{
    api_error::ApiError,
    json::Json,
    storage::{databases::Database, index_def::IndexDef},
};

/// An index that a query may use.
#[derive(Clone, Copy)]
pub(crate) enum Candidate<'a> {
    /// All documents, by id.
    AllDocs,
    /// A Mango index.
    Json(&'a IndexDef),
}

impl<'a> Candidate<'a> {
    pub(crate) fn columns(self) -> Vec<&'a str> {
        match self {
            Candidate::AllDocs => vec!["_id"],
            Candidate::Json(index) => index.columns(),
        }
    }

    fn identity(self) -> (&'a str, &'a str) {
        match self {
            Candidate::AllDocs => ("", "_all_docs"),
            Candidate::Json(index) => (&index.ddoc, &index.name),
        }
    }

    pub(crate) fn is(self, other: Candidate<'_>) -> bool {
        self.identity() == other.identity()
    }

    pub(crate) fn is_named(self, use_index: &[String]) -> bool {
        let Candidate::Json(index) = self else {
            return false;
        };
        let same_ddoc =
            |name: &String| index.ddoc.strip_prefix("_design/").unwrap_or(&index.ddoc) == name;
        match use_index {
            [ddoc] => same_ddoc(ddoc),
            [ddoc, view] => same_ddoc(ddoc) && index.name == *view,
            _ => false,
        }
    }
}

/// The range of values of a column that can match.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Range {
    Empty,
    Between {
        low: Option<Json>,
        /// Whether the range includes `low`.
        low_included: bool,
        high: Option<Json>,
        high_included: bool,
    },
}

impl Range {
    fn all() -> Self {
        Range::Between {
            low: None,
            low_included: false,
            high: None,
            high_included: false,
        }
    }
}

/// Why a query cannot use an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unusable(pub(crate) &'static str);

/// The chosen index, with the trace of the choice.
pub(crate) struct Plan<'a> {
    pub(crate) index: Candidate<'a>,
    /// The ranges of the first columns of the index.
    pub(crate) ranges: Vec<Range>,
    pub(crate) trace: Trace<'a>,
}

/// The trace of the choice of an index.
pub(crate) struct Trace<'a> {
    pub(crate) all: Vec<Candidate<'a>>,
    /// Those for one partition if the query is for all, or the other way round.
    pub(crate) out_of_scope: Vec<Candidate<'a>>,
    pub(crate) usability: Vec<(Candidate<'a>, Option<Unusable>)>,
    pub(crate) filtered: Vec<Candidate<'a>>,
    /// The usable indexes of the chosen type, the best first, each with the number of restricted fields that it
    /// lacks.
    pub(crate) sorted: Vec<(Candidate<'a>, usize)>,
}

impl<'a> Trace<'a> {
    pub(crate) fn usable(&self) -> Vec<Candidate<'a>> {
        self.usability
            .iter()
            .filter(|(_, why)| why.is_none())
            .map(|(candidate, _)| *candidate)
            .collect()
    }
}

/// Chooses an index. The inner result is an error if no index fits the sort order.
pub(crate) fn plan<'a>(
    defs: &'a [IndexDef],
    find: &Find,
) -> Result<Result<Plan<'a>, Trace<'a>>, ApiError> {
    let mut all = vec![Candidate::AllDocs];
    all.extend(defs.iter().map(Candidate::Json));
    let is_for_one = !find.partition.is_empty();
    let out_of_scope: Vec<Candidate<'_>> = all
        .iter()
        .copied()
        .filter(|candidate| matches!(candidate, Candidate::Json(index) if index.partitioned != is_for_one))
        .collect();
    let global: Vec<Candidate<'_>> = all
        .iter()
        .copied()
        .filter(|candidate| !matches!(candidate, Candidate::Json(index) if index.partial.is_some()))
        .collect();
    let sort: Vec<&str> = find.sort.iter().map(|(field, _)| field.as_str()).collect();
    let usability: Vec<_> = all
        .iter()
        .copied()
        .filter(|candidate| !out_of_scope.iter().any(|other| other.is(*candidate)))
        .filter(|candidate| {
            global.iter().any(|other| other.is(*candidate)) || candidate.is_named(&find.use_index)
        })
        .map(|candidate| (candidate, unusable(candidate, &find.selector, &sort)))
        .collect();
    let mut trace = Trace {
        all,
        out_of_scope,
        usability,
        filtered: Vec::new(),
        sorted: Vec::new(),
    };
    let usable = trace.usable();
    if usable.is_empty() {
        return Ok(Err(trace));
    }
    let named: Vec<_> = usable
        .iter()
        .copied()
        .filter(|candidate| candidate.is_named(&find.use_index))
        .collect();
    trace.filtered = if !named.is_empty() {
        named
    } else if find.allow_fallback || (find.use_index.is_empty() && usable.len() > 1) {
        usable
    } else {
        return Err(invalid_index(&find.use_index));
    };
    let json: Vec<_> = trace
        .filtered
        .iter()
        .copied()
        .filter(|candidate| matches!(candidate, Candidate::Json(_)))
        .collect();
    let (kind, mut ranges) = (
        if json.is_empty() {
            trace.filtered.clone()
        } else {
            json
        },
        field_ranges(&find.selector),
    );
    if matches!(kind.first(), Some(Candidate::AllDocs)) {
        ranges.push((
            "_id".to_owned(),
            Range::Between {
                low: Some(Json::Null),
                low_included: false,
                high: None,
                high_included: false,
            },
        ));
    }
    let mut composed: Vec<(Candidate<'_>, Vec<Range>, usize)> = kind
        .into_iter()
        .map(|candidate| {
            let prefix = prefix(&candidate.columns(), &ranges);
            let left_out = ranges.len() - prefix.len().min(ranges.len());
            (candidate, prefix, left_out)
        })
        .collect();
    composed.sort_by(|(a, _, a_left), (b, _, b_left)| {
        a_left
            .cmp(b_left)
            .then_with(|| a.columns().len().cmp(&b.columns().len()))
            .then_with(|| a.identity().cmp(&b.identity()))
    });
    trace.sorted = composed
        .iter()
        .map(|(candidate, _, left_out)| (*candidate, *left_out))
        .collect();
    match composed.into_iter().next() {
        Some((index, ranges, _)) => {
            let ranges = if is_noop(&find.selector) {
                vec![Range::Empty]
            } else {
                ranges
            };
            Ok(Ok(Plan {
                index,
                ranges,
                trace,
            }))
        }
        None => Ok(Err(trace)),
    }
}

/// CouchDB's error if no index fits the sort order.
pub(crate) fn no_usable_index(db: &Database, find: &Find) -> ApiError {
    let scope = match (db.partitioned, find.partition.is_empty()) {
        (false, _) => "",
        (true, true) => "global ",
        (true, false) => "partitioned ",
    };
    ApiError::new(
        StatusCode::BAD_REQUEST,
        "no_usable_index",
        format!("No {scope}index exists for this sort, try indexing by the sort fields."),
    )
}

fn invalid_index(use_index: &[String]) -> ApiError {
    let reason = match use_index {
        [ddoc] => format!(
            "_design/{ddoc} specified by `use_index` could not be found or it is not suitable."
        ),
        [ddoc, view] => {
            format!(
                "_design/{ddoc}, {view} specified by `use_index` could not be found or it is not suitable."
            )
        }
        _ => "You must specify an index with the `use_index` parameter.".to_owned(),
    };
    ApiError::new(StatusCode::BAD_REQUEST, "invalid_index", reason)
}

/// Whether the selector matches nothing, as `{"$or":[]}`.
fn is_noop(selector: &Json) -> bool {
    matches!(single(selector), Some(("$all" | "$and" | "$or" | "$in", Json::Arr(args))) if args.is_empty())
}

fn unusable(candidate: Candidate<'_>, selector: &Json, sort: &[&str]) -> Option<Unusable> {
    let columns = candidate.columns();
    match candidate {
        Candidate::AllDocs => {
            if sort.is_empty() {
                None
            } else if !indexable_fields(selector)
                .iter()
                .any(|field| field == "_id")
            {
                Some(Unusable("field_mismatch"))
            } else if !columns.starts_with(sort) {
                Some(Unusable("sort_order_mismatch"))
            } else {
                None
            }
        }
        Candidate::Json(_) => {
            // A sort by a field requires the field. Every document has an id and a revision.
            let required: Vec<&str> = columns
                .iter()
                .copied()
                .filter(|column| !sort.contains(column) && *column != "_id" && *column != "_rev")
                .collect();
            if !selector::requires(selector, required) {
                Some(Unusable("field_mismatch"))
            } else if !sorts(&columns, sort, selector) {
                Some(Unusable("sort_order_mismatch"))
            } else {
                None
            }
        }
    }
}

/// Whether the index has the sort order: columns before it must be restricted to one value.
fn sorts(columns: &[&str], sort: &[&str], selector: &Json) -> bool {
    let Some(first) = sort.first() else {
        return true;
    };
    match columns.split_first() {
        None => false,
        Some((column, _)) if column == first => columns.starts_with(sort),
        Some((column, rest)) => {
            selector::is_constant(selector, column) && sorts(rest, sort, selector)
        }
    }
}

/// The fields with a condition that an index can evaluate as a range.
pub(crate) fn indexable_fields(selector: &Json) -> Vec<String> {
    match single(selector) {
        Some(("$and", Json::Arr(args))) => {
            let mut fields: Vec<String> = args.iter().flat_map(indexable_fields).collect();
            fields.sort();
            fields.dedup();
            fields
        }
        Some((field, condition)) if !field.starts_with('$') => match single(condition) {
            Some(("$lt" | "$lte" | "$eq" | "$gt" | "$gte" | "$beginsWith" | "$exists", _)) => {
                vec![field.to_owned()]
            }
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

fn field_ranges(selector: &Json) -> Vec<(String, Range)> {
    let mut ranges = Vec::new();
    for field in indexable_fields(selector) {
        match narrow(selector, &field, Range::all()) {
            Range::Empty => return vec![(field, Range::Empty)],
            range => ranges.push((field, range)),
        }
    }
    ranges
}

fn prefix(columns: &[&str], ranges: &[(String, Range)]) -> Vec<Range> {
    columns
        .iter()
        .map_while(|column| {
            ranges
                .iter()
                .find(|(field, _)| field == column)
                .map(|(_, range)| range.clone())
        })
        .collect()
}

fn narrow(selector: &Json, field: &str, range: Range) -> Range {
    match single(selector) {
        Some(("$and", Json::Arr(args))) => args
            .iter()
            .fold(range, |range, arg| narrow(arg, field, range)),
        Some((name, condition)) if name == field => match single(condition) {
            Some((op, arg)) => restrict(op, arg, range),
            None => range,
        },
        _ => range,
    }
}

/// Intersects a range with a condition.
fn restrict(op: &str, arg: &Json, range: Range) -> Range {
    match op {
        "$beginsWith" => {
            // The greatest code point in the collation.
            let end = Json::Str(format!("{}\u{ffff}", arg.as_str().unwrap_or_default()));
            let range = above(range, arg, true);
            below(range, &end, true)
        }
        "$eq" => below(above(range, arg, true), arg, true),
        "$gt" => above(range, arg, false),
        "$gte" => above(range, arg, true),
        "$lt" => below(range, arg, false),
        "$lte" => below(range, arg, true),
        _ => range,
    }
}

fn checked(
    low: Option<Json>,
    low_included: bool,
    high: Option<Json>,
    high_included: bool,
) -> Range {
    if let (Some(low), Some(high)) = (&low, &high) {
        match compare(low, high) {
            Ordering::Greater => return Range::Empty,
            Ordering::Equal if !(low_included && high_included) => return Range::Empty,
            _ => {}
        }
    }
    Range::Between {
        low,
        low_included,
        high,
        high_included,
    }
}

fn above(range: Range, arg: &Json, included: bool) -> Range {
    let Range::Between {
        low,
        low_included,
        high,
        high_included,
    } = range
    else {
        return Range::Empty;
    };
    let order = low
        .as_ref()
        .map_or(Ordering::Greater, |low| compare(arg, low));
    match order {
        Ordering::Greater => checked(Some(arg.clone()), included, high, high_included),
        Ordering::Equal => checked(low, low_included && included, high, high_included),
        Ordering::Less => checked(low, low_included, high, high_included),
    }
}

fn below(range: Range, arg: &Json, included: bool) -> Range {
    let Range::Between {
        low,
        low_included,
        high,
        high_included,
    } = range
    else {
        return Range::Empty;
    };
    let order = high
        .as_ref()
        .map_or(Ordering::Less, |high| compare(arg, high));
    match order {
        Ordering::Less => checked(low, low_included, Some(arg.clone()), included),
        Ordering::Equal => checked(low, low_included, high, high_included && included),
        Ordering::Greater => checked(low, low_included, high, high_included),
    }
}

/// The values of the first columns at which the range starts, as far as they are known.
pub(crate) fn start_values(ranges: &[Range]) -> Vec<&Json> {
    ranges
        .iter()
        .map_while(|range| match range {
            Range::Between { low, .. } => low.as_ref(),
            Range::Empty => None,
        })
        .collect()
}

/// The values of the first columns at which the range ends.
pub(crate) fn end_values(ranges: &[Range]) -> Vec<&Json> {
    ranges
        .iter()
        .map_while(|range| match range {
            Range::Between { high, .. } => high.as_ref(),
            Range::Empty => None,
        })
        .collect()
}

/// Whether the index has all requested fields.
pub(crate) fn covers_fields(candidate: Candidate<'_>, find: &Find) -> bool {
    let (Candidate::Json(index), Some(fields)) = (candidate, &find.fields) else {
        return false;
    };
    let columns = index.columns();
    fields
        .iter()
        .all(|field| field == "_id" || columns.contains(&field.as_str()))
}

/// Whether the index has all requested and filtered fields.
pub(crate) fn covers(candidate: Candidate<'_>, find: &Find) -> bool {
    let columns = candidate.columns();
    let filtered = selector::fields(&find.selector);
    covers_fields(candidate, find)
        && filtered
            .iter()
            .all(|field| field == "_id" || columns.contains(&field.as_str()))
}
