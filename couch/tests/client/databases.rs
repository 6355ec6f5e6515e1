//! Names, creation, deletion, lists and infos of databases.

use couch::{Creation, DbName, DocId, Error, Removal};
use serde_json::json;

use crate::support::Peer;

#[tokio::test]
async fn a_database_is_created_once_and_deleted_once() {
    for peer in Peer::all().await {
        let name = peer.name("io.cozy.files");
        assert!(name.as_str().ends_with("/io-cozy-files"));
        assert_eq!(
            peer.couch.create_database(&name).await.unwrap(),
            Creation::Created
        );
        assert_eq!(
            peer.couch.create_database(&name).await.unwrap(),
            Creation::AlreadyExists
        );
        assert_eq!(
            peer.couch.delete_database(&name).await.unwrap(),
            Removal::Deleted
        );
        assert_eq!(
            peer.couch.delete_database(&name).await.unwrap(),
            Removal::Missing
        );
        peer.clean().await;
    }
}

#[tokio::test]
async fn the_list_holds_what_begins_with_the_prefix_and_no_more() {
    for peer in Peer::all().await {
        for doctype in ["a", "b"] {
            peer.database(doctype).await;
        }
        let beside = DbName::new(format!("{}0", peer.prefix)).unwrap();
        peer.couch.create_database(&beside).await.unwrap();
        let names = peer
            .couch
            .databases_with_prefix(&format!("{}/", peer.prefix))
            .await
            .unwrap();
        assert_eq!(
            names,
            [format!("{}/a", peer.prefix), format!("{}/b", peer.prefix)]
        );
        assert!(peer.couch.databases_with_prefix("").await.unwrap().len() >= 3);
        peer.couch.delete_database(&beside).await.unwrap();
        peer.clean().await;
    }
}

#[tokio::test]
async fn infos_of_more_than_a_hundred_databases_come_by_name() {
    for peer in Peer::all().await {
        let database = peer.database("here").await;
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
            .map(|it| peer.name(&format!("missing-{it}")))
            .collect();
        names.push(peer.name("here"));
        let infos = peer.couch.database_infos(&names).await.unwrap();
        assert_eq!(infos.len(), 1);
        let info = &infos[&peer.name("here")];
        assert_eq!((info.doc_count, info.doc_del_count), (1, 1));
        assert!(!info.update_seq.is_empty());
        peer.clean().await;
    }
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_told_from_a_document_that_does_not() {
    for peer in Peer::all().await {
        let missing = peer.couch.database(&peer.name("missing"));
        let error = missing.get::<serde_json::Value>("a").await.unwrap_err();
        assert!(matches!(error, Error::DatabaseMissing { .. }), "{error}");
        let error = missing.put("a", None, &json!({})).await.unwrap_err();
        assert!(matches!(error, Error::DatabaseMissing { .. }), "{error}");
        let error = missing.leaves("a").await.unwrap_err();
        assert!(matches!(error, Error::DatabaseMissing { .. }), "{error}");
        assert!(!error.is_retryable());
        let here = peer.database("here").await;
        assert!(here.get::<serde_json::Value>("a").await.unwrap().is_none());
        assert!(here.leaves("a").await.unwrap().is_empty());
        peer.clean().await;
    }
}

#[test]
fn names_that_couchdb_would_refuse_are_refused_before() {
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
fn ids_ascend_and_are_32_hex_digits() {
    let ids: Vec<DocId> = (0..10_000).map(|_| DocId::ascending()).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
    let hex = |id: &DocId| {
        id.as_str().len() == 32 && id.as_str().bytes().all(|it| it.is_ascii_hexdigit())
    };
    assert!(ids.iter().all(hex));
}
