//! Times: texts in documents, timestamps in messages.

use hamlet_proto::hamlet::instance::v1 as pb;
use prost_types::Timestamp;

use super::{Documents, rule::Rule};
use crate::domain::{
    spec::InvalidField,
    time::{OptionalTime, Time},
};

/// A time as messages hold it.
#[must_use]
pub fn timestamp(time: Time) -> Timestamp {
    let (seconds, nanos) = time.to_unix();
    Timestamp {
        seconds,
        // Less than a second of them fits.
        nanos: i32::try_from(nanos).unwrap_or_default(),
    }
}

/// Until when calls of the instance are logged in detail.
pub(super) struct DebugUntil;

impl Rule for DebugUntil {
    type Value = OptionalTime;

    fn path(&self) -> &'static str {
        "debug_until"
    }

    fn ask(&self, message: &pb::Instance) -> Result<OptionalTime, InvalidField> {
        let Some(asked) = &message.debug_until else {
            return Ok(OptionalTime(None));
        };
        let time = Time::from_unix(asked.seconds, asked.nanos)
            .ok_or_else(|| self.invalid("is no time between the years 1 and 9999"))?;
        Ok(OptionalTime(Some(time)))
    }

    fn write(&self, OptionalTime(time): OptionalTime, documents: &mut Documents) {
        documents.record.debug_until = time;
    }

    fn read(&self, documents: &Documents, message: &mut pb::Instance) {
        message.debug_until = documents.record.debug_until.map(timestamp);
    }
}
