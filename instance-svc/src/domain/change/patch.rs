//! What a change does to the fields of one document.

use serde::{Deserialize, Serialize};

use super::UNKNOWN;
use crate::domain::{
    claim::{Wanted, wanted},
    instance::InstanceDocument,
    record::{Blocking, Record},
    tos,
};

/// What becomes of the instance document: `None` leaves a field as it is, an empty value clears it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default)]
pub struct InstancePatch {
    /// Other domains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain_aliases: Option<Vec<String>>,
    /// A former domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_domain: Option<String>,
    /// The language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// The group of settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// An id of the hosting provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// The subject at the OIDC provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oidc_id: Option<String>,
    /// The subject at FranceConnect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub franceconnect_id: Option<String>,
    /// Who pays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sponsorships: Option<Vec<String>>,
    /// The terms that were signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tos_signed: Option<String>,
    /// The terms that await a signature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tos_latest: Option<String>,
    /// How the owner proves who they are, as instance documents keep it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_mode: Option<i64>,
    /// Whether the owner logs in by a mailed link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub magic_link: Option<bool>,
    /// Whether apps stay at their version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_auto_update: Option<bool>,
    /// Whether access is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocked: Option<bool>,
    /// Why it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocking_reason: Option<String>,
    /// Whether the owner may log in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub onboarding_finished: Option<bool>,
    /// Whether destruction has begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleting: Option<bool>,
    /// The quota in bytes; 0 means none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_quota_bytes: Option<i64>,
}

fn set<T: Clone>(field: &mut T, value: Option<&T>) {
    if let Some(value) = value {
        field.clone_from(value);
    }
}

impl InstancePatch {
    pub(super) const fn changes_names(&self) -> bool {
        self.domain_aliases.is_some() || self.old_domain.is_some()
    }

    /// The names that are added to those the instance has, and those that are removed. What other
    /// software added to the document, and nobody has claimed yet, is claimed too where it stays.
    pub(super) fn names(
        &self,
        document: &InstanceDocument,
        record: &Record,
    ) -> (Vec<Wanted>, Vec<Wanted>) {
        if !self.changes_names() {
            return (Vec::new(), Vec::new());
        }
        let claimed = record.wanted();
        let mut added = wanted(
            &document.domain,
            self.domain_aliases
                .as_ref()
                .unwrap_or(&document.domain_aliases),
            self.old_domain.as_ref().unwrap_or(&document.old_domain),
        );
        let mut removed = claimed.clone();
        removed.extend(document.wanted());
        removed.sort_by(|a, b| a.id.cmp(&b.id));
        removed.dedup_by(|a, b| a.id == b.id);
        removed.retain(|name| !added.iter().any(|kept| kept.id == name.id));
        added.retain(|name| !claimed.iter().any(|kept| kept.id == name.id));
        (added, removed)
    }

    pub(super) fn apply(&self, document: &mut InstanceDocument) {
        set(&mut document.domain_aliases, self.domain_aliases.as_ref());
        set(&mut document.old_domain, self.old_domain.as_ref());
        set(&mut document.locale, self.locale.as_ref());
        set(&mut document.context, self.context.as_ref());
        set(&mut document.uuid, self.uuid.as_ref());
        set(&mut document.oidc_id, self.oidc_id.as_ref());
        set(
            &mut document.franceconnect_id,
            self.franceconnect_id.as_ref(),
        );
        set(&mut document.sponsorships, self.sponsorships.as_ref());
        set(&mut document.auth_mode, self.auth_mode.as_ref());
        set(&mut document.magic_link, self.magic_link.as_ref());
        set(&mut document.no_auto_update, self.no_auto_update.as_ref());
        set(
            &mut document.onboarding_finished,
            self.onboarding_finished.as_ref(),
        );
        set(&mut document.deleting, self.deleting.as_ref());
        if let Some(bytes) = self.disk_quota_bytes {
            document.disk_quota = match bytes {
                0 => String::new(),
                bytes => bytes.to_string(),
            };
        }
        self.apply_terms(document);
        self.apply_blocking(document);
    }

    /// What is signed awaits no signature any more, and what is older than the signed version neither.
    fn apply_terms(&self, document: &mut InstanceDocument) {
        set(&mut document.tos, self.tos_signed.as_ref());
        set(&mut document.tos_latest, self.tos_latest.as_ref());
        let touched = self.tos_signed.is_some() || self.tos_latest.is_some();
        if touched && !tos::awaits_signature(&document.tos_latest, &document.tos) {
            document.tos_latest.clear();
        }
    }

    /// A blocked instance has a reason, and one that is not has none.
    fn apply_blocking(&self, document: &mut InstanceDocument) {
        if self.blocked.is_none() && self.blocking_reason.is_none() {
            return;
        }
        set(&mut document.blocked, self.blocked.as_ref());
        set(&mut document.blocking_reason, self.blocking_reason.as_ref());
        if !document.blocked {
            document.blocking_reason.clear();
        } else if document.blocking_reason.is_empty() {
            UNKNOWN.clone_into(&mut document.blocking_reason);
        }
    }
}

/// What becomes of our own document: `None` leaves a field as it is, an empty text clears it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default)]
pub struct RecordPatch {
    /// Whether destroying it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locked: Option<bool>,
    /// Until when calls for it are logged in detail, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub debug_until: Option<String>,
    /// When the register token expires, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub register_expires_at: Option<String>,
    /// What becomes of a soft deletion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion: Option<SoftDeletion>,
}

/// What becomes of a soft deletion.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SoftDeletion {
    /// The instance is deleted softly.
    Begin {
        /// When it was asked for, RFC 3339.
        deleted_at: String,
        /// When it is destroyed, RFC 3339.
        purge_at: String,
    },
    /// It is brought back.
    TakeBack,
}

impl RecordPatch {
    /// When the instance is destroyed, of one that is deleted softly.
    #[must_use]
    pub fn purge_at(&self) -> Option<&str> {
        match &self.deletion {
            Some(SoftDeletion::Begin { purge_at, .. }) => Some(purge_at),
            Some(SoftDeletion::TakeBack) | None => None,
        }
    }

    pub(super) fn apply(&self, record: &mut Record, blocked_before: Option<&Blocking>) {
        set(&mut record.locked, self.locked.as_ref());
        set_time(&mut record.debug_until, self.debug_until.as_ref());
        set_time(
            &mut record.register_expires_at,
            self.register_expires_at.as_ref(),
        );
        match &self.deletion {
            None => {}
            Some(SoftDeletion::Begin {
                deleted_at,
                purge_at,
            }) => {
                record.deleted_at = Some(deleted_at.clone());
                record.purge_at = Some(purge_at.clone());
                record.blocked_before = blocked_before.cloned();
            }
            Some(SoftDeletion::TakeBack) => {
                record.deleted_at = None;
                record.purge_at = None;
                record.blocked_before = None;
            }
        }
    }
}

fn set_time(field: &mut Option<String>, value: Option<&String>) {
    if let Some(value) = value {
        *field = (!value.is_empty()).then(|| value.clone());
    }
}
