//! The server: it answers what a test tells it to, and remembers what it was asked.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hamlet_proto::{
    google::longrunning::{
        CancelOperationRequest, DeleteOperationRequest, GetOperationRequest, ListOperationsRequest,
        ListOperationsResponse, Operation, WaitOperationRequest,
        operations_server::{Operations, OperationsServer},
    },
    hamlet::{
        apps::v1::{
            App, GetAppRequest, InstallAppRequest, ListAppsRequest, ListAppsResponse,
            UninstallAppRequest, UninstallAppResponse,
            apps_service_server::{AppsService, AppsServiceServer},
        },
        files::v1::{
            CheckTreeRequest, File, Finding, GetFileRequest, ListChildrenRequest,
            ListChildrenResponse, TreeEntry, WalkTreeRequest,
            files_service_server::{FilesService, FilesServiceServer},
        },
        instance::v1::{
            BlockInstanceRequest, CleanSessionsRequest, CountInstancesRequest,
            CountInstancesResponse, CreateInstanceRequest, CreateTokenRequest,
            DeleteInstanceRequest, GetInstanceRequest, GetRegisterLinkRequest, Instance,
            ListInstancesRequest, ListInstancesResponse, ListOrphansRequest, Orphan,
            PurgeOrphansRequest, RegisterLink, RetryOperationRequest, RotateRegisterLinkRequest,
            SetPassphraseRequest, Token, UnblockInstanceRequest, UndeleteInstanceRequest,
            UpdateInstanceRequest, WatchOperationRequest,
            instance_service_server::{InstanceService, InstanceServiceServer},
            operation_service_server::{OperationService, OperationServiceServer},
        },
    },
};
use tokio::net::TcpListener;
use tokio_stream::{Stream, StreamExt as _};
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

#[tonic::async_trait]
impl InstanceService for State {
    async fn create_instance(
        &self,
        request: Request<CreateInstanceRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.enter("CreateInstance", &request)?;
        let request = request.into_inner();
        let only_check = request.validate_only;
        self.note(|asked| asked.creations.push(request));
        match self.script(|script| script.failing_creations.pop_front()) {
            Some(status) => Err(status),
            None => self.change(only_check),
        }
    }

    async fn get_instance(
        &self,
        request: Request<GetInstanceRequest>,
    ) -> Result<Response<Instance>, Status> {
        self.enter("GetInstance", &request)?;
        let name = request.into_inner().name.to_lowercase();
        self.script(|script| {
            script
                .instances
                .iter()
                .find(|instance| {
                    instance.name == name
                        || instance
                            .domain_aliases
                            .iter()
                            .any(|alias| format!("instances/{alias}") == name)
                })
                .cloned()
                .map(Response::new)
                .ok_or_else(|| Status::not_found(format!("there is no {name}")))
        })
    }

    async fn list_instances(
        &self,
        request: Request<ListInstancesRequest>,
    ) -> Result<Response<ListInstancesResponse>, Status> {
        self.enter("ListInstances", &request)?;
        let request = request.into_inner();
        let before = self.asked.lock().unwrap().lists.len();
        if self.script(|script| script.pages == Some(before)) {
            std::future::pending::<()>().await;
        }
        // As real servers do, it never gives more than was asked for, and sometimes less.
        let size = usize::try_from(request.page_size).unwrap().min(2);
        let (instances, next_page_token) =
            self.script(|script| page_of(&script.instances, &request.page_token, size));
        self.note(|asked| asked.lists.push(request));
        Ok(Response::new(ListInstancesResponse {
            instances,
            next_page_token,
        }))
    }

    async fn count_instances(
        &self,
        request: Request<CountInstancesRequest>,
    ) -> Result<Response<CountInstancesResponse>, Status> {
        self.enter("CountInstances", &request)?;
        let count = self.script(|script| i64::try_from(script.instances.len()).unwrap());
        Ok(Response::new(CountInstancesResponse { count }))
    }

    async fn delete_instance(
        &self,
        request: Request<DeleteInstanceRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.enter("DeleteInstance", &request)?;
        let request = request.into_inner();
        let only_check = request.validate_only;
        self.note(|asked| asked.destructions.push(request));
        self.change(only_check)
    }

    async fn get_register_link(
        &self,
        request: Request<GetRegisterLinkRequest>,
    ) -> Result<Response<RegisterLink>, Status> {
        self.enter("GetRegisterLink", &request)?;
        Ok(Response::new(self.script(|script| script.link.clone())))
    }

    async fn update_instance(
        &self,
        request: Request<UpdateInstanceRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.enter("UpdateInstance", &request)?;
        let request = request.into_inner();
        let only_check = request.validate_only;
        self.note(|asked| asked.updates.push(request));
        self.change(only_check)
    }

    async fn undelete_instance(
        &self,
        request: Request<UndeleteInstanceRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.enter("UndeleteInstance", &request)?;
        let request = request.into_inner();
        let only_check = request.validate_only;
        self.note(|asked| asked.undeletions.push(request));
        self.change(only_check)
    }

    async fn block_instance(
        &self,
        request: Request<BlockInstanceRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.enter("BlockInstance", &request)?;
        let request = request.into_inner();
        let only_check = request.validate_only;
        self.note(|asked| asked.blocks.push(request));
        self.change(only_check)
    }

    async fn unblock_instance(
        &self,
        request: Request<UnblockInstanceRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.enter("UnblockInstance", &request)?;
        let request = request.into_inner();
        let only_check = request.validate_only;
        self.note(|asked| asked.unblocks.push(request));
        self.change(only_check)
    }

    async fn rotate_register_link(
        &self,
        request: Request<RotateRegisterLinkRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.enter("RotateRegisterLink", &request)?;
        let request = request.into_inner();
        let only_check = request.validate_only;
        self.note(|asked| asked.rotations.push(request));
        self.change(only_check)
    }

    async fn set_passphrase(
        &self,
        request: Request<SetPassphraseRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.enter("SetPassphrase", &request)?;
        let request = request.into_inner();
        let only_check = request.validate_only;
        self.note(|asked| asked.passphrases.push(request));
        self.change(only_check)
    }

    async fn create_token(
        &self,
        request: Request<CreateTokenRequest>,
    ) -> Result<Response<Token>, Status> {
        self.enter("CreateToken", &request)?;
        self.note(|asked| asked.tokens.push(request.into_inner()));
        Ok(Response::new(Token {
            token: "the-token".to_owned(),
        }))
    }

    async fn clean_sessions(
        &self,
        request: Request<CleanSessionsRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.enter("CleanSessions", &request)?;
        let request = request.into_inner();
        let only_check = request.validate_only;
        self.note(|asked| asked.cleanings.push(request));
        self.change(only_check)
    }

    type ListOrphansStream = Sent<Orphan>;

    async fn list_orphans(
        &self,
        request: Request<ListOrphansRequest>,
    ) -> Result<Response<Self::ListOrphansStream>, Status> {
        self.enter("ListOrphans", &request)?;
        Ok(self.script(|script| stream(&script.orphans, script.broken.as_ref())))
    }

    async fn purge_orphans(
        &self,
        request: Request<PurgeOrphansRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.enter("PurgeOrphans", &request)?;
        let request = request.into_inner();
        let only_check = request.validate_only;
        self.note(|asked| asked.purges.push(request));
        self.change(only_check)
    }
}

#[tonic::async_trait]
impl Operations for State {
    async fn list_operations(
        &self,
        request: Request<ListOperationsRequest>,
    ) -> Result<Response<ListOperationsResponse>, Status> {
        self.enter("ListOperations", &request)?;
        let request = request.into_inner();
        let token = request.page_token;
        self.note(|asked| asked.filters.push(request.filter));
        let (operations, next_page_token) = self.script(|script| page(&script.operations, &token));
        Ok(Response::new(ListOperationsResponse {
            operations,
            next_page_token,
        }))
    }

    async fn get_operation(
        &self,
        request: Request<GetOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.enter("GetOperation", &request)?;
        let name = request.into_inner().name;
        self.script(|script| {
            script
                .operations
                .iter()
                .find(|operation| operation.name == name)
                .cloned()
                .map(Response::new)
                .ok_or_else(|| Status::not_found(format!("there is no {name}")))
        })
    }

    async fn delete_operation(
        &self,
        _: Request<DeleteOperationRequest>,
    ) -> Result<Response<()>, Status> {
        not_here()
    }

    async fn cancel_operation(
        &self,
        request: Request<CancelOperationRequest>,
    ) -> Result<Response<()>, Status> {
        self.enter("CancelOperation", &request)?;
        Ok(Response::new(()))
    }

    async fn wait_operation(
        &self,
        _: Request<WaitOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        not_here()
    }
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

#[tonic::async_trait]
impl OperationService for State {
    type WatchOperationStream = Sent<Operation>;

    async fn watch_operation(
        &self,
        request: Request<WatchOperationRequest>,
    ) -> Result<Response<Self::WatchOperationStream>, Status> {
        self.enter("WatchOperation", &request)?;
        let (states, end) = self
            .script(|script| script.watches.pop_front())
            .ok_or_else(|| Status::unavailable("no watch is left in the script"))?;
        let states = tokio_stream::iter(states.into_iter().map(Ok));
        Ok(Response::new(match end {
            End::Stop => Box::pin(states),
            End::Hang => Box::pin(states.chain(tokio_stream::pending())),
            End::Fail(status) => Box::pin(states.chain(tokio_stream::once(Err(status)))),
        }))
    }

    async fn retry_operation(
        &self,
        request: Request<RetryOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        self.enter("RetryOperation", &request)?;
        Ok(Response::new(self.script(|script| script.accepted.clone())))
    }
}

#[tonic::async_trait]
impl FilesService for State {
    type CheckTreeStream = Sent<Finding>;

    async fn check_tree(
        &self,
        request: Request<CheckTreeRequest>,
    ) -> Result<Response<Self::CheckTreeStream>, Status> {
        self.enter("CheckTree", &request)?;
        self.note(|asked| asked.checks.push(request.into_inner()));
        Ok(self.script(|script| stream(&script.findings, script.broken.as_ref())))
    }

    type WalkTreeStream = Sent<TreeEntry>;

    async fn get_file(&self, _: Request<GetFileRequest>) -> Result<Response<File>, Status> {
        not_here()
    }

    async fn list_children(
        &self,
        request: Request<ListChildrenRequest>,
    ) -> Result<Response<ListChildrenResponse>, Status> {
        self.enter("ListChildren", &request)?;
        let token = request.into_inner().page_token;
        let (children, next_page_token) = self.script(|script| page(&script.files, &token));
        Ok(Response::new(ListChildrenResponse {
            children,
            next_page_token,
        }))
    }

    async fn walk_tree(
        &self,
        request: Request<WalkTreeRequest>,
    ) -> Result<Response<Self::WalkTreeStream>, Status> {
        self.enter("WalkTree", &request)?;
        let deepest = request.into_inner().max_depth;
        let entries: Vec<_> = self.script(|script| script.tree.clone());
        let entries = entries
            .into_iter()
            .filter(move |entry| deepest == 0 || entry.depth <= deepest)
            .map(Ok);
        Ok(Response::new(Box::pin(tokio_stream::iter(entries))))
    }
}

#[tonic::async_trait]
impl AppsService for State {
    async fn list_apps(
        &self,
        request: Request<ListAppsRequest>,
    ) -> Result<Response<ListAppsResponse>, Status> {
        self.enter("ListApps", &request)?;
        let token = request.into_inner().page_token;
        let (apps, next_page_token) = self.script(|script| page(&script.apps, &token));
        Ok(Response::new(ListAppsResponse {
            apps,
            next_page_token,
        }))
    }

    async fn get_app(&self, request: Request<GetAppRequest>) -> Result<Response<App>, Status> {
        self.enter("GetApp", &request)?;
        let slug = request.into_inner().slug;
        self.script(|script| {
            script
                .apps
                .iter()
                .find(|app| app.slug == slug)
                .cloned()
                .map(Response::new)
                .ok_or_else(|| Status::not_found(format!("there is no app {slug}")))
        })
    }

    async fn install_app(&self, _: Request<InstallAppRequest>) -> Result<Response<App>, Status> {
        not_here()
    }

    async fn uninstall_app(
        &self,
        _: Request<UninstallAppRequest>,
    ) -> Result<Response<UninstallAppResponse>, Status> {
        not_here()
    }
}
