//! `hamlet instances orphans`.

use hamlet_proto::hamlet::instance::v1::{
    ListOrphansRequest, Orphan, PurgeOrphansRequest,
    instance_service_client::InstanceServiceClient, orphan,
};
use tokio_stream::StreamExt as _;

use crate::{
    args::{Format, Orphans},
    commands::change::Change,
    failure::{Failure, say},
    output::List,
    session::{Door, Session},
    terminal,
    text::clean,
};

/// How many orphans are aligned with each other.
const TOGETHER: u64 = 200;

pub(super) async fn run(session: &Session, format: Format, wanted: Orphans) -> Result<(), Failure> {
    let door = session.door().await?;
    if !wanted.purge {
        wanted.request.refuse_without("--purge")?;
        return list(session, &door, format).await;
    }
    let change = Change::new(session, &door, format, "orphans", wanted.request);
    if !wanted.force && !change.dry_run {
        let mut number: u64 = 0;
        each(session, &door, |orphan| {
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
            InstanceServiceClient::new(door.clone())
                .purge_orphans(request.clone())
                .await
        })
        .await
}

async fn confirm(number: u64) -> Result<(), Failure> {
    if number == 0 {
        // The purge looks again, and there is nothing to be asked about.
        return Ok(());
    }
    say(&format!(
        "This removes {number} orphans and all that they hold, for ever.\nType yes to go on:"
    ));
    let aborted = |why: &str| Failure::Failed(format!("aborted: {why}; nothing was removed"));
    match terminal::line().await {
        Ok(Some(typed)) if typed.trim() == "yes" => Ok(()),
        Ok(Some(_)) => Err(aborted("that is not yes")),
        Ok(None) => Err(aborted("nothing was typed")),
        Err(error) => Err(aborted(&format!("cannot read what is typed: {error}"))),
    }
}

/// Prints what belongs to nobody.
async fn list(session: &Session, door: &Door, format: Format) -> Result<(), Failure> {
    let mut list = List::new(format, &["kind", "name", "count", "reason"]);
    let mut number: u64 = 0;
    let listed = each(session, door, |orphan| {
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
        if number.is_multiple_of(TOGETHER) {
            list.flush()?;
        }
        Ok(())
    })
    .await;
    // What was found before a failure is true all the same.
    list.flush()?;
    listed
}

/// Does something with each orphan as it comes.
async fn each(
    session: &Session,
    door: &Door,
    mut with: impl FnMut(Orphan) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut orphans = session
        .ask(async || {
            InstanceServiceClient::new(door.clone())
                .list_orphans(ListOrphansRequest {})
                .await
        })
        .await?;
    while let Some(orphan) = orphans.next().await {
        with(orphan.map_err(|status| session.broken_off(status, "list"))?)?;
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
