//! `hamlet features ratio`.

use std::collections::HashMap;

use clap::Args;
use hamlet_proto::hamlet::instance::v1::{
    FlagShare, FlagShares, UpdateContextFlagsRequest, feature_service_client::FeatureServiceClient,
};

use super::{assignment, of_context, print, shares};
use crate::{
    error::CommandError,
    flags::{global::GlobalFlags, request::DryRunFlag},
    session::Session,
    values,
};

/// Show or change the flags of a context, whose values are for shares of its instances.
#[derive(Args, Debug)]
#[command(
    visible_alias = "context",
    after_help = "Examples:\n  hamlet features ratio default\n  hamlet features ratio default drive.office=0.1:true drive.office=0.2:false \\\n      --remove old.flag"
)]
pub(crate) struct Ratio {
    /// The context.
    #[arg(value_parser = values::names::not_empty)]
    context: String,
    /// Values to set, each for a share of the instances from 0 to 1: the value is JSON, and a flag has as many values as
    /// there are arguments with its name. Without any, and without --remove, the command shows the flags.
    #[arg(value_name = "NAME=RATIO:VALUE", value_parser = share)]
    set: Vec<(String, FlagShare)>,
    /// Flags to remove, separated by commas.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = values::names::not_empty)]
    remove: Vec<String>,
    #[command(flatten)]
    request: DryRunFlag,
}

fn share(text: &str) -> Result<(String, FlagShare), String> {
    let wrong = || {
        format!(
            "{text:?} is no value for a share; write NAME=RATIO:VALUE, such as drive.office=0.1:true"
        )
    };
    let (name, share) = text.split_once('=').ok_or_else(wrong)?;
    let (ratio, value) = share.split_once(':').ok_or_else(wrong)?;
    let ratio = ratio
        .parse()
        .map_err(|_| format!("{ratio:?} is no ratio; write a number from 0 to 1, such as 0.1"))?;
    let (_, value) = assignment(&format!("{name}={value}"))?;
    Ok((name.to_owned(), FlagShare { ratio, value }))
}

impl Ratio {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        if let Some((name, _)) = self.set.iter().find(|(name, _)| self.remove.contains(name)) {
            return Err(CommandError::Usage(format!(
                "the flag {name} is set and removed; give one"
            )));
        }
        let session = Session::find(global)?;
        if self.set.is_empty() && self.remove.is_empty() {
            self.request.refuse_without("a flag")?;
            let found = of_context(&session, self.context).await?;
            return print(global.output, &found.context, shares(&found.flags));
        }
        let mut flags: HashMap<String, FlagShares> = HashMap::new();
        for (name, share) in self.set {
            flags.entry(name).or_default().shares.push(share);
        }
        let request = UpdateContextFlagsRequest {
            context: self.context,
            flags,
            removed: self.remove,
            validate_only: self.request.dry_run,
        };
        let channel = session.channel().await?;
        let changed = session
            .call(async || {
                FeatureServiceClient::new(channel.clone())
                    .update_context_flags(request.clone())
                    .await
            })
            .await?;
        print(global.output, &changed.context, shares(&changed.flags))
    }
}

#[cfg(test)]
mod tests {
    use super::{FlagShare, share};

    #[test]
    fn a_share_has_a_ratio_and_a_value() {
        let value = "\"a:b\"".to_owned();
        let expected = ("a.b".to_owned(), FlagShare { ratio: 0.5, value });
        assert_eq!(share("a.b=0.5:\"a:b\""), Ok(expected));
        for wrong in ["a", "a=1", "a=x:1", "a=0.1:beta", "a=0.1:null"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }
}
