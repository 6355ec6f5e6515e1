//! `hamlet instances auth-mode`.

use clap::Args;
use hamlet_proto::hamlet::instance::v1::{Instance, instance};

use crate::{
    calls::update_instance,
    error::CommandError,
    flags::{global::GlobalFlags, target::Target},
    session::Session,
    values,
};

/// Choose how the owner proves who they are.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  hamlet instances auth-mode bob.localhost:8080 two_factor_mail"
)]
pub(crate) struct AuthMode {
    #[command(flatten)]
    target: Target,
    /// The way.
    mode: values::auth_mode::AuthMode,
}

impl AuthMode {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let instance = Instance {
            auth_mode: instance::AuthMode::from(self.mode).into(),
            ..Instance::default()
        };
        let paths = vec!["auth_mode".to_owned()];
        update_instance(&session, global.output, self.target, instance, paths).await
    }
}
