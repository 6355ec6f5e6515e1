//! `hamlet instances destroy`.

use std::io;

use hamlet_proto::{
    google::longrunning::operation,
    hamlet::instance::v1::{
        DeleteInstanceRequest, DeleteInstanceResult, instance_service_client::InstanceServiceClient,
    },
    unpack,
};
use uuid::Uuid;

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

pub(super) async fn run(
    session: &Session,
    format: Format,
    domain: &str,
    force: bool,
    dry_run: bool,
    request_id: Option<String>,
) -> Result<(), Failure> {
    if !force && !dry_run {
        confirm(domain)?;
    }
    let accepted = InstanceServiceClient::new(session.door().await?)
        .delete_instance(DeleteInstanceRequest {
            name: format!("instances/{domain}"),
            request_id: request_id.unwrap_or_else(|| Uuid::new_v4().to_string()),
            validate_only: dry_run,
            ..DeleteInstanceRequest::default()
        })
        .await?
        .into_inner();
    if dry_run {
        let result: DeleteInstanceResult = match accepted.result {
            Some(operation::Result::Response(response)) => unpack(&response)?.unwrap_or_default(),
            _ => DeleteInstanceResult::default(),
        };
        return show(format, &result, "would be destroyed");
    }
    let ended = follow(session, accepted).await?;
    let result: DeleteInstanceResult = unpack(&ended.response)?.unwrap_or_default();
    show(format, &result, "destroyed")
}

/// Asks for the domain again. Both are compared in their canonical form.
fn confirm(domain: &str) -> Result<(), Failure> {
    let wanted = canonical(domain).map_err(Failure::Usage)?;
    say(&format!(
        "This destroys {} and all that it holds, for ever.\nType the domain again to go on:",
        clean(domain)
    ));
    let mut typed = String::new();
    io::stdin()
        .read_line(&mut typed)
        .map_err(|error| Failure::Failed(format!("aborted: cannot read what is typed: {error}")))?;
    if canonical(typed.trim()).is_ok_and(|typed| typed == wanted) {
        Ok(())
    } else {
        Err(Failure::Failed(
            "aborted: that is not the domain; nothing was destroyed".to_owned(),
        ))
    }
}

fn show(format: Format, result: &DeleteInstanceResult, what: &str) -> Result<(), Failure> {
    let name = format!("instances/{}", result.domain);
    output::one(format, result, &name, || {
        let mut known = vec![(what, result.domain.clone())];
        for removed in result.removed.iter().filter(|removed| removed.count > 0) {
            known.push(("removed", format!("{} {}", removed.count, removed.kind)));
        }
        for leftover in &result.leftovers {
            known.push(("left over", leftover.clone()));
        }
        facts(&known)
    })
}
