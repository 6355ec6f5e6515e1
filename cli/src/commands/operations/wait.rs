//! `hamlet operations wait`.

use clap::Args;

use crate::{
    calls::get_operation, error::CommandError, flags::global::GlobalFlags, follow::follow,
    session::Session, values, views,
};

/// Follow one to its end.
///
/// Prints what came of it and ends with the exit code of the command that began it.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  hamlet operations wait 0198f3c2")]
pub(crate) struct Wait {
    /// Its id, as `operations ls` shows it.
    #[arg(value_parser = values::names::operation)]
    operation: String,
}

impl Wait {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let channel = session.channel().await?;
        let operation = get_operation(&session, &channel, self.operation).await?;
        let succeeded = follow(&session, &channel, operation).await?;
        views::outcome::print(global.output, &succeeded)
    }
}
