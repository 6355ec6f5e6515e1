//! A server that misbehaves: what is lost on the way, and races as a cluster leaves them.

use couch::{BulkDoc, Claim, Creation, Error, Exchange, Leaf, Write};
use embedded_couchdb::faults::{Fault, Race, Rule, Side};
use serde_json::{Value, json};

use crate::support::Peer;

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

/// Every fault of a single request.
fn single_faults() -> [Fault; 3] {
    [Fault::Fail, Fault::DropBefore, Fault::DropAfter]
}

#[tokio::test]
async fn reading_goes_on_over_faults() {
    let peer = Peer::embedded().await;
    let database = peer.database("docs").await;
    database
        .put("a", None, &json!({ "x": 1 }))
        .await
        .unwrap()
        .committed()
        .unwrap();
    for fault in single_faults() {
        peer.faults.add(Rule::once("GET", "/a", fault).times(2));
        assert_eq!(
            database.get::<Value>("a").await.unwrap().unwrap().body["x"],
            1
        );
    }
    assert_eq!(peer.faults.struck(), 6);
    peer.faults.add(Rule::always("GET", "/a", Fault::Fail));
    let error = database.get::<Value>("a").await.unwrap_err();
    assert!(
        matches!(error, Error::Refused { status: 500, .. }),
        "{error}"
    );
    assert!(error.is_retryable());
}

#[tokio::test]
async fn creating_and_deleting_databases_goes_on_over_faults() {
    let peer = Peer::embedded().await;
    for (fault, seen) in single_faults().into_iter().zip([
        Creation::Created,
        Creation::Created,
        // Made by the attempt whose answer was lost.
        Creation::AlreadyExists,
    ]) {
        let name = peer.name("db");
        peer.faults.add(Rule::once("PUT", "db", fault.clone()));
        assert_eq!(
            peer.couch.create_database(&name).await.unwrap(),
            seen,
            "{fault:?}"
        );
        peer.faults.add(Rule::once("DELETE", "db", fault));
        peer.couch.delete_database(&name).await.unwrap();
        let names = [name];
        assert!(peer.couch.database_infos(&names).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_plain_write_is_sent_once_and_says_when_its_outcome_is_open() {
    let peer = Peer::embedded().await;
    let database = peer.database("docs").await;
    for (fault, there) in single_faults().into_iter().zip([false, false, true]) {
        let id = format!("doc-{there}-{fault:?}").replace(['(', ')'], "");
        peer.faults.add(Rule::once("PUT", "/doc-", fault.clone()));
        let before = peer.couch.requests();
        let error = database.put(&id, None, &json!({})).await.unwrap_err();
        assert_eq!(peer.couch.requests(), before + 1, "{fault:?}");
        assert!(
            error.is_outcome_unknown() && error.is_retryable(),
            "{fault:?}: {error}"
        );
        let found = database.get::<Value>(&id).await.unwrap().is_some();
        assert_eq!(found, there, "{fault:?}");
    }
}

#[tokio::test]
async fn a_claim_is_won_over_faults_and_leaves_one_leaf() {
    let peer = Peer::embedded().await;
    let database = peer.database("claims").await;
    for (at, fault) in single_faults().into_iter().enumerate() {
        for skip in 0..2 {
            let id = format!("name-{at}-{skip}");
            peer.faults.clear();
            peer.faults
                .add(Rule::once("PUT", "/name-", fault.clone()).after(skip));
            peer.faults.add(Rule::once("GET", "/name-", fault.clone()));
            let claim = database
                .claim(&id, &json!({ "owner": "me" }), mine)
                .await
                .unwrap();
            assert!(matches!(claim, Claim::Won(_)), "{fault:?}");
            let leaves = database.leaves(&id).await.unwrap();
            assert_eq!(alive(&leaves), [&json!({ "owner": "me" })], "{fault:?}");
        }
    }
}

#[tokio::test]
async fn a_contested_write_is_no_success_whichever_leaf_wins() {
    let peer = Peer::embedded().await;
    let database = peer.database("docs").await;
    for (id, side) in [("a", Side::Wins), ("b", Side::Loses)] {
        peer.faults.add(Rule::once("PUT", id, race(side)));
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
async fn a_claim_that_was_contested_gives_way_to_the_other() {
    let peer = Peer::embedded().await;
    let database = peer.database("claims").await;
    for (id, side) in [("name-a", Side::Wins), ("name-b", Side::Loses)] {
        peer.faults.add(Rule::once("PUT", id, race(side)));
        let claim = database
            .claim(id, &json!({ "owner": "me" }), mine)
            .await
            .unwrap();
        assert_eq!(claim, Claim::Taken(json!({ "owner": "other" })));
        let leaves = database.leaves(id).await.unwrap();
        assert_eq!(alive(&leaves), [&json!({ "owner": "other" })]);
    }
}

#[tokio::test]
async fn a_compare_and_set_whose_answer_is_lost_finds_its_write() {
    let peer = Peer::embedded().await;
    let database = peer.database("docs").await;
    for (at, fault) in single_faults().into_iter().enumerate() {
        let id = format!("doc-{at}");
        let base = database
            .put(&id, None, &json!({ "n": 0 }))
            .await
            .unwrap()
            .committed()
            .unwrap();
        peer.faults.add(Rule::once("PUT", "/doc-", fault.clone()));
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
async fn a_compare_and_set_that_was_contested_gives_way_to_the_other() {
    let peer = Peer::embedded().await;
    let database = peer.database("docs").await;
    for (id, side) in [("a", Side::Wins), ("b", Side::Loses)] {
        let base = database
            .put(id, None, &json!({ "n": 0 }))
            .await
            .unwrap()
            .committed()
            .unwrap();
        peer.faults.add(Rule::once("PUT", id, race(side)));
        let body = json!({ "owner": "me" });
        let exchange = database.compare_and_set(id, &base, &body).await.unwrap();
        assert_eq!(exchange, Exchange::Lost);
        let leaves = database.leaves(id).await.unwrap();
        assert_eq!(alive(&leaves), [&json!({ "owner": "other" })]);
    }
}

#[tokio::test]
async fn deletions_and_releases_go_on_over_faults() {
    let peer = Peer::embedded().await;
    let database = peer.database("docs").await;
    for (at, fault) in single_faults().into_iter().enumerate() {
        let id = format!("doc-{at}");
        let base = database
            .put(&id, None, &json!({ "owner": "me" }))
            .await
            .unwrap()
            .committed()
            .unwrap();
        peer.faults
            .add(Rule::once("DELETE", "/doc-", fault.clone()));
        let deleted = database.compare_and_delete(&id, &base).await.unwrap();
        assert!(matches!(deleted, Exchange::Won(_)), "{fault:?}");
        database
            .put(&id, None, &json!({ "owner": "me" }))
            .await
            .unwrap()
            .committed()
            .unwrap();
        peer.faults
            .add(Rule::once("DELETE", "/doc-", fault.clone()));
        assert!(database.release(&id, mine).await.unwrap(), "{fault:?}");
        assert!(
            database.get::<Value>(&id).await.unwrap().is_none(),
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn first_documents_are_all_there_over_faults() {
    let peer = Peer::embedded().await;
    for (at, fault) in single_faults().into_iter().enumerate() {
        let database = peer.database(&format!("db-{at}")).await;
        let docs: Vec<BulkDoc> = (0..20)
            .map(|n| BulkDoc::create(format!("doc-{n}"), &json!({ "n": n })).unwrap())
            .collect();
        peer.faults
            .add(Rule::once("POST", "_bulk_docs", fault.clone()));
        assert_eq!(
            database.bulk_ensure(&docs).await.unwrap().len(),
            20,
            "{fault:?}"
        );
        let infos = peer
            .couch
            .database_infos(&[database.name().clone()])
            .await
            .unwrap();
        assert_eq!(infos[database.name()].doc_count, 20, "{fault:?}");
    }
}

#[tokio::test]
async fn first_documents_wait_until_every_node_knows_the_database() {
    let peer = Peer::embedded().await;
    let database = peer.database("new").await;
    let docs = [BulkDoc::create("first", &json!({ "n": 1 })).unwrap()];
    peer.faults
        .add(Rule::once("POST", "_bulk_docs", Fault::Unheard).times(3));
    assert_eq!(database.bulk_ensure(&docs).await.unwrap().len(), 1);
    // A repeat meets a conflict first, and reads then.
    peer.faults.add(Rule::once("GET", "/first", Fault::Unheard));
    assert_eq!(database.bulk_ensure(&docs).await.unwrap().len(), 1);
    assert_eq!(peer.faults.struck(), 4);
    peer.faults
        .add(Rule::always("POST", "_bulk_docs", Fault::Unheard));
    let error = database.bulk_ensure(&docs).await.unwrap_err();
    assert!(matches!(error, Error::DatabaseMissing { .. }), "{error}");
}
