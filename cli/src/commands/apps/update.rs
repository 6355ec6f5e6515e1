//! `hamlet apps update`.

use clap::Args;
use hamlet_proto::hamlet::apps::v1::{
    UpdateAppRequest, app, apps_service_client::AppsServiceClient,
};

use tonic::Code;

use super::{
    install::split,
    targets::{self, COLUMNS, Words},
};
use crate::{
    calls,
    error::CommandError,
    flags::{global::GlobalFlags, request::DryRunFlag},
    output::ListPrinter,
    session::Session,
    values,
};

/// Bring one to the latest version of its source.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  hamlet apps update bob.localhost:8080 home\n  hamlet apps update bob.localhost:8080 home --source registry://home/beta\n  hamlet apps update --all-domains home --safe --dry-run"
)]
pub(crate) struct Update {
    /// The instance's domain (not with --all-domains), and the app's slug.
    #[arg(value_names = ["DOMAIN", "SLUG"], num_args = 1..=2, required = true)]
    words: Vec<String>,
    /// In every instance that has it, one after the other.
    #[arg(long)]
    all_domains: bool,
    /// Leave a version that asks for more permissions, or has other terms, to the owner, who is asked on the page of settings.
    /// Without it, all that it asks for is granted.
    #[arg(long)]
    safe: bool,
    /// The source from now on.
    #[arg(long, value_name = "SOURCE", value_parser = values::apps::source)]
    source: Option<String>,
    #[command(flatten)]
    request: DryRunFlag,
}

impl Update {
    pub(super) async fn run(
        self,
        global: &GlobalFlags,
        kind: app::Kind,
    ) -> Result<(), CommandError> {
        let (domain, slug) = split(self.words, self.all_domains, "SLUG")?;
        let slug = values::names::slug(&slug)
            .map_err(|wrong| CommandError::Usage(format!("SLUG: {wrong}")))?;
        let session = Session::find(global)?;
        let all_domains = domain.is_none();
        let domains = match domain {
            Some(domain) => vec![calls::own_domain(&session, &domain).await?],
            None => targets::all_domains(&session).await?,
        };
        let mut list = ListPrinter::new(global.output, &COLUMNS);
        targets::change_each(
            &domains,
            &mut list,
            &Words {
                would: "would be updated",
                done: "updated",
                unchanged: "up to date",
                is_dry_run: self.request.dry_run,
                kind,
            },
            async |domain| {
                let channel = session.channel_of(domain).await?;
                let request = UpdateAppRequest {
                    slug: slug.clone(),
                    kind: kind.into(),
                    source: self.source.clone().unwrap_or_default(),
                    request_id: String::new(),
                    validate_only: self.request.dry_run,
                    permissions_acked: !self.safe,
                    ..UpdateAppRequest::default()
                };
                let what = format!("{domain}: {}", request.slug);
                let updated = session
                    .call_for(&what, async || {
                        AppsServiceClient::new(channel.clone())
                            .update_app(request.clone())
                            .await
                    })
                    .await;
                match updated {
                    Ok(app) => Ok(Some(app)),
                    // Not every instance has it.
                    Err(CommandError::Refused(status))
                        if all_domains && status.code() == Code::NotFound =>
                    {
                        Ok(None)
                    }
                    Err(error) => Err(error),
                }
            },
        )
        .await
    }
}
