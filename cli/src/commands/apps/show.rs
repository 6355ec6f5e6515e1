//! `hamlet apps show`.

use clap::Args;
use hamlet_proto::hamlet::apps::v1::{GetAppRequest, apps_service_client::AppsServiceClient};

use crate::{
    error::CommandError,
    flags::global::GlobalFlags,
    output::{self, table::facts},
    session::Session,
    values,
};

/// Show one.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  hamlet apps show bob.localhost:8080 home")]
pub(crate) struct Show {
    /// The instance's domain.
    #[arg(value_parser = values::domain::parse)]
    domain: String,
    /// The app's slug.
    #[arg(value_parser = values::names::slug)]
    slug: String,
}

impl Show {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let format = global.output;
        let channel = session.channel_for(&self.domain).await?;
        let request = GetAppRequest {
            slug: self.slug,
            ..GetAppRequest::default()
        };
        let app = session
            .call(async || {
                AppsServiceClient::new(channel.clone())
                    .get_app(request.clone())
                    .await
            })
            .await?;
        output::one(format, &app, &app.slug, || {
            facts(&[
                ("slug", app.slug.clone()),
                ("name", app.display_name.clone()),
                ("version", app.version.clone()),
                ("state", app.state.clone()),
                ("source", app.source.clone()),
                ("editor", app.editor.clone()),
                ("checksum", app.checksum.clone()),
            ])
        })
    }
}
