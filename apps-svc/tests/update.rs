//! Updates apps, also where an update was interrupted or another one is faster.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

mod support;

use couch::Exchange;
use hamlet_proto::hamlet::apps::v1::{App, UninstallAppRequest, UpdateAppRequest};
use serde_json::Value;
use service_kit::{caller::Door, status::reason};
use support::World;
use tonic::Status;

const APP: &str = "io.cozy.apps/drive";

async fn update(world: &World, message: UpdateAppRequest) -> Result<App, Status> {
    let request = world.request(UpdateAppRequest {
        slug: "drive".to_owned(),
        permissions_acked: true,
        ..message
    });
    let answer = world.apps(Door::Admin).update_app(request).await?;
    Ok(answer.into_inner())
}

fn to(source: &str) -> UpdateAppRequest {
    UpdateAppRequest {
        source: source.to_owned(),
        ..UpdateAppRequest::default()
    }
}

/// Triggers and permissions are those of the app's document.
async fn assert_whole(world: &World) {
    let app = &world.documents("io.cozy.apps").await[APP];
    let permissions = world.documents("io.cozy.permissions").await;
    assert_eq!(permissions.len(), 1);
    for permission in permissions.values() {
        assert_eq!(permission["permissions"], app["permissions"]);
    }
    let services = app["services"].as_object().unwrap().values();
    let named: Vec<&str> = services
        .filter_map(|service| service["trigger_id"].as_str())
        .filter(|id| !id.is_empty())
        .collect();
    let triggers = world.documents("io.cozy.triggers").await;
    assert_eq!(triggers.len(), named.len());
    assert!(named.iter().all(|id| triggers.contains_key(*id)));
}

/// The pointers of the contents of the app.
fn pointers(world: &World) -> usize {
    let place = format!("instances/{}/apps", world.tenant.prefix);
    let stored = world.stored();
    stored.iter().filter(|path| path.contains(&place)).count()
}

#[tokio::test]
async fn an_update_leaves_nothing_of_the_version_before() {
    let world = World::new().await;
    world.install("registry://drive/1.0.0").await.unwrap();
    let created = world.documents("io.cozy.apps").await[APP]["created_at"].clone();
    assert_eq!(world.documents("io.cozy.triggers").await.len(), 2);

    let checked = UpdateAppRequest {
        validate_only: true,
        ..to("registry://drive/1.1.0")
    };
    let would_be = update(&world, checked.clone()).await.unwrap();
    assert_eq!(would_be.version, "1.1.0");
    assert_eq!(would_be.unchanged, Some(false));
    assert_eq!(world.get("drive").await.unwrap().version, "1.0.0");

    let updated = update(&world, to("registry://drive/1.1.0")).await.unwrap();
    assert_eq!(updated.version, "1.1.0");
    assert_eq!(updated.unchanged, Some(false));
    assert_whole(&world).await;
    assert_eq!(pointers(&world), 1);
    let app = &world.documents("io.cozy.apps").await[APP];
    assert_eq!(app["created_at"], created);

    let again = update(&world, UpdateAppRequest::default()).await.unwrap();
    let as_it_was = App {
        unchanged: Some(true),
        ..updated
    };
    assert_eq!(again, as_it_was, "there is nothing newer");
    assert_eq!(update(&world, checked).await.unwrap(), as_it_was);
    assert_eq!(world.get("drive").await.unwrap().unchanged, None);
    let stale = UpdateAppRequest {
        etag: "1-0".to_owned(),
        ..UpdateAppRequest::default()
    };
    let refused = update(&world, stale).await.unwrap_err();
    assert_eq!(reason(&refused).unwrap(), "APP_CHANGED");
}

#[tokio::test]
async fn an_interrupted_update_is_completed_by_a_retry_and_by_a_removal() {
    for is_removed in [false, true] {
        let world = World::new().await;
        world.install("registry://drive/1.0.0").await.unwrap();
        let before = world.documents("io.cozy.triggers").await;
        update(&world, to("registry://drive/1.1.0")).await.unwrap();
        // As if the process had died before it removed what only the version before had.
        let triggers = world.database("io.cozy.triggers");
        let left = world.documents("io.cozy.triggers").await;
        for (id, mut trigger) in before {
            if !left.contains_key(&id) {
                trigger.as_object_mut().unwrap().remove("_rev");
                let kept = triggers.claim(&id, &trigger, |_: &Value| true).await;
                assert!(matches!(kept.unwrap(), couch::ClaimOutcome::Won(_)));
            }
        }
        assert_eq!(world.documents("io.cozy.triggers").await.len(), 2);
        if is_removed {
            let request = world.request(UninstallAppRequest {
                slug: "drive".to_owned(),
                ..UninstallAppRequest::default()
            });
            world
                .apps(Door::Admin)
                .uninstall_app(request)
                .await
                .unwrap();
            assert!(world.documents("io.cozy.triggers").await.is_empty());
            assert_eq!(pointers(&world), 0);
        } else {
            update(&world, UpdateAppRequest::default()).await.unwrap();
            assert_whole(&world).await;
        }
    }
}

#[tokio::test]
async fn an_update_does_not_go_back_unless_that_is_asked_for() {
    let world = World::new().await;
    world.install("drive").await.unwrap();
    // As if the registry had withdrawn a version.
    let apps = world.database("io.cozy.apps");
    let mut app = apps.get::<Value>(APP).await.unwrap().unwrap();
    app.body["version"] = "1.10.0".into();
    let written = apps
        .compare_and_set(APP, &app.rev, &app.body)
        .await
        .unwrap();
    assert!(matches!(written, Exchange::Won(_)));

    let kept = update(&world, UpdateAppRequest::default()).await.unwrap();
    assert_eq!(kept.version, "1.10.0");
    let asked = update(&world, to("registry://drive/1.0.0")).await.unwrap();
    assert_eq!(asked.version, "1.0.0");
    assert_whole(&world).await;
}

#[tokio::test]
async fn changes_at_the_same_time_leave_a_whole_app_or_none() {
    for _ in 0..5 {
        let world = World::new().await;
        world.install("registry://drive/1.0.0").await.unwrap();
        let request = world.request(UninstallAppRequest {
            slug: "drive".to_owned(),
            ..UninstallAppRequest::default()
        });
        let mut apps = world.apps(Door::Admin);
        let (one, other, removed) = tokio::join!(
            update(&world, to("registry://drive/1.1.0")),
            update(&world, to("registry://drive/stable")),
            apps.uninstall_app(request),
        );
        removed.unwrap();
        let answers = [one, other];
        for refused in answers.iter().filter_map(|it| it.as_ref().err()) {
            assert_eq!(reason(refused).unwrap(), "APP_NOT_INSTALLED");
        }
        for doctype in ["io.cozy.apps", "io.cozy.permissions", "io.cozy.triggers"] {
            assert!(world.documents(doctype).await.is_empty(), "{doctype}");
        }
        assert_eq!(pointers(&world), 0);
    }
}
