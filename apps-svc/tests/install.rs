//! Installs apps over real sockets, and checks the database and the content store.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

mod support;

use couch::Exchange;
use hamlet_proto::hamlet::apps::v1::{
    App, InstallAppRequest, ListAppsRequest, PurgeContentsRequest, UninstallAppRequest,
};
use serde_json::json;
use service_kit::{caller::Door, status::reason};
use support::{World, assert_like, fixtures, folder_of, recorded, registry::STATUSES};
use tonic::Code;

#[tokio::test]
async fn databases_are_prepared_with_index_and_views_idempotently() {
    let world = World::bare(None).await;
    // Once the service answers, its startup checks of the database are over and do not count below.
    let request = world.request(PurgeContentsRequest {});
    world
        .lifecycle(Door::Internal)
        .purge_contents(request)
        .await
        .unwrap();
    let before = world.couch.requests();
    let made = world.prepare().await;
    let prefix = &world.tenant.prefix;
    let expected = [
        (format!("{prefix}/io-cozy-apps"), 0),
        (format!("{prefix}/io-cozy-konnectors"), 0),
        (format!("{prefix}/io-cozy-permissions"), 5),
    ];
    assert_eq!(made, expected);
    // Three databases and one write of documents; the test created the first database, that of triggers.
    assert_eq!(world.couch.requests() - before, 5);
    for design in recorded("designs").as_array().unwrap() {
        let name = design["ddoc"].as_str().unwrap();
        let database = world.database("io.cozy.permissions");
        let found = database
            .get::<serde_json::Value>(&format!("_design/{name}"))
            .await;
        let found = found
            .unwrap()
            .unwrap_or_else(|| panic!("there is no {name}"))
            .body;
        assert_eq!(found["language"], design["language"]);
        match design["index"].as_str() {
            Some(index) => {
                let definition = &found["views"][index]["options"]["def"]["fields"];
                assert_eq!(*definition, design["fields"]);
            }
            None => assert!(found["views"][name]["map"].is_string(), "{name}"),
        }
    }
    assert_eq!(world.prepare().await, expected);
}

#[tokio::test]
async fn an_app_of_a_registry_has_the_recorded_documents() {
    let world = World::new().await;
    let app = world.install("home").await.unwrap();
    assert_eq!((app.slug.as_str(), app.state.as_str()), ("home", "ready"));
    assert_eq!(app.source, "registry://home/stable");
    assert_eq!(app.display_name, "Front Desk");
    world.install("drive").await.unwrap();
    world.install("registry://jotter").await.unwrap();
    world.install_konnector("lumen-bills").await.unwrap();

    let apps = world.documents("io.cozy.apps").await;
    for slug in ["home", "drive", "jotter"] {
        assert_like(
            &apps[&format!("io.cozy.apps/{slug}")],
            &recorded(slug),
            slug,
        );
    }
    let konnectors = world.documents("io.cozy.konnectors").await;
    let konnector = &konnectors["io.cozy.konnectors/lumen-bills"];
    assert_like(konnector, &recorded("lumen-bills"), "lumen-bills");

    let permissions = world.documents("io.cozy.permissions").await;
    assert_eq!(permissions.len(), 4);
    let of = |id: &str| {
        permissions
            .values()
            .find(|it| it["source_id"] == id)
            .unwrap()
    };
    assert_like(
        of("io.cozy.apps/home"),
        &recorded("home permission"),
        "permission",
    );
    assert_eq!(of("io.cozy.konnectors/lumen-bills")["type"], "konnector");
}

#[tokio::test]
async fn services_get_the_triggers_of_their_manifest() {
    let world = World::new().await;
    world.install("drive").await.unwrap();
    let app = &world.documents("io.cozy.apps").await["io.cozy.apps/drive"];
    let triggers = world.documents("io.cozy.triggers").await;
    assert_eq!(triggers.len(), 2, "the third is run by hand");
    let id = app["services"]["on-upload"]["trigger_id"].as_str().unwrap();
    let trigger = &triggers[id];
    assert_like(
        trigger,
        &json!({
            "domain": "bob.localhost:8085", "prefix": world.tenant.prefix, "type": "@event",
            "worker": "service", "arguments": "io.cozy.files:CREATED", "debounce": "5m", "options": null,
            "message": {"slug": "drive", "name": "on-upload"},
            "cozyMetadata": {
                "doctypeVersion": "1", "metadataVersion": 1, "createdByApp": "drive", "createdAt": "<time>",
                "updatedAt": "<time>", "updatedByApps": [{"slug": "drive", "date": "<time>"}],
            },
        }),
        "trigger",
    );
    let daily = app["services"]["daily-count"]["trigger_id"]
        .as_str()
        .unwrap();
    assert_eq!(triggers[daily]["arguments"], "24h");
}

#[tokio::test]
async fn an_app_of_a_folder_gets_a_version_of_its_own() {
    let world = World::new().await;
    let app = world.install(&folder_of("home")).await.unwrap();
    let (version, letters) = app.version.split_once('-').unwrap();
    assert_eq!(version, "1.0.0");
    assert!(letters.len() == 10 && letters.bytes().all(|byte| byte.is_ascii_alphabetic()));
    assert_eq!(app.source, folder_of("home"));
    assert_eq!(app.checksum, "");
    let again = world.install(&folder_of("home")).await.unwrap();
    assert_eq!(again, unchanged(&app));
    // Four files, two of them compressed, too, their list, and the pointer of the instance.
    assert_eq!(world.stored().len(), 8, "{:?}", world.stored());
}

#[tokio::test]
async fn reinstalling_succeeds_and_another_source_is_refused() {
    let world = World::new().await;
    let first = world.install("jotter").await.unwrap();
    assert_eq!(first.unchanged, Some(false));
    let again = unchanged(&first);
    assert_eq!(
        world.install("registry://jotter/stable").await.unwrap(),
        again
    );
    let downloads = world.registry.asked().await.len();
    assert_eq!(world.install("jotter").await.unwrap(), again);
    let checked = world.install_with("jotter", |it| it.validate_only = true);
    assert_eq!(checked.await.unwrap(), again);
    assert_eq!(
        world.registry.asked().await.len(),
        downloads,
        "nothing is downloaded again"
    );

    let status = world.install("registry://jotter/1.1.0").await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
    assert_eq!(reason(&status).unwrap(), "APP_EXISTS");
    assert!(
        status.message().contains("registry://jotter/stable"),
        "{}",
        status.message()
    );
    let helps = format!("hamlet apps update {} jotter --source", world.tenant.domain);
    assert!(status.message().contains(&helps), "{}", status.message());

    let other = world
        .install_with("jotter", |it| it.slug = "jot2".to_owned())
        .await
        .unwrap();
    assert_eq!(
        (other.slug.as_str(), other.source.as_str()),
        ("jot2", "registry://jotter/stable")
    );
    assert_eq!(world.slugs().await, ["jot2", "jotter"]);
}

#[tokio::test]
async fn many_who_install_at_once_get_one_app() {
    let world = World::new().await;
    let all = futures::future::join_all((0..8).map(|_| world.install("drive"))).await;
    let first = unchanged(all[0].as_ref().unwrap());
    let made = all
        .iter()
        .flatten()
        .filter(|app| app.unchanged == Some(false));
    assert_eq!(made.count(), 1);
    for app in all {
        assert_eq!(unchanged(&app.unwrap()), first);
    }
    assert_eq!(world.documents("io.cozy.permissions").await.len(), 1);
    assert_eq!(world.documents("io.cozy.triggers").await.len(), 2);
}

#[tokio::test]
async fn hostile_archives_are_refused_and_leave_nothing() {
    let world = World::new().await;
    for (version, expected, words) in [
        ("1.0.0", "ARCHIVE_REFUSED", "leads out of the app"),
        ("1.0.1", "ARCHIVE_REFUSED", "link"),
        ("1.0.2", "CHECKSUM_MISMATCH", "SHA-256"),
        ("1.0.3", "MANIFEST_INVALID", "konnector"),
        ("1.0.4", "MANIFEST_INVALID", "io.cozy.*"),
        ("1.0.6", "MANIFEST_INVALID", "version"),
        ("1.0.7", "ARCHIVE_REFUSED", "package"),
    ] {
        let (reason, message) = world
            .refused(&format!("registry://hostile/{version}"))
            .await;
        assert_eq!(reason, expected, "{version}: {message}");
        assert!(message.contains(words), "{version}: {message}");
        world.assert_untouched().await;
    }
}

#[tokio::test]
async fn members_owned_by_the_server_are_ignored() {
    let world = World::new().await;
    let app = world.install("registry://hostile/1.0.5").await.unwrap();
    let document = &world.documents("io.cozy.apps").await["io.cozy.apps/hostile"];
    assert_eq!(document["source"], "registry://hostile/1.0.5");
    assert_eq!(document["checksum"].as_str().unwrap(), app.checksum);
    assert!(app.checksum.starts_with("113436f9"));
    assert_eq!(document["services"]["x"]["trigger_id"], "");
    assert_ne!(document["created_at"], "1999-01-01T00:00:00Z");
    for name in ["error", "available_version", "_deleted"] {
        assert!(document.get(name).is_none(), "{name}");
    }
}

#[tokio::test]
async fn registries_are_asked_in_order_and_only_404_goes_on() {
    let mut world = World::new().await;
    world.tenant.context = "acme".to_owned();
    assert_eq!(world.install("drive").await.unwrap().version, "9.0.0");
    assert_eq!(world.install("home").await.unwrap().version, "1.0.0");
    let asked = world.registry.asked().await;
    let acme = asked
        .iter()
        .position(|path| path == "/acme/registry/home/stable/latest");
    let main = asked
        .iter()
        .position(|path| path == "/main/registry/home/stable/latest");
    assert!(acme.unwrap() < main.unwrap());

    let (reason, message) = world.refused("nosuchapp").await;
    assert_eq!(reason, "APP_NOT_FOUND");
    assert!(message.contains("registry://nosuchapp/stable"), "{message}");
    assert_eq!(
        world.refused("registry://jotter/9.9.9").await.0,
        "APP_NOT_FOUND"
    );

    world.tenant.context = "broken".to_owned();
    let (reason, message) = world.refused("jotter").await;
    assert_eq!(reason, "REGISTRY_UNAVAILABLE");
    assert!(message.contains("500"), "{message}");
}

/// The same app as an answer that found it there.
fn unchanged(app: &App) -> App {
    App {
        unchanged: Some(true),
        ..app.clone()
    }
}

/// Whoever retries what is `UNAVAILABLE` must not retry what stays as it is.
#[tokio::test]
async fn only_what_may_pass_is_told_as_such() {
    let mut world = World::new().await;
    for (status, may_pass) in STATUSES {
        world.tenant.context = format!("answers-{status}");
        let (reason, message) = world.refused("jotter").await;
        let told = if may_pass {
            "REGISTRY_UNAVAILABLE"
        } else {
            "REGISTRY_INVALID"
        };
        assert_eq!(reason, told, "{message}");
        assert!(message.contains(&status.to_string()), "{message}");
        let archive = world.registry.file(&format!("answers-{status}/app.tar"));
        let (reason, message) = world.refused(&archive).await;
        let told = if may_pass {
            "DOWNLOAD_FAILED"
        } else {
            "DOWNLOAD_REFUSED"
        };
        assert_eq!(reason, told, "{message}");
    }
}

#[tokio::test]
async fn channels_and_versions_are_those_of_the_registry() {
    let mut world = World::new().await;
    let beta = world.install("registry://home/beta").await.unwrap();
    assert_eq!(beta.version, "1.1.0-beta.1");
    world.tenant.context = "next".to_owned();
    let jotter = world
        .install("registry://jotter/stable/1.2.0")
        .await
        .unwrap();
    assert_eq!(
        (jotter.version.as_str(), jotter.source.as_str()),
        ("1.2.0", "registry://jotter/1.2.0")
    );
}

#[tokio::test]
async fn a_downloaded_archive_is_verified_by_its_checksum() {
    let world = World::new().await;
    let address = world.registry.file("tarballs/drive-1.0.0.tar.gz");
    let wrong = format!("{address}#{}", "0".repeat(64));
    assert_eq!(world.refused(&wrong).await.0, "CHECKSUM_MISMATCH");
    world.assert_untouched().await;

    let right = "cc8bb1d9314791705e9ab298833527be32e25c1c274dfeae758d87c2c9818220";
    let app = world.install(&format!("{address}#{right}")).await.unwrap();
    assert_eq!(
        (app.slug.as_str(), app.version.as_str()),
        ("drive", "1.0.0")
    );
    assert_eq!(app.checksum, right);

    let round = world.registry.file("round/app.tar.gz");
    assert_eq!(world.refused(&round).await.0, "DOWNLOAD_REFUSED");
    let nothing = world.registry.file("tarballs/none.tar.gz");
    assert_eq!(world.refused(&nothing).await.0, "APP_NOT_FOUND");
    let no_archive = world.registry.file("errors/app-not-found");
    assert_eq!(world.refused(&no_archive).await.0, "ARCHIVE_REFUSED");
}

#[tokio::test]
async fn without_registries_slugs_are_looked_up_in_a_folder() {
    let world = World::with_app_folder(fixtures()).await;
    let app = world.install("home").await.unwrap();
    assert_eq!(
        (app.version.as_str(), app.source.as_str()),
        ("1.0.0", "registry://home/stable")
    );
    let again = world.install("registry://home/stable").await.unwrap();
    assert_eq!(again, unchanged(&app));
    assert_eq!(world.refused("nosuchapp").await.0, "APP_NOT_FOUND");
    assert_eq!(
        world.refused("registry://jotter/2.0.0").await.0,
        "APP_NOT_FOUND"
    );
    // A konnector is not found as a web app, even though its folder exists.
    assert_eq!(world.refused("lumen-bills").await.0, "APP_NOT_FOUND");
    world.install_konnector("lumen-bills").await.unwrap();
}

#[tokio::test]
async fn the_example_apps_can_be_installed() {
    let examples = fixtures().join("../../../examples/apps");
    let world = World::with_app_folder(examples).await;
    let app = world.install("home").await.unwrap();
    assert_eq!((app.slug.as_str(), app.state.as_str()), ("home", "ready"));
}

#[tokio::test]
async fn links_of_a_folder_are_not_followed_and_git_is_left_out() {
    let world = World::new().await;
    let folder = world.folder.path().join("app");
    std::fs::create_dir_all(folder.join(".git")).unwrap();
    std::fs::write(folder.join(".git/config"), "private").unwrap();
    std::fs::write(
        folder.join("manifest.webapp"),
        r#"{"slug": "mine", "version": "2.0.0"}"#,
    )
    .unwrap();
    std::os::unix::fs::symlink("/etc/hostname", folder.join("link")).unwrap();
    let source = format!("file://{}", folder.display());
    let (reason, message) = world.refused(&source).await;
    assert_eq!(reason, "ARCHIVE_REFUSED");
    assert!(message.ends_with(": link is a link"), "{message}");
    assert!(!message.contains(folder.to_str().unwrap()), "{message}");
    world.assert_untouched().await;

    std::fs::remove_file(folder.join("link")).unwrap();
    assert_eq!(world.install(&source).await.unwrap().slug, "mine");
    // The manifest, the list and the pointer.
    assert_eq!(world.stored().len(), 3, "{:?}", world.stored());
}

#[tokio::test]
async fn an_installation_that_takes_too_long_leaves_nothing() {
    let mut world = World::new().await;
    world.tenant.context = "silent".to_owned();
    let status = world
        .install_with("home", |it| {
            it.time_limit = Some(prost_types::Duration {
                seconds: 0,
                nanos: 200_000_000,
            });
        })
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(reason(&status).unwrap(), "APP_TOO_SLOW");
    world.assert_untouched().await;
}

#[tokio::test]
async fn an_interrupted_installation_is_completed_by_a_retry() {
    let world = World::new().await;
    world.install("drive").await.unwrap();
    let before = world.documents("io.cozy.apps").await;
    // As if the process had died before the last write: everything exists but the document of the app.
    let apps = world.database("io.cozy.apps");
    let app = apps
        .get::<serde_json::Value>("io.cozy.apps/drive")
        .await
        .unwrap()
        .unwrap();
    let removed = apps.compare_and_delete(&app.id, &app.rev).await.unwrap();
    assert!(matches!(removed, Exchange::Won(_)));

    world.install("drive").await.unwrap();
    let after = world.documents("io.cozy.apps").await;
    let services = |all: &std::collections::BTreeMap<String, serde_json::Value>| {
        all["io.cozy.apps/drive"]["services"].clone()
    };
    assert_eq!(services(&before), services(&after));
    assert_eq!(world.documents("io.cozy.permissions").await.len(), 1);
    assert_eq!(world.documents("io.cozy.triggers").await.len(), 2);
}

#[tokio::test]
async fn uninstalling_removes_all_that_was_installed() {
    let world = World::new().await;
    let app = world.install("drive").await.unwrap();
    let uninstall = async |etag: &str, validate_only| {
        let message = UninstallAppRequest {
            slug: "drive".to_owned(),
            etag: etag.to_owned(),
            validate_only,
            ..UninstallAppRequest::default()
        };
        world
            .apps(Door::Admin)
            .uninstall_app(world.request(message))
            .await
    };
    let stale = uninstall("1-0", false).await.unwrap_err();
    assert_eq!(reason(&stale).unwrap(), "APP_CHANGED");
    uninstall(&app.etag, true).await.unwrap();
    assert_eq!(world.slugs().await, ["drive"]);
    let removed = uninstall(&app.etag, false)
        .await
        .unwrap()
        .into_inner()
        .app
        .unwrap();
    assert_eq!(unchanged(&removed), unchanged(&app));
    for doctype in ["io.cozy.apps", "io.cozy.permissions", "io.cozy.triggers"] {
        assert!(world.documents(doctype).await.is_empty(), "{doctype}");
    }
    assert_eq!(
        uninstall("", false).await.unwrap_err().code(),
        Code::NotFound
    );
    world.install("drive").await.unwrap();
    assert_eq!(world.slugs().await, ["drive"]);
}

#[tokio::test]
async fn contents_are_shared_and_an_instance_can_be_forgotten() {
    let mut world = World::new().await;
    world.install("home").await.unwrap();
    let alone = world.stored().len();
    world.tenant.prefix.push('b');
    world.prepare().await;
    world.install("home").await.unwrap();
    assert_eq!(
        world.stored().len(),
        alone + 1,
        "only what says that it has them is new"
    );
    let purge = async || {
        let request = world.request(PurgeContentsRequest {});
        let answer = world
            .lifecycle(Door::Internal)
            .purge_contents(request)
            .await;
        answer.unwrap().into_inner().objects
    };
    assert_eq!(purge().await, 1);
    assert_eq!(purge().await, 0);
    assert_eq!(world.stored().len(), alone);
}

#[tokio::test]
async fn lists_come_page_by_page() {
    let world = World::new().await;
    for slug in ["b", "a", "c"] {
        let install = world.install_with("jotter", |it| it.slug = slug.to_owned());
        install.await.unwrap();
    }
    let page = async |token: &str| {
        let message = ListAppsRequest {
            page_size: 2,
            page_token: token.to_owned(),
            ..ListAppsRequest::default()
        };
        let answer = world
            .apps(Door::Admin)
            .list_apps(world.request(message))
            .await;
        answer.map(|answer| {
            let page = answer.into_inner();
            let slugs: Vec<_> = page.apps.into_iter().map(|app| app.slug).collect();
            (slugs, page.next_page_token)
        })
    };
    let (first, token) = page("").await.unwrap();
    assert_eq!(first, ["a", "b"]);
    let (second, end) = page(&token).await.unwrap();
    assert_eq!((second, end.as_str()), (vec!["c".to_owned()], ""));
    assert_eq!(
        page("No Token").await.unwrap_err().code(),
        Code::InvalidArgument
    );
    assert_eq!(world.get("a").await.unwrap().slug, "a");
    assert_eq!(
        reason(&world.get("z").await.unwrap_err()).unwrap(),
        "APP_NOT_INSTALLED"
    );
}

#[tokio::test]
async fn checking_only_installs_nothing() {
    let world = World::new().await;
    let app = world
        .install_with("home", |it| it.validate_only = true)
        .await
        .unwrap();
    assert_eq!(app.slug, "home");
    world.assert_untouched().await;
    let wrong = world
        .install_with("registry://hostile/1.0.4", |it| it.validate_only = true)
        .await;
    assert_eq!(reason(&wrong.unwrap_err()).unwrap(), "MANIFEST_INVALID");
}

#[tokio::test]
async fn invalid_requests_are_answered_with_advice() {
    let world = World::new().await;
    for source in ["", "NO_UP", "registry://home/latest", "ftp://a/b"] {
        let status = world.install(source).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{source}");
        assert!(
            status.message().starts_with("source: "),
            "{}",
            status.message()
        );
    }
    let git = world.install("git://github.com/a/b.git").await.unwrap_err();
    assert_eq!(git.code(), Code::Unimplemented);
    let slug = world
        .install_with("home", |it| it.slug = "../x".to_owned())
        .await;
    assert!(slug.unwrap_err().message().starts_with("slug: "));
    let nowhere = format!("file://{}/nowhere", world.folder.path().display());
    let nowhere = world.install(&nowhere).await.unwrap_err();
    assert_eq!(nowhere.code(), Code::InvalidArgument);
    assert!(nowhere.message().starts_with("source: the folder"));

    let message = InstallAppRequest::default();
    let public = world
        .apps(Door::Public)
        .install_app(world.request(message))
        .await;
    assert_eq!(public.unwrap_err().code(), Code::Unauthenticated);
    let message = PurgeContentsRequest {};
    let admin = world
        .lifecycle(Door::Admin)
        .purge_contents(world.request(message))
        .await;
    assert_eq!(admin.unwrap_err().code(), Code::PermissionDenied);

    let bare = World::bare(None).await;
    let status = bare.install("home").await.unwrap_err();
    assert_eq!(reason(&status).unwrap(), "INSTANCE_INCOMPLETE");
}
