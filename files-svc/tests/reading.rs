//! Reads a tree: one file, a directory by pages, a whole tree.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

mod support;

use hamlet_proto::hamlet::files::v1::{
    File, GetFileRequest, ListChildrenRequest, WalkTreeRequest, file::Type, list_children_request,
};
use serde_json::json;
use service_kit::{caller::Door, status::reason};
use support::{World, wrong_fields};
use tonic::Code;

const ROOT: &str = "io.cozy.files.root-dir";
const TRASH: &str = "io.cozy.files.trash-dir";
/// The same word, composed and decomposed.
const COMPOSED: &str = "\u{e9}t\u{e9}";
const DECOMPOSED: &str = "e\u{301}te\u{301}";

async fn write_file(world: &World, id: &str, name: &str, parent: &str) {
    let document = json!({
        "type": "file", "name": name, "dir_id": parent,
        "created_at": "2026-03-05T09:00:00+01:00", "updated_at": "2026-03-05T08:00:01.5Z",
        "size": "3", "md5sum": "rL0Y20zC+Fzt72VPzMSk2A==", "mime": "text/plain", "class": "text",
        "executable": true, "trashed": parent == TRASH, "encrypted": false, "tags": ["draft"],
        "referenced_by": [{"id": "album", "type": "io.cozy.photos.albums"}],
    });
    world.write(id, document).await;
}

async fn write_directory(world: &World, id: &str, path: &str, parent: &str) {
    let name = path.rsplit('/').next().unwrap();
    let document = json!({
        "type": "directory", "name": name, "dir_id": parent, "path": path,
        "created_at": "2026-03-05T08:00:00Z", "updated_at": "2026-03-05T08:00:00Z",
    });
    world.write(id, document).await;
}

fn names(files: &[File]) -> Vec<&str> {
    files.iter().map(|it| it.display_name.as_str()).collect()
}

#[tokio::test]
async fn a_file_is_found_by_id_and_by_path_with_all_fields() {
    let world = World::with_directories().await;
    let photos = world.by_path("/Photos").await.unwrap();
    write_file(&world, "f1", "note.txt", &photos.id).await;

    let file = world.by_path("/Photos/note.txt").await.unwrap();
    assert_eq!(world.by_id("f1").await.unwrap(), file);
    assert_eq!(file.r#type(), Type::File);
    assert_eq!(file.display_name, "note.txt");
    assert_eq!(file.path, "/Photos/note.txt");
    assert_eq!(file.parent_id, photos.id);
    assert_eq!(file.size_bytes, 3);
    assert_eq!(
        (file.mime.as_str(), file.class.as_str()),
        ("text/plain", "text")
    );
    assert_eq!(file.md5.len(), 16);
    assert_eq!(file.create_time.unwrap().seconds, 1_772_697_600);
    assert_eq!(file.update_time.unwrap().nanos, 500_000_000);
    assert_eq!(file.tags, ["draft"]);
    assert_eq!(file.referenced_by[0].doctype, "io.cozy.photos.albums");
    assert!(file.executable && !file.trashed);
    assert!(file.etag.starts_with("1-"));

    assert_eq!(photos.r#type(), Type::Directory);
    assert_eq!(
        world.by_path("/Photos/").await.unwrap(),
        photos,
        "a final slash"
    );
    let root = world.by_path("/").await.unwrap();
    assert_eq!(world.by_id(ROOT).await.unwrap(), root);
    assert_eq!(
        (root.display_name.as_str(), root.parent_id.as_str()),
        ("", "")
    );

    write_file(&world, "f2", "old.txt", TRASH).await;
    assert!(world.by_path("/.cozy_trash/old.txt").await.unwrap().trashed);
    assert!(!world.by_id(TRASH).await.unwrap().trashed);
    world.forget(&world.tenant).await;
}

#[tokio::test]
async fn two_spellings_of_a_letter_are_two_names() {
    let world = World::with_directories().await;
    write_directory(&world, "d1", &format!("/{COMPOSED}"), ROOT).await;
    write_file(&world, "f1", COMPOSED, "d1").await;
    write_file(&world, "f2", DECOMPOSED, "d1").await;
    let inside = format!("/{COMPOSED}");
    assert_eq!(world.by_path(&inside).await.unwrap().id, "d1");
    assert_eq!(
        world
            .by_path(&format!("{inside}/{COMPOSED}"))
            .await
            .unwrap()
            .id,
        "f1"
    );
    assert_eq!(
        world
            .by_path(&format!("{inside}/{DECOMPOSED}"))
            .await
            .unwrap()
            .id,
        "f2"
    );
    let other = format!("/{DECOMPOSED}");
    assert_eq!(
        world.by_path(&other).await.unwrap_err().code(),
        Code::NotFound
    );
    write_directory(&world, "d2", &other, ROOT).await;
    assert_eq!(world.by_path(&other).await.unwrap().id, "d2");
    assert_eq!(
        world.page(&other, 0, "").await.unwrap().0,
        [],
        "not those of its neighbour"
    );
    world.forget(&world.tenant).await;
}

#[tokio::test]
async fn pages_are_sorted_and_complete_despite_concurrent_changes() {
    let world = World::with_directories().await;
    write_directory(&world, "box", "/box", ROOT).await;
    for (id, name) in [
        ("9", "b"),
        ("8", "A"),
        ("7", "c"),
        ("6", "C"),
        ("5", ".x"),
        ("4", "d 10"),
    ] {
        write_file(&world, id, name, "box").await;
    }
    let sorted = [".x", "A", "b", "C", "c", "d 10"];
    let (all, next) = world.page("/box", 0, "").await.unwrap();
    assert_eq!(names(&all), sorted);
    assert_eq!(next, "", "there is no next page");
    assert_eq!(all[0].path, "/box/.x");

    let (one, next) = world.page("/box", 2, "").await.unwrap();
    assert_eq!(names(&one), sorted[..2]);
    // One entry that was listed is removed; one is added before the page's end, one after it.
    let files = world.database(&world.tenant, "io.cozy.files");
    let shown = files.get::<serde_json::Value>("8").await.unwrap().unwrap();
    files
        .delete("8", &shown.rev)
        .await
        .unwrap()
        .committed()
        .unwrap();
    write_file(&world, "3", "a before", "box").await;
    write_file(&world, "2", "bb", "box").await;
    let (two, next) = world.page("/box", 3, &next).await.unwrap();
    assert_eq!(names(&two), ["a before", "b", "bb"]);
    let (three, next) = world.page("/box", 3, &next).await.unwrap();
    assert_eq!(names(&three), ["C", "c", "d 10"]);
    assert_eq!(next, "");

    let (root, _) = world.page("/", 5000, "").await.unwrap();
    assert_eq!(
        names(&root),
        [".cozy_trash", "Administrative", "box", "Photos"]
    );
    world.forget(&world.tenant).await;
}

#[tokio::test]
async fn a_large_directory_is_read_completely() {
    let world = World::with_directories().await;
    write_directory(&world, "wide", "/wide", ROOT).await;
    let files = world.database(&world.tenant, "io.cozy.files");
    let documents: Vec<_> = (0..1234)
        .map(|number| {
            let body = json!({"type": "file", "name": format!("{number:04}"), "dir_id": "wide", "size": "0"});
            // Ids in the opposite order of names.
            couch::BulkDoc::create(format!("f{:04}", 9999 - number), &body).unwrap()
        })
        .collect();
    files
        .bulk(&documents)
        .await
        .unwrap()
        .all_committed()
        .unwrap();
    let mut seen = Vec::new();
    let mut token = String::new();
    loop {
        let (page, next) = world.page("/wide", 500, &token).await.unwrap();
        seen.extend(page.into_iter().map(|it| it.display_name));
        if next.is_empty() {
            break;
        }
        token = next;
    }
    let expected: Vec<_> = (0..1234).map(|number| format!("{number:04}")).collect();
    assert_eq!(seen, expected);
    let walked = world.walk("/wide", 0).await.unwrap();
    let paths: Vec<_> = walked[1..].iter().map(|(path, _)| path.as_str()).collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|name| format!("/wide/{name}"))
        .collect();
    assert_eq!(paths, expected);
    world.forget(&world.tenant).await;
}

#[tokio::test]
async fn a_walk_is_depth_first_down_to_the_requested_depth() {
    let world = World::with_directories().await;
    write_directory(&world, "a", "/a", ROOT).await;
    write_directory(&world, "ab", "/a/b", "a").await;
    write_file(&world, "f1", "deep", "ab").await;
    write_file(&world, "f2", "c", "a").await;
    write_file(&world, "f3", "zz", ROOT).await;
    let entry = |path: &str, depth| (path.to_owned(), depth);
    let whole = [
        entry("/", 0),
        entry("/.cozy_trash", 1),
        entry("/a", 1),
        entry("/a/b", 2),
        entry("/a/b/deep", 3),
        entry("/a/c", 2),
        entry("/Administrative", 1),
        entry("/Photos", 1),
        entry("/Photos/Backed up from my mobile", 2),
        entry("/Photos/Uploaded from Cozy Photos", 2),
        entry("/zz", 1),
    ];
    assert_eq!(world.walk("", 0).await.unwrap(), whole);
    let upper: Vec<_> = whole
        .iter()
        .filter(|(_, depth)| *depth < 2)
        .cloned()
        .collect();
    assert_eq!(world.walk("/", 1).await.unwrap(), upper);
    assert_eq!(
        world.walk("/a", 1).await.unwrap(),
        [entry("/a", 0), entry("/a/b", 1), entry("/a/c", 1)]
    );
    assert_eq!(
        world.walk("/zz", 0).await.unwrap(),
        [entry("/zz", 0)],
        "a file alone"
    );
    world.forget(&world.tenant).await;
}

#[tokio::test]
async fn errors_name_the_broken_document() {
    let world = World::with_directories().await;
    write_file(&world, "orphan", "x", "nowhere").await;
    world
        .write(
            "odd",
            json!({"type": "file", "name": "odd", "dir_id": ROOT, "size": "much"}),
        )
        .await;
    for id in ["orphan", "odd"] {
        let refused = world.by_id(id).await.unwrap_err();
        assert_eq!(refused.code(), Code::DataLoss);
        assert!(refused.message().contains(id), "{}", refused.message());
    }
    let seen = world.walk("/", 1).await.unwrap();
    assert!(
        seen.len() > 1 && seen.iter().all(|(path, _)| path != "/odd"),
        "an odd document does not hide its neighbours: {seen:?}"
    );
    write_directory(&world, "c1", "/c1", "c2").await;
    write_directory(&world, "c2", "/c2", "c1").await;
    let refused = world.walk("/c1", 0).await.unwrap_err();
    assert!(
        refused.message().contains("lies below itself"),
        "{}",
        refused.message()
    );
    world.forget(&world.tenant).await;
}

#[tokio::test]
async fn bad_requests_are_refused_with_the_field_that_is_wrong() {
    let world = World::with_directories().await;
    for path in ["", "Photos", "/a/../b", "/a//b", "/a\0"] {
        let refused = world.by_path(path).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{path:?}");
        assert_eq!(wrong_fields(&refused), ["path"], "{path:?}");
    }
    assert_eq!(wrong_fields(&world.by_id("").await.unwrap_err()), ["id"]);
    for id in ["nothing", "_design/dir-children", "_local/x", ".."] {
        let refused = world.by_id(id).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound, "{id}");
    }
    for path in ["/nothing", "/Photos/nothing", "/nothing/at/all"] {
        assert_eq!(
            world.by_path(path).await.unwrap_err().code(),
            Code::NotFound,
            "{path}"
        );
    }
    let nothing = world.request(GetFileRequest { target: None });
    let refused = world
        .files(Door::Admin)
        .get_file(nothing)
        .await
        .unwrap_err();
    assert_eq!(wrong_fields(&refused), ["path"]);

    let refused = world.page("/", -1, "").await.unwrap_err();
    assert_eq!(wrong_fields(&refused), ["page_size"]);
    let (_, token) = world.page("/", 1, "").await.unwrap();
    for (path, token) in [("/", "rubbish"), ("/Photos", token.as_str())] {
        let refused = world.page(path, 1, token).await.unwrap_err();
        assert_eq!(wrong_fields(&refused), ["page_token"], "{path} {token}");
    }
    let refused = world.walk("/", -1).await.unwrap_err();
    assert_eq!(wrong_fields(&refused), ["max_depth"]);

    write_file(&world, "f1", "file", ROOT).await;
    let refused = world.page("/file", 0, "").await.unwrap_err();
    assert_eq!(reason(&refused).unwrap(), "NOT_A_DIRECTORY");
    assert_eq!(
        world.by_path("/file/below").await.unwrap_err().code(),
        Code::NotFound
    );
    world.forget(&world.tenant).await;
}

#[tokio::test]
async fn a_stranger_reads_nothing() {
    let world = World::with_directories().await;
    let get = || world.request(GetFileRequest { target: None });
    let list = || {
        world.request(ListChildrenRequest {
            directory: Some(list_children_request::Directory::Id(ROOT.to_owned())),
            ..ListChildrenRequest::default()
        })
    };
    let walk = || world.request(WalkTreeRequest::default());
    let mut public = world.files(Door::Public);
    let mut stranger = world.stranger();
    for refused in [
        public.get_file(get()).await.err(),
        public.list_children(list()).await.err(),
        public.walk_tree(walk()).await.err(),
        stranger.get_file(get()).await.err(),
        stranger.list_children(list()).await.err(),
        stranger.walk_tree(walk()).await.err(),
    ] {
        assert_eq!(refused.unwrap().code(), Code::Unauthenticated);
    }
    for door in [Door::Admin, Door::Internal] {
        let page = world.files(door).list_children(list()).await.unwrap();
        assert_eq!(page.into_inner().children.len(), 3);
    }
    world.forget(&world.tenant).await;
}
