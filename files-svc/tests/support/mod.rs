//! Test fixture of the files service: a database, a folder of contents, the service on a socket, and clients with the
//! rights of each kind of caller.
//!
//! The database is the embedded one, or the CouchDB that `HAMLET_TEST_COUCHDB_URL` names.
#![allow(
    dead_code,
    reason = "each test file is a separate crate and uses only a part of this"
)]

use std::path::{Path, PathBuf};

use couch::{Couch, CouchConfig, Database, DbName, DocId};
use files_svc::{Config, Dependencies};
use hamlet_proto::hamlet::{
    files::v1::{
        self as files, CreateDefaultDirectoriesRequest, File, PrepareDatabasesRequest,
        files_lifecycle_service_client::FilesLifecycleServiceClient,
        files_service_client::FilesServiceClient, get_file_request, list_children_request,
    },
    instance::v1::Tenant,
};
use prost_types::Timestamp;
use serde_json::Value;
use service_kit::{
    caller::{Door, for_tenant},
    contexts::{Context, Contexts},
};
use test_kit::{
    database::{self, Server},
    doors::{self, Service, Way, cluster_key, listen},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Status, transport::Channel};

/// A database, a folder of contents and the service.
pub(crate) struct World {
    pub(crate) couch: Couch,
    pub(crate) tenant: Tenant,
    pub(crate) contents: PathBuf,
    /// The file store of the context `shared`.
    pub(crate) file_store: PathBuf,
    server: Server,
    service: Service,
    _folder: tempfile::TempDir,
    _stop: DropGuard,
}

impl World {
    /// A world whose instance has no databases yet.
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stop = CancellationToken::new();
        let server = Server::shared().await;
        let couch = Couch::connect(&CouchConfig::new(server.url())).unwrap();
        let contents = folder.path().join("contents");
        let file_store = folder.path().join("store");
        let dependencies = Dependencies {
            couch: couch.clone().into(),
            contexts: contexts(&file_store),
            cluster_key: cluster_key().into(),
        };
        let (listener, address) = listen().await;
        let config = Config {
            contents: contents.clone(),
        };
        tokio::spawn(files_svc::serve(
            config,
            dependencies,
            listener,
            stop.clone(),
        ));
        Self {
            couch,
            tenant: doors::tenant(fresh_prefix()),
            contents,
            file_store,
            server,
            service: Service::at(address).await,
            _folder: folder,
            _stop: stop.drop_guard(),
        }
    }

    /// A world whose instance has databases and default directories.
    pub(crate) async fn with_directories() -> Self {
        let world = Self::new().await;
        world.prepare().await.unwrap();
        world.make_directories("op").await.unwrap();
        world
    }

    /// Another tenant of the same fixture.
    pub(crate) fn tenant(&self, change: impl FnOnce(&mut Tenant)) -> Tenant {
        let mut tenant = self.tenant.clone();
        tenant.prefix = fresh_prefix();
        change(&mut tenant);
        tenant
    }

    pub(crate) fn lifecycle(&self, door: Door) -> FilesLifecycleServiceClient<Way> {
        FilesLifecycleServiceClient::new(self.service.through(door))
    }

    pub(crate) fn files(&self, door: Door) -> FilesServiceClient<Way> {
        FilesServiceClient::new(self.service.through(door))
    }

    /// A client without the cluster key.
    pub(crate) fn stranger(&self) -> FilesServiceClient<Channel> {
        FilesServiceClient::new(self.service.stranger())
    }

    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        for_tenant(message, &self.tenant)
    }

    pub(crate) async fn prepare(&self) -> Result<Vec<(String, i64)>, Status> {
        self.prepare_for(&self.tenant).await
    }

    pub(crate) async fn prepare_for(&self, tenant: &Tenant) -> Result<Vec<(String, i64)>, Status> {
        let request = for_tenant(PrepareDatabasesRequest::default(), tenant);
        let answer = self
            .lifecycle(Door::Internal)
            .prepare_databases(request)
            .await?
            .into_inner();
        Ok(answer
            .databases
            .into_iter()
            .map(|it| (it.name, it.documents))
            .collect())
    }

    pub(crate) async fn make_directories(&self, operation: &str) -> Result<Vec<File>, Status> {
        self.make_directories_for(&self.tenant, operation).await
    }

    pub(crate) async fn make_directories_for(
        &self,
        tenant: &Tenant,
        operation: &str,
    ) -> Result<Vec<File>, Status> {
        let message = CreateDefaultDirectoriesRequest {
            create_time: Some(Timestamp {
                seconds: 1_795_482_123,
                nanos: 456_000_000,
            }),
            operation_id: operation.to_owned(),
        };
        let answer = self
            .lifecycle(Door::Internal)
            .create_default_directories(for_tenant(message, tenant))
            .await?;
        Ok(answer.into_inner().directories)
    }

    /// One of the instance's databases.
    pub(crate) fn database(&self, tenant: &Tenant, doctype: &str) -> Database {
        let name = DbName::instance(&tenant.prefix, doctype).unwrap();
        self.couch.database(&name)
    }

    /// Writes a document as other software would.
    pub(crate) async fn write(&self, id: &str, document: Value) {
        let files = self.database(&self.tenant, "io.cozy.files");
        let written = files.put(id, None, &document).await.unwrap();
        assert!(written.committed().is_some(), "{id} was there already");
    }

    /// Writes one revision of a document beside the existing ones, as replication does.
    pub(crate) async fn replicate(&self, doctype: &str, revision: &Value) {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

        let name = DbName::instance(&self.tenant.prefix, doctype).unwrap();
        let name = name.as_str().replace('/', "%2F");
        let (credentials, address) = self.server.url()["http://".len()..]
            .split_once('@')
            .unwrap();
        let credentials = STANDARD.encode(credentials);
        let body = serde_json::json!({"new_edits": false, "docs": [revision]}).to_string();
        let request = format!(
            "POST /{name}/_bulk_docs HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             Authorization: Basic {credentials}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }

    /// All documents of the instance's tree by id, without design documents.
    pub(crate) async fn documents(&self, tenant: &Tenant) -> Vec<(String, Value)> {
        let all = database::documents(&self.database(tenant, "io.cozy.files")).await;
        all.into_iter().map(|it| (it.id, it.body)).collect()
    }

    /// Stops the database. `false` when it is a shared server, which is not stopped.
    pub(crate) fn stop_database(&self) -> bool {
        self.server.stop()
    }

    /// Removes the databases of an instance, so that the next run on the same server starts clean.
    pub(crate) async fn forget(&self, tenant: &Tenant) {
        for doctype in ["io.cozy.files", "io.cozy.files.versions"] {
            let name = DbName::instance(&tenant.prefix, doctype).unwrap();
            self.couch.delete_database(&name).await.unwrap();
        }
    }

    // Reading

    pub(crate) async fn by_path(&self, path: &str) -> Result<File, Status> {
        self.get(get_file_request::Target::Path(path.to_owned()))
            .await
    }

    pub(crate) async fn by_id(&self, id: &str) -> Result<File, Status> {
        self.get(get_file_request::Target::Id(id.to_owned())).await
    }

    async fn get(&self, target: get_file_request::Target) -> Result<File, Status> {
        let request = self.request(files::GetFileRequest {
            target: Some(target),
        });
        Ok(self
            .files(Door::Admin)
            .get_file(request)
            .await?
            .into_inner())
    }

    /// A page of a directory: its files and the token of the next page.
    pub(crate) async fn page(
        &self,
        path: &str,
        page_size: i32,
        page_token: &str,
    ) -> Result<(Vec<File>, String), Status> {
        let request = self.request(files::ListChildrenRequest {
            directory: Some(list_children_request::Directory::Path(path.to_owned())),
            page_size,
            page_token: page_token.to_owned(),
        });
        let page = self
            .files(Door::Admin)
            .list_children(request)
            .await?
            .into_inner();
        Ok((page.children, page.next_page_token))
    }

    /// Walks a tree: paths with their depths.
    pub(crate) async fn walk(
        &self,
        path: &str,
        max_depth: i32,
    ) -> Result<Vec<(String, i32)>, Status> {
        let request = self.request(files::WalkTreeRequest {
            path: path.to_owned(),
            max_depth,
        });
        let mut entries = self
            .files(Door::Admin)
            .walk_tree(request)
            .await?
            .into_inner();
        let mut seen = Vec::new();
        while let Some(entry) = entries.message().await? {
            seen.push((entry.file.unwrap().path, entry.depth));
        }
        Ok(seen)
    }
}

fn fresh_prefix() -> String {
    format!("cozy{}", DocId::ascending())
}

fn contexts(file_store: &Path) -> Contexts {
    let bare = Context {
        init_administrative_folder: false,
        init_photos_folder: false,
        ..Context::default()
    };
    let shared = Context {
        storage: Some(file_store.to_owned()),
        ..Context::default()
    };
    Contexts::new([("bare".to_owned(), bare), ("shared".to_owned(), shared)].into())
}

/// The names of the fields that a status reports as wrong.
pub(crate) fn wrong_fields(status: &Status) -> Vec<String> {
    use tonic_types::StatusExt as _;
    status
        .get_details_bad_request()
        .map(|it| it.field_violations)
        .unwrap_or_default()
        .into_iter()
        .map(|it| it.field)
        .collect()
}
