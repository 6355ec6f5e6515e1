//! Tests of databases: names, creation, deletion, listing, statistics.

use couch::{Creation, DbName, DocId, Error, Removal};
use serde_json::json;

use crate::support::TestServer;

#[tokio::test]
async fn a_database_is_created_once_and_deleted_once() {
    for server in TestServer::all().await {
        let name = server.name("io.cozy.files");
        assert!(name.as_str().ends_with("/io-cozy-files"));
        assert_eq!(
            server.couch.create_database(&name).await.unwrap(),
            Creation::Created
        );
        assert_eq!(
            server.couch.create_database(&name).await.unwrap(),
            Creation::AlreadyExists
        );
        assert_eq!(
            server.couch.delete_database(&name).await.unwrap(),
            Removal::Deleted
        );
        assert_eq!(
            server.couch.delete_database(&name).await.unwrap(),
            Removal::Missing
        );
        server.clean().await;
    }
}

#[tokio::test]
async fn a_list_has_exactly_the_databases_with_the_prefix() {
    for server in TestServer::all().await {
        for doctype in ["a", "b"] {
            server.database(doctype).await;
        }
        let beside = DbName::new(format!("{}0", server.prefix)).unwrap();
        server.couch.create_database(&beside).await.unwrap();
        let names = server
            .couch
            .databases_with_prefix(&format!("{}/", server.prefix))
            .await
            .unwrap();
        assert_eq!(
            names,
            [
                format!("{}/a", server.prefix),
                format!("{}/b", server.prefix)
            ]
        );
        assert!(server.couch.databases_with_prefix("").await.unwrap().len() >= 3);
        server.couch.delete_database(&beside).await.unwrap();
        server.clean().await;
    }
}

#[tokio::test]
async fn infos_of_more_than_a_hundred_databases_are_read_in_chunks() {
    for server in TestServer::all().await {
        let database = server.database("here").await;
        let written = database.put("a", None, &json!({ "x": 1 })).await.unwrap();
        let rev = written.committed().unwrap();
        database
            .put("b", None, &json!({}))
            .await
            .unwrap()
            .committed()
            .unwrap();
        database
            .delete("a", &rev)
            .await
            .unwrap()
            .committed()
            .unwrap();
        let mut names: Vec<DbName> = (0..130)
            .map(|it| server.name(&format!("missing-{it}")))
            .collect();
        names.push(server.name("here"));
        let infos = server.couch.database_infos(&names).await.unwrap();
        assert_eq!(infos.len(), 1);
        let info = &infos[&server.name("here")];
        assert_eq!((info.doc_count, info.doc_del_count), (1, 1));
        assert!(!info.update_seq.is_empty());
        server.clean().await;
    }
}

#[tokio::test]
async fn a_missing_database_is_distinguished_from_a_missing_document() {
    for server in TestServer::all().await {
        let missing = server.couch.database(&server.name("missing"));
        let error = missing.get::<serde_json::Value>("a").await.unwrap_err();
        assert!(matches!(error, Error::DatabaseMissing { .. }), "{error}");
        let error = missing.put("a", None, &json!({})).await.unwrap_err();
        assert!(matches!(error, Error::DatabaseMissing { .. }), "{error}");
        let error = missing.leaves("a").await.unwrap_err();
        assert!(matches!(error, Error::DatabaseMissing { .. }), "{error}");
        assert!(!error.is_retryable());
        let here = server.database("here").await;
        assert!(here.get::<serde_json::Value>("a").await.unwrap().is_none());
        assert!(here.leaves("a").await.unwrap().is_empty());
        server.clean().await;
    }
}

#[test]
fn invalid_database_names_are_refused_locally() {
    for bad in [
        "",
        "Upper",
        "1st",
        "_users",
        "with space",
        "é",
        "a?b",
        &"a".repeat(239),
    ] {
        assert!(
            matches!(DbName::new(bad), Err(Error::Name { .. })),
            "{bad:?}"
        );
    }
    for (prefix, doctype) in [("", "a"), ("a", ""), ("a/b", "c"), ("a", "b/c")] {
        assert!(
            DbName::instance(prefix, doctype).is_err(),
            "{prefix}/{doctype}"
        );
    }
    assert_eq!(
        DbName::global("instances").unwrap().as_str(),
        "global/instances"
    );
    let mapped = DbName::instance("Alice.example:8080", "io.cozy.files.versions").unwrap();
    assert_eq!(mapped.as_str(), "alice-example-8080/io-cozy-files-versions");
}

#[test]
fn new_ids_ascend_and_have_32_hex_digits() {
    let ids: Vec<DocId> = (0..10_000).map(|_| DocId::ascending()).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    let hex = |id: &DocId| {
        id.as_str().len() == 32 && id.as_str().bytes().all(|it| it.is_ascii_hexdigit())
    };
    assert!(ids.iter().all(hex));
}
