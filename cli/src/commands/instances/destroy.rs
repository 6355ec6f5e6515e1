//! `hamlet instances destroy` and `undelete`.

use hamlet_proto::hamlet::instance::v1::{
    DeleteInstanceRequest, Instance, UndeleteInstanceRequest,
    instance_service_client::InstanceServiceClient,
};
use prost_types::Duration;

use super::{get, name_of};
use crate::{
    args::{Destroy, Format, Target},
    commands::change::Change,
    failure::{Failure, say},
    session::Session,
    terminal,
    text::clean,
    values::domain::canonical,
};

pub(super) async fn run(session: &Session, format: Format, wanted: Destroy) -> Result<(), Failure> {
    let door = session.door().await?;
    let domain = wanted.target.domain;
    let kind = if wanted.keep.is_some() {
        "delete"
    } else {
        "destroy"
    };
    let change = Change::new(session, &door, format, kind, wanted.target.request);
    let mut request = DeleteInstanceRequest {
        name: name_of(&domain),
        etag: wanted.target.condition.into_etag(),
        request_id: change.request_id.clone(),
        validate_only: change.dry_run,
        keep: wanted.keep,
    };
    if !wanted.force && !change.dry_run {
        let instance = get(session, &door, &domain).await?;
        confirm(&domain, &instance, wanted.keep.as_ref()).await?;
        if request.etag.is_empty() {
            // What was confirmed is what is destroyed, and nothing that took its name since.
            request.etag = instance.etag;
        }
    }
    change
        .make(async || {
            InstanceServiceClient::new(door.clone())
                .delete_instance(request.clone())
                .await
        })
        .await
}

/// Asks for the domain again. Both are compared in their canonical form.
async fn confirm(asked: &str, instance: &Instance, keep: Option<&Duration>) -> Result<(), Failure> {
    let main = &instance.domain;
    say(&match keep {
        None => format!(
            "This destroys {} and all that it holds, for ever.",
            clean(main)
        ),
        Some(keep) => format!(
            "This blocks {} and destroys it, with all that it holds, in {}, unless it is brought back before.",
            clean(main),
            span(keep)
        ),
    });
    say("Type the domain again to go on:");
    let aborted = |why: &str| Failure::Failed(format!("aborted: {why}; nothing was destroyed"));
    match terminal::line().await {
        Ok(None) => Err(aborted("nothing was typed")),
        Ok(Some(typed)) if is_same(&typed, main) && is_same(asked, main) => Ok(()),
        Ok(Some(typed)) if is_same(&typed, main) => Err(aborted(&format!(
            "{asked} only leads to {main}; name the instance by its main domain"
        ))),
        Ok(Some(_)) => Err(aborted(&format!("that is not {main}"))),
        Err(error) => Err(aborted(&format!("cannot read what is typed: {error}"))),
    }
}

/// A span of time for people.
fn span(span: &Duration) -> String {
    let seconds = u64::try_from(span.seconds).unwrap_or_default();
    humantime::format_duration(std::time::Duration::from_secs(seconds)).to_string()
}

fn is_same(one: &str, other: &str) -> bool {
    canonical(one).is_ok_and(|one| canonical(other).is_ok_and(|other| one == other))
}

pub(super) async fn undelete(
    session: &Session,
    format: Format,
    target: Target,
) -> Result<(), Failure> {
    let door = session.door().await?;
    let change = Change::new(session, &door, format, "undelete", target.request);
    let request = UndeleteInstanceRequest {
        name: name_of(&target.domain),
        request_id: change.request_id.clone(),
        validate_only: change.dry_run,
        etag: target.condition.into_etag(),
    };
    change
        .make(async || {
            InstanceServiceClient::new(door.clone())
                .undelete_instance(request.clone())
                .await
        })
        .await
}
