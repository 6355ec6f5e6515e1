//! `hamlet features flags`.

use clap::Args;
use hamlet_proto::hamlet::instance::v1::Instance;

use super::{assignment, object, print, require_once};
use crate::{
    calls::{get_instance, update_instance},
    error::CommandError,
    flags::{global::GlobalFlags, target::Target},
    session::Session,
    values,
};

/// Show or change the flags of one instance.
#[derive(Args, Debug)]
#[command(
    visible_alias = "flag",
    after_help = "Examples:\n  hamlet features flags bob.localhost:8080\n  hamlet features flags bob.localhost:8080 drive.office=true upload.limit=5 \\\n      --remove old.flag"
)]
pub(crate) struct Flags {
    #[command(flatten)]
    target: Target,
    /// Flags to set; the values are JSON. Without any, and without --remove, the command shows the flags.
    #[arg(value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Flags to remove, separated by commas.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = values::names::not_empty)]
    remove: Vec<String>,
}

impl Flags {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        require_once(&self.set, &self.remove)?;
        let session = Session::find(global)?;
        if self.set.is_empty() && self.remove.is_empty() {
            self.target.condition.refuse_without("a flag")?;
            self.target.request.refuse_without("a flag")?;
            let channel = session.channel().await?;
            let instance = get_instance(&session, &channel, &self.target.domain).await?;
            return print(
                global.output,
                &instance.domain,
                object(&instance.feature_flags),
            );
        }
        let names = self.set.iter().map(|(name, _)| name).chain(&self.remove);
        let paths = names.map(|name| format!("feature_flags.{name}")).collect();
        let instance = Instance {
            feature_flags: self.set.into_iter().collect(),
            ..Instance::default()
        };
        update_instance(&session, global.output, self.target, instance, paths).await
    }
}
