//! `hamlet apps show`.

use clap::Args;
use hamlet_proto::hamlet::apps::v1::{
    App, GetAppRequest, app, apps_service_client::AppsServiceClient,
};
use tonic::Code;

use crate::{
    calls,
    error::CommandError,
    flags::global::GlobalFlags,
    output::{self, table::facts},
    session::{AdminChannel, Session},
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
    pub(super) async fn run(
        self,
        global: &GlobalFlags,
        kind: app::Kind,
    ) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let format = global.output;
        let channel = calls::channel_for(&session, &self.domain).await?;
        let app = get(&session, channel, &self.slug, kind).await?;
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

async fn get(
    session: &Session,
    channel: AdminChannel,
    slug: &str,
    kind: app::Kind,
) -> Result<App, CommandError> {
    let request = GetAppRequest {
        slug: slug.to_owned(),
        kind: kind.into(),
        with_document: false,
    };
    session
        .call(async || {
            AppsServiceClient::new(channel.clone())
                .get_app(request.clone())
                .await
        })
        .await
}

/// An app of an instance; `None` when the instance does not have it, or has gone meanwhile.
pub(in crate::commands) async fn find(
    session: &Session,
    domain: &str,
    slug: &str,
    kind: app::Kind,
) -> Result<Option<App>, CommandError> {
    let channel = session.channel_of(domain).await?;
    match get(session, channel, slug, kind).await {
        Ok(app) => Ok(Some(app)),
        Err(CommandError::Refused(status)) if status.code() == Code::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
