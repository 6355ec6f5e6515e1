//! A small world for the instance service: a database, fakes of the other services, and replicas that can be
//! made to fail.
#![allow(
    dead_code,
    reason = "each file of tests is a crate of its own and uses a part of this"
)]

pub(crate) mod changes;
pub(crate) mod process;
pub(crate) mod steps;

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use couch::{Couch, CouchConfig, DbName};
use embedded_couchdb::faults::Faults;
use hamlet_proto::{
    google::longrunning::{
        Operation, WaitOperationRequest, operation, operations_client::OperationsClient,
    },
    hamlet::{
        apps::v1::{App, InstallAppRequest, app::Kind},
        instance::v1::{
            CreateInstanceRequest, DeleteInstanceRequest, Instance, OperationMetadata,
            ResolveHostRequest, ResolveHostResponse, WatchHostsRequest, WatchHostsResponse,
            directory_service_client::DirectoryServiceClient,
            identity_service_client::IdentityServiceClient,
            instance_service_client::InstanceServiceClient,
            operation_service_client::OperationServiceClient,
            tenant_service_client::TenantServiceClient,
        },
    },
};
use instance_svc::{Config, Dependencies, Peers, Settings, operations::failpoints::Failpoints};
use service_kit::{
    caller::Caller,
    contexts::Contexts,
    peer::{self, Peer},
    status::StatusBuilder,
};
pub(crate) use test_kit::fake::lifecycles::Contents;
use test_kit::{
    cluster::Cluster,
    database::{self, Server},
    doors::{cluster_key, listen},
    eventually,
    fake::{Fake, Script, lifecycles},
    real_nodes::RealNodes,
};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status};

/// A database, and the services beside the one under test.
pub(crate) struct World {
    pub(crate) couch: Couch,
    /// The fake content stores: the number of objects by prefix.
    pub(crate) contents: Contents,
    /// The fake files and apps services.
    neighbours: Fake,
    /// The database server; replicas use its nodes in turn.
    server: Server,
    /// The nodes of a real cluster, if a test may kill them.
    real_nodes: Option<RealNodes>,
    /// The number of replicas started so far.
    replicas: AtomicUsize,
}

/// The nodes of the cluster under a storm.
#[derive(Clone, Copy)]
pub(crate) enum NodesOf<'a> {
    /// A model, whose nodes die at chosen writes.
    Model(&'a Cluster),
    /// A real cluster, whose nodes are killed at any time.
    Real(&'a RealNodes),
}

/// Clients of a replica.
#[derive(Clone)]
pub(crate) struct Clients {
    pub(crate) instances: InstanceServiceClient<Peer>,
    pub(crate) operations: OperationsClient<Peer>,
    pub(crate) operation: OperationServiceClient<Peer>,
    pub(crate) tenants: TenantServiceClient<Peer>,
    pub(crate) identities: IdentityServiceClient<Peer>,
    directory: DirectoryServiceClient<Peer>,
}

/// One replica of the instance service.
pub(crate) struct Replica {
    pub(crate) address: SocketAddr,
    clients: Clients,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

/// The files and the apps service, as far as operations use them: they make their databases, and installed apps
/// have contents. Each instance has the web app `drive` and the konnector `bills`. The app `bad` cannot be
/// installed. For the app `unheard`, the first request for each instance fails.
fn neighbours(server: &Server, contents: &Contents) -> Fake {
    let fake = Fake::service();
    lifecycles::play(&fake, &database::patient(server.url()), contents);
    let app = |slug: &str, kind: Kind| App {
        slug: slug.to_owned(),
        kind: kind.into(),
        ..App::default()
    };
    fake.play(Script {
        apps: vec![app("drive", Kind::Webapp), app("bills", Kind::Konnector)],
        ..Script::default()
    });
    let (contents, heard) = (Arc::clone(contents), Mutex::new(BTreeSet::new()));
    fake.answer(move |request: Request<InstallAppRequest>| {
        let prefix = Caller::of(&request)?.tenant()?.prefix.clone();
        let source = request.into_inner().source;
        if source == "bad" {
            return Err(Status::failed_precondition("this app is bad"));
        }
        // The response of a database node that does not know the new databases yet.
        if source == "unheard" && heard.lock().unwrap().insert(prefix.clone()) {
            let failure = StatusBuilder::new(
                Code::FailedPrecondition,
                "INSTANCE_INCOMPLETE",
                "the databases of this instance are not there",
            );
            return Err(failure.build());
        }
        *contents.lock().unwrap().entry(prefix).or_default() += 1;
        Ok(App {
            version: "1.0.0".to_owned(),
            ..app(&source, Kind::Webapp)
        })
    });
    fake
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::on(Server::empty().await)
    }

    /// A world on a model of a cluster of three nodes.
    pub(crate) async fn of_three_nodes(seed: u64) -> Self {
        Self::on(Server::modelled(Cluster::start(seed).await))
    }

    fn on(server: Server) -> Self {
        let contents = Contents::default();
        Self {
            couch: server.couch(),
            neighbours: neighbours(&server, &contents),
            contents,
            server,
            real_nodes: None,
            replicas: AtomicUsize::new(0),
        }
    }

    /// Starts a replica that obeys `failpoints`. It takes over abandoned operations quickly.
    pub(crate) async fn replica(&self, name: &str, failpoints: Failpoints) -> Replica {
        self.replica_with(hasty(name, failpoints)).await
    }

    pub(crate) async fn replica_with(&self, settings: Settings) -> Replica {
        self.replica_of(config(), settings).await
    }

    pub(crate) async fn replica_of(&self, config: Config, settings: Settings) -> Replica {
        self.replica_in(config, Contexts::default(), settings).await
    }

    /// Starts a replica with these contexts.
    pub(crate) async fn replica_in(
        &self,
        config: Config,
        contexts: Contexts,
        settings: Settings,
    ) -> Replica {
        let given = Dependencies {
            contexts,
            ..self.given(&CouchConfig::new(self.next_node()), settings)
        };
        let (listener, address) = listen().await;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            instance_svc::serve(config, given, listener, stopped)
                .await
                .unwrap();
        });
        Replica {
            address,
            clients: Clients::of(address),
            stop,
            task,
        }
    }

    /// The database node of the next replica.
    fn next_node(&self) -> &str {
        let urls = self.server.urls();
        let number = self.replicas.fetch_add(1, Ordering::Relaxed);
        urls.get(number % urls.len()).unwrap()
    }

    fn given(&self, couch: &CouchConfig, settings: Settings) -> Dependencies {
        given(self.neighbours.address(), couch, settings)
    }

    /// The faults of the database; a real one has none.
    pub(crate) const fn faults(&self) -> &Faults {
        self.server.faults()
    }

    /// A world on the real cluster that the environment names, emptied.
    pub(crate) async fn of_real_nodes(nodes: RealNodes) -> Self {
        let server = Server::emptied(nodes.urls()).await;
        Self {
            real_nodes: Some(nodes),
            ..Self::on(server)
        }
    }

    /// The nodes of the database, if they can die.
    pub(crate) fn nodes(&self) -> Option<NodesOf<'_>> {
        match (&self.real_nodes, self.server.cluster()) {
            (Some(real), _) => Some(NodesOf::Real(real)),
            (None, Some(model)) => Some(NodesOf::Model(model)),
            (None, None) => None,
        }
    }

    /// The modelled cluster, if the database is one.
    pub(crate) const fn cluster(&self) -> Option<&Cluster> {
        self.server.cluster()
    }

    /// Whether the database can inject faults.
    pub(crate) const fn is_embedded(&self) -> bool {
        self.server.is_embedded()
    }

    /// Writes operations that ended some time ago, many of them at the same time.
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

    /// Writes a document of `global/DATABASE`, as other software would.
    pub(crate) async fn put(&self, database: &str, id: &str, document: serde_json::Value) {
        let database = self.couch.database(&DbName::global(database).unwrap());
        let written = database.put(id, None, &document).await.unwrap();
        assert!(written.committed().is_some(), "{id} was there already");
    }

    /// Makes a database of the instance of a document, as other software does.
    pub(crate) async fn make_a_database_for(&self, document: &serde_json::Value) {
        let Some(prefix) = document["prefix"].as_str() else {
            return;
        };
        let files = DbName::instance(prefix, "io.cozy.files").unwrap();
        self.couch.create_database(&files).await.unwrap();
    }

    /// Writes what a node of the database brings back, as replication does: a first revision of a document.
    pub(crate) async fn bring_back(&self, database: &str, id: &str, document: serde_json::Value) {
        self.bring_back_at(database, id, 1, document).await;
    }

    /// The same, with a revision of this generation.
    pub(crate) async fn bring_back_at(
        &self,
        database: &str,
        id: &str,
        generation: u32,
        mut document: serde_json::Value,
    ) {
        let rev = format!("{generation}-{:032x}", hash_of(&document));
        let members = document.as_object_mut().unwrap();
        members.insert("_id".to_owned(), id.into());
        members.insert("_rev".to_owned(), rev.into());
        let url = format!("{}/global%2F{database}/_bulk_docs", self.server.url());
        let body = serde_json::json!({"new_edits": false, "docs": [document]});
        let written = reqwest::Client::new().post(url).json(&body).send().await;
        let written = written.unwrap();
        assert_eq!(written.status(), 201);
        assert_eq!(
            written.json::<Vec<serde_json::Value>>().await.unwrap(),
            [] as [serde_json::Value; 0]
        );
    }

    /// The number of requests that the database has served; unknown for a real one.
    pub(crate) fn served(&self) -> Option<u64> {
        self.server.served()
    }

    /// The ids of the documents of a global database, design documents aside.
    pub(crate) async fn ids(&self, name: &str) -> Vec<String> {
        let documents = self.bodies(name).await;
        documents.into_iter().map(|document| document.id).collect()
    }

    /// All stored operations.
    pub(crate) async fn all_operations(
        &self,
    ) -> Vec<couch::Document<instance_svc::operations::Operation>> {
        let ids = self.ids("hamlet-operations").await;
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let operations = DbName::global("hamlet-operations").unwrap();
        let found = self.couch.database(&operations).get_many(&ids).await;
        found.unwrap().into_values().collect()
    }

    /// Everything that exists of instances.
    pub(crate) async fn leftovers(&self) -> Vec<String> {
        let mut left = self.couch.databases_with_prefix("cozy").await.unwrap();
        for name in ["instances", "hamlet-instances", "hamlet-claims"] {
            let ids = self.ids(name).await;
            left.extend(ids.into_iter().map(|id| format!("{name}: {id}")));
        }
        let contents = self.contents.lock().unwrap();
        left.extend(contents.keys().map(|prefix| format!("contents: {prefix}")));
        left
    }
}

/// A number that differs between documents.
fn hash_of(document: &serde_json::Value) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hash = DefaultHasher::new();
    document.to_string().hash(&mut hash);
    hash.finish()
}

/// What a replica needs. Its connections belong to the runtime that calls this.
fn given(peers: SocketAddr, couch: &CouchConfig, settings: Settings) -> Dependencies {
    let way = peer::connect(&format!("http://{peers}"), cluster_key()).unwrap();
    Dependencies {
        couch: Couch::connect(couch).unwrap().into(),
        peers: Peers::new(way.clone(), way),
        contexts: Contexts::default(),
        cluster_key: cluster_key().into(),
        engine: settings,
        orphan_grace: Duration::from_millis(100),
    }
}

/// The settings of a replica that takes over abandoned operations quickly.
pub(crate) fn hasty(name: &str, failpoints: Failpoints) -> Settings {
    Settings {
        alone: false,
        lease: Duration::from_millis(800),
        scan_every: Duration::from_millis(50),
        look_again_after: Duration::from_millis(200),
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

/// The metadata of an operation.
pub(crate) fn progress(operation: &Operation) -> OperationMetadata {
    hamlet_proto::unpack(operation.metadata.as_ref().unwrap())
        .unwrap()
        .unwrap()
}

impl std::ops::Deref for Replica {
    type Target = Clients;

    fn deref(&self) -> &Clients {
        &self.clients
    }
}

impl Replica {
    /// Stops the replica gracefully, as a deployment does.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        (&mut self.task).await.unwrap();
    }
}

impl Drop for Replica {
    /// With a real database, a replica left running would continue into the next world.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Clients {
    fn of(address: SocketAddr) -> Self {
        let way = peer::connect(&format!("http://{address}"), cluster_key()).unwrap();
        Self {
            instances: InstanceServiceClient::new(way.clone()),
            operations: OperationsClient::new(way.clone()),
            operation: OperationServiceClient::new(way.clone()),
            tenants: TenantServiceClient::new(way.clone()),
            identities: IdentityServiceClient::new(way.clone()),
            directory: DirectoryServiceClient::new(way),
        }
    }

    /// Resolves a host, as the gateway does.
    pub(crate) async fn resolve(&self, host: &str) -> Result<ResolveHostResponse, Status> {
        let request = ResolveHostRequest {
            host: host.to_owned(),
        };
        let answer = self.directory.clone().resolve_host(request).await?;
        Ok(answer.into_inner())
    }

    /// Watches what gateways keep.
    pub(crate) async fn watch_hosts(&self, token: &str) -> tonic::Streaming<WatchHostsResponse> {
        let request = WatchHostsRequest {
            resume_token: token.to_owned(),
        };
        let watching = self.directory.clone().watch_hosts(request).await;
        watching.unwrap().into_inner()
    }

    /// Reads an operation until it meets a condition.
    pub(crate) async fn until(
        &self,
        name: &str,
        so: impl Fn(&OperationMetadata) -> bool,
    ) -> OperationMetadata {
        eventually(&format!("{name} is as it should be"), async || {
            let request = hamlet_proto::google::longrunning::GetOperationRequest {
                name: name.to_owned(),
            };
            let found = self.operations.clone().get_operation(request).await;
            let progress = progress(&found.unwrap().into_inner());
            if so(&progress) {
                Ok(progress)
            } else {
                Err(progress)
            }
        })
        .await
    }

    pub(crate) async fn cancel(&self, name: &str) -> Result<(), Status> {
        let request = hamlet_proto::google::longrunning::CancelOperationRequest {
            name: name.to_owned(),
        };
        self.operations.clone().cancel_operation(request).await?;
        Ok(())
    }

    /// Requests a creation and waits for the end of the operation.
    pub(crate) async fn create(&self, domain: &str) -> Result<Operation, Status> {
        let accepted = self.ask_to_create(domain, "").await?;
        Ok(self.end_of(&accepted.name).await)
    }

    pub(crate) async fn ask_to_create(
        &self,
        domain: &str,
        request_id: &str,
    ) -> Result<Operation, Status> {
        self.ask_to_create_with(domain, &[], &[], request_id).await
    }

    pub(crate) async fn ask_to_create_with(
        &self,
        domain: &str,
        aliases: &[&str],
        apps: &[&str],
        request_id: &str,
    ) -> Result<Operation, Status> {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        let answer = self
            .instances
            .clone()
            .create_instance(CreateInstanceRequest {
                instance: Some(Instance {
                    domain: domain.to_owned(),
                    domain_aliases: owned(aliases),
                    ..Instance::default()
                }),
                apps: owned(apps),
                request_id: request_id.to_owned(),
                ..CreateInstanceRequest::default()
            })
            .await?;
        Ok(answer.into_inner())
    }

    /// Requests a destruction; returns the name of the operation.
    pub(crate) async fn ask_to_destroy(&self, domain: &str) -> Result<String, Status> {
        let request = DeleteInstanceRequest {
            name: format!("instances/{domain}"),
            ..DeleteInstanceRequest::default()
        };
        let answer = self.instances.clone().delete_instance(request).await?;
        Ok(answer.into_inner().name)
    }

    pub(crate) async fn destroy(&self, domain: &str) -> Result<Operation, Status> {
        let name = self.ask_to_destroy(domain).await?;
        Ok(self.end_of(&name).await)
    }

    /// Waits for the end of the operation, whichever replica drives it.
    pub(crate) async fn end_of(&self, name: &str) -> Operation {
        // On a busy machine, 200 creations take a while.
        const PATIENCE: usize = 6;
        let mut operation = self.wait_for(name).await;
        for _ in 1..PATIENCE {
            if operation.done {
                break;
            }
            operation = self.wait_for(name).await;
        }
        let progress = progress(&operation);
        assert!(operation.done, "it did not end: {progress:#?}");
        operation
    }

    /// Waits for the end of the operation, up to a minute.
    async fn wait_for(&self, name: &str) -> Operation {
        let request = WaitOperationRequest {
            name: name.to_owned(),
            timeout: Some(prost_types::Duration {
                seconds: 60,
                nanos: 0,
            }),
        };
        let waited = self.operations.clone().wait_operation(request).await;
        waited.unwrap().into_inner()
    }
}

/// The id in the name of an operation.
pub(crate) fn operation_id(name: &str) -> &str {
    name.strip_prefix("operations/").unwrap()
}

/// Why an operation failed; `None` when it succeeded.
pub(crate) fn failure(operation: &Operation) -> Option<&str> {
    match &operation.result {
        Some(operation::Result::Error(error)) => Some(&error.message),
        Some(operation::Result::Response(_)) => None,
        None => panic!("it has not ended: {operation:#?}"),
    }
}
