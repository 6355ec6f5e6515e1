//! The code of apps on a file store that other software uses, too.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a failed expectation is the test failing"
)]

mod support;

use std::{collections::BTreeMap, fs, os::unix::fs::symlink, path::Path};

use hamlet_proto::hamlet::apps::v1::{App, UninstallAppRequest, UpdateAppRequest, app::Kind};
use service_kit::{caller::Door, status::reason};
use support::{World, fixtures, folder_of};
use tonic::Status;

/// Version 1.0.0 of the fixture `drive`, as recorded of other software.
const DRIVE: &str =
    ".cozy_apps/drive/1.0.0-cc8bb1d9314791705e9ab298833527be32e25c1c274dfeae758d87c2c9818220";
/// Version 1.0.0 of the fixture `lumen-bills`, as recorded of other software.
const BILLS: &str = ".cozy_konnectors/lumen-bills/1.0.0-7aa314e8cc7c427448df0a6d0c636d91c5c479dbcfc36159cb9b75045d97fe91";

/// A world whose instance has a folder on the file store.
async fn world() -> World {
    let mut world = World::new().await;
    world.tenant.context = "shared".to_owned();
    fs::create_dir_all(world.on_store()).unwrap();
    world
}

async fn update(world: &World, slug: &str, source: &str) -> Result<App, Status> {
    let request = world.request(UpdateAppRequest {
        slug: slug.to_owned(),
        source: source.to_owned(),
        permissions_acked: true,
        ..UpdateAppRequest::default()
    });
    let updated = world.apps(Door::Admin).update_app(request).await?;
    Ok(updated.into_inner())
}

async fn uninstall(world: &World, slug: &str, kind: Kind) {
    let request = world.request(UninstallAppRequest {
        slug: slug.to_owned(),
        kind: kind.into(),
        ..UninstallAppRequest::default()
    });
    let removed = world.apps(Door::Admin).uninstall_app(request).await;
    removed.unwrap();
}

/// The files below a folder with their contents.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(&at).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().display().to_string();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// The same, unpacked and by the names without `.br`.
fn unpacked(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let packed = files(folder).into_iter();
    packed
        .map(|(name, packed)| {
            let mut content = Vec::new();
            brotli::BrotliDecompress(&mut &*packed, &mut content).unwrap();
            (name.strip_suffix(".br").unwrap().to_owned(), content)
        })
        .collect()
}

/// The folders of versions below a folder of the store, and what else is in it.
fn versions(world: &World) -> Vec<String> {
    let store = world.on_store();
    let mut found = Vec::new();
    for kind in [".cozy_apps", ".cozy_konnectors"] {
        for app in fs::read_dir(store.join(kind)).into_iter().flatten() {
            let app = app.unwrap().path();
            for version in fs::read_dir(&app).unwrap() {
                let version = version.unwrap().path();
                let name = version.strip_prefix(&store).unwrap();
                found.push(name.display().to_string());
            }
        }
    }
    found.sort();
    found
}

fn changed_copy(app: &str, into: &Path, text: &str) -> String {
    for (name, content) in files(&fixtures().join(app)) {
        let path = into.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    fs::write(into.join("changed.txt"), text).unwrap();
    format!("file://{}", into.display())
}

#[tokio::test]
async fn code_lies_where_other_software_looks_for_it() {
    let world = world().await;
    world.install("drive").await.unwrap();
    world.install_konnector("lumen-bills").await.unwrap();
    assert_eq!(versions(&world), [DRIVE, BILLS]);
    let code = unpacked(&world.on_store().join(DRIVE));
    assert!(
        code.contains_key("manifest.webapp") && code.contains_key("index.html"),
        "{code:?}"
    );
    let manifest: serde_json::Value = serde_json::from_slice(&code["manifest.webapp"]).unwrap();
    assert_eq!(manifest["version"], "1.0.0");

    let updated = update(&world, "drive", "registry://drive/1.1.0")
        .await
        .unwrap();
    let folder = format!(".cozy_apps/drive/1.1.0-{}", updated.checksum);
    assert_eq!(versions(&world), [folder.as_str(), BILLS]);

    // An update repairs what is missing or left over, and otherwise changes nothing.
    let etag = updated.etag;
    let same = update(&world, "drive", "").await.unwrap();
    assert_eq!(same.etag, etag);
    fs::rename(world.on_store().join(&folder), world.on_store().join(DRIVE)).unwrap();
    update(&world, "drive", "").await.unwrap();
    assert_eq!(versions(&world), [folder.as_str(), BILLS]);

    // What another writer has not finished is left alone until the app goes.
    fs::create_dir_all(world.on_store().join(".cozy_apps/drive/tmp123")).unwrap();
    update(&world, "drive", "registry://drive/1.0.0")
        .await
        .unwrap();
    assert_eq!(versions(&world), [DRIVE, ".cozy_apps/drive/tmp123", BILLS]);
    uninstall(&world, "drive", Kind::Webapp).await;
    assert_eq!(versions(&world), [BILLS]);
    uninstall(&world, "lumen-bills", Kind::Konnector).await;
    assert_eq!(versions(&world), [""; 0]);
    assert!(!world.on_store().join(".cozy_apps/drive").exists());
}

#[tokio::test]
async fn the_code_of_a_folder_is_that_of_its_document() {
    let world = world().await;
    let app = world.install(&folder_of("home")).await.unwrap();
    let folder = world
        .on_store()
        .join(format!(".cozy_apps/home/{}", app.version));
    assert_eq!(unpacked(&folder), files(&fixtures().join("home")));

    let source = changed_copy("home", &world.folder.path().join("changed"), "one");
    let changed = update(&world, "home", &source).await.unwrap();
    assert_ne!(changed.version, app.version);
    let folder = format!(".cozy_apps/home/{}", changed.version);
    assert_eq!(versions(&world), [folder.as_str()]);
    let code = unpacked(&world.on_store().join(&folder));
    assert_eq!(code["changed.txt"], b"one");

    // Other software leaves code behind. Without a checksum in its name, it may be that of another time.
    uninstall(&world, "home", Kind::Webapp).await;
    let stale = world.on_store().join(&folder);
    fs::create_dir_all(&stale).unwrap();
    fs::write(stale.join("old.br"), "old").unwrap();
    world.install(&source).await.unwrap();
    assert_eq!(unpacked(&stale), code);
    assert_eq!(versions(&world), [folder]);
}

#[tokio::test]
async fn an_instance_without_a_folder_gets_none() {
    let world = world().await;
    fs::remove_dir(world.on_store()).unwrap();
    let app = world.install("drive").await.unwrap();
    assert!(!world.on_store().exists());
    assert_eq!(update(&world, "drive", "").await.unwrap().etag, app.etag);
    uninstall(&world, "drive", Kind::Webapp).await;
}

#[tokio::test]
async fn links_are_not_followed_and_failures_leave_nothing() {
    let world = world().await;
    let outside = world.folder.path().join("outside");
    fs::create_dir_all(&outside).unwrap();
    symlink(&outside, world.on_store().join(".cozy_apps")).unwrap();
    let refused = world.install("drive").await.unwrap_err();
    assert_eq!(reason(&refused).unwrap(), "FILE_STORE_FAILED");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    assert_eq!(world.slugs().await, [""; 0]);

    fs::remove_file(world.on_store().join(".cozy_apps")).unwrap();
    world.install("drive").await.unwrap();
    assert_eq!(versions(&world), [DRIVE]);
}

#[tokio::test]
async fn code_that_other_software_has_installed_is_served() {
    let world = world().await;
    for app in ["drive", "home"] {
        world.install(app).await.unwrap();
    }
    // As if other software had installed them: there is nothing in the content store.
    fs::remove_dir_all(world.contents.join("instances")).unwrap();
    fs::remove_dir_all(world.contents.join("apps")).unwrap();
    let icon = world.visit("drive", "/public/icon.svg").get().await;
    assert_eq!(icon.status, 200, "{icon:?}");
    let file = fixtures().join("drive/public/icon.svg");
    assert_eq!(icon.body, fs::read(file).unwrap());
    // From now on it is as if Hamlet had installed it.
    fs::remove_dir_all(world.on_store().join(DRIVE)).unwrap();
    let page = world.visit("drive", "/").logged_in().get().await;
    assert_eq!(page.status, 200, "{page:?}");

    let home = fs::read_dir(world.on_store().join(".cozy_apps/home")).unwrap();
    let home = home.last().unwrap().unwrap().path();
    fs::write(home.join("index.html.br"), "no brotli").unwrap();
    let broken = world.visit("home", "/assets/icon.svg").get().await;
    assert_eq!(broken.status, 503);
}
