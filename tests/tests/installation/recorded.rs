//! Compares the databases of a new instance with recordings of the compatible software, document by document and field
//! by field, plus the additions of its manual. Uses a real CouchDB when `HAMLET_TEST_COUCHDB_URL` names one.

use std::collections::{BTreeMap, BTreeSet};

use hamlet_tests::{daemon::Options, database::Database};
use serde_json::{Map, Value, json};

const ALICE: &str = include_str!("../../data/recorded-databases-alice.json");

#[tokio::test(flavor = "multi_thread")]
async fn a_new_instance_matches_the_recording() {
    let database = Database::empty().await;
    let place = tempfile::tempdir().unwrap();
    let daemon = Options::new(&place.path().join("data"))
        .flag(format!("--couchdb={}", database.url()))
        .start();
    let domain = "alice.localhost:8085";
    let added = daemon.cli().run(&format!(
        "instances add {domain} --locale fr --public-name Alice --email alice@example.org \
         --settings offer:freemium --context-name dev --apps home"
    ));
    assert_eq!(added.code, 0, "{added:#?}");
    assert!(
        added.err.contains("dev"),
        "an unknown context is told: {added:#?}"
    );

    let recorded: Value = serde_json::from_str(ALICE).unwrap();
    let instances = database.plain_documents("global/instances").await;
    assert_eq!(instances.len(), 1);
    let instance = &instances[0];
    let prefix = instance["prefix"].as_str().unwrap().to_owned();
    compare_instance(instance, &recorded["global/instances"][0]);
    compare_names(&database, &prefix, &recorded).await;
    for (name, expected) in recorded["databases"].as_object().unwrap() {
        let doctype = name.strip_prefix("<prefix>/").unwrap();
        let found = database.documents(&format!("{prefix}/{doctype}")).await;
        compare_designs(doctype, &found, &expected["design"]);
        compare_documents(doctype, &found, &expected["docs"]);
    }
    let designs: BTreeSet<String> = database
        .documents("global/instances")
        .await
        .iter()
        .filter_map(|document| {
            document["_id"]
                .as_str()?
                .strip_prefix("_design/")
                .map(str::to_owned)
        })
        .collect();
    let expected = [
        "by-oidcid",
        "by-olddomain",
        "by-orgdomain",
        "domain-and-aliases",
        // Hamlet's own.
        "hamlet-by-domain",
    ];
    assert_eq!(designs, expected.map(str::to_owned).into());
    assert!(database.leftovers().await.is_empty());
}

async fn compare_names(database: &Database, prefix: &str, recorded: &Value) {
    let found: BTreeSet<String> = database
        .databases()
        .await
        .into_iter()
        .filter_map(|name| name.strip_prefix(&format!("{prefix}/")).map(str::to_owned))
        .collect();
    let expected: BTreeSet<String> = recorded["databases"]
        .as_object()
        .unwrap()
        .keys()
        .map(|name| name.strip_prefix("<prefix>/").unwrap().to_owned())
        .collect();
    assert_eq!(found, expected);
}

/// Compares the instance document. Values that differ in every run are compared by form.
fn compare_instance(found: &Value, expected: &Value) {
    let names = |document: &Value| -> BTreeSet<String> {
        document.as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(names(found), names(expected));
    for (name, expected) in expected.as_object().unwrap() {
        let found = &found[name];
        match expected.as_str() {
            Some(mask) if mask.starts_with("<base64 of ") => {
                let bytes: usize = mask
                    .trim_start_matches("<base64 of ")
                    .split(' ')
                    .next()
                    .unwrap()
                    .parse()
                    .unwrap();
                assert_eq!(
                    found.as_str().unwrap().len(),
                    bytes.div_ceil(3) * 4,
                    "{name}"
                );
            }
            Some("<id>") => assert_eq!(found.as_str().unwrap().len(), 32, "{name}"),
            Some("<prefix>") => assert_eq!(found.as_str().unwrap().len(), 36, "{name}"),
            Some(mask) if mask.starts_with('<') => {}
            _ => assert_eq!(found, expected, "{name}"),
        }
    }
}

fn compare_designs(doctype: &str, found: &[Value], expected: &Value) {
    let found: BTreeMap<&str, &Value> = found
        .iter()
        .filter_map(|document| {
            let name = document["_id"].as_str()?.strip_prefix("_design/")?;
            Some((name, document))
        })
        .collect();
    let expected = expected.as_array().unwrap();
    let expected_names: BTreeSet<&str> = expected
        .iter()
        .map(|design| design["ddoc"].as_str().unwrap())
        .collect();
    assert_eq!(
        found.keys().copied().collect::<BTreeSet<_>>(),
        expected_names,
        "design documents of {doctype}"
    );
    for design in expected {
        let name = design["ddoc"].as_str().unwrap();
        let document = found[name];
        assert_eq!(document["language"], design["language"], "{doctype} {name}");
        if design["language"] == "query" {
            let index = design["index"].as_str().unwrap();
            let view = &document["views"][index];
            let fields: Map<String, Value> = design["fields"]
                .as_array()
                .unwrap()
                .iter()
                .map(|field| (field.as_str().unwrap().to_owned(), json!("asc")))
                .collect();
            assert_eq!(
                view["map"]["fields"],
                Value::Object(fields),
                "{doctype} {name}"
            );
            assert_eq!(
                view["map"]["partial_filter_selector"], design["partial_filter_selector"],
                "{doctype} {name}"
            );
            assert_eq!(view["reduce"], "_count");
            assert_eq!(view["options"], design["options"], "{doctype} {name}");
        } else {
            let view = &document["views"][name];
            assert!(
                view["map"].as_str().unwrap().contains("emit("),
                "{doctype} {name}"
            );
            let reduce = &design["views"][name]["reduce"];
            assert_eq!(&view["reduce"], reduce, "{doctype} {name}");
        }
    }
}

/// The value that identifies a document within its doctype.
fn key(document: &Value) -> String {
    for field in ["path", "slug", "source_id", "me"] {
        if let Some(value) = document.get(field) {
            return format!("{field}={value}");
        }
    }
    document["_id"].as_str().unwrap_or_default().to_owned()
}

fn compare_documents(doctype: &str, found: &[Value], expected: &Value) {
    let found: BTreeMap<String, &Value> = found
        .iter()
        .filter(|document| !document["_id"].as_str().unwrap().starts_with("_design/"))
        .map(|document| (key(document), document))
        .collect();
    for expected in expected.as_array().unwrap() {
        // The recording has other apps than Hamlet. Documents of apps are compared in the tests of apps-svc.
        if ["io-cozy-apps", "io-cozy-permissions", "io-cozy-triggers"].contains(&doctype) {
            continue;
        }
        let key = key(expected);
        let document = found
            .get(&key)
            .unwrap_or_else(|| panic!("{doctype} lacks {key}: {found:#?}"));
        compare_value(&format!("{doctype} {key}"), document, expected);
    }
    let extra: Vec<_> = found
        .keys()
        .filter(|key| {
            !expected
                .as_array()
                .unwrap()
                .iter()
                .any(|document| self::key(document) == **key)
        })
        .collect();
    match doctype {
        // The two subdirectories that the manual adds.
        "io-cozy-files" => assert_eq!(extra.len(), 2, "{extra:?}"),
        "io-cozy-apps" | "io-cozy-permissions" | "io-cozy-triggers" => {}
        _ => assert!(extra.is_empty(), "{doctype} has more: {extra:?}"),
    }
}

fn compare_value(place: &str, found: &Value, expected: &Value) {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            let names = |object: &Map<String, Value>| -> BTreeSet<String> {
                object.keys().cloned().collect()
            };
            assert_eq!(names(found), names(expected), "fields of {place}");
            for (name, expected) in expected {
                compare_value(&format!("{place}.{name}"), &found[name], expected);
            }
        }
        (Value::Array(found), Value::Array(expected)) => {
            assert_eq!(found.len(), expected.len(), "{place}");
            for (found, expected) in found.iter().zip(expected) {
                compare_value(place, found, expected);
            }
        }
        (Value::String(found), Value::String(mask)) if mask.starts_with('<') => {
            assert!(!found.is_empty(), "{place}");
        }
        _ => assert_eq!(found, expected, "{place}"),
    }
}
