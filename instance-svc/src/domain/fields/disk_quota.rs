//! `disk_quota_bytes`: a number in the contract, a string in the compatible documents.

use hamlet_proto::hamlet::instance::v1 as pb;

use super::{
    Documents,
    rule::{CheckContext, Rule},
};
use crate::domain::spec::InvalidField;

/// The limit for files, in bytes; 0 means no limit.
pub(super) struct DiskQuota;

impl Rule for DiskQuota {
    type Value = i64;

    fn path(&self) -> &'static str {
        "disk_quota_bytes"
    }

    fn ask(&self, message: &pb::Instance) -> Result<i64, InvalidField> {
        Ok(message.disk_quota_bytes)
    }

    fn check(&self, bytes: i64, _: &CheckContext<'_>) -> Result<i64, InvalidField> {
        if bytes < 0 {
            return Err(self.invalid("is negative; use a number of bytes, or 0 for no limit"));
        }
        Ok(bytes)
    }

    fn write(&self, bytes: i64, documents: &mut Documents) {
        documents.instance.disk_quota = match bytes {
            0 => String::new(),
            bytes => bytes.to_string(),
        };
    }

    fn read(&self, documents: &Documents, message: &mut pb::Instance) {
        message.disk_quota_bytes = documents.instance.disk_quota.parse().unwrap_or_default();
    }
}
