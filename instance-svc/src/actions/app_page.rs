//! What the index page of an app holds for whoever calls.

use serde_json::{Map, Value, json};
use service_kit::contexts::{Contexts, Subdomains};

use super::features::list::list;
use crate::{
    clock::Clock,
    domain::{
        claim::NameKind,
        instance::InstanceDocument,
        token::{Audience, Claims},
    },
    error::Error,
    store::Store,
};

/// What the page holds.
pub(crate) struct AppPage {
    /// The token of the app; empty for a stranger.
    pub(crate) token: String,
    /// The feature flags.
    pub(crate) flags: Map<String, Value>,
    /// What the instance can do.
    pub(crate) capabilities: Map<String, Value>,
}

/// Reads what the page of the app `slug` holds. `session` is that of the owner who opens it; empty for a stranger.
///
/// # Errors
/// No such instance; the database fails.
pub(crate) async fn app_page(
    store: &Store,
    clock: &Clock,
    contexts: &Contexts,
    instance: &str,
    slug: &str,
    session: &str,
) -> Result<AppPage, Error> {
    let found = store
        .found_without_settings(instance, NameKind::Domain)
        .await?
        .ok_or_else(|| Error::NoSuchInstance(instance.to_owned()))?;
    let document = &found.document.body;
    let token = if session.is_empty() {
        String::new()
    } else {
        let key = document
            .token_key(Audience::App)
            .ok_or_else(|| Error::NoTokenKey(document.domain.clone()))?;
        let claims = Claims {
            audience: Audience::App,
            issuer: &document.domain,
            subject: slug,
            scope: "",
            session,
        };
        claims.sign(&key, clock.now(), None)?
    };
    let flags = list(store, contexts, document).await?.flags(&found.id);
    Ok(AppPage {
        token,
        flags,
        capabilities: capabilities(contexts, document),
    })
}

/// What an instance can do, by the names that apps know.
pub(crate) fn capabilities(contexts: &Contexts, document: &InstanceDocument) -> Map<String, Value> {
    let subdomains = contexts.get(&document.context).subdomains;
    let capabilities = json!({
        "file_versioning": true,
        "flat_subdomains": subdomains == Subdomains::Flat,
        "can_auth_with_password": document.password_defined != Some(false),
        "can_auth_with_magic_links": document.magic_link,
        "can_auth_with_oidc": false
    });
    match capabilities {
        Value::Object(capabilities) => capabilities,
        _ => Map::new(),
    }
}
