//! `AppsService`: the apps of one instance.

use std::time::Duration;

use hamlet_proto::hamlet::{
    apps::v1::{
        App, GetAppRequest, InstallAppRequest, ListAppsRequest, ListAppsResponse,
        UninstallAppRequest, UninstallAppResponse, UpdateAppRequest,
        apps_service_server::AppsService,
    },
    instance::v1::Tenant,
};
use service_kit::{caller::Caller, rights::Verb, status::invalid_field};
use tonic::{Request, Response, Status};

use super::convert::{self, Shown};
use crate::{
    actions::{
        Shared,
        authorize::{require, require_one},
        install::{self, Install},
        list,
        uninstall::{self, Uninstall},
        update::{self, Consent, Update},
    },
    domain::{app_type::AppType, slug},
    store::Store,
};

/// The time limit of an installation when the request sets none.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// The longest time limit that a request can set.
const LONGEST_TIME_LIMIT: Duration = Duration::from_secs(600);
/// The default page size.
const PAGE: usize = 100;
/// The largest page size.
const LARGEST_PAGE: usize = 1000;

/// Serves the apps of an instance.
#[derive(Clone, Debug)]
pub(crate) struct Apps(pub(crate) Shared);

impl Apps {
    /// The documents of the instance of a call.
    fn store(&self, tenant: &Tenant) -> Result<Store, Status> {
        Ok(self.0.store(tenant)?)
    }
}

fn shown(tenant: &Tenant, with_document: bool) -> Shown<'_> {
    Shown {
        locale: &tenant.locale,
        with_document,
    }
}

fn checked_slug(text: String) -> Result<String, Status> {
    match slug::wrong(&text) {
        Some(wrong) => Err(invalid_field("slug", wrong)),
        None => Ok(text),
    }
}

/// Checks the form of a request id, as every other call does. The id itself is not needed: installing and uninstalling
/// are idempotent.
fn check_request_id(text: &str) -> Result<(), Status> {
    let fine = text.len() <= 128 && text.bytes().all(|byte| byte.is_ascii_graphic());
    fine.then_some(()).ok_or_else(|| {
        invalid_field(
            "request_id",
            "is not usable; give up to 128 printable ASCII characters without spaces, best a UUID",
        )
    })
}

fn checked_limit(limit: Option<prost_types::Duration>) -> Result<Duration, Status> {
    let Some(limit) = limit else {
        return Ok(TIME_LIMIT);
    };
    let limit = Duration::try_from(limit).ok();
    let limit = limit
        .filter(|limit| !limit.is_zero())
        .ok_or_else(|| invalid_field("time_limit", "is not more than zero; give 30s"))?;
    Ok(limit.min(LONGEST_TIME_LIMIT))
}

fn checked_kind(kind: i32) -> Result<AppType, Status> {
    convert::kind(kind)
        .ok_or_else(|| invalid_field("kind", "is not known; give a web app or a konnector"))
}

#[tonic::async_trait]
impl AppsService for Apps {
    async fn list_apps(
        &self,
        request: Request<ListAppsRequest>,
    ) -> Result<Response<ListAppsResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let asked = request.into_inner();
        let kind = checked_kind(asked.kind)?;
        require(&caller, kind, Verb::Get)?;
        let tenant = caller.tenant()?;
        let store = self.store(tenant)?;
        let size = match usize::try_from(asked.page_size) {
            Ok(0) => PAGE,
            Ok(size) => size.min(LARGEST_PAGE),
            Err(_) => return Err(invalid_field("page_size", "is negative; give 0 to 1000")),
        };
        let after = Some(asked.page_token).filter(|token| !token.is_empty());
        if after
            .as_deref()
            .is_some_and(|token| slug::wrong(token).is_some())
        {
            return Err(invalid_field(
                "page_token",
                "is not one that this server gave; use the next_page_token of the page before",
            ));
        }
        let page = list::list(&store, kind, after.as_deref(), size).await?;
        let apps = page
            .apps
            .iter()
            .map(|app| convert::app(kind, app, shown(tenant, asked.with_document)))
            .collect();
        Ok(Response::new(ListAppsResponse {
            apps,
            next_page_token: page.next.unwrap_or_default(),
        }))
    }

    async fn get_app(&self, request: Request<GetAppRequest>) -> Result<Response<App>, Status> {
        let caller = Caller::of(&request)?.clone();
        let asked = request.into_inner();
        let kind = checked_kind(asked.kind)?;
        require_one(&caller, kind, &asked.slug)?;
        let slug = checked_slug(asked.slug)?;
        let tenant = caller.tenant()?;
        let store = self.store(tenant)?;
        let shown = shown(tenant, asked.with_document);
        let app = store.require(kind, &slug, "").await?;
        Ok(Response::new(convert::app(kind, &app, shown)))
    }

    async fn install_app(
        &self,
        request: Request<InstallAppRequest>,
    ) -> Result<Response<App>, Status> {
        let caller = Caller::of(&request)?.clone();
        let asked = request.into_inner();
        let kind = checked_kind(asked.kind)?;
        require(&caller, kind, Verb::Post)?;
        let tenant = caller.tenant()?;
        check_request_id(&asked.request_id)?;
        let time_limit = checked_limit(asked.time_limit)?;
        let shown = shown(tenant, asked.with_document);
        let install = Install {
            source: asked.source,
            slug: asked.slug,
            kind,
            validate_only: asked.validate_only,
            time_limit,
        };
        let settled = install::install(&self.0, tenant, install).await?;
        Ok(Response::new(convert::settled(kind, &settled, shown)))
    }

    async fn update_app(
        &self,
        request: Request<UpdateAppRequest>,
    ) -> Result<Response<App>, Status> {
        let caller = Caller::of(&request)?.clone();
        let asked = request.into_inner();
        let kind = checked_kind(asked.kind)?;
        require(&caller, kind, Verb::Post)?;
        let tenant = caller.tenant()?;
        check_request_id(&asked.request_id)?;
        let shown = shown(tenant, asked.with_document);
        let update = Update {
            slug: checked_slug(asked.slug)?,
            kind,
            source: asked.source,
            etag: asked.etag,
            validate_only: asked.validate_only,
            consent: match (asked.permissions_acked, asked.shown_permissions) {
                (true, _) => Consent::All,
                (false, shown) if !shown.is_empty() => Consent::Shown(shown),
                (false, _) => Consent::None,
            },
            expected_version: asked.expected_version,
            time_limit: checked_limit(asked.time_limit)?,
        };
        let settled = update::update(&self.0, tenant, update).await?;
        Ok(Response::new(convert::settled(kind, &settled, shown)))
    }

    async fn uninstall_app(
        &self,
        request: Request<UninstallAppRequest>,
    ) -> Result<Response<UninstallAppResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let asked = request.into_inner();
        let kind = checked_kind(asked.kind)?;
        require(&caller, kind, Verb::Delete)?;
        let tenant = caller.tenant()?;
        check_request_id(&asked.request_id)?;
        let shown = shown(tenant, asked.with_document);
        let uninstall = Uninstall {
            slug: checked_slug(asked.slug)?,
            kind,
            etag: asked.etag,
            validate_only: asked.validate_only,
        };
        let app = uninstall::uninstall(&self.0, tenant, uninstall).await?;
        Ok(Response::new(UninstallAppResponse {
            app: Some(convert::app(kind, &app, shown)),
        }))
    }
}
