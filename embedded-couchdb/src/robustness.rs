//! Property tests: parsers of input and of stored bytes return a value or an error for any input.

#![allow(
    clippy::unwrap_used,
    reason = "a failed expectation is the test failing"
)]

use proptest::prelude::*;

use crate::{
    http::Query,
    json::Json,
    mango::{
        collation::{compare, key},
        fields,
        matcher::Matcher,
        request::{Find, NewIndex},
        selector,
    },
    storage::revtree::{Rev, RevTree, Stored},
};

fn json() -> impl Strategy<Value = Json> {
    let operators =
        "\\$(and|or|nor|not|in|nin|all|exists|type|mod|regex|elemMatch|size|gt|lte|text|strange)";
    let name = move || prop_oneof![3 => "[a-z_.\\\\]{0,4}", 2 => operators, 1 => ".{0,4}"];
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        any::<i64>().prop_map(Json::Int),
        (-20..20_i64).prop_map(Json::Int),
        "-?[1-9][0-9]{19,40}".prop_map(|digits| Json::parse(digits.as_bytes()).unwrap()),
        any::<f64>()
            .prop_filter("finite", |x| x.is_finite())
            .prop_map(Json::Float),
        ".{0,6}".prop_map(Json::Str),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::Arr),
            prop::collection::btree_map(name(), inner, 0..4)
                .prop_map(|members| Json::Obj(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn json_survives_a_round_trip(value in json()) {
        let text = value.to_string();
        let back = Json::parse(text.as_bytes()).unwrap();
        // Negative zero is written as zero, as CouchDB does.
        prop_assert_eq!(back.to_string(), text);
    }

    #[test]
    fn json_accepts_the_same_texts_as_serde_json(text in "[\\[\\]{},:\"0-9eE.+truefalsn \\\\u-]{0,24}") {
        let theirs = serde_json::from_str::<serde_json::Value>(&text);
        let ours = Json::parse(text.as_bytes());
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?} {:?}", ours, theirs);
    }

    #[test]
    fn any_bytes_are_json_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(value) = Json::parse(&bytes) {
            prop_assert!(Json::parse(value.to_string().as_bytes()).is_ok());
        }
    }

    #[test]
    fn any_query_string_is_parsed_or_refused(text in ".{0,40}") {
        if let Ok(query) = Query::parse(&text) {
            let _ = (query.last_of(&["a"]), query.count("limit"), query.json(&["key"]));
        }
    }

    #[test]
    fn any_object_is_a_query_or_an_error(value in json(), doc in json()) {
        let _ = NewIndex::parse(&value);
        if let Json::Obj(_) = value {
            let _ = Find::parse(&value);
            if let Ok(normal) = selector::normalize(&value) {
                let again = selector::normalize(&normal).unwrap();
                prop_assert_eq!(&again, &normal, "normalization is idempotent");
                if let Ok(matcher) = Matcher::new(&normal) {
                    let _ = matcher.matches(&doc);
                }
            }
        }
    }

    #[test]
    fn any_field_name_is_a_path_or_an_error(name in ".{0,12}", doc in json()) {
        if let Ok(path) = fields::path(&name) {
            let mut copy = doc.clone();
            fields::set(&mut copy, &path, Json::Int(7));
            prop_assert_eq!(fields::get(&copy, &path), Some(&Json::Int(7)));
        }
    }

    #[test]
    fn keys_sort_as_values_compare(a in json(), b in json()) {
        prop_assert_eq!(key(&a).cmp(&key(&b)), compare(&a, &b), "{} {}", a, b);
    }

    #[test]
    fn no_key_is_a_prefix_of_another(a in json(), b in json()) {
        let (a, b) = (key(&a), key(&b));
        prop_assert!(a == b || (!a.starts_with(&b) && !b.starts_with(&a)));
    }

    #[test]
    fn any_bytes_are_a_tree_or_damaged(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = RevTree::decode(&bytes);
    }

    #[test]
    fn trees_survive_a_round_trip(branches in prop::collection::vec((1..6_u64, "[a-c]{1,2}", any::<bool>()), 1..12), limit in 1..8_usize) {
        let mut tree = RevTree::default();
        for (n, (length, name, deleted)) in branches.iter().enumerate() {
            let history: Vec<Rev> = (1..=*length).rev().map(|pos| Rev { pos, id: format!("{name}{pos}") }).collect();
            tree.add(&history, Stored { deleted: *deleted, body: i64::try_from(n).ok() });
        }
        tree.stem(limit);
        prop_assert_eq!(RevTree::decode(&tree.encode()).unwrap(), tree.clone());
        let leaves = tree.leaves();
        prop_assert!(!leaves.is_empty());
        prop_assert!(leaves.iter().all(|leaf| tree.path(&leaf.rev).len() <= 6));
        prop_assert!(leaves.iter().any(|leaf| leaf.stored.is_some()));
    }
}
