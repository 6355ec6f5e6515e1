//! Instances on a file store that other software uses, too: a context with `storage`.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::UNIX_EPOCH,
};

use hamlet_tests::{
    daemon::{Daemon, Options},
    database::{Database, encode},
    programs::{program, root},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use test_kit::eventually;

/// What other software makes for a new instance.
const ALICE: &str = include_str!("../../data/recorded-databases-alice.json");

struct World {
    place: tempfile::TempDir,
    database: Database,
    daemon: Daemon,
}

impl World {
    async fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let database = Database::empty().await;
        let file = place.path().join("hamlet.toml");
        let store = place.path().join("store");
        let text = format!(
            "[contexts.default]\nstorage = \"file://{}\"\n",
            store.display()
        );
        fs::write(&file, text).unwrap();
        let daemon = Options::new(&place.path().join("data"))
            .flag(format!("--config={}", file.display()))
            .flag(format!("--couchdb={}", database.url()))
            .flag(format!(
                "--app-folder={}",
                root().join("examples/apps").display()
            ))
            .start();
        Self {
            place,
            database,
            daemon,
        }
    }

    fn store(&self) -> PathBuf {
        self.place.path().join("store")
    }

    fn folder(&self, domain: &str) -> PathBuf {
        self.store().join(domain)
    }

    fn done(&self, words: &str) -> String {
        self.daemon.cli().run(words).done().out
    }

    /// The document of an instance.
    async fn instance(&self, domain: &str) -> Value {
        let mut all = self.database.plain_documents("global/instances").await;
        all.retain(|it| it["domain"] == domain);
        all.remove(0)
    }

    async fn put(&self, database: &str, document: &Value) {
        let id = document["_id"].as_str().unwrap();
        let path = format!("{}/{}", encode(database), encode(id));
        let put = self
            .database
            .call(Method::PUT, &path, Some(document.clone()));
        let (status, answer) = put.await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
    }
}

/// The paths of all folders and files below a folder.
fn tree(folder: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(&at).into_iter().flatten() {
            let path = entry.unwrap().path();
            all.push(path.strip_prefix(folder).unwrap().display().to_string());
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_lies_on_the_file_store_until_it_is_destroyed() {
    let world = World::new().await;
    let alice = world.daemon.domain("alice");
    // An instance of the other software, whose files are none of our business.
    let other = world.folder("other.localhost:8080");
    fs::create_dir_all(other.join("Photos")).unwrap();
    fs::write(other.join("Photos/a.jpg"), "photo").unwrap();

    let added = world
        .daemon
        .cli()
        .run(&format!("instances add {alice} --locale fr --apps home"));
    assert!(
        added.clone().done().out.contains("registerToken="),
        "{added:#?}"
    );
    let folder = world.folder(&alice);
    let recorded: Value = serde_json::from_str(ALICE).unwrap();
    let recorded = recorded["databases"]["<prefix>/io-cozy-files"]["docs"]
        .as_array()
        .unwrap();
    assert_eq!(recorded.len(), 4);
    for document in recorded {
        let path = document["path"].as_str().unwrap().trim_start_matches('/');
        assert!(folder.join(path).is_dir(), "{path}");
    }
    // Directories are those of the documents; code lies beside them, compressed.
    let instance = world.instance(&alice).await;
    let prefix = instance["prefix"].as_str().unwrap().to_owned();
    let files = format!("{prefix}/io-cozy-files");
    let documents = world.database.plain_documents(&files).await;
    let mut expected: Vec<String> = documents
        .iter()
        .filter_map(|it| it["path"].as_str()?.strip_prefix('/').map(str::to_owned))
        .filter(|path| !path.is_empty())
        .collect();
    let code = ".cozy_apps/home/1.1.0";
    expected.extend([".cozy_apps", ".cozy_apps/home", code].map(str::to_owned));
    let app = root().join("examples/apps/home");
    expected.extend(tree(&app).into_iter().map(|path| {
        let end = if app.join(&path).is_dir() { "" } else { ".br" };
        format!("{code}/{path}{end}")
    }));
    expected.sort();
    assert_eq!(tree(&folder), expected);
    assert_eq!(world.done(&format!("instances fsck {alice}")), "");

    // A file as the other software writes it.
    let letter = json!({
        "_id": "letter", "type": "file", "name": "letter.txt", "dir_id": "io.cozy.files.root-dir",
        "size": "3", "md5sum": "rL0Y20zC+Fzt72VPzMSk2A==", "trashed": false,
    });
    world.put(&files, &letter).await;
    fs::write(folder.join("letter.txt"), "foo").unwrap();
    assert_eq!(world.done(&format!("instances fsck {alice}")), "");
    fs::write(folder.join("letter.txt"), "fox").unwrap();
    fs::write(folder.join("stray"), "x").unwrap();
    let wrong = world.daemon.cli().run(&format!("instances fsck {alice}"));
    assert_eq!(wrong.code, 1, "{wrong:#?}");
    for part in ["content_mismatch", "/letter.txt", "index_missing", "/stray"] {
        assert!(wrong.out.contains(part), "{wrong:#?}");
    }

    // The code follows the app.
    world.done(&format!("apps uninstall {alice} home"));
    assert!(!folder.join(".cozy_apps/home").exists());
    world.done(&format!("apps install {alice} home"));
    assert!(folder.join(code).join("manifest.webapp.br").is_file());

    let dry = world.done(&format!("instances destroy {alice} --dry-run"));
    assert!(dry.contains("objects"), "{dry}");
    assert!(folder.join("letter.txt").exists());
    world.done(&format!("instances destroy {alice} --force"));
    assert_eq!(
        tree(&world.store()),
        [
            "other.localhost:8080",
            "other.localhost:8080/Photos",
            "other.localhost:8080/Photos/a.jpg"
        ],
        "the other instance alone is left"
    );
    assert_eq!(world.database.leftovers().await, Vec::<String>::new());
    // The domain is free again.
    world.done(&format!("instances add {alice}"));
    assert!(folder.join(".cozy_trash").is_dir());
    world.done(&format!("instances destroy {alice} --force"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_goes_with_its_instance_and_with_no_other() {
    let world = World::new().await;
    // A folder that nobody here has made: no instance gets it, and undoing the creation keeps it.
    let carol = world.daemon.domain("carol");
    fs::create_dir_all(world.folder(&carol).join("Hers")).unwrap();
    let refused = world.daemon.cli().run(&format!("instances add {carol}"));
    assert_eq!(refused.code, 4, "{refused:#?}");
    assert_eq!(tree(&world.folder(&carol)), ["Hers"]);
    assert_eq!(world.done("instances ls -o name"), "");

    // An instance that other software has made has no note here.
    let dora = world.daemon.domain("dora");
    world.done(&format!("instances add {dora}"));
    let prefix = world.instance(&dora).await["prefix"].clone();
    let notes = world.daemon.data().join("contents/folders");
    fs::remove_file(notes.join(prefix.as_str().unwrap())).unwrap();
    world.done(&format!("instances destroy {dora} --force"));
    assert!(!world.folder(&dora).exists());

    // Other software knows no claims, and can make a second instance of one domain. Both use one folder.
    let eve = world.daemon.domain("eve");
    world.done(&format!("instances add {eve}"));
    let mut twin = world.instance(&eve).await;
    twin["_id"] = json!("twin0000000000000000000000000000");
    twin["prefix"] = json!("cozytwin");
    twin.as_object_mut().unwrap().remove("_rev");
    let (status, _) = world
        .database
        .call(Method::PUT, "cozytwin%2Fio-cozy-files", None)
        .await;
    assert!(status.is_success());
    world.put("global/instances", &twin).await;
    world.done(&format!("instances destroy {eve} --force"));
    assert!(world.folder(&eve).join(".cozy_trash").is_dir());
    assert!(!notes.exists() || tree(&notes).is_empty());

    // Other software destroys an instance in the database alone: what it consists of, then its document.
    let finn = world.daemon.domain("finn");
    world.done(&format!("instances add {finn}"));
    let document = world.instance(&finn).await;
    let below = format!("{}/", document["prefix"].as_str().unwrap());
    for name in world.database.databases().await {
        if name.starts_with(&below) {
            let path = name.replace('/', "%2F");
            let (status, _) = world.database.call(Method::DELETE, &path, None).await;
            assert!(status.is_success());
        }
    }
    let id = document["_id"].as_str().unwrap();
    let rev = document["_rev"].as_str().unwrap();
    let path = format!("global%2Finstances/{id}?rev={rev}");
    let (status, _) = world.database.call(Method::DELETE, &path, None).await;
    assert!(status.is_success());
    eventually("the folder is removed", async || {
        !world.folder(&finn).exists()
    })
    .await;

    // Folders whose instances were lost: of one the domain is free, the other has an instance.
    let lost = world.daemon.domain("lost");
    fs::create_dir_all(world.folder(&lost).join("Photos")).unwrap();
    fs::create_dir_all(&notes).unwrap();
    for (prefix, domain) in [("cozylost", &lost), ("cozystale", &eve)] {
        let found = fs::metadata(world.folder(domain)).unwrap();
        let born = found.created().unwrap().duration_since(UNIX_EPOCH);
        let (inode, born) = (found.ino(), born.unwrap().as_nanos());
        let built = json!({"inode": inode, "born": born});
        let note = json!({"root": world.store(), "domain": domain, "built": built});
        fs::write(notes.join(prefix), note.to_string()).unwrap();
    }
    let orphans = world.done("instances orphans");
    for prefix in ["cozylost", "cozystale"] {
        assert!(orphans.contains(prefix), "{orphans}");
    }
    assert!(world.folder(&lost).exists());
    world.done("instances orphans --purge --force");
    assert!(!world.folder(&lost).exists() && tree(&notes).is_empty());
    assert!(world.folder(&eve).exists() && world.folder(&carol).exists());
}

#[test]
fn a_storage_that_is_no_local_folder_is_refused_at_the_start() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("hamlet.toml");
    for storage in ["swift://openstack/", "file://relative", "/var/lib/files"] {
        fs::write(
            &file,
            format!("[contexts.school]\nstorage = \"{storage}\"\n"),
        )
        .unwrap();
        let output = Command::new(program("hamletd"))
            .arg(format!("--config={}", file.display()))
            .arg(format!("--data={}", place.path().join("data").display()))
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        assert!(
            told.contains("contexts.school") && told.contains("storage"),
            "{storage}: {told}"
        );
    }
}
