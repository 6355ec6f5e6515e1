//! `hamlet instances add`.

use hamlet_proto::{
    google::longrunning::operation,
    hamlet::instance::v1::{
        CreateInstanceRequest, CreateInstanceResult, Instance, OperationMetadata,
        instance_service_client::InstanceServiceClient,
    },
    unpack,
};
use uuid::Uuid;

use crate::{
    args::{Add, Format},
    failure::{Failure, say},
    operation::{Ended, follow},
    output,
    session::Session,
    table::facts,
    text::clean,
    values::settings,
};

pub(super) async fn run(session: &Session, format: Format, wanted: Add) -> Result<(), Failure> {
    let dry_run = wanted.dry_run;
    let trace = wanted.trace;
    let request = request(wanted)?;
    let door = session.door().await?;
    let accepted = session
        .ask(async || {
            InstanceServiceClient::new(door.clone())
                .create_instance(request.clone())
                .await
        })
        .await
        .map_err(|failure| unanswered(failure, &request.request_id))?;
    if dry_run {
        let result = match accepted.result {
            Some(operation::Result::Response(response)) => unpack(&response)?.unwrap_or_default(),
            _ => CreateInstanceResult::default(),
        };
        warn(&result);
        return show(format, &result, "would be created");
    }
    let Ended {
        operation,
        response,
    } = follow(session, &door, accepted).await?;
    let result: CreateInstanceResult = unpack(&response)?.unwrap_or_default();
    if trace && let Some(metadata) = &operation.metadata {
        tell_durations(&unpack(metadata)?.unwrap_or_default());
    }
    finish(format, &result)
}

/// Prints a new instance.
///
/// # Errors
/// When an app of it could not be installed.
pub(super) fn finish(format: Format, result: &CreateInstanceResult) -> Result<(), Failure> {
    warn(result);
    show(format, result, "created")?;
    let failed = result
        .apps
        .iter()
        .filter(|app| !app.error.is_empty())
        .count();
    if failed == 0 {
        return Ok(());
    }
    Err(Failure::Failed(format!(
        "{failed} of {} apps could not be installed; the instance is kept",
        result.apps.len()
    )))
}

/// Nobody knows whether a change was accepted whose answer was lost; its id finds out.
pub(super) fn unanswered(failure: Failure, request_id: &str) -> Failure {
    match failure {
        Failure::Unavailable(why) => Failure::Unavailable(format!(
            "{why}; it may be at work all the same: look with `hamlet operations ls`, or give the same command again \
             with --request-id {request_id}"
        )),
        other => other,
    }
}

fn request(wanted: Add) -> Result<CreateInstanceRequest, Failure> {
    Ok(CreateInstanceRequest {
        instance: Some(Instance {
            domain: wanted.domain,
            domain_aliases: wanted.domain_aliases,
            locale: wanted.locale,
            context: wanted.context_name,
            email: wanted.email,
            public_name: wanted.public_name,
            timezone: wanted.tz,
            phone: wanted.phone,
            settings: settings::collect(wanted.settings).map_err(Failure::Usage)?,
            uuid: wanted.uuid,
            oidc_id: wanted.oidc_id,
            old_domain: wanted.old_domain,
            sponsorships: wanted.sponsorships,
            tos_signed: wanted.tos,
            disk_quota_bytes: wanted.disk_quota,
            ..Instance::default()
        }),
        apps: wanted.apps,
        // A request id lets the same request be made again when its answer is lost.
        request_id: wanted
            .request_id
            .unwrap_or_else(|| Uuid::new_v4().to_string()),
        validate_only: wanted.dry_run,
        trace: wanted.trace,
        ..CreateInstanceRequest::default()
    })
}

fn warn(result: &CreateInstanceResult) {
    for warning in &result.warnings {
        say(&format!("warning: {}", clean(warning)));
    }
    for app in result.apps.iter().filter(|app| !app.error.is_empty()) {
        say(&format!(
            "warning: the app {} was not installed: {}",
            clean(&app.source),
            clean(&app.error)
        ));
    }
}

fn tell_durations(metadata: &OperationMetadata) {
    for step in &metadata.steps {
        if let Some(took) = &step.duration {
            let ms = took.seconds * 1000 + i64::from(took.nanos) / 1_000_000;
            say(&format!("  {}: {ms} ms", clean(&step.name)));
        }
    }
}

fn show(format: Format, result: &CreateInstanceResult, what: &str) -> Result<(), Failure> {
    let instance = result.instance.clone().unwrap_or_default();
    let apps: Vec<String> = result
        .apps
        .iter()
        .filter(|app| app.error.is_empty())
        .map(|app| format!("{} {}", app.slug, app.version))
        .collect();
    output::one(format, result, &instance.name, || {
        facts(&[
            (what, instance.domain.clone()),
            ("locale", instance.locale.clone()),
            ("prefix", instance.prefix.clone()),
            ("apps", apps.join(", ")),
            ("register token", result.register_token.clone()),
            ("register link", result.register_link.clone()),
        ])
    })
}
