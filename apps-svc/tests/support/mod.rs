//! Test fixture of the apps service: a database, a folder of contents, a registry that serves the fixture files, the
//! service on a socket, and clients with the rights of each kind of caller.
//!
//! The database is the embedded one, or the CouchDB that `HAMLET_TEST_COUCHDB_URL` names.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "each test file is a separate crate and uses only a part of this; a failed expectation is the test failing"
)]

pub(crate) mod browser;
pub(crate) mod registry;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use apps_svc::{Config, Dependencies, SourceFlags};
use couch::{Couch, CouchConfig, Database, DbName, DocId};
use hamlet_proto::hamlet::{
    apps::v1::{
        App, GetAppRequest, InstallAppRequest, ListAppsRequest, PrepareDatabasesRequest, app::Kind,
        apps_lifecycle_service_client::AppsLifecycleServiceClient,
        apps_service_client::AppsServiceClient,
    },
    instance::v1::{AppPage, GetAppPageRequest, Tenant},
};
use serde_json::Value;
use service_kit::{
    caller::{Caller, Door, for_tenant},
    contexts::{Context, Contexts, Subdomains},
    peer,
    status::reason,
};
use test_kit::{
    database::{self, Server},
    doors::{self, Service, Way, cluster_key, listen},
    fake::Fake,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Status};

use registry::Registry;

/// The folder of fixtures: apps in folders, and the files of a registry.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The source of a fixture in its folder.
pub(crate) fn folder_of(app: &str) -> String {
    format!("file://{}", fixtures().join(app).display())
}

/// A document as recorded from the compatible software.
pub(crate) fn recorded(name: &str) -> Value {
    let all: Value = serde_json::from_str(include_str!("../recorded/documents.json")).unwrap();
    all[name].clone()
}

/// A database, a folder of contents, a registry and the service.
pub(crate) struct World {
    pub(crate) couch: Couch,
    pub(crate) tenant: Tenant,
    pub(crate) contents: PathBuf,
    pub(crate) registry: Registry,
    pub(crate) folder: tempfile::TempDir,
    /// The instance service, which knows what pages hold.
    pub(crate) instances: Fake,
    pub(crate) address: SocketAddr,
    service: Service,
    _server: Server,
    _stop: DropGuard,
}

impl World {
    /// A fixture whose instance has its databases. Its contexts look up apps in these spaces of the registry: `default`
    /// in `main`, `next` in `next`, `acme` in `acme` and then `main`.
    pub(crate) async fn new() -> Self {
        let world = Self::bare(None).await;
        world.prepare().await;
        world
    }

    /// A fixture without registries, where slugs are looked up in a folder.
    pub(crate) async fn with_app_folder(app_folder: PathBuf) -> Self {
        let world = Self::bare(Some(app_folder)).await;
        world.prepare().await;
        world
    }

    /// A fixture whose instance has no databases yet.
    pub(crate) async fn bare(app_folder: Option<PathBuf>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sources = SourceFlags {
            app_roots: vec![fixtures(), folder.path().to_owned()],
            // Where the registry is.
            app_networks: vec!["127.0.0.0/8".parse().unwrap()],
        };
        Self::start(folder, app_folder, sources).await
    }

    /// A fixture to which apps come from these sources only.
    pub(crate) async fn with_sources(sources: SourceFlags) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = Self::start(folder, None, sources).await;
        world.prepare().await;
        world
    }

    async fn start(
        folder: tempfile::TempDir,
        app_folder: Option<PathBuf>,
        sources: SourceFlags,
    ) -> Self {
        let stop = CancellationToken::new();
        let server = Server::shared().await;
        let couch = Couch::connect(&CouchConfig::new(server.url())).unwrap();
        let registry = Registry::start(stop.clone()).await;
        let contexts = match app_folder {
            Some(_) => Contexts::default(),
            None => contexts(&registry, &folder.path().join("store")),
        };
        let contents = folder.path().join("contents");
        let instances = instances();
        let dependencies = Dependencies {
            couch: couch.clone().into(),
            contexts,
            cluster_key: cluster_key().into(),
            instances: peer::connect(&format!("http://{}", instances.address()), cluster_key())
                .unwrap(),
            app_folder,
        };
        let (listener, address) = listen().await;
        let config = Config {
            contents: contents.clone(),
            sources,
        };
        tokio::spawn(apps_svc::serve(
            config,
            dependencies,
            listener,
            stop.clone(),
        ));
        Self {
            couch,
            tenant: doors::tenant(format!("cozy{}", DocId::ascending())),
            contents,
            registry,
            folder,
            instances,
            address,
            service: Service::at(address).await,
            _server: server,
            _stop: stop.drop_guard(),
        }
    }

    pub(crate) fn lifecycle(&self, door: Door) -> AppsLifecycleServiceClient<Way> {
        AppsLifecycleServiceClient::new(self.service.through(door))
    }

    pub(crate) fn apps(&self, door: Door) -> AppsServiceClient<Way> {
        AppsServiceClient::new(self.service.through(door))
    }

    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        for_tenant(message, &self.tenant)
    }

    /// Creates the databases: those of apps, and that of triggers as the instance service would.
    pub(crate) async fn prepare(&self) -> Vec<(String, i64)> {
        self.couch
            .create_database(&DbName::instance(&self.tenant.prefix, "io.cozy.triggers").unwrap())
            .await
            .unwrap();
        let request = self.request(PrepareDatabasesRequest {});
        let answer = self
            .lifecycle(Door::Internal)
            .prepare_databases(request)
            .await
            .unwrap();
        answer
            .into_inner()
            .databases
            .into_iter()
            .map(|database| (database.name, database.documents))
            .collect()
    }

    pub(crate) async fn install(&self, source: &str) -> Result<App, Status> {
        self.install_with(source, |_| {}).await
    }

    pub(crate) async fn install_konnector(&self, source: &str) -> Result<App, Status> {
        self.install_with(source, |it| it.set_kind(Kind::Konnector))
            .await
    }

    pub(crate) async fn install_with(
        &self,
        source: &str,
        change: impl FnOnce(&mut InstallAppRequest),
    ) -> Result<App, Status> {
        let mut message = InstallAppRequest {
            source: source.to_owned(),
            ..InstallAppRequest::default()
        };
        change(&mut message);
        let answer = self
            .apps(Door::Admin)
            .install_app(self.request(message))
            .await?;
        Ok(answer.into_inner())
    }

    /// The reason and message with which an installation is refused.
    pub(crate) async fn refused(&self, source: &str) -> (String, String) {
        let status = self.install(source).await.unwrap_err();
        (reason(&status).unwrap(), status.message().to_owned())
    }

    pub(crate) async fn slugs(&self) -> Vec<String> {
        let request = self.request(ListAppsRequest::default());
        let answer = self.apps(Door::Admin).list_apps(request).await.unwrap();
        answer
            .into_inner()
            .apps
            .into_iter()
            .map(|app| app.slug)
            .collect()
    }

    pub(crate) async fn get(&self, slug: &str) -> Result<App, Status> {
        let message = GetAppRequest {
            slug: slug.to_owned(),
            kind: 0,
            with_document: false,
        };
        let answer = self
            .apps(Door::Admin)
            .get_app(self.request(message))
            .await?;
        Ok(answer.into_inner())
    }

    /// One of the instance's databases.
    pub(crate) fn database(&self, doctype: &str) -> Database {
        self.couch
            .database(&DbName::instance(&self.tenant.prefix, doctype).unwrap())
    }

    /// The documents of a database by their ids, without design documents.
    pub(crate) async fn documents(&self, doctype: &str) -> BTreeMap<String, Value> {
        let all = database::documents(&self.database(doctype)).await;
        all.into_iter()
            .map(|document| (document.id, document.body))
            .collect()
    }

    /// The files below the folder of contents, by their paths.
    pub(crate) fn stored(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![self.contents.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let below = path.strip_prefix(&self.contents).unwrap();
                    found.push(below.display().to_string());
                }
            }
        }
        found.sort();
        found
    }

    /// Checks that no document and no contents of any app exist.
    pub(crate) async fn assert_untouched(&self) {
        for doctype in [
            "io.cozy.apps",
            "io.cozy.konnectors",
            "io.cozy.permissions",
            "io.cozy.triggers",
        ] {
            let left = self.documents(doctype).await;
            assert!(left.is_empty(), "{doctype}: {left:?}");
        }
        assert!(self.stored().is_empty(), "{:?}", self.stored());
    }

    /// The folder of the instance on the file store of the context `shared`.
    pub(crate) fn on_store(&self) -> PathBuf {
        self.folder.path().join("store").join(&self.tenant.domain)
    }
}

/// An instance service that gives each app a token for its owner.
fn instances() -> Fake {
    let instances = Fake::service();
    instances.answer(|request: Request<GetAppPageRequest>| {
        let caller = Caller::of(&request)?;
        let session = caller.identity().map(|it| it.session_id.clone());
        let slug = &request.get_ref().slug;
        Ok(AppPage {
            token: session.map_or_else(String::new, |id| format!("{slug} for {id}")),
            flags: r#"{"a.flag":true}"#.to_owned(),
            capabilities: r#"{"can_auth_with_password":true}"#.to_owned(),
            tracking: false,
        })
    });
    instances
}

fn contexts(registry: &Registry, file_store: &Path) -> Contexts {
    let context = |spaces: &[&str]| Context {
        registries: spaces.iter().map(|space| registry.space(space)).collect(),
        ..Context::default()
    };
    let answering = registry::STATUSES.into_iter().map(|(status, _)| {
        let space = format!("answers-{status}");
        (space.clone(), context(&[&space]))
    });
    let mut contexts = BTreeMap::from([
        ("default".to_owned(), context(&["main"])),
        ("next".to_owned(), context(&["next"])),
        ("acme".to_owned(), context(&["acme"])),
        (
            "flat".to_owned(),
            Context {
                subdomains: Subdomains::Flat,
                ..context(&["main"])
            },
        ),
        ("broken".to_owned(), context(&["broken"])),
        ("silent".to_owned(), context(&["silent"])),
        (
            "shared".to_owned(),
            Context {
                storage: Some(file_store.to_owned()),
                ..context(&["main"])
            },
        ),
    ]);
    contexts.extend(answering);
    Contexts::new(contexts)
}

/// Compares a document with a recorded one: the same members in the same order. Values that are masked in the recording
/// are compared by form only.
pub(crate) fn assert_like(found: &Value, recorded: &Value, at: &str) {
    match (found, recorded) {
        (Value::Object(found), Value::Object(recorded)) => {
            let of = |members: &serde_json::Map<String, Value>| {
                members
                    .keys()
                    .filter(|name| !name.starts_with('_'))
                    .cloned()
                    .collect::<Vec<_>>()
            };
            assert_eq!(of(found), of(recorded), "{at}");
            for name in of(found) {
                assert_like(&found[&name], &recorded[&name], &format!("{at}.{name}"));
            }
        }
        (Value::Array(found), Value::Array(recorded)) => {
            assert_eq!(found.len(), recorded.len(), "{at}");
            for (index, (found, recorded)) in found.iter().zip(recorded).enumerate() {
                assert_like(found, recorded, &format!("{at}[{index}]"));
            }
        }
        (Value::String(found), Value::String(mask)) if mask == "<time>" => {
            let format = &time::format_description::well_known::Rfc3339;
            assert!(
                time::OffsetDateTime::parse(found, format).is_ok(),
                "{at}: {found}"
            );
        }
        (Value::String(found), Value::String(mask)) if mask == "<id>" => {
            assert!(
                found.len() == 32 && found.bytes().all(|byte| byte.is_ascii_hexdigit()),
                "{at}: {found}"
            );
        }
        _ => assert_eq!(found, recorded, "{at}"),
    }
}
