//! `FilesLifecycleService`: the calls of the instance service.

use couch::Clusters;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use hamlet_proto::hamlet::{
    files::v1::{
        self as v1, CreateDefaultDirectoriesRequest, CreateDefaultDirectoriesResponse,
        ListContentsRequest, PrepareDatabasesRequest, PrepareDatabasesResponse, PreparedDatabase,
        PurgeContentsRequest, PurgeContentsResponse,
        files_lifecycle_service_server::FilesLifecycleService,
    },
    instance::v1::Tenant,
};
use service_kit::{caller::Caller, contexts::Contexts};
use tonic::{Request, Response, Status};

use crate::{
    actions::{
        plan_directories::{Order, plan_directories},
        prepare::prepare,
    },
    api::{convert, prefix_of, store_of},
    contents::Contents,
    domain::default_tree::Directory,
    error::Error,
    folders::{Folders, Holder, Placed},
};

/// Handles the calls of the instance service.
#[derive(Clone, Debug)]
pub(crate) struct Lifecycle {
    /// The CouchDB clusters.
    pub(crate) couch: Clusters,
    /// The store of file contents.
    pub(crate) contents: Contents,
    /// The folders of instances on file stores.
    pub(crate) folders: Folders,
    /// The configured contexts.
    pub(crate) contexts: Contexts,
}

/// The instance for which another service calls.
fn tenant<T>(request: &Request<T>) -> Result<Tenant, Status> {
    let caller = Caller::of(request)?;
    caller.require_internal()?;
    caller.tenant().cloned()
}

/// The directories that a request asks for.
fn order<'a>(
    tenant: &'a Tenant,
    asked: &'a CreateDefaultDirectoriesRequest,
) -> Result<Order<'a>, Status> {
    Ok(Order {
        locale: &tenant.locale,
        url: &tenant.url,
        created_at: convert::required_time("create_time", asked.create_time)?,
        operation: &asked.operation_id,
    })
}

impl Lifecycle {
    /// Makes the folder of an instance on the file store of its context, if that has one.
    async fn make_folder(&self, tenant: &Tenant, directories: &[Directory]) -> Result<(), Error> {
        let Some(root) = self.contexts.get(&tenant.context).storage else {
            return Ok(());
        };
        if directories.is_empty() {
            return Ok(());
        }
        let prefix = prefix_of(tenant)?;
        let directories = directories.iter().map(Directory::names).collect();
        let folders = &self.folders;
        folders
            .make(&root, &prefix, &tenant.domain, directories)
            .await
    }
}

fn contents_of(placed: Placed) -> v1::Contents {
    v1::Contents {
        prefix: placed.prefix,
        objects: count(placed.aside),
        domain: placed.domain,
        domain_files: count(placed.files),
    }
}

fn count(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

#[tonic::async_trait]
impl FilesLifecycleService for Lifecycle {
    async fn prepare_databases(
        &self,
        request: Request<PrepareDatabasesRequest>,
    ) -> Result<Response<PrepareDatabasesResponse>, Status> {
        let tenant = tenant(&request)?;
        let directories = match &request.get_ref().directories {
            Some(asked) => {
                let context = self.contexts.get(&tenant.context);
                plan_directories(&context, &order(&tenant, asked)?)?
            }
            None => Vec::new(),
        };
        let store = store_of(&self.couch, &tenant)?;
        let (databases, ()) = tokio::try_join!(
            prepare(&store, &directories),
            self.make_folder(&tenant, &directories)
        )?;
        let databases = databases
            .into_iter()
            .map(|(name, documents)| PreparedDatabase {
                name,
                documents: count(documents),
            })
            .collect();
        Ok(Response::new(PrepareDatabasesResponse { databases }))
    }

    async fn create_default_directories(
        &self,
        request: Request<CreateDefaultDirectoriesRequest>,
    ) -> Result<Response<CreateDefaultDirectoriesResponse>, Status> {
        let tenant = tenant(&request)?;
        let request = request.into_inner();
        let order = order(&tenant, &request)?;
        let store = store_of(&self.couch, &tenant)?;
        let context = self.contexts.get(&tenant.context);
        let directories = plan_directories(&context, &order)?;
        let (made, ()) = tokio::try_join!(
            store.add(&directories),
            self.make_folder(&tenant, &directories)
        )?;
        Ok(Response::new(CreateDefaultDirectoriesResponse {
            directories: made.into_iter().map(convert::file).collect(),
        }))
    }

    async fn purge_contents(
        &self,
        request: Request<PurgeContentsRequest>,
    ) -> Result<Response<PurgeContentsResponse>, Status> {
        let tenant = tenant(&request)?;
        let prefix = &prefix_of(&tenant)?;
        let holder = Holder {
            prefix,
            domain: &tenant.domain,
            owns_domain: request.get_ref().owns_domain,
        };
        let (objects, files) =
            tokio::try_join!(self.contents.purge(prefix), self.folders.purge(holder))?;
        let objects = count(objects.saturating_add(files));
        Ok(Response::new(PurgeContentsResponse { objects }))
    }

    type ListContentsStream =
        std::pin::Pin<Box<dyn futures::Stream<Item = Result<v1::Contents, Status>> + Send>>;

    async fn list_contents(
        &self,
        request: Request<ListContentsRequest>,
    ) -> Result<Response<Self::ListContentsStream>, Status> {
        let caller = Caller::of(&request)?;
        caller.require_internal()?;
        // A call with a tenant concerns the contents of that instance only.
        let (only, placed) = match caller.tenant() {
            Ok(tenant) => {
                let prefix = prefix_of(tenant)?;
                let holder = Holder {
                    prefix: &prefix,
                    domain: &tenant.domain,
                    owns_domain: request.get_ref().owns_domain,
                };
                let placed = self.folders.of(holder).await?;
                (Some(prefix), stream::iter(placed.map(Ok)).boxed())
            }
            Err(_) => (None, self.folders.all().await?.boxed()),
        };
        let found = self.contents.prefixes(only.as_ref()).await?;
        let found = found.map_ok(|(prefix, objects)| v1::Contents {
            prefix,
            objects: count(objects),
            ..v1::Contents::default()
        });
        let all = found.chain(placed.map_ok(contents_of));
        Ok(Response::new(all.map_err(Status::from).boxed()))
    }
}
