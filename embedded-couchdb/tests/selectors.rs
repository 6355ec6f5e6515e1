//! Random selectors find the same documents with and without indexes, and the same as a real CouchDB if
//! `HAMLET_TEST_COUCHDB_URL` names one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

mod support;

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};
use support::{Client, Embedded, real_couchdb};

fn value() -> impl Strategy<Value = Value> {
    prop::sample::select(vec![
        json!(null),
        json!(false),
        json!(true),
        json!(-1),
        json!(0),
        json!(1),
        json!(2),
        json!(2.5),
        json!(1e30),
        json!(""),
        json!("a"),
        json!("A"),
        json!("b"),
        json!("é"),
        json!("_"),
        json!("ab"),
        json!("a b"),
        json!("a-b"),
        json!([]),
        json!([1]),
        json!(["a", 1]),
        json!([[1], 2]),
        json!({"k": 1}),
        json!({"k": "a"}),
        json!({"k": {"z": null}}),
    ])
}

fn doc() -> impl Strategy<Value = Value> {
    let field = || prop::option::weighted(0.8, value());
    (field(), field(), field()).prop_map(|(a, b, c)| {
        let mut doc = json!({});
        for (name, value) in [("a", a), ("b", b), ("c", c)] {
            if let Some(value) = value {
                doc[name] = value;
            }
        }
        doc
    })
}

fn condition() -> impl Strategy<Value = Value> {
    let compare = prop::sample::select(vec!["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]);
    // CouchDB 3.4 fails for `$in` with an array among the values.
    let flat = || value().prop_filter("no array", |value| !value.is_array());
    let kinds = prop::sample::select(vec![
        "null", "boolean", "number", "string", "array", "object",
    ]);
    let leaf = prop_oneof![
        6 => (compare, value()).prop_map(|(op, value)| json!({op: value})),
        1 => any::<bool>().prop_map(|there| json!({"$exists": there})),
        1 => kinds.prop_map(|kind| json!({"$type": kind})),
        1 => prop::collection::vec(flat(), 1..4).prop_map(|list| json!({"$in": list})),
        1 => prop::collection::vec(flat(), 1..4).prop_map(|list| json!({"$nin": list})),
        1 => prop::sample::select(vec!["", "a", "A", "é"]).prop_map(|prefix| json!({"$beginsWith": prefix})),
        1 => (0..3_u8).prop_map(|size| json!({"$size": size})),
        1 => value().prop_map(|one| json!({"$all": [one]})),
        1 => (-1..3_i64).prop_map(|rest| json!({"$mod": [2, rest]})),
        1 => prop::sample::select(vec!["^a", "b$", "[A-Z]", "."]).prop_map(|regex| json!({"$regex": regex})),
    ];
    leaf.prop_recursive(1, 3, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|inner| json!({"$not": inner})),
            inner.clone().prop_map(|inner| json!({"$elemMatch": inner})),
            inner.clone().prop_map(|inner| json!({"$allMatch": inner})),
            (inner.clone(), inner).prop_map(|(one, other)| json!({"$and": [one, other]})),
        ]
    })
}

fn selector() -> impl Strategy<Value = Value> {
    let field = prop::sample::select(vec!["a", "b", "c", "a.k", "b.0", "_id"]);
    let leaf = prop_oneof![
        4 => (field.clone(), condition()).prop_map(|(field, condition)| json!({field: condition})),
        1 => (field.clone(), value()).prop_map(|(field, value)| json!({field: value})),
        3 => (condition(), condition()).prop_map(|(a, b)| json!({"a": a, "b": b})),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..3).prop_map(|list| json!({"$and": list})),
            prop::collection::vec(inner.clone(), 1..3).prop_map(|list| json!({"$or": list})),
            prop::collection::vec(inner.clone(), 1..3).prop_map(|list| json!({"$nor": list})),
            inner.prop_map(|inner| json!({"$not": inner})),
        ]
    })
}

/// The ids, and whether all documents were read; `None` if the server fails.
async fn asked(client: &Client, db: &str, query: &Value) -> Option<(Vec<String>, bool)> {
    let reply = client.post(&format!("{db}/_find"), query).await;
    if reply.status == 500 {
        return None;
    }
    let reply = reply.expect(200).json();
    let ids = reply["docs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|doc| doc["_id"].as_str().unwrap().to_owned());
    let mut ids: Vec<String> = ids.collect();
    ids.sort();
    let scanned = reply["warning"]
        .as_str()
        .is_some_and(|warning| warning.contains("No matching index"));
    Some((ids, scanned))
}

async fn found(client: &Client, db: &str, query: &Value) -> (Vec<String>, bool) {
    asked(client, db, query)
        .await
        .unwrap_or_else(|| panic!("500 for {query}"))
}

async fn prepare(client: &Client, name: &str, docs: &[Value], indexed: bool) -> String {
    let db = client.fresh(name).await;
    if indexed {
        for (n, fields) in [
            json!(["a"]),
            json!(["b", "a"]),
            json!(["c"]),
            json!(["a.k"]),
        ]
        .into_iter()
        .enumerate()
        {
            let index = json!({"index": {"fields": fields}, "ddoc": format!("index-{n}")});
            client
                .post(&format!("{db}/_index"), &index)
                .await
                .expect(200);
        }
    }
    let docs: Vec<Value> = docs
        .iter()
        .enumerate()
        .map(|(n, doc)| {
            let mut doc = doc.clone();
            doc["_id"] = format!("doc{n:02}").into();
            doc
        })
        .collect();
    client
        .post(&format!("{db}/_bulk_docs"), &json!({"docs": docs}))
        .await
        .expect(201);
    db
}

#[test]
fn an_index_never_changes_the_result_of_a_query() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let server = runtime.block_on(Embedded::start());
    let real = real_couchdb();
    let config = Config {
        cases: if real.is_some() { 8 } else { 24 },
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    };
    let input = (
        prop::collection::vec(doc(), 1..25),
        prop::collection::vec(selector(), 20),
    );
    let mut by_index = 0;
    let counted = std::cell::Cell::new(0);
    TestRunner::new(config)
        .run(&input, |(docs, selectors)| {
            runtime.block_on(async {
                let indexed = prepare(&server.client, "indexed", &docs, true).await;
                let scanned = prepare(&server.client, "scanned", &docs, false).await;
                let there = match &real {
                    Some(real) => {
                        Some((real, prepare(real, "hamlet-selectors", &docs, false).await))
                    }
                    None => None,
                };
                for selector in selectors {
                    let query = json!({"selector": selector, "limit": 1000, "fields": ["_id"]});
                    let (with, scan) = found(&server.client, &indexed, &query).await;
                    let (without, _) = found(&server.client, &scanned, &query).await;
                    assert_eq!(with, without, "{selector}");
                    counted.set(counted.get() + u32::from(!scan));
                    // CouchDB 3.4 fails for some empty ranges.
                    if let Some((real, db)) = &there
                        && let Some((real_found, _)) = asked(real, db, &query).await
                    {
                        assert_eq!(without, real_found, "CouchDB finds otherwise: {selector}");
                    }
                }
            });
            Ok(())
        })
        .unwrap();
    by_index += counted.get();
    assert!(
        by_index > 20,
        "only {by_index} selectors used an index: the comparison shows little"
    );
    runtime.block_on(server.stop());
}
