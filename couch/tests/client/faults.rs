//! Tests with injected faults: failing requests, lost responses, and lost races of a cluster.

use couch::{BulkDoc, ClaimOutcome, Creation, Error, Exchange, Leaf, Write};
use embedded_couchdb::faults::{Fault, Race, Rule, Side};
use serde_json::{Value, json};

use crate::support::TestServer;

fn race(ours: Side) -> Fault {
    Fault::Race(Race {
        ours,
        other: Some(json!({ "owner": "other" }).to_string()),
    })
}

fn mine(body: &Value) -> bool {
    body["owner"] == "me"
}

fn alive(leaves: &[Leaf]) -> Vec<&Value> {
    leaves
        .iter()
        .filter(|leaf| !leaf.deleted)
        .map(|leaf| &leaf.body)
        .collect()
}

/// The faults of a single request.
fn single_faults() -> [Fault; 3] {
    [Fault::Fail, Fault::DropBefore, Fault::DropAfter]
}

#[tokio::test]
async fn a_read_is_repeated_after_faults() {
    let server = TestServer::embedded().await;
    let database = server.database("docs").await;
    database
        .put("a", None, &json!({ "x": 1 }))
        .await
        .unwrap()
        .committed()
        .unwrap();
    for fault in single_faults() {
        server.faults.add(Rule::once("GET", "/a", fault).times(2));
        assert_eq!(
            database.get::<Value>("a").await.unwrap().unwrap().body["x"],
            1
        );
    }
    assert_eq!(server.faults.struck(), 6);
    server.faults.add(Rule::always("GET", "/a", Fault::Fail));
    let error = database.get::<Value>("a").await.unwrap_err();
    assert!(
        matches!(error, Error::Refused { status: 500, .. }),
        "{error}"
    );
    assert!(error.is_retryable());
}

#[tokio::test]
async fn creation_and_deletion_of_databases_are_repeated_after_faults() {
    let server = TestServer::embedded().await;
    for (fault, seen) in single_faults().into_iter().zip([
        Creation::Created,
        Creation::Created,
        // Created by the attempt whose response was lost.
        Creation::AlreadyExists,
    ]) {
        let name = server.name("db");
        server.faults.add(Rule::once("PUT", "db", fault.clone()));
        assert_eq!(
            server.couch.create_database(&name).await.unwrap(),
            seen,
            "{fault:?}"
        );
        server.faults.add(Rule::once("DELETE", "db", fault));
        server.couch.delete_database(&name).await.unwrap();
        let names = [name];
        assert!(
            server
                .couch
                .database_infos(&names)
                .await
                .unwrap()
                .is_empty()
        );
    }
}

#[tokio::test]
async fn a_plain_write_is_sent_once_and_reports_an_unknown_outcome() {
    let server = TestServer::embedded().await;
    let database = server.database("docs").await;
    for (fault, there) in single_faults().into_iter().zip([false, false, true]) {
        let id = format!("doc-{there}-{fault:?}").replace(['(', ')'], "");
        server.faults.add(Rule::once("PUT", "/doc-", fault.clone()));
        let before = server.couch.requests();
        let error = database.put(&id, None, &json!({})).await.unwrap_err();
        assert_eq!(server.couch.requests(), before + 1, "{fault:?}");
        assert!(
            error.is_outcome_unknown() && error.is_retryable(),
            "{fault:?}: {error}"
        );
        let found = database.get::<Value>(&id).await.unwrap().is_some();
        assert_eq!(found, there, "{fault:?}");
    }
}

#[tokio::test]
async fn a_claim_is_won_despite_faults_and_leaves_one_leaf() {
    let server = TestServer::embedded().await;
    let database = server.database("claims").await;
    for (at, fault) in single_faults().into_iter().enumerate() {
        for skip in 0..2 {
            let id = format!("name-{at}-{skip}");
            server.faults.clear();
            server
                .faults
                .add(Rule::once("PUT", "/name-", fault.clone()).after(skip));
            server
                .faults
                .add(Rule::once("GET", "/name-", fault.clone()));
            let claim = database
                .claim(&id, &json!({ "owner": "me" }), mine)
                .await
                .unwrap();
            assert!(matches!(claim, ClaimOutcome::Won(_)), "{fault:?}");
            let leaves = database.leaves(&id).await.unwrap();
            assert_eq!(alive(&leaves), [&json!({ "owner": "me" })], "{fault:?}");
        }
    }
}

#[tokio::test]
async fn a_contested_write_is_no_success_even_if_its_leaf_wins() {
    let server = TestServer::embedded().await;
    let database = server.database("docs").await;
    for (id, side) in [("a", Side::Wins), ("b", Side::Loses)] {
        server.faults.add(Rule::once("PUT", id, race(side)));
        let written = database
            .put(id, None, &json!({ "owner": "me" }))
            .await
            .unwrap();
        let Write::Contested(rev) = &written else {
            panic!("{written:?}");
        };
        assert_eq!(alive(&database.leaves(id).await.unwrap()).len(), 2);
        assert!(
            database
                .withdraw(id, rev)
                .await
                .unwrap()
                .committed()
                .is_some()
        );
        let leaves = database.leaves(id).await.unwrap();
        assert_eq!(alive(&leaves), [&json!({ "owner": "other" })]);
        assert!(leaves.iter().any(Leaf::is_withdrawn));
        assert!(written.committed().is_none());
    }
}

#[tokio::test]
async fn a_contested_claim_is_withdrawn_in_favour_of_the_other() {
    let server = TestServer::embedded().await;
    let database = server.database("claims").await;
    for (id, side) in [("name-a", Side::Wins), ("name-b", Side::Loses)] {
        server.faults.add(Rule::once("PUT", id, race(side)));
        let claim = database
            .claim(id, &json!({ "owner": "me" }), mine)
            .await
            .unwrap();
        assert_eq!(claim, ClaimOutcome::Taken(json!({ "owner": "other" })));
        let leaves = database.leaves(id).await.unwrap();
        assert_eq!(alive(&leaves), [&json!({ "owner": "other" })]);
    }
}

#[tokio::test]
async fn a_compare_and_set_recognizes_its_write_after_a_lost_response() {
    let server = TestServer::embedded().await;
    let database = server.database("docs").await;
    for (at, fault) in single_faults().into_iter().enumerate() {
        let id = format!("doc-{at}");
        let base = database
            .put(&id, None, &json!({ "n": 0 }))
            .await
            .unwrap()
            .committed()
            .unwrap();
        server.faults.add(Rule::once("PUT", "/doc-", fault.clone()));
        let body = json!({ "n": 1, "writer": "me" });
        let Exchange::Won(rev) = database.compare_and_set(&id, &base, &body).await.unwrap() else {
            panic!("{fault:?}");
        };
        let read = database.get::<Value>(&id).await.unwrap().unwrap();
        assert_eq!((read.rev, read.body), (rev, body), "{fault:?}");
        assert_eq!(database.leaves(&id).await.unwrap().len(), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn a_contested_compare_and_set_is_withdrawn_in_favour_of_the_other() {
    let server = TestServer::embedded().await;
    let database = server.database("docs").await;
    for (id, side) in [("a", Side::Wins), ("b", Side::Loses)] {
        let base = database
            .put(id, None, &json!({ "n": 0 }))
            .await
            .unwrap()
            .committed()
            .unwrap();
        server.faults.add(Rule::once("PUT", id, race(side)));
        let body = json!({ "owner": "me" });
        let exchange = database.compare_and_set(id, &base, &body).await.unwrap();
        assert_eq!(exchange, Exchange::Lost);
        let leaves = database.leaves(id).await.unwrap();
        assert_eq!(alive(&leaves), [&json!({ "owner": "other" })]);
    }
}

#[tokio::test]
async fn deletions_and_releases_are_repeated_after_faults() {
    let server = TestServer::embedded().await;
    let database = server.database("docs").await;
    for (at, fault) in single_faults().into_iter().enumerate() {
        let id = format!("doc-{at}");
        let base = database
            .put(&id, None, &json!({ "owner": "me" }))
            .await
            .unwrap()
            .committed()
            .unwrap();
        server
            .faults
            .add(Rule::once("DELETE", "/doc-", fault.clone()));
        let deleted = database.compare_and_delete(&id, &base).await.unwrap();
        assert!(matches!(deleted, Exchange::Won(_)), "{fault:?}");
        database
            .put(&id, None, &json!({ "owner": "me" }))
            .await
            .unwrap()
            .committed()
            .unwrap();
        server
            .faults
            .add(Rule::once("DELETE", "/doc-", fault.clone()));
        assert!(database.release(&id, mine).await.unwrap(), "{fault:?}");
        assert!(
            database.get::<Value>(&id).await.unwrap().is_none(),
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn bulk_ensure_writes_all_documents_despite_faults() {
    let server = TestServer::embedded().await;
    for (at, fault) in single_faults().into_iter().enumerate() {
        let database = server.database(&format!("db-{at}")).await;
        let docs: Vec<BulkDoc> = (0..20)
            .map(|n| BulkDoc::create(format!("doc-{n}"), &json!({ "n": n })).unwrap())
            .collect();
        server
            .faults
            .add(Rule::once("POST", "_bulk_docs", fault.clone()));
        assert_eq!(
            database.bulk_ensure(&docs).await.unwrap().len(),
            20,
            "{fault:?}"
        );
        let infos = server
            .couch
            .database_infos(&[database.name().clone()])
            .await
            .unwrap();
        assert_eq!(infos[database.name()].doc_count, 20, "{fault:?}");
    }
}

#[tokio::test]
async fn bulk_ensure_waits_until_every_node_knows_the_database() {
    let server = TestServer::embedded().await;
    let database = server.database("new").await;
    let docs = [BulkDoc::create("first", &json!({ "n": 1 })).unwrap()];
    server
        .faults
        .add(Rule::once("POST", "_bulk_docs", Fault::Unheard).times(3));
    assert_eq!(database.bulk_ensure(&docs).await.unwrap().len(), 1);
    // The repeat meets a conflict and then reads the document.
    server
        .faults
        .add(Rule::once("GET", "/first", Fault::Unheard));
    assert_eq!(database.bulk_ensure(&docs).await.unwrap().len(), 1);
    assert_eq!(server.faults.struck(), 4);
    server
        .faults
        .add(Rule::always("POST", "_bulk_docs", Fault::Unheard));
    let error = database.bulk_ensure(&docs).await.unwrap_err();
    assert!(matches!(error, Error::DatabaseMissing { .. }), "{error}");
}
