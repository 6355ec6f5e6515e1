//! `AppsLifecycleService`: the calls of the instance service.

use futures::{StreamExt as _, TryStreamExt as _};
use hamlet_proto::hamlet::apps::v1::{
    App, CheckAppRequest, Contents, ListContentsRequest, PrepareDatabasesRequest,
    PrepareDatabasesResponse, PreparedDatabase, PurgeContentsRequest, PurgeContentsResponse,
    apps_lifecycle_service_server::AppsLifecycleService,
};
use service_kit::{caller::Caller, status::invalid_field};
use tonic::{Request, Response, Status};

use super::convert::{self, Shown};
use crate::actions::{Shared, check::check};

/// Handles the calls of the instance service.
#[derive(Clone, Debug)]
pub(crate) struct Lifecycle(pub(crate) Shared);

#[tonic::async_trait]
impl AppsLifecycleService for Lifecycle {
    async fn prepare_databases(
        &self,
        request: Request<PrepareDatabasesRequest>,
    ) -> Result<Response<PrepareDatabasesResponse>, Status> {
        let caller = Caller::of(&request)?;
        caller.require_internal()?;
        let store = self.0.store(caller.tenant()?)?;
        let databases = store
            .prepare()
            .await?
            .into_iter()
            .map(|(name, documents)| PreparedDatabase {
                name,
                documents: documents as i64,
            })
            .collect();
        Ok(Response::new(PrepareDatabasesResponse { databases }))
    }

    async fn check_app(&self, request: Request<CheckAppRequest>) -> Result<Response<App>, Status> {
        let caller = Caller::of(&request)?;
        caller.require_internal()?;
        let tenant = caller.tenant()?.clone();
        let asked = request.into_inner();
        let kind = convert::kind(asked.kind)
            .ok_or_else(|| invalid_field("kind", "is not known; give a web app or a konnector"))?;
        let app = check(&self.0, &tenant, &asked.source, kind).await?;
        let shown = Shown {
            locale: &tenant.locale,
            with_document: false,
        };
        Ok(Response::new(convert::app(kind, &app, shown)))
    }

    async fn purge_contents(
        &self,
        request: Request<PurgeContentsRequest>,
    ) -> Result<Response<PurgeContentsResponse>, Status> {
        let caller = Caller::of(&request)?;
        caller.require_internal()?;
        let removed = self.0.contents.purge(&caller.tenant()?.prefix).await?;
        Ok(Response::new(PurgeContentsResponse {
            objects: i64::try_from(removed).unwrap_or(i64::MAX),
        }))
    }

    type ListContentsStream =
        std::pin::Pin<Box<dyn futures::Stream<Item = Result<Contents, Status>> + Send>>;

    async fn list_contents(
        &self,
        request: Request<ListContentsRequest>,
    ) -> Result<Response<Self::ListContentsStream>, Status> {
        let caller = Caller::of(&request)?;
        caller.require_internal()?;
        // A call with a tenant concerns the contents of that instance only.
        let only = caller.tenant().ok().map(|tenant| tenant.prefix.as_str());
        let found = self.0.contents.prefixes(only).await?;
        let found = found
            .map_ok(|(prefix, objects)| Contents {
                prefix,
                objects: i64::try_from(objects).unwrap_or(i64::MAX),
            })
            .map_err(Status::from);
        Ok(Response::new(found.boxed()))
    }
}
