//! The folder of an instance on a file store that other software uses, too.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a failed expectation is the test failing"
)]

mod support;

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::Path,
    time::UNIX_EPOCH,
};

use hamlet_proto::hamlet::{
    files::v1::{
        CheckTreeRequest, Contents, CreateDefaultDirectoriesRequest, Finding, ListContentsRequest,
        PrepareDatabasesRequest, PurgeContentsRequest,
    },
    instance::v1::Tenant,
};
use prost_types::Timestamp;
use serde_json::{Value, json};
use service_kit::{
    caller::{Door, for_tenant},
    status::reason,
};
use support::{World, wrong_fields};
use tonic::{Request, Status};

const ROOT: &str = "io.cozy.files.root-dir";
const TRASH: &str = "io.cozy.files.trash-dir";
/// The MD5 of `foo`.
const FOO: &str = "rL0Y20zC+Fzt72VPzMSk2A==";

/// An instance of the context that has a file store.
fn shared(world: &World) -> Tenant {
    let mut tenant = world.tenant.clone();
    tenant.context = "shared".to_owned();
    tenant
}

async fn make(world: &World, tenant: &Tenant, operation: &str) -> Result<(), Status> {
    let directories = CreateDefaultDirectoriesRequest {
        create_time: Some(Timestamp {
            seconds: 1_795_482_123,
            nanos: 0,
        }),
        operation_id: operation.to_owned(),
    };
    let request = PrepareDatabasesRequest {
        directories: Some(directories),
    };
    let mut lifecycle = world.lifecycle(Door::Internal);
    let prepared = lifecycle
        .prepare_databases(for_tenant(request, tenant))
        .await;
    prepared.map(|_| ())
}

async fn purge(world: &World, tenant: &Tenant, owns_domain: bool) -> i64 {
    let request = for_tenant(PurgeContentsRequest { owns_domain }, tenant);
    let mut lifecycle = world.lifecycle(Door::Internal);
    let purged = lifecycle.purge_contents(request).await.unwrap();
    purged.into_inner().objects
}

async fn list(world: &World, request: Request<ListContentsRequest>) -> Vec<Contents> {
    let mut lifecycle = world.lifecycle(Door::Internal);
    let mut answer = lifecycle.list_contents(request).await.unwrap().into_inner();
    let mut found = Vec::new();
    while let Some(it) = answer.message().await.unwrap() {
        found.push(it);
    }
    found
}

async fn list_of(world: &World, tenant: &Tenant, owns_domain: bool) -> Vec<Contents> {
    list(
        world,
        for_tenant(ListContentsRequest { owns_domain }, tenant),
    )
    .await
}

async fn list_all(world: &World) -> Vec<Contents> {
    list(world, Request::new(ListContentsRequest::default())).await
}

/// Everything below a folder, in order.
fn tree(folder: &Path) -> Vec<String> {
    fn read(folder: &Path, below: &str, into: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{below}{}", entry.file_name().to_string_lossy());
            if entry.file_type().unwrap().is_dir() {
                read(&entry.path(), &format!("{path}/"), into);
            }
            into.push(path);
        }
    }
    let mut all = Vec::new();
    if folder.exists() {
        read(folder, "", &mut all);
    }
    all.sort();
    all
}

#[tokio::test]
async fn the_directories_lie_there_as_their_documents_say() {
    let world = World::new().await;
    let tenant = shared(&world);
    make(&world, &tenant, "one").await.unwrap();
    let folder = world.file_store.join(&tenant.domain);
    let mut paths: Vec<String> = world
        .documents(&tenant)
        .await
        .into_iter()
        .filter_map(|(_, it)| it["path"].as_str()?.strip_prefix('/').map(str::to_owned))
        .filter(|path| !path.is_empty())
        .collect();
    paths.sort();
    assert_eq!(tree(&folder), paths);
    // What other software makes for a new instance.
    let recorded: Value = serde_json::from_str(include_str!("data/recorded.json")).unwrap();
    for document in recorded["files"]["docs"].as_array().unwrap() {
        let path = document["path"].as_str().unwrap().trim_start_matches('/');
        assert!(folder.join(path).is_dir(), "{path}");
    }
    assert_eq!(
        tree(&world.file_store).len(),
        paths.len() + 1,
        "nothing else"
    );
    let mode = fs::metadata(folder.join("Photos"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(
        mode & 0o777 & !0o022,
        0o755 & !0o022,
        "as the umask lets it"
    );

    make(&world, &tenant, "one").await.unwrap();
    assert_eq!(tree(&folder), paths, "once more");
    let other = world.tenant(|_| {});
    make(&world, &other, "two").await.unwrap();
    assert_eq!(tree(&folder), paths, "a context without a file store");

    // Files of other software are counted and removed.
    fs::write(folder.join("Photos/a.jpg"), "bytes").unwrap();
    fs::create_dir_all(folder.join(".cozy_versions/abcd/ef")).unwrap();
    fs::write(folder.join(".cozy_versions/abcd/ef/1-a"), "bytes").unwrap();
    let expected = [Contents {
        prefix: tenant.prefix.clone(),
        objects: 0,
        domain: tenant.domain.clone(),
        domain_files: 2,
    }];
    assert_eq!(list_of(&world, &tenant, false).await, expected);
    assert_eq!(list_of(&world, &tenant, true).await, expected);
    assert_eq!(list_all(&world).await, expected);
    assert_eq!(list_of(&world, &other, false).await, []);
    assert_eq!(purge(&world, &tenant, true).await, 2);
    assert_eq!(tree(&world.file_store), [""; 0]);
    assert_eq!(list_of(&world, &tenant, true).await, []);
    assert_eq!(list_all(&world).await, []);
    assert_eq!(purge(&world, &tenant, true).await, 0, "once more");
    world.forget(&tenant).await;
    world.forget(&other).await;
}

#[tokio::test]
async fn a_folder_of_somebody_else_is_never_touched() {
    let world = World::new().await;
    let tenant = shared(&world);
    let folder = world.file_store.join(&tenant.domain);
    fs::create_dir_all(folder.join("Mine")).unwrap();
    fs::write(folder.join("Mine/letter"), "dear").unwrap();
    let before = tree(&world.file_store);

    let refused = make(&world, &tenant, "one").await.unwrap_err();
    assert_eq!(reason(&refused).unwrap(), "FOLDER_EXISTS", "{refused:?}");
    assert_eq!(list_of(&world, &tenant, false).await, []);
    assert_eq!(
        purge(&world, &tenant, false).await,
        0,
        "the undo of a creation"
    );
    assert_eq!(tree(&world.file_store), before);
    assert_eq!(list_all(&world).await, [], "it is no orphan");

    // Who owns the domain finds it and removes it, whoever made it.
    let found = list_of(&world, &tenant, true).await;
    assert_eq!((found.len(), found[0].domain_files), (1, 1));
    assert_eq!(purge(&world, &tenant, true).await, 1);
    assert_eq!(tree(&world.file_store), [""; 0]);
    world.forget(&tenant).await;
}

#[tokio::test]
async fn a_folder_made_here_is_left_when_its_domain_has_another_instance() {
    let world = World::new().await;
    let tenant = shared(&world);
    make(&world, &tenant, "one").await.unwrap();
    // A caller who finds the domain in use says none.
    let mut lost = tenant.clone();
    lost.domain.clear();
    assert_eq!(purge(&world, &lost, false).await, 0);
    assert!(world.file_store.join(&tenant.domain).is_dir());
    assert_eq!(
        list_all(&world).await,
        [],
        "it is no longer that of the instance"
    );
    world.forget(&tenant).await;
}

#[tokio::test]
async fn a_creation_that_was_interrupted_goes_on_and_can_be_undone() {
    let world = World::new().await;
    let tenant = shared(&world);
    let aside = world
        .file_store
        .join(format!(".hamlet-new-{}", tenant.prefix));
    let note = world.contents.join("folders").join(&tenant.prefix);
    // A note, and what it says was built: what stands aside, or what is not there.
    let write_note = |is_built: bool| {
        fs::create_dir_all(note.parent().unwrap()).unwrap();
        let (root, domain) = (&world.file_store, &tenant.domain);
        let (inode, born) = match fs::metadata(&aside) {
            Ok(found) => {
                let born = found.created().unwrap().duration_since(UNIX_EPOCH);
                (found.ino(), born.unwrap().as_nanos())
            }
            Err(_) => (1, 1),
        };
        let built = is_built.then(|| json!({"inode": inode, "born": born}));
        let text = json!({"root": root, "domain": domain, "built": built});
        fs::write(&note, text.to_string()).unwrap();
    };
    let trash = world.file_store.join(&tenant.domain).join(".cozy_trash");
    for is_built in [false, true] {
        // Between any two steps.
        for has_aside in [false, true] {
            if has_aside {
                fs::create_dir_all(aside.join(".cozy_trash")).unwrap();
            }
            write_note(is_built);
            make(&world, &tenant, "one").await.unwrap();
            assert!(trash.is_dir());
            assert!(!aside.exists());
            assert_eq!(purge(&world, &tenant, false).await, 0);
            assert_eq!(tree(&world.file_store), [""; 0]);

            if has_aside {
                fs::create_dir_all(&aside).unwrap();
                fs::write(aside.join("half"), "h").unwrap();
            }
            write_note(is_built);
            assert_eq!(list_of(&world, &tenant, false).await.len(), 1);
            let removed = purge(&world, &tenant, false).await;
            assert_eq!(removed, i64::from(has_aside));
            assert_eq!(tree(&world.file_store), [""; 0]);
            assert!(!note.exists());
        }
    }
    // A second owner builds one more.
    make(&world, &tenant, "one").await.unwrap();
    fs::create_dir(&aside).unwrap();
    make(&world, &tenant, "one").await.unwrap();
    assert!(trash.is_dir() && !aside.exists());
    // Other software destroys the instance, and makes one of the same domain.
    fs::remove_dir_all(world.file_store.join(&tenant.domain)).unwrap();
    fs::create_dir_all(trash.join("theirs")).unwrap();
    assert_eq!(purge(&world, &tenant, false).await, 0);
    assert!(trash.join("theirs").is_dir());
    fs::remove_dir_all(world.file_store.join(&tenant.domain)).unwrap();
    // What is built while somebody else takes the name is not theirs.
    fs::create_dir_all(&aside).unwrap();
    write_note(true);
    let theirs = world.file_store.join(&tenant.domain);
    fs::create_dir_all(theirs.join("theirs")).unwrap();
    assert_eq!(purge(&world, &tenant, false).await, 0);
    assert_eq!(tree(&theirs), ["theirs"]);
    fs::create_dir_all(&aside).unwrap();
    write_note(true);
    let refused = make(&world, &tenant, "one").await.unwrap_err();
    assert_eq!(reason(&refused).unwrap(), "FOLDER_EXISTS");
    assert!(!note.exists() && !aside.exists());
    assert_eq!(tree(&theirs), ["theirs"]);
    world.forget(&tenant).await;
}

#[tokio::test]
async fn names_and_links_lead_nowhere_else() {
    let world = World::new().await;
    let outside = world.contents.parent().unwrap().join("outside");
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("precious"), "p").unwrap();
    for domain in ["", "..", "../outside", ".hidden", "a/b", "a\nb"] {
        let mut tenant = shared(&world);
        tenant.domain = domain.to_owned();
        let refused = make(&world, &tenant, "one").await.unwrap_err();
        assert_eq!(wrong_fields(&refused), ["domain"], "{domain:?}");
        assert_eq!(purge(&world, &tenant, true).await, 0);
    }
    let tenant = shared(&world);
    fs::create_dir_all(&world.file_store).unwrap();
    symlink(&outside, world.file_store.join(&tenant.domain)).unwrap();
    let request = PurgeContentsRequest { owns_domain: true };
    let mut lifecycle = world.lifecycle(Door::Internal);
    let refused = lifecycle
        .purge_contents(for_tenant(request, &tenant))
        .await
        .unwrap_err();
    assert_eq!(reason(&refused).unwrap(), "CONTENTS_UNAVAILABLE");
    assert_eq!(tree(&outside), ["precious"]);
    world.forget(&tenant).await;
}

async fn check(world: &World, tenant: &Tenant) -> Vec<Finding> {
    let request = for_tenant(CheckTreeRequest::default(), tenant);
    let checked = world.files(Door::Admin).check_tree(request).await;
    let mut answer = checked.unwrap().into_inner();
    let mut findings = Vec::new();
    while let Some(finding) = answer.message().await.unwrap() {
        findings.push(finding);
    }
    findings
}

fn wrong(findings: &[Finding]) -> Vec<(&str, &str, &str)> {
    let mut wrong: Vec<_> = findings
        .iter()
        .map(|it| (it.r#type.as_str(), it.file_id.as_str(), it.path.as_str()))
        .collect();
    wrong.sort_unstable();
    wrong
}

fn file(name: &str, parent: &str) -> Value {
    json!({
        "type": "file", "name": name, "dir_id": parent, "size": "3", "md5sum": FOO,
        "trashed": parent == TRASH,
    })
}

#[tokio::test]
async fn a_check_compares_documents_and_disk_both_ways() {
    let world = World::new().await;
    let tenant = shared(&world);
    make(&world, &tenant, "one").await.unwrap();
    let folder = world.file_store.join(&tenant.domain);
    let version = "f0000000000000000000000000000001/1-aa";
    let versions = world.database(&tenant, "io.cozy.files.versions");
    let old = json!({"size": "3", "md5sum": FOO});
    let _ = versions.put(version, None, &old).await.unwrap();
    world
        .write("f0000000000000000000000000000001", file("a.txt", ROOT))
        .await;
    world.write("f2", file("b.txt", TRASH)).await;
    fs::write(folder.join("a.txt"), "foo").unwrap();
    fs::write(folder.join(".cozy_trash/b.txt"), "foo").unwrap();
    let kept = folder.join(".cozy_versions/f000/0000000000000000000000000001");
    fs::create_dir_all(&kept).unwrap();
    fs::write(kept.join("1-aa"), "foo").unwrap();
    for beside in [
        ".thumbs/f000",
        ".cozy_apps/home/1.0.0",
        ".cozy_konnectors/x/1",
    ] {
        fs::create_dir_all(folder.join(beside)).unwrap();
        fs::write(folder.join(beside).join("x.br"), "x").unwrap();
    }
    let before = tree(&folder);
    assert_eq!(check(&world, &tenant).await, []);

    fs::write(folder.join("a.txt"), "fox").unwrap();
    fs::write(folder.join(".cozy_trash/b.txt"), "longer").unwrap();
    fs::remove_dir_all(folder.join("Administrative")).unwrap();
    fs::remove_file(kept.join("1-aa")).unwrap();
    fs::write(kept.join("2-bb"), "foo").unwrap();
    fs::create_dir(folder.join("Stray")).unwrap();
    fs::write(folder.join("Stray/inside"), "x").unwrap();
    fs::write(folder.join("Photos/stray"), "x").unwrap();
    symlink("/etc", folder.join("Photos/etc")).unwrap();
    world.write("f3", file("d", ROOT)).await;
    fs::create_dir(folder.join("d")).unwrap();
    let administrative = world.documents(&tenant).await;
    let administrative = administrative
        .iter()
        .find(|(_, it)| it["path"] == "/Administrative")
        .map(|(id, _)| id.as_str())
        .unwrap();
    let findings = check(&world, &tenant).await;
    let mut expected = [
        (
            "content_mismatch",
            "f0000000000000000000000000000001",
            "/a.txt",
        ),
        ("content_mismatch", "f2", "/.cozy_trash/b.txt"),
        ("filesystem_missing", administrative, "/Administrative"),
        ("filesystem_missing", version, ""),
        ("index_missing", "", "/Photos/etc"),
        ("index_missing", "", "/Photos/stray"),
        ("index_missing", "", "/Stray"),
        (
            "index_missing",
            "f0000000000000000000000000000001",
            "/.cozy_versions/f000/0000000000000000000000000001/2-bb",
        ),
        ("type_mismatch", "f3", "/d"),
    ];
    expected.sort_unstable();
    assert_eq!(wrong(&findings), expected, "{findings:#?}");
    assert_eq!(tree(&folder).len(), before.len() + 4, "a check only reads");

    fs::remove_dir_all(&folder).unwrap();
    let findings = check(&world, &tenant).await;
    assert_eq!(wrong(&findings), [("filesystem_missing", ROOT, "/")]);
    world.forget(&tenant).await;
}
