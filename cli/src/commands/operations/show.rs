//! `hamlet operations show`.

use clap::Args;

use crate::{
    calls::get_operation, error::CommandError, flags::global::GlobalFlags, session::Session,
    values, views,
};

/// Show one: its steps, tries and last error.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  hamlet operations show 0198f3c2\n  hamlet operations show 0198f3c2 -o json"
)]
pub(crate) struct Show {
    /// Its id, as `operations ls` shows it.
    #[arg(value_parser = values::names::operation)]
    operation: String,
}

impl Show {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let channel = session.channel().await?;
        let operation = get_operation(&session, &channel, self.operation).await?;
        views::operation::print(global.output, &operation)
    }
}
