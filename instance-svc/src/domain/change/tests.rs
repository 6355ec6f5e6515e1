#![allow(
    clippy::unwrap_used,
    reason = "a failed expectation is the test failing"
)]

use serde_json::{Map, Value, json};

use super::{Asked, Change, ChangeKind, Now, RecordPatch, SoftDeletion};
use crate::domain::{
    instance::InstanceDocument,
    record::{Record, Refusal},
    time::Time,
};

fn time(second: i64) -> Time {
    Time::from_unix(second, 0).unwrap()
}

fn document() -> InstanceDocument {
    serde_json::from_value(json!({
        "domain": "alice.example:8080", "domain_aliases": ["a.example"], "prefix": "cozya",
        "locale": "fr", "tos": "1.0.0-20170901", "password_defined": true,
        "feature_flags": {"x": 1}, "passphrase_hash": "aGFzaA=="
    }))
    .unwrap()
}

fn record() -> Record {
    Record {
        domain: "alice.example:8080".to_owned(),
        domain_aliases: vec!["a.example".to_owned()],
        ..Record::default()
    }
}

fn asking(asked: Asked) -> Change {
    Change {
        asked,
        ..Change::default()
    }
}

fn ask(path: &str, value: impl Into<Value>) -> Change {
    asking(Asked::default().with(path, value))
}

#[test]
fn unnamed_fields_are_kept() {
    let mut changed = document();
    let change = ask("locale", "de");
    assert!(change.apply_to_document(&mut changed));
    let mut expected = serde_json::to_value(document()).unwrap();
    expected
        .as_object_mut()
        .unwrap()
        .insert("locale".to_owned(), json!("de"));
    assert_eq!(serde_json::to_value(&changed).unwrap(), expected);
    assert!(!change.apply_to_document(&mut changed), "once is enough");
}

#[test]
fn unblocking_clears_the_reason_of_a_block() {
    let mut changed = document();
    ask("blocked", true).apply_to_document(&mut changed);
    assert_eq!(changed.blocking_reason, "UNKNOWN");
    ask("blocking_reason", "PAYMENT_FAILED").apply_to_document(&mut changed);
    assert_eq!(changed.blocking_reason, "PAYMENT_FAILED");
    ask("blocked", false).apply_to_document(&mut changed);
    assert_eq!(changed, document());
}

#[test]
fn a_signed_version_no_longer_awaits_a_signature() {
    let mut changed = document();
    ask("tos_latest", "2.0.0-20250901").apply_to_document(&mut changed);
    assert_eq!(changed.tos_latest, "2.0.0-20250901");
    ask("tos_signed", "2.0.0-20250901").apply_to_document(&mut changed);
    assert_eq!(changed.tos, "2.0.0-20250901");
    assert_eq!(changed.tos_latest, "");
}

#[test]
fn settings_are_set_and_cleared_one_by_one_or_all_together() {
    let Value::Object(mut settings) = json!({
        "email": "a@example.org", "offer": "free", "partner": "p", "theirs": {"kept": true}
    }) else {
        return;
    };
    let one = asking(
        Asked::default()
            .with("settings.offer", Value::Null)
            .with("timezone", "Asia/Tokyo"),
    );
    assert!(one.apply_to_settings(&mut settings));
    assert!(!one.apply_to_settings(&mut settings), "once is enough");
    let all = ask("settings", json!({"new": "1"}));
    assert!(all.apply_to_settings(&mut settings));
    assert!(!all.apply_to_settings(&mut settings), "once is enough");
    let expected = json!({
        "email": "a@example.org", "tz": "Asia/Tokyo", "new": "1", "theirs": {"kept": true}
    });
    assert_eq!(Value::Object(settings), expected);
    assert!(!Change::default().apply_to_settings(&mut Map::new()));
}

#[test]
fn names_are_compared_by_their_hosts() {
    let mut change = ask("domain_aliases", json!(["a.example:8080", "b.example"]));
    change.settle(&document(), &record());
    let ids =
        |names: &[super::Wanted]| names.iter().map(|name| name.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&change.added), ["b.example"]);
    assert!(change.removed.is_empty());
    let mut change = ask("domain_aliases", json!([]));
    change.settle(&document(), &record());
    assert!(change.added.is_empty());
    assert_eq!(ids(&change.removed), ["a.example"]);
}

#[test]
fn restoring_an_instance_restores_its_block() {
    let mut document = document();
    let mut record = record();
    document.blocked = true;
    document.blocking_reason = "PAYMENT_FAILED".to_owned();
    let before = (document.clone(), record.clone());
    for purge_at in [time(1), time(2)] {
        let mut delete = Change {
            kind: ChangeKind::Delete,
            asked: Asked::default()
                .with("blocked", true)
                .with("blocking_reason", super::DELETED),
            record: RecordPatch {
                deletion: Some(SoftDeletion::Begin {
                    deleted_at: time(0),
                    purge_at,
                }),
                ..RecordPatch::default()
            },
            ..Change::default()
        };
        delete.settle(&document, &record);
        delete.apply_to_document(&mut document);
        delete.apply_to_record(&mut record);
        assert_eq!(document.blocking_reason, "DELETED");
        assert_eq!(record.purge_at, Some(purge_at));
    }
    let mut undelete = Change {
        kind: ChangeKind::Undelete,
        record: RecordPatch {
            deletion: Some(SoftDeletion::TakeBack),
            ..RecordPatch::default()
        },
        ..Change::default()
    };
    undelete.settle(&document, &record);
    undelete.apply_to_document(&mut document);
    undelete.apply_to_record(&mut record);
    assert_eq!((document, record), before);
}

#[test]
fn the_state_of_an_instance_decides_which_changes_may_begin() {
    let deleted = Record {
        deleted_at: Some(time(0)),
        ..record()
    };
    let locked = Record {
        locked: true,
        ..record()
    };
    for &kind in ChangeKind::ALL {
        let change = Change {
            kind,
            ..Change::default()
        };
        let plain = match kind {
            ChangeKind::Undelete => Err(Refusal::NotDeleted),
            _ => Ok(()),
        };
        let when_deleted = match kind {
            ChangeKind::Delete | ChangeKind::Undelete => Ok(()),
            _ => Err(Refusal::Deleted),
        };
        let when_locked = match kind {
            ChangeKind::Delete => Err(Refusal::Locked),
            ChangeKind::Undelete => Err(Refusal::NotDeleted),
            _ => Ok(()),
        };
        assert_eq!(change.may_begin(&record()), plain, "{kind:?}");
        assert_eq!(change.may_begin(&deleted), when_deleted, "{kind:?}");
        assert_eq!(change.may_begin(&locked), when_locked, "{kind:?}");
    }
}

#[test]
fn each_wrong_value_is_named() {
    let cases = [
        (
            "instance.domain_aliases[0]",
            ask("domain_aliases", json!(["no name"])),
        ),
        (
            "instance.domain_aliases[0]",
            ask("domain_aliases", json!(["alice.example"])),
        ),
        ("instance.old_domain", ask("old_domain", "a.example")),
        ("instance.locale", ask("locale", "")),
        ("instance.locale", ask("locale", "French")),
        ("instance.uuid", ask("uuid", "a\nb")),
        ("instance.tos_signed", ask("tos_signed", "one")),
        ("instance.tos_latest", ask("tos_latest", "2.0.0")),
        ("instance.tos_latest", ask("tos_latest", "1.1.0-20250901")),
        (
            "instance.blocking_reason",
            ask("blocking_reason", "PAYMENT_FAILED"),
        ),
        (
            "instance.blocking_reason",
            asking(
                Asked::default()
                    .with("blocked", true)
                    .with("blocking_reason", "x".repeat(201)),
            ),
        ),
        (
            "instance.onboarding_finished",
            ask("onboarding_finished", false),
        ),
        ("instance.deleting", ask("deleting", true)),
        ("instance.disk_quota_bytes", ask("disk_quota_bytes", -1)),
        ("instance.email", ask("email", "bob")),
        (
            "instance.settings.locale",
            ask("settings.locale", Value::Null),
        ),
    ];
    for (field, wrong) in cases {
        let wrong = wrong.check(&document(), &record()).unwrap_err();
        let fields: Vec<_> = wrong.iter().map(|wrong| wrong.field.as_str()).collect();
        assert_eq!(fields, [field], "{wrong:?}");
    }
}

#[test]
fn all_wrong_values_are_found_at_once() {
    let asked = Asked::default()
        .with("email", "bob")
        .with("uuid", "a/b")
        .with("locale", "de");
    let wrong = asked
        .check(Some(Now {
            instance: &document(),
            record: &record(),
        }))
        .unwrap_err();
    let fields: Vec<_> = wrong.iter().map(|wrong| wrong.field.as_str()).collect();
    assert_eq!(fields, ["instance.email", "instance.uuid"]);
}

#[test]
fn only_an_instance_that_is_still_due_is_destroyed_automatically() {
    let deleted = Record {
        purge_at: Some(time(0)),
        ..record()
    };
    assert_eq!(deleted.may_be_destroyed(Some(time(0))), Ok(()));
    assert_eq!(deleted.may_be_destroyed(None), Ok(()));
    for other in [deleted, record()] {
        assert_eq!(other.may_be_destroyed(Some(time(1))), Err(Refusal::NotDue));
    }
    let locked = Record {
        locked: true,
        ..record()
    };
    assert_eq!(locked.may_be_destroyed(None), Err(Refusal::Locked));
}

#[test]
fn every_verb_is_among_the_names() {
    let names: Vec<_> = ChangeKind::ALL.iter().map(|kind| kind.name()).collect();
    assert_eq!(names, ChangeKind::NAMES);
}
