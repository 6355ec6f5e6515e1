//! The fields that the service sets; callers can only read them.

use hamlet_proto::hamlet::instance::v1 as pb;

use super::{Documents, timestamp};
use crate::domain::state::State;

/// A field that the service sets.
pub(super) struct ByService {
    /// Its path in the contract.
    pub path: &'static str,
    /// Reads its value out of the documents.
    pub read: fn(&Documents, &mut pb::Instance),
    /// Whether a creation refuses a message that sets the field. Other output-only fields are ignored
    /// (AIP-203): a caller may send back what it has read of another instance.
    pub refused: fn(&pb::Instance) -> bool,
    /// Updates its copy in the record from the instance document.
    pub copy: fn(&mut Documents),
}

const fn field(path: &'static str, read: fn(&Documents, &mut pb::Instance)) -> ByService {
    ByService {
        path,
        read,
        refused: |_| false,
        copy: |_| {},
    }
}

impl ByService {
    const fn refused(self, refused: fn(&pb::Instance) -> bool) -> Self {
        Self { refused, ..self }
    }

    const fn copied(self, copy: fn(&mut Documents)) -> Self {
        Self { copy, ..self }
    }
}

/// All fields that the service sets.
pub(super) const ALL: &[ByService] = &[
    field("name", |from, into| {
        into.name = format!("instances/{}", from.instance.domain);
    }),
    field("id", |from, into| into.id.clone_from(&from.id)).refused(|asked| !asked.id.is_empty()),
    field("etag", |from, into| into.etag.clone_from(&from.etag)),
    field("prefix", |from, into| {
        into.prefix.clone_from(&from.instance.prefix);
    })
    .refused(|asked| !asked.prefix.is_empty())
    .copied(|it| it.record.prefix.clone_from(&it.instance.prefix)),
    field("state", |from, into| {
        into.set_state(match State::of(&from.instance, Some(&from.record)) {
            State::Deleting => pb::instance::State::Deleting,
            State::Deleted => pb::instance::State::Deleted,
            State::Blocked => pb::instance::State::Blocked,
            State::Onboarded => pb::instance::State::Onboarded,
            State::Onboarding => pb::instance::State::Onboarding,
            State::Pending => pb::instance::State::Pending,
        });
    }),
    field("password_defined", |from, into| {
        into.password_defined = from.instance.password_defined;
    })
    .refused(|asked| asked.password_defined.is_some()),
    field("indexes_version", |from, into| {
        into.indexes_version = i32::try_from(from.instance.indexes_version).unwrap_or_default();
    })
    .refused(|asked| asked.indexes_version != 0),
    field("create_time", |from, into| {
        into.create_time = from.record.created_at.map(timestamp);
    }),
    field("operation", |from, into| {
        into.operation = from
            .record
            .operation
            .as_ref()
            .map_or_else(String::new, |id| format!("operations/{id}"));
    }),
    field("register_expire_time", |from, into| {
        if !from.instance.onboarding_finished {
            into.register_expire_time = from.record.register_expires_at.map(timestamp);
        }
    }),
    field("delete_time", |from, into| {
        into.delete_time = from.record.deleted_at.map(timestamp);
    }),
    field("purge_time", |from, into| {
        into.purge_time = from.record.purge_at.map(timestamp);
    }),
    // They follow from the configuration, and are added where one instance is shown.
    field("warnings", |_, _| {}),
];
