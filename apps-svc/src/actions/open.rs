//! Opens an installed app, in order to serve it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hamlet_proto::hamlet::instance::v1::Tenant;
use quick_cache::{Weighter, sync::Cache};

use super::{Shared, adopt_code::adopt_code};
use crate::{
    contents::Leaves,
    domain::{app_type::AppType, document::form, routes::Routes},
    error::Error,
    store::{localized_name, text},
};

/// How long an app is served as it was read. A page loads dozens of files at once; a change is seen after this time.
const FRESH: Duration = Duration::from_millis(500);
/// How much memory apps that were read lately may take, in bytes.
const MEMORY: u64 = 8 << 20;

/// An installed app.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Its slug.
    pub(crate) slug: String,
    /// Its state, as other software knows it.
    pub(crate) state: String,
    /// Its version.
    pub(crate) version: String,
    /// Its name in the language of the instance.
    pub(crate) name: String,
    /// What is written before the name.
    pub(crate) name_prefix: String,
    /// Who made it.
    pub(crate) editor: String,
    /// The path of its icon, as the manifest has it.
    pub(crate) icon: String,
    /// Its routes.
    pub(crate) routes: Routes,
    /// Its files; `None` when they are not in this store.
    pub(crate) files: Option<Arc<Leaves>>,
    read: Instant,
}

impl Opened {
    /// Whether it can be used.
    pub(crate) fn is_ready(&self) -> bool {
        // Other software installs apps that the owner has yet to activate, and the first visit does so.
        ["ready", "installed"].contains(&self.state.as_str())
    }
}

/// Apps that were read lately, by instance, document and language.
pub(super) type OpenApps = Cache<(String, String, String), Arc<Opened>, BySize>;

/// Weighs an app without its files, which are kept elsewhere.
#[derive(Clone, Debug)]
pub(super) struct BySize;

impl Weighter<(String, String, String), Arc<Opened>> for BySize {
    fn weight(&self, key: &(String, String, String), app: &Arc<Opened>) -> u64 {
        let texts = [
            &key.0,
            &key.1,
            &key.2,
            &app.slug,
            &app.state,
            &app.version,
            &app.name,
            &app.name_prefix,
            &app.editor,
            &app.icon,
        ];
        let texts: usize = texts.iter().map(|text| text.len() + 32).sum();
        (texts + app.routes.weight()) as u64
    }
}

pub(super) fn open_apps() -> OpenApps {
    Cache::with_weighter(4096, MEMORY, BySize)
}

/// The app of this slug; `None` when it is not installed.
///
/// # Errors
/// When the database or the content store fails.
pub(crate) async fn open(
    shared: &Shared,
    tenant: &Tenant,
    kind: AppType,
    slug: &str,
) -> Result<Option<Arc<Opened>>, Error> {
    let key = (
        tenant.prefix.clone(),
        kind.document_id(slug),
        tenant.locale.clone(),
    );
    if let Some(app) = shared.open_apps.get(&key)
        && app.read.elapsed() < FRESH
    {
        return Ok(Some(app));
    }
    let read = Instant::now();
    let Some(app) = shared.store(tenant)?.app(kind, slug).await? else {
        return Ok(None);
    };
    let of = |name: &str| text(&app, name).to_owned();
    let form = form(
        text(&app, "source"),
        text(&app, "version"),
        text(&app, "checksum"),
    );
    let files = shared.contents.files(&tenant.prefix, kind, slug, &form);
    let files = match files.await? {
        Some(files) => Some(files),
        None => adopt_code(shared, tenant, (kind, slug), &app).await?,
    };
    let opened = Arc::new(Opened {
        slug: slug.to_owned(),
        state: of("state"),
        version: of("version"),
        name: localized_name(&app, &tenant.locale).to_owned(),
        name_prefix: of("name_prefix"),
        editor: of("editor"),
        icon: of("icon"),
        routes: Routes::of(app.body.get("routes")),
        files,
        read,
    });
    shared.open_apps.insert(key, Arc::clone(&opened));
    Ok(Some(opened))
}
