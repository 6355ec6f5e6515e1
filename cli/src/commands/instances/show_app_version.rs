//! `hamlet instances show-app-version`.

use clap::Args;
use hamlet_proto::hamlet::apps::v1::app;

use crate::{
    commands::apps::{show, targets},
    error::CommandError,
    flags::global::GlobalFlags,
    output::ListPrinter,
    session::Session,
    values,
};

/// List the domains of the instances that have an app in this version.
///
/// Exit code 3 when no instance has.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  hamlet instances show-app-version home 1.0.0")]
pub(crate) struct ShowAppVersion {
    /// The app's slug.
    #[arg(value_parser = values::names::slug)]
    slug: String,
    /// The version.
    #[arg(value_parser = values::names::not_empty)]
    version: String,
}

impl ShowAppVersion {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let mut domains = Vec::new();
        for domain in targets::all_domains(&session).await? {
            let app = show::find(&session, &domain, &self.slug, app::Kind::Webapp).await?;
            if app.is_some_and(|app| app.version == self.version) {
                domains.push(domain);
            }
        }
        if domains.is_empty() {
            return Err(CommandError::NotFound(format!(
                "no instance has {} in version {}",
                self.slug, self.version
            )));
        }
        let mut list = ListPrinter::new(global.output, &["domain"]);
        for domain in domains {
            list.push_values(&[("domain", domain.into())])?;
        }
        list.flush()
    }
}
