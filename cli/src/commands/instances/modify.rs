//! `hamlet instances modify`.

use hamlet_proto::hamlet::instance::v1::Instance;

use super::settings::{auth_mode_of, update};
use crate::{
    args::{Format, Modify},
    failure::Failure,
    session::Session,
    values::{clearable, settings},
};

pub(super) async fn run(session: &Session, format: Format, wanted: Modify) -> Result<(), Failure> {
    refuse_contradictions(&wanted)?;
    let (instance, mut paths) = values(&wanted)?;
    for field in &wanted.unset {
        refuse_double(field, &paths)?;
        paths.push(field.clone());
    }
    if paths.is_empty() {
        return Err(Failure::Usage(
            "nothing is to change; give at least one flag, such as --locale fr or --unset email"
                .to_owned(),
        ));
    }
    update(session, format, wanted.target, instance, paths).await
}

fn refuse_contradictions(wanted: &Modify) -> Result<(), Failure> {
    let reason = wanted.blocking_reason.is_some();
    if reason && wanted.blocked == Some(false) {
        return Err(Failure::Usage(
            "--blocked=false and --blocking-reason contradict each other: the reason ends with the block; give one"
                .to_owned(),
        ));
    }
    Ok(())
}

/// A field is set, or cleared, or cleared with all settings: one of them.
fn refuse_double(field: &str, paths: &[String]) -> Result<(), Failure> {
    let overlaps = |path: &&String| {
        *path == field
            || path
                .strip_prefix(field)
                .is_some_and(|rest| rest.starts_with('.'))
            || field
                .strip_prefix(path.as_str())
                .is_some_and(|rest| rest.starts_with('.'))
    };
    let Some(path) = paths.iter().find(overlaps) else {
        return Ok(());
    };
    let cleared = if field.contains('.') {
        field.to_owned()
    } else {
        clearable::flag(field).trim_start_matches('-').to_owned()
    };
    Err(Failure::Usage(format!(
        "{} and --unset {cleared} contradict each other; give one",
        clearable::flag(path)
    )))
}

/// The new values, and the names of their fields.
fn values(wanted: &Modify) -> Result<(Instance, Vec<String>), Failure> {
    let mut paths: Vec<String> = Vec::new();
    let mut named = |field: &str, given: bool| {
        if given {
            paths.push(field.to_owned());
        }
    };
    named("auth_mode", wanted.auth_mode.is_some());
    named("blocked", wanted.blocked.is_some());
    named("blocking_reason", wanted.blocking_reason.is_some());
    named("context", wanted.context_name.is_some());
    named("deleting", wanted.deleting.is_some());
    named("disk_quota_bytes", wanted.disk_quota.is_some());
    named("domain_aliases", !wanted.domain_aliases.is_empty());
    named("email", wanted.email.is_some());
    named("franceconnect_id", wanted.franceconnect_id.is_some());
    named("locale", wanted.locale.is_some());
    named("locked", wanted.lock || wanted.unlock);
    named("magic_link", wanted.magic_link.is_some());
    named("no_auto_update", wanted.no_auto_update.is_some());
    named("oidc_id", wanted.oidc_id.is_some());
    named("old_domain", wanted.old_domain.is_some());
    named("onboarding_finished", wanted.onboarding_finished.is_some());
    named("phone", wanted.phone.is_some());
    named("public_name", wanted.public_name.is_some());
    named("sponsorships", !wanted.sponsorships.is_empty());
    named("timezone", wanted.tz.is_some());
    named("tos_latest", wanted.tos_latest.is_some());
    named("tos_signed", wanted.tos.is_some());
    named("uuid", wanted.uuid.is_some());
    let settings = settings::collect(wanted.settings.clone()).map_err(Failure::Usage)?;
    let mut keys: Vec<_> = settings
        .keys()
        .map(|key| format!("settings.{key}"))
        .collect();
    keys.sort();
    paths.extend(keys);
    let instance = Instance {
        auth_mode: wanted
            .auth_mode
            .map(auth_mode_of)
            .unwrap_or_default()
            .into(),
        blocked: wanted.blocked.unwrap_or_default(),
        blocking_reason: wanted.blocking_reason.clone().unwrap_or_default(),
        context: wanted.context_name.clone().unwrap_or_default(),
        deleting: wanted.deleting.unwrap_or_default(),
        disk_quota_bytes: wanted.disk_quota.unwrap_or_default(),
        domain_aliases: wanted.domain_aliases.clone(),
        email: wanted.email.clone().unwrap_or_default(),
        franceconnect_id: wanted.franceconnect_id.clone().unwrap_or_default(),
        locale: wanted.locale.clone().unwrap_or_default(),
        locked: wanted.lock,
        magic_link: wanted.magic_link.unwrap_or_default(),
        no_auto_update: wanted.no_auto_update.unwrap_or_default(),
        oidc_id: wanted.oidc_id.clone().unwrap_or_default(),
        old_domain: wanted.old_domain.clone().unwrap_or_default(),
        onboarding_finished: wanted.onboarding_finished.unwrap_or_default(),
        phone: wanted.phone.clone().unwrap_or_default(),
        public_name: wanted.public_name.clone().unwrap_or_default(),
        settings,
        sponsorships: wanted.sponsorships.clone(),
        timezone: wanted.tz.clone().unwrap_or_default(),
        tos_latest: wanted.tos_latest.clone().unwrap_or_default(),
        tos_signed: wanted.tos.clone().unwrap_or_default(),
        uuid: wanted.uuid.clone().unwrap_or_default(),
        ..Instance::default()
    };
    Ok((instance, paths))
}
