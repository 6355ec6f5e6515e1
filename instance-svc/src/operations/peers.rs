//! The other services, as operations call them.

use std::{collections::BTreeMap, time::Duration};

use hamlet_proto::hamlet::{
    apps::v1::{
        self as apps, App, CheckAppRequest, GetAppRequest, InstallAppRequest,
        apps_lifecycle_service_client::AppsLifecycleServiceClient,
        apps_service_client::AppsServiceClient,
    },
    files::v1::{
        self as files, CreateDefaultDirectoriesRequest,
        files_lifecycle_service_client::FilesLifecycleServiceClient,
        files_service_client::FilesServiceClient,
    },
    instance::v1::Tenant,
};
use service_kit::{caller::for_tenant, peer::Peer};
use tonic::{Request, Status};

/// The timeout of a call that makes or removes databases. It is shorter than a lease, so that a former owner
/// has stopped by the time another replica takes over.
const CALL: Duration = Duration::from_secs(10);

/// The files and the apps service.
#[derive(Clone, Debug)]
pub struct Peers {
    files: FilesLifecycleServiceClient<Peer>,
    trees: FilesServiceClient<Peer>,
    apps_lifecycle: AppsLifecycleServiceClient<Peer>,
    apps: AppsServiceClient<Peer>,
}

/// What the other services keep under one prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// The prefix.
    pub(crate) prefix: String,
    /// The number of objects.
    pub(crate) objects: u64,
    /// The domain whose folder lies on a file store; empty when there is none.
    pub(crate) domain: String,
    /// The number of files in that folder.
    pub(crate) domain_files: u64,
}

impl Contents {
    /// The number of objects and files.
    pub(crate) const fn count(&self) -> u64 {
        self.objects.saturating_add(self.domain_files)
    }
}

fn call<T>(message: T, tenant: &Tenant) -> Request<T> {
    let mut request = for_tenant(message, tenant);
    request.set_timeout(CALL);
    request
}

impl Peers {
    /// Clients on these connections.
    #[must_use]
    pub fn new(files: Peer, apps: Peer) -> Self {
        Self {
            files: FilesLifecycleServiceClient::new(files.clone()),
            trees: FilesServiceClient::new(files),
            apps_lifecycle: AppsLifecycleServiceClient::new(apps.clone()),
            apps: AppsServiceClient::new(apps),
        }
    }

    /// Makes the databases of the files service, with the default directories. Returns each database with its
    /// number of documents.
    pub(crate) async fn prepare_files(
        &self,
        tenant: &Tenant,
        operation: &str,
        created_at: Option<prost_types::Timestamp>,
    ) -> Result<Vec<(String, u64)>, Status> {
        let directories = CreateDefaultDirectoriesRequest {
            create_time: created_at,
            operation_id: operation.to_owned(),
        };
        let answer = self
            .files
            .clone()
            .prepare_databases(call(
                files::PrepareDatabasesRequest {
                    directories: Some(directories),
                },
                tenant,
            ))
            .await?
            .into_inner();
        Ok(answer
            .databases
            .into_iter()
            .map(|database| (database.name, database.documents.unsigned_abs()))
            .collect())
    }

    /// Makes the databases of the apps service. Returns each database with its number of documents.
    pub(crate) async fn prepare_apps(&self, tenant: &Tenant) -> Result<Vec<(String, u64)>, Status> {
        let answer = self
            .apps_lifecycle
            .clone()
            .prepare_databases(call(apps::PrepareDatabasesRequest {}, tenant))
            .await?
            .into_inner();
        Ok(answer
            .databases
            .into_iter()
            .map(|database| (database.name, database.documents.unsigned_abs()))
            .collect())
    }

    /// A client of the files service, for what is no part of an operation.
    pub(crate) fn trees(&self) -> FilesServiceClient<Peer> {
        self.trees.clone()
    }

    /// A client of the apps service, for what is no part of an operation.
    pub(crate) fn apps(&self) -> AppsServiceClient<Peer> {
        self.apps.clone()
    }

    /// Installs an app.
    pub(crate) async fn install(
        &self,
        tenant: &Tenant,
        source: &str,
        limit: Duration,
    ) -> Result<App, Status> {
        let mut request = for_tenant(
            InstallAppRequest {
                source: source.to_owned(),
                time_limit: prost_types::Duration::try_from(limit).ok(),
                ..InstallAppRequest::default()
            },
            tenant,
        );
        request.set_timeout(limit);
        Ok(self.apps.clone().install_app(request).await?.into_inner())
    }

    /// What an installation of this app would install.
    pub(crate) async fn check_app(
        &self,
        tenant: &Tenant,
        source: &str,
        limit: Duration,
    ) -> Result<App, Status> {
        let asked = CheckAppRequest {
            source: source.to_owned(),
            ..CheckAppRequest::default()
        };
        let mut request = for_tenant(asked, tenant);
        request.set_timeout(limit);
        let mut apps = self.apps_lifecycle.clone();
        Ok(apps.check_app(request).await?.into_inner())
    }

    /// What either service keeps, by prefix. With a tenant, only what is kept of that instance; `owns_domain` says that
    /// its domain belongs to it and to no other now.
    pub(crate) async fn contents(
        &self,
        tenant: Option<&Tenant>,
        owns_domain: bool,
    ) -> Result<Vec<Contents>, Status> {
        fn ask<T>(message: T, tenant: Option<&Tenant>) -> Request<T> {
            match tenant {
                Some(tenant) => call(message, tenant),
                None => Request::new(message),
            }
        }
        let (mut files, mut apps) = (self.files.clone(), self.apps_lifecycle.clone());
        let (mut files, mut apps) = tokio::try_join!(
            files.list_contents(ask(files::ListContentsRequest { owns_domain }, tenant)),
            apps.list_contents(ask(apps::ListContentsRequest {}, tenant)),
        )
        .map(|(files, apps)| (files.into_inner(), apps.into_inner()))?;
        let mut all = BTreeMap::<String, Contents>::new();
        while let Some(it) = files.message().await? {
            let found = all.entry(it.prefix).or_default();
            found.objects += it.objects.unsigned_abs();
            found.domain_files += it.domain_files.unsigned_abs();
            if !it.domain.is_empty() {
                found.domain = it.domain;
            }
        }
        while let Some(it) = apps.message().await? {
            all.entry(it.prefix).or_default().objects += it.objects.unsigned_abs();
        }
        let named = all
            .into_iter()
            .map(|(prefix, found)| Contents { prefix, ..found });
        Ok(named.collect())
    }

    /// An installed app or konnector.
    pub(crate) async fn app(
        &self,
        tenant: &Tenant,
        slug: &str,
        kind: apps::app::Kind,
    ) -> Result<App, Status> {
        let request = GetAppRequest {
            slug: slug.to_owned(),
            kind: kind.into(),
            with_document: false,
        };
        let found = self.apps.clone().get_app(call(request, tenant)).await?;
        Ok(found.into_inner())
    }

    /// Removes the contents in both services. Returns the number of objects and files removed.
    pub(crate) async fn purge(&self, tenant: &Tenant, owns_domain: bool) -> Result<u64, Status> {
        let mut files = self.files.clone();
        let mut apps = self.apps_lifecycle.clone();
        let (files, apps) = tokio::try_join!(
            files.purge_contents(call(files::PurgeContentsRequest { owns_domain }, tenant)),
            apps.purge_contents(call(apps::PurgeContentsRequest {}, tenant)),
        )?;
        let count = files.into_inner().objects + apps.into_inner().objects;
        Ok(count.unsigned_abs())
    }
}
