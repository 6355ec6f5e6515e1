//! Changes of an instance: what is asked, and what came of it.

use std::{collections::BTreeMap, time::Duration};

use hamlet_proto::{
    google::longrunning,
    hamlet::instance::v1::{
        self as pb, CleanSessionsResult, DeleteInstanceResult, Instance, RegisterLink,
        UpdateInstanceRequest,
    },
};
use service_kit::status;
use tonic::Status;

use super::Shared;
use crate::{
    actions::request::Answer,
    domain::change::{Change, ChangeKind, InstancePatch},
    error::Error,
    messages,
    operations::engine::Detail,
    store::Found,
};

/// What an update asks.
pub(super) fn update(request: UpdateInstanceRequest) -> Result<Change, Status> {
    let instance = request
        .instance
        .ok_or_else(|| status::invalid_field("instance", "is missing; give at least its name"))?;
    let mask = request.update_mask.unwrap_or_default();
    if mask.paths.is_empty() {
        return Err(status::invalid_field(
            "update_mask",
            "names no field; name each that is to change, such as email or settings.offer",
        ));
    }
    let mut change = Change {
        kind: ChangeKind::Update,
        etag: instance.etag.clone(),
        ..Change::default()
    };
    for path in &mask.paths {
        take(&mut change, &instance, path)?;
    }
    Ok(change)
}

/// Takes the field that a path of the mask names.
fn take(change: &mut Change, instance: &Instance, path: &str) -> Result<(), Status> {
    let patch = &mut change.instance;
    match path {
        "domain_aliases" => patch.domain_aliases = Some(instance.domain_aliases.clone()),
        "old_domain" => patch.old_domain = Some(instance.old_domain.clone()),
        "locale" => patch.locale = Some(instance.locale.clone()),
        "context" => patch.context = Some(instance.context.clone()),
        "uuid" => patch.uuid = Some(instance.uuid.clone()),
        "oidc_id" => patch.oidc_id = Some(instance.oidc_id.clone()),
        "franceconnect_id" => patch.franceconnect_id = Some(instance.franceconnect_id.clone()),
        "sponsorships" => patch.sponsorships = Some(instance.sponsorships.clone()),
        "tos_signed" => patch.tos_signed = Some(instance.tos_signed.clone()),
        "tos_latest" => patch.tos_latest = Some(instance.tos_latest.clone()),
        "auth_mode" => patch.auth_mode = Some(messages::auth_mode(instance.auth_mode)?),
        "magic_link" => patch.magic_link = Some(instance.magic_link),
        "no_auto_update" => patch.no_auto_update = Some(instance.no_auto_update),
        "blocked" => patch.blocked = Some(instance.blocked),
        "blocking_reason" => patch.blocking_reason = Some(instance.blocking_reason.clone()),
        "onboarding_finished" => patch.onboarding_finished = Some(instance.onboarding_finished),
        "deleting" => patch.deleting = Some(instance.deleting),
        "disk_quota_bytes" => patch.disk_quota_bytes = Some(instance.disk_quota_bytes),
        "locked" => change.record.locked = Some(instance.locked),
        "debug_until" => {
            change.record.debug_until = Some(match &instance.debug_until {
                Some(time) => messages::time("instance.debug_until", time)?,
                None => String::new(),
            });
        }
        "email" => set(&mut change.settings, "email", &instance.email),
        "public_name" => set(&mut change.settings, "public_name", &instance.public_name),
        "timezone" => set(&mut change.settings, "tz", &instance.timezone),
        "phone" => set(&mut change.settings, "phone", &instance.phone),
        "settings" => {
            change.only_these_settings = true;
            for (name, value) in &instance.settings {
                set(&mut change.settings, name, value);
            }
        }
        _ => match path.strip_prefix("settings.") {
            Some(name) if !["tz", "email", "public_name", "phone"].contains(&name) => {
                let value = instance.settings.get(name).map_or("", String::as_str);
                set(&mut change.settings, name, value);
            }
            Some(name) => {
                let own = if name == "tz" { "timezone" } else { name };
                return Err(refused_path(
                    path,
                    &format!("has a field of its own: {own}"),
                ));
            }
            None => return Err(refused_path(path, why_not(path))),
        },
    }
    Ok(())
}

fn set(settings: &mut BTreeMap<String, Option<String>>, name: &str, value: &str) {
    let value = (!value.is_empty()).then(|| value.to_owned());
    settings.insert(name.to_owned(), value);
}

fn refused_path(path: &str, why: &str) -> Status {
    status::invalid_field("update_mask", format!("{path:?} {why}"))
}

/// Why a path of the mask is none that can be changed.
fn why_not(path: &str) -> &'static str {
    match path {
        "*" => "would clear fields that you may not know; name each field",
        "domain" | "couch_cluster" => "is chosen at creation and stays; leave it out of the mask",
        "name"
        | "id"
        | "prefix"
        | "state"
        | "password_defined"
        | "indexes_version"
        | "create_time"
        | "operation"
        | "etag"
        | "delete_time"
        | "purge_time"
        | "register_expire_time"
        | "feature_sets" => "is set by the service alone; leave it out of the mask",
        _ => "is no field of an instance; name one such as email, or a setting as settings.NAME",
    }
}

/// A change that refuses access.
pub(super) fn block(request: &pb::BlockInstanceRequest) -> Change {
    Change {
        kind: ChangeKind::Block,
        etag: request.etag.clone(),
        instance: InstancePatch {
            blocked: Some(true),
            blocking_reason: Some(request.reason.clone()),
            ..InstancePatch::default()
        },
        ..Change::default()
    }
}

/// A change that gives access again.
pub(super) fn unblock(request: &pb::UnblockInstanceRequest) -> Change {
    Change {
        kind: ChangeKind::Unblock,
        etag: request.etag.clone(),
        instance: InstancePatch {
            blocked: Some(false),
            ..InstancePatch::default()
        },
        ..Change::default()
    }
}

/// How long an instance is kept that is deleted softly; `None` when it is destroyed at once.
pub(super) fn keep(keep: Option<&prost_types::Duration>) -> Result<Option<Duration>, Status> {
    let keep = keep.copied().unwrap_or_default();
    let keep = Duration::try_from(keep)
        .map_err(|_| status::invalid_field("keep", "is negative; use a time such as 30 days"))?;
    Ok((!keep.is_zero()).then_some(keep))
}

/// What a request for a change is answered with.
pub(super) async fn answer(
    shared: &Shared,
    kind: ChangeKind,
    answer: Answer<Found>,
) -> Result<longrunning::Operation, Error> {
    let found = match answer {
        Answer::Accepted { id, operation } => {
            return super::operations::show(shared, &id, &operation, Detail::Whole).await;
        }
        Answer::Preview(found) => found,
    };
    let domain = found.document.body.domain.clone();
    Ok(match kind {
        ChangeKind::Delete => messages::checked(&DeleteInstanceResult {
            domain,
            purge_time: found
                .record
                .as_ref()
                .and_then(|record| record.body.purge_at.as_deref())
                .and_then(messages::timestamp),
            ..DeleteInstanceResult::default()
        }),
        ChangeKind::Sessions => messages::checked(&CleanSessionsResult {
            domain,
            ..CleanSessionsResult::default()
        }),
        // The link that would come is not drawn yet.
        ChangeKind::RegisterLink => messages::checked(&RegisterLink::default()),
        ChangeKind::Passphrase => messages::checked(&Instance {
            onboarding_finished: true,
            password_defined: Some(true),
            ..not_changed_yet(&found)
        }),
        ChangeKind::Update | ChangeKind::Block | ChangeKind::Unblock | ChangeKind::Undelete => {
            messages::checked(&not_changed_yet(&found))
        }
    })
}

/// The instance as it would be, of which there is no etag.
fn not_changed_yet(found: &Found) -> Instance {
    Instance {
        etag: String::new(),
        ..messages::instance(found)
    }
}
