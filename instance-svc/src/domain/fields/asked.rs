//! The field values of a request.

use std::collections::BTreeMap;

use hamlet_proto::{
    fields::{self, Change, Kept},
    hamlet::instance::v1 as pb,
};
use serde_json::{Map, Value};

use super::{
    BY_SERVICE, Documents, SETTABLE, Settable, own_setting,
    rule::{CheckContext, Now, invalid},
    settable,
};
use crate::domain::spec::InvalidField;

/// The field values of a request, by field path; each has the type of its rule. An entry of a map has its own
/// path, as in `settings.offer`, and may be null, which clears it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked(BTreeMap<String, Value>);

impl Asked {
    /// The values that a message sets for a creation, and the fields that cannot be set at creation or that the
    /// contract does not allow.
    #[must_use]
    pub fn at_creation(message: &pb::Instance) -> (Self, Vec<InvalidField>) {
        let refused = |path| invalid(path, "cannot be chosen at creation; leave it out");
        let by_service = BY_SERVICE.iter().filter(|rule| (rule.refused)(message));
        let mut wrong: Vec<_> = by_service.map(|rule| refused(rule.path)).collect();
        let mut asked = Self::default();
        for rule in SETTABLE {
            let path = rule.path();
            let value = match rule.ask(message) {
                Ok(value) if value == rule.none() => continue,
                Ok(value) => value,
                Err(invalid) => {
                    wrong.push(invalid);
                    continue;
                }
            };
            if fields::by_path(path).is_some_and(|field| field.at_creation) {
                asked.0.insert(path.to_owned(), value);
            } else {
                wrong.push(refused(path));
            }
        }
        (asked, wrong)
    }

    /// The values of a message for the fields of the mask of a change, and every path that cannot be changed or whose
    /// value is invalid.
    #[must_use]
    pub fn by_mask(message: &pb::Instance, mask: &[String]) -> (Self, Vec<InvalidField>) {
        let mut asked = Self::default();
        let mut wrong = Vec::new();
        for path in mask {
            if let Err(invalid) = asked.ask(message, path) {
                wrong.push(invalid);
            }
        }
        (asked, wrong)
    }

    /// Takes the value of one path of a mask.
    fn ask(&mut self, message: &pb::Instance, path: &str) -> Result<(), InvalidField> {
        let (rule, entry) = changeable(path).map_err(|why| InvalidField {
            field: "update_mask".to_owned(),
            wrong: format!("{path:?} {why}"),
        })?;
        let value = rule.ask(message)?;
        match entry {
            Some(entry) => self.insert_entry(path, value.get(entry)),
            None if rule.has_entries() => self.insert_all(path, &value),
            None => {
                self.0.insert(path.to_owned(), value);
            }
        }
        Ok(())
    }

    /// Inserts an entry of a map; an empty string clears it.
    fn insert_entry(&mut self, path: &str, value: Option<&Value>) {
        let value = value.filter(|value| value.as_str() != Some(""));
        let in_whole = path
            .split_once('.')
            .and_then(|(whole, entry)| self.0.get(whole)?.get(entry));
        if in_whole.is_none() {
            let value = value.cloned().unwrap_or_default();
            self.0.insert(path.to_owned(), value);
        }
    }

    /// Inserts a whole map. Values of single entries that were inserted before are replaced, so each entry
    /// occurs once.
    fn insert_all(&mut self, path: &str, value: &Value) {
        let mut whole = Map::new();
        for (entry, value) in value.as_object().into_iter().flatten() {
            let of_entry = format!("{path}.{entry}");
            if value.as_str() == Some("") {
                self.0.insert(of_entry, Value::Null);
            } else {
                self.0.remove(&of_entry);
                whole.insert(entry.clone(), value.clone());
            }
        }
        self.0.insert(path.to_owned(), Value::Object(whole));
    }

    /// Adds a value. A value of the wrong type is ignored.
    #[must_use]
    pub fn with(mut self, path: &str, value: impl Into<Value>) -> Self {
        self.take(path, value.into());
        self
    }

    /// Takes a value of a stored request. Returns whether its type is right. A field that this version does not
    /// know is skipped.
    pub(crate) fn take(&mut self, path: &str, value: Value) -> bool {
        let Some((rule, entry)) = named(path) else {
            return true;
        };
        let fits = rule.takes(entry, &value);
        if fits {
            self.0.insert(path.to_owned(), value);
        }
        fits
    }

    /// The values by path.
    pub(crate) const fn values(&self) -> &BTreeMap<String, Value> {
        &self.0
    }

    /// The paths of the values, in the order of their names.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// The requested string, if any.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<&str> {
        self.0.get(path).and_then(Value::as_str)
    }

    /// The requested list of strings, if any.
    #[must_use]
    pub fn texts(&self, path: &str) -> Option<Vec<String>> {
        let texts = self.0.get(path)?.as_array()?.iter();
        Some(texts.filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// The requested boolean, if any.
    #[must_use]
    pub fn flag(&self, path: &str) -> Option<bool> {
        self.0.get(path).and_then(Value::as_bool)
    }

    /// The requested number, if any.
    #[must_use]
    pub fn number(&self, path: &str) -> Option<i64> {
        self.0.get(path).and_then(Value::as_i64)
    }

    /// Whether any of the fields stored in this place is requested.
    #[must_use]
    pub fn touches(&self, kept: impl Fn(Kept) -> bool) -> bool {
        self.0
            .keys()
            .filter_map(|path| named(path))
            .filter_map(|(rule, _)| fields::by_path(rule.path()))
            .any(|field| kept(field.kept))
    }

    /// Checks all values and brings them into their canonical form. A creation also gets the defaults of the
    /// fields that every instance has. `now` is the current instance of a change.
    ///
    /// # Errors
    /// All invalid fields, in the order of [`SETTABLE`]; at least one.
    pub fn check(mut self, now: Option<Now<'_>>) -> Result<Self, Vec<InvalidField>> {
        let mut wrong = Vec::new();
        for rule in SETTABLE {
            if now.is_none()
                && !self.0.contains_key(rule.path())
                && let Some(default_value) = rule.default_value()
            {
                self.0.insert(rule.path().to_owned(), default_value);
            }
            for (path, value) in self.of(*rule) {
                let context = CheckContext { asked: &self, now };
                match rule.check(entry_of(*rule, &path), &value, &context) {
                    Ok(canonical) => {
                        self.0.insert(path, canonical);
                    }
                    Err(invalid) => wrong.extend(invalid),
                }
            }
        }
        if wrong.is_empty() {
            Ok(self)
        } else {
            Err(wrong)
        }
    }

    /// Writes each value into the document that holds its field.
    pub fn write(&self, documents: &mut Documents) {
        for rule in SETTABLE {
            for (path, value) in self.of(*rule) {
                rule.write(entry_of(*rule, &path), &value, documents);
            }
        }
    }

    /// The paths whose fields are shown alike before and after, in the order of their names.
    #[must_use]
    pub fn unchanged(&self, now: &Documents) -> Vec<String> {
        let mut then = now.clone();
        self.write(&mut then);
        let paths = self.0.keys().filter(|path| {
            named(path).is_some_and(|(rule, entry)| {
                let show = |documents: &Documents| {
                    let mut shown = pb::Instance::default();
                    rule.read(documents, &mut shown);
                    shown
                };
                let (before, after) = (show(now), show(&then));
                before == after
                    || entry.is_some_and(|entry| match (rule.ask(&before), rule.ask(&after)) {
                        (Ok(before), Ok(after)) => before.get(entry) == after.get(entry),
                        _ => false,
                    })
            })
        });
        paths.cloned().collect()
    }

    /// The requested values of a field: the whole field first, then its entries.
    fn of(&self, rule: &dyn Settable) -> Vec<(String, Value)> {
        let path = rule.path();
        let whole = self.0.get_key_value(path).into_iter();
        let below = format!("{path}.");
        let entries = self
            .0
            .range(below.clone()..)
            .take_while(|(name, _)| rule.has_entries() && name.starts_with(&below));
        whole
            .chain(entries)
            .map(|(path, value)| (path.clone(), value.clone()))
            .collect()
    }
}

fn entry_of<'a>(rule: &dyn Settable, path: &'a str) -> Option<&'a str> {
    path.strip_prefix(rule.path())?.strip_prefix('.')
}

/// The rule of a path, and the entry of its map.
fn named(path: &str) -> Option<(&'static dyn Settable, Option<&str>)> {
    if let Some(rule) = settable(path) {
        return Some((rule, None));
    }
    let (whole, entry) = path.split_once('.')?;
    let rule = settable(whole).filter(|rule| rule.has_entries())?;
    Some((rule, Some(entry)))
}

/// The rule of a path in a mask, and the entry of its map; or why it cannot be changed.
fn changeable(path: &str) -> Result<(&'static dyn Settable, Option<&str>), String> {
    if path == "*" {
        return Err("would clear fields that you may not know; name each field".to_owned());
    }
    if let Some((rule, Some(entry))) = named(path)
        && rule.path() == super::settings::PATH
        && let Some(own) = own_setting(entry)
    {
        return Err(format!("has a field of its own: use instance.{}", own.path));
    }
    let field = named(path).map_or(path, |(rule, _)| rule.path());
    let why = match (
        fields::by_path(field).map(|field| field.change),
        named(path),
    ) {
        (Some(Change::Set | Change::SetAndClear), Some(named)) => return Ok(named),
        (Some(Change::AtCreationOnly), _) => {
            "is chosen at creation and stays; leave it out of the mask"
        }
        (Some(_), _) => "is set by the service alone; leave it out of the mask",
        (None, _) => {
            "is no field of an instance; name one such as email, or a setting as settings.NAME"
        }
    };
    Err(why.to_owned())
}
