//! Lists, Mango queries and their indexes.

use couch::{AllDocs, BulkDoc, Document, Error, Find, Index, Sort};
use futures::TryStreamExt as _;
use serde_json::{Value, json};

use crate::support::Peer;

fn hundred() -> Vec<BulkDoc> {
    (0..100)
        .map(|n| {
            BulkDoc::create(
                format!("doc-{n:03}"),
                &json!({ "n": n, "even": n % 2 == 0 }),
            )
            .unwrap()
        })
        .collect()
}

#[tokio::test]
async fn pages_of_a_list_join_without_gap_or_repetition() {
    for peer in Peer::all().await {
        let database = peer.database("docs").await;
        database.bulk_ensure(&hundred()).await.unwrap();
        for page in [1, 7, 50, 99, 100, 101, 500] {
            let rows: Vec<_> = database
                .all_docs(AllDocs::new().page_size(page))
                .try_collect()
                .await
                .unwrap();
            let ids: Vec<String> = rows.into_iter().map(|row| row.id).collect();
            let all: Vec<String> = (0..100).map(|n| format!("doc-{n:03}")).collect();
            assert_eq!(ids, all, "pages of {page}");
        }
        peer.clean().await;
    }
}

#[tokio::test]
async fn a_list_keeps_to_its_range_order_and_limit() {
    for peer in Peer::all().await {
        let database = peer.database("docs").await;
        database.bulk_ensure(&hundred()).await.unwrap();
        let numbers = async |query: AllDocs| -> Vec<i64> {
            let docs: Vec<Document<Value>> = database
                .all_docs_with_bodies(query)
                .try_collect()
                .await
                .unwrap();
            docs.iter()
                .map(|doc| doc.body["n"].as_i64().unwrap())
                .collect()
        };
        let part = AllDocs::new().from("doc-010").to("doc-013").page_size(2);
        assert_eq!(numbers(part.clone()).await, [10, 11, 12, 13]);
        assert_eq!(numbers(part.clone().before("doc-013")).await, [10, 11, 12]);
        assert_eq!(numbers(part.limit(3)).await, [10, 11, 12]);
        let down = AllDocs::new().from("doc-003").descending().page_size(2);
        assert_eq!(numbers(down).await, [3, 2, 1, 0]);
        assert_eq!(
            numbers(AllDocs::prefix("doc-09").page_size(3)).await.len(),
            10
        );
        assert_eq!(numbers(AllDocs::new().limit(0)).await, [0_i64; 0]);
        peer.clean().await;
    }
}

#[tokio::test]
async fn a_query_goes_through_all_its_pages_in_order() {
    for peer in Peer::all().await {
        let database = peer.database("docs").await;
        database.bulk_ensure(&hundred()).await.unwrap();
        let index = [
            Index::new("by-n", ["n"]),
            Index::new("even", ["n"]).partial(json!({ "even": true })),
        ];
        database.ensure_indexes(&index).await.unwrap();
        database.ensure_indexes(&index).await.unwrap();
        for page in [1, 20, 33, 60, 200] {
            let query = Find::new(json!({ "n": { "$gte": 40 } }))
                .sort([Sort::Descending("n".to_owned())])
                .use_index("by-n", None)
                .fields(["n"])
                .page_size(page);
            let docs: Vec<Document<Value>> =
                database.find(query.clone()).try_collect().await.unwrap();
            let numbers: Vec<i64> = docs
                .iter()
                .map(|doc| doc.body["n"].as_i64().unwrap())
                .collect();
            assert_eq!(
                numbers,
                (40..100).rev().collect::<Vec<_>>(),
                "pages of {page}"
            );
            assert_eq!(docs[0].body, json!({ "n": 99 }));
            let few: Vec<Document<Value>> =
                database.find(query.limit(21)).try_collect().await.unwrap();
            assert_eq!(few.len(), 21, "pages of {page}");
        }
        peer.clean().await;
    }
}

#[tokio::test]
async fn a_page_tells_where_the_next_begins() {
    for peer in Peer::all().await {
        let database = peer.database("docs").await;
        database.bulk_ensure(&hundred()).await.unwrap();
        database
            .ensure_indexes(&[Index::new("by-n", ["n"])])
            .await
            .unwrap();
        let query = Find::new(json!({ "n": { "$gte": 0 } })).page_size(60);
        let first = database.find_page::<Value>(&query).await.unwrap();
        assert_eq!(first.documents.len(), 60);
        let second = database
            .find_page::<Value>(&query.after(first.bookmark.unwrap()))
            .await
            .unwrap();
        assert_eq!(second.documents.len(), 40);
        assert!(second.bookmark.is_none());
        peer.clean().await;
    }
}

#[tokio::test]
async fn a_query_without_an_index_fails_unless_it_is_allowed_to_scan() {
    for peer in Peer::all().await {
        let database = peer.database("docs").await;
        database.bulk_ensure(&hundred()).await.unwrap();
        let query = Find::new(json!({ "even": true }));
        let error = database.find_page::<Value>(&query).await.unwrap_err();
        assert!(matches!(error, Error::NoIndex { .. }), "{error}");
        let all: Vec<Document<Value>> = database
            .find(query.allow_scan())
            .try_collect()
            .await
            .unwrap();
        assert_eq!(all.len(), 50);
        let error = database
            .find_page::<Value>(&Find::new(json!({ "n": { "$nonsense": 1 } })))
            .await
            .unwrap_err();
        let Error::Refused {
            status,
            error,
            reason,
            ..
        } = &error
        else {
            panic!("{error}");
        };
        assert_eq!(
            (*status, error.as_str()),
            (400, "invalid_operator"),
            "{reason}"
        );
        assert!(reason.contains("$nonsense"), "{reason}");
        peer.clean().await;
    }
}
