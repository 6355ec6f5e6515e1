//! Which instances have an app in a version.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use hamlet_proto::hamlet::apps::v1::app::Kind;
use tonic::Code;

use crate::{
    clock::Clock, config::Config, error::Error, messages, operations::Peers, store::Store,
};

/// How many instances are read together.
const BATCH: usize = 200;
/// How many instances are asked at once.
const AT_ONCE: usize = 16;

/// The domains of the instances that have this web app in this version, in the order of their creation.
///
/// # Errors
/// When the database or the apps service fails.
pub(crate) async fn app_versions(
    store: &Store,
    peers: &Peers,
    config: &Config,
    clock: &Clock,
    slug: &str,
    version: &str,
) -> Result<Vec<String>, Error> {
    let ids = store.instance_ids().await?;
    let mut domains = Vec::new();
    for batch in ids.chunks(BATCH) {
        let batch: Vec<&str> = batch.iter().map(String::as_str).collect();
        let mut instances = store.readable_instances(&batch).await?;
        instances.sort_by(|one, other| one.id.cmp(&other.id));
        let found: Vec<Option<String>> = stream::iter(instances)
            .map(async |instance| {
                let tenant = messages::tenant(config, clock, &instance.id, &instance.body, None);
                match peers.app(&tenant, slug, Kind::Webapp).await {
                    Ok(app) if app.version == version => Ok(Some(instance.body.domain)),
                    Ok(_) => Ok(None),
                    Err(status) if status.code() == Code::NotFound => Ok(None),
                    Err(status) => Err(Error::from(status)),
                }
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        domains.extend(found.into_iter().flatten());
    }
    Ok(domains)
}
