#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed expectation is the test failing"
)]

use std::collections::BTreeSet;

use hamlet_proto::{
    fields::{Change as MayChange, FIELDS, Field, Kept, by_path},
    hamlet::instance::v1::{Instance, instance::AuthMode},
};
use prost_types::Timestamp;
use serde_json::{Map, Value, json};

use super::{Asked, BY_SERVICE, Documents, Now, SETTABLE, Settable};
use crate::domain::{instance::InstanceDocument, record::Record};

/// A message in which every field that a caller can set has a distinct value.
fn everything() -> Instance {
    let mut message = Instance {
        domain: "alice.example".to_owned(),
        domain_aliases: vec!["a.example".to_owned()],
        old_domain: "was.example".to_owned(),
        locale: "fr".to_owned(),
        context: "dev".to_owned(),
        email: "alice@example.org".to_owned(),
        public_name: "Alice".to_owned(),
        timezone: "Europe/Paris".to_owned(),
        phone: "112".to_owned(),
        settings: [("offer".to_owned(), "free".to_owned())].into(),
        uuid: "u-1".to_owned(),
        oidc_id: "o-1".to_owned(),
        franceconnect_id: "f-1".to_owned(),
        org_domain: "org.example".to_owned(),
        org_id: "g-1".to_owned(),
        magic_link: true,
        sponsorships: vec!["acme".to_owned()],
        tos_signed: "1.0.0-20170901".to_owned(),
        tos_latest: "2.0.0-20250901".to_owned(),
        no_auto_update: true,
        disk_quota_bytes: 1000,
        couch_cluster: Some(1),
        blocked: true,
        blocking_reason: "PAYMENT_FAILED".to_owned(),
        onboarding_finished: true,
        deleting: true,
        locked: true,
        labels: [("customer".to_owned(), "acme".to_owned())].into(),
        feature_flags: [("drive.office".to_owned(), "true".to_owned())].into(),
        feature_sets: vec!["beta".to_owned()],
        debug_until: Some(Timestamp {
            seconds: 4_000_000_000,
            nanos: 0,
        }),
        ..Instance::default()
    };
    message.set_auth_mode(AuthMode::TwoFactorMail);
    message
}

/// Documents in which every field has a value, including those that the service sets.
fn documents() -> Documents {
    let mut instance = json!({
        "domain": "", "password_defined": true, "prefix": "cozya", "indexes_version": 37,
        "register_token": "b2xk", "feature_sets": ["x"]
    });
    let record = json!({
        "domain": "", "prefix": "", "locale": "", "created_by": "c", "operation": "o",
        "created_at": "2026-01-01T00:00:00Z", "deleted_at": "2026-01-02T00:00:00Z",
        "purge_at": "2026-01-03T00:00:00Z", "register_expires_at": "2026-01-04T00:00:00Z"
    });
    let read = |value: Value| serde_json::from_value::<InstanceDocument>(value).unwrap();
    let mut documents = Documents {
        id: "0123".to_owned(),
        etag: "e".to_owned(),
        instance: read(instance.take()),
        settings: Map::new(),
        record: serde_json::from_value(record).unwrap(),
    };
    for rule in SETTABLE {
        let value = rule.ask(&everything()).unwrap();
        rule.write(None, &value, &mut documents);
    }
    documents.copy();
    documents
}

fn field(rule: &dyn Settable) -> &'static Field {
    by_path(rule.path()).unwrap()
}

fn members(value: impl serde::Serialize) -> Map<String, Value> {
    match serde_json::to_value(value).unwrap() {
        Value::Object(members) => members,
        other => Map::from_iter([(String::new(), other)]),
    }
}

/// The members that differ.
fn changed(before: &Map<String, Value>, after: &Map<String, Value>) -> BTreeSet<String> {
    before
        .keys()
        .chain(after.keys())
        .filter(|key| before.get(*key) != after.get(*key))
        .cloned()
        .collect()
}

fn keys<const N: usize>(keys: [&str; N]) -> BTreeSet<String> {
    keys.map(str::to_owned).into()
}

#[test]
fn each_field_has_one_rule() {
    let mut of_rules: Vec<_> = SETTABLE
        .iter()
        .map(|rule| rule.path())
        .chain(BY_SERVICE.iter().map(|rule| rule.path))
        .collect();
    let mut described: Vec<_> = FIELDS.iter().map(|field| field.path).collect();
    of_rules.sort_unstable();
    described.sort_unstable();
    assert_eq!(of_rules, described);
    for rule in SETTABLE {
        let field = field(*rule);
        let settable = field.at_creation || field.change.may_set();
        assert!(settable, "{field:?}");
    }
    for rule in BY_SERVICE {
        let field = by_path(rule.path).unwrap();
        assert_eq!(field.change, MayChange::ByService, "{field:?}");
    }
}

#[test]
fn a_value_that_is_there_already_is_told_from_a_new_one() {
    let (asked, wrong) = Asked::by_mask(
        &everything(),
        &SETTABLE
            .iter()
            .map(|rule| field(*rule))
            .filter(|field| field.change.may_set())
            .map(|field| field.path.to_owned())
            .collect::<Vec<_>>(),
    );
    assert!(wrong.is_empty());
    let now = documents();
    assert_eq!(asked.unchanged(&now), asked.paths());
    let new = asked.unchanged(&Documents::default());
    assert_eq!(new, Vec::<String>::new());
    let cleared = Asked::default().with("email", "").with("magic_link", false);
    assert_eq!(cleared.unchanged(&Documents::default()), cleared.paths());
}

#[test]
fn each_value_is_written_where_the_table_says_and_read_from_there() {
    for rule in SETTABLE {
        let path = rule.path();
        let value = rule.ask(&everything()).unwrap();
        assert_ne!(value, rule.none(), "{path} has no example above");
        let mut written = Documents::default();
        // A reason needs a block.
        written.instance.blocked = path == "blocking_reason";
        let before = written.clone();
        rule.write(None, &value, &mut written);
        let in_document = changed(&members(&before.instance), &members(&written.instance));
        let in_record = changed(&members(&before.record), &members(&written.record));
        let in_settings = changed(&before.settings, &written.settings);
        match field(*rule).kept {
            Kept::Document(key) => {
                let expected = match path {
                    "blocked" => keys(["blocked", "blocking_reason"]),
                    _ => keys([key]),
                };
                assert_eq!(in_document, expected, "{path}");
                assert!(in_settings.is_empty(), "{path}");
                // Fields that lists show have a copy under the same key.
                assert!(in_record.is_empty() || in_record == keys([key]), "{path}");
            }
            Kept::Settings(key) => {
                let expected = if key == "*" { "offer" } else { key };
                assert_eq!(in_settings, keys([expected]), "{path}");
                assert!(in_document.is_empty(), "{path}");
                // Fields that lists show have a copy under the same key.
                assert!(in_record.is_empty() || in_record == keys([key]), "{path}");
                assert_eq!(in_record.is_empty(), !field(*rule).listed, "{path}");
            }
            Kept::Record(key) => {
                assert_eq!(in_record, keys([key]), "{path}");
                assert!(in_document.is_empty() && in_settings.is_empty(), "{path}");
            }
            Kept::Derived => assert_eq!(path, "none is derived"),
        }
        let field = field(*rule);
        assert!(
            !(field.filtered || field.sorted) || !in_record.is_empty(),
            "{path}"
        );
        let mut message = Instance::default();
        rule.read(&written, &mut message);
        assert_eq!(rule.ask(&message).unwrap(), value, "{path}");
        let mut cleared = written;
        rule.write(None, &rule.none(), &mut cleared);
        let mut message = Instance::default();
        rule.read(&cleared, &mut message);
        // A blocked instance keeps a reason, and a position is always shown.
        if !["couch_cluster", "blocking_reason"].contains(&path) {
            assert_eq!(rule.ask(&message).unwrap(), rule.none(), "{path}");
        }
    }
}

#[test]
fn fields_of_the_service_are_read_from_where_the_table_says() {
    let documents = documents();
    // Warnings follow from the configuration.
    for rule in BY_SERVICE.iter().filter(|rule| rule.path != "warnings") {
        let mut message = Instance::default();
        (rule.read)(&documents_that_wait(&documents), &mut message);
        assert_ne!(message, Instance::default(), "{} is not read", rule.path);
        let key = match by_path(rule.path).unwrap().kept {
            Kept::Document(key) | Kept::Record(key) => key,
            Kept::Settings(_) | Kept::Derived => continue,
        };
        let mut without = documents_that_wait(&documents);
        let mut instance = members(&without.instance);
        let mut record = members(&without.record);
        if matches!(by_path(rule.path).unwrap().kept, Kept::Document(_)) {
            assert!(instance.remove(key).is_some(), "{key}");
        } else {
            assert!(record.remove(key).is_some(), "{key}");
        }
        without.instance = serde_json::from_value(instance.into()).unwrap();
        without.record = serde_json::from_value(record.into()).unwrap();
        let mut message = Instance::default();
        (rule.read)(&without, &mut message);
        assert_eq!(
            message,
            Instance::default(),
            "{} does not lie in {key}",
            rule.path
        );
    }
}

/// The same for an instance without an owner: it has a register link.
fn documents_that_wait(documents: &Documents) -> Documents {
    let mut waiting = documents.clone();
    waiting.instance.onboarding_finished = false;
    waiting
}

#[test]
fn lists_show_what_the_table_says() {
    let whole = documents().show();
    let listed = documents().show_in_list();
    for rule in SETTABLE {
        let (whole, listed) = (rule.ask(&whole).unwrap(), rule.ask(&listed).unwrap());
        assert_ne!(whole, rule.none(), "{}", rule.path());
        let expected = if field(*rule).listed {
            whole
        } else {
            rule.none()
        };
        assert_eq!(listed, expected, "{}", rule.path());
    }
    assert_eq!((whole.etag.as_str(), listed.etag.as_str()), ("e", ""));
    assert_eq!(whole.id, listed.id);
}

#[test]
fn a_creation_takes_what_the_table_says_and_refuses_the_others() {
    let by_service = [
        (
            "prefix",
            Instance {
                prefix: "p".to_owned(),
                ..Instance::default()
            },
        ),
        (
            "id",
            Instance {
                id: "i".to_owned(),
                ..Instance::default()
            },
        ),
        (
            "password_defined",
            Instance {
                password_defined: Some(false),
                ..Instance::default()
            },
        ),
        (
            "indexes_version",
            Instance {
                indexes_version: 1,
                ..Instance::default()
            },
        ),
    ];
    for (path, message) in by_service {
        let (_, wrong) = Asked::at_creation(&message);
        assert_eq!(wrong[0].field, format!("instance.{path}"));
        assert_eq!(wrong[0].wrong, "cannot be chosen at creation; leave it out");
    }
    for rule in SETTABLE {
        let path = rule.path();
        let message = only(*rule);
        let (asked, wrong) = Asked::at_creation(&message);
        assert_eq!(asked.values().contains_key(path), field(*rule).at_creation);
        let refused = wrong
            .iter()
            .any(|it| it.field == format!("instance.{path}"));
        assert_eq!(refused, !field(*rule).at_creation, "{path}");
    }
}

/// A message with one field.
fn only(rule: &dyn Settable) -> Instance {
    let mut message = Instance::default();
    rule.read(&documents(), &mut message);
    message
}

#[test]
fn an_update_takes_what_the_table_says() {
    for field in FIELDS {
        let mask = [field.path.to_owned()];
        let (asked, mut wrong) = Asked::by_mask(&everything(), &mask);
        if field.change.may_set() {
            assert!(wrong.is_empty(), "{wrong:?}");
            assert!(asked.values().contains_key(field.path), "{field:?}");
        } else {
            let refused = wrong.remove(0);
            assert_eq!(refused.field, "update_mask", "{field:?}");
            let why = match field.change {
                MayChange::AtCreationOnly => "is chosen at creation and stays",
                _ => "is set by the service alone",
            };
            assert!(refused.wrong.contains(why), "{}", refused.wrong);
        }
    }
}

#[test]
fn clearable_fields_are_cleared() {
    let documents = documents();
    let now = Now {
        instance: &documents.instance,
        record: &documents.record,
    };
    for field in FIELDS.iter().filter(|field| field.change.may_clear()) {
        let mask = [field.path.to_owned()];
        let (asked, wrong) = Asked::by_mask(&Instance::default(), &mask);
        assert!(wrong.is_empty(), "{wrong:?}");
        assert!(asked.check(Some(now)).is_ok(), "{field:?}");
    }
}

#[test]
fn entries_of_a_map_are_named_one_by_one() {
    let message = everything();
    let mask =
        |paths: &[&str]| -> Vec<String> { paths.iter().map(|&path| path.to_owned()).collect() };
    let (asked, _) = Asked::by_mask(&message, &mask(&["settings.offer", "settings.gone"]));
    assert_eq!(asked.values().get("settings.offer"), Some(&json!("free")));
    assert_eq!(asked.values().get("settings.gone"), Some(&Value::Null));
    let whole = Asked::by_mask(
        &message,
        &mask(&["settings.offer", "settings", "settings.offer"]),
    );
    assert_eq!(whole, Asked::by_mask(&message, &mask(&["settings"])));
    let (others, refused) = Asked::by_mask(&message, &mask(&["settings.tz", "locale", "colour"]));
    assert_eq!(others.paths(), ["locale"]);
    assert_eq!(refused.len(), 2);
    assert_eq!(
        refused[0].wrong,
        "\"settings.tz\" has a field of its own: use instance.timezone"
    );
    for nonsense in ["uuid.x", "", "settings", "colour"] {
        let (_, refused) = Asked::by_mask(&message, &mask(&[nonsense]));
        assert_eq!(refused.is_empty(), nonsense == "settings", "{nonsense}");
    }
}

#[test]
fn the_copies_in_a_record_follow_the_document() {
    let document = documents().instance;
    let following = Record::default().following(&document);
    assert_eq!(following.domain, "alice.example");
    assert_eq!(following.domain_aliases, ["a.example"]);
    assert_eq!(following.old_domain, "was.example");
    assert_eq!(following.prefix, "cozya");
    assert_eq!(following.locale, "fr");
    assert_eq!(following.context, "dev");
    assert!(!following.locked);
}
