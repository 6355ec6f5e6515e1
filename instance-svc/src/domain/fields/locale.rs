//! `locale`: an instance always has one.

use hamlet_proto::hamlet::instance::v1 as pb;

use super::{
    Documents,
    rule::{CheckContext, Rule},
};
use crate::domain::{locale, spec::InvalidField};

/// The language.
pub(super) struct Locale;

impl Rule for Locale {
    type Value = String;

    fn path(&self) -> &'static str {
        "locale"
    }

    fn ask(&self, message: &pb::Instance) -> Result<String, InvalidField> {
        Ok(message.locale.clone())
    }

    fn check(&self, text: String, _: &CheckContext<'_>) -> Result<String, InvalidField> {
        if text.is_empty() {
            return Err(self.invalid("cannot be cleared; name a language such as en"));
        }
        locale::check(&text).map_err(|wrong| self.invalid(wrong))?;
        Ok(text)
    }

    fn default_value(&self) -> Option<String> {
        Some(locale::DEFAULT.to_owned())
    }

    fn write(&self, locale: String, documents: &mut Documents) {
        documents.instance.locale = locale;
    }

    fn read(&self, documents: &Documents, message: &mut pb::Instance) {
        message.locale.clone_from(&documents.instance.locale);
    }

    fn copy(&self, documents: &mut Documents) {
        documents
            .record
            .locale
            .clone_from(&documents.instance.locale);
    }
}
