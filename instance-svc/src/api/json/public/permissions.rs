//! `/permissions/self`: what the token of the request allows.

use axum::extract::State;
use http::StatusCode;
use serde_json::{Map, Value, json};
use service_kit::json_api::JsonApi;

use super::bearer::{Bearer, Refusal};
use crate::{actions::authenticate::ProvenWith, api::Shared, domain::scope::Rule};

/// Shows what the token allows. Every token of the instance opens it.
pub(super) async fn own(
    State(shared): State<Shared>,
    bearer: Bearer,
) -> Result<JsonApi<Value>, Refusal> {
    let who = &bearer.token.who;
    let (kind, source) = match who.proven_with {
        ProvenWith::App => ("app", format!("io.cozy.apps/{}", who.subject)),
        ProvenWith::Konnector => ("konnector", format!("io.cozy.konnectors/{}", who.subject)),
        ProvenWith::OAuth => ("oauth", format!("io.cozy.oauth.clients/{}", who.subject)),
        ProvenWith::Cli | ProvenWith::Session => ("cli", String::new()),
    };
    let document = &bearer.token.found.document.body;
    // With their names and descriptions, which the gateway does not tell.
    let rules = shared.authentication().rules_of(document, who).await?;
    let rules: Map<String, Value> = rules
        .iter()
        .map(|(name, rule)| (name.clone(), shown(rule)))
        .collect();
    let mut attributes = json!({"type": kind, "permissions": rules});
    if let Value::Object(attributes) = &mut attributes
        && !source.is_empty()
    {
        attributes.insert("source_id".to_owned(), source.clone().into());
    }
    let id = if source.is_empty() { kind } else { &source };
    let document = json!({"data": {
        "type": "io.cozy.permissions", "id": id, "attributes": attributes, "meta": {},
        "links": {"self": "/permissions/self"}
    }});
    Ok(JsonApi(StatusCode::OK, document))
}

fn shown(rule: &Rule) -> Value {
    let mut shown = Map::new();
    shown.insert("type".to_owned(), rule.doctype.as_str().into());
    for (name, list) in [("verbs", &rule.verbs), ("values", &rule.values)] {
        if !list.is_empty() {
            shown.insert(name.to_owned(), json!(list));
        }
    }
    for (name, text) in [
        ("selector", &rule.selector),
        ("description", &rule.description),
    ] {
        if !text.is_empty() {
            shown.insert(name.to_owned(), text.as_str().into());
        }
    }
    Value::Object(shown)
}
