//! `hamlet instances fsck`.

use clap::Args;
use hamlet_proto::hamlet::files::v1::{CheckTreeRequest, files_service_client::FilesServiceClient};
use tokio_stream::StreamExt as _;

use crate::{
    calls,
    error::CommandError,
    flags::global::GlobalFlags,
    output::{ListPrinter, text::clean},
    session::Session,
    values, waiting,
};

/// How many findings are aligned with each other.
const ROWS_ALIGNED: u64 = 200;

/// Check the tree of an instance and its contents.
///
/// Columns: what is wrong, where, the id of the document, more about it. Exit code 1 when anything is. Where nothing is
/// wrong, a terminal is told so.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  hamlet instances fsck bob.localhost:8080\n  hamlet instances fsck bob.localhost:8080 --index-integrity --fail-fast \\\n      --json"
)]
pub(crate) struct Fsck {
    /// The domain or an alias.
    #[arg(value_parser = values::domain::parse)]
    domain: String,
    /// Check only that documents and tree fit together.
    #[arg(long, conflicts_with = "files_consistency")]
    index_integrity: bool,
    /// Check only that contents are there, with their size and hash.
    #[arg(long)]
    files_consistency: bool,
    /// End at the first finding.
    #[arg(long)]
    fail_fast: bool,
    /// The same as -o json: one object a line.
    #[arg(long)]
    json: bool,
}

impl Fsck {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let format = global.output.or_json(self.json)?;
        let channel = calls::channel_for(&session, &self.domain).await?;
        let request = CheckTreeRequest {
            index_integrity: self.index_integrity,
            files_consistency: self.files_consistency,
            fail_fast: self.fail_fast,
        };
        let mut findings = session
            .call(async || {
                FilesServiceClient::new(channel.clone())
                    .check_tree(request)
                    .await
            })
            .await?;
        let mut list = ListPrinter::new(format, &["what", "where", "id", "more"]).with_sentences();
        let mut found: u64 = 0;
        let checks = format!("checking {}", clean(&self.domain));
        while let Some(finding) = waiting::shown(&checks, findings.next()).await {
            // Findings before an error are valid.
            let finding = match finding {
                Ok(finding) => finding,
                Err(status) => {
                    list.flush()?;
                    return Err(session.stream_error(status, "check"));
                }
            };
            let name = if finding.file_id.is_empty() {
                &finding.path
            } else {
                &finding.file_id
            };
            list.push(&finding, name, || {
                vec![
                    finding.r#type.clone(),
                    finding.path.clone(),
                    finding.file_id.clone(),
                    finding.detail.clone(),
                ]
            })?;
            found += 1;
            if found.is_multiple_of(ROWS_ALIGNED) {
                list.flush()?;
            }
        }
        let nothing = format!("no findings in {}", clean(&self.domain));
        list.end(&nothing)?;
        match found {
            0 => Ok(()),
            1 => Err(CommandError::Failed(format!(
                "1 finding in {}",
                self.domain
            ))),
            _ => Err(CommandError::Failed(format!(
                "{found} findings in {}",
                self.domain
            ))),
        }
    }
}
