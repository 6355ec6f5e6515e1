//! `hamlet instances set-disk-quota`.

use clap::Args;
use hamlet_proto::hamlet::instance::v1::Instance;

use crate::{
    calls::update_instance,
    error::CommandError,
    flags::{global::GlobalFlags, target::Target},
    session::Session,
    values,
};

/// Set how much an instance may store.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  hamlet instances set-disk-quota bob.localhost:8080 10GB\n  hamlet instances set-disk-quota bob.localhost:8080 unlimited"
)]
pub(crate) struct SetDiskQuota {
    #[command(flatten)]
    target: Target,
    /// 10GB, "512 MiB", bytes; 0 or unlimited for no limit.
    #[arg(allow_negative_numbers = true, value_parser = values::quota::parse)]
    size: i64,
}

impl SetDiskQuota {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let instance = Instance {
            disk_quota_bytes: self.size,
            ..Instance::default()
        };
        let paths = vec!["disk_quota_bytes".to_owned()];
        update_instance(&session, global.output, self.target, instance, paths).await
    }
}
