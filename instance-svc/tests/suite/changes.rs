//! Changes of existing instances, and what each of them writes.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

use crate::support::{
    Replica, World,
    changes::{response, update_request},
    failure,
};
use hamlet_proto::{
    hamlet::instance::v1::{
        BlockInstanceRequest, CreateInstanceRequest, Instance, OperationMetadata,
        UnblockInstanceRequest,
        instance::{AuthMode, State},
    },
    unpack,
};
use instance_svc::operations::failpoints::Failpoints;
use serde_json::{Value, json};
use service_kit::status;
use tonic::Code;

async fn create(replica: &Replica, instance: Instance) {
    let accepted = replica
        .instances
        .clone()
        .create_instance(CreateInstanceRequest {
            instance: Some(instance),
            ..CreateInstanceRequest::default()
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(failure(&replica.end_of(&accepted.name).await), None);
}

/// The effect of one field on the instance document, the settings and the record.
struct Field {
    path: &'static str,
    set: fn(&mut Instance),
    instance: Value,
    settings: Value,
    record: Value,
    /// What remains after the field is named again with an empty value; `None` if it cannot be cleared.
    cleared: Option<(Value, Value, Value)>,
}

fn document(path: &'static str, set: fn(&mut Instance), written: Value, cleared: Value) -> Field {
    Field {
        path,
        set,
        instance: written,
        settings: json!({}),
        record: json!({}),
        cleared: Some((cleared, json!({}), json!({}))),
    }
}

fn setting(path: &'static str, set: fn(&mut Instance), name: &str, value: &str) -> Field {
    Field {
        path,
        set,
        instance: json!({}),
        settings: json!({name: value}),
        record: json!({}),
        cleared: Some((json!({}), json!({name: null}), json!({}))),
    }
}

fn label(path: &'static str) -> Field {
    Field {
        path,
        set: |i| i.labels = [("customer".into(), "acme".into())].into(),
        instance: json!({}),
        settings: json!({}),
        record: json!({"labels": {"customer": "acme"}}),
        cleared: Some((json!({}), json!({}), json!({"labels": null}))),
    }
}

fn fields() -> Vec<Field> {
    vec![
        document(
            "uuid",
            |i| i.uuid = "u-1".into(),
            json!({"uuid": "u-1"}),
            json!({"uuid": null}),
        ),
        document(
            "oidc_id",
            |i| i.oidc_id = "o-1".into(),
            json!({"oidc_id": "o-1"}),
            json!({"oidc_id": null}),
        ),
        document(
            "franceconnect_id",
            |i| i.franceconnect_id = "f-1".into(),
            json!({"franceconnect_id": "f-1"}),
            json!({"franceconnect_id": null}),
        ),
        document(
            "sponsorships",
            |i| i.sponsorships = vec!["a".into(), "b".into()],
            json!({"sponsorships": ["a", "b"]}),
            json!({"sponsorships": null}),
        ),
        Field {
            path: "old_domain",
            set: |i| i.old_domain = "Was.example".into(),
            instance: json!({"old_domain": "was.example"}),
            settings: json!({}),
            record: json!({"old_domain": "was.example"}),
            cleared: Some((
                json!({"old_domain": null}),
                json!({}),
                json!({"old_domain": null}),
            )),
        },
        document(
            "tos_latest",
            |i| i.tos_latest = "2.0.0-20250901".into(),
            json!({"tos_latest": "2.0.0-20250901"}),
            json!({"tos_latest": null}),
        ),
        document(
            "tos_signed",
            |i| i.tos_signed = "20170901".into(),
            json!({"tos": "1.0.0-20170901"}),
            json!({"tos": null}),
        ),
        document(
            "auth_mode",
            |i| i.set_auth_mode(AuthMode::TwoFactorMail),
            json!({"auth_mode": 1}),
            json!({"auth_mode": null}),
        ),
        document(
            "magic_link",
            |i| i.magic_link = true,
            json!({"magic_link": true}),
            json!({"magic_link": null}),
        ),
        document(
            "no_auto_update",
            |i| i.no_auto_update = true,
            json!({"no_auto_update": true}),
            json!({"no_auto_update": null}),
        ),
        Field {
            record: json!({"own_block": "UNKNOWN"}),
            cleared: Some((
                json!({"blocked": null, "blocking_reason": null}),
                json!({}),
                json!({"own_block": null}),
            )),
            ..document(
                "blocked",
                |i| i.blocked = true,
                json!({"blocked": true, "blocking_reason": "UNKNOWN"}),
                json!({}),
            )
        },
        document(
            "disk_quota_bytes",
            |i| i.disk_quota_bytes = 1000,
            json!({"disk_quota": "1000"}),
            json!({"disk_quota": null}),
        ),
        Field {
            path: "locale",
            set: |i| i.locale = "fr-FR".into(),
            instance: json!({"locale": "fr-FR"}),
            settings: json!({}),
            record: json!({"locale": "fr-FR"}),
            cleared: None,
        },
        Field {
            path: "context",
            set: |i| i.context = "dev".into(),
            instance: json!({"context": "dev"}),
            settings: json!({}),
            record: json!({"context": "dev"}),
            cleared: Some((
                json!({"context": null}),
                json!({}),
                json!({"context": null}),
            )),
        },
        Field {
            path: "onboarding_finished",
            set: |i| i.onboarding_finished = true,
            instance: json!({"onboarding_finished": true}),
            settings: json!({}),
            record: json!({}),
            cleared: None,
        },
        Field {
            path: "locked",
            set: |i| i.locked = true,
            instance: json!({}),
            settings: json!({}),
            record: json!({"locked": true}),
            cleared: Some((json!({}), json!({}), json!({"locked": null}))),
        },
        Field {
            path: "debug_until",
            set: |i| {
                i.debug_until = Some(prost_types::Timestamp {
                    seconds: 4_000_000_000,
                    nanos: 0,
                });
            },
            instance: json!({}),
            settings: json!({}),
            record: json!({"debug_until": "2096-10-02T07:06:40.000000Z"}),
            cleared: Some((json!({}), json!({}), json!({"debug_until": null}))),
        },
        label("labels"),
        label("labels.customer"),
        Field {
            // Lists show a copy.
            record: json!({"email": "b@example.org"}),
            cleared: Some((json!({}), json!({"email": null}), json!({"email": ""}))),
            ..setting(
                "email",
                |i| i.email = "b@example.org".into(),
                "email",
                "b@example.org",
            )
        },
        setting(
            "public_name",
            |i| i.public_name = "Bob".into(),
            "public_name",
            "Bob",
        ),
        setting(
            "timezone",
            |i| i.timezone = "Asia/Tokyo".into(),
            "tz",
            "Asia/Tokyo",
        ),
        setting("phone", |i| i.phone = "+33 1".into(), "phone", "+33 1"),
        setting(
            "settings.offer",
            |i| i.settings = [("offer".into(), "free".into()), ("x".into(), "y".into())].into(),
            "offer",
            "free",
        ),
        setting(
            "settings",
            |i| i.settings = [("offer".into(), "free".into())].into(),
            "offer",
            "free",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_field_is_written_where_it_belongs_and_cleared_where_it_can_be() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    create(
        &replica,
        Instance {
            domain: "a.example".to_owned(),
            ..Instance::default()
        },
    )
    .await;
    for field in fields() {
        let path = field.path;
        let before = world.settled("a.example").await;
        let mut instance = Instance::default();
        (field.set)(&mut instance);
        let operation = replica
            .update("a.example", &[path], instance.clone())
            .await
            .unwrap();
        assert_eq!(failure(&operation), None, "{path}");
        let mut expected = before
            .with_instance(field.instance)
            .with_settings(field.settings)
            .with_record(field.record);
        if path == "old_domain" {
            expected = expected.with_claims(&[
                ("a.example", "domain"),
                ("redirect:was.example", "redirect"),
            ]);
        }
        assert_eq!(world.settled("a.example").await, expected, "{path}");
        // Repeating the change has no effect.
        let etag = replica.get("a.example").await.unwrap().etag;
        let operation = replica
            .update("a.example", &[path], instance)
            .await
            .unwrap();
        assert_eq!(failure(&operation), None, "{path}");
        assert_eq!(replica.get("a.example").await.unwrap().etag, etag, "{path}");
        let Some((instance, settings, record)) = field.cleared else {
            continue;
        };
        let operation = replica
            .update("a.example", &[path], Instance::default())
            .await
            .unwrap();
        assert_eq!(failure(&operation), None, "{path}");
        let expected = expected
            .with_instance(instance)
            .with_settings(settings)
            .with_record(record)
            .with_claims(&[("a.example", "domain")]);
        assert_eq!(world.settled("a.example").await, expected, "{path}");
    }
    assert_eq!(failure(&replica.destroy("a.example").await.unwrap()), None);
    assert_eq!(world.leftovers().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_instance_says_why_until_it_is_unblocked() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
    for (given, kept) in [
        ("", "UNKNOWN"),
        ("PAYMENT_FAILED", "PAYMENT_FAILED"),
        // Without a reason, the one that is there stays.
        ("", "PAYMENT_FAILED"),
        ("a reason of our own", "a reason of our own"),
    ] {
        let accepted = replica
            .instances
            .clone()
            .block_instance(BlockInstanceRequest {
                name: "instances/a.example".to_owned(),
                reason: given.to_owned(),
                ..BlockInstanceRequest::default()
            })
            .await
            .unwrap()
            .into_inner();
        let ended = replica.end_of(&accepted.name).await;
        let blocked: Instance = response(&ended);
        assert_eq!(blocked.state(), State::Blocked);
        assert_eq!(blocked.blocking_reason, kept);
        assert_eq!(blocked, replica.get("a.example").await.unwrap());
    }
    let accepted = replica
        .instances
        .clone()
        .unblock_instance(UnblockInstanceRequest {
            name: "instances/a.example".to_owned(),
            ..UnblockInstanceRequest::default()
        })
        .await
        .unwrap()
        .into_inner();
    let unblocked: Instance = response(&replica.end_of(&accepted.name).await);
    assert_eq!(unblocked.state(), State::Onboarding);
    assert_eq!(unblocked.blocking_reason, "");
}

/// What the metadata of an operation says of these changes, done and only checked.
async fn unchanged(replica: &Replica, paths: &[&str], instance: Instance) -> Vec<String> {
    let domain = instance.domain.clone();
    let mut request = update_request(&domain, paths, instance);
    let mut told = Vec::new();
    for validate_only in [true, false] {
        request.validate_only = validate_only;
        let mut instances = replica.instances.clone();
        let answer = instances.update_instance(request.clone()).await.unwrap();
        let mut operation = answer.into_inner();
        if !validate_only {
            operation = replica.end_of(&operation.name).await;
        }
        let metadata: OperationMetadata = unpack(&operation.metadata.unwrap()).unwrap().unwrap();
        assert_eq!(metadata.changed_fields, paths);
        told.push(metadata.unchanged_fields);
    }
    let done = told.pop().unwrap();
    assert_eq!(told.as_slice(), std::slice::from_ref(&done));
    done
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_so_already_is_told_from_what_was_changed() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let alice = Instance {
        domain: "alice.example".to_owned(),
        locale: "fr".to_owned(),
        email: "alice@example.org".to_owned(),
        settings: [pair("offer", "free")].into(),
        ..Instance::default()
    };
    create(&replica, alice.clone()).await;
    let paths = ["email", "locale", "locked", "phone", "settings.offer"];
    assert_eq!(unchanged(&replica, &paths, alice.clone()).await, paths);
    let other = Instance {
        email: "a@example.org".to_owned(),
        locked: true,
        ..alice
    };
    assert_eq!(
        unchanged(&replica, &paths, other.clone()).await,
        ["locale", "phone", "settings.offer"]
    );
    assert_eq!(unchanged(&replica, &paths, other).await, paths);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_cannot_be_changed_is_named() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    for path in [
        "domain",
        "prefix",
        "state",
        "nonsense",
        "settings.tz",
        "*",
        "",
    ] {
        let refused = replica
            .ask_to_update("a.example", &["email", path], Instance::default())
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{path}");
        assert!(
            refused
                .message()
                .starts_with(&format!("update_mask: {path:?}")),
            "{}",
            refused.message()
        );
    }
    let refused = replica
        .ask_to_update("a.example", &[], Instance::default())
        .await
        .unwrap_err();
    assert!(refused.message().starts_with("update_mask: "));
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_added_and_released() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    for (domain, alias) in [("a.example", "x.example"), ("b.example", "y.example")] {
        let instance = Instance {
            domain: domain.to_owned(),
            domain_aliases: vec![alias.to_owned()],
            ..Instance::default()
        };
        create(&replica, instance).await;
    }
    let before = world.settled("a.example").await;
    let aliases = |names: &[&str]| Instance {
        domain_aliases: names.iter().map(|&name| name.to_owned()).collect(),
        ..Instance::default()
    };
    // The last of the names is taken: nothing changes, and the other names are free again.
    let operation = replica
        .update(
            "a.example",
            &["domain_aliases"],
            aliases(&["n.example", "y.example"]),
        )
        .await
        .unwrap();
    assert_eq!(
        failure(&operation),
        Some(
            "the name y.example is taken by the instance b.example; `hamlet instances show b.example` shows it"
        ),
        "{operation:?}"
    );
    assert_eq!(world.settled("a.example").await, before);
    let operation = replica
        .update(
            "b.example",
            &["domain_aliases"],
            aliases(&["n.example", "y.example"]),
        )
        .await
        .unwrap();
    assert_eq!(failure(&operation), None);
    assert_eq!(replica.get("n.example").await.unwrap().domain, "b.example");
    let operation = replica
        .update("b.example", &["domain_aliases"], aliases(&[]))
        .await
        .unwrap();
    assert_eq!(failure(&operation), None);
    for free in ["n.example", "y.example"] {
        assert_eq!(
            failure(&replica.create(free).await.unwrap()),
            None,
            "{free}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outdated_etag_is_refused() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
    let first = replica.get("a.example").await.unwrap().etag;
    let with = |etag: &str| Instance {
        etag: etag.to_owned(),
        locked: true,
        ..Instance::default()
    };
    let operation = replica
        .update("a.example", &["locked"], with(&first))
        .await
        .unwrap();
    let changed: Instance = response(&operation);
    assert_ne!(changed.etag, first);
    let stale = replica
        .ask_to_update("a.example", &["email"], with(&first))
        .await
        .unwrap_err();
    assert_eq!(status::reason(&stale).unwrap(), "ETAG_MISMATCH");
    let operation = replica
        .update("a.example", &["email"], with(&changed.etag))
        .await
        .unwrap();
    assert_eq!(failure(&operation), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_instance_is_not_destroyed() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
    let lock = Instance {
        locked: true,
        ..Instance::default()
    };
    replica
        .update("a.example", &["locked"], lock)
        .await
        .unwrap();
    let refused = replica.destroy("a.example").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(status::reason(&refused).unwrap(), "INSTANCE_LOCKED");
    replica
        .update("a.example", &["locked"], Instance::default())
        .await
        .unwrap();
    assert_eq!(failure(&replica.destroy("a.example").await.unwrap()), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_means_one_change_and_a_dry_run_changes_nothing() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
    let before = world.settled("a.example").await;
    let email = |email: &str| Instance {
        email: email.to_owned(),
        ..Instance::default()
    };
    let mut request = update_request("a.example", &["email"], email("b@example.org"));
    request.request_id = "r-1".to_owned();
    request.validate_only = true;
    let mut instances = replica.instances.clone();
    let checked = instances
        .update_instance(request.clone())
        .await
        .unwrap()
        .into_inner();
    assert!(checked.done && checked.name.is_empty());
    assert_eq!(response::<Instance>(&checked).email, "b@example.org");
    assert_eq!(world.settled("a.example").await, before);
    request.validate_only = false;
    let first = instances
        .update_instance(request.clone())
        .await
        .unwrap()
        .into_inner();
    let again = instances
        .update_instance(request.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(first.name, again.name);
    replica.end_of(&first.name).await;
    request.instance = update_request("a.example", &[], email("c@example.org")).instance;
    let other = instances.update_instance(request).await.unwrap_err();
    assert_eq!(status::reason(&other).unwrap(), "REQUEST_ID_REUSED");
}
