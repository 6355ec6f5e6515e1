//! Conversions between the domain's types and the messages of the contracts. Nothing is decided here.

use hamlet_proto::{
    google::{longrunning, rpc},
    hamlet::instance::v1::{
        self as pb, CreateInstanceRequest, CreateInstanceResult, DeleteInstanceResult, Instance,
        OperationMetadata, RegisterLink, RemovedCount, Tenant, operation_metadata,
    },
    pack,
};
use prost::Message as _;
use prost_types::Any;
use service_kit::{
    contexts::{Contexts, Subdomains},
    status,
};
use tonic::{Code, Status};

use crate::{
    clock::Clock,
    config::Config,
    domain::{
        change::Change,
        conflict::Conflict,
        fields::{Asked, Documents},
        instance::InstanceDocument,
        name::Name,
        operation::Phase,
        orphan::{Orphan, OrphanKind},
        record::Record,
        removed::Removed,
        spec::{InvalidField, Spec},
    },
    operations::{
        Operation, Work,
        create::{APPS_STEP, AppOutcome, CreateWork},
        destroy::DestroyWork,
        engine::Task,
    },
    store::Found,
};

pub(crate) use crate::domain::fields::timestamp;

/// The spec of a requested creation, and the fields that cannot be chosen at creation. A field that has no effect yet is
/// refused, never ignored.
pub(crate) fn spec(request: CreateInstanceRequest) -> Result<(Spec, Vec<InvalidField>), Status> {
    let instance = request
        .instance
        .ok_or_else(|| status::invalid_field("instance", "is missing; give at least its domain"))?;
    let (asked, wrong) = Asked::at_creation(&instance);
    let spec = Spec {
        asked,
        apps: request.apps,
        trace: request.trace,
    };
    Ok((spec, wrong))
}

/// The instance that would be created from a spec.
pub(crate) fn preview(spec: &Spec) -> Instance {
    let mut instance = spec.documents().show_before_creation();
    if spec.couch_cluster().is_none() {
        // The id is drawn when the creation is accepted.
        instance.couch_cluster = None;
    }
    instance
}

/// An instance that an operation is creating. `None` when the operation is of another kind.
pub(crate) fn being_created(id: &str, operation: &Operation) -> Option<Instance> {
    let Work::Create(work) = &operation.work else {
        return None;
    };
    let mut instance = Instance {
        id: operation.instance.clone(),
        prefix: operation.prefix.clone(),
        operation: format!("operations/{id}"),
        create_time: Some(timestamp(operation.created_at)),
        couch_cluster: i32::try_from(operation.couch_cluster).ok(),
        ..work.spec.documents().show_before_creation()
    };
    instance.set_state(pb::instance::State::Creating);
    Some(instance)
}

/// An instance in a list: without the fields that its settings document holds.
pub(crate) fn listed(id: String, document: InstanceDocument, record: Record) -> Instance {
    let documents = Documents {
        id,
        instance: document,
        record,
        ..Documents::default()
    };
    documents.show_in_list()
}

/// An instance with all fields, and without secrets.
pub(crate) fn instance(found: &Found) -> Instance {
    let record = found.record.as_ref().map(|record| record.body.clone());
    let settings = found
        .settings
        .as_ref()
        .map(|settings| settings.body.clone());
    let documents = Documents {
        id: found.id.clone(),
        etag: found.etag(),
        instance: found.document.body.clone(),
        settings: settings.unwrap_or_default(),
        record: record.unwrap_or_default(),
    };
    documents.show()
}

/// The register link of an instance, while it is valid.
pub(crate) fn register_link(config: &Config, document: &InstanceDocument) -> Option<RegisterLink> {
    let token = document.register_token_hex()?;
    Some(RegisterLink {
        link: format!("{}?registerToken={token}", config.url_of(&document.domain)),
        token,
        expire_time: None,
        warnings: out_of_reach(config, [&document.domain]),
    })
}

/// Warnings of names under which nobody finds the instance.
fn out_of_reach<'a>(config: &Config, names: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    let names = names.into_iter();
    let names = names.filter_map(|name| name.parse::<Name>().ok());
    names
        .filter_map(|name| config.out_of_reach(&name))
        .collect()
}

/// An instance as it is shown alone: with warnings.
pub(crate) fn shown(config: &Config, found: &Found) -> Instance {
    let instance = instance(found);
    let names = [&instance.domain]
        .into_iter()
        .chain(&instance.domain_aliases);
    Instance {
        warnings: out_of_reach(config, names),
        ..instance
    }
}

/// The register link of an instance, valid or expired.
pub(crate) fn link_of(config: &Config, found: &Found) -> Option<RegisterLink> {
    let link = register_link(config, &found.document.body)?;
    let record = found.record.as_ref();
    let expires_at = record.and_then(|record| record.body.register_expires_at);
    Some(RegisterLink {
        expire_time: expires_at.map(timestamp),
        ..link
    })
}

/// The instance that calls to a host address.
pub(crate) fn tenant(
    config: &Config,
    clock: &Clock,
    id: &str,
    document: &InstanceDocument,
    record: Option<&Record>,
) -> Tenant {
    Tenant {
        id: id.to_owned(),
        domain: document.domain.clone(),
        prefix: document.database_prefix().to_owned(),
        context: document.context.clone(),
        locale: document.locale.clone(),
        url: config.url_of(&document.domain),
        // A position too large for a message is in no list; services refuse it.
        couch_cluster: i32::try_from(document.couch_cluster).unwrap_or(-1),
        debug: record
            .and_then(|record| record.debug_until)
            .is_some_and(|end| end > clock.now()),
    }
}

/// An orphan as a message.
pub(crate) fn orphan(orphan: Orphan) -> pb::Orphan {
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

/// A name that several instances have.
pub(crate) fn conflict(conflict: Conflict) -> pb::NameConflict {
    let contenders = conflict.contenders.into_iter();
    pb::NameConflict {
        name: conflict.name,
        contenders: contenders
            .map(|it| pb::name_conflict::Contender {
                id: it.id,
                domain: it.domain,
                alias: it.is_alias,
                has_claim: it.has_claim,
            })
            .collect(),
    }
}

/// The length of an operation's id, in characters.
pub(crate) const OPERATION_ID_LENGTH: usize = 32;

/// The id in the name of an operation.
///
/// # Errors
/// When the name has another form.
pub(crate) fn operation_id(name: &str) -> Result<String, InvalidField> {
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

/// An operation as a message. `position` is its position in the queue while it waits; `response` is the
/// response of an operation that succeeded.
pub(crate) fn operation(
    id: &str,
    operation: &Operation,
    position: Option<usize>,
    response: Option<Any>,
) -> longrunning::Operation {
    let result = match operation.phase {
        Phase::Queued | Phase::Running | Phase::Unwinding => None,
        Phase::Failed => Some(longrunning::operation::Result::Error(failure(operation))),
        Phase::Succeeded => response.map(longrunning::operation::Result::Response),
    };
    longrunning::Operation {
        name: format!("operations/{id}"),
        metadata: Some(pack(&metadata(operation, position))),
        done: operation.phase.is_end(),
        result,
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
    let status = status::StatusBuilder::new(code, &reason, message).build();
    // The details of a tonic status are an encoded google.rpc.Status already.
    rpc::Status::decode(status.details()).unwrap_or_else(|_| rpc::Status {
        code: status.code() as i32,
        message: status.message().to_owned(),
        details: Vec::<Any>::new(),
    })
}

/// A context of the configuration.
pub(crate) fn context(contexts: &Contexts, name: &str) -> pb::Context {
    let context = contexts.get(name);
    pb::Context {
        name: name.to_owned(),
        registries: contexts.registries(name),
        init_administrative_folder: context.init_administrative_folder,
        init_photos_folder: context.init_photos_folder,
        subdomains: match context.subdomains {
            Subdomains::Nested => "nested",
            Subdomains::Flat => "flat",
        }
        .to_owned(),
        operator: operator(contexts, name),
        storage: context
            .storage
            .map(|folder| folder.display().to_string())
            .unwrap_or_default(),
    }
}

/// Who runs the installation, as a context says.
pub(crate) fn operator(contexts: &Contexts, name: &str) -> Option<pb::Operator> {
    contexts.operator(name).map(|it| pb::Operator {
        name: it.name,
        contact: it.contact,
        link: it.link,
    })
}

/// What came of each app.
pub(crate) fn apps(apps: &[AppOutcome]) -> Vec<pb::AppOutcome> {
    apps.iter()
        .map(|app| pb::AppOutcome {
            source: app.source.clone(),
            slug: app.slug.clone(),
            version: app.version.clone(),
            error: app.error.clone(),
        })
        .collect()
}

/// The result of a creation; `document` is the instance, if it is to be included.
pub(crate) fn created(
    task: Task<'_, CreateWork>,
    document: Option<&InstanceDocument>,
    config: &Config,
) -> CreateInstanceResult {
    let link = document
        .and_then(|document| register_link(config, document))
        .unwrap_or_default();
    CreateInstanceResult {
        instance: document.map(|document| just_created(task, document)),
        apps: apps(&task.work.apps),
        register_link: link.link,
        register_token: link.token,
        warnings: task.envelope.warnings.clone(),
    }
}

/// An instance as its creation left it. Its settings are the requested ones: reading them again would cost one
/// more request in every creation.
fn just_created(task: Task<'_, CreateWork>, document: &InstanceDocument) -> Instance {
    let asked = task.work.spec.documents();
    let documents = Documents {
        id: task.envelope.instance.clone(),
        instance: document.clone(),
        record: Record {
            created_at: Some(task.envelope.created_at),
            // The fields that only Hamlet has, such as the labels.
            ..asked.record
        },
        ..asked
    };
    documents.show()
}

/// The result of a destruction.
pub(crate) fn destroyed(task: Task<'_, DestroyWork>) -> DeleteInstanceResult {
    DeleteInstanceResult {
        domain: task.envelope.domain.clone(),
        removed: removed(&task.work.removed),
        leftovers: task.work.leftovers.clone(),
        last_look_time: task.work.last_look.as_ref().map(|look| timestamp(look.at)),
        last_look_found: task
            .work
            .last_look
            .as_ref()
            .map_or_else(Vec::new, |look| look.found.clone()),
        abandoned_accounts: task.work.abandoned.clone(),
        ..DeleteInstanceResult::default()
    }
}

/// What was or would be removed, by type.
pub(crate) fn removed(removed: &Removed) -> Vec<RemovedCount> {
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
        create_time: Some(timestamp(operation.created_at)),
        update_time: Some(timestamp(operation.updated_at)),
        next_try_time: operation.next_try.map(timestamp),
        last_error: operation
            .error
            .as_ref()
            .map(|error| error.message.clone())
            .unwrap_or_default(),
        queue_position: position.and_then(|position| i32::try_from(position).ok()),
        cancel_requested: operation.cancel_requested,
        cancellable: operation.phase != Phase::Unwinding && operation.refuses_cancel().is_none(),
        warnings: operation.warnings.clone(),
        end_time: operation.ended_at.map(timestamp),
        changed_fields: match &operation.work {
            Work::Change(work) => work.change.asked.paths(),
            Work::Create(_) | Work::Destroy(_) | Work::PurgeOrphans(_) => Vec::new(),
        },
        unchanged_fields: match &operation.work {
            Work::Change(work) => work.unchanged.clone(),
            Work::Create(_) | Work::Destroy(_) | Work::PurgeOrphans(_) => Vec::new(),
        },
    }
}

/// What a step works on.
fn detail(operation: &Operation, step: &str) -> String {
    match &operation.work {
        Work::Create(work) if step == APPS_STEP => work.spec.apps.join(", "),
        Work::Create(_) | Work::Destroy(_) | Work::Change(_) | Work::PurgeOrphans(_) => {
            String::new()
        }
    }
}

fn steps(operation: &Operation) -> Vec<pb::Step> {
    operation
        .steps()
        .enumerate()
        .map(|(position, step)| {
            let state = match operation.phase {
                Phase::Unwinding | Phase::Failed
                    if position >= operation.reached && operation.reached > 0 =>
                {
                    pb::step::State::Pending
                }
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
                .find(|(name, _)| name == step.name)
                .and_then(|(_, ms)| {
                    prost_types::Duration::try_from(std::time::Duration::from_millis(*ms)).ok()
                });
            pb::Step {
                name: step.name.to_owned(),
                state: state.into(),
                duration,
                detail: detail(operation, step.name),
            }
        })
        .collect()
}

/// The result of a validate-only call: an ended operation without a name.
pub(crate) fn checked<M: prost::Message + prost::Name>(response: &M) -> longrunning::Operation {
    longrunning::Operation {
        name: String::new(),
        metadata: None,
        done: true,
        result: Some(longrunning::operation::Result::Response(pack(response))),
    }
}

/// As [`checked`], for a change: with the fields that it would set, those of them that are so already, and warnings.
pub(crate) fn checked_change<M: prost::Message + prost::Name>(
    response: &M,
    change: &Change,
    unchanged: Vec<String>,
    warnings: Vec<String>,
) -> longrunning::Operation {
    let metadata = OperationMetadata {
        kind: change.kind.name().to_owned(),
        warnings,
        changed_fields: change.asked.paths(),
        unchanged_fields: unchanged,
        ..OperationMetadata::default()
    };
    longrunning::Operation {
        metadata: Some(pack(&metadata)),
        ..checked(response)
    }
}
