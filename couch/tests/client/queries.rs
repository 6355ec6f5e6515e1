//! Tests of document lists, Mango queries and indexes.

use couch::{AllDocs, BulkDoc, Database, Document, Error, Find, Sort, design::Index};
use futures::TryStreamExt as _;
use serde_json::{Value, json};

use crate::support::TestServer;

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

async fn write_indexes(database: &Database, indexes: &[Index]) {
    let docs: Vec<BulkDoc> = indexes
        .iter()
        .map(|index| BulkDoc::create(index.id(), &index.body()).unwrap())
        .collect();
    database.bulk_ensure(&docs).await.unwrap();
}

#[tokio::test]
async fn the_pages_of_a_list_have_no_gap_or_repetition() {
    for server in TestServer::all().await {
        let database = server.database("docs").await;
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
        server.clean().await;
    }
}

#[tokio::test]
async fn a_list_honours_its_range_order_and_limit() {
    for server in TestServer::all().await {
        let database = server.database("docs").await;
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
        server.clean().await;
    }
}

#[tokio::test]
async fn a_query_returns_all_its_pages_in_order() {
    for server in TestServer::all().await {
        let database = server.database("docs").await;
        database.bulk_ensure(&hundred()).await.unwrap();
        let indexes = [
            Index::new("by-n", "by-n", &["n"]),
            Index::new("even", "even", &["n"]).only_where(
                || json!({ "even": true }),
                || json!({ "even": { "$eq": true } }),
            ),
        ];
        write_indexes(&database, &indexes).await;
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
        server.clean().await;
    }
}

#[tokio::test]
async fn a_page_has_the_bookmark_of_the_next() {
    for server in TestServer::all().await {
        let database = server.database("docs").await;
        database.bulk_ensure(&hundred()).await.unwrap();
        write_indexes(&database, &[Index::new("by-n", "by-n", &["n"])]).await;
        let query = Find::new(json!({ "n": { "$gte": 0 } })).page_size(60);
        let first = database.find_page::<Value>(&query).await.unwrap();
        assert_eq!(first.documents.len(), 60);
        let second = database
            .find_page::<Value>(&query.after(first.bookmark.unwrap()))
            .await
            .unwrap();
        assert_eq!(second.documents.len(), 40);
        assert!(second.bookmark.is_none());
        server.clean().await;
    }
}

#[tokio::test]
async fn a_query_without_an_index_still_answers() {
    for server in TestServer::all().await {
        let database = server.database("docs").await;
        database.bulk_ensure(&hundred()).await.unwrap();
        // As after somebody has removed the index that it names.
        let query = Find::new(json!({ "even": true })).use_index("by-even", None);
        let page = database.find_page::<Value>(&query).await.unwrap();
        assert_eq!(page.documents.len(), 50);
        let sorted = query
            .sort([Sort::Descending("n".to_owned())])
            .fields(["n"])
            .page_size(7)
            .limit(30);
        let found: Vec<Document<Value>> = database.find(sorted).try_collect().await.unwrap();
        let expected: Vec<Value> = (20..50)
            .rev()
            .map(|half| json!({ "n": 2 * half }))
            .collect();
        let found: Vec<Value> = found.into_iter().map(|document| document.body).collect();
        assert_eq!(found, expected);
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
        server.clean().await;
    }
}
