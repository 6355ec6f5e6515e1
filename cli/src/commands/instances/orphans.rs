//! `hamlet instances orphans`.

use clap::Args;
use hamlet_proto::hamlet::instance::v1::{
    ListOrphansRequest, Orphan, PurgeOrphansRequest,
    instance_service_client::InstanceServiceClient, orphan,
};
use tokio_stream::StreamExt as _;

use crate::{
    change::ChangeRequest,
    error::CommandError,
    flags::{format::Format, global::GlobalFlags, request::RequestFlags},
    output::{ListPrinter, say, text::clean},
    session::{AdminChannel, Session},
    terminal, waiting,
};

/// How many orphans are aligned with each other.
const ROWS_ALIGNED: u64 = 200;

/// List what belongs to no instance and to no operation at work, and remove it with --purge.
///
/// Columns: kind, name, how many objects or documents it holds, why it belongs to nobody.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  hamlet instances orphans\n  hamlet instances orphans --purge --dry-run\n  hamlet instances orphans --purge"
)]
pub(crate) struct Orphans {
    /// Remove them; asks before.
    #[arg(long)]
    purge: bool,
    /// Do not ask, with --purge.
    #[arg(long, requires = "purge")]
    force: bool,
    #[command(flatten)]
    request: RequestFlags,
}

impl Orphans {
    pub(super) async fn run(self, global: &GlobalFlags) -> Result<(), CommandError> {
        let session = Session::find(global)?;
        let channel = session.channel().await?;
        if !self.purge {
            self.request.refuse_without("--purge")?;
            return list(&session, &channel, global.output).await;
        }
        global.output.check_single()?;
        let change = ChangeRequest::new(&session, &channel, global.output, "orphans", self.request);
        if !self.force && !change.dry_run {
            let mut number: u64 = 0;
            each(&session, &channel, |orphan| {
                number += 1;
                say(&clean(&format!(
                    "  {} {}: {}",
                    kind(orphan.kind()),
                    orphan.name,
                    orphan.reason
                )));
                Ok(())
            })
            .await?;
            confirm(number).await?;
        }
        let request = PurgeOrphansRequest {
            request_id: change.request_id.clone(),
            validate_only: change.dry_run,
        };
        change
            .make(async || {
                InstanceServiceClient::new(channel.clone())
                    .purge_orphans(request.clone())
                    .await
            })
            .await
    }
}

async fn confirm(number: u64) -> Result<(), CommandError> {
    if number == 0 {
        // The purge looks again itself.
        return Ok(());
    }
    say(&format!(
        "This removes {number} orphans and all that they hold, for ever.\nType yes to go on:"
    ));
    let aborted = |why: &str| CommandError::Failed(format!("aborted: {why}; nothing was removed"));
    match terminal::line().await {
        Ok(Some(typed)) if typed.trim() == "yes" => Ok(()),
        Ok(Some(_)) => Err(aborted("that is not yes")),
        Ok(None) => Err(aborted("nothing was typed")),
        Err(error) => Err(aborted(&format!("cannot read what is typed: {error}"))),
    }
}

/// Lists orphans.
async fn list(
    session: &Session,
    channel: &AdminChannel,
    format: Format,
) -> Result<(), CommandError> {
    let mut list = ListPrinter::new(format, &["kind", "name", "count", "reason"]);
    let mut number: u64 = 0;
    let listed = each(session, channel, |orphan| {
        list.push(&orphan, &orphan.name, || {
            let count = Some(orphan.count).filter(|count| *count > 0);
            vec![
                kind(orphan.kind()).to_owned(),
                orphan.name.clone(),
                count.map(|count| count.to_string()).unwrap_or_default(),
                orphan.reason.clone(),
            ]
        })?;
        number += 1;
        if number.is_multiple_of(ROWS_ALIGNED) {
            list.flush()?;
        }
        Ok(())
    })
    .await;
    // Orphans before an error are valid.
    match listed {
        Ok(()) => list.end("there are no orphans"),
        Err(error) => {
            list.flush()?;
            Err(error)
        }
    }
}

/// Calls `with` for each orphan as it arrives.
async fn each(
    session: &Session,
    channel: &AdminChannel,
    mut with: impl FnMut(Orphan) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let mut orphans = session
        .call(async || {
            InstanceServiceClient::new(channel.clone())
                .list_orphans(ListOrphansRequest {})
                .await
        })
        .await?;
    while let Some(orphan) = waiting::shown("looking for orphans", orphans.next()).await {
        with(orphan.map_err(|status| session.stream_error(status, "list"))?)?;
    }
    Ok(())
}

const fn kind(kind: orphan::Kind) -> &'static str {
    match kind {
        orphan::Kind::Unspecified => "unknown",
        orphan::Kind::Database => "database",
        orphan::Kind::Claim => "claim",
        orphan::Kind::Contents => "contents",
        orphan::Kind::Document => "document",
    }
}
