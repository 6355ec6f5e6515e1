//! `hamlet features config`.

use clap::Args;

use super::{object, of_context, print};
use crate::{error::CommandError, flags::global::GlobalFlags, session::Session, values};

/// Show the flags that the configuration gives to all instances of a context.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  hamlet features config default")]
pub(crate) struct Config {
    /// The context.
    #[arg(value_parser = values::names::not_empty)]
    context: String,
}

impl Config {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let found = of_context(&session, self.context).await?;
        print(
            global.output,
            &found.context,
            object(&found.configured_flags),
        )
    }
}
