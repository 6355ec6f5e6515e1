//! `hamlet contexts check`.

use clap::Args;
use hamlet_proto::hamlet::instance::v1::{
    CheckContextRequest, check_context_response::Verdict,
    instance_service_client::InstanceServiceClient,
};

use crate::{
    error::CommandError,
    flags::global::GlobalFlags,
    output::{self, ListPrinter},
    session::Session,
    values,
};

/// Check what one needs.
///
/// Tells whether the backend of the context answers, what it says of one of its instances, and what is missing: its
/// admin door and the password of that, the file store, design documents. Columns: what was looked at, whether it is
/// fine, what was found. Exit code 1 when something is wrong.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  hamlet contexts check default\n  hamlet contexts check default --domain alice.example"
)]
pub(crate) struct Check {
    /// Its name.
    #[arg(value_parser = values::names::not_empty)]
    name: String,
    /// The instance about which the backend is asked; the oldest one by default.
    #[arg(
        long,
        value_name = "DOMAIN",
        default_value = "",
        hide_default_value = true
    )]
    domain: String,
}

impl Check {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let channel = session.channel().await?;
        let request = CheckContextRequest {
            name: self.name.clone(),
            domain: self.domain,
        };
        let checked = session
            .call(async || {
                InstanceServiceClient::new(channel.clone())
                    .check_context(request.clone())
                    .await
            })
            .await?;
        let mut list =
            ListPrinter::new(global.output, &["what", "state", "found"]).with_sentences();
        let mut problems = 0;
        for finding in &checked.findings {
            let state = match finding.verdict() {
                Verdict::Fine => "fine",
                Verdict::Notice => "notice",
                Verdict::Problem => "problem",
                Verdict::Unspecified => "unknown",
            };
            problems += u32::from(finding.verdict() == Verdict::Problem);
            list.push(finding, &finding.subject, || {
                vec![
                    finding.subject.clone(),
                    state.to_owned(),
                    finding.detail.clone(),
                ]
            })?;
        }
        list.end("there was nothing to look at")?;
        output::say(&match checked.instance_count {
            1 => format!("context {} has 1 instance", self.name),
            count => format!("context {} has {count} instances", self.name),
        });
        match problems {
            0 => Ok(()),
            1 => Err(CommandError::Failed(format!(
                "1 problem with context {}",
                self.name
            ))),
            _ => Err(CommandError::Failed(format!(
                "{problems} problems with context {}",
                self.name
            ))),
        }
    }
}
