//! `hamlet contexts show`.

use clap::Args;

use hamlet_proto::hamlet::instance::v1::Context;

use super::{backend, contexts, operator};
use crate::{
    error::CommandError,
    flags::global::GlobalFlags,
    output::{self, table::facts},
    session::Session,
    values,
};

/// Show one.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  hamlet contexts show default")]
pub(crate) struct Show {
    /// Its name.
    #[arg(value_parser = values::names::not_empty)]
    name: String,
}

impl Show {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let mut all = contexts(&session).await?.into_iter();
        let context = all.find(|it| it.name == self.name).ok_or_else(|| {
            CommandError::NotFound(format!(
                "no context is called {}; `hamlet contexts ls` shows those that exist",
                self.name
            ))
        })?;
        output::one(global.output, &context, &context.name, || {
            let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
            facts(&[
                ("name", context.name.clone()),
                ("subdomains", context.subdomains.clone()),
                ("registries", context.registries.join(", ")),
                (
                    "directory for papers",
                    yes(context.init_administrative_folder),
                ),
                ("directories for photos", yes(context.init_photos_folder)),
                ("file store", context.storage.clone()),
                ("operator", operator(&context)),
                ("backend", backend(&context)),
                ("served by Hamlet all the same", own(&context)),
                ("admin backend", context.admin_backend.clone()),
            ])
        })
    }
}

fn own(context: &Context) -> String {
    let backend = context.backend.as_ref();
    backend.map_or_else(String::new, |backend| backend.own.join(", "))
}
