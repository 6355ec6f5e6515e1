//! Tests of the changes feed.

use std::pin::pin;
use std::time::Duration;

use couch::{ChangesQuery, Feed, Since};
use embedded_couchdb::faults::{Fault, Rule};
use futures::{Stream, StreamExt as _};
use serde_json::json;

use crate::support::TestServer;

async fn next(feed: &mut (impl Stream<Item = Feed> + Unpin)) -> Feed {
    let item = tokio::time::timeout(Duration::from_secs(20), feed.next()).await;
    item.expect("no item in time").expect("the feed has ended")
}

async fn next_id(feed: &mut (impl Stream<Item = Feed> + Unpin)) -> String {
    loop {
        if let Feed::Change(change) = next(feed).await {
            return change.id;
        }
    }
}

#[tokio::test]
async fn a_feed_reports_past_changes_and_then_new_ones() {
    for server in TestServer::all().await {
        let database = server.database("docs").await;
        let rev = database
            .put("old", None, &json!({ "x": 1 }))
            .await
            .unwrap()
            .committed()
            .unwrap();
        let mut feed = pin!(database.changes(ChangesQuery::since(Since::Beginning).include_docs()));
        let Feed::Change(old) = next(&mut feed).await else {
            panic!("no change");
        };
        assert_eq!(
            (old.id.as_str(), &old.revs, old.deleted),
            ("old", &vec![rev.clone()], false)
        );
        assert_eq!(old.doc.unwrap()["x"], 1);
        let Feed::UpToDate(here) = next(&mut feed).await else {
            panic!("not up to date");
        };
        database
            .delete("old", &rev)
            .await
            .unwrap()
            .committed()
            .unwrap();
        let Feed::Change(gone) = next(&mut feed).await else {
            panic!("no change");
        };
        assert!(gone.deleted);
        let query = ChangesQuery::since(Since::Sequence(here));
        let (changes, _) = database.changes_page(&query, 10).await.unwrap();
        assert_eq!(changes.len(), 1);
        server.clean().await;
    }
}

#[tokio::test]
async fn a_feed_from_now_skips_past_changes_and_applies_its_filter() {
    for server in TestServer::all().await {
        let database = server.database("docs").await;
        database
            .put("old", None, &json!({ "kind": "wanted" }))
            .await
            .unwrap()
            .committed()
            .unwrap();
        let query = ChangesQuery::since(Since::Now).selector(json!({ "kind": "wanted" }));
        let mut by_kind = pin!(database.changes(query));
        let mut by_id = pin!(database.changes(ChangesQuery::since(Since::Now).ids(["b"])));
        assert!(matches!(next(&mut by_kind).await, Feed::UpToDate(_)));
        assert!(matches!(next(&mut by_id).await, Feed::UpToDate(_)));
        for (id, kind) in [("a", "other"), ("b", "wanted"), ("c", "wanted")] {
            database
                .put(id, None, &json!({ "kind": kind }))
                .await
                .unwrap()
                .committed()
                .unwrap();
        }
        assert_eq!(next_id(&mut by_kind).await, "b");
        assert_eq!(next_id(&mut by_kind).await, "c");
        assert_eq!(next_id(&mut by_id).await, "b");
        server.clean().await;
    }
}

#[tokio::test]
async fn an_interrupted_feed_reports_it_and_misses_no_change() {
    let server = TestServer::embedded().await;
    let database = server.database("docs").await;
    let mut feed = pin!(database.changes(ChangesQuery::since(Since::Beginning)));
    assert!(matches!(next(&mut feed).await, Feed::UpToDate(_)));
    server
        .faults
        .add(Rule::always("POST", "/_changes", Fault::DropBefore).times(2));
    server
        .faults
        .add(Rule::once("POST", "/_changes", Fault::Fail));
    database
        .put("meanwhile", None, &json!({}))
        .await
        .unwrap()
        .committed()
        .unwrap();
    // The long poll that is already waiting may report the change.
    let mut interrupted = 0;
    let mut told = false;
    let mut up_to_date = false;
    while interrupted < 3 || !told || !up_to_date {
        match next(&mut feed).await {
            Feed::Interrupted(error) => {
                assert!(error.is_retryable(), "{error}");
                interrupted += 1;
                up_to_date = false;
            }
            Feed::Change(change) => told = change.id == "meanwhile",
            Feed::UpToDate(_) => up_to_date = true,
        }
    }
    assert_eq!(interrupted, 3);
}

#[tokio::test]
async fn a_marker_comes_through_the_feed_and_nothing_else_shows_it() {
    for server in TestServer::all().await {
        let database = server.database("docs").await;
        let mut feed = pin!(database.changes(ChangesQuery::since(Since::Now).all_leaves()));
        assert!(matches!(next(&mut feed).await, Feed::UpToDate(_)));
        // The third write was lost.
        for number in [1, 2, 4, 30] {
            let rev = database.write_marker("marker:a", number).await.unwrap();
            assert_eq!(rev.generation(), number);
            let change = loop {
                if let Feed::Change(change) = next(&mut feed).await {
                    break change;
                }
            };
            assert_eq!((change.id.as_str(), change.deleted), ("marker:a", true));
            assert_eq!(change.revs.first(), Some(&rev));
            // A history that no longer meets the earlier one is the only thing that adds a leaf.
            assert_eq!(change.revs.len(), if number == 30 { 2 } else { 1 });
        }
        assert_eq!(
            database.get::<serde_json::Value>("marker:a").await.unwrap(),
            None
        );
        let rows = database.all_docs(couch::AllDocs::new());
        assert_eq!(rows.count().await, 0);
        server.clean().await;
    }
}
