//! How version 0.1.0 reads and writes its documents: the types of its `domain` (commit `ca8f26f`) without what
//! they do. This is a record of the past: it changes only to follow that commit more closely, and goes when a
//! release no longer has to run beside that version.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The names of the steps of each kind, in the order in which `step` counts them.
pub(crate) const CREATE_STEPS: &[&str] = &["claims", "databases", "apps", "look", "publish"];
pub(crate) const DESTROY_STEPS: &[&str] = &[
    "flag",
    "bytes",
    "databases",
    "look",
    "unpublish",
    "record",
    "claims",
    "prove",
];
pub(crate) const CHANGE_STEPS: &[&str] = &[
    "take", "claims", "settings", "sessions", "document", "release", "record",
];

#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Operation {
    #[serde(flatten)]
    pub(crate) work: Work,
    pub(crate) instance: String,
    pub(crate) domain: String,
    pub(crate) prefix: String,
    #[serde(default)]
    pub(crate) couch_cluster: i64,
    pub(crate) arguments_mac: String,
    pub(crate) phase: Phase,
    pub(crate) step: usize,
    #[serde(default)]
    pub(crate) attempt: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next_try: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<Failure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<String>,
    #[serde(default)]
    pub(crate) beat: u64,
    #[serde(default)]
    pub(crate) taken_over: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) cancel_requested: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) retry_requested: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) irreversible: bool,
    pub(crate) open: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) look_again: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) names: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) databases: Vec<(String, u64)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) apps: Vec<AppOutcome>,
    #[serde(default)]
    pub(crate) removed: Removed,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sealed: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) leftovers: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) traceparent: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) durations: Vec<(String, u64)>,
    pub(crate) created_at: String,
    pub(crate) updated_at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended_at: Option<String>,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Work {
    Create {
        spec: Box<Spec>,
    },
    Destroy {
        #[serde(default, skip_serializing_if = "String::is_empty")]
        etag: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        due: Option<String>,
    },
    Change {
        change: Box<Change>,
    },
    PurgeOrphans,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    Queued,
    Running,
    Unwinding,
    Succeeded,
    Failed,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Failure {
    pub(crate) code: i32,
    pub(crate) reason: String,
    pub(crate) message: String,
}

#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct AppOutcome {
    pub(crate) source: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) slug: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) version: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) error: String,
}

#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Removed {
    #[serde(default)]
    pub(crate) objects: u64,
    #[serde(default)]
    pub(crate) databases: u64,
    #[serde(default)]
    pub(crate) documents: u64,
    #[serde(default)]
    pub(crate) claims: u64,
}

#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Spec {
    pub(crate) domain: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) domain_aliases: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) old_domain: String,
    pub(crate) locale: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) context: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) email: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) public_name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) timezone: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) phone: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) settings: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) uuid: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) oidc_id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) franceconnect_id: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) magic_link: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) sponsorships: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) tos_signed: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) tos_latest: String,
    #[serde(default)]
    pub(crate) auth_mode: i64,
    #[serde(default)]
    pub(crate) no_auto_update: bool,
    #[serde(default)]
    pub(crate) disk_quota_bytes: i64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) apps: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) couch_cluster: Option<i32>,
    #[serde(default)]
    pub(crate) trace: bool,
}

#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Change {
    pub(crate) kind: ChangeKind,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) etag: String,
    #[serde(default)]
    pub(crate) instance: InstancePatch,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) settings: BTreeMap<String, Option<String>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) only_these_settings: bool,
    #[serde(default)]
    pub(crate) record: RecordPatch,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) added: Vec<Wanted>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) removed: Vec<Wanted>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) blocked_before: Option<Blocking>,
}

#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ChangeKind {
    #[default]
    Update,
    Block,
    Unblock,
    Delete,
    Undelete,
    RegisterLink,
    Passphrase,
    Sessions,
}

#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub(crate) struct InstancePatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) domain_aliases: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) old_domain: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) locale: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) context: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) uuid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) oidc_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) franceconnect_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sponsorships: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tos_signed: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tos_latest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) auth_mode: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) magic_link: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) no_auto_update: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) blocked: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) blocking_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) onboarding_finished: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deleting: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disk_quota_bytes: Option<i64>,
}

#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub(crate) struct RecordPatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) locked: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) debug_until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) register_expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deletion: Option<SoftDeletion>,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SoftDeletion {
    Begin {
        deleted_at: String,
        purge_at: String,
    },
    TakeBack,
}

#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Record {
    pub(crate) domain: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) domain_aliases: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) old_domain: String,
    pub(crate) prefix: String,
    pub(crate) locale: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) context: String,
    pub(crate) created_at: String,
    pub(crate) created_by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) operation: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) locked: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) deleted_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) purge_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) blocked_before: Option<Blocking>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) debug_until: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) register_expires_at: Option<String>,
}

#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
pub(crate) struct Blocking {
    pub(crate) blocked: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) reason: String,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Claim {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) instance: String,
    pub(crate) operation: String,
    pub(crate) created_at: String,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Domain,
    Alias,
    Redirect,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Wanted {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) kind: Kind,
}
