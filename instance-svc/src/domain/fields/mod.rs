//! The fields of an instance: how each is checked, written and read.
//!
//! This module acts on the table in [`hamlet_proto::fields`], which describes each field. A field that callers
//! can set has a rule in [`SETTABLE`], a field that the service sets has one in [`BY_SERVICE`], each under its
//! path in the contract. All code that handles fields in general uses these two tables:
//!
//! - a creation writes the requested values into empty documents, a change into the existing ones; a dry run
//!   does the same and stores nothing;
//! - responses and lists read all fields from the documents;
//! - masks, and the field that a refusal names, follow from the paths.
//!
//! A field without special behaviour is one line of the table ([`plain!`]); each other field has a file.
//!
//! The rules use the message `Instance`, unlike the rest of the domain. With the conversion in `api`, each
//! field would be in two places of this service, without a gain: the message is plain data, like the documents.

mod asked;
mod auth_mode;
mod blocking;
mod by_service;
mod cluster;
mod disk_quota;
mod features;
pub mod formats;
mod labels;
mod locale;
mod names;
mod rule;
mod settings;
mod switches;
mod terms;
mod times;

use std::sync::LazyLock;

use hamlet_proto::{
    fields::{self, Field, Kept},
    hamlet::instance::v1 as pb,
};
use serde_json::{Map, Value};

pub use self::{
    asked::Asked,
    auth_mode::AuthMode,
    blocking::UNKNOWN,
    names::MOST_ALIASES,
    rule::{CheckContext, Now, Settable},
    times::timestamp,
};
use self::{by_service::ByService, rule::plain};
use super::{instance::InstanceDocument, record::Record};

/// The documents of an instance that hold its fields.
#[derive(Clone, Debug, Default)]
pub struct Documents {
    /// Their id.
    pub id: String,
    /// Their etag; empty when unknown.
    pub etag: String,
    /// The compatible document in `global/instances`.
    pub instance: InstanceDocument,
    /// The owner's settings; empty when they were not read.
    pub settings: Map<String, Value>,
    /// The record in `global/hamlet-instances`.
    pub record: Record,
}

/// The fields that callers can set, in the order in which they are checked and written. A rule may depend on
/// fields before it.
pub static SETTABLE: &[&dyn Settable] = &[
    &names::Domain,
    &names::Aliases,
    &names::OldDomain,
    &locale::Locale,
    &plain!(context: instance.context, formats::text::check).copied(|it| &mut it.record.context),
    &settings::Further,
    &settings::timezone(),
    &settings::email(),
    &settings::public_name(),
    &settings::phone(),
    &plain!(uuid: instance.uuid, formats::id::check_uuid),
    &plain!(oidc_id: instance.oidc_id, formats::id::check_subject),
    &plain!(franceconnect_id: instance.franceconnect_id, formats::id::check_subject),
    &plain!(org_domain: instance.org_domain, formats::id::check_org_domain),
    &plain!(org_id: instance.org_id, formats::id::check_uuid),
    &plain!(magic_link: instance.magic_link),
    &plain!(sponsorships: instance.sponsorships, formats::sponsorship::check),
    &terms::Signed,
    &terms::Latest,
    &auth_mode::Rule,
    &plain!(no_auto_update: instance.no_auto_update),
    &disk_quota::DiskQuota,
    &cluster::CouchCluster,
    &blocking::Blocked,
    &blocking::Reason,
    &switches::OnboardingFinished,
    &switches::Deleting,
    &plain!(locked: record.locked),
    &times::DebugUntil,
    &labels::Labels,
    &features::Flags,
    &features::Sets,
];

/// The fields that the service sets.
static BY_SERVICE: &[ByService] = by_service::ALL;

/// The rule of a path that callers can set.
#[must_use]
pub fn settable(path: &str) -> Option<&'static dyn Settable> {
    SETTABLE.iter().copied().find(|rule| rule.path() == path)
}

/// The field that stands for this setting of the owner's.
pub(super) fn own_setting(name: &str) -> Option<&'static Field> {
    fields::FIELDS.iter().find(|field| {
        matches!(field.kept, Kept::Settings(key) if key == name) && field.path != settings::PATH
    })
}

type Read = Box<dyn Fn(&Documents, &mut pb::Instance) + Send + Sync>;

/// Selects the fields to read.
fn readers(wanted: impl Fn(&Field) -> bool) -> Vec<Read> {
    let wanted = |path| fields::by_path(path).is_some_and(&wanted);
    let by_service = BY_SERVICE
        .iter()
        .filter(|rule| wanted(rule.path))
        .map(|rule| Box::new(rule.read) as Read);
    let settable = SETTABLE.iter().filter(|rule| wanted(rule.path()));
    let settable = settable
        .map(|rule| Box::new(|from: &Documents, into: &mut _| rule.read(from, into)) as Read);
    by_service.chain(settable).collect()
}

fn read(readers: &[Read], documents: &Documents) -> pb::Instance {
    let mut message = pb::Instance::default();
    for read in readers {
        read(documents, &mut message);
    }
    message
}

impl Documents {
    /// The instance as responses show it: all fields, and no secrets.
    #[must_use]
    pub fn show(&self) -> pb::Instance {
        static ALL: LazyLock<Vec<Read>> = LazyLock::new(|| readers(|_| true));
        read(&ALL, self)
    }

    /// The instance as lists show it.
    #[must_use]
    pub fn show_in_list(&self) -> pb::Instance {
        static LISTED: LazyLock<Vec<Read>> = LazyLock::new(|| readers(|field| field.listed));
        read(&LISTED, self)
    }

    /// What is known of an instance that does not exist yet: its name, and the fields that a creation can set.
    #[must_use]
    pub fn show_before_creation(&self) -> pb::Instance {
        static KNOWN: LazyLock<Vec<Read>> =
            LazyLock::new(|| readers(|field| field.at_creation || field.path == "name"));
        read(&KNOWN, self)
    }

    /// Updates the record's copies, from which lists are made, from the instance document.
    pub fn copy(&mut self) {
        for rule in BY_SERVICE {
            (rule.copy)(self);
        }
        for rule in SETTABLE {
            rule.copy(self);
        }
    }
}

#[cfg(test)]
mod tests;
