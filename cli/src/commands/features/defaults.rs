//! `hamlet features defaults`.

use clap::Args;
use hamlet_proto::hamlet::instance::v1::{
    GetDefaultFlagsRequest, UpdateDefaultFlagsRequest, feature_service_client::FeatureServiceClient,
};

use super::{assignment, object, print, require_once};
use crate::{
    error::CommandError,
    flags::{global::GlobalFlags, request::DryRunFlag},
    session::Session,
    values,
};

/// Show or change the flags of all instances, which apply where nothing else says otherwise.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  hamlet features defaults\n  hamlet features defaults drive.office=true --remove old.flag"
)]
pub(crate) struct Defaults {
    /// Flags to set; the values are JSON. Without any, and without --remove, the command shows the flags.
    #[arg(value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Flags to remove, separated by commas.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = values::names::not_empty)]
    remove: Vec<String>,
    #[command(flatten)]
    request: DryRunFlag,
}

impl Defaults {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        require_once(&self.set, &self.remove)?;
        let session = Session::find(global)?;
        let channel = session.channel().await?;
        let client = || FeatureServiceClient::new(channel.clone());
        let found = if self.set.is_empty() && self.remove.is_empty() {
            self.request.refuse_without("a flag")?;
            session
                .call(async || client().get_default_flags(GetDefaultFlagsRequest {}).await)
                .await?
        } else {
            let request = UpdateDefaultFlagsRequest {
                flags: self.set.into_iter().collect(),
                removed: self.remove,
                validate_only: self.request.dry_run,
            };
            session
                .call(async || client().update_default_flags(request.clone()).await)
                .await?
        };
        print(global.output, "the installation", object(&found.flags))
    }
}
