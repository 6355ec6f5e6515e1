//! The other services, as far as operations use them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use couch::{Couch, DbName};
use futures::stream;
use hamlet_proto::hamlet::{
    apps::v1::{
        self as apps, apps_lifecycle_service_server::AppsLifecycleService,
        apps_service_server::AppsService,
    },
    files::v1::{self as files, files_lifecycle_service_server::FilesLifecycleService},
};
use service_kit::{caller::Caller, status::StatusBuilder};
use tonic::{Code, Request, Response, Status};

/// The files and the apps service, as far as operations use them: they make their databases, and an app
/// that is installed has contents.
#[derive(Clone)]
pub(crate) struct Neighbours {
    couch: Couch,
    contents: Contents,
    /// Who has asked for the app `unheard`.
    heard: Arc<Mutex<BTreeSet<String>>>,
}

/// The number of objects by prefix.
pub(crate) type Contents = Arc<Mutex<BTreeMap<String, i64>>>;

impl Neighbours {
    pub(crate) fn new(couch: Couch, contents: Contents) -> Self {
        Self {
            couch,
            contents,
            heard: Arc::default(),
        }
    }

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
        request: Request<apps::GetAppRequest>,
    ) -> Result<Response<apps::App>, Status> {
        let asked = request.into_inner();
        let installed = match asked.kind() {
            apps::app::Kind::Konnector => "bills",
            _ => "drive",
        };
        if asked.slug != installed {
            return Err(Status::not_found("it is not installed"));
        }
        Ok(Response::new(apps::App {
            slug: asked.slug,
            ..apps::App::default()
        }))
    }

    async fn install_app(
        &self,
        request: Request<apps::InstallAppRequest>,
    ) -> Result<Response<apps::App>, Status> {
        let prefix = Caller::of(&request)?.tenant()?.prefix.clone();
        let source = request.into_inner().source;
        if source == "bad" {
            return Err(Status::failed_precondition("this app is bad"));
        }
        // What a node of the database answers that has not heard of the new databases yet.
        if source == "unheard" && self.heard.lock().unwrap().insert(prefix.clone()) {
            let failure = StatusBuilder::new(
                Code::FailedPrecondition,
                "INSTANCE_INCOMPLETE",
                "the databases of this instance are not there",
            );
            return Err(failure.build());
        }
        *self.contents.lock().unwrap().entry(prefix).or_default() += 1;
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
