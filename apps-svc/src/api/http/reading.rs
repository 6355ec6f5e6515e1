//! The apps of an instance that a request on the host of the instance may read.

use std::sync::Arc;

use http::{StatusCode, request::Parts};
use serde::Deserialize;
use service_kit::{caller::Caller, json_api};
use tonic::Status;

use crate::{
    actions::{
        Shared,
        authorize::require_one,
        open::{Opened, open},
    },
    domain::{app_type::AppType, slug},
    error::Error,
};

/// The parameters in the path.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    slug: String,
    /// The version that the app has to have.
    pub(super) version: Option<String>,
}

impl Asked {
    /// The app, if the caller may read it and it has the version.
    pub(super) async fn app(
        &self,
        shared: &Shared,
        kind: AppType,
        head: &Parts,
    ) -> Result<Arc<Opened>, json_api::Error> {
        let caller = head
            .extensions
            .get::<Caller>()
            .ok_or_else(|| Status::internal("the routes were served without authentication"))?;
        if let Some(wrong) = slug::wrong(&self.slug) {
            return Err(json_api::Error::parameter("slug", wrong));
        }
        let tenant = caller.tenant()?;
        require_one(caller, kind, &self.slug)?;
        let app = open(shared, tenant, kind, &self.slug).await;
        let app = app.map_err(Status::from)?.ok_or_else(|| {
            Status::from(Error::NotInstalled {
                kind: kind.permission_type(),
                slug: self.slug.clone(),
                domain: tenant.domain.clone(),
            })
        })?;
        if self.version.as_ref().is_some_and(|it| *it != app.version) {
            return Err(json_api::Error::new(
                StatusCode::NOT_FOUND,
                "NO_SUCH_VERSION",
                format!("the version that is installed is {}", app.version),
            ));
        }
        Ok(app)
    }
}
