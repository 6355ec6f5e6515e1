//! What is derived from documents agrees with them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{Known, attached, files, support::Client};

/// Reads little of the view, which is brought up to date all the same.
pub(crate) const ONE_ROW: &str = "/kept/_design/view/_view/by_n?reduce=false&limit=1";

pub(crate) fn design() -> Value {
    let map = "function (doc) { emit([doc.w, doc.n], doc.n); }";
    json!({"views": {"by_n": {"map": map, "reduce": "_sum"}}})
}

/// Asserts that indexes, views and attachments are what the documents say.
pub(crate) async fn everything_agrees(client: &Client, all: &[Known]) {
    let docs = client.get("/kept/_all_docs?include_docs=true&attachments=true&startkey=%220%22");
    let docs = docs.await.expect(200).json();
    let docs: Vec<&Value> = docs["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["doc"])
        .collect();
    index_agrees(client, &docs).await;
    view_agrees(client, &docs).await;
    files_are_whole(&docs, all);
}

/// Asserts that the index has exactly the rows of the documents.
async fn index_agrees(client: &Client, docs: &[&Value]) {
    let mut expected: Vec<(i64, &str)> = docs
        .iter()
        .filter_map(|doc| Some((doc["n"].as_i64()?, doc["_id"].as_str()?)))
        .collect();
    expected.sort_unstable();
    let query = json!({"selector": {"n": {"$gt": null}}, "sort": ["n"], "use_index": "by-n", "limit": 1_000_000, "execution_stats": true});
    let found = client.post("/kept/_find", &query).await.expect(200).json();
    assert_eq!(found["warning"], Value::Null);
    let found_docs = found["docs"].as_array().unwrap().iter();
    let rows: Vec<(i64, &str)> = found_docs
        .map(|doc| (doc["n"].as_i64().unwrap(), doc["_id"].as_str().unwrap()))
        .collect();
    assert_eq!(rows, expected);
    assert_eq!(
        found["execution_stats"]["total_keys_examined"],
        expected.len(),
        "a row too many would be read and passed over"
    );
}

/// Asserts the same of the view.
async fn view_agrees(client: &Client, docs: &[&Value]) {
    let mut expected: Vec<(i64, i64, &str)> = docs
        .iter()
        .filter_map(|doc| Some((doc["w"].as_i64()?, doc["n"].as_i64()?, doc["_id"].as_str()?)))
        .collect();
    expected.sort_unstable();
    let path = "/kept/_design/view/_view/by_n";
    let found = client
        .get(&format!("{path}?reduce=false"))
        .await
        .expect(200)
        .json();
    assert_eq!(found["total_rows"], expected.len());
    let rows: Vec<(i64, i64, &str)> = found["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let number = |n: usize| row["key"][n].as_i64().unwrap();
            (number(0), number(1), row["id"].as_str().unwrap())
        })
        .collect();
    assert_eq!(rows, expected);
    let sum: i64 = expected.iter().map(|(_, n, _)| n).sum();
    let reduced = client.get(path).await.expect(200).json();
    assert_eq!(reduced["rows"], json!([{"key": null, "value": sum}]));
}

/// Asserts that each document has the attachments that were acknowledged, and that each attachment is whole.
fn files_are_whole(docs: &[&Value], all: &[Known]) {
    for doc in docs {
        let id = doc["_id"].as_str().unwrap();
        let found = attached(doc);
        let known = all.iter().find_map(|known| known.files.get(id));
        let known = known.cloned().unwrap_or_default();
        assert_eq!(found, known, "{id}");
        for name in found {
            let file = &doc["_attachments"][&name];
            let data = STANDARD.decode(file["data"].as_str().unwrap()).unwrap();
            assert!(data == files::data_of(&name), "{id}/{name} is not whole");
        }
    }
}
