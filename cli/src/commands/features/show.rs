//! `hamlet features show`.

use clap::Args;
use hamlet_proto::hamlet::instance::v1::{
    ListFlagsRequest, feature_service_client::FeatureServiceClient,
};
use serde_json::{Map, Value, json};

use super::{lines, object, print, shares};
use crate::{
    calls::instance_name, error::CommandError, flags::global::GlobalFlags, output,
    session::Session, values,
};

/// Show the flags that apply to an instance.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  hamlet features show bob.localhost:8080\n  hamlet features show bob.localhost:8080 --source"
)]
pub(crate) struct Show {
    /// The domain or an alias.
    #[arg(value_parser = values::domain::parse)]
    domain: String,
    /// Show what each source says, too.
    #[arg(long)]
    source: bool,
}

impl Show {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let channel = session.channel().await?;
        let request = ListFlagsRequest {
            name: instance_name(&self.domain),
        };
        let listed = session
            .call(async || {
                FeatureServiceClient::new(channel.clone())
                    .list_flags(request.clone())
                    .await
            })
            .await?;
        let flags = object(&listed.flags);
        if !self.source {
            return print(global.output, &self.domain, flags);
        }
        let context = listed.context_flags.unwrap_or_default();
        let sources = [
            ("instance", object(&listed.instance_flags)),
            ("configuration", object(&context.configured_flags)),
            ("context", shares(&context.flags)),
            ("defaults", object(&listed.default_flags)),
        ];
        let text = described(&flags, &sources);
        if text.is_empty() && global.output.is_table() {
            output::say(&format!("{} has no flags", self.domain));
        }
        let sources: Map<String, Value> = sources
            .into_iter()
            .map(|(name, flags)| (name.to_owned(), flags.into()))
            .collect();
        let document = json!({"flags": flags, "sources": sources});
        output::document(global.output, &document, &self.domain, || text)
    }
}

fn described(flags: &Map<String, Value>, sources: &[(&str, Map<String, Value>)]) -> String {
    let mut text = lines(flags);
    for (name, flags) in sources.iter().filter(|(_, flags)| !flags.is_empty()) {
        text.push_str(&format!("\n{name}:\n"));
        for line in lines(flags).lines() {
            text.push_str(&format!("  {line}\n"));
        }
    }
    text
}
