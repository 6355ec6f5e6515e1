//! `hamlet instances show-db-prefix`.

use clap::Args;

use crate::{
    calls::get_instance,
    error::CommandError,
    fields::instance::other_cluster,
    flags::global::GlobalFlags,
    output::{self, text::clean},
    session::Session,
    values,
};

/// Print the prefix of an instance's databases, and its CouchDB cluster when that is not the first.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  hamlet instances show-db-prefix bob.localhost:8080")]
pub(crate) struct ShowDbPrefix {
    /// The domain or an alias.
    #[arg(value_parser = values::domain::parse)]
    domain: String,
}

impl ShowDbPrefix {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let channel = session.channel().await?;
        let instance = get_instance(&session, &channel, &self.domain).await?;
        // The document is no message of the contracts.
        let document = serde_json::json!({
            "prefix": instance.prefix,
            "couchCluster": instance.couch_cluster.unwrap_or_default(),
        });
        output::document(global.output, &document, &instance.prefix, || {
            let prefix = clean(&instance.prefix);
            match other_cluster(&instance) {
                Some(cluster) => format!("{prefix}\ncouch_cluster: {cluster}\n"),
                None => format!("{prefix}\n"),
            }
        })
    }
}
