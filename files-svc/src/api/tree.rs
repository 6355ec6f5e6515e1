//! The read-only API of an instance's tree.

use std::pin::Pin;

use couch::Clusters;
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use hamlet_proto::hamlet::files::v1::{
    CheckTreeRequest, File, Finding, GetFileRequest, GetUsageRequest, ListChildrenRequest,
    ListChildrenResponse, TreeEntry, Usage, WalkTreeRequest, files_service_server::FilesService,
    get_file_request, list_children_request,
};
use hamlet_proto::hamlet::instance::v1::Tenant;
use service_kit::{caller::Caller, contexts::Contexts};
use tonic::{Request, Response, Status};

use crate::{
    actions::{
        authorize::{Extent, readable, require_some, require_usage},
        check::{self, on_disk::Place},
        list,
        usage::usage,
        walk,
    },
    api::{convert, store_of},
    contents::Contents,
    error::Error,
    folders::no_folder,
    store::Store,
};

/// Serves the tree to administrators, to the owner, and to those whose tokens allow it.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    /// The CouchDB clusters.
    pub(crate) couch: Clusters,
    /// The store of file contents.
    pub(crate) contents: Contents,
    /// The configured contexts.
    pub(crate) contexts: Contexts,
}

impl Tree {
    /// The tree of the instance that the call is for.
    fn store(&self, caller: &Caller) -> Result<Store, Status> {
        Ok(store_of(&self.couch, caller.tenant()?)?)
    }

    /// Where its files lie, if its context has a file store.
    fn place(&self, tenant: &Tenant) -> Result<Option<Place>, Error> {
        let Some(root) = self.contexts.get(&tenant.context).storage else {
            return Ok(None);
        };
        let name = file_store::folder_name(&tenant.domain).ok_or_else(no_folder)?;
        let name = name.to_owned();
        Ok(Some(Place { root, name }))
    }
}

#[tonic::async_trait]
impl FilesService for Tree {
    async fn get_file(&self, request: Request<GetFileRequest>) -> Result<Response<File>, Status> {
        let caller = Caller::of(&request)?.clone();
        let (rights, store) = (require_some(&caller)?, self.store(&caller)?);
        let target = match request.into_inner().target {
            Some(get_file_request::Target::Id(id)) => convert::by_id(id)?,
            Some(get_file_request::Target::Path(path)) => convert::by_path(&path)?,
            None => return Err(convert::no_target().into()),
        };
        let node = readable(&store, rights, &target, Extent::Itself).await?;
        Ok(Response::new(convert::file(node)))
    }

    async fn list_children(
        &self,
        request: Request<ListChildrenRequest>,
    ) -> Result<Response<ListChildrenResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let (rights, store) = (require_some(&caller)?, self.store(&caller)?);
        let request = request.into_inner();
        let target = match request.directory {
            Some(list_children_request::Directory::Id(id)) => convert::by_id(id)?,
            Some(list_children_request::Directory::Path(path)) => convert::by_path(&path)?,
            None => return Err(convert::no_target().into()),
        };
        let directory = readable(&store, rights, &target, Extent::AllBelow).await?;
        let page = list::list(&store, directory, request.page_size, &request.page_token).await?;
        Ok(Response::new(ListChildrenResponse {
            children: page.nodes.into_iter().map(convert::file).collect(),
            next_page_token: page.next,
        }))
    }

    type WalkTreeStream = Pin<Box<dyn Stream<Item = Result<TreeEntry, Status>> + Send>>;

    async fn walk_tree(
        &self,
        request: Request<WalkTreeRequest>,
    ) -> Result<Response<Self::WalkTreeStream>, Status> {
        let caller = Caller::of(&request)?.clone();
        let (rights, store) = (require_some(&caller)?, self.store(&caller)?);
        let request = request.into_inner();
        let path = if request.path.is_empty() {
            "/"
        } else {
            &request.path
        };
        let limit = usize::try_from(request.max_depth).map_err(|_| {
            Error::field(
                "max_depth",
                "is negative; give a depth, or 0 for all the way",
            )
        })?;
        let target = convert::by_path(path)?;
        let start = readable(&store, rights, &target, Extent::AllBelow).await?;
        let entries = walk::walk(store, start, limit)
            .map_ok(|(node, depth)| TreeEntry {
                file: Some(convert::file(node)),
                // A path has at most 511 parts; a deeper tree is reported as broken before this overflows.
                depth: i32::try_from(depth).unwrap_or(i32::MAX),
            })
            .map_err(Status::from);
        Ok(Response::new(entries.boxed()))
    }

    type CheckTreeStream = Pin<Box<dyn Stream<Item = Result<Finding, Status>> + Send>>;

    async fn check_tree(
        &self,
        request: Request<CheckTreeRequest>,
    ) -> Result<Response<Self::CheckTreeStream>, Status> {
        let caller = Caller::of(&request)?;
        // It reads every document and every content.
        caller.require_administrator()?;
        let store = self.store(caller)?;
        let place = self.place(caller.tenant()?)?;
        let request = request.into_inner();
        let scope = convert::scope(&request)?;
        let findings = check::check(store, self.contents.clone(), place, scope).await?;
        let findings = findings
            .map_ok(convert::finding)
            .map_err(Status::from)
            .take(if request.fail_fast { 1 } else { usize::MAX });
        Ok(Response::new(findings.boxed()))
    }

    async fn get_usage(
        &self,
        request: Request<GetUsageRequest>,
    ) -> Result<Response<Usage>, Status> {
        let caller = Caller::of(&request)?;
        require_usage(caller)?;
        let store = self.store(caller)?;
        let usage = usage(&store, request.into_inner().with_trash).await?;
        Ok(Response::new(Usage {
            file_bytes: usage.files,
            version_bytes: usage.versions,
            trashed_bytes: usage.trashed,
            file_documents: usage.file_documents,
            version_documents: usage.version_documents,
        }))
    }
}
