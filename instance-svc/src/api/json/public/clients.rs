//! `/settings/clients`: the OAuth clients that the owner has let in.

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use service_kit::{
    json_api::{self, JsonApi, Query, Segments, query::text},
    rights::Verb,
};

use super::bearer::{Bearer, Refusal};
use crate::api::Shared;

const DOCTYPE: &str = "io.cozy.oauth.clients";
/// How many clients are on a page unless the caller wants fewer or more, and the most.
const USUAL: usize = 100;
const MOST: usize = 1000;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Page {
    #[serde(rename = "page[limit]", deserialize_with = "text")]
    limit: Option<String>,
    #[serde(rename = "page[cursor]", deserialize_with = "text")]
    cursor: Option<String>,
}

impl Page {
    fn limit(&self) -> Result<usize, json_api::Error> {
        let Some(given) = &self.limit else {
            return Ok(USUAL);
        };
        match given.parse() {
            Ok(limit @ 1..=MOST) => Ok(limit),
            _ => Err(json_api::Error::parameter(
                "page[limit]",
                format!("is not a number from 1 to {MOST}"),
            )
            .with_status(StatusCode::BAD_REQUEST)),
        }
    }
}

/// Lists the clients, without their secrets.
pub(super) async fn list(
    State(shared): State<Shared>,
    bearer: Bearer,
    Query(page): Query<Page>,
) -> Result<Response, Refusal> {
    bearer.token.require(DOCTYPE, Verb::Get)?;
    let limit = match page.limit() {
        Ok(limit) => limit,
        Err(wrong) => return Ok(wrong.into_response()),
    };
    let document = &bearer.token.found.document.body;
    let clients = shared.oauth(&bearer.tenant.id, document).list().await?;
    let count = clients.len();
    // The cursor is the last id of the page before.
    let after = page.cursor.unwrap_or_default();
    let mut rest = clients.into_iter().filter(|client| client.id > after);
    let shown: Vec<Value> = rest
        .by_ref()
        .take(limit)
        .map(|client| {
            json!({
                "type": DOCTYPE, "id": client.id, "attributes": client.body,
                "meta": {"rev": client.rev.as_str()},
                "links": {"self": format!("/settings/clients/{}", client.id)}
            })
        })
        .collect();
    let mut answer = json!({"data": shown, "meta": {"count": count}});
    let last = shown.last().and_then(|it| it.get("id")?.as_str());
    if let (Some(_), Some(last), Value::Object(answer)) = (rest.next(), last, &mut answer) {
        let next = format!("/settings/clients?page[limit]={limit}&page[cursor]={last}");
        answer.insert("links".to_owned(), json!({"next": next}));
    }
    Ok(JsonApi(StatusCode::OK, answer).into_response())
}

/// Removes a client: its tokens end within a second.
pub(super) async fn remove(
    State(shared): State<Shared>,
    bearer: Bearer,
    Segments(id): Segments<String>,
) -> Result<Response, Refusal> {
    bearer.token.require(DOCTYPE, Verb::Delete)?;
    let document = &bearer.token.found.document.body;
    let oauth = shared.oauth(&bearer.tenant.id, document);
    if oauth.remove(&id).await? {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let told = "there is no such client; it may have been removed";
    let gone = json_api::Error::new(StatusCode::NOT_FOUND, "OAUTH_CLIENT_NOT_FOUND", told);
    Ok(gone.into_response())
}
