//! Selectors and the choice of what is read for them.

use crate::{
    json::{Json, obj},
    mango::{
        fields,
        matcher::Matcher,
        planner::{self, Candidate, Plan, Range},
        query,
        request::{Find, NewIndex},
        selector::normalize,
    },
    storage::index_def::IndexDef,
};

/// The most documents.
const MOST: usize = 8;

/// The first line is a selector, or the body of a request; the others are documents.
///
/// # Panics
/// If selectors that say the same differ in what they match, or if a document matches that is not in what the planner
/// would have read of an index.
pub fn selector(bytes: &[u8]) {
    let mut lines = super::json_lines(bytes, MOST + 1);
    let Some(first) = lines.next() else { return };
    let docs: Vec<Json> = lines.collect();
    let _ = NewIndex::parse(&first);
    let find = match Find::parse(&first) {
        Ok(find) => find,
        Err(_) => match Find::parse(&obj([("selector", first)])) {
            Ok(find) => find,
            Err(_) => return,
        },
    };
    let normal = &find.selector;
    assert_eq!(
        normalize(normal).as_ref().ok(),
        Some(normal),
        "normalization is not idempotent"
    );
    let Ok(matcher) = Matcher::new(normal) else {
        return;
    };
    let matches: Vec<bool> = docs.iter().map(|doc| matcher.matches(doc)).collect();
    let is_everything = normal.as_obj().is_some_and(<[_]>::is_empty);
    for other in equals(normal).into_iter().filter(|_| !is_everything) {
        let other = normalize(&other).and_then(|normal| Matcher::new(&normal));
        if let Ok(other) = other {
            for (doc, matched) in docs.iter().zip(&matches) {
                assert_eq!(other.matches(doc), *matched, "{normal} {doc}");
            }
        }
    }
    check_plan(&find, docs.iter().zip(matches));
    for field in find.fields.iter().flatten() {
        if let Ok(path) = fields::path(field) {
            for doc in &docs {
                let copy = fields::extract(doc, std::slice::from_ref(&path));
                let through_array = fields::get(doc, &path) != fields::get(&copy, &path);
                // An element of an array becomes a member of an object, which has the same path.
                assert!(!through_array, "{field} {doc}");
            }
        }
    }
}

/// Selectors that match the same documents.
fn equals(selector: &Json) -> [Json; 4] {
    let inner = || selector.clone();
    let not = |selector| obj([("$not", selector)]);
    [
        not(not(inner())),
        obj([("$and", Json::Arr(vec![inner(), inner()]))]),
        obj([("$or", Json::Arr(vec![inner()]))]),
        obj([("$nor", Json::Arr(vec![not(inner())]))]),
    ]
}

/// Checks that the range of an index of all fields that the selector restricts has every document that matches.
fn check_plan<'a>(find: &Find, docs: impl Iterator<Item = (&'a Json, bool)>) {
    let mut columns: Vec<String> = planner::indexable_fields(&find.selector);
    // These have another order in the index than in selectors, as in CouchDB.
    columns.retain(|field| field != "_id");
    let map = columns
        .iter()
        .map(|field| (field.clone(), "asc".into()))
        .collect();
    let map = obj([("fields", Json::Obj(map))]);
    let Some(index) = IndexDef::new(1, "_design/fuzzed", "fuzzed", &map, true) else {
        return;
    };
    let defs = [index];
    let Ok(Ok(Plan {
        index: Candidate::Json(index),
        ranges,
        ..
    })) = planner::plan(&defs, find)
    else {
        return;
    };
    let empty = ranges.contains(&Range::Empty);
    let (low, high) = query::bounds(&ranges);
    for (doc, matched) in docs {
        let is_design = doc
            .get("_id")
            .and_then(Json::as_str)
            .is_some_and(|id| id.starts_with("_design/"));
        if !matched || is_design || is_prefix_search(&find.selector) {
            continue;
        }
        assert!(!empty, "nothing would be read: {} {doc}", find.selector);
        let key = index.key(doc);
        assert!(key.is_some(), "not in the index: {} {doc}", find.selector);
        let inside = key.is_some_and(|key| low <= key && key <= high);
        assert!(inside, "not in the range: {} {doc}", find.selector);
    }
}

/// Whether `$beginsWith` is somewhere in the selector. A string and a prefix of it can have an order that is not theirs in
/// the index, as in CouchDB, when a letter and its accents are parted.
fn is_prefix_search(selector: &Json) -> bool {
    match selector {
        Json::Obj(members) => members
            .iter()
            .any(|(key, value)| key == "$beginsWith" || is_prefix_search(value)),
        Json::Arr(items) => items.iter().any(is_prefix_search),
        _ => false,
    }
}
