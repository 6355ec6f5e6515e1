//! `hamlet instances show`.

use clap::Args;

use crate::{
    calls::get_instance,
    error::CommandError,
    fields::{
        columns::{self, Column},
        instance::describe,
    },
    flags::global::GlobalFlags,
    output::{self, cell, say, table::all_facts, text::clean},
    session::Session,
    values,
};

/// Show an instance, by its domain or an alias.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  hamlet instances show bob.localhost:8080\n  hamlet instances show bob.localhost:8080 --fields email,timezone -o json"
)]
pub(crate) struct Show {
    /// The domain or an alias.
    #[arg(value_parser = values::domain::parse)]
    domain: String,
    /// Only these, in this order, separated by commas; `instances ls --available-fields` lists them.
    #[arg(long, value_name = "FIELDS", value_delimiter = ',', value_parser = columns::parse)]
    fields: Vec<Column>,
}

impl Show {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let format = global.output;
        format.check_fields(!self.fields.is_empty())?;
        let channel = session.channel().await?;
        let instance = get_instance(&session, &channel, &self.domain).await?;
        for warning in &instance.warnings {
            say(&format!("warning: {}", clean(warning)));
        }
        if self.fields.is_empty() {
            return output::one(format, &instance, &instance.name, || {
                describe("domain", &instance)
            });
        }
        let values = columns::read(&instance, &self.fields, format)?;
        output::document(format, &output::object(&values), &instance.name, || {
            let rows: Vec<_> = values
                .iter()
                .map(|(name, value)| (*name, cell(name, value)))
                .collect();
            all_facts(&rows)
        })
    }
}
