//! Where an owner arrives after a login.

use couch::Document;
use hamlet_proto::hamlet::{
    apps::v1::{GetAppRequest, app},
    instance::v1::Tenant,
};
use serde_json::{Map, Value};
use service_kit::caller::for_tenant;
use tonic::Code;

use crate::{
    domain::{instance::InstanceDocument, scope::is_slug},
    error::Error,
    operations::Peers,
    store::Store,
};

/// The app that is opened when nothing else is set.
const HOME: &str = "home/";
/// How long the apps service may take to answer.
const CALL: std::time::Duration = std::time::Duration::from_secs(5);

/// The place in an app, as `slug/path#fragment`, at which an owner arrives. `None` when that app is not installed.
///
/// # Errors
/// When the database fails.
pub(crate) async fn landing(
    store: &Store,
    peers: &Peers,
    tenant: &Tenant,
    document: &InstanceDocument,
) -> Result<Option<String>, Error> {
    let settings = store.settings(document.location()).await?;
    let chosen = settings.as_ref().and_then(chosen);
    for place in chosen.into_iter().chain([HOME]) {
        let slug = place.split(['/', '#']).next().unwrap_or_default();
        if is_slug(slug) && is_installed(peers, tenant, slug).await {
            return Ok(Some(place.to_owned()));
        }
    }
    Ok(None)
}

/// What the owner has chosen. Whole addresses are ignored, as in the original.
fn chosen(settings: &Document<Map<String, Value>>) -> Option<&str> {
    let chosen = settings.body.get("default_redirection")?.as_str()?;
    (!chosen.starts_with("http")).then_some(chosen)
}

async fn is_installed(peers: &Peers, tenant: &Tenant, slug: &str) -> bool {
    let request = GetAppRequest {
        slug: slug.to_owned(),
        kind: app::Kind::Webapp.into(),
        ..GetAppRequest::default()
    };
    let mut request = for_tenant(request, tenant);
    request.set_timeout(CALL);
    match peers.apps().get_app(request).await {
        Ok(_) => true,
        Err(status) if status.code() == Code::NotFound => false,
        Err(status) => {
            // The owner comes in all the same.
            tracing::warn!(
                code = %status.code(),
                message = status.message(),
                "whether the default app is installed is not known"
            );
            true
        }
    }
}
