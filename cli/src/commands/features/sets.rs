//! `hamlet features sets`.

use clap::Args;
use hamlet_proto::hamlet::instance::v1::Instance;
use serde_json::json;

use crate::{
    calls::{get_instance, update_instance},
    error::CommandError,
    flags::{global::GlobalFlags, target::Target},
    output,
    session::Session,
    values,
};

/// Show or replace the feature sets of an instance.
///
/// The original asks a manager of installations for the flags of these sets. Hamlet keeps their names for it.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  hamlet features sets bob.localhost:8080\n  hamlet features sets bob.localhost:8080 premium beta\n  hamlet features sets bob.localhost:8080 --clear"
)]
pub(crate) struct Sets {
    #[command(flatten)]
    target: Target,
    /// All its sets. Without any, and without --clear, the command shows them.
    #[arg(value_name = "SET", value_parser = values::names::not_empty)]
    sets: Vec<String>,
    /// Remove all sets.
    #[arg(long, conflicts_with = "sets")]
    clear: bool,
}

impl Sets {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        if self.sets.is_empty() && !self.clear {
            self.target.condition.refuse_without("a set")?;
            self.target.request.refuse_without("a set")?;
            let channel = session.channel().await?;
            let instance = get_instance(&session, &channel, &self.target.domain).await?;
            let sets = instance.feature_sets;
            if sets.is_empty() {
                output::say(&format!("{} has no feature sets", instance.domain));
            }
            return output::document(global.output, &json!(sets), &instance.domain, || {
                sets.iter().map(|set| format!("{set}\n")).collect()
            });
        }
        let instance = Instance {
            feature_sets: self.sets,
            ..Instance::default()
        };
        let paths = vec!["feature_sets".to_owned()];
        update_instance(&session, global.output, self.target, instance, paths).await
    }
}
