//! Conversions between the domain's types and the messages of the contracts. Nothing is decided here.

mod identity;
mod operation;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hamlet_proto::hamlet::instance::v1::{
    self as pb, CreateInstanceRequest, CreateInstanceResult, DeleteInstanceResult, Instance,
    RegisterLink, RemovedCount, Tenant,
};
use service_kit::{
    contexts::{Context, Contexts, Subdomains},
    status,
};
use tonic::Status;

use crate::{
    actions::check_context::{Finding, Verdict},
    clock::Clock,
    config::Config,
    domain::{
        conflict::Conflict,
        fields::{Asked, Documents},
        instance::InstanceDocument,
        name::Name,
        orphan::{Orphan, OrphanKind},
        record::Record,
        removed::Removed,
        spec::{InvalidField, Spec},
    },
    operations::{
        Operation, Work,
        backend::Backends,
        create::{AppOutcome, CreateWork},
        destroy::DestroyWork,
        engine::Task,
    },
    store::Found,
};

pub(crate) use self::identity::{identity, rules, who};
pub(crate) use self::operation::{
    OPERATION_ID_LENGTH, checked, checked_change, operation, operation_id,
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

/// The link with which the owner of an instance chooses a new passphrase; empty once it was used or has expired.
pub(crate) fn reset_link(
    config: &Config,
    clock: &Clock,
    document: &InstanceDocument,
) -> pb::ResetLink {
    let (token, end) = document.reset_token();
    let token = STANDARD.decode(token).map(hex::encode);
    match token {
        Ok(token) if !token.is_empty() && end > clock.now() => pb::ResetLink {
            link: format!(
                "{}auth/passphrase_renew?token={token}",
                config.url_of(&document.domain)
            ),
            expire_time: Some(timestamp(end)),
        },
        _ => pb::ResetLink::default(),
    }
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

/// A context of the configuration.
pub(crate) fn context(contexts: &Contexts, backends: &Backends, name: &str) -> pb::Context {
    let context = contexts.get(name);
    pb::Context {
        backend: backend(&context),
        admin_backend: backends
            .of(name)
            .map(|backend| backend.address().to_owned())
            .unwrap_or_default(),
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

/// The server that serves the instances of a context in Hamlet's stead.
pub(crate) fn backend(context: &Context) -> Option<pb::Backend> {
    let addresses: Vec<_> = context.backend.iter().map(ToString::to_string).collect();
    (!addresses.is_empty()).then(|| pb::Backend {
        addresses,
        own: context
            .own
            .iter()
            .map(|group| group.name().to_owned())
            .collect(),
    })
}

/// What a check of a context has found at one place.
pub(crate) fn finding(finding: Finding) -> pb::check_context_response::Finding {
    use pb::check_context_response::Verdict as Message;
    let verdict = match finding.verdict {
        Verdict::Fine => Message::Fine,
        Verdict::Notice => Message::Notice,
        Verdict::Problem => Message::Problem,
    };
    pb::check_context_response::Finding {
        subject: finding.subject,
        verdict: verdict.into(),
        detail: finding.detail,
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
    let mut warnings = task.envelope.warnings.clone();
    // The port may have changed since the creation.
    for warning in link.warnings {
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
    CreateInstanceResult {
        instance: document.map(|document| just_created(task, document)),
        apps: apps(&task.work.apps),
        register_link: link.link,
        register_token: link.token,
        warnings,
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
