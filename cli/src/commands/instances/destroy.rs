//! `hamlet instances destroy`.

use clap::Args;
use hamlet_proto::hamlet::instance::v1::{
    DeleteInstanceRequest, Instance, instance_service_client::InstanceServiceClient,
};
use prost_types::Duration;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::disabled::refuse_if_disabled;
use crate::{
    calls::{get_instance, instance_name, refusal, refuse_unready},
    change::ChangeRequest,
    error::CommandError,
    flags::{global::GlobalFlags, target::Target},
    output::{say, text::clean},
    session::{AdminChannel, Session},
    terminal,
    values::{self, domain::canonical},
};

/// Destroy an instance and all that it holds.
///
/// Asks for the domain again, and reads the answer from standard input, be it a terminal or not. There is no way
/// back, and no way to stop it once it has begun. Only the main domain destroys, never an alias. With --keep the
/// instance is deleted softly: blocked, left out of lists, brought back by `instances undelete`, and destroyed when
/// the time has passed. Refused when HAMLET_DISABLE_INSTANCES_ADD_RM is set.
#[derive(Args, Debug)]
#[command(mut_arg("domain", |domain| domain.help("The main domain; an alias is refused")), visible_aliases = ["rm", "delete", "remove"], after_help = "Examples:\n  hamlet instances destroy bob.localhost:8080\n  hamlet instances destroy bob.localhost:8080 --dry-run\n  hamlet instances destroy bob.localhost:8080 --keep 30d\n  hamlet instances destroy bob.localhost:8080 --force")]
pub(crate) struct Destroy {
    #[command(flatten)]
    target: Target,
    /// Do not ask for the domain again, and leave accounts at other services that only a konnector can delete there.
    #[arg(long)]
    force: bool,
    /// How long it can be brought back, such as 30d.
    #[arg(long, value_name = "TIME", value_parser = values::duration::parse)]
    keep: Option<Duration>,
}

impl Destroy {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        refuse_if_disabled("destroy")?;
        global.output.check_single()?;
        let session = Session::find(global)?;
        let channel = session.channel().await?;
        let domain = self.target.domain;
        let kind = if self.keep.is_some() {
            "delete"
        } else {
            "destroy"
        };
        let change =
            ChangeRequest::new(&session, &channel, global.output, kind, self.target.request);
        let mut request = DeleteInstanceRequest {
            name: instance_name(&domain),
            etag: self.target.condition.into_etag(),
            request_id: change.request_id.clone(),
            validate_only: change.dry_run,
            keep: self.keep,
            abandon_accounts: self.force,
        };
        if !self.force && !change.dry_run {
            let instance = get_instance(&session, &channel, &domain).await?;
            if !is_host_of(&domain, &instance.domain) {
                return Err(CommandError::Usage(format!(
                    "DOMAIN: {domain} only leads to {}; name the instance by its main domain",
                    instance.domain
                )));
            }
            refuse_at_once(&instance)?;
            if let Some(accounts) = accounts_left(&session, &channel, &request).await? {
                say(&clean(&format!(
                    "{} has accounts that only their konnectors can delete at the other service: {accounts}. They stay there.",
                    instance.domain
                )));
                request.abandon_accounts = true;
            }
            confirm(session.url(), &instance, self.keep.as_ref()).await?;
            if request.etag.is_empty() {
                // Another instance may have taken the name since the question.
                request.etag = instance.etag;
            }
        }
        change
            .make(async || {
                InstanceServiceClient::new(channel.clone())
                    .delete_instance(request.clone())
                    .await
            })
            .await
    }
}

/// The accounts that would be left at other services, for display.
///
/// # Errors
/// Any other refusal of the request: nobody is asked about what cannot be.
async fn accounts_left(
    session: &Session,
    channel: &AdminChannel,
    request: &DeleteInstanceRequest,
) -> Result<Option<String>, CommandError> {
    let check = DeleteInstanceRequest {
        validate_only: true,
        ..request.clone()
    };
    let checked = session.call(async || {
        InstanceServiceClient::new(channel.clone())
            .delete_instance(check.clone())
            .await
    });
    let Err(refused) = checked.await else {
        return Ok(None);
    };
    if let CommandError::Refused(status) = &refused
        && let Some(info) = status.get_details_error_info()
        && info.reason == "ACCOUNTS_LEFT"
        && let Some(accounts) = info.metadata.get("accounts")
    {
        return Ok(Some(accounts.clone()));
    }
    Err(refused)
}

/// Refuses what the server would refuse, before anybody answers a question.
fn refuse_at_once(instance: &Instance) -> Result<(), CommandError> {
    refuse_unready(instance)?;
    if !instance.locked {
        return Ok(());
    }
    let domain = &instance.domain;
    let message = format!("{domain} is locked: `hamlet instances modify {domain} --unlock`");
    Err(refusal(
        Code::FailedPrecondition,
        "INSTANCE_LOCKED",
        message,
    ))
}

/// Asks for the domain again. Any spelling of it will do, with its port or without one.
async fn confirm(
    server: &str,
    instance: &Instance,
    keep: Option<&Duration>,
) -> Result<(), CommandError> {
    let main = &instance.domain;
    say(&match keep {
        None => format!(
            "This destroys {} at {server} and all that it holds, for ever.",
            clean(main)
        ),
        Some(keep) => format!(
            "This blocks {} at {server} and destroys it, with all that it holds, in {}, unless it is brought back before.",
            clean(main),
            values::duration::show(keep)
        ),
    });
    say("Type the domain again to go on:");
    let aborted =
        |why: &str| CommandError::Failed(format!("aborted: {why}; nothing was destroyed"));
    match terminal::line().await {
        Ok(None) => Err(aborted("nothing was typed")),
        Ok(Some(typed)) if is_host_of(&typed, main) => Ok(()),
        Ok(Some(_)) => Err(aborted(&format!("that is not {main}"))),
        Err(error) => Err(aborted(&format!("cannot read what is typed: {error}"))),
    }
}

/// Whether a text names the host of a domain, with the same port or without one.
fn is_host_of(text: &str, domain: &str) -> bool {
    let (Ok(text), Ok(domain)) = (canonical(text), canonical(domain)) else {
        return false;
    };
    text == domain
        || domain
            .rsplit_once(':')
            .is_some_and(|(host, _)| text == host)
}
