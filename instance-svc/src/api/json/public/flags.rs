//! `GET /settings/flags`: the feature flags that apply.

use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use service_kit::json_api::{JsonApi, Query, query::text};

use super::bearer::{Bearer, Refusal};
use crate::{actions::features::list::list, api::Shared, error::Error};

const ID: &str = "io.cozy.settings.flags";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Parameters {
    #[serde(deserialize_with = "text")]
    include: Option<String>,
}

fn object(id: &str, attributes: &Map<String, Value>) -> Value {
    json!({
        "type": "io.cozy.settings", "id": id, "attributes": attributes, "meta": {},
        "links": {"self": "/settings/flags"}
    })
}

/// Shows the flags; with `include=source` what each source says, too. Every token of the instance opens it.
pub(super) async fn show(
    State(shared): State<Shared>,
    bearer: Bearer,
    Query(parameters): Query<Parameters>,
) -> Result<JsonApi<Value>, Refusal> {
    let found = &bearer.token.found;
    let sources = list(&shared.store, &shared.contexts, &found.document.body).await;
    let sources = sources.map_err(Error::from)?;
    let data = object(ID, &sources.flags(&found.id));
    let document = if parameters.include.as_deref() == Some("source") {
        let included: Vec<Value> = [
            ("instance", &sources.instance),
            ("config", &sources.configured),
            ("context", &sources.context),
            ("default", &sources.defaults),
        ]
        .into_iter()
        .filter(|(_, flags)| !flags.is_empty())
        .map(|(name, flags)| object(&format!("{ID}.{name}"), flags))
        .collect();
        json!({"data": data, "included": included})
    } else {
        json!({"data": data})
    };
    Ok(JsonApi(StatusCode::OK, document))
}
