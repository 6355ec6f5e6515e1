//! `hamlet instances set-passphrase`.

use std::path::PathBuf;

use clap::Args;
use hamlet_proto::hamlet::instance::v1::{
    SetPassphraseRequest, instance_service_client::InstanceServiceClient,
};
use service_kit::secret::Secret;

use crate::{
    calls::{get_instance, instance_name},
    change::ChangeRequest,
    error::CommandError,
    flags::{global::GlobalFlags, target::Target},
    output::{say, text::clean},
    passphrase,
    session::{AdminChannel, Session},
    terminal,
};

/// Set the passphrase, whether there was one or not. All sessions end.
///
/// Asks for it twice on a terminal, without showing it; else reads one line of standard input. Whoever replaces the
/// passphrase of an owner makes what lies in the owner's password vault unreadable for ever: that is asked about first,
/// unless --force is given. The answer is read from standard input, be it a terminal or not, from the line after the
/// passphrase if that is read there too.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  hamlet instances set-passphrase bob.localhost:8080\n  hamlet instances set-passphrase bob.localhost:8080 \\\n      --passphrase-file ./passphrase"
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
    /// Do not ask before an owner's passphrase is replaced.
    #[arg(long)]
    force: bool,
}

impl SetPassphrase {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        global.output.check_single()?;
        let session = Session::find(global)?;
        let given = match (self.passphrase, self.passphrase_file) {
            (Some(given), _) => Some(passphrase::argument(given, "PASSPHRASE")?),
            (None, Some(file)) => Some(passphrase::file(&file).await?),
            // Whoever can be asked is told first what is lost.
            (None, None) if terminal::is_interactive() => None,
            (None, None) => Some(passphrase::standard_input("PASSPHRASE").await?),
        };
        let channel = session.channel().await?;
        let change = ChangeRequest::new(
            &session,
            &channel,
            global.output,
            "passphrase",
            self.target.request,
        );
        let mut request = SetPassphraseRequest {
            name: instance_name(&self.target.domain),
            passphrase: String::new(),
            etag: self.target.condition.into_etag(),
            request_id: change.request_id.clone(),
            validate_only: change.dry_run,
        };
        if !self.force || change.dry_run {
            let instance = get_instance(&session, &channel, &self.target.domain).await?;
            // Other software may leave the second unknown.
            if instance.onboarding_finished || instance.password_defined == Some(true) {
                let lost = what_is_lost(session.url(), &instance.domain);
                if change.dry_run {
                    say(&format!("warning: {lost}"));
                } else {
                    if let Some(given) = &given {
                        refuse_at_once(&session, &channel, given, &request).await?;
                    }
                    confirm(&lost).await?;
                }
            }
            if request.etag.is_empty() && !change.dry_run {
                // The owner may arrive while somebody thinks about the question.
                request.etag = instance.etag;
            }
        }
        let secret = match given {
            Some(secret) => secret,
            None => passphrase::prompt().await?,
        };
        request.passphrase = secret.expose().to_owned();
        change
            .make(async || {
                InstanceServiceClient::new(channel.clone())
                    .set_passphrase(request.clone())
                    .await
            })
            .await
    }
}

/// Refuses what the server would refuse, before anybody answers a question.
async fn refuse_at_once(
    session: &Session,
    channel: &AdminChannel,
    given: &Secret,
    request: &SetPassphraseRequest,
) -> Result<(), CommandError> {
    let check = SetPassphraseRequest {
        passphrase: given.expose().to_owned(),
        validate_only: true,
        ..request.clone()
    };
    let checked = session.call(async || {
        InstanceServiceClient::new(channel.clone())
            .set_passphrase(check.clone())
            .await
    });
    checked.await.map(drop)
}

/// What a new passphrase takes from the owner.
fn what_is_lost(server: &str, domain: &str) -> String {
    format!(
        "{} at {server} has an owner with a passphrase. A new one ends all sessions, and what lies in the owner's password vault \
         can never be read again.",
        clean(domain)
    )
}

/// Says what is lost, and asks. A script answers on its standard input.
async fn confirm(lost: &str) -> Result<(), CommandError> {
    say(&format!("{lost}\nType yes to go on:"));
    let aborted = |why: &str| CommandError::Failed(format!("aborted: {why}; nothing was changed"));
    match terminal::line().await {
        Ok(Some(typed)) if typed.trim() == "yes" => Ok(()),
        Ok(Some(_)) => Err(aborted("that is not yes")),
        Ok(None) => Err(aborted("nothing was typed, and --force was not given")),
        Err(error) => Err(aborted(&format!("cannot read what is typed: {error}"))),
    }
}
