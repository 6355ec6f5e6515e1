//! The rules of fields, and the rule of a field without special behaviour.

use hamlet_proto::hamlet::instance::v1 as pb;
use serde::{Deserialize as _, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Asked, Documents};
use crate::domain::{instance::InstanceDocument, record::Record, spec::InvalidField};

/// The current instance.
#[derive(Clone, Copy, Debug)]
pub struct Now<'a> {
    /// Its compatible document.
    pub instance: &'a InstanceDocument,
    /// Its record.
    pub record: &'a Record,
}

/// The context of a check.
#[derive(Clone, Copy, Debug)]
pub struct CheckContext<'a> {
    /// All requested values; those of fields earlier in the table are in canonical form.
    pub asked: &'a Asked,
    /// The current instance; `None` at creation.
    pub now: Option<Now<'a>>,
}

impl CheckContext<'_> {
    /// The value that a string field will have: the requested one, or else the current one.
    pub(super) fn text<'a>(
        &'a self,
        path: &str,
        kept: impl FnOnce(&'a InstanceDocument) -> &'a String,
    ) -> &'a str {
        let now = || self.now.map_or("", |now| kept(now.instance));
        self.asked.text(path).unwrap_or_else(now)
    }
}

/// The rule of a field that callers can set.
///
/// Operations store its `Value`, so the form of that type must not change.
pub(super) trait Rule: Sync {
    /// The stored form in an operation. The default value means none: it clears the field.
    type Value: Default + DeserializeOwned + Serialize;

    /// Its path in the contract.
    fn path(&self) -> &'static str;

    /// Takes the value from a message.
    fn ask(&self, message: &pb::Instance) -> Result<Self::Value, InvalidField>;

    /// Checks a value and brings it into its canonical form. The value is empty only where an update clears it.
    fn check(&self, value: Self::Value, _: &CheckContext<'_>) -> Result<Self::Value, InvalidField> {
        Ok(value)
    }

    /// As [`Self::check`], with everything that is wrong where a value has several parts.
    fn check_all(
        &self,
        value: Self::Value,
        context: &CheckContext<'_>,
    ) -> Result<Self::Value, Vec<InvalidField>> {
        self.check(value, context).map_err(|wrong| vec![wrong])
    }

    /// The value of a creation that does not set the field.
    fn default_value(&self) -> Option<Self::Value> {
        None
    }

    /// Writes a value into the document that holds the field.
    fn write(&self, value: Self::Value, documents: &mut Documents);

    /// Reads the value from the documents.
    fn read(&self, documents: &Documents, message: &mut pb::Instance);

    /// Updates the copy in the record from the instance document, if there is a copy.
    fn copy(&self, _: &mut Documents) {}

    /// How single entries are set, if the field is a map.
    fn entries(&self) -> Option<&dyn Entries> {
        None
    }

    /// An error for an invalid value.
    fn invalid(&self, wrong: impl Into<String>) -> InvalidField
    where
        Self: Sized,
    {
        invalid(Rule::path(self), wrong)
    }
}

/// How single entries of a map are set.
pub(super) trait Entries {
    /// Checks an entry. `None` clears it.
    fn check(
        &self,
        name: &str,
        value: Option<&str>,
        context: &CheckContext<'_>,
    ) -> Result<(), InvalidField>;

    /// Writes an entry. `None` clears it.
    fn write(&self, name: &str, value: Option<&str>, documents: &mut Documents);
}

/// Everything that is wrong, where anything is.
pub(super) fn all(
    checked: impl Iterator<Item = Result<(), InvalidField>>,
) -> Result<(), Vec<InvalidField>> {
    let wrong: Vec<_> = checked.filter_map(Result::err).collect();
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// An error for an invalid value of the field with this path.
pub(super) fn invalid(path: &str, wrong: impl Into<String>) -> InvalidField {
    InvalidField {
        field: format!("instance.{path}"),
        wrong: wrong.into(),
    }
}

/// A [`Rule`] with its type erased: values are JSON. `entry` is the name of an entry of a map, whose value is a
/// string, or null to clear it.
pub trait Settable: Sync {
    /// Its path in the contract.
    fn path(&self) -> &'static str;

    /// Takes the value from a message.
    ///
    /// # Errors
    /// When the message holds no valid value.
    fn ask(&self, message: &pb::Instance) -> Result<Value, InvalidField>;

    /// Checks a value and brings it into its canonical form.
    ///
    /// # Errors
    /// Everything that is wrong with the value; at least one.
    fn check(
        &self,
        entry: Option<&str>,
        value: &Value,
        context: &CheckContext<'_>,
    ) -> Result<Value, Vec<InvalidField>>;

    /// The value of a creation that does not set the field.
    fn default_value(&self) -> Option<Value>;

    /// Writes a value into the document that holds the field, and its copy.
    fn write(&self, entry: Option<&str>, value: &Value, documents: &mut Documents);

    /// Reads the value from the documents.
    fn read(&self, documents: &Documents, message: &mut pb::Instance);

    /// Updates its copy in the record.
    fn copy(&self, documents: &mut Documents);

    /// The value that clears it.
    fn none(&self) -> Value;

    /// Whether it is a map whose entries can be set singly.
    fn has_entries(&self) -> bool;

    /// Whether a value has the right type.
    fn takes(&self, entry: Option<&str>, value: &Value) -> bool;
}

impl<R: Rule> Settable for R {
    fn path(&self) -> &'static str {
        Rule::path(self)
    }

    fn ask(&self, message: &pb::Instance) -> Result<Value, InvalidField> {
        Rule::ask(self, message).map(encode)
    }

    fn check(
        &self,
        entry: Option<&str>,
        value: &Value,
        context: &CheckContext<'_>,
    ) -> Result<Value, Vec<InvalidField>> {
        if let (Some(entry), Some(entries)) = (entry, self.entries()) {
            return entries
                .check(entry, value.as_str(), context)
                .map(|()| value.clone())
                .map_err(|wrong| vec![wrong]);
        }
        let value = decode::<R>(value).ok_or_else(|| vec![self.invalid("has another type")])?;
        Rule::check_all(self, value, context).map(encode)
    }

    fn default_value(&self) -> Option<Value> {
        Rule::default_value(self).map(encode)
    }

    fn write(&self, entry: Option<&str>, value: &Value, documents: &mut Documents) {
        if let (Some(entry), Some(entries)) = (entry, self.entries()) {
            entries.write(entry, value.as_str(), documents);
        } else if let Some(value) = decode::<R>(value) {
            // `Asked` holds only values of the right type.
            Rule::write(self, value, documents);
        }
        Rule::copy(self, documents);
    }

    fn read(&self, documents: &Documents, message: &mut pb::Instance) {
        Rule::read(self, documents, message);
    }

    fn copy(&self, documents: &mut Documents) {
        Rule::copy(self, documents);
    }

    fn none(&self) -> Value {
        encode(R::Value::default())
    }

    fn has_entries(&self) -> bool {
        self.entries().is_some()
    }

    fn takes(&self, entry: Option<&str>, value: &Value) -> bool {
        match entry {
            Some(_) => self.has_entries() && (value.is_string() || value.is_null()),
            None => decode::<R>(value).is_some(),
        }
    }
}

/// Strings, numbers, booleans, lists and maps of strings can always be written as JSON.
fn encode(value: impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

fn decode<R: Rule>(value: &Value) -> Option<R::Value> {
    R::Value::deserialize(value).ok()
}

/// The rule of a field with the same form in one document and in the message. Made by [`plain!`].
pub(super) struct Plain<V> {
    /// Its path in the contract.
    pub path: &'static str,
    /// The value in the documents.
    pub kept: fn(&Documents) -> &V,
    /// The value in the documents, mutable.
    pub kept_mut: fn(&mut Documents) -> &mut V,
    /// The value in the message.
    pub shown: fn(&pb::Instance) -> &V,
    /// The value in the message, mutable.
    pub shown_mut: fn(&mut pb::Instance) -> &mut V,
    /// Says what is wrong with a value. Not called for an empty one.
    pub check: fn(&V) -> Result<(), String>,
    /// The copy in the record.
    pub copied: Option<fn(&mut Documents) -> &mut V>,
}

impl<V> Plain<V> {
    /// Adds a copy in the record.
    pub(super) const fn copied(self, copied: fn(&mut Documents) -> &mut V) -> Self {
        Self {
            copied: Some(copied),
            ..self
        }
    }
}

impl<V: Clone + Default + DeserializeOwned + PartialEq + Serialize> Rule for Plain<V> {
    type Value = V;

    fn path(&self) -> &'static str {
        self.path
    }

    fn ask(&self, message: &pb::Instance) -> Result<V, InvalidField> {
        Ok((self.shown)(message).clone())
    }

    fn check(&self, value: V, _: &CheckContext<'_>) -> Result<V, InvalidField> {
        if value != V::default() {
            (self.check)(&value).map_err(|wrong| self.invalid(wrong))?;
        }
        Ok(value)
    }

    fn write(&self, value: V, documents: &mut Documents) {
        *(self.kept_mut)(documents) = value;
    }

    fn read(&self, documents: &Documents, message: &mut pb::Instance) {
        (self.shown_mut)(message).clone_from((self.kept)(documents));
    }

    fn copy(&self, documents: &mut Documents) {
        if let Some(copied) = self.copied {
            let value = (self.kept)(documents).clone();
            *copied(documents) = value;
        }
    }
}

/// Makes the rule of a field with the same form in one document and in the message: its path, its member in
/// [`Documents`], and the check of a value that is not empty.
macro_rules! plain {
    ($path:ident: $document:ident.$member:ident) => {
        plain!($path: $document.$member, |_| Ok(()))
    };
    ($path:ident: $document:ident.$member:ident, $check:expr) => {
        rule::Plain {
            path: stringify!($path),
            kept: |documents| &documents.$document.$member,
            kept_mut: |documents| &mut documents.$document.$member,
            shown: |message| &message.$path,
            shown_mut: |message| &mut message.$path,
            check: |value| $check(value),
            copied: None,
        }
    };
}
pub(super) use plain;
