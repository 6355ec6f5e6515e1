//! Decides who may read an app of an instance.

use hamlet_proto::hamlet::instance::v1::{Identity, Tenant, identity::Kind};
use serde_json::Value;

use super::Shared;
use crate::{
    domain::{
        app_type::AppType,
        rights::{linked_app, permissions_allow, scope_allows},
    },
    error::Error,
};

/// Whether a caller may read an app. The owner may, and so may tokens whose rules say so.
///
/// # Errors
/// When the database fails.
pub(crate) async fn may_read(
    shared: &Shared,
    tenant: &Tenant,
    identity: &Identity,
    kind: AppType,
    slug: &str,
) -> Result<bool, Error> {
    let of = match identity.kind() {
        Kind::Session => return Ok(true),
        Kind::App => Some((AppType::Webapp, identity.subject.as_str())),
        Kind::Konnector => Some((AppType::Konnector, identity.subject.as_str())),
        Kind::Oauth | Kind::Cli if scope_allows(&identity.scope, kind, slug) => return Ok(true),
        Kind::Oauth | Kind::Cli => linked_app(&identity.scope).map(|app| (AppType::Webapp, app)),
        Kind::Unspecified => None,
    };
    let Some((bearer, subject)) = of else {
        return Ok(false);
    };
    // What an app may do is in its permission document and nowhere else.
    let store = shared.store(tenant)?;
    let found = store.permissions(bearer, subject).await?;
    let rules = found
        .as_ref()
        .and_then(|document| document.body.get("permissions"))
        .and_then(Value::as_object);
    Ok(rules.is_some_and(|rules| permissions_allow(rules, kind, slug)))
}
