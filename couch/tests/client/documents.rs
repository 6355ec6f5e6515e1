//! Tests of documents: reading, writing, claims, compare-and-set, bulk writes.

use std::sync::Arc;

use couch::{BulkDoc, ClaimOutcome, Error, Exchange, Rev, Write};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::support::TestServer;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Note {
    owner: String,
    text: String,
}

fn note(owner: &str) -> Note {
    Note {
        owner: owner.to_owned(),
        text: "é \"quoted\" \u{1f600}".to_owned(),
    }
}

#[tokio::test]
async fn a_document_is_written_read_changed_and_deleted() {
    for server in TestServer::all().await {
        let database = server.database("notes").await;
        for id in [
            "plain",
            "with space",
            "a/b",
            "a+b",
            "ünï?#%",
            "_design/x",
            "_local/y",
        ] {
            assert!(database.get::<Note>(id).await.unwrap().is_none(), "{id}");
            let first = database
                .put(id, None, &note("a"))
                .await
                .unwrap()
                .committed()
                .unwrap();
            let read = database.get::<Note>(id).await.unwrap().unwrap();
            assert_eq!(
                (read.id.as_str(), &read.rev, &read.body),
                (id, &first, &note("a"))
            );
            if id.starts_with("_local/") {
                continue;
            }
            assert_eq!(
                database.put(id, None, &note("b")).await.unwrap(),
                Write::Conflict,
                "{id}"
            );
            let second = database.put(id, Some(&first), &note("b")).await.unwrap();
            let second = second.committed().unwrap();
            assert_eq!(
                database.delete(id, &first).await.unwrap(),
                Write::Conflict,
                "{id}"
            );
            let old = database
                .get_with_rev::<Note>(id, &first)
                .await
                .unwrap()
                .unwrap();
            assert_eq!(old.body, note("a"));
            assert!(
                database
                    .delete(id, &second)
                    .await
                    .unwrap()
                    .committed()
                    .is_some()
            );
            assert!(database.get::<Note>(id).await.unwrap().is_none(), "{id}");
        }
        let gone = database
            .delete("never", &Rev::new("1-abcdefabcdefabcdefabcdefabcdefab"))
            .await;
        assert_eq!(gone.unwrap(), Write::Conflict);
        server.clean().await;
    }
}

#[tokio::test]
async fn invalid_ids_and_bodies_are_refused_locally() {
    let server = TestServer::embedded().await;
    let database = server.database("notes").await;
    let before = server.couch.requests();
    for id in ["", ".", "..", "_own", "_design/", "_design/.."] {
        let error = database.put(id, None, &note("a")).await.unwrap_err();
        assert!(matches!(error, Error::Name { .. }), "{id:?}: {error}");
    }
    let error = database.put("list", None, &json!([1])).await.unwrap_err();
    assert!(matches!(error, Error::Encode { .. }), "{error}");
    assert_eq!(server.couch.requests(), before);
}

#[tokio::test]
async fn a_document_of_another_type_is_corrupt_and_the_error_hides_its_content() {
    let server = TestServer::embedded().await;
    let database = server.database("notes").await;
    let odd = json!({ "owner": { "secret": "hush" } });
    database
        .put("odd", None, &odd)
        .await
        .unwrap()
        .committed()
        .unwrap();
    let error = database.get::<Note>("odd").await.unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    assert!(!error.to_string().contains("hush"));
}

#[tokio::test]
async fn ids_and_revisions_in_a_body_are_ignored() {
    let server = TestServer::embedded().await;
    let database = server.database("notes").await;
    let body = json!({ "_id": "other", "_rev": "9-zz", "_conflicts": [], "x": 1 });
    database
        .put("mine", None, &body)
        .await
        .unwrap()
        .committed()
        .unwrap();
    let read = database.get::<Value>("mine").await.unwrap().unwrap();
    assert_eq!(read.body, json!({ "x": 1 }));
}

#[tokio::test]
async fn a_bulk_write_reports_the_outcome_of_each_document() {
    for server in TestServer::all().await {
        let database = server.database("notes").await;
        let there = database
            .put("there", None, &json!({ "x": 1 }))
            .await
            .unwrap();
        let there = there.committed().unwrap();
        let docs = [
            BulkDoc::create("new", &json!({ "x": 1 })).unwrap(),
            BulkDoc::create("there", &json!({ "x": 2 })).unwrap(),
        ];
        let error = database
            .bulk(&docs)
            .await
            .unwrap()
            .all_committed()
            .unwrap_err();
        let Error::Bulk { failure, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(failure.failed.len(), 1);
        assert_eq!(failure.failed[0].id, "there");
        assert_eq!(failure.failed[0].error, "conflict");
        let docs = [
            BulkDoc::update("there", &there, &json!({ "x": 3 })).unwrap(),
            BulkDoc::create("newer", &json!({})).unwrap(),
        ];
        let revs = database.bulk(&docs).await.unwrap().all_committed().unwrap();
        let docs = [BulkDoc::delete("there", &revs["there"])];
        database.bulk(&docs).await.unwrap().all_committed().unwrap();
        let found = database
            .get_many::<Value>(&["new", "there", "never", "newer"])
            .await
            .unwrap();
        let mut ids: Vec<&str> = found.keys().map(String::as_str).collect();
        ids.sort_unstable();
        assert_eq!(ids, ["new", "newer"]);
        server.clean().await;
    }
}

#[tokio::test]
async fn bulk_ensure_is_idempotent_and_changes_nothing() {
    for server in TestServer::all().await {
        let database = server.database("notes").await;
        let docs = [
            BulkDoc::create(
                "_design/d",
                &json!({ "language": "javascript", "views": {} }),
            )
            .unwrap(),
            BulkDoc::create("a", &json!({ "x": [1, null, 0.5] })).unwrap(),
        ];
        let revs = database.bulk_ensure(&docs).await.unwrap();
        assert_eq!(database.bulk_ensure(&docs).await.unwrap(), revs);
        let other = [BulkDoc::create("a", &json!({ "x": 2 })).unwrap()];
        let error = database.bulk_ensure(&other).await.unwrap_err();
        assert!(matches!(error, Error::Bulk { .. }), "{error}");
        assert!(error.to_string().contains("conflict"), "{error}");
        server.clean().await;
    }
}

#[tokio::test]
async fn a_claim_has_one_owner_until_it_is_released() {
    for server in TestServer::all().await {
        let database = server.database("claims").await;
        let is = |owner: &'static str| move |it: &Note| it.owner == owner;
        let ClaimOutcome::Won(_) = database.claim("alice", &note("a"), is("a")).await.unwrap()
        else {
            panic!("not won");
        };
        let other = database.claim("alice", &note("b"), is("b")).await.unwrap();
        assert_eq!(other, ClaimOutcome::Taken(note("a")));
        let again = database.claim("alice", &note("a"), is("a")).await.unwrap();
        assert!(
            matches!(again, ClaimOutcome::Won(_)),
            "a claim may be repeated"
        );
        assert!(!database.release("alice", is("b")).await.unwrap());
        assert!(database.get::<Note>("alice").await.unwrap().is_some());
        assert!(database.release("alice", is("a")).await.unwrap());
        assert!(!database.release("alice", is("a")).await.unwrap());
        assert!(!database.release("never", is("a")).await.unwrap());
        let next = database.claim("alice", &note("b"), is("b")).await.unwrap();
        assert!(matches!(next, ClaimOutcome::Won(_)));
        server.clean().await;
    }
}

#[tokio::test]
async fn one_of_many_concurrent_claimants_wins() {
    for server in TestServer::all().await {
        let database = Arc::new(server.database("claims").await);
        for round in 0..10 {
            let mut running = Vec::new();
            for claimant in 0..8 {
                let database = Arc::clone(&database);
                running.push(tokio::spawn(async move {
                    let body = note(&claimant.to_string());
                    let mine = body.owner.clone();
                    database
                        .claim(&format!("name-{round}"), &body, move |it: &Note| {
                            it.owner == mine
                        })
                        .await
                }));
            }
            let mut won = 0;
            for task in running {
                won += i32::from(matches!(task.await.unwrap().unwrap(), ClaimOutcome::Won(_)));
            }
            assert_eq!(won, 1);
        }
        server.clean().await;
    }
}

#[tokio::test]
async fn a_compare_and_set_fails_at_another_revision() {
    for server in TestServer::all().await {
        let database = server.database("notes").await;
        let first = database
            .put("a", None, &note("a"))
            .await
            .unwrap()
            .committed()
            .unwrap();
        let Exchange::Won(second) = database
            .compare_and_set("a", &first, &note("b"))
            .await
            .unwrap()
        else {
            panic!("not won");
        };
        let late = database
            .compare_and_set("a", &first, &note("c"))
            .await
            .unwrap();
        assert_eq!(late, Exchange::Lost);
        assert_eq!(
            database.compare_and_delete("a", &first).await.unwrap(),
            Exchange::Lost
        );
        let deleted = database.compare_and_delete("a", &second).await.unwrap();
        assert!(matches!(deleted, Exchange::Won(_)));
        assert!(database.get::<Note>("a").await.unwrap().is_none());
        server.clean().await;
    }
}

/// A node hangs with the first write of a document, and executes it after the document was removed for good.
#[tokio::test]
async fn a_write_that_arrives_after_a_removal_is_removed_again() {
    for server in TestServer::all().await {
        let database = server.database("notes").await;
        for (id, lived) in [("lived", true), ("never-lived", false), ("deleted", true)] {
            if lived {
                let written = database.put(id, None, &note("a")).await.unwrap();
                let rev = written.committed().unwrap();
                if id == "deleted" {
                    let deleted = database.compare_and_delete(id, &rev).await;
                    assert!(matches!(deleted.unwrap(), Exchange::Won(_)));
                }
            }
            let had_leaf = database.remove_for_good(id).await.unwrap();
            assert_eq!(had_leaf, id == "lived", "{id}");
            assert!(!database.remove_for_good(id).await.unwrap(), "{id}");
            for time in 0..3 {
                let late = database.put(id, None, &note("a")).await.unwrap();
                assert!(late.committed().is_some(), "{id}");
                let read = database.get_unless_removed::<Note>(id).await.unwrap();
                assert_eq!(read, None, "{id}: {time}");
                let leaves = database.leaves(id).await.unwrap();
                assert!(leaves.iter().all(|leaf| leaf.deleted), "{id}: {leaves:?}");
            }
        }
        let written = database.put("exact", None, &note("a")).await.unwrap();
        let rev = written.committed().unwrap();
        let removed = database.compare_and_remove("exact", &rev).await.unwrap();
        assert!(matches!(removed, Exchange::Won(_)));
        let late = database.put("exact", None, &note("a")).await.unwrap();
        assert!(late.committed().is_some());
        let read = database.get_unless_removed::<Note>("exact").await.unwrap();
        assert_eq!(read, None);
    }
}
