//! Booleans that callers can change in one direction only: `onboarding_finished` and `deleting`.

use hamlet_proto::hamlet::instance::v1 as pb;

use super::{
    Documents,
    rule::{CheckContext, Rule},
};
use crate::domain::spec::InvalidField;

/// Whether the owner may log in. An update can set it, but not clear it.
pub(super) struct OnboardingFinished;

impl Rule for OnboardingFinished {
    type Value = bool;

    fn path(&self) -> &'static str {
        "onboarding_finished"
    }

    fn ask(&self, message: &pb::Instance) -> Result<bool, InvalidField> {
        Ok(message.onboarding_finished)
    }

    fn check(&self, finished: bool, _: &CheckContext<'_>) -> Result<bool, InvalidField> {
        if !finished {
            return Err(
                self.invalid("cannot be taken back; set it to true or leave it out of the mask")
            );
        }
        Ok(finished)
    }

    fn write(&self, finished: bool, documents: &mut Documents) {
        documents.instance.onboarding_finished = finished;
    }

    fn read(&self, documents: &Documents, message: &mut pb::Instance) {
        message.onboarding_finished = documents.instance.onboarding_finished;
    }
}

/// Whether other software has begun to destroy the instance. An update can clear it, but not set it.
pub(super) struct Deleting;

impl Rule for Deleting {
    type Value = bool;

    fn path(&self) -> &'static str {
        "deleting"
    }

    fn ask(&self, message: &pb::Instance) -> Result<bool, InvalidField> {
        Ok(message.deleting)
    }

    fn check(&self, deleting: bool, _: &CheckContext<'_>) -> Result<bool, InvalidField> {
        if deleting {
            return Err(self.invalid(
                "cannot be set; set it to false to take the flag away, or destroy the instance",
            ));
        }
        Ok(deleting)
    }

    fn write(&self, deleting: bool, documents: &mut Documents) {
        documents.instance.deleting = deleting;
    }

    fn read(&self, documents: &Documents, message: &mut pb::Instance) {
        message.deleting = documents.instance.deleting;
    }
}
