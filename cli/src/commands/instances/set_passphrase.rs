//! `hamlet instances set-passphrase`.

use std::path::PathBuf;

use clap::Args;
use hamlet_proto::hamlet::instance::v1::{
    SetPassphraseRequest, instance_service_client::InstanceServiceClient,
};
use service_kit::secret::Secret;

use crate::{
    calls::instance_name,
    change::ChangeRequest,
    error::CommandError,
    flags::{global::GlobalFlags, target::Target},
    passphrase,
    session::Session,
    terminal,
};

/// Set the passphrase, whether there was one or not. All sessions end.
///
/// Asks for it twice on a terminal, without showing it; else reads one line of standard input.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  hamlet instances set-passphrase bob.localhost:8080\n  hamlet instances set-passphrase bob.localhost:8080 --passphrase-file ./passphrase"
)]
pub(crate) struct SetPassphrase {
    #[command(flatten)]
    target: Target,
    /// The passphrase. Everybody who lists the processes of this machine sees it: better leave it out.
    #[arg(conflicts_with = "passphrase_file")]
    passphrase: Option<Secret>,
    /// The file that holds the passphrase on its only line; - is standard input.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl SetPassphrase {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let secret = match (self.passphrase, self.passphrase_file) {
            (Some(given), _) => passphrase::argument(given, "PASSPHRASE")?,
            (None, Some(file)) => passphrase::file(&file).await?,
            (None, None) if terminal::is_interactive() => passphrase::prompt().await?,
            (None, None) => passphrase::standard_input("PASSPHRASE").await?,
        };
        let channel = session.channel().await?;
        let change = ChangeRequest::new(
            &session,
            &channel,
            global.output,
            "passphrase",
            self.target.request,
        );
        let request = SetPassphraseRequest {
            name: instance_name(&self.target.domain),
            passphrase: secret.expose().to_owned(),
            etag: self.target.condition.into_etag(),
            request_id: change.request_id.clone(),
            validate_only: change.dry_run,
        };
        change
            .make(async || {
                InstanceServiceClient::new(channel.clone())
                    .set_passphrase(request.clone())
                    .await
            })
            .await
    }
}
