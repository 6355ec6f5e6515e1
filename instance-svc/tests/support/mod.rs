//! A small world for the instance service: a database, the other services as far as operations use them,
//! and replicas that can be made to fail.
#![allow(
    dead_code,
    reason = "each file of tests is a crate of its own and uses a part of this"
)]

pub(crate) mod changes;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use couch::{Couch, CouchConfig, DbName};
use futures::stream;
use hamlet_proto::{
    google::longrunning::{
        Operation, WaitOperationRequest, operation, operations_client::OperationsClient,
    },
    hamlet::{
        apps::v1::{
            self as apps,
            apps_lifecycle_service_server::{AppsLifecycleService, AppsLifecycleServiceServer},
            apps_service_server::{AppsService, AppsServiceServer},
        },
        files::v1::{
            self as files,
            files_lifecycle_service_server::{FilesLifecycleService, FilesLifecycleServiceServer},
        },
        instance::v1::{
            CreateInstanceRequest, DeleteInstanceRequest, Instance, OperationMetadata,
            instance_service_client::InstanceServiceClient,
            operation_service_client::OperationServiceClient,
        },
    },
};
use instance_svc::{Config, Given, Peers, Settings, operations::failpoints::Failpoints};
use service_kit::{
    caller::{Authenticate, Caller},
    contexts::Contexts,
    peer::{self, Peer},
    secret::Secret,
    server::GrpcServer,
};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status};

/// A database and the services beside the one that is tested.
pub(crate) struct World {
    pub(crate) couch: Couch,
    /// What lies in the stores of contents: the number of objects by prefix.
    pub(crate) contents: Contents,
    peers_address: SocketAddr,
    database: Database,
    _stop: DropGuard,
}

/// The database of a world.
struct Database {
    url: String,
    served: Option<Box<dyn Fn() -> u64 + Send + Sync>>,
    _folder: Option<tempfile::TempDir>,
    /// A real server is one for all tests: they take turns.
    _turn: Option<std::fs::File>,
}

impl Database {
    async fn embedded(stop: &CancellationToken) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = embedded_couchdb::Config::new(folder.path(), "admin", "password");
        let server = embedded_couchdb::Server::open(config).await.unwrap();
        let (listener, address) = listen().await;
        let served = Box::new(server.request_counter());
        let stopped = stop.clone();
        tokio::spawn(async move { server.serve(listener, stopped).await });
        Self {
            url: format!("http://admin:password@{address}"),
            served: Some(served),
            _folder: Some(folder),
            _turn: None,
        }
    }

    /// The server that the environment names, emptied of what tests left.
    async fn real(url: String) -> Self {
        let place = std::env::temp_dir().join("hamlet-tests-couchdb.lock");
        let turn = std::fs::File::create(place).unwrap();
        let turn = tokio::task::spawn_blocking(move || turn.lock().map(|()| turn))
            .await
            .unwrap()
            .unwrap();
        let couch = Couch::connect(&CouchConfig::new(&url)).unwrap();
        for prefix in ["cozy", "global/"] {
            for name in couch.databases_with_prefix(prefix).await.unwrap() {
                let removal = couch.delete_database(&DbName::new(name).unwrap()).await;
                removal.unwrap();
            }
        }
        Self {
            url,
            served: None,
            _folder: None,
            _turn: Some(turn),
        }
    }
}

/// One replica of the instance service.
pub(crate) struct Replica {
    pub(crate) instances: InstanceServiceClient<Peer>,
    pub(crate) operations: OperationsClient<Peer>,
    pub(crate) operation: OperationServiceClient<Peer>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

fn key() -> Secret {
    Secret::new("the key of the tests")
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

impl World {
    pub(crate) async fn new() -> Self {
        let stop = CancellationToken::new();
        let database = match std::env::var("HAMLET_TEST_COUCHDB_URL") {
            Ok(url) if !url.is_empty() => Database::real(url).await,
            _ => Database::embedded(&stop).await,
        };
        let couch = Couch::connect(&CouchConfig::new(&database.url)).unwrap();
        let (listener, peers_address) = listen().await;
        let contents = Contents::default();
        let neighbours = Neighbours {
            couch: couch.clone(),
            contents: contents.clone(),
        };
        let door = Authenticate::new(key());
        let server = GrpcServer::new()
            .unwrap()
            .with(FilesLifecycleServiceServer::with_interceptor(
                neighbours.clone(),
                door.clone(),
            ))
            .with(AppsLifecycleServiceServer::with_interceptor(
                neighbours.clone(),
                door.clone(),
            ))
            .with(AppsServiceServer::with_interceptor(neighbours, door));
        tokio::spawn(server.serve(listener, stop.clone()));
        Self {
            couch,
            contents,
            peers_address,
            database,
            _stop: stop.drop_guard(),
        }
    }

    /// Starts a replica that does what `failpoints` says. It takes over quickly what others left.
    pub(crate) async fn replica(&self, name: &str, failpoints: Failpoints) -> Replica {
        self.replica_with(hasty(name, failpoints)).await
    }

    pub(crate) async fn replica_with(&self, settings: Settings) -> Replica {
        self.replica_of(config(), settings).await
    }

    pub(crate) async fn replica_of(&self, config: Config, settings: Settings) -> Replica {
        let way = peer::connect(&format!("http://{}", self.peers_address), key()).unwrap();
        let given = Given {
            couch: Couch::connect(&CouchConfig::new(&self.database.url))
                .unwrap()
                .into(),
            peers: Peers::new(way.clone(), way),
            contexts: Contexts::default(),
            cluster_key: key().into(),
            engine: settings,
        };
        let (listener, address) = listen().await;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            instance_svc::serve(config, given, listener, stopped)
                .await
                .unwrap();
        });
        let way = peer::connect(&format!("http://{address}"), key()).unwrap();
        Replica {
            instances: InstanceServiceClient::new(way.clone()),
            operations: OperationsClient::new(way.clone()),
            operation: OperationServiceClient::new(way),
            stop,
            task,
        }
    }

    /// Writes down operations that ended some time ago, many of them in the same moment.
    pub(crate) async fn add_ended_operations(&self, count: usize) {
        let operations = self
            .couch
            .database(&DbName::global("hamlet-operations").unwrap());
        let documents: Vec<couch::BulkDoc> = (0..count)
            .map(|number| {
                let time = format!("2026-01-01T00:{:02}:00.000000Z", number / 50);
                let body = serde_json::json!({
                    "kind": "destroy", "instance": "i", "domain": "old.example", "prefix": "cozyold",
                    "arguments_mac": "", "phase": "succeeded", "step": 7, "open": false,
                    "created_at": time, "updated_at": time, "ended_at": time,
                });
                couch::BulkDoc::create(format!("old{number:06}"), &body).unwrap()
            })
            .collect();
        operations.bulk_ensure(&documents).await.unwrap();
    }

    /// Writes a document of `global/DATABASE` as somebody else does.
    pub(crate) async fn put(&self, database: &str, id: &str, document: serde_json::Value) {
        let database = self.couch.database(&DbName::global(database).unwrap());
        let written = database.put(id, None, &document).await.unwrap();
        assert!(written.committed().is_some(), "{id} was there already");
    }

    /// How many requests the database has served; a real one does not tell.
    pub(crate) fn served(&self) -> Option<u64> {
        self.database.served.as_ref().map(|served| served())
    }

    /// What is there beyond the databases of instances that exist.
    pub(crate) async fn leftovers(&self) -> Vec<String> {
        let ids = |name: &str| {
            let database = self.couch.database(&DbName::global(name).unwrap());
            async move {
                use futures::TryStreamExt as _;
                let rows: Vec<couch::Row> = database
                    .all_docs(couch::AllDocs::new())
                    .try_collect()
                    .await
                    .unwrap();
                rows.into_iter()
                    .map(|row| row.id)
                    .filter(|id| !id.starts_with("_design/"))
                    .collect::<Vec<_>>()
            }
        };
        let mut left = self.couch.databases_with_prefix("cozy").await.unwrap();
        for name in ["instances", "hamlet-instances", "hamlet-claims"] {
            left.extend(
                ids(name)
                    .await
                    .into_iter()
                    .map(|id| format!("{name}: {id}")),
            );
        }
        left
    }
}

/// The settings of a replica that takes over quickly what others left.
pub(crate) fn hasty(name: &str, failpoints: Failpoints) -> Settings {
    Settings {
        alone: false,
        lease: Duration::from_millis(800),
        scan_every: Duration::from_millis(50),
        look_again_after: Duration::from_millis(200),
        orphan_grace: Duration::from_millis(100),
        failpoints,
        ..Settings::new(name)
    }
}

pub(crate) fn config() -> Config {
    #[derive(clap::Parser)]
    struct Flags {
        #[command(flatten)]
        config: Config,
    }
    <Flags as clap::Parser>::parse_from(["test", "--instance-scheme", "http"]).config
}

/// How far an operation is.
pub(crate) fn progress(operation: &Operation) -> OperationMetadata {
    hamlet_proto::unpack(operation.metadata.as_ref().unwrap())
        .unwrap()
        .unwrap()
}

impl Replica {
    /// Reads an operation until it is as it should be.
    pub(crate) async fn until(
        &self,
        name: &str,
        so: impl Fn(&OperationMetadata) -> bool,
    ) -> OperationMetadata {
        loop {
            let request = hamlet_proto::google::longrunning::GetOperationRequest {
                name: name.to_owned(),
            };
            let found = self.operations.clone().get_operation(request).await;
            let progress = progress(&found.unwrap().into_inner());
            if so(&progress) {
                return progress;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn cancel(&self, name: &str) -> Result<(), Status> {
        let request = hamlet_proto::google::longrunning::CancelOperationRequest {
            name: name.to_owned(),
        };
        self.operations.clone().cancel_operation(request).await?;
        Ok(())
    }

    /// Asks for an instance and waits for the end of the operation.
    pub(crate) async fn create(&self, domain: &str) -> Result<Operation, Status> {
        let accepted = self.ask_to_create(domain, "").await?;
        Ok(self.end_of(&accepted.name).await)
    }

    pub(crate) async fn ask_to_create(
        &self,
        domain: &str,
        request_id: &str,
    ) -> Result<Operation, Status> {
        let answer = self
            .instances
            .clone()
            .create_instance(CreateInstanceRequest {
                instance: Some(Instance {
                    domain: domain.to_owned(),
                    ..Instance::default()
                }),
                request_id: request_id.to_owned(),
                ..CreateInstanceRequest::default()
            })
            .await?;
        Ok(answer.into_inner())
    }

    pub(crate) async fn destroy(&self, domain: &str) -> Result<Operation, Status> {
        let accepted = self
            .instances
            .clone()
            .delete_instance(DeleteInstanceRequest {
                name: format!("instances/{domain}"),
                ..DeleteInstanceRequest::default()
            })
            .await?
            .into_inner();
        Ok(self.end_of(&accepted.name).await)
    }

    /// The operation when it has ended, whoever drives it.
    pub(crate) async fn end_of(&self, name: &str) -> Operation {
        let operation = self
            .operations
            .clone()
            .wait_operation(WaitOperationRequest {
                name: name.to_owned(),
                timeout: Some(prost_types::Duration {
                    seconds: 60,
                    nanos: 0,
                }),
            })
            .await
            .unwrap()
            .into_inner();
        assert!(operation.done, "it did not end: {operation:#?}");
        operation
    }

    /// Stops it as a deployment does.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

/// Why an operation failed; `None` when it succeeded.
pub(crate) fn failure(operation: &Operation) -> Option<&str> {
    match &operation.result {
        Some(operation::Result::Error(error)) => Some(&error.message),
        Some(operation::Result::Response(_)) => None,
        None => panic!("it has not ended: {operation:#?}"),
    }
}

/// The files and the apps service, as far as operations use them: they make their databases.
#[derive(Clone)]
struct Neighbours {
    couch: Couch,
    contents: Contents,
}

/// The number of objects by prefix.
pub(crate) type Contents = Arc<Mutex<BTreeMap<String, i64>>>;

impl Neighbours {
    /// Whose contents there are: all, or those of the instance for which the call is.
    fn listed<T>(&self, request: &Request<T>) -> Vec<(String, i64)> {
        let caller = Caller::of(request).unwrap();
        let only = caller.tenant().map(|tenant| tenant.prefix.clone()).ok();
        let contents = self.contents.lock().unwrap();
        let wanted = |prefix: &String| only.as_ref().is_none_or(|only| only == prefix);
        let found = contents.iter().filter(|(prefix, _)| wanted(prefix));
        found
            .map(|(prefix, count)| (prefix.clone(), *count))
            .collect()
    }

    async fn make<T>(
        &self,
        request: &Request<T>,
        doctypes: &[&str],
    ) -> Result<Vec<String>, Status> {
        let caller = Caller::of(request)?;
        caller.require_internal()?;
        let prefix = &caller.tenant()?.prefix;
        let mut made = Vec::new();
        for doctype in doctypes {
            let name = DbName::instance(prefix, doctype).unwrap();
            self.couch
                .create_database(&name)
                .await
                .map_err(|error| Status::unavailable(error.to_string()))?;
            made.push(name.as_str().to_owned());
        }
        Ok(made)
    }
}

#[tonic::async_trait]
impl FilesLifecycleService for Neighbours {
    async fn prepare_databases(
        &self,
        request: Request<files::PrepareDatabasesRequest>,
    ) -> Result<Response<files::PrepareDatabasesResponse>, Status> {
        let made = self
            .make(&request, &["io.cozy.files", "io.cozy.files.versions"])
            .await?;
        let databases = made
            .into_iter()
            .map(|name| files::PreparedDatabase { name, documents: 0 })
            .collect();
        Ok(Response::new(files::PrepareDatabasesResponse { databases }))
    }

    async fn create_default_directories(
        &self,
        _: Request<files::CreateDefaultDirectoriesRequest>,
    ) -> Result<Response<files::CreateDefaultDirectoriesResponse>, Status> {
        Ok(Response::new(
            files::CreateDefaultDirectoriesResponse::default(),
        ))
    }

    async fn purge_contents(
        &self,
        request: Request<files::PurgeContentsRequest>,
    ) -> Result<Response<files::PurgeContentsResponse>, Status> {
        let prefix = &Caller::of(&request)?.tenant()?.prefix;
        let removed = self.contents.lock().unwrap().remove(prefix);
        Ok(Response::new(files::PurgeContentsResponse {
            objects: removed.unwrap_or_default(),
        }))
    }

    type ListContentsStream = stream::Iter<std::vec::IntoIter<Result<files::Contents, Status>>>;

    async fn list_contents(
        &self,
        request: Request<files::ListContentsRequest>,
    ) -> Result<Response<Self::ListContentsStream>, Status> {
        let found = self.listed(&request).into_iter();
        let found: Vec<_> = found
            .map(|(prefix, objects)| Ok(files::Contents { prefix, objects }))
            .collect();
        Ok(Response::new(stream::iter(found)))
    }
}

#[tonic::async_trait]
impl AppsLifecycleService for Neighbours {
    async fn prepare_databases(
        &self,
        request: Request<apps::PrepareDatabasesRequest>,
    ) -> Result<Response<apps::PrepareDatabasesResponse>, Status> {
        let doctypes = ["io.cozy.apps", "io.cozy.konnectors", "io.cozy.permissions"];
        let databases = self
            .make(&request, &doctypes)
            .await?
            .into_iter()
            .map(|name| apps::PreparedDatabase { name, documents: 0 })
            .collect();
        Ok(Response::new(apps::PrepareDatabasesResponse { databases }))
    }

    async fn purge_contents(
        &self,
        _: Request<apps::PurgeContentsRequest>,
    ) -> Result<Response<apps::PurgeContentsResponse>, Status> {
        Ok(Response::new(apps::PurgeContentsResponse { objects: 0 }))
    }

    type ListContentsStream = stream::Empty<Result<apps::Contents, Status>>;

    async fn list_contents(
        &self,
        _: Request<apps::ListContentsRequest>,
    ) -> Result<Response<Self::ListContentsStream>, Status> {
        Ok(Response::new(stream::empty()))
    }
}

#[tonic::async_trait]
impl AppsService for Neighbours {
    async fn list_apps(
        &self,
        _: Request<apps::ListAppsRequest>,
    ) -> Result<Response<apps::ListAppsResponse>, Status> {
        Err(Status::unimplemented("not a part of these tests"))
    }

    async fn get_app(
        &self,
        _: Request<apps::GetAppRequest>,
    ) -> Result<Response<apps::App>, Status> {
        Err(Status::unimplemented("not a part of these tests"))
    }

    async fn install_app(
        &self,
        request: Request<apps::InstallAppRequest>,
    ) -> Result<Response<apps::App>, Status> {
        let source = request.into_inner().source;
        if source == "bad" {
            return Err(Status::failed_precondition("this app is bad"));
        }
        Ok(Response::new(apps::App {
            slug: source,
            version: "1.0.0".to_owned(),
            ..apps::App::default()
        }))
    }

    async fn uninstall_app(
        &self,
        _: Request<apps::UninstallAppRequest>,
    ) -> Result<Response<apps::UninstallAppResponse>, Status> {
        Err(Status::unimplemented("not a part of these tests"))
    }
}
