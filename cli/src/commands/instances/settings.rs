//! Commands that change one field: `set-disk-quota`, `auth-mode`, `debug`.

use std::time::SystemTime;

use hamlet_proto::hamlet::instance::v1::{
    Instance, UpdateInstanceRequest,
    instance::{self},
    instance_service_client::InstanceServiceClient,
};
use prost_types::{Duration, FieldMask, Timestamp};

use super::{get, name_of};
use crate::{
    args::{AuthMode, Format, Target, cannot_take_effect},
    commands::change::Change,
    failure::Failure,
    output,
    session::Session,
};

/// How long calls are logged in detail unless somebody says how long.
const USUAL_TTL: Duration = Duration {
    seconds: 24 * 3600,
    nanos: 0,
};

/// Changes the fields of an instance that the paths name.
pub(super) async fn update(
    session: &Session,
    format: Format,
    target: Target,
    instance: Instance,
    paths: Vec<String>,
) -> Result<(), Failure> {
    let door = session.door().await?;
    let change = Change::new(session, &door, format, "update", target.request);
    let request = UpdateInstanceRequest {
        instance: Some(Instance {
            name: name_of(&target.domain),
            etag: target.condition.into_etag(),
            ..instance
        }),
        update_mask: Some(FieldMask { paths }),
        request_id: change.request_id.clone(),
        validate_only: change.dry_run,
    };
    change
        .make(async || {
            InstanceServiceClient::new(door.clone())
                .update_instance(request.clone())
                .await
        })
        .await
}

pub(super) async fn disk_quota(
    session: &Session,
    format: Format,
    target: Target,
    size: i64,
) -> Result<(), Failure> {
    let instance = Instance {
        disk_quota_bytes: size,
        ..Instance::default()
    };
    let paths = vec!["disk_quota_bytes".to_owned()];
    update(session, format, target, instance, paths).await
}

pub(super) async fn auth_mode(
    session: &Session,
    format: Format,
    target: Target,
    mode: AuthMode,
) -> Result<(), Failure> {
    let instance = Instance {
        auth_mode: auth_mode_of(mode).into(),
        ..Instance::default()
    };
    let paths = vec!["auth_mode".to_owned()];
    update(session, format, target, instance, paths).await
}

pub(super) const fn auth_mode_of(mode: AuthMode) -> instance::AuthMode {
    match mode {
        AuthMode::Basic => instance::AuthMode::Basic,
        AuthMode::TwoFactorMail => instance::AuthMode::TwoFactorMail,
        AuthMode::TwoFactorOidc => instance::AuthMode::TwoFactorOidc,
    }
}

/// Begins or ends detailed logging, or tells until when it goes on.
pub(super) async fn debug(
    session: &Session,
    format: Format,
    target: Target,
    on: Option<bool>,
    ttl: Option<Duration>,
) -> Result<(), Failure> {
    if ttl.is_some() && on != Some(true) {
        return Err(cannot_take_effect("--ttl", "true"));
    }
    let Some(on) = on else {
        target.condition.refuse_without("true or false")?;
        target.request.refuse_without("true or false")?;
        return show_debug(session, format, &target.domain).await;
    };
    let instance = Instance {
        debug_until: on.then(|| after(&ttl.unwrap_or(USUAL_TTL))),
        ..Instance::default()
    };
    let paths = vec!["debug_until".to_owned()];
    update(session, format, target, instance, paths).await
}

/// The time when `span` has passed from now, in whole seconds.
fn after(span: &Duration) -> Timestamp {
    let now = Timestamp::from(SystemTime::now());
    Timestamp {
        seconds: now.seconds.saturating_add(span.seconds),
        nanos: 0,
    }
}

async fn show_debug(session: &Session, format: Format, domain: &str) -> Result<(), Failure> {
    let door = session.door().await?;
    let instance = get(session, &door, domain).await?;
    let until = instance.debug_until.as_ref().map(ToString::to_string);
    // The answer to this question is no message of the contracts.
    let document = serde_json::json!({ "domain": instance.domain, "debugUntil": until });
    output::document(format, &document, &instance.name, || match &until {
        Some(until) => format!("on until {until}\n"),
        None => "off\n".to_owned(),
    })
}
