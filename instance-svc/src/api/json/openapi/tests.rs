#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed expectation is the test failing"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use serde_json::Value;
use test_kit::routes::assert_listed;

use super::{described, pages, public};

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

fn document() -> Value {
    let (_, document) = described();
    serde_json::to_value(document).unwrap()
}

/// Every value that is under `name`, at any depth.
fn everywhere<'a>(value: &'a Value, name: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(members) => {
            for (member, value) in members {
                if member == name {
                    found.push(value);
                }
                everywhere(value, name, found);
            }
        }
        Value::Array(items) => {
            for item in items {
                everywhere(item, name, found);
            }
        }
        _ => {}
    }
}

#[test]
fn the_document_is_one_of_openapi_3_1() {
    let document = document();
    let read: oas3::OpenApiV3Spec = serde_json::from_value(document.clone()).unwrap();
    assert!(read.validate_version().is_ok());
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    let mut references = Vec::new();
    everywhere(&document, "$ref", &mut references);
    assert!(references.len() > 20);
    for reference in references {
        let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
    for requirement in document["security"].as_array().unwrap() {
        for scheme in requirement.as_object().unwrap().keys() {
            assert!(document["components"]["securitySchemes"][scheme].is_object());
        }
    }
}

#[test]
fn each_operation_has_a_name_of_its_own_its_parameters_and_responses() {
    let document = document();
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let in_path: BTreeSet<&str> = path
            .split('/')
            .filter_map(|it| it.strip_prefix('{')?.strip_suffix('}'))
            .collect();
        for (method, operation) in item.as_object().unwrap() {
            assert!(METHODS.contains(&method.as_str()), "{path} {method}");
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} twice");
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.contains_key("4XX") && responses.contains_key("5XX"));
            assert!(responses.len() > 2 || responses.contains_key("501"), "{id}");
            assert!(operation["summary"].is_string(), "{id}");
            let mut parameters: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let place = parameter["in"].as_str().unwrap();
                let name = parameter["name"].as_str().unwrap();
                let is_new = parameters.entry(place).or_default().insert(name);
                assert!(is_new, "{id}: {name} twice");
                assert!(parameter["schema"].is_object(), "{id}: {name}");
                assert_eq!(
                    parameter["required"].as_bool().unwrap_or_default(),
                    place == "path",
                    "{id}: {name}"
                );
            }
            let declared = parameters.remove("path").unwrap_or_default();
            assert_eq!(declared, in_path, "{path}");
        }
    }
    assert!(ids.contains("create_instance") && ids.contains("version"));
}

#[test]
fn no_secret_is_in_a_response() {
    let document = document();
    let shown = document["components"]["schemas"]["Attributes"]["properties"]
        .as_object()
        .unwrap();
    for secret in [
        "passphrase_hash",
        "session_secret",
        "oauth_secret",
        "cli_secret",
        "passphrase_reset_token",
    ] {
        assert!(!shown.contains_key(secret), "{secret}");
    }
    assert!(shown.contains_key("register_token"));
}

/// Tests from outside try every route of the list with each credential.
#[test]
fn the_routes_of_the_public_door_are_listed() {
    let routes = public::routes().merge(pages::routes());
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("public-routes.txt");
    assert_listed(&format!("{routes:?}"), &list);
}
