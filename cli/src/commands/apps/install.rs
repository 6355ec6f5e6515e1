//! `hamlet apps install`.

use clap::Args;
use hamlet_proto::hamlet::apps::v1::{
    InstallAppRequest, app, apps_service_client::AppsServiceClient,
};

use super::targets::{self, COLUMNS, Words};
use crate::{
    calls,
    error::CommandError,
    flags::{global::GlobalFlags, request::DryRunFlag},
    output::ListPrinter,
    session::Session,
    values,
};

/// Install one, also where its installation failed when the instance was created.
///
/// An app that is there already, from the same source, is left as it is.
#[derive(Args, Debug)]
#[command(
    visible_alias = "add",
    after_help = "Examples:\n  hamlet apps install bob.localhost:8080 home\n  hamlet apps install bob.localhost:8080 registry://drive/stable --slug files\n  hamlet apps install --all-domains home"
)]
pub(crate) struct Install {
    /// The instance's domain (not with --all-domains), and the app: a slug, or an address (file://, http://, https://,
    /// registry://slug/channel).
    #[arg(value_names = ["DOMAIN", "SOURCE"], num_args = 1..=2, required = true)]
    words: Vec<String>,
    /// In every instance, one after the other.
    #[arg(long)]
    all_domains: bool,
    /// The slug under which to install it; by default the one of the source.
    #[arg(long, value_parser = values::names::slug)]
    slug: Option<String>,
    #[command(flatten)]
    request: DryRunFlag,
}

impl Install {
    pub(super) async fn run(
        self,
        global: &GlobalFlags,
        kind: app::Kind,
    ) -> Result<(), CommandError> {
        let (domain, source) = split(self.words, self.all_domains, "SOURCE")?;
        let source = values::apps::source(&source)
            .map_err(|wrong| CommandError::Usage(format!("SOURCE: {wrong}")))?;
        let session = Session::find(global)?;
        let domains = match domain {
            Some(domain) => vec![calls::own_domain(&session, &domain).await?],
            None => targets::all_domains(&session).await?,
        };
        let mut list = ListPrinter::new(global.output, &COLUMNS);
        targets::change_each(
            &domains,
            &mut list,
            &Words {
                would: "would be installed",
                done: "installed",
                unchanged: "installed already",
                is_dry_run: self.request.dry_run,
                kind,
            },
            async |domain| {
                let channel = session.channel_of(domain).await?;
                let request = InstallAppRequest {
                    source: source.clone(),
                    slug: self.slug.clone().unwrap_or_default(),
                    kind: kind.into(),
                    request_id: String::new(),
                    validate_only: self.request.dry_run,
                    time_limit: None,
                    with_document: false,
                };
                let what = format!("{domain}: {}", request.source);
                let installed = session
                    .call_for(&what, async || {
                        AppsServiceClient::new(channel.clone())
                            .install_app(request.clone())
                            .await
                    })
                    .await?;
                Ok(Some(installed))
            },
        )
        .await
    }
}

/// The domain and the last word; no domain with `--all-domains`.
pub(super) fn split(
    words: Vec<String>,
    all_domains: bool,
    what: &str,
) -> Result<(Option<String>, String), CommandError> {
    let mut words = words.into_iter();
    match (words.next(), words.next(), all_domains) {
        (Some(domain), Some(last), false) => {
            let domain = values::domain::parse(&domain)
                .map_err(|wrong| CommandError::Usage(format!("DOMAIN: {wrong}")))?;
            Ok((Some(domain), last))
        }
        (Some(last), None, true) => Ok((None, last)),
        (_, Some(_), true) => Err(CommandError::Usage(format!(
            "DOMAIN and --all-domains contradict each other; give --all-domains and {what} alone"
        ))),
        (_, None, false) => Err(CommandError::Usage(format!(
            "{what}: is missing; write DOMAIN {what}, or --all-domains {what}"
        ))),
        (None, _, _) => Err(CommandError::Usage(format!("{what}: is missing"))),
    }
}
