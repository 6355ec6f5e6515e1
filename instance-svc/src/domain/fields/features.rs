//! `feature_flags` and `feature_sets`: the flags of one instance, and the sets that a manager is asked for.

use std::collections::BTreeMap;

use hamlet_proto::hamlet::instance::v1 as pb;
use serde_json::{Map, Value};

use super::{
    Documents,
    formats::text::shown,
    rule::{CheckContext, Entries, Rule, all, invalid},
};
use crate::domain::{features, spec::InvalidField};

const FLAGS: &str = "feature_flags";
const SETS: &str = "feature_sets";

/// The maximum number of feature sets of an instance.
const MOST_SETS: usize = 64;

/// The flags of an instance. Their values are texts in JSON.
pub(super) struct Flags;

impl Rule for Flags {
    type Value = BTreeMap<String, String>;

    fn path(&self) -> &'static str {
        FLAGS
    }

    fn ask(&self, message: &pb::Instance) -> Result<Self::Value, InvalidField> {
        Ok(message.feature_flags.clone().into_iter().collect())
    }

    fn check_all(
        &self,
        flags: Self::Value,
        _: &CheckContext<'_>,
    ) -> Result<Self::Value, Vec<InvalidField>> {
        if flags.len() > features::MOST {
            return Err(vec![self.invalid(too_many())]);
        }
        let checked = flags
            .iter()
            .map(|(name, value)| check_flag(name, Some(value)));
        all(checked).map(|()| flags)
    }

    fn write(&self, flags: Self::Value, documents: &mut Documents) {
        let flags = flags.into_iter();
        let read = flags.filter_map(|(name, text)| Some((name, features::parse(&text).ok()?)));
        keep(FLAGS, Value::Object(read.collect()), documents);
    }

    fn read(&self, documents: &Documents, message: &mut pb::Instance) {
        message.feature_flags = documents
            .instance
            .feature_flags()
            .map(features::texts)
            .unwrap_or_default();
    }

    fn entries(&self) -> Option<&dyn Entries> {
        Some(self)
    }
}

impl Entries for Flags {
    fn check(
        &self,
        name: &str,
        value: Option<&str>,
        context: &CheckContext<'_>,
    ) -> Result<(), InvalidField> {
        check_flag(name, value)?;
        if value.is_some() && after(context) > features::MOST {
            return Err(self.invalid(too_many()));
        }
        Ok(())
    }

    fn write(&self, name: &str, value: Option<&str>, documents: &mut Documents) {
        let mut flags = documents
            .instance
            .feature_flags()
            .cloned()
            .unwrap_or_default();
        match value.map(features::parse) {
            Some(Ok(value)) => {
                flags.insert(name.to_owned(), value);
            }
            // The check has refused what is no JSON.
            Some(Err(_)) => {}
            None => {
                flags.shift_remove(name);
            }
        }
        keep(FLAGS, Value::Object(flags), documents);
    }
}

/// The sets that a manager is asked for. They are sorted, as the original stores them.
pub(super) struct Sets;

impl Rule for Sets {
    type Value = Vec<String>;

    fn path(&self) -> &'static str {
        SETS
    }

    fn ask(&self, message: &pb::Instance) -> Result<Self::Value, InvalidField> {
        Ok(message.feature_sets.clone())
    }

    fn check_all(
        &self,
        mut sets: Self::Value,
        _: &CheckContext<'_>,
    ) -> Result<Self::Value, Vec<InvalidField>> {
        if sets.len() > MOST_SETS {
            return Err(vec![
                self.invalid(format!("holds more than {MOST_SETS} sets; use fewer")),
            ]);
        }
        let checked = sets.iter().enumerate().map(|(position, set)| {
            check_set(set).map_err(|wrong| invalid(&format!("{SETS}[{position}]"), wrong))
        });
        all(checked)?;
        sets.sort_unstable();
        sets.dedup();
        Ok(sets)
    }

    fn write(&self, sets: Self::Value, documents: &mut Documents) {
        keep(SETS, sets.into(), documents);
    }

    fn read(&self, documents: &Documents, message: &mut pb::Instance) {
        message.feature_sets = documents.instance.feature_sets();
    }
}

fn check_flag(name: &str, value: Option<&str>) -> Result<(), InvalidField> {
    features::check_name(name).map_err(|wrong| invalid(FLAGS, wrong))?;
    if let Some(value) = value {
        features::parse(value).map_err(|wrong| invalid(&format!("{FLAGS}.{name}"), wrong))?;
    }
    Ok(())
}

fn check_set(set: &str) -> Result<(), String> {
    let is_usable = !set.is_empty()
        && set.len() <= features::LONGEST_NAME
        && !set.contains(|it: char| it.is_whitespace() || it.is_control() || it == ',');
    if is_usable {
        return Ok(());
    }
    Err(format!(
        "{} is no name of a feature set; use one word of at most {} bytes without a comma",
        shown(set),
        features::LONGEST_NAME
    ))
}

fn too_many() -> String {
    format!("would be more than {} flags; remove others", features::MOST)
}

/// The number of flags after the change.
fn after(context: &CheckContext<'_>) -> usize {
    let mut documents = Documents::default();
    if let Some(now) = context.now {
        documents.instance.rest.clone_from(&now.instance.rest);
    }
    context.asked.write(&mut documents);
    documents.instance.feature_flags().map_or(0, Map::len)
}

/// Flags are sorted by name, so that equal ones give equal documents. Empty values leave the document.
fn keep(path: &str, mut value: Value, documents: &mut Documents) {
    value.sort_all_objects();
    let rest = &mut documents.instance.rest;
    let is_empty = match &value {
        Value::Object(flags) => flags.is_empty(),
        Value::Array(sets) => sets.is_empty(),
        _ => true,
    };
    if is_empty {
        rest.shift_remove(path);
    } else {
        rest.insert(path.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Documents;
    use crate::domain::fields::{Asked, Now};

    #[test]
    fn flags_are_set_and_removed_one_by_one_or_all_together() {
        let mut documents = Documents::default();
        let mut write = |asked: Asked| {
            asked.write(&mut documents);
            let kept = documents.instance.rest.get("feature_flags").cloned();
            kept.unwrap_or_default()
        };
        let both = json!({"b": "5", "a.b": r#"{"y":1,"x":[true]}"#});
        let kept = write(Asked::default().with("feature_flags", both));
        assert_eq!(kept.to_string(), r#"{"a.b":{"x":[true],"y":1},"b":5}"#);
        let kept = write(
            Asked::default()
                .with("feature_flags.c", "\"text\"")
                .with("feature_flags.a.b", Value::Null),
        );
        assert_eq!(kept, json!({"b": 5, "c": "text"}));
        let kept = write(Asked::default().with("feature_flags", json!({})));
        assert_eq!(kept, Value::Null);
    }

    #[test]
    fn what_is_wrong_with_flags_and_sets_is_told() {
        let documents = Documents::default();
        let now = Now {
            instance: &documents.instance,
            record: &documents.record,
        };
        let refused = |path: &str, value: Value| {
            let asked = Asked::default().with(path, value);
            let wrong = asked.check(Some(now)).err().unwrap_or_default();
            wrong.into_iter().map(|it| it.field).collect::<Vec<_>>()
        };
        for (path, value, field) in [
            (
                "feature_flags.a",
                json!("no JSON"),
                "instance.feature_flags.a",
            ),
            ("feature_flags.a", json!("null"), "instance.feature_flags.a"),
            ("feature_flags._id", json!("1"), "instance.feature_flags"),
            (
                "feature_sets",
                json!(["a", "b c"]),
                "instance.feature_sets[1]",
            ),
            ("feature_sets", json!([""]), "instance.feature_sets[0]"),
        ] {
            assert_eq!(refused(path, value), [field], "{path}");
        }
        let many: Vec<String> = (0..65).map(|it| it.to_string()).collect();
        assert_eq!(
            refused("feature_sets", json!(many)),
            ["instance.feature_sets"]
        );
        assert!(refused("feature_sets", json!(["b", "a"])).is_empty());
    }
}
