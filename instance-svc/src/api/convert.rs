//! The domain's types as messages, and back.

use hamlet_proto::{
    google::{longrunning, rpc},
    hamlet::instance::v1::{
        self as pb, CreateInstanceRequest, CreateInstanceResult, DeleteInstanceResult, Instance,
        OperationMetadata, PurgeOrphansResult, RegisterLink, RemovedCount, Tenant,
        operation_metadata,
    },
    pack,
};
use prost::Message as _;
use prost_types::{Any, Timestamp};
use serde_json::{Map, Value};
use service_kit::status::{self, StatusBuilder};
use tonic::{Code, Status};

use crate::{
    actions::{find::Found, list::Row, resolve::Resolved},
    clock,
    config::Config,
    domain::{
        instance::{InstanceDocument, settings_document},
        operation::{Operation, Phase, Removed, Work},
        orphan::{Orphan, OrphanKind},
        record::Record,
        spec::{InvalidField, Spec},
    },
};

/// What is asked of a creation. A field that cannot take effect yet is refused, never dropped.
pub(super) fn spec(request: CreateInstanceRequest) -> Result<Spec, Status> {
    let instance = request
        .instance
        .ok_or_else(|| status::invalid_field("instance", "is missing; give at least its domain"))?;
    let auth_mode = auth_mode(instance.auth_mode)?;
    for (field, given) in [
        ("instance.prefix", !instance.prefix.is_empty()),
        ("instance.id", !instance.id.is_empty()),
        ("instance.blocked", instance.blocked),
        (
            "instance.blocking_reason",
            !instance.blocking_reason.is_empty(),
        ),
        ("instance.onboarding_finished", instance.onboarding_finished),
        (
            "instance.password_defined",
            instance.password_defined.is_some(),
        ),
        ("instance.indexes_version", instance.indexes_version != 0),
        ("instance.locked", instance.locked),
        ("instance.deleting", instance.deleting),
        ("instance.debug_until", instance.debug_until.is_some()),
    ] {
        if given {
            return Err(status::invalid_field(
                field,
                "cannot be chosen at creation; leave it out",
            ));
        }
    }
    Ok(Spec {
        domain: instance.domain,
        domain_aliases: instance.domain_aliases,
        old_domain: instance.old_domain,
        locale: instance.locale,
        context: instance.context,
        email: instance.email,
        public_name: instance.public_name,
        timezone: instance.timezone,
        phone: instance.phone,
        settings: instance.settings.into_iter().collect(),
        uuid: instance.uuid,
        oidc_id: instance.oidc_id,
        franceconnect_id: instance.franceconnect_id,
        magic_link: instance.magic_link,
        sponsorships: instance.sponsorships,
        tos_signed: instance.tos_signed,
        tos_latest: instance.tos_latest,
        auth_mode,
        no_auto_update: instance.no_auto_update,
        disk_quota_bytes: instance.disk_quota_bytes,
        apps: request.apps,
        couch_cluster: instance.couch_cluster,
        trace: request.trace,
    })
}

/// How an owner proves who they are, as instance documents keep it.
pub(super) fn auth_mode(mode: i32) -> Result<i64, Status> {
    match pb::instance::AuthMode::try_from(mode) {
        Ok(pb::instance::AuthMode::Unspecified | pb::instance::AuthMode::Basic) => Ok(0),
        Ok(pb::instance::AuthMode::TwoFactorMail) => Ok(1),
        Ok(pb::instance::AuthMode::TwoFactorOidc) => Ok(2),
        Err(_) => Err(status::invalid_field(
            "instance.auth_mode",
            format!("{mode} is no mode; use BASIC, TWO_FACTOR_MAIL or TWO_FACTOR_OIDC"),
        )),
    }
}

/// A time as documents keep it, RFC 3339.
pub(super) fn time(field: &str, time: &Timestamp) -> Result<String, Status> {
    clock::from_unix(time.seconds, time.nanos)
        .ok_or_else(|| status::invalid_field(field, "is no time between the years 1 and 9999"))
}

/// The instance that a spec would become.
pub(super) fn preview(spec: &Spec) -> Instance {
    Instance {
        name: format!("instances/{}", spec.domain),
        domain: spec.domain.clone(),
        domain_aliases: spec.domain_aliases.clone(),
        locale: spec.locale.clone(),
        context: spec.context.clone(),
        email: spec.email.clone(),
        public_name: spec.public_name.clone(),
        timezone: spec.timezone.clone(),
        phone: spec.phone.clone(),
        franceconnect_id: spec.franceconnect_id.clone(),
        magic_link: spec.magic_link,
        disk_quota_bytes: spec.disk_quota_bytes,
        couch_cluster: spec.couch_cluster,
        ..Instance::default()
    }
}

fn from_document(id: &str, document: &InstanceDocument) -> Instance {
    let auth_mode = match document.auth_mode {
        1 => pb::instance::AuthMode::TwoFactorMail,
        2 => pb::instance::AuthMode::TwoFactorOidc,
        _ => pb::instance::AuthMode::Basic,
    };
    Instance {
        name: format!("instances/{}", document.domain),
        id: id.to_owned(),
        domain: document.domain.clone(),
        domain_aliases: document.domain_aliases.clone(),
        prefix: document.prefix.clone(),
        locale: document.locale.clone(),
        context: document.context.clone(),
        state: state(document).into(),
        uuid: document.uuid.clone(),
        oidc_id: document.oidc_id.clone(),
        franceconnect_id: document.franceconnect_id.clone(),
        old_domain: document.old_domain.clone(),
        sponsorships: document.sponsorships.clone(),
        tos_signed: document.tos.clone(),
        tos_latest: document.tos_latest.clone(),
        auth_mode: auth_mode.into(),
        magic_link: document.magic_link,
        blocked: document.blocked,
        blocking_reason: document.blocking_reason.clone(),
        no_auto_update: document.no_auto_update,
        deleting: document.deleting,
        onboarding_finished: document.onboarding_finished,
        password_defined: document.password_defined,
        disk_quota_bytes: document.disk_quota.parse().unwrap_or_default(),
        indexes_version: i32::try_from(document.indexes_version).unwrap_or_default(),
        couch_cluster: i32::try_from(document.couch_cluster).ok(),
        ..Instance::default()
    }
}

/// What our own document tells of an instance.
fn take_record(instance: &mut Instance, record: &Record) {
    instance.create_time = timestamp(&record.created_at);
    instance.operation = operation_name(record.operation.as_deref());
    instance.locked = record.locked;
    instance.debug_until = record.debug_until.as_deref().and_then(timestamp);
    if !instance.onboarding_finished {
        instance.register_expire_time = record.register_expires_at.as_deref().and_then(timestamp);
    }
    instance.delete_time = record.deleted_at.as_deref().and_then(timestamp);
    instance.purge_time = record.purge_at.as_deref().and_then(timestamp);
    if record.deleted_at.is_some() && !instance.deleting {
        instance.set_state(pb::instance::State::Deleted);
    }
}

fn state(document: &InstanceDocument) -> pb::instance::State {
    if document.deleting {
        pb::instance::State::Deleting
    } else if document.blocked {
        pb::instance::State::Blocked
    } else if document.onboarding_finished {
        pb::instance::State::Onboarded
    } else if document.register_token.is_empty() {
        pb::instance::State::Pending
    } else {
        pb::instance::State::Onboarding
    }
}

/// An instance in a list: without what lies in its settings.
pub(super) fn listed(row: &Row) -> Instance {
    let mut instance = from_document(&row.id, &row.document);
    take_record(&mut instance, &row.record);
    instance
}

/// An instance with all that is known of it, and no secret.
pub(super) fn instance(found: &Found) -> Instance {
    let mut instance = Instance {
        etag: found.etag(),
        ..from_document(&found.id, &found.document.body)
    };
    if let Some(record) = &found.record {
        take_record(&mut instance, &record.body);
    }
    if let Some(settings) = &found.settings {
        take_settings(&mut instance, &settings.body);
    }
    instance
}

fn take_settings(instance: &mut Instance, settings: &Map<String, Value>) {
    for (name, value) in settings {
        // Other software may keep more than text here; it is not shown.
        let Some(value) = value.as_str().map(str::to_owned) else {
            continue;
        };
        match name.as_str() {
            "tz" => instance.timezone = value,
            "email" => instance.email = value,
            "public_name" => instance.public_name = value,
            "phone" => instance.phone = value,
            _ => {
                instance.settings.insert(name.clone(), value);
            }
        }
    }
}

fn operation_name(id: Option<&str>) -> String {
    id.map(|id| format!("operations/{id}")).unwrap_or_default()
}

pub(super) fn timestamp(text: &str) -> Option<Timestamp> {
    let time = clock::parse(text)?;
    Some(Timestamp {
        seconds: time.unix_timestamp(),
        nanos: i32::try_from(time.nanosecond()).ok()?,
    })
}

/// The register link of an instance, while it has one.
pub(super) fn register_link(config: &Config, document: &InstanceDocument) -> Option<RegisterLink> {
    let token = document.register_token_hex()?;
    Some(RegisterLink {
        link: format!("{}?registerToken={token}", config.url_of(&document.domain)),
        token,
        expire_time: None,
    })
}

/// The instance that calls from a host are for.
pub(super) fn tenant(config: &Config, resolved: &Resolved) -> Tenant {
    let document = &resolved.document;
    Tenant {
        id: resolved.id.clone(),
        domain: document.domain.clone(),
        prefix: document.database_prefix().to_owned(),
        context: document.context.clone(),
        locale: document.locale.clone(),
        url: config.url_of(&document.domain),
        // One that no message can hold is in no list either: services refuse it.
        couch_cluster: i32::try_from(document.couch_cluster).unwrap_or(-1),
        debug: resolved
            .record
            .as_ref()
            .and_then(|record| record.debug_until.as_deref())
            .is_some_and(|end| !clock::until(end).is_zero()),
    }
}

/// An orphan for callers.
pub(super) fn orphan(orphan: Orphan) -> pb::Orphan {
    let kind = match orphan.kind {
        OrphanKind::Database => pb::orphan::Kind::Database,
        OrphanKind::Claim => pb::orphan::Kind::Claim,
        OrphanKind::Contents => pb::orphan::Kind::Contents,
        OrphanKind::Document => pb::orphan::Kind::Document,
    };
    pb::Orphan {
        kind: kind.into(),
        name: orphan.name,
        reason: orphan.reason,
        count: i64::try_from(orphan.count).unwrap_or(i64::MAX),
    }
}

/// Reads an id out of `operations/{id}`.
pub(super) fn operation_id(name: &str) -> Result<String, InvalidField> {
    match name.strip_prefix("operations/") {
        Some(id) if !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            Ok(id.to_owned())
        }
        _ => Err(InvalidField {
            field: "name".to_owned(),
            wrong: "is no name of an operation; it looks like operations/0123456789abcdef"
                .to_owned(),
        }),
    }
}

/// An operation as callers see it. `position` is its place in line while it waits there; `created` is the instance that a creation made, when it has ended well
/// and the instance still exists.
pub(super) fn operation(
    id: &str,
    operation: &Operation,
    position: Option<usize>,
    created: Option<(&InstanceDocument, &Config)>,
) -> longrunning::Operation {
    longrunning::Operation {
        name: format!("operations/{id}"),
        metadata: Some(pack(&metadata(operation, position))),
        done: operation.phase.is_end(),
        result: result(operation, created),
    }
}

fn result(
    operation: &Operation,
    created: Option<(&InstanceDocument, &Config)>,
) -> Option<longrunning::operation::Result> {
    match operation.phase {
        Phase::Queued | Phase::Running | Phase::Unwinding => None,
        Phase::Failed => Some(longrunning::operation::Result::Error(failure(operation))),
        Phase::Succeeded => Some(longrunning::operation::Result::Response(
            match operation.work {
                Work::Create { .. } => pack(&created_result(operation, created)),
                Work::Destroy { .. } | Work::Change { .. } => pack(&DeleteInstanceResult {
                    domain: operation.domain.clone(),
                    removed: removed(&operation.removed),
                    leftovers: operation.leftovers.clone(),
                    ..DeleteInstanceResult::default()
                }),
                Work::PurgeOrphans => pack(&PurgeOrphansResult {
                    removed: removed(&operation.removed),
                }),
            },
        )),
    }
}

fn failure(operation: &Operation) -> rpc::Status {
    let (code, reason, message) = operation.error.as_ref().map_or_else(
        || {
            let message = "the operation failed for a reason that was not kept".to_owned();
            (Code::Unknown, String::new(), message)
        },
        |error| {
            (
                Code::from_i32(error.code),
                error.reason.clone(),
                error.message.clone(),
            )
        },
    );
    let status = StatusBuilder::new(code, &reason, message).build();
    // The details of a tonic status are an encoded google.rpc.Status already.
    rpc::Status::decode(status.details()).unwrap_or_else(|_| rpc::Status {
        code: status.code() as i32,
        message: status.message().to_owned(),
        details: Vec::<Any>::new(),
    })
}

fn created_result(
    operation: &Operation,
    created: Option<(&InstanceDocument, &Config)>,
) -> CreateInstanceResult {
    let link = created
        .and_then(|(document, config)| register_link(config, document))
        .unwrap_or_default();
    CreateInstanceResult {
        instance: created.map(|(document, _)| just_created(operation, document)),
        apps: operation
            .apps
            .iter()
            .map(|app| pb::AppOutcome {
                source: app.source.clone(),
                slug: app.slug.clone(),
                version: app.version.clone(),
                error: app.error.clone(),
            })
            .collect(),
        register_link: link.link,
        register_token: link.token,
        warnings: operation.warnings.clone(),
    }
}

/// An instance as its creation left it. Its settings are those that were asked for: reading them again would
/// be one more request in every creation.
fn just_created(operation: &Operation, document: &InstanceDocument) -> Instance {
    let mut instance = Instance {
        create_time: timestamp(&operation.created_at),
        ..from_document(&operation.instance, document)
    };
    if let Some(spec) = operation.spec() {
        take_settings(&mut instance, &settings_document(spec));
    }
    instance
}

/// What was or would be removed, by kind.
pub(super) fn removed(removed: &Removed) -> Vec<RemovedCount> {
    [
        ("databases", removed.databases),
        ("objects", removed.objects),
        ("documents", removed.documents),
        ("claims", removed.claims),
    ]
    .into_iter()
    .map(|(kind, count)| RemovedCount {
        kind: kind.to_owned(),
        count: i64::try_from(count).unwrap_or(i64::MAX),
    })
    .collect()
}

fn metadata(operation: &Operation, position: Option<usize>) -> OperationMetadata {
    let waiting = operation.next_try.is_some();
    let phase = match operation.phase {
        Phase::Queued => operation_metadata::Phase::Queued,
        Phase::Running if waiting => operation_metadata::Phase::Waiting,
        Phase::Running => operation_metadata::Phase::Running,
        Phase::Unwinding => operation_metadata::Phase::Unwinding,
        Phase::Succeeded | Phase::Failed => operation_metadata::Phase::Done,
    };
    OperationMetadata {
        kind: operation.kind().to_owned(),
        domain: operation.domain.clone(),
        phase: phase.into(),
        steps: steps(operation),
        attempt: i32::try_from(operation.attempt).unwrap_or(i32::MAX),
        create_time: timestamp(&operation.created_at),
        update_time: timestamp(&operation.updated_at),
        next_try_time: operation.next_try.as_deref().and_then(timestamp),
        last_error: operation
            .error
            .as_ref()
            .map(|error| error.message.clone())
            .unwrap_or_default(),
        queue_position: position.and_then(|position| i32::try_from(position).ok()),
        cancel_requested: operation.cancel_requested,
        cancellable: operation.phase != Phase::Unwinding && operation.refuses_cancel().is_none(),
    }
}

fn steps(operation: &Operation) -> Vec<pb::Step> {
    operation
        .steps()
        .iter()
        .enumerate()
        .map(|(position, step)| {
            let state = match operation.phase {
                Phase::Unwinding | Phase::Failed if position >= operation.step => {
                    pb::step::State::Undone
                }
                _ if position < operation.step => pb::step::State::Done,
                Phase::Running if position == operation.step => pb::step::State::Running,
                _ => pb::step::State::Pending,
            };
            let duration = operation
                .durations
                .iter()
                .rev()
                .find(|(name, _)| name == step.name())
                .and_then(|(_, ms)| {
                    prost_types::Duration::try_from(std::time::Duration::from_millis(*ms)).ok()
                });
            pb::Step {
                name: step.name().to_owned(),
                state: state.into(),
                duration,
            }
        })
        .collect()
}

/// A call that only checked: an operation without a name that has ended.
pub(super) fn checked<M: prost::Message + prost::Name>(response: &M) -> longrunning::Operation {
    longrunning::Operation {
        name: String::new(),
        metadata: None,
        done: true,
        result: Some(longrunning::operation::Result::Response(pack(response))),
    }
}
