//! `/settings/apps/SLUG`, `/settings/konnectors/SLUG`: the page on which an owner is asked whether a new version of an app may
//! have what it asks for.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{Path, State},
    response::Response,
};
use hamlet_pages::{ConsentView, WaitingUpdate, Wish};
use hamlet_proto::hamlet::apps::v1::{App, ListAppsRequest, UpdateAppRequest, app};
use http::StatusCode;
use serde_json::{Map, Value};
use service_kit::caller::for_tenant;
use tonic::{Code, Status};

use super::{
    Asked,
    reply::{Shown, see_other},
    settings::{own_form, to_login_for},
};
use crate::{
    api::Shared,
    domain::scope::{Rule, is_slug},
    error::Error,
};

/// How long fetching a new version may take.
const FETCH: Duration = Duration::from_secs(60);
/// How long the apps service may take to list the apps.
const LIST: Duration = Duration::from_secs(3);
/// The most apps that are looked at.
const APPS: i32 = 1000;
/// No rules, as JSON: a new version may only have new terms.
const NO_RULES: &str = "{}";

/// `GET /settings/apps/SLUG`.
pub(super) async fn show_app(
    State(shared): State<Shared>,
    Path(slug): Path<String>,
    asked: Asked,
) -> Response {
    Update::of(app::Kind::Webapp, slug)
        .show(&shared, &asked)
        .await
}

/// `POST /settings/apps/SLUG`.
pub(super) async fn agree_app(
    State(shared): State<Shared>,
    Path(slug): Path<String>,
    asked: Asked,
    body: Body,
) -> Response {
    let update = Update::of(app::Kind::Webapp, slug);
    update.agree(&shared, &asked, body).await
}

/// `GET /settings/konnectors/SLUG`.
pub(super) async fn show_konnector(
    State(shared): State<Shared>,
    Path(slug): Path<String>,
    asked: Asked,
) -> Response {
    let update = Update::of(app::Kind::Konnector, slug);
    update.show(&shared, &asked).await
}

/// `POST /settings/konnectors/SLUG`.
pub(super) async fn agree_konnector(
    State(shared): State<Shared>,
    Path(slug): Path<String>,
    asked: Asked,
    body: Body,
) -> Response {
    let update = Update::of(app::Kind::Konnector, slug);
    update.agree(&shared, &asked, body).await
}

/// The apps and konnectors with a version that waits. None while the apps service does not answer.
pub(super) async fn waiting(shared: &Shared, asked: &Asked) -> Vec<WaitingUpdate> {
    let mut waiting = Vec::new();
    for kind in [app::Kind::Webapp, app::Kind::Konnector] {
        let mut request = for_tenant(
            ListAppsRequest {
                kind: kind.into(),
                page_size: APPS,
                ..ListAppsRequest::default()
            },
            &asked.tenant,
        );
        request.set_timeout(LIST);
        let apps = match shared.peers.apps().list_apps(request).await {
            Ok(listed) => listed.into_inner().apps,
            Err(status) => {
                tracing::warn!(code = %status.code(), message = status.message(), "the updates that wait are not known");
                return waiting;
            }
        };
        let apps = apps
            .into_iter()
            .filter(|app| !app.available_version.is_empty());
        waiting.extend(apps.map(|app| WaitingUpdate {
            path: path_of(kind, &app.slug),
            app: format!("{} {}", title(&app), app.available_version),
        }));
    }
    waiting
}

fn path_of(kind: app::Kind, slug: &str) -> String {
    let kind = if kind == app::Kind::Konnector {
        "konnectors"
    } else {
        "apps"
    };
    format!("/settings/{kind}/{slug}")
}

fn title(app: &App) -> &str {
    if app.display_name.is_empty() {
        &app.slug
    } else {
        &app.display_name
    }
}

/// The update of an app.
struct Update {
    kind: app::Kind,
    slug: String,
}

impl Update {
    const fn of(kind: app::Kind, slug: String) -> Self {
        Self { kind, slug }
    }

    fn path(&self) -> String {
        path_of(self.kind, &self.slug)
    }

    fn request(&self) -> UpdateAppRequest {
        UpdateAppRequest {
            slug: self.slug.clone(),
            kind: self.kind.into(),
            ..UpdateAppRequest::default()
        }
    }

    async fn call(
        &self,
        shared: &Shared,
        asked: &Asked,
        request: UpdateAppRequest,
    ) -> Result<App, Status> {
        let mut request = for_tenant(request, &asked.tenant);
        request.set_timeout(FETCH);
        let updated = shared.peers.apps().update_app(request).await?;
        Ok(updated.into_inner())
    }

    /// Shows what waits. Where nothing does, the page of settings says so by not naming it.
    async fn show(&self, shared: &Shared, asked: &Asked) -> Response {
        if asked.session().is_none() {
            return to_login_for(shared, asked, &self.path_or_settings());
        }
        if !is_slug(&self.slug) {
            return see_other(&asked.url(shared, "/settings"));
        }
        let request = UpdateAppRequest {
            validate_only: true,
            ..self.request()
        };
        let app = match self.call(shared, asked, request).await {
            Ok(app) => app,
            Err(status) if status.code() == Code::NotFound => {
                return see_other(&asked.url(shared, "/settings"));
            }
            Err(status) => return asked.failed(shared, Error::Service(status)),
        };
        if app.available_version.is_empty() {
            return see_other(&asked.url(shared, "/settings"));
        }
        let shown = match app.new_permissions.as_str() {
            "" => NO_RULES,
            some => some,
        };
        let rules: Map<String, Value> = match serde_json::from_str(shown) {
            Ok(rules) => rules,
            Err(error) => return asked.failed(shared, error.into()),
        };
        let view = ConsentView {
            path: &self.path(),
            app: title(&app),
            version: &app.available_version,
            rules: rules.values().filter_map(wish).collect(),
            shown,
        };
        let more = view.html(&shared.texts, &asked.language(shared));
        asked.page(shared, &Shown::form("consent", StatusCode::OK, more))
    }

    /// Installs the version that was shown, with what it was shown to ask for. Where it asks for something else by now, the
    /// page shows that.
    async fn agree(&self, shared: &Shared, asked: &Asked, body: Body) -> Response {
        let form = match own_form(shared, asked, body).await {
            Ok((_, form)) => form,
            Err(response) => return response,
        };
        let (version, permissions) = (form.get("version"), form.get("permissions"));
        if !is_slug(&self.slug) || version.is_empty() || permissions.is_empty() {
            return see_other(&asked.url(shared, &self.path_or_settings()));
        }
        let request = UpdateAppRequest {
            shown_permissions: permissions.to_owned(),
            expected_version: version.to_owned(),
            ..self.request()
        };
        match self.call(shared, asked, request).await {
            Ok(_app) => see_other(&asked.url(shared, "/settings")),
            Err(status) if [Code::FailedPrecondition, Code::Aborted].contains(&status.code()) => {
                see_other(&asked.url(shared, &self.path()))
            }
            Err(status) => asked.failed(shared, Error::Service(status)),
        }
    }

    fn path_or_settings(&self) -> String {
        if is_slug(&self.slug) {
            self.path()
        } else {
            "/settings".to_owned()
        }
    }
}

fn wish(rule: &Value) -> Option<Wish> {
    let rule = Rule::of_manifest(rule)?;
    Some(Wish {
        doctype: rule.doctype,
        verbs: rule.verbs,
        only: rule.values,
        selector: rule.selector,
        reason: rule.description,
    })
}
