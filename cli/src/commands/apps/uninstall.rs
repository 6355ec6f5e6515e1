//! `hamlet apps uninstall`.

use std::sync::atomic::{AtomicU32, Ordering};

use clap::Args;
use hamlet_proto::hamlet::apps::v1::{
    App, UninstallAppRequest, UninstallAppResponse, app, apps_service_client::AppsServiceClient,
};
use tonic::{Code, Response};

use super::targets::{self, COLUMNS};
use crate::{
    calls,
    error::CommandError,
    flags::{global::GlobalFlags, request::DryRunFlag},
    output::ListPrinter,
    session::Session,
    values,
};

/// Remove one, with its permissions. What it wrote for the owner stays.
#[derive(Args, Debug)]
#[command(
    visible_aliases = ["rm", "remove"],
    after_help = "Examples:\n  hamlet apps uninstall bob.localhost:8080 home"
)]
pub(crate) struct Uninstall {
    /// The instance's domain.
    #[arg(value_parser = values::domain::parse)]
    domain: String,
    /// The app's slug.
    #[arg(value_parser = values::names::slug)]
    slug: String,
    #[command(flatten)]
    request: DryRunFlag,
}

impl Uninstall {
    pub(super) async fn run(
        self,
        global: &GlobalFlags,
        kind: app::Kind,
    ) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let domain = calls::own_domain(&session, &self.domain).await?;
        let channel = session.channel_of(&domain).await?;
        let request = UninstallAppRequest {
            slug: self.slug,
            kind: kind.into(),
            request_id: String::new(),
            validate_only: self.request.dry_run,
            etag: String::new(),
            with_document: false,
        };
        let tries = AtomicU32::new(0);
        let slug = request.slug.clone();
        let what = format!("{domain}: {slug}");
        let removing = session.call_for(&what, async || {
            let first = tries.fetch_add(1, Ordering::Relaxed) == 0;
            let answer = AppsServiceClient::new(channel.clone())
                .uninstall_app(request.clone())
                .await;
            match answer {
                // The answer to the first try was lost: the app is gone because of it.
                Err(status) if !first && status.code() == Code::NotFound => {
                    let app = App {
                        slug: slug.clone(),
                        ..App::default()
                    };
                    Ok(Response::new(UninstallAppResponse { app: Some(app) }))
                }
                answer => answer,
            }
        });
        let removed = targets::watched(&domain, kind, self.request.dry_run, removing).await?;
        let app = removed.app.unwrap_or_default();
        let state = if request.validate_only {
            "would be removed"
        } else {
            "removed"
        };
        let mut list = ListPrinter::new(global.output, &COLUMNS);
        list.push_with("domain", &domain, &app, &app.slug, || {
            vec![
                domain.clone(),
                app.slug.clone(),
                app.version.clone(),
                state.to_owned(),
            ]
        })?;
        list.flush()
    }
}
