//! The terms of service: `tos_signed` and `tos_latest`.
//!
//! A signed version no longer awaits a signature, and neither does an older one.

use hamlet_proto::hamlet::instance::v1 as pb;

use super::{
    Documents,
    rule::{CheckContext, Rule},
};
use crate::domain::{instance::InstanceDocument, spec::InvalidField, tos};

fn clear_unless_awaited(document: &mut InstanceDocument) {
    if !tos::awaits_signature(&document.tos_latest, &document.tos) {
        document.tos_latest.clear();
    }
}

/// The version that was signed.
pub(super) struct Signed;

impl Rule for Signed {
    type Value = String;

    fn path(&self) -> &'static str {
        "tos_signed"
    }

    fn ask(&self, message: &pb::Instance) -> Result<String, InvalidField> {
        Ok(message.tos_signed.clone())
    }

    fn check(&self, text: String, _: &CheckContext<'_>) -> Result<String, InvalidField> {
        if text.is_empty() {
            return Ok(text);
        }
        tos::canonical_signed(&text).map_err(|wrong| self.invalid(wrong))
    }

    fn write(&self, signed: String, documents: &mut Documents) {
        documents.instance.tos = signed;
        clear_unless_awaited(&mut documents.instance);
    }

    fn read(&self, documents: &Documents, message: &mut pb::Instance) {
        message.tos_signed.clone_from(&documents.instance.tos);
    }
}

/// The version that awaits a signature.
pub(super) struct Latest;

impl Rule for Latest {
    type Value = String;

    fn path(&self) -> &'static str {
        "tos_latest"
    }

    fn ask(&self, message: &pb::Instance) -> Result<String, InvalidField> {
        Ok(message.tos_latest.clone())
    }

    fn check(&self, latest: String, context: &CheckContext<'_>) -> Result<String, InvalidField> {
        if latest.is_empty() {
            return Ok(latest);
        }
        tos::check_latest(&latest).map_err(|wrong| self.invalid(wrong))?;
        let signed = context.text("tos_signed", |now| &now.tos);
        if tos::awaits_signature(&latest, signed) {
            return Ok(latest);
        }
        Err(if context.now.is_none() {
            self.invalid(
                "is covered by instance.tos_signed; name a version with a higher major number, or leave it out",
            )
        } else {
            self.invalid(format!(
                "{latest:?} needs no signature: {signed:?} is signed already; name a version \
                 with a higher first number"
            ))
        })
    }

    fn write(&self, latest: String, documents: &mut Documents) {
        documents.instance.tos_latest = latest;
        clear_unless_awaited(&mut documents.instance);
    }

    fn read(&self, documents: &Documents, message: &mut pb::Instance) {
        message
            .tos_latest
            .clone_from(&documents.instance.tos_latest);
    }
}
