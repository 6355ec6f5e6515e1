//! `labels`: key-value pairs with which administrators tell instances apart. Only Hamlet has them.

use std::collections::BTreeMap;

use hamlet_proto::hamlet::instance::v1 as pb;
use serde_json::{Map, Value};

use super::{
    Documents,
    formats::text::{self, shown},
    rule::{CheckContext, Entries, Rule, all, invalid},
};
use crate::domain::spec::InvalidField;

const PATH: &str = "labels";
/// The maximum number of labels of an instance.
const MOST: usize = 64;
/// The maximum length of a key and of a value, in characters.
const LONGEST: usize = 63;

/// The labels of an instance.
pub(super) struct Labels;

impl Rule for Labels {
    type Value = BTreeMap<String, String>;

    fn path(&self) -> &'static str {
        PATH
    }

    fn ask(&self, message: &pb::Instance) -> Result<Self::Value, InvalidField> {
        Ok(message.labels.clone().into_iter().collect())
    }

    fn check_all(
        &self,
        labels: Self::Value,
        _: &CheckContext<'_>,
    ) -> Result<Self::Value, Vec<InvalidField>> {
        if labels.len() > MOST {
            let wrong = format!("holds more than {MOST} labels; use fewer");
            return Err(vec![self.invalid(wrong)]);
        }
        let checked = labels.iter().map(|(key, value)| check_label(key, value));
        all(checked).map(|()| labels)
    }

    fn write(&self, labels: Self::Value, documents: &mut Documents) {
        let labels = labels.into_iter().map(|(key, value)| (key, value.into()));
        keep(labels.collect(), documents);
    }

    fn read(&self, documents: &Documents, message: &mut pb::Instance) {
        let labels = kept(documents).into_iter().flatten();
        let texts =
            labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
        message.labels = texts.collect();
    }

    fn entries(&self) -> Option<&dyn Entries> {
        Some(self)
    }
}

impl Entries for Labels {
    fn check(
        &self,
        key: &str,
        value: Option<&str>,
        context: &CheckContext<'_>,
    ) -> Result<(), InvalidField> {
        check_label(key, value.unwrap_or_default())?;
        if value.is_some() && after(context) > MOST {
            return Err(self.invalid(format!("would be more than {MOST}; clear others")));
        }
        Ok(())
    }

    fn write(&self, key: &str, value: Option<&str>, documents: &mut Documents) {
        let mut labels = kept(documents).cloned().unwrap_or_default();
        match value {
            Some(value) => labels.insert(key.to_owned(), value.into()),
            None => labels.shift_remove(key),
        };
        keep(labels, documents);
    }
}

fn check_label(key: &str, value: &str) -> Result<(), InvalidField> {
    if !is_key(key) {
        return Err(invalid(
            PATH,
            format!(
                "{} is no key of a label; use up to {LONGEST} of a-z, 0-9 and - _ . beginning and ending \
                 with a letter or digit, such as customer",
                shown(key)
            ),
        ));
    }
    let wrong = |wrong: String| invalid(&format!("{PATH}.{key}"), wrong);
    if value.chars().count() > LONGEST {
        return Err(wrong(format!(
            "is longer than {LONGEST} characters; use a shorter text"
        )));
    }
    text::check(value).map_err(wrong)
}

/// The number of labels after the change.
fn after(context: &CheckContext<'_>) -> usize {
    let mut documents = Documents::default();
    if let Some(now) = context.now {
        documents.record.rest.clone_from(&now.record.rest);
    }
    context.asked.write(&mut documents);
    kept(&documents).map_or(0, Map::len)
}

fn kept(documents: &Documents) -> Option<&Map<String, Value>> {
    documents.record.rest.get(PATH)?.as_object()
}

/// Sorts labels by key, so that equal labels give equal documents.
fn keep(mut labels: Map<String, Value>, documents: &mut Documents) {
    labels.sort_keys();
    let rest = &mut documents.record.rest;
    if labels.is_empty() {
        rest.shift_remove(PATH);
    } else {
        rest.insert(PATH.to_owned(), labels.into());
    }
}

fn is_key(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let (first, last) = (text.bytes().next(), text.bytes().last());
    first.is_some_and(plain)
        && last.is_some_and(plain)
        && text.len() <= LONGEST
        && text
            .bytes()
            .all(|byte| plain(byte) || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::{Documents, Labels, MOST, PATH, Rule, check_label};
    use crate::domain::fields::{Asked, Now};
    use serde_json::{Value, json};

    #[test]
    fn keys_and_values_are_short() {
        for key in ["a", "customer", "a.b-c_d", "0", &"x".repeat(63)] {
            assert_eq!(check_label(key, "v"), Ok(()), "{key}");
        }
        for key in ["", "-a", "a-", ".", "A", "a b", "é", "a/b", &"x".repeat(64)] {
            assert!(check_label(key, "").is_err(), "{key:?}");
        }
        for value in ["", "Ünïcode text", &"é".repeat(63)] {
            assert_eq!(check_label("a", value), Ok(()), "{value}");
        }
        for value in ["a\nb", &"x".repeat(64)] {
            assert!(check_label("a", value).is_err(), "{value:?}");
        }
    }

    #[test]
    fn there_is_a_limit_to_their_number() {
        let labels = |many: usize| {
            let labels: serde_json::Map<String, Value> =
                (0..many).map(|it| (format!("k{it}"), "v".into())).collect();
            Asked::default()
                .with("domain", "a.example")
                .with(PATH, labels)
        };
        assert!(labels(MOST).check(None).is_ok());
        assert!(labels(MOST + 1).check(None).is_err());
        let mut documents = Documents::default();
        labels(MOST).write(&mut documents);
        let now = Now {
            instance: &documents.instance,
            record: &documents.record,
        };
        let more = Asked::default().with("labels.more", "v");
        assert!(more.clone().check(Some(now)).is_err());
        let instead = more.with("labels.k0", Value::Null);
        assert!(instead.check(Some(now)).is_ok());
    }

    #[test]
    fn labels_are_set_and_cleared_one_by_one_or_all_together() {
        let mut documents = Documents::default();
        let mut write = |asked: Asked| {
            asked.write(&mut documents);
            let mut message = hamlet_proto::hamlet::instance::v1::Instance::default();
            Rule::read(&Labels, &documents, &mut message);
            let kept = documents.record.rest.get(PATH).cloned().unwrap_or_default();
            (json!(message.labels), kept)
        };
        let both = json!({"a": "1", "b": "2"});
        let (seen, kept) = write(Asked::default().with(PATH, both.clone()));
        assert_eq!((seen, kept), (both.clone(), both));
        let (_, kept) = write(
            Asked::default()
                .with("labels.c", "3")
                .with("labels.a", Value::Null),
        );
        assert_eq!(kept, json!({"b": "2", "c": "3"}));
        let (seen, kept) = write(Asked::default().with(PATH, json!({})));
        assert_eq!((seen, kept), (json!({}), Value::Null));
    }
}
