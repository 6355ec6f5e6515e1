//! Times: RFC 3339 in documents, timestamps in messages.

use hamlet_proto::hamlet::instance::v1 as pb;
use prost_types::Timestamp;

use super::{Documents, rule::Rule};
use crate::{clock, domain::spec::InvalidField};

/// The time in a document; `None` when it is invalid.
#[must_use]
pub fn timestamp(text: &str) -> Option<Timestamp> {
    let time = clock::parse(text)?;
    Some(Timestamp {
        seconds: time.unix_timestamp(),
        nanos: i32::try_from(time.nanosecond()).ok()?,
    })
}

/// Until when calls of the instance are logged in detail. An empty string means none.
pub(super) struct DebugUntil;

impl Rule for DebugUntil {
    type Value = String;

    fn path(&self) -> &'static str {
        "debug_until"
    }

    fn ask(&self, message: &pb::Instance) -> Result<String, InvalidField> {
        let Some(time) = &message.debug_until else {
            return Ok(String::new());
        };
        clock::from_unix(time.seconds, time.nanos)
            .ok_or_else(|| self.invalid("is no time between the years 1 and 9999"))
    }

    fn write(&self, time: String, documents: &mut Documents) {
        documents.record.debug_until = (!time.is_empty()).then_some(time);
    }

    fn read(&self, documents: &Documents, message: &mut pb::Instance) {
        message.debug_until = documents.record.debug_until.as_deref().and_then(timestamp);
    }
}
