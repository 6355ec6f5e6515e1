//! The calls of the instance service: databases, default directories, purging contents.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

mod support;

use std::{collections::BTreeSet, fs};

use hamlet_proto::hamlet::files::v1::{
    CreateDefaultDirectoriesRequest, PrepareDatabasesRequest, PurgeContentsRequest,
};
use prost_types::Timestamp;
use serde_json::{Map, Value};
use service_kit::{caller::Door, status::reason};
use support::{World, wrong_fields};
use tonic::Code;

fn recorded() -> Value {
    serde_json::from_str(include_str!("data/recorded.json")).unwrap()
}

/// A document with the values masked that differ from run to run.
fn masked(mut document: Value) -> Value {
    fn mask(members: &mut Map<String, Value>) {
        for (name, value) in members {
            match name.as_str() {
                "created_at" | "updated_at" | "createdAt" | "updatedAt" => *value = "<time>".into(),
                _ => {
                    if let Some(members) = value.as_object_mut() {
                        mask(members);
                    }
                }
            }
        }
    }
    mask(document.as_object_mut().unwrap());
    document
}

#[tokio::test]
async fn the_databases_hold_the_recorded_design_documents() {
    let world = World::new().await;
    let expected = vec![
        (format!("{}/io-cozy-files", world.tenant.prefix), 11),
        (format!("{}/io-cozy-files-versions", world.tenant.prefix), 1),
    ];
    assert_eq!(world.prepare().await.unwrap(), expected);
    assert_eq!(world.prepare().await.unwrap(), expected, "once more");

    for (doctype, key) in [
        ("io.cozy.files", "files"),
        ("io.cozy.files.versions", "versions"),
    ] {
        let database = world.database(&world.tenant, doctype);
        let recorded = recorded();
        let designs = recorded[key]["design"].as_array().unwrap();
        for design in designs {
            let ddoc = design["ddoc"].as_str().unwrap();
            let found = database.get::<Value>(&format!("_design/{ddoc}")).await;
            let found = found.unwrap().expect(ddoc).body;
            assert_eq!(found["language"], design["language"], "{ddoc}");
            let views = found["views"].as_object().unwrap();
            assert_eq!(views.len(), 1, "{ddoc}");
            if let Some(index) = design["index"].as_str() {
                let view = &views[index];
                let fields: Vec<_> = view["map"]["fields"].as_object().unwrap().keys().collect();
                assert_eq!(serde_json::json!(fields), design["fields"], "{ddoc}");
                assert_eq!(
                    view["map"]["partial_filter_selector"],
                    design["partial_filter_selector"]
                );
                assert_eq!(view["options"], design["options"], "{ddoc}");
                assert_eq!(view["reduce"], "_count", "{ddoc}");
            } else {
                assert_eq!(
                    views[ddoc]["reduce"], design["views"][ddoc]["reduce"],
                    "{ddoc}"
                );
                assert!(
                    views[ddoc]["map"].as_str().unwrap().contains("emit("),
                    "{ddoc}"
                );
            }
        }
        let infos = world
            .couch
            .database_infos(&[database.name().clone()])
            .await
            .unwrap();
        assert_eq!(
            infos[database.name()].doc_count,
            designs.len() as u64,
            "{doctype}"
        );
    }
    world.forget(&world.tenant).await;
}

#[tokio::test]
async fn the_directories_are_the_recorded_ones_field_by_field() {
    let world = World::with_directories().await;
    let documents = world.documents(&world.tenant).await;
    let at = |path: &str| {
        let found = documents.iter().find(|(_, it)| it["path"] == path);
        found.unwrap_or_else(|| panic!("nothing at {path}")).clone()
    };
    let recorded = recorded();
    for document in recorded["files"]["docs"].as_array().unwrap() {
        let mut expected = document.clone();
        let members = expected.as_object_mut().unwrap();
        let id = members.shift_remove("_id").unwrap();
        members.shift_remove("_rev").unwrap();
        let (found_id, found) = at(document["path"].as_str().unwrap());
        // Compared as text, because the order of the fields matters.
        assert_eq!(masked(found).to_string(), expected.to_string());
        if id == "<id>" {
            assert_eq!(found_id.len(), 32);
        } else {
            assert_eq!(id, found_id.as_str());
        }
    }
    let photos = at("/Photos").0;
    for name in ["Uploaded from Cozy Photos", "Backed up from my mobile"] {
        let (_, document) = at(&format!("/Photos/{name}"));
        assert_eq!(document["dir_id"], photos.as_str());
        assert_eq!(document["name"], name);
        assert_eq!(document["created_at"], "2026-11-24T01:02:03.456Z");
        assert_eq!(
            document["cozyMetadata"]["createdAt"],
            document["created_at"]
        );
    }
    assert_eq!(documents.len(), 6);
    world.forget(&world.tenant).await;
}

#[tokio::test]
async fn databases_and_directories_are_written_in_one_request() {
    let world = World::new().await;
    let order = |operation: &str, seconds| PrepareDatabasesRequest {
        directories: Some(CreateDefaultDirectoriesRequest {
            create_time: Some(Timestamp { seconds, nanos: 0 }),
            operation_id: operation.to_owned(),
        }),
    };
    let prepare = async |request| {
        let mut lifecycle = world.lifecycle(Door::Internal);
        let prepared = lifecycle.prepare_databases(world.request(request)).await;
        prepared.map(|answer| {
            let databases = answer.into_inner().databases;
            databases.iter().map(|it| it.documents).collect::<Vec<_>>()
        })
    };
    let made = prepare(order("one", 1_795_482_123)).await.unwrap();
    assert_eq!(made, [11 + 6, 1]);
    let documents = world.documents(&world.tenant).await;
    let again = prepare(order("one", 1_795_482_123)).await.unwrap();
    assert_eq!(again, made, "once more");
    assert_eq!(world.documents(&world.tenant).await, documents);
    // The result is the same as with two calls.
    let apart = World::new().await;
    apart.prepare().await.unwrap();
    assert_eq!(apart.make_directories("one").await.unwrap().len(), 6);
    let paths = |documents: Vec<(String, Value)>| {
        let mut paths: Vec<_> = documents
            .into_iter()
            .map(|(id, document)| (id, document["path"].clone()))
            .collect();
        paths.sort_by(|one, two| one.0.cmp(&two.0));
        paths
    };
    assert_eq!(
        paths(documents.clone()),
        paths(apart.documents(&apart.tenant).await)
    );
    // Another operation is refused, and leaves nothing behind.
    let refused = prepare(order("two", 1_800_000_000)).await.unwrap_err();
    assert_eq!(reason(&refused).unwrap(), "DIRECTORIES_EXIST");
    assert_eq!(world.documents(&world.tenant).await, documents);
    // An order without an operation is refused.
    let refused = prepare(order("", 1_800_000_000)).await.unwrap_err();
    assert_eq!(wrong_fields(&refused), ["operation_id"]);
    world.forget(&world.tenant).await;
    apart.forget(&apart.tenant).await;
}

#[tokio::test]
async fn a_retry_creates_nothing_twice_and_another_operation_is_refused() {
    let world = World::new().await;
    world.prepare().await.unwrap();
    let first = world.make_directories("one").await.unwrap();
    assert_eq!(first.len(), 6);
    let before = world.documents(&world.tenant).await;
    assert_eq!(world.make_directories("one").await.unwrap(), first);
    assert_eq!(world.documents(&world.tenant).await, before);

    // The owner may have changed something before the retry.
    let files = world.database(&world.tenant, "io.cozy.files");
    let photos = files.get::<Value>(&first[3].id).await.unwrap().unwrap();
    let mut changed = photos.body.clone();
    changed["tags"] = serde_json::json!(["mine"]);
    files
        .put(&photos.id, Some(&photos.rev), &changed)
        .await
        .unwrap()
        .committed()
        .unwrap();
    let again = world.make_directories("one").await.unwrap();
    assert_eq!(again[3].tags, ["mine"], "what the owner changed stays");
    let before = world.documents(&world.tenant).await;

    let mut other = CreateDefaultDirectoriesRequest {
        create_time: Some(Timestamp {
            seconds: 1_800_000_000,
            nanos: 0,
        }),
        operation_id: "two".to_owned(),
    };
    let refused = world
        .lifecycle(Door::Internal)
        .create_default_directories(world.request(other.clone()))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    assert_eq!(reason(&refused).unwrap(), "DIRECTORIES_EXIST");
    assert_eq!(
        world.documents(&world.tenant).await,
        before,
        "nothing is left of it"
    );

    other.operation_id.clear();
    let refused = world
        .lifecycle(Door::Internal)
        .create_default_directories(world.request(other.clone()))
        .await
        .unwrap_err();
    assert_eq!(wrong_fields(&refused), ["operation_id"]);
    other.create_time = None;
    let refused = world
        .lifecycle(Door::Internal)
        .create_default_directories(world.request(other))
        .await
        .unwrap_err();
    assert_eq!(wrong_fields(&refused), ["create_time"]);
    world.forget(&world.tenant).await;
}

#[tokio::test]
async fn every_language_has_names_of_its_own() {
    let world = World::new().await;
    let photos = [
        ("en", "Administrative", "Photos"),
        ("fr", "Administratif", "Photos"),
        ("de", "Administrativ", "Fotos"),
        ("es", "Administrativo", "Fotos"),
        ("ja", "管理", "写真"),
        ("nl", "Administratief", "Foto's"),
        ("ru", "Административные", "Фотографии"),
        ("vi", "Quản trị", "Ảnh"),
        ("nl_NL", "Administratief", "Foto's"),
        ("fr-FR", "Administratif", "Photos"),
        ("de_AT", "Administrativ", "Fotos"),
        ("xx", "Administrative", "Photos"),
        ("", "Administrative", "Photos"),
    ];
    let mut sub_directories = BTreeSet::new();
    for (locale, administrative, photos) in photos {
        let tenant = world.tenant(|it| it.locale = locale.to_owned());
        world.prepare_for(&tenant).await.unwrap();
        let made = world.make_directories_for(&tenant, "op").await.unwrap();
        let names: Vec<_> = made.iter().map(|it| it.display_name.as_str()).collect();
        assert_eq!(
            names[..4],
            ["", ".cozy_trash", administrative, photos],
            "{locale}"
        );
        for made in &made[4..] {
            assert!(
                made.path.starts_with(&format!("/{photos}/")),
                "{}",
                made.path
            );
            sub_directories.insert(made.display_name.clone());
        }
        world.forget(&tenant).await;
    }
    assert_eq!(sub_directories.len(), 16, "two for each of eight languages");
}

#[tokio::test]
async fn a_context_can_disable_default_directories() {
    let world = World::new().await;
    let tenant = world.tenant(|it| it.context = "bare".to_owned());
    world.prepare_for(&tenant).await.unwrap();
    let made = world.make_directories_for(&tenant, "op").await.unwrap();
    let paths: Vec<_> = made.iter().map(|it| it.path.as_str()).collect();
    assert_eq!(paths, ["/", "/.cozy_trash"]);
    assert_eq!(made[0].referenced_by[0].id, "io.cozy.apps/administrative");
    assert_eq!(made[0].referenced_by[0].doctype, "io.cozy.apps");
    world.forget(&tenant).await;
}

#[tokio::test]
async fn directories_need_databases() {
    let world = World::new().await;
    let refused = world.make_directories("op").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(reason(&refused).unwrap(), "INSTANCE_INCOMPLETE");
}

#[tokio::test]
async fn purging_contents_keeps_those_of_other_instances() {
    let world = World::new().await;
    let purge = || async {
        let request = world.request(PurgeContentsRequest::default());
        let answer = world
            .lifecycle(Door::Internal)
            .purge_contents(request)
            .await;
        answer.unwrap().into_inner().objects
    };
    assert_eq!(purge().await, 0, "there is nothing yet");

    let files = world.contents.join("files");
    let ours = files.join(&world.tenant.prefix);
    let neighbour = files.join(format!("{}0", world.tenant.prefix));
    fs::create_dir_all(ours.join("a/b/empty")).unwrap();
    fs::create_dir_all(&neighbour).unwrap();
    for name in ["one", "a/two", "a/b/three"] {
        fs::write(ours.join(name), "bytes").unwrap();
    }
    fs::write(neighbour.join("four"), "bytes").unwrap();
    assert_eq!(purge().await, 3);
    assert!(!ours.exists(), "no folder is left");
    assert!(neighbour.join("four").exists());
    assert_eq!(purge().await, 0, "once more");
}

#[tokio::test]
async fn only_services_may_call() {
    let world = World::new().await;
    for (door, code) in [
        (Door::Admin, Code::PermissionDenied),
        // Nobody is let in who has no token at all.
        (Door::Public, Code::Unauthenticated),
    ] {
        let mut calls = world.lifecycle(door);
        let refused = [
            calls
                .prepare_databases(world.request(PrepareDatabasesRequest::default()))
                .await
                .err(),
            calls
                .purge_contents(world.request(PurgeContentsRequest::default()))
                .await
                .err(),
            calls
                .create_default_directories(
                    world.request(CreateDefaultDirectoriesRequest::default()),
                )
                .await
                .err(),
        ];
        for refused in refused {
            assert_eq!(refused.unwrap().code(), code);
        }
    }
    let mut calls = world.lifecycle(Door::Internal);
    let refused = calls
        .prepare_databases(PrepareDatabasesRequest::default())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "for which instance?");
    for prefix in ["", "..", "global", "a/b"] {
        let tenant = world.tenant(|it| it.prefix = prefix.to_owned());
        let request = service_kit::caller::for_tenant(PurgeContentsRequest::default(), &tenant);
        let refused = calls.purge_contents(request).await.unwrap_err();
        assert_eq!(reason(&refused).unwrap(), "UNUSABLE_PREFIX", "{prefix:?}");
    }
}

#[tokio::test]
async fn an_unreachable_database_is_reported_as_unavailable() {
    let world = World::with_directories().await;
    if !world.stop_database() {
        // A server that is shared with others is not stopped.
        world.forget(&world.tenant).await;
        return;
    }
    let refused = world.prepare().await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    assert_eq!(reason(&refused).unwrap(), "DATABASE_UNAVAILABLE");
    assert_eq!(
        world.by_path("/").await.unwrap_err().code(),
        Code::Unavailable
    );
}

#[tokio::test]
async fn a_service_that_waits_for_its_database_can_be_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let nobody = test_kit::Nobody::at_loopback();
    let config = couch::CouchConfig::new(format!("http://{}", nobody.address));
    let dependencies = files_svc::Dependencies {
        couch: couch::Couch::connect(&config).unwrap().into(),
        contexts: service_kit::contexts::Contexts::default(),
        cluster_key: service_kit::secret::Secret::new("key").into(),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = files_svc::Config {
        contents: folder.path().join("contents"),
    };
    let stop = tokio_util::sync::CancellationToken::new();
    let serving = tokio::spawn(files_svc::serve(
        config,
        dependencies,
        listener,
        stop.clone(),
    ));
    stop.cancel();
    let stopped = tokio::time::timeout(std::time::Duration::from_secs(20), serving).await;
    stopped
        .expect("it goes on waiting for its database")
        .unwrap()
        .unwrap();
}
