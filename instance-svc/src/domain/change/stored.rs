//! The stored form of a change in an operation: its fields, grouped by the documents that hold them.
//!
//! The members and their order must not change, since the MAC of a request is computed over them.

use std::collections::BTreeMap;

use hamlet_proto::fields::{self, Kept};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Change, ChangeKind, RecordPatch};
use crate::domain::{
    claim::Wanted,
    fields::{Asked, own_setting},
    record::Blocking,
    spec::{Unreadable, in_order},
};

/// The fields of the instance document, in their order. Unlisted fields follow them.
const IN_DOCUMENT: [&str; 18] = [
    "domain_aliases",
    "old_domain",
    "locale",
    "context",
    "uuid",
    "oidc_id",
    "franceconnect_id",
    "sponsorships",
    "tos_signed",
    "tos_latest",
    "auth_mode",
    "magic_link",
    "no_auto_update",
    "blocked",
    "blocking_reason",
    "onboarding_finished",
    "deleting",
    "disk_quota_bytes",
];

/// The members for the record, in their order. Unlisted members follow them.
const IN_RECORD: [&str; 4] = ["locked", "debug_until", REGISTER_EXPIRES_AT, DELETION];

const REGISTER_EXPIRES_AT: &str = "register_expires_at";
const DELETION: &str = "deletion";
/// The field of all settings that have no field of their own.
const SETTINGS: &str = "settings";

/// The stored form of a change.
#[derive(Deserialize, Serialize)]
pub(super) struct Stored {
    kind: ChangeKind,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    etag: String,
    /// By field path; an empty value clears the field.
    #[serde(default)]
    instance: Map<String, Value>,
    /// By name; null clears the setting.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    settings: BTreeMap<String, Option<String>>,
    /// Whether settings that are neither named nor have a field of their own are cleared, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    only_these_settings: bool,
    /// By field path, plus what the service itself changes.
    #[serde(default)]
    record: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    added: Vec<Wanted>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    removed: Vec<Wanted>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    blocked_before: Option<Blocking>,
}

impl From<Change> for Stored {
    fn from(change: Change) -> Self {
        let mut instance = BTreeMap::new();
        let mut settings = BTreeMap::new();
        let mut record = BTreeMap::new();
        let mut only_these_settings = false;
        for (path, value) in change.asked.values() {
            let (whole, entry) = path
                .split_once('.')
                .map_or((path.as_str(), None), |(whole, entry)| (whole, Some(entry)));
            match fields::by_path(whole).map(|field| field.kept) {
                Some(Kept::Document(_)) => {
                    instance.insert(path.clone(), value.clone());
                }
                Some(Kept::Record(_)) => {
                    record.insert(path.clone(), value.clone());
                }
                Some(Kept::Settings(_)) if path == SETTINGS => {
                    only_these_settings = true;
                    let all = value.as_object().into_iter().flatten();
                    settings.extend(all.map(|(name, value)| (name.clone(), text(value))));
                }
                Some(Kept::Settings(key)) => {
                    settings.insert(entry.unwrap_or(key).to_owned(), text(value));
                }
                // Set by the service; callers cannot request it.
                Some(Kept::Derived) | None => {}
            }
        }
        let RecordPatch {
            register_expires_at,
            deletion,
        } = change.record;
        // Texts, and maps of texts, can always be written as JSON.
        if let Some(time) = register_expires_at {
            let time = serde_json::to_value(time).unwrap_or_default();
            record.insert(REGISTER_EXPIRES_AT.to_owned(), time);
        }
        if let Some(deletion) = deletion {
            let deletion = serde_json::to_value(deletion).unwrap_or_default();
            record.insert(DELETION.to_owned(), deletion);
        }
        Self {
            kind: change.kind,
            etag: change.etag,
            instance: in_order(instance, &IN_DOCUMENT),
            settings,
            only_these_settings,
            record: in_order(record, &IN_RECORD),
            added: change.added,
            removed: change.removed,
            blocked_before: change.blocked_before,
        }
    }
}

/// The value of a setting; empty where it is cleared.
fn text(value: &Value) -> Option<String> {
    let text = value.as_str().filter(|text| !text.is_empty());
    text.map(str::to_owned)
}

impl TryFrom<Stored> for Change {
    type Error = Unreadable;

    fn try_from(mut stored: Stored) -> Result<Self, Unreadable> {
        let register_expires_at = stored.record.remove(REGISTER_EXPIRES_AT);
        let deletion = stored.record.remove(DELETION);
        let record = RecordPatch {
            register_expires_at: register_expires_at
                .map(serde_json::from_value)
                .transpose()?,
            deletion: deletion.map(serde_json::from_value).transpose()?,
        };
        let mut asked = Asked::default();
        for (path, value) in stored.instance.into_iter().chain(stored.record) {
            if !asked.take(&path, value) {
                return Err(Unreadable::Field(path));
            }
        }
        take_settings(&mut asked, stored.settings, stored.only_these_settings);
        Ok(Self {
            kind: stored.kind,
            etag: stored.etag,
            asked,
            record,
            added: stored.added,
            removed: stored.removed,
            blocked_before: stored.blocked_before,
        })
    }
}

fn take_settings(asked: &mut Asked, settings: BTreeMap<String, Option<String>>, only_these: bool) {
    let mut all = Map::new();
    for (name, value) in settings {
        match (own_setting(&name), value) {
            (Some(own), value) => {
                asked.take(own.path, value.unwrap_or_default().into());
            }
            (None, Some(value)) if only_these => {
                all.insert(name, value.into());
            }
            (None, value) => {
                asked.take(&format!("{SETTINGS}.{name}"), value.into());
            }
        }
    }
    if only_these {
        asked.take(SETTINGS, Value::Object(all));
    }
}
