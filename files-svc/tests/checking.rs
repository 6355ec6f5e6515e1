//! Checks a tree and its contents, and lists the prefixes in the content store.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

mod support;

use std::fs;

use hamlet_proto::hamlet::files::v1::{CheckTreeRequest, Finding, ListContentsRequest};
use serde_json::{Value, json};
use service_kit::{caller::Door, status::reason};
use support::{World, wrong_fields};
use tonic::{Code, Request, Status};

const ROOT: &str = "io.cozy.files.root-dir";
const TRASH: &str = "io.cozy.files.trash-dir";
/// The MD5 of `foo`.
const FOO: &str = "rL0Y20zC+Fzt72VPzMSk2A==";
const INTERNAL: &str = "aBcDeFgHiJkLmNoP";

/// The kind of each finding and the id of its document.
fn wrong(findings: &[Finding]) -> Vec<(&str, &str)> {
    let mut wrong: Vec<_> = findings
        .iter()
        .map(|it| (it.r#type.as_str(), it.file_id.as_str()))
        .collect();
    wrong.sort_unstable();
    wrong
}

async fn ask(world: &World, request: CheckTreeRequest) -> Result<Vec<Finding>, Status> {
    let request = world.request(request);
    let mut answer = world
        .files(Door::Admin)
        .check_tree(request)
        .await?
        .into_inner();
    let mut findings = Vec::new();
    while let Some(finding) = answer.message().await? {
        findings.push(finding);
    }
    Ok(findings)
}

async fn check_index(world: &World) -> Vec<Finding> {
    let request = CheckTreeRequest {
        index_integrity: true,
        ..CheckTreeRequest::default()
    };
    ask(world, request).await.unwrap()
}

async fn check_contents(world: &World) -> Vec<Finding> {
    let request = CheckTreeRequest {
        files_consistency: true,
        ..CheckTreeRequest::default()
    };
    ask(world, request).await.unwrap()
}

fn directory(path: &str, parent: &str) -> Value {
    let name = path.rsplit('/').next().unwrap();
    json!({"type": "directory", "name": name, "dir_id": parent, "path": path})
}

fn file(name: &str, parent: &str) -> Value {
    json!({
        "type": "file", "name": name, "dir_id": parent, "size": "3", "md5sum": FOO,
        "trashed": parent == TRASH, "internal_vfs_id": INTERNAL,
    })
}

/// Stores bytes under the name that the compatible layout gives to a file's contents.
fn put(world: &World, name: &str, bytes: &str) {
    let place = world
        .contents
        .join("files")
        .join(&world.tenant.prefix)
        .join(name);
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::write(place, bytes).unwrap();
}

#[tokio::test]
async fn a_consistent_tree_has_no_findings() {
    let world = World::with_directories().await;
    world.write("box", directory("/box", ROOT)).await;
    world.write("deep", directory("/box/deep", "box")).await;
    world.write("f1", file("a", "deep")).await;
    world.write("f2", file("a", "box")).await;
    world.write("f3", file("a", TRASH)).await;
    for file in ["f1", "f2", "f3"] {
        put(&world, &format!("{file}/{INTERNAL}"), "foo");
    }
    put(&world, "thumbs/f1-tiny", "picture");
    put(&world, "avatar", "picture");
    let both = ask(&world, CheckTreeRequest::default()).await.unwrap();
    assert_eq!(both, []);
    world.forget(&world.tenant).await;
}

#[tokio::test]
async fn documents_outside_of_the_tree_are_reported_with_their_path() {
    let world = World::with_directories().await;
    world.write("box", directory("/box", ROOT)).await;
    world.write("moved", directory("/elsewhere", "box")).await;
    world
        .write("below", directory("/elsewhere/below", "moved"))
        .await;
    world.write("lost", directory("/gone/lost", "gone")).await;
    world.write("c1", directory("/c2/c1", "c2")).await;
    world.write("c2", directory("/c1/c2", "c1")).await;
    world.write("self", directory("/self", "self")).await;
    world.write("f1", file("twin", "box")).await;
    world.write("f2", file("twin", "box")).await;
    world.write("f3", file("in a file", "f1")).await;
    world
        .write("odd", json!({"type": "link", "dir_id": "box"}))
        .await;
    let mut marked = file("marked", "box");
    marked["trashed"] = true.into();
    world.write("f4", marked).await;
    let mut unmarked = file("unmarked", TRASH);
    unmarked["trashed"] = false.into();
    world.write("f5", unmarked).await;
    let mut with_path = file("with path", "box");
    with_path["path"] = "/box/with path".into();
    world.write("f6", with_path).await;
    let versions = world.database(&world.tenant, "io.cozy.files.versions");
    for id in ["f1/v1", "gone/v1", "box/v1"] {
        let body = json!({"size": "3", "md5sum": FOO});
        let written = versions.put(id, None, &body).await.unwrap();
        assert!(written.committed().is_some());
    }

    let findings = check_index(&world).await;
    assert_eq!(
        wrong(&findings),
        [
            ("file_missing", "box/v1"),
            ("file_missing", "gone/v1"),
            ("index_bad_document", "odd"),
            ("index_bad_fullpath", "moved"),
            ("index_duplicate_name", "f2"),
            ("index_file_with_path", "f6"),
            ("index_orphan_tree", "c1"),
            ("index_orphan_tree", "c2"),
            ("index_orphan_tree", "f3"),
            ("index_orphan_tree", "lost"),
            ("index_orphan_tree", "self"),
            ("not_trashed_in_trash", "f5"),
            ("trashed_not_in_trash", "f4"),
        ]
    );
    let of = |id: &str| findings.iter().find(|it| it.file_id == id).unwrap();
    assert_eq!(of("f2").path, "/box/twin");
    assert_eq!(of("lost").path, "/gone/lost");
    assert!(of("moved").detail.contains("/box/elsewhere"));
    assert!(
        of("c1").detail.contains("below itself"),
        "{}",
        of("c1").detail
    );
    world.forget(&world.tenant).await;
}

#[tokio::test]
async fn missing_root_and_trash_are_reported_once() {
    let world = World::with_directories().await;
    let files = world.database(&world.tenant, "io.cozy.files");
    for id in [ROOT, TRASH] {
        let found = files.get::<Value>(id).await.unwrap().unwrap();
        let gone = files.delete(id, &found.rev).await.unwrap();
        assert!(gone.committed().is_some());
    }
    world.write("f1", file("a", TRASH)).await;
    assert_eq!(
        wrong(&check_index(&world).await),
        [("index_missing_root", ROOT), ("index_missing_trash", TRASH)]
    );
    let first = CheckTreeRequest {
        fail_fast: true,
        ..CheckTreeRequest::default()
    };
    let first = ask(&world, first).await.unwrap();
    assert_eq!(wrong(&first), [("index_missing_root", ROOT)], "and no more");
    world.forget(&world.tenant).await;
}

#[tokio::test]
async fn conflicting_revisions_are_reported() {
    let world = World::with_directories().await;
    let files = world.database(&world.tenant, "io.cozy.files");
    let base = files.put("f1", None, &file("a", ROOT)).await.unwrap();
    assert!(base.committed().is_some());
    let mut beside = file("b", ROOT);
    beside["_id"] = "f1".into();
    beside["_rev"] = "1-00000000000000000000000000000000".into();
    world.replicate("io.cozy.files", &beside).await;
    assert_eq!(
        wrong(&check_index(&world).await),
        [("conflict_in_index", "f1")]
    );
    world.forget(&world.tenant).await;
}

#[tokio::test]
async fn contents_are_compared_with_their_documents() {
    let world = World::with_directories().await;
    let split = "0123456789abcdef0123456789abcdef";
    for id in [split, "fine", "gone", "short", "other"] {
        world.write(id, file(id, ROOT)).await;
    }
    let mut nameless = file("nameless", ROOT);
    nameless["internal_vfs_id"] = "".into();
    world.write("nameless", nameless).await;
    world.write("box", directory("/box", ROOT)).await;
    put(
        &world,
        &format!("0123456789abcdef012345/6789a/bcdef/{INTERNAL}"),
        "foo",
    );
    put(&world, &format!("fine/{INTERNAL}"), "foo");
    put(&world, &format!("short/{INTERNAL}"), "fo");
    put(&world, &format!("other/{INTERNAL}"), "bar");
    put(&world, &format!("box/{INTERNAL}"), "foo");
    put(&world, &format!("stranger/{INTERNAL}"), "foo");
    put(&world, "fine/ofAnOldVersionNow", "foo");
    put(&world, "fine/nobodyNamesThis1", "foo");
    put(&world, "thumbs/stranger-tiny", "picture");
    put(&world, "what/is/this", "?");
    let versions = world.database(&world.tenant, "io.cozy.files.versions");
    for id in ["fine/ofAnOldVersionNow", "fine/withoutBytes12345"] {
        let body = json!({"size": "3", "md5sum": FOO});
        let written = versions.put(id, None, &body).await.unwrap();
        assert!(written.committed().is_some());
    }

    let findings = check_contents(&world).await;
    assert_eq!(
        wrong(&findings),
        [
            ("content_mismatch", "other"),
            ("content_mismatch", "short"),
            ("filesystem_missing", "fine/withoutBytes12345"),
            ("filesystem_missing", "gone"),
            ("filesystem_missing", "nameless"),
            ("index_missing", ""),
            ("index_missing", "fine"),
            ("index_missing", "stranger"),
            ("thumbnail_with_no_file", "stranger"),
            ("type_mismatch", "box"),
        ]
    );
    let of = |id: &str| findings.iter().find(|it| it.file_id == id).unwrap();
    assert_eq!(of("short").path, "/short");
    assert!(of("short").detail.contains("3 bytes") && of("short").detail.ends_with("have 2"));
    assert!(
        of("other")
            .detail
            .contains("acbd18db4cc2f85cedef654fccc4a4d8")
    );
    assert_eq!(check_index(&world).await, [], "documents alone are fine");
    world.forget(&world.tenant).await;
}

#[tokio::test]
async fn an_impossible_check_fails_with_the_reason() {
    let world = World::new().await;
    let refused = ask(&world, CheckTreeRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(reason(&refused).unwrap(), "INSTANCE_INCOMPLETE");

    let contradictory = CheckTreeRequest {
        index_integrity: true,
        files_consistency: true,
        fail_fast: false,
    };
    let refused = ask(&world, contradictory).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(wrong_fields(&refused), ["files_consistency"]);

    let request = world.request(CheckTreeRequest::default());
    let refused = world.files(Door::Public).check_tree(request).await.err();
    assert_eq!(refused.unwrap().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn contents_are_listed_by_prefix() {
    let world = World::new().await;
    let list = async |request: Request<ListContentsRequest>| {
        let mut lifecycle = world.lifecycle(Door::Internal);
        let mut answer = lifecycle.list_contents(request).await.unwrap().into_inner();
        let mut found = Vec::new();
        while let Some(it) = answer.message().await.unwrap() {
            found.push((it.prefix, it.objects));
        }
        found.sort();
        found
    };
    let everything = || Request::new(ListContentsRequest::default());
    let ours = || world.request(ListContentsRequest::default());
    assert_eq!(list(everything()).await, []);
    put(&world, "f1/a", "foo");
    put(&world, "f2/b", "foo");
    let files = world.contents.join("files");
    fs::create_dir_all(files.join("cozyother/empty")).unwrap();
    let prefix = world.tenant.prefix.clone();
    let here = (prefix, 2);
    assert_eq!(
        list(everything()).await,
        [here.clone(), ("cozyother".to_owned(), 0)]
    );
    assert_eq!(list(ours()).await, [here]);

    let mut admin = world.lifecycle(Door::Admin);
    let refused = admin.list_contents(everything()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}
