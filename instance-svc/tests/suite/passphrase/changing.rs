//! Setting the passphrase of an existing instance, and ending its sessions.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use couch::DbName;
use hamlet_proto::hamlet::instance::v1::{
    CleanSessionsRequest, CleanSessionsResult, Instance, SetPassphraseRequest,
};
use instance_svc::{
    domain::passphrase::server,
    operations::failpoints::{Failpoints, Order, Point},
};
use serde_json::{Value, json};
use service_kit::status;

use super::{
    PASSPHRASE, asking, create, field, get, instance_document, login_hash, operation_document, put,
    result, vault_settings,
};
use crate::support::{
    World, failure, progress,
    steps::{is_head_start_over, steps},
};

fn setting(domain: &str, passphrase: &str) -> SetPassphraseRequest {
    SetPassphraseRequest {
        name: format!("instances/{domain}"),
        passphrase: passphrase.to_owned(),
        ..SetPassphraseRequest::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_passphrase_invalidates_everything_that_depended_on_the_old_one() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    create(&replica, asking("a.example", "the first one"))
        .await
        .unwrap();
    let instance = get(&replica, "a.example").await;
    // Members that other software stores in the same documents.
    let instances = DbName::global("instances").unwrap();
    let database = world.couch.database(&instances);
    let mut found = database.get::<Value>(&instance.id).await.unwrap().unwrap();
    found.body["passphrase_reset_token"] = json!("AAEC");
    found.body["passphrase_reset_time"] = json!("2030-01-01T00:00:00Z");
    found.body["feature_flags"] = json!({"x": 1});
    let written = database
        .compare_and_set(&instance.id, &found.rev, &found.body)
        .await;
    assert!(matches!(written, Ok(couch::Exchange::Won(_))));
    let (before, vault) = (found.body, vault_settings(&world, &instance).await);

    let mut client = replica.instances.clone();
    let refused = client.set_passphrase(setting("a.example", "")).await;
    assert_eq!(field(&refused.unwrap_err()), "passphrase");
    let stale = SetPassphraseRequest {
        etag: instance.etag.clone(),
        ..setting("a.example", PASSPHRASE)
    };
    let refused = client.set_passphrase(stale).await.unwrap_err();
    assert_eq!(status::reason(&refused).unwrap(), "ETAG_MISMATCH");

    let request = SetPassphraseRequest {
        etag: get(&replica, "a.example").await.etag,
        request_id: "r-1".to_owned(),
        ..setting("a.example", PASSPHRASE)
    };
    let dry = SetPassphraseRequest {
        validate_only: true,
        request_id: String::new(),
        ..request.clone()
    };
    assert!(client.set_passphrase(dry).await.unwrap().get_ref().done);
    assert_eq!(instance_document(&world, &instance).await, before);

    let accepted = client.set_passphrase(request.clone()).await.unwrap();
    let ended = replica.end_of(&accepted.get_ref().name).await;
    assert_eq!(failure(&ended), None);
    let shown: Instance = result(&ended);
    assert_eq!(shown.etag, get(&replica, "a.example").await.etag);
    let again = client.set_passphrase(request.clone()).await.unwrap();
    assert_eq!(again.get_ref().name, ended.name);
    let other = SetPassphraseRequest {
        passphrase: "quite another one of four".to_owned(),
        ..request
    };
    let reused = client.set_passphrase(other).await.unwrap_err();
    assert_eq!(status::reason(&reused).unwrap(), "REQUEST_ID_REUSED");

    let after = instance_document(&world, &instance).await;
    let hash = after["passphrase_hash"].as_str().unwrap();
    assert!(server::matches(
        hash,
        &login_hash("a.example", "", PASSPHRASE)
    ));
    // Exactly the fields that the model changes.
    for (field, value) in before.as_object().unwrap() {
        match field.as_str() {
            "passphrase_hash" | "session_secret" => assert_ne!(&after[field], value, "{field}"),
            "passphrase_reset_token" | "passphrase_reset_time" => {
                assert_eq!(after.get(field), None, "{field}");
            }
            _ => assert_eq!(&after[field], value, "{field}"),
        }
    }
    let vault_after = vault_settings(&world, &instance).await;
    for renewed in ["security_stamp", "key", "public_key", "private_key"] {
        assert_ne!(vault_after[renewed], vault[renewed], "{renewed}");
    }
    assert_eq!(
        vault_after["cozyMetadata"]["createdAt"],
        vault["cozyMetadata"]["createdAt"]
    );
    let operation = operation_document(&world, &ended).await;
    assert_eq!(operation.get("sealed"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_former_domain_that_ends_the_owners_logins_is_warned_of() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    create(&replica, asking("owned.example:8080", PASSPHRASE))
        .await
        .unwrap();
    replica.create("waiting.example").await.unwrap();
    for (domain, former, warned) in [
        ("owned.example:8080", "was.example", true),
        // The second time, it is the salt already.
        ("owned.example:8080", "was.example", false),
        ("owned.example:8080", "other.example", true),
        ("owned.example:8080", "", true),
        // It has no passphrase yet.
        ("waiting.example", "former.example", false),
    ] {
        let instance = Instance {
            old_domain: former.to_owned(),
            ..Instance::default()
        };
        let changed = replica
            .update(domain, &["old_domain"], instance)
            .await
            .unwrap();
        assert_eq!(failure(&changed), None);
        let warnings = progress(&changed).warnings;
        let salts = warnings
            .iter()
            .filter(|warning| warning.contains("the salt is") && warning.contains(former));
        assert_eq!(salts.count(), usize::from(warned), "{former}: {warnings:?}");
    }
}

/// Gives `order` the first time that `point` is reached.
fn once(point: Point, order: Order) -> (Failpoints, Arc<AtomicBool>) {
    let reached = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&reached);
    let failpoints = Failpoints::new(move |_, at| {
        if is_head_start_over(point.step, at) {
            Order::Fail
        } else if at == point && !seen.swap(true, Ordering::SeqCst) {
            order
        } else {
            Order::Go
        }
    });
    (failpoints, reached)
}

/// Each step of setting a passphrase runs twice, and loses its owner afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn a_passphrase_survives_every_fault_of_every_step() {
    let world = World::new().await;
    let healthy = world.replica("healthy", Failpoints::default()).await;
    create(&healthy, asking("a.example", "")).await.unwrap();
    let instance = get(&healthy, "a.example").await;
    let mut number = 0;
    for step in steps("change") {
        // Dying before a step is the same as dying after the previous one.
        for (order, after) in [(Order::Twice, false), (Order::Die, true)] {
            number += 1;
            let point = Point {
                step,
                undo: false,
                after,
            };
            let (failpoints, reached) = once(point, order);
            let faulty = world.replica(&format!("faulty-{number}"), failpoints).await;
            let passphrase = format!("passphrase {number}");
            let accepted = faulty
                .instances
                .clone()
                .set_passphrase(setting("a.example", &passphrase))
                .await
                .unwrap();
            let ended = healthy.end_of(&accepted.get_ref().name).await;
            assert_eq!(failure(&ended), None, "{point:?} {order:?}");
            assert!(reached.load(Ordering::SeqCst), "{point:?}");
            let stored = instance_document(&world, &instance).await;
            let hash = stored["passphrase_hash"].as_str().unwrap();
            assert!(
                server::matches(hash, &login_hash("a.example", "", &passphrase)),
                "{point:?} {order:?}"
            );
            assert_eq!(operation_document(&world, &ended).await.get("sealed"), None);
            faulty.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ending_sessions_removes_them_and_the_logins() {
    let world = World::new().await;
    let replica = world.replica("one", Failpoints::default()).await;
    create(&replica, asking("a.example", "")).await.unwrap();
    let instance = get(&replica, "a.example").await;
    let sessions = DbName::instance(&instance.prefix, "io.cozy.sessions").unwrap();
    let logins = DbName::instance(&instance.prefix, "io.cozy.sessions.logins").unwrap();
    put(&world, &sessions, "one", &json!({"long_run": true})).await;
    let before = instance_document(&world, &instance).await;

    let mut client = replica.instances.clone();
    let request = |validate_only| CleanSessionsRequest {
        name: "instances/a.example".to_owned(),
        request_id: String::new(),
        validate_only,
    };
    let dry = client.clean_sessions(request(true)).await.unwrap();
    assert_eq!(
        result::<CleanSessionsResult>(dry.get_ref()).domain,
        "a.example"
    );
    for removed in [2, 0] {
        let accepted = client.clean_sessions(request(false)).await.unwrap();
        let ended = replica.end_of(&accepted.get_ref().name).await;
        assert_eq!(failure(&ended), None);
        let cleaned: CleanSessionsResult = result(&ended);
        assert_eq!(cleaned.domain, "a.example");
        assert_eq!(cleaned.removed.len(), 1);
        assert_eq!(cleaned.removed[0].kind, "databases");
        assert_eq!(cleaned.removed[0].count, removed);
        let infos = world
            .couch
            .database_infos(&[sessions.clone(), logins.clone()])
            .await
            .unwrap();
        assert!(infos.is_empty());
    }
    assert_eq!(instance_document(&world, &instance).await, before);
    let destroyed = replica.destroy("a.example").await.unwrap();
    assert_eq!(failure(&destroyed), None);
}
