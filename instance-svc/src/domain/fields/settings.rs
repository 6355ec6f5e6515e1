//! The owner's settings: some fields, and `settings` for all other ones.

use std::collections::BTreeMap;

use hamlet_proto::hamlet::instance::v1 as pb;
use serde_json::Value;

use super::{
    Documents, formats, own_setting,
    rule::{CheckContext, Entries, Rule, all, invalid},
};
use crate::domain::{record::Record, spec::InvalidField};

/// The path of the settings that have no field of their own.
pub(super) const PATH: &str = "settings";

/// A setting with a field of its own.
pub(super) struct Setting {
    path: &'static str,
    key: &'static str,
    shown: fn(&pb::Instance) -> &String,
    shown_mut: fn(&mut pb::Instance) -> &mut String,
    check: fn(&str) -> Result<(), String>,
    /// Its copy in the record, for lists.
    copied: Option<Copied>,
}

/// How the copy of a setting is read and written.
#[derive(Clone, Copy)]
struct Copied {
    read: fn(&Record) -> Option<&str>,
    write: fn(&mut Record, String),
}

/// The owner's time zone.
pub(super) const fn timezone() -> Setting {
    Setting {
        path: "timezone",
        key: "tz",
        shown: |message| &message.timezone,
        shown_mut: |message| &mut message.timezone,
        check: formats::timezone::check,
        copied: None,
    }
}

/// The owner's mail address.
pub(super) const fn email() -> Setting {
    Setting {
        path: "email",
        key: "email",
        shown: |message| &message.email,
        shown_mut: |message| &mut message.email,
        check: formats::email::check,
        copied: Some(Copied {
            read: |record| record.email.as_deref(),
            write: |record, text| record.email = Some(text),
        }),
    }
}

/// The owner's name.
pub(super) const fn public_name() -> Setting {
    Setting {
        path: "public_name",
        key: "public_name",
        shown: |message| &message.public_name,
        shown_mut: |message| &mut message.public_name,
        check: formats::text::check,
        copied: None,
    }
}

/// The owner's phone number.
pub(super) const fn phone() -> Setting {
    Setting {
        path: "phone",
        key: "phone",
        shown: |message| &message.phone,
        shown_mut: |message| &mut message.phone,
        check: formats::phone::check,
        copied: None,
    }
}

fn set(name: &str, value: Option<&str>, documents: &mut Documents) {
    match value {
        Some(value) => {
            let value = Value::String(value.to_owned());
            documents.settings.insert(name.to_owned(), value);
        }
        None => {
            documents.settings.remove(name);
        }
    }
}

impl Rule for Setting {
    type Value = String;

    fn path(&self) -> &'static str {
        self.path
    }

    fn ask(&self, message: &pb::Instance) -> Result<String, InvalidField> {
        Ok((self.shown)(message).clone())
    }

    fn check(&self, text: String, _: &CheckContext<'_>) -> Result<String, InvalidField> {
        if !text.is_empty() {
            (self.check)(&text).map_err(|wrong| self.invalid(wrong))?;
        }
        Ok(text)
    }

    fn write(&self, text: String, documents: &mut Documents) {
        if let Some(copied) = self.copied {
            (copied.write)(&mut documents.record, text.clone());
        }
        let text = Some(text.as_str()).filter(|text| !text.is_empty());
        set(self.key, text, documents);
    }

    fn read(&self, documents: &Documents, message: &mut pb::Instance) {
        let copy = || {
            let copied = self.copied.filter(|_| documents.settings.is_empty())?;
            (copied.read)(&documents.record)
        };
        // Other software may store other types than strings here; they are not shown.
        let text = documents.settings.get(self.key).and_then(Value::as_str);
        if let Some(text) = text.or_else(copy) {
            text.clone_into((self.shown_mut)(message));
        }
    }
}

/// The settings that have no field of their own.
pub(super) struct Further;

impl Rule for Further {
    type Value = BTreeMap<String, String>;

    fn path(&self) -> &'static str {
        PATH
    }

    fn ask(&self, message: &pb::Instance) -> Result<Self::Value, InvalidField> {
        Ok(message.settings.clone().into_iter().collect())
    }

    fn check_all(
        &self,
        settings: Self::Value,
        context: &CheckContext<'_>,
    ) -> Result<Self::Value, Vec<InvalidField>> {
        let most = formats::setting::MOST;
        if context.now.is_none() && settings.len() > most {
            let wrong = format!("holds more than {most} settings; use fewer");
            return Err(vec![self.invalid(wrong)]);
        }
        let checked = settings
            .iter()
            .map(|(name, value)| Entries::check(self, name, Some(value), context));
        all(checked).map(|()| settings)
    }

    fn write(&self, new: Self::Value, documents: &mut Documents) {
        // Callers do not see settings of other types, so leaving one out is no request to clear it.
        documents.settings.retain(|name, value| {
            own_setting(name).is_some() || !value.is_string() || new.contains_key(name)
        });
        for (name, value) in &new {
            set(name, Some(value), documents);
        }
    }

    fn read(&self, documents: &Documents, message: &mut pb::Instance) {
        let further = documents.settings.iter().filter_map(|(name, value)| {
            let value = value.as_str().filter(|_| own_setting(name).is_none())?;
            Some((name.clone(), value.to_owned()))
        });
        message.settings = further.collect();
    }

    fn entries(&self) -> Option<&dyn Entries> {
        Some(self)
    }
}

impl Entries for Further {
    fn check(
        &self,
        name: &str,
        value: Option<&str>,
        _: &CheckContext<'_>,
    ) -> Result<(), InvalidField> {
        formats::setting::check_name(name).map_err(|wrong| invalid(PATH, wrong))?;
        formats::setting::check(name, value.unwrap_or_default())
            .map_err(|wrong| invalid(&format!("{PATH}.{name}"), wrong))
    }

    fn write(&self, name: &str, value: Option<&str>, documents: &mut Documents) {
        set(name, value, documents);
    }
}
