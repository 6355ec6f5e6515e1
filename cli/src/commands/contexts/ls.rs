//! `hamlet contexts ls`.

use clap::Args;

use super::{contexts, operator};
use crate::{
    error::CommandError, flags::global::GlobalFlags, output::ListPrinter, session::Session,
};

/// List them.
///
/// Columns: name, scheme of the hosts of apps, registries, operator.
#[derive(Args, Debug)]
#[command(visible_alias = "list", after_help = "Examples:\n  hamlet contexts ls")]
pub(crate) struct Ls;

impl Ls {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let columns = ["name", "subdomains", "registries", "operator"];
        let mut list = ListPrinter::new(global.output, &columns);
        for context in contexts(&session).await? {
            list.push(&context, &context.name, || {
                vec![
                    context.name.clone(),
                    context.subdomains.clone(),
                    context.registries.join(","),
                    operator(&context),
                ]
            })?;
        }
        list.end("there are no contexts")
    }
}
