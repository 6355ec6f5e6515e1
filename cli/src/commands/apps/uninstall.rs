//! `hamlet apps uninstall`.

use clap::Args;
use hamlet_proto::hamlet::apps::v1::{
    UninstallAppRequest, app, apps_service_client::AppsServiceClient,
};

use super::targets::COLUMNS;
use crate::{
    error::CommandError,
    flags::{global::GlobalFlags, request::RequestFlags},
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
    request: RequestFlags,
}

impl Uninstall {
    pub(super) async fn run(
        self,
        global: &GlobalFlags,
        kind: app::Kind,
    ) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let channel = session.channel_for(&self.domain).await?;
        let request = UninstallAppRequest {
            slug: self.slug,
            kind: kind.into(),
            request_id: self.request.request_id.unwrap_or_default(),
            validate_only: self.request.dry_run,
            etag: String::new(),
        };
        let removed = session
            .call(async || {
                AppsServiceClient::new(channel.clone())
                    .uninstall_app(request.clone())
                    .await
            })
            .await?;
        let app = removed.app.unwrap_or_default();
        let state = if request.validate_only {
            "would be removed"
        } else {
            "removed"
        };
        let mut list = ListPrinter::new(global.output, &COLUMNS);
        list.push(&app, &app.slug, || {
            vec![
                self.domain.clone(),
                app.slug.clone(),
                app.version.clone(),
                state.to_owned(),
            ]
        })?;
        list.flush()
    }
}
