//! `blocked` and `blocking_reason`: whether access is blocked, and why.
//!
//! A blocked instance always has a reason; another instance has none.

use hamlet_proto::hamlet::instance::v1 as pb;

use super::{
    Documents, formats,
    rule::{CheckContext, Rule},
};
use crate::domain::{instance::InstanceDocument, spec::InvalidField};

/// The reason when none was given.
pub const UNKNOWN: &str = "UNKNOWN";

/// The maximum length of a reason, in bytes.
const LONGEST_REASON: usize = 200;

fn settle_reason(document: &mut InstanceDocument) {
    if !document.blocked {
        document.blocking_reason.clear();
    } else if document.blocking_reason.is_empty() {
        UNKNOWN.clone_into(&mut document.blocking_reason);
    }
}

/// Whether access is blocked.
pub(super) struct Blocked;

impl Rule for Blocked {
    type Value = bool;

    fn path(&self) -> &'static str {
        "blocked"
    }

    fn ask(&self, message: &pb::Instance) -> Result<bool, InvalidField> {
        Ok(message.blocked)
    }

    fn write(&self, blocked: bool, documents: &mut Documents) {
        documents.instance.blocked = blocked;
        settle_reason(&mut documents.instance);
    }

    fn read(&self, documents: &Documents, message: &mut pb::Instance) {
        message.blocked = documents.instance.blocked;
    }
}

/// Why access is blocked.
pub(super) struct Reason;

impl Rule for Reason {
    type Value = String;

    fn path(&self) -> &'static str {
        "blocking_reason"
    }

    fn ask(&self, message: &pb::Instance) -> Result<String, InvalidField> {
        Ok(message.blocking_reason.clone())
    }

    fn check(&self, reason: String, context: &CheckContext<'_>) -> Result<String, InvalidField> {
        if reason.len() > LONGEST_REASON {
            return Err(self.invalid(format!(
                "is longer than {LONGEST_REASON} bytes; use a short code or sentence"
            )));
        }
        formats::text::check(&reason).map_err(|wrong| self.invalid(wrong))?;
        let now = context.now.is_some_and(|now| now.instance.blocked);
        if !context.asked.flag("blocked").unwrap_or(now) && !reason.is_empty() {
            return Err(self.invalid(
                "is given for an instance that is not blocked; set instance.blocked too",
            ));
        }
        Ok(reason)
    }

    fn write(&self, reason: String, documents: &mut Documents) {
        documents.instance.blocking_reason = reason;
        settle_reason(&mut documents.instance);
    }

    fn read(&self, documents: &Documents, message: &mut pb::Instance) {
        message
            .blocking_reason
            .clone_from(&documents.instance.blocking_reason);
    }
}
