//! `hamlet apps ls`.

use clap::Args;
use hamlet_proto::hamlet::apps::v1::{
    ListAppsRequest, app, apps_service_client::AppsServiceClient,
};

use crate::{
    calls, error::CommandError, flags::global::GlobalFlags, output::ListPrinter, session::Session,
    values,
};

/// How many apps to ask for at once.
const PAGE_SIZE: i32 = 200;

/// List those that are installed, sorted by slug.
///
/// Columns: slug, version, state, source.
#[derive(Args, Debug)]
#[command(
    visible_alias = "list",
    after_help = "Examples:\n  hamlet apps ls bob.localhost:8080"
)]
pub(crate) struct Ls {
    /// The instance's domain.
    #[arg(value_parser = values::domain::parse)]
    domain: String,
}

impl Ls {
    pub(super) async fn run(
        self,
        global: &GlobalFlags,
        kind: app::Kind,
    ) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let format = global.output;
        let channel = calls::channel_for(&session, &self.domain).await?;
        let mut list = ListPrinter::new(format, &["slug", "version", "state", "source"]);
        let mut page_token = String::new();
        loop {
            let request = ListAppsRequest {
                page_size: PAGE_SIZE,
                page_token,
                kind: kind.into(),
                with_document: false,
            };
            let page = session
                .call(async || {
                    AppsServiceClient::new(channel.clone())
                        .list_apps(request.clone())
                        .await
                })
                .await?;
            for app in &page.apps {
                list.push(app, &app.slug, || {
                    vec![
                        app.slug.clone(),
                        app.version.clone(),
                        app.state.clone(),
                        app.source.clone(),
                    ]
                })?;
            }
            list.flush()?;
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return list.end(match kind {
                    app::Kind::Konnector => "no konnector is installed",
                    app::Kind::Webapp | app::Kind::Unspecified => "no app is installed",
                });
            }
        }
    }
}
