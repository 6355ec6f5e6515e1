//! The server: it answers what a test tells it to, and remembers what it was asked.

mod apps;
mod files;
mod instances;
mod operations;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hamlet_proto::{
    google::longrunning::{Operation, operations_server::OperationsServer},
    hamlet::apps::v1::{App, apps_service_server::AppsServiceServer},
    hamlet::files::v1::{
        CheckTreeRequest, File, Finding, TreeEntry, files_service_server::FilesServiceServer,
    },
    hamlet::instance::v1::{
        BlockInstanceRequest, CleanSessionsRequest, CreateInstanceRequest, CreateTokenRequest,
        DeleteInstanceRequest, Instance, ListInstancesRequest, Orphan, PurgeOrphansRequest,
        RegisterLink, RotateRegisterLinkRequest, SetPassphraseRequest, UnblockInstanceRequest,
        UndeleteInstanceRequest, UpdateInstanceRequest,
        instance_service_server::InstanceServiceServer,
        operation_service_server::OperationServiceServer,
    },
};
use tokio::net::TcpListener;
use tokio_stream::Stream;
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

/// The credential that the server wants.
pub(crate) const CREDENTIAL: &str = "the-admin-credential";

/// How a stream of states ends.
#[derive(Debug)]
pub(crate) enum End {
    /// It just stops.
    Stop,
    /// It says no more, and stays open.
    Hang,
    /// It fails.
    Fail(Status),
}

/// What the server answers. Lists are used up from the front, except what stands for stored things.
#[derive(Default)]
pub(crate) struct Script {
    /// Refuses any call with this.
    pub(crate) refuse: Option<Status>,
    /// Fails this many creations before one is accepted.
    pub(crate) failing_creations: VecDeque<Status>,
    /// Answers changes.
    pub(crate) accepted: Operation,
    /// Answers changes that are only checked; as others when absent.
    pub(crate) checked: Option<Operation>,
    /// The streams of states, one a watch.
    pub(crate) watches: VecDeque<(Vec<Operation>, End)>,
    /// The instances, listed in pages of two.
    pub(crate) instances: Vec<Instance>,
    /// After so many pages of instances, the next is never answered.
    pub(crate) pages: Option<usize>,
    /// The operations.
    pub(crate) operations: Vec<Operation>,
    /// The files of any directory.
    pub(crate) files: Vec<File>,
    /// The tree.
    pub(crate) tree: Vec<TreeEntry>,
    /// The apps.
    pub(crate) apps: Vec<App>,
    /// The register link of any instance.
    pub(crate) link: RegisterLink,
    /// What belongs to nobody.
    pub(crate) orphans: Vec<Orphan>,
    /// What is wrong with any tree.
    pub(crate) findings: Vec<Finding>,
    /// Breaks off the lists of orphans and findings at their end.
    pub(crate) broken: Option<Status>,
}

/// What the server was asked.
#[derive(Default)]
pub(crate) struct Asked {
    /// `method authority` of each call.
    pub(crate) calls: Vec<String>,
    /// The creations.
    pub(crate) creations: Vec<CreateInstanceRequest>,
    /// The destructions.
    pub(crate) destructions: Vec<DeleteInstanceRequest>,
    /// The changes of fields.
    pub(crate) updates: Vec<UpdateInstanceRequest>,
    /// What was brought back.
    pub(crate) undeletions: Vec<UndeleteInstanceRequest>,
    /// What was blocked.
    pub(crate) blocks: Vec<BlockInstanceRequest>,
    /// What was unblocked.
    pub(crate) unblocks: Vec<UnblockInstanceRequest>,
    /// The register links that were renewed.
    pub(crate) rotations: Vec<RotateRegisterLinkRequest>,
    /// The passphrases.
    pub(crate) passphrases: Vec<SetPassphraseRequest>,
    /// The tokens.
    pub(crate) tokens: Vec<CreateTokenRequest>,
    /// The ends of sessions.
    pub(crate) cleanings: Vec<CleanSessionsRequest>,
    /// The removals of orphans.
    pub(crate) purges: Vec<PurgeOrphansRequest>,
    /// The checks of trees.
    pub(crate) checks: Vec<CheckTreeRequest>,
    /// The pages of instances.
    pub(crate) lists: Vec<ListInstancesRequest>,
    /// The filters of lists of operations.
    pub(crate) filters: Vec<String>,
}

#[derive(Clone, Default)]
struct State {
    script: Arc<Mutex<Script>>,
    asked: Arc<Mutex<Asked>>,
}

/// The name that a call was sent to.
#[derive(Clone)]
struct Authority(String);

/// A running server. It dies with this value, or before.
pub(crate) struct Fake {
    runtime: Option<tokio::runtime::Runtime>,
    address: SocketAddr,
    state: State,
    folder: tempfile::TempDir,
}

impl Fake {
    /// Starts a server.
    pub(crate) fn start(script: Script) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let state = State {
            script: Arc::new(Mutex::new(script)),
            asked: Arc::default(),
        };
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (reporter, health) = tonic_health::server::health_reporter();
        let services = state.clone();
        runtime.spawn(async move {
            reporter
                .set_not_serving::<FilesServiceServer<State>>()
                .await;
            Server::builder()
                .layer(tower::util::MapRequestLayer::new(
                    |mut request: http::Request<_>| {
                        let authority = request.uri().authority().map(ToString::to_string);
                        request
                            .extensions_mut()
                            .insert(Authority(authority.unwrap_or_default()));
                        request
                    },
                ))
                .add_service(health)
                .add_service(InstanceServiceServer::new(services.clone()))
                .add_service(OperationsServer::new(services.clone()))
                .add_service(OperationServiceServer::new(services.clone()))
                .add_service(FilesServiceServer::new(services.clone()))
                .add_service(AppsServiceServer::new(services))
                .serve_with_incoming(TcpIncoming::from(listener))
                .await
                .unwrap();
        });
        Self {
            runtime: Some(runtime),
            address,
            state,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its address without the scheme.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// A folder for the program to run in.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> std::sync::MutexGuard<'_, Asked> {
        self.state.asked.lock().unwrap()
    }

    /// How often a method was called.
    pub(crate) fn called(&self, method: &str) -> usize {
        let asked = self.asked();
        asked
            .calls
            .iter()
            .filter(|call| call.split(' ').next() == Some(method))
            .count()
    }

    /// Waits until a method was called so often.
    pub(crate) fn wait_for(&self, method: &str, times: usize) {
        let late = Instant::now() + Duration::from_secs(30);
        while self.called(method) < times {
            assert!(Instant::now() < late, "{method} was not called");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Dies as a killed process does: its sockets are closed without a word.
    pub(crate) fn die(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.die();
    }
}

impl State {
    /// Notes a call and checks its credential.
    fn enter<T>(&self, method: &str, request: &Request<T>) -> Result<(), Status> {
        let authority = request.extensions().get::<Authority>().unwrap();
        self.asked
            .lock()
            .unwrap()
            .calls
            .push(format!("{method} {}", authority.0));
        let bearer = request.metadata().get("authorization");
        if bearer.and_then(|bearer| bearer.to_str().ok()) != Some(&format!("Bearer {CREDENTIAL}")) {
            return Err(Status::unauthenticated("the credential is wrong"));
        }
        match &self.script.lock().unwrap().refuse {
            Some(status) => Err(status.clone()),
            None => Ok(()),
        }
    }

    /// Notes what was asked.
    fn note(&self, note: impl FnOnce(&mut Asked)) {
        note(&mut self.asked.lock().unwrap());
    }

    /// The answer to a change.
    fn change(&self, only_check: bool) -> Result<Response<Operation>, Status> {
        Ok(Response::new(self.script(|script| match &script.checked {
            Some(checked) if only_check => checked.clone(),
            _ => script.accepted.clone(),
        })))
    }

    fn script<T>(&self, read: impl FnOnce(&mut Script) -> T) -> T {
        read(&mut self.script.lock().unwrap())
    }
}

fn not_here<T>() -> Result<T, Status> {
    Err(Status::unimplemented("the program does not call this"))
}

/// The page that a token names, in pages of two, and the token of the next.
fn page<T: Clone>(all: &[T], token: &str) -> (Vec<T>, String) {
    page_of(all, token, 2)
}

fn page_of<T: Clone>(all: &[T], token: &str, size: usize) -> (Vec<T>, String) {
    let start = token.parse().unwrap_or(0);
    let items: Vec<T> = all.iter().skip(start).take(size).cloned().collect();
    let next = start + items.len();
    let token = if next < all.len() {
        next.to_string()
    } else {
        String::new()
    };
    (items, token)
}

type Sent<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A stream of items that may fail at its end.
fn stream<T: Clone + Send + 'static>(items: &[T], broken: Option<&Status>) -> Response<Sent<T>> {
    let items: Vec<Result<T, Status>> = items
        .iter()
        .cloned()
        .map(Ok)
        .chain(broken.cloned().map(Err))
        .collect();
    Response::new(Box::pin(tokio_stream::iter(items)))
}
