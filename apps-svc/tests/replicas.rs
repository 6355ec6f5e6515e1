//! Two replicas of the service on one database and one content store.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

mod support;

use std::time::Duration;

use apps_svc::{Config, Dependencies, SourceFlags};
use hamlet_proto::hamlet::apps::v1::{
    App, InstallAppRequest, PurgeContentsRequest, UninstallAppRequest, UpdateAppRequest,
    apps_service_client::AppsServiceClient,
};
use service_kit::{
    caller::{Door, for_tenant},
    contexts::{Context, Contexts},
    peer::{self, Peer},
    secret::Secret,
    status::reason,
};
use support::World;
use test_kit::doors::listen;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;

/// Starts a second replica beside the one of the fixture.
struct Replica {
    apps: AppsServiceClient<Peer>,
    _stop: DropGuard,
}

impl Replica {
    async fn beside(world: &World) -> Self {
        let key = Secret::new("the key of the second replica");
        let context = Context {
            registries: vec![world.registry.space("main")],
            ..Context::default()
        };
        let dependencies = Dependencies {
            couch: world.couch.clone().into(),
            contexts: Contexts::new([("default".to_owned(), context)].into()),
            cluster_key: key.clone().into(),
            instances: peer::connect(&world.instances.url(), &key).unwrap(),
            app_folder: None,
        };
        let config = Config {
            contents: world.contents.clone(),
            sources: SourceFlags::default(),
        };
        let (listener, address) = listen().await;
        let stop = CancellationToken::new();
        tokio::spawn(apps_svc::serve(
            config,
            dependencies,
            listener,
            stop.clone(),
        ));
        let way = peer::connect(&format!("http://{address}"), &key).unwrap();
        Self {
            apps: AppsServiceClient::new(way),
            _stop: stop.drop_guard(),
        }
    }

    async fn install(&self, world: &World, source: &str) -> Result<App, Status> {
        let asked = InstallAppRequest {
            source: source.to_owned(),
            ..InstallAppRequest::default()
        };
        let request = for_tenant(asked, &world.tenant);
        Ok(self.apps.clone().install_app(request).await?.into_inner())
    }

    async fn update(&self, world: &World, source: &str) -> Result<App, Status> {
        let asked = UpdateAppRequest {
            slug: "drive".to_owned(),
            source: source.to_owned(),
            permissions_acked: true,
            ..UpdateAppRequest::default()
        };
        let request = for_tenant(asked, &world.tenant);
        Ok(self.apps.clone().update_app(request).await?.into_inner())
    }
}

/// Permissions, triggers and contents match the document of the app, and nothing else is left.
async fn assert_whole(world: &World) {
    let apps = world.documents("io.cozy.apps").await;
    let app = &apps["io.cozy.apps/drive"];
    assert_eq!(apps.len(), 1);
    let permissions = world.documents("io.cozy.permissions").await;
    assert_eq!(permissions.len(), 1);
    for permission in permissions.values() {
        assert_eq!(permission["permissions"], app["permissions"]);
    }
    let services = app["services"].as_object().unwrap();
    let named: Vec<&str> = services
        .values()
        .filter_map(|service| service["trigger_id"].as_str())
        .filter(|id| !id.is_empty())
        .collect();
    let triggers = world.documents("io.cozy.triggers").await;
    assert_eq!(triggers.len(), named.len());
    assert!(named.iter().all(|id| triggers.contains_key(*id)));
}

#[tokio::test]
async fn replicas_that_install_different_versions_at_once_leave_one_whole_app() {
    for _ in 0..10 {
        let world = World::new().await;
        let second = Replica::beside(&world).await;
        let (pinned, other) = tokio::join!(
            world.install("registry://drive/1.0.0"),
            second.install(&world, "registry://drive/1.1.0"),
        );
        assert_ne!(
            pinned.is_ok(),
            other.is_ok(),
            "one wins: {pinned:?} {other:?}"
        );
        assert_whole(&world).await;
        let purge = world.request(PurgeContentsRequest {});
        let purged = world.lifecycle(Door::Internal).purge_contents(purge).await;
        assert_eq!(purged.unwrap().into_inner().objects, 1);
        let left = world.contents.join("instances").join(&world.tenant.prefix);
        assert!(!left.exists(), "no folder of the instance is left");
    }
}

#[tokio::test]
async fn replicas_that_install_the_same_at_once_both_find_it() {
    let world = World::new().await;
    let second = Replica::beside(&world).await;
    let (one, two) = tokio::join!(
        world.install("registry://drive/1.0.0"),
        second.install(&world, "registry://drive/1.0.0"),
    );
    let (mut one, mut two) = (one.unwrap(), two.unwrap());
    // Only one of them has installed it.
    assert_ne!(one.unchanged.take(), two.unchanged.take());
    assert_eq!(one, two);
    assert_whole(&world).await;
}

#[tokio::test]
async fn an_update_and_a_removal_by_two_replicas_leave_nothing_or_a_whole_app() {
    for (round, with_etag) in [false, true].into_iter().cycle().take(20).enumerate() {
        let world = World::new().await;
        let second = Replica::beside(&world).await;
        let installed = world.install("registry://drive/1.0.0").await.unwrap();
        let etag = if with_etag {
            installed.etag
        } else {
            String::new()
        };
        let request = world.request(UninstallAppRequest {
            slug: "drive".to_owned(),
            etag,
            ..UninstallAppRequest::default()
        });
        let mut apps = world.apps(Door::Admin);
        let removal = async {
            // The update fetches first. The rounds meet it at different steps.
            let pause = Duration::from_millis(4 * u64::try_from(round).unwrap());
            tokio::time::sleep(pause).await;
            apps.uninstall_app(request).await
        };
        let (updated, removed) =
            tokio::join!(second.update(&world, "registry://drive/1.1.0"), removal);
        match (updated, removed) {
            (Ok(_), Err(refused)) if with_etag => {
                assert_eq!(reason(&refused).unwrap(), "APP_CHANGED");
                assert_whole(&world).await;
            }
            (_, removed) => {
                removed.unwrap();
                for doctype in ["io.cozy.apps", "io.cozy.permissions", "io.cozy.triggers"] {
                    let left = world.documents(doctype).await;
                    assert!(left.is_empty(), "round {round}: {left:?}");
                }
            }
        }
    }
}
