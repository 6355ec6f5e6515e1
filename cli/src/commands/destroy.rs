//! `hamlet instances destroy`.

use std::io::{self, BufRead as _, Read as _};

use hamlet_proto::{
    google::longrunning::operation::Result as Outcome,
    hamlet::instance::v1::{
        DeleteInstanceRequest, DeleteInstanceResult, GetInstanceRequest,
        instance_service_client::InstanceServiceClient,
    },
    unpack,
};
use uuid::Uuid;

use super::add::unanswered;
use crate::{
    args::Format,
    failure::{Failure, say},
    operation::follow,
    output,
    session::Session,
    table::facts,
    text::clean,
    values::domain::canonical,
};

/// The longest answer to the question that is read, in bytes.
const LONGEST_ANSWER: u64 = 1024;

pub(super) async fn run(
    session: &Session,
    format: Format,
    domain: &str,
    force: bool,
    dry_run: bool,
    request_id: Option<String>,
) -> Result<(), Failure> {
    let door = session.door().await?;
    let name = format!("instances/{domain}");
    let mut request = DeleteInstanceRequest {
        name: name.clone(),
        request_id: request_id.unwrap_or_else(|| Uuid::new_v4().to_string()),
        validate_only: dry_run,
        etag: String::new(),
        ..DeleteInstanceRequest::default()
    };
    if !force && !dry_run {
        let wanted = GetInstanceRequest { name };
        let instance = session
            .ask(async || {
                InstanceServiceClient::new(door.clone())
                    .get_instance(wanted.clone())
                    .await
            })
            .await?;
        confirm(domain, &instance.domain)?;
        // What was confirmed is what is destroyed, and nothing that took its name since.
        request.etag = instance.etag;
    }
    let accepted = session
        .ask(async || {
            InstanceServiceClient::new(door.clone())
                .delete_instance(request.clone())
                .await
        })
        .await
        .map_err(|failure| unanswered(failure, &request.request_id))?;
    if dry_run {
        let result = match accepted.result {
            Some(Outcome::Response(response)) => unpack(&response)?,
            _ => None,
        };
        let result = result.unwrap_or_else(|| DeleteInstanceResult {
            domain: domain.to_owned(),
            ..DeleteInstanceResult::default()
        });
        return show(format, &result, "would be destroyed");
    }
    let ended = follow(session, &door, accepted).await?;
    let result: DeleteInstanceResult = unpack(&ended.response)?.unwrap_or_default();
    finish(format, &result)
}

/// Prints what a destruction removed.
///
/// # Errors
/// When something is left.
pub(super) fn finish(format: Format, result: &DeleteInstanceResult) -> Result<(), Failure> {
    show(format, result, "destroyed")?;
    if result.leftovers.is_empty() {
        return Ok(());
    }
    Err(Failure::Failed(format!(
        "something is left of {}: {}",
        result.domain,
        result.leftovers.join(", ")
    )))
}

/// Asks for the domain again. Both are compared in their canonical form.
fn confirm(asked: &str, main: &str) -> Result<(), Failure> {
    say(&format!(
        "This destroys {} and all that it holds, for ever.\nType the domain again to go on:",
        clean(main)
    ));
    let mut typed = String::new();
    let read = io::stdin()
        .lock()
        .take(LONGEST_ANSWER)
        .read_line(&mut typed);
    let aborted = |why: &str| Failure::Failed(format!("aborted: {why}; nothing was destroyed"));
    match read {
        Ok(0) => Err(aborted("nothing was typed")),
        Ok(_) if is_same(&typed, main) && is_same(asked, main) => Ok(()),
        Ok(_) if is_same(&typed, main) => Err(aborted(&format!(
            "{asked} only leads to {main}; name the instance by its main domain"
        ))),
        Ok(_) => Err(aborted(&format!("that is not {main}"))),
        Err(error) => Err(aborted(&format!("cannot read what is typed: {error}"))),
    }
}

fn is_same(one: &str, other: &str) -> bool {
    canonical(one).is_ok_and(|one| canonical(other).is_ok_and(|other| one == other))
}

fn show(format: Format, result: &DeleteInstanceResult, what: &str) -> Result<(), Failure> {
    let name = format!("instances/{}", result.domain);
    output::one(format, result, &name, || {
        let mut known = vec![(what, result.domain.clone())];
        for removed in result.removed.iter().filter(|removed| removed.count > 0) {
            known.push(("removed", format!("{} {}", removed.count, removed.kind)));
        }
        facts(&known)
    })
}
