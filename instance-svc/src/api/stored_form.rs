//! Tests of the stored form of requests, byte for byte.
//!
//! During a rolling restart, a replica of the previous version drives operations that this version has
//! accepted. A request that is repeated to another version must have the same MAC, which is computed over these
//! bytes. So the order of members counts, too.
#![allow(
    clippy::unwrap_used,
    reason = "a failed expectation is the test failing"
)]

use hamlet_proto::hamlet::instance::v1::{
    BlockInstanceRequest, CreateInstanceRequest, Instance, UnblockInstanceRequest,
    UpdateInstanceRequest, instance::AuthMode,
};
use serde_json::{Map, Value};

use super::change;
use crate::{
    actions::{request::secret::passphrase_change, soft_delete},
    domain::{
        change::Change,
        instance::{InstanceDocument, owner_contact, settings_document},
        location::DatabaseLocation,
        record::Record,
        seed::Seed,
        spec::Spec,
    },
    messages,
    operations::Operation,
};

fn texts<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_owned).into()
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> std::collections::HashMap<String, String> {
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// A message that sets every field that a caller can set.
fn everything() -> Instance {
    let mut message = Instance {
        domain: "Alice.example:8080".to_owned(),
        domain_aliases: texts(["Zoe.example", "alt.example", "ALT.example"]),
        old_domain: "Was.example".to_owned(),
        locale: "fr-FR".to_owned(),
        context: "dev".to_owned(),
        email: "alice@example.org".to_owned(),
        public_name: "Alice".to_owned(),
        timezone: "Europe/Paris".to_owned(),
        phone: "+33 6 12 34 56 78".to_owned(),
        settings: pairs([("partner", "p"), ("offer", "free")]),
        uuid: "u-1".to_owned(),
        oidc_id: "o-1".to_owned(),
        franceconnect_id: "f-1".to_owned(),
        magic_link: true,
        sponsorships: texts(["acme", "b"]),
        tos_signed: "20170901".to_owned(),
        tos_latest: "2.0.0-20250901".to_owned(),
        no_auto_update: true,
        disk_quota_bytes: 1000,
        couch_cluster: Some(1),
        ..Instance::default()
    };
    message.set_auth_mode(AuthMode::TwoFactorOidc);
    message
}

fn spec(instance: Instance) -> Spec {
    messages::spec(CreateInstanceRequest {
        instance: Some(instance),
        apps: texts(["home", "registry://drive/beta"]),
        trace: true,
        ..CreateInstanceRequest::default()
    })
    .unwrap()
    .0
    .check()
    .unwrap()
}

fn minimal() -> Spec {
    let instance = Instance {
        domain: "a.example".to_owned(),
        ..Instance::default()
    };
    let request = CreateInstanceRequest {
        instance: Some(instance),
        ..CreateInstanceRequest::default()
    };
    messages::spec(request).unwrap().0.check().unwrap()
}

const SPEC: &str = concat!(
    r#"{"domain":"alice.example:8080","domain_aliases":["zoe.example","alt.example"],"#,
    r#""old_domain":"was.example","locale":"fr-FR","context":"dev","email":"alice@example.org","#,
    r#""public_name":"Alice","timezone":"Europe/Paris","phone":"+33 6 12 34 56 78","#,
    r#""settings":{"offer":"free","partner":"p"},"uuid":"u-1","oidc_id":"o-1","#,
    r#""franceconnect_id":"f-1","magic_link":true,"sponsorships":["acme","b"],"#,
    r#""tos_signed":"1.0.0-20170901","tos_latest":"2.0.0-20250901","auth_mode":2,"#,
    r#""no_auto_update":true,"disk_quota_bytes":1000,"apps":["home","registry://drive/beta"],"#,
    r#""couch_cluster":1,"trace":true}"#
);

const MINIMAL_SPEC: &str = concat!(
    r#"{"domain":"a.example","locale":"en","auth_mode":0,"no_auto_update":false,"#,
    r#""disk_quota_bytes":0,"trace":false}"#
);

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

#[test]
fn a_creation() {
    assert_eq!(json(&spec(everything())), SPEC);
    assert_eq!(json(&minimal()), MINIMAL_SPEC);
    for text in [SPEC, MINIMAL_SPEC] {
        let read: Spec = serde_json::from_str(text).unwrap();
        assert_eq!(json(&read), text);
    }
    let read: Spec = serde_json::from_str(SPEC).unwrap();
    assert_eq!(read, spec(everything()));
}

/// Without the secrets, and without values that change with a version of the indexes.
fn created(spec: &Spec) -> String {
    let location = DatabaseLocation {
        couch_cluster: 1,
        prefix: "cozyabc",
    };
    let drawn = InstanceDocument::new(spec, location, &Seed::draw().unwrap());
    let mut document: Map<String, Value> =
        serde_json::from_value(serde_json::to_value(drawn).unwrap()).unwrap();
    for secret in [
        "register_token",
        "session_secret",
        "oauth_secret",
        "cli_secret",
        "indexes_version",
    ] {
        assert!(document.shift_remove(secret).is_some(), "{secret}");
    }
    json(&document)
}

#[test]
fn what_a_creation_writes() {
    assert_eq!(
        created(&spec(everything())),
        concat!(
            r#"{"domain":"alice.example:8080","domain_aliases":["zoe.example","alt.example"],"#,
            r#""old_domain":"was.example","prefix":"cozyabc","locale":"fr-FR","uuid":"u-1","#,
            r#""oidc_id":"o-1","franceconnect_id":"f-1","context":"dev","sponsorships":["acme","b"],"#,
            r#""tos":"1.0.0-20170901","tos_latest":"2.0.0-20250901","auth_mode":2,"magic_link":true,"#,
            r#""no_auto_update":true,"password_defined":false,"disk_quota":"1000","couch_cluster":1}"#
        )
    );
    assert_eq!(
        created(&minimal()),
        concat!(
            r#"{"domain":"a.example","prefix":"cozyabc","locale":"en","password_defined":false,"#,
            r#""couch_cluster":1}"#
        )
    );
    assert_eq!(
        json(&settings_document(&spec(everything()))),
        concat!(
            r#"{"offer":"free","partner":"p","tz":"Europe/Paris","email":"alice@example.org","#,
            r#""public_name":"Alice","phone":"+33 6 12 34 56 78"}"#
        )
    );
    assert_eq!(
        json(&owner_contact(
            &spec(everything()),
            "http://alice.example:8080/"
        )),
        concat!(
            r#"{"me":true,"fullname":"Alice","displayName":"Alice","#,
            r#""email":[{"address":"alice@example.org","primary":true}],"#,
            r#""cozy":[{"url":"http://alice.example:8080","primary":true}],"#,
            r#""indexes":{"byFamilyNameGivenNameEmailCozyUrl":"alice@example.org"}}"#
        )
    );
}

fn update(mask: &[&str], instance: Instance) -> Change {
    let paths = mask.iter().map(|&path| path.to_owned()).collect();
    change::update(UpdateInstanceRequest {
        instance: Some(instance),
        update_mask: Some(prost_types::FieldMask { paths }),
        ..UpdateInstanceRequest::default()
    })
    .unwrap()
    .0
}

const ALL: &[&str] = &[
    "locale",
    "settings",
    "domain_aliases",
    "old_domain",
    "context",
    "uuid",
    "oidc_id",
    "franceconnect_id",
    "sponsorships",
    "tos_signed",
    "tos_latest",
    "auth_mode",
    "magic_link",
    "no_auto_update",
    "blocked",
    "blocking_reason",
    "onboarding_finished",
    "deleting",
    "disk_quota_bytes",
    "locked",
    "debug_until",
    "email",
    "public_name",
    "timezone",
    "phone",
    "settings.gone",
    "settings.offer",
];

fn changed() -> Instance {
    Instance {
        etag: "e1".to_owned(),
        blocked: true,
        blocking_reason: "PAYMENT_FAILED".to_owned(),
        onboarding_finished: true,
        locked: true,
        debug_until: Some(prost_types::Timestamp {
            seconds: 4_000_000_000,
            nanos: 123_456_789,
        }),
        settings: pairs([("offer", "free"), ("empty", "")]),
        ..everything()
    }
}

/// The request as it was made: its MAC is computed over this.
const ASKED: &str = concat!(
    r#"{"kind":"update","etag":"e1","instance":{"domain_aliases":["Zoe.example","alt.example","#,
    r#""ALT.example"],"old_domain":"Was.example","locale":"fr-FR","context":"dev","uuid":"u-1","#,
    r#""oidc_id":"o-1","franceconnect_id":"f-1","sponsorships":["acme","b"],"#,
    r#""tos_signed":"20170901","tos_latest":"2.0.0-20250901","auth_mode":2,"magic_link":true,"#,
    r#""no_auto_update":true,"blocked":true,"blocking_reason":"PAYMENT_FAILED","#,
    r#""onboarding_finished":true,"deleting":false,"disk_quota_bytes":1000},"#,
    r#""settings":{"email":"alice@example.org","empty":null,"gone":null,"offer":"free","#,
    r#""phone":"+33 6 12 34 56 78","public_name":"Alice","tz":"Europe/Paris"},"#,
    r#""only_these_settings":true,"record":{"locked":true,"#,
    r#""debug_until":"2096-10-02T07:06:40.123456Z"}}"#
);

/// A request that clears everything.
const CLEARING: &str = concat!(
    r#"{"kind":"update","instance":{"domain_aliases":[],"old_domain":"","locale":"","context":"","#,
    r#""uuid":"","oidc_id":"","franceconnect_id":"","sponsorships":[],"tos_signed":"","#,
    r#""tos_latest":"","auth_mode":0,"magic_link":false,"no_auto_update":false,"blocked":false,"#,
    r#""blocking_reason":"","onboarding_finished":false,"deleting":false,"disk_quota_bytes":0},"#,
    r#""settings":{"email":null,"gone":null,"offer":null,"phone":null,"public_name":null,"tz":null},"#,
    r#""only_these_settings":true,"record":{"locked":false,"debug_until":""}}"#
);

/// A document as other software may have left it, in the order in which this service writes it.
const DOCUMENT: &str = concat!(
    r#"{"domain":"alice.example:8080","domain_aliases":["a.example"],"old_domain":"was.example","#,
    r#""prefix":"cozyabc","locale":"fr","uuid":"u-0","oidc_id":"o","franceconnect_id":"f","#,
    r#""context":"dev","sponsorships":["acme"],"tos":"1.0.0-20160901","tos_latest":"2.0.0-20250901","#,
    r#""auth_mode":1,"magic_link":true,"deleting":true,"blocked":true,"blocking_reason":"UNKNOWN","#,
    r#""no_auto_update":true,"onboarding_finished":true,"password_defined":null,"disk_quota":"7","#,
    r#""indexes_version":37,"couch_cluster":2,"passphrase_hash":"aGFzaA==","register_token":"b2xk","#,
    r#""session_secret":"b2xk","oauth_secret":"b2xk","cli_secret":"b2xk","feature_sets":["x"],"#,
    r#""feature_flags":{"x":1}}"#
);

const RECORD: &str = concat!(
    r#"{"domain":"alice.example:8080","domain_aliases":["a.example"],"old_domain":"was.example","#,
    r#""prefix":"cozyabc","locale":"fr","context":"dev","created_at":"2026-01-01T00:00:00.000001Z","#,
    r#""created_by":"0123456789abcdef","operation":"fedcba9876543210","locked":true,"#,
    r#""deleted_at":"2026-01-02T00:00:00.000000Z","purge_at":"2026-02-01T00:00:00.000000Z","#,
    r#""blocked_before":{"blocked":true,"reason":"PAYMENT_FAILED"},"#,
    r#""debug_until":"2026-01-03T00:00:00.000000Z","register_expires_at":"2026-01-04T00:00:00.000000Z"}"#
);

fn document() -> InstanceDocument {
    serde_json::from_str(DOCUMENT).unwrap()
}

#[test]
fn an_update() {
    assert_eq!(json(&update(ALL, changed())), ASKED);
    assert_eq!(json(&update(ALL, Instance::default())), CLEARING);
    let one = update(
        &["settings.offer", "settings.gone"],
        Instance {
            settings: pairs([("offer", "free"), ("other", "x")]),
            ..Instance::default()
        },
    );
    assert_eq!(
        json(&one),
        r#"{"kind":"update","instance":{},"settings":{"gone":null,"offer":"free"},"record":{}}"#
    );
    for text in [ASKED, CLEARING] {
        let read: Change = serde_json::from_str(text).unwrap();
        assert_eq!(json(&read), text);
    }
    let checked = update(ALL, changed())
        .check(&document(), &Record::default())
        .unwrap();
    let canonical = ASKED
        .replace(
            r#"["Zoe.example","alt.example","ALT.example"]"#,
            r#"["zoe.example","alt.example"]"#,
        )
        .replace("Was.example", "was.example")
        .replace(r#""20170901""#, r#""1.0.0-20170901""#);
    assert_eq!(json(&checked), canonical);
    let read: Change = serde_json::from_str(&canonical).unwrap();
    assert_eq!(read, checked);
}

#[test]
fn what_an_update_writes() {
    let (mut document, mut record): (InstanceDocument, Record) =
        (document(), serde_json::from_str(RECORD).unwrap());
    assert_eq!(json(&document), DOCUMENT);
    assert_eq!(json(&record), RECORD);
    let Value::Object(mut settings) = serde_json::json!({
        "offer": "x", "partner": "p", "tz": "UTC", "theirs": {"kept": true}
    }) else {
        return;
    };
    let change = update(ALL, changed()).check(&document, &record).unwrap();
    assert!(change.apply_to_document(&mut document));
    assert!(change.apply_to_settings(&mut settings));
    change.apply_to_record(&mut record);
    assert_eq!(
        json(&document),
        concat!(
            r#"{"domain":"alice.example:8080","domain_aliases":["zoe.example","alt.example"],"#,
            r#""old_domain":"was.example","prefix":"cozyabc","locale":"fr-FR","uuid":"u-1","#,
            r#""oidc_id":"o-1","franceconnect_id":"f-1","context":"dev","sponsorships":["acme","b"],"#,
            r#""tos":"1.0.0-20170901","tos_latest":"2.0.0-20250901","auth_mode":2,"magic_link":true,"#,
            r#""blocked":true,"blocking_reason":"PAYMENT_FAILED","no_auto_update":true,"#,
            r#""onboarding_finished":true,"password_defined":null,"disk_quota":"1000","#,
            r#""indexes_version":37,"couch_cluster":2,"passphrase_hash":"aGFzaA==","#,
            r#""register_token":"b2xk","session_secret":"b2xk","oauth_secret":"b2xk","#,
            r#""cli_secret":"b2xk","feature_sets":["x"],"feature_flags":{"x":1}}"#
        )
    );
    assert_eq!(
        Value::Object(settings),
        serde_json::json!({
            "offer": "free", "theirs": {"kept": true}, "email": "alice@example.org",
            "phone": "+33 6 12 34 56 78", "public_name": "Alice", "tz": "Europe/Paris"
        })
    );
    assert_eq!(
        json(&record),
        concat!(
            r#"{"domain":"alice.example:8080","domain_aliases":["zoe.example","alt.example"],"#,
            r#""old_domain":"was.example","prefix":"cozyabc","locale":"fr-FR","context":"dev","#,
            r#""email":"alice@example.org","created_at":"2026-01-01T00:00:00.000001Z","created_by":"0123456789abcdef","#,
            r#""operation":"fedcba9876543210","locked":true,"#,
            r#""deleted_at":"2026-01-02T00:00:00.000000Z","purge_at":"2026-02-01T00:00:00.000000Z","#,
            r#""blocked_before":{"blocked":true,"reason":"PAYMENT_FAILED"},"#,
            r#""own_block":"PAYMENT_FAILED","#,
            r#""debug_until":"2096-10-02T07:06:40.123456Z","#,
            r#""register_expires_at":"2026-01-04T00:00:00.000000Z"}"#
        )
    );
    let cleared = update(
        &[
            "context",
            "domain_aliases",
            "debug_until",
            "locked",
            "settings",
            "email",
            "uuid",
        ],
        Instance::default(),
    );
    let Value::Object(mut settings) = serde_json::json!({"email": "a@b.c", "x": "y", "tz": "UTC"})
    else {
        return;
    };
    cleared.apply_to_document(&mut document);
    cleared.apply_to_record(&mut record);
    cleared.apply_to_settings(&mut settings);
    assert_eq!(document.context, "");
    assert_eq!(Value::Object(settings), serde_json::json!({"tz": "UTC"}));
    assert_eq!(
        json(&record),
        concat!(
            r#"{"domain":"alice.example:8080","old_domain":"was.example","prefix":"cozyabc","#,
            r#""locale":"fr-FR","email":"","created_at":"2026-01-01T00:00:00.000001Z","#,
            r#""created_by":"0123456789abcdef","operation":"fedcba9876543210","#,
            r#""deleted_at":"2026-01-02T00:00:00.000000Z","purge_at":"2026-02-01T00:00:00.000000Z","#,
            r#""blocked_before":{"blocked":true,"reason":"PAYMENT_FAILED"},"#,
            r#""own_block":"PAYMENT_FAILED","#,
            r#""register_expires_at":"2026-01-04T00:00:00.000000Z"}"#
        )
    );
}

#[test]
fn the_other_verbs() {
    let block = change::block(&BlockInstanceRequest {
        reason: "PAYMENT_FAILED".to_owned(),
        etag: "e".to_owned(),
        ..BlockInstanceRequest::default()
    });
    assert_eq!(
        json(&block),
        concat!(
            r#"{"kind":"block","etag":"e","instance":{"blocked":true,"#,
            r#""blocking_reason":"PAYMENT_FAILED"},"record":{}}"#
        )
    );
    let unblock = change::unblock(&UnblockInstanceRequest::default());
    assert_eq!(
        json(&unblock),
        r#"{"kind":"unblock","instance":{"blocked":false},"record":{}}"#
    );
    assert_eq!(
        json(&soft_delete::take_back("")),
        r#"{"kind":"undelete","instance":{},"record":{"deletion":"take_back"}}"#
    );
    assert_eq!(
        json(&passphrase_change("e")),
        r#"{"kind":"passphrase","etag":"e","instance":{},"record":{"register_expires_at":""}}"#
    );
}

#[test]
fn newer_fields_follow_the_others() {
    let labels = Instance {
        domain: "a.example".to_owned(),
        labels: pairs([("b", "2"), ("a", "1")]),
        ..Instance::default()
    };
    let spec = messages::spec(CreateInstanceRequest {
        instance: Some(labels.clone()),
        ..CreateInstanceRequest::default()
    })
    .unwrap()
    .0;
    let spec = json(&spec.check().unwrap());
    let expected = MINIMAL_SPEC.replace('}', r#","labels":{"a":"1","b":"2"}}"#);
    assert_eq!(spec, expected);
    let change = json(&update(&["labels.a", "labels.gone", "locked"], labels));
    let expected = concat!(
        r#"{"kind":"update","instance":{},"record":{"locked":false,"#,
        r#""labels.a":"1","labels.gone":null}}"#
    );
    assert_eq!(change, expected);
    let read: Change = serde_json::from_str(&change).unwrap();
    assert_eq!(json(&read), change);
    let mut record: Record = serde_json::from_str(RECORD).unwrap();
    read.apply_to_record(&mut record);
    let expected = RECORD.replace(r#""locked":true,"#, "");
    let expected = expected.trim_end_matches('}').to_owned() + r#","labels":{"a":"1"}}"#;
    assert_eq!(json(&record), expected);
}

/// The order of an operation's own members does not count: no MAC is computed over them. Version 0.1.0 writes and
/// does not require `removed`, which only some kinds have now.
#[test]
fn operations() {
    let envelope = concat!(
        r#""instance":"0123","domain":"a.example","prefix":"cozyabc","couch_cluster":1,"#,
        r#""arguments_mac":"00ff","phase":"running","step":0,"attempt":0,"beat":0,"taken_over":false,"#,
        r#""open":true,"removed":{"objects":0,"databases":0,"documents":0,"claims":0},"#,
        r#""created_at":"2026-01-01T00:00:00.000000Z","updated_at":"2026-01-01T00:00:00.000000Z"}"#
    );
    let settled = concat!(
        r#"{"kind":"delete","instance":{"blocked":true,"blocking_reason":"DELETED"},"record":{"#,
        r#""register_expires_at":"2026-01-04T00:00:00.000000Z","deletion":{"begin":{"#,
        r#""deleted_at":"2026-01-02T00:00:00.000000Z","purge_at":"2026-02-01T00:00:00.000000Z"}}},"#,
        r#""added":[{"id":"b.example","name":"b.example","kind":"alias"}],"#,
        r#""removed":[{"id":"c.example","name":"c.example","kind":"alias"}],"#,
        r#""blocked_before":{"blocked":true,"reason":"X"}}"#
    );
    for work in [
        format!(r#""kind":"create","spec":{SPEC}"#),
        format!(r#""kind":"create","spec":{MINIMAL_SPEC}"#),
        format!(r#""kind":"change","change":{ASKED}"#),
        format!(r#""kind":"change","change":{CLEARING}"#),
        format!(r#""kind":"change","change":{settled}"#),
        r#""kind":"destroy","etag":"e","due":"2026-02-01T00:00:00.000000Z""#.to_owned(),
    ] {
        let text = format!("{{{work},{envelope}");
        let read: Operation = serde_json::from_str(&text).unwrap();
        let mut expected: Value = serde_json::from_str(&text).unwrap();
        if work.contains(r#""kind":"create""#) {
            expected.as_object_mut().unwrap().remove("removed");
        }
        assert_eq!(serde_json::to_value(&read).unwrap(), expected);
    }
}
