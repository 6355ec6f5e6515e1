//! `/settings/instance`, `/settings/disk-usage`, `/settings/capabilities`: what an instance tells of itself.

use axum::{
    body::Bytes,
    extract::State,
    response::{IntoResponse as _, Response},
};
use hamlet_proto::hamlet::{files::v1::GetUsageRequest, instance::v1::CheckRegisterTokenRequest};
use http::StatusCode;
use identity::grant::is_login;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use service_kit::{
    caller::for_tenant,
    json_api::{self, JsonApi, Query, query::text},
    rights::Verb,
};

use super::bearer::{Bearer, Refusal};
use crate::{
    actions::{
        app_page, change_settings::ChangeSettings, register_passphrase::Link, warn_owner::WarnOwner,
    },
    api::{Shared, pages::Asked, passphrase},
    domain::{bearer::Refused, claim::NameKind, fields::AuthMode, instance::InstanceDocument},
    error::Error,
    mail::MailKind,
    messages,
    store::Found,
};

const DOCTYPE: &str = "io.cozy.settings";
const DISK_USAGE: &str = "io.cozy.settings.disk-usage";
/// Where an owner arrives who has chosen nothing else.
const HOME: &str = "home/";

/// A resource of settings.
pub(super) fn resource(name: &str, attributes: &Value, meta: &Value) -> JsonApi<Value> {
    let document = json!({"data": {
        "type": DOCTYPE, "id": format!("{DOCTYPE}.{name}"), "attributes": attributes, "meta": meta,
        "links": {"self": format!("/settings/{name}")}
    }});
    JsonApi(StatusCode::OK, document)
}

/// Shows what the owner has set. Every token of the instance opens it but one for a login alone, and the register token
/// before there is an owner.
pub(super) async fn instance(
    State(shared): State<Shared>,
    bearer: Result<Bearer, Refusal>,
    asked: Asked,
) -> Result<JsonApi<Value>, Refusal> {
    if let Ok(bearer) = &bearer
        && is_login(&bearer.token.who.scope)
    {
        return Err(Error::Token(Refused::Scope).into());
    }
    if let Err(refusal) = bearer {
        let token = asked.parameter("registerToken");
        let (Some(token), true) = (token, refusal.is_missing()) else {
            return Err(refusal);
        };
        asked
            .count_try(&shared)
            .await
            .map_err(|_: Error| Refusal::from(Error::Token(Refused::Missing)))?;
        let request = CheckRegisterTokenRequest {
            register_token: token,
        };
        let checked = passphrase::check(&shared, &asked.tenant.id, Link::Register, &request).await;
        if checked.is_err() {
            return Err(refusal);
        }
    }
    let found = found(&shared, &asked.tenant.id).await?;
    Ok(shown(&found)?)
}

async fn found(shared: &Shared, id: &str) -> Result<Found, Error> {
    let found = shared.store.found(id, NameKind::Domain).await?;
    found.ok_or(Error::Token(Refused::Wrong))
}

/// The owner's settings as a resource.
fn shown(found: &Found) -> Result<JsonApi<Value>, Error> {
    let settings = found.settings.as_ref();
    let meta = settings.map_or_else(|| json!({}), |it| json!({"rev": it.rev.as_str()}));
    let attributes = attributes(found)?;
    Ok(resource("instance", &Value::Object(attributes), &meta))
}

/// The body of a change: a resource with the attributes, and the revision that the caller knows.
#[derive(Deserialize)]
struct Changed {
    data: ChangedData,
}

#[derive(Deserialize)]
struct ChangedData {
    attributes: Map<String, Value>,
    #[serde(default)]
    meta: ChangedMeta,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ChangedMeta {
    rev: String,
}

/// Changes what the owner has set. Of a new mail address, the owner is told at the former one.
pub(super) async fn change_instance(
    State(shared): State<Shared>,
    bearer: Bearer,
    asked: Asked,
    body: Bytes,
) -> Result<Response, Refusal> {
    bearer
        .token
        .require_one(DOCTYPE, Verb::Put, "io.cozy.settings.instance")?;
    let Changed { data } = match serde_json::from_slice(&body) {
        Ok(changed) => changed,
        Err(wrong) => {
            let told = format!("the body is no document with data.attributes: {wrong}");
            let wrong = json_api::Error::new(StatusCode::BAD_REQUEST, "INVALID_BODY", told);
            return Ok(wrong.into_response());
        }
    };
    let before = found(&shared, &bearer.tenant.id).await?;
    let present = attributes(&before).map_err(Error::from)?;
    let email = data.attributes.get("email");
    let warn = WarnOwner {
        config: &shared.config,
        mailer: &shared.mailer,
        writer: shared.writer(),
    };
    let document = &before.document.body;
    let letter = if email.is_some() && email != present.get("email") {
        warn.write(document).await?
    } else {
        None
    };
    let key = shared.key.current();
    let change = ChangeSettings {
        store: &shared.store,
        contexts: &shared.contexts,
        config: &shared.config,
        requests: passphrase::requests(&shared, &key),
    };
    change
        .change(&before, &present, &data.attributes, &data.meta.rev)
        .await?;
    if let Some(letter) = letter {
        warn.send(
            document,
            asked.occasion(document, MailKind::Changed),
            letter,
        );
    }
    let after = found(&shared, &bearer.tenant.id).await?;
    Ok(shown(&after)?.into_response())
}

/// The settings document, and what the instance document says for clients.
fn attributes(found: &Found) -> Result<Map<String, Value>, serde_json::Error> {
    let settings = found.settings.as_ref();
    let mut attributes = settings.map(|it| it.body.clone()).unwrap_or_default();
    let document = &found.document.body;
    let of_others = others(document)?;
    for (name, value) in [
        ("auth_mode", json!(mode(document.auth_mode))),
        ("auto_update", json!(!document.no_auto_update)),
        ("context", json!(document.context)),
        ("locale", json!(document.locale)),
        ("oidc_id", json!(document.oidc_id)),
        ("onboarding_finished", json!(document.onboarding_finished)),
        ("org_domain", of_others("org_domain")),
        ("org_id", of_others("org_id")),
        (
            "password_defined",
            json!(document.password_defined.unwrap_or_default()),
        ),
        ("tos", json!(document.tos)),
        ("tos_latest", json!(document.tos_latest)),
        ("uuid", json!(document.uuid)),
    ] {
        attributes.insert(name.to_owned(), value);
    }
    if !document.sponsorships.is_empty() {
        attributes.insert("sponsorships".to_owned(), json!(document.sponsorships));
    }
    attributes
        .entry("default_redirection")
        .or_insert_with(|| HOME.into());
    Ok(attributes)
}

/// Texts of the instance document that only other software writes.
fn others(document: &InstanceDocument) -> Result<impl Fn(&str) -> Value, serde_json::Error> {
    let document = serde_json::to_value(document)?;
    Ok(move |name: &str| {
        let text = document.get(name).and_then(Value::as_str);
        text.unwrap_or_default().into()
    })
}

const fn mode(mode: AuthMode) -> &'static str {
    match mode {
        AuthMode::Basic | AuthMode::Unknown(_) => "basic",
        AuthMode::TwoFactorMail => "two_factor_mail",
        AuthMode::TwoFactorOidc => "two_factor_oidc",
    }
}

/// Shows what the instance can do. Every token of the instance opens it.
pub(super) async fn capabilities(State(shared): State<Shared>, bearer: Bearer) -> JsonApi<Value> {
    let document = &bearer.token.found.document.body;
    let capabilities = app_page::capabilities(&shared.contexts, document);
    resource("capabilities", &Value::Object(capabilities), &json!({}))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Parameters {
    #[serde(deserialize_with = "text")]
    include: Option<String>,
}

/// Tells how much room the files take, in bytes as texts.
pub(super) async fn disk_usage(
    State(shared): State<Shared>,
    bearer: Bearer,
    Query(parameters): Query<Parameters>,
) -> Result<JsonApi<Value>, Refusal> {
    bearer.token.require_one(DOCTYPE, Verb::Get, DISK_USAGE)?;
    let with_trash = parameters.include.as_deref() == Some("trash");
    let request = GetUsageRequest { with_trash };
    let usage = shared
        .peers
        .trees()
        .get_usage(for_tenant(request, &bearer.tenant))
        .await?
        .into_inner();
    let used = usage.file_bytes.saturating_add(usage.version_bytes);
    let mut attributes = json!({
        "used": used.to_string(),
        "files": usage.file_bytes.to_string(),
        "versions": usage.version_bytes.to_string()
    });
    if let Value::Object(attributes) = &mut attributes {
        let quota = messages::instance(&bearer.token.found).disk_quota_bytes;
        if quota > 0 {
            attributes.insert("quota".to_owned(), quota.to_string().into());
        }
        if with_trash {
            let trashed = usage.trashed_bytes.to_string();
            attributes.insert("trash".to_owned(), trashed.into());
        }
    }
    Ok(resource("disk-usage", &attributes, &json!({})))
}
