//! Every way of reading agrees with the model.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    database::Model,
    document::{Doc, Rev, Stored, text},
    support::Client,
};

impl Model {
    /// The documents whose winner is alive.
    fn alive(&self) -> impl Iterator<Item = (&str, Rev, Stored)> {
        let winners = self
            .docs
            .iter()
            .map(|(id, doc)| (id.as_str(), doc.winner()));
        winners
            .filter(|(_, winner)| !winner.1.deleted)
            .map(|(id, (rev, stored))| (id, rev, stored))
    }

    pub(crate) async fn check(&mut self, client: &Client, db: &str) {
        for (id, doc) in &self.docs {
            check_winner(client, db, id, doc).await;
            check_leaves(client, db, id, doc).await;
        }
        self.check_listings(client, db).await;
        self.check_query(client, db).await;
        self.check_views(client, db, -6, 6).await;
        self.users.check(client, db).await;
    }

    async fn check_listings(&self, client: &Client, db: &str) {
        let path = format!("{db}/_all_docs?startkey=%22doc%22");
        let all = client.get(&path).await.expect(200).json();
        let expected: Vec<Value> = self
            .alive()
            .map(|(id, rev, _)| json!({"id": id, "key": id, "value": {"rev": text(&rev)}}))
            .collect();
        assert_eq!(all["rows"], json!(expected));

        let feed = client.get(&format!("{db}/_changes")).await.expect(200);
        let feed = feed.json();
        let rows = feed["results"].as_array().unwrap().iter();
        let found: Vec<(String, String, bool)> = rows
            .filter(|row| !row["id"].as_str().unwrap().starts_with("_design/"))
            .map(|row| {
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                let rev = text(&row["changes"][0]["rev"]);
                (text(&row["id"]), rev, row["deleted"] == true)
            })
            .collect();
        let mut docs: Vec<(&String, &Doc)> = self.docs.iter().collect();
        docs.sort_by_key(|(_, doc)| doc.changed);
        let expected: Vec<_> = docs
            .into_iter()
            .map(|(id, doc)| (id.clone(), doc.winner()))
            .map(|(id, winner)| (id, text(&winner.0), winner.1.deleted))
            .collect();
        assert_eq!(found, expected);

        let info = client.get(db).await.expect(200).json();
        let alive = self.alive().count();
        // The index and the views are two design documents.
        assert_eq!(info["doc_count"], json!(alive + 2));
        assert_eq!(info["doc_del_count"], json!(self.docs.len() - alive));
    }

    async fn check_query(&self, client: &Client, db: &str) {
        let query = json!({"selector": {"n": {"$gte": -2}}, "sort": ["n"], "fields": ["_id", "n"]});
        let found = client.post(&format!("{db}/_find"), &query).await;
        let found = found.expect(200).json();
        assert_eq!(found["warning"], Value::Null);
        let mut expected: Vec<(i64, &str)> = self
            .alive()
            .filter_map(|(id, _, stored)| Some((stored.value?, id)))
            .filter(|(n, _)| *n >= -2)
            .collect();
        expected.sort_unstable();
        let expected: Vec<Value> = expected
            .into_iter()
            .map(|(n, id)| json!({"_id": id, "n": n}))
            .collect();
        assert_eq!(found["docs"], json!(expected));
    }

    /// Reads the views: all rows, those from one key to another, and what they reduce to.
    pub(crate) async fn check_views(&self, client: &Client, db: &str, first: i64, last: i64) {
        let view = format!("{db}/_design/model/_view");
        let read = async |query: String| {
            let reply = client.get(&format!("{view}/{query}")).await;
            reply.expect(200).json()["rows"].clone()
        };
        let mut rows: Vec<(Option<i64>, &str)> = self
            .alive()
            .map(|(id, _, stored)| (stored.value, id))
            .collect();
        // Null, the key of a document without a number, is before all numbers.
        rows.sort_unstable();
        let value = |n: &Option<i64>| n.map_or(1, |n| n * n);
        let listed = |rows: &[(Option<i64>, &str)]| -> Vec<Value> {
            rows.iter()
                .map(|(n, id)| json!({"id": id, "key": n, "value": value(n)}))
                .collect()
        };
        let found = read("by_n?reduce=false".to_owned()).await;
        assert_eq!(found, json!(listed(&rows)));
        let sum: i64 = rows.iter().map(|(n, _)| value(n)).sum();
        let all = if rows.is_empty() {
            json!([])
        } else {
            json!([{"key": null, "value": sum}])
        };
        assert_eq!(read("by_n".to_owned()).await, all);

        let (low, high) = (first.min(last), first.max(last));
        let mut inside = rows.clone();
        inside.retain(|(n, _)| n.is_some_and(|n| low <= n && n <= high));
        let range = format!("startkey={low}&endkey={high}");
        let found = read(format!("by_n?reduce=false&{range}")).await;
        assert_eq!(found, json!(listed(&inside)));
        let found = read(format!("by_n?group=true&{range}")).await;
        let groups: Vec<Value> = inside
            .chunk_by(|a, b| a.0 == b.0)
            .map(|group| json!({"key": group[0].0, "value": group.iter().map(|(n, _)| value(n)).sum::<i64>()}))
            .collect();
        assert_eq!(found, json!(groups));
        let mut backwards = listed(&inside);
        backwards.reverse();
        let range = format!("startkey={high}&endkey={low}&descending=true");
        let found = read(format!("by_n?reduce=false&{range}")).await;
        assert_eq!(found, json!(backwards));

        let mut files: Vec<(&str, String, &str, usize)> = Vec::new();
        for (id, _, stored) in self.alive() {
            for (name, file) in stored.files {
                let length = file.sent.bytes.len();
                files.push((file.sent.content_type(), name, id, length));
            }
        }
        files.sort_unstable();
        let expected: Vec<Value> = files
            .iter()
            .map(|(kind, name, id, length)| json!({"id": id, "key": [kind, name], "value": length}))
            .collect();
        let found = read("files?reduce=false".to_owned()).await;
        assert_eq!(found, json!(expected));
        let found = read("files?group_level=1".to_owned()).await;
        let expected: Vec<Value> = files
            .chunk_by(|a, b| a.0 == b.0)
            .map(|group| json!({"key": [group[0].0], "value": group.len()}))
            .collect();
        assert_eq!(found, json!(expected));
    }
}

async fn check_winner(client: &Client, db: &str, id: &str, doc: &Doc) {
    let leaves = doc.leaves();
    let (winner, stored) = &leaves[0];
    let path = format!("{db}/{id}");
    let query = "conflicts=true&deleted_conflicts=true&revs=true";
    let read = client.get(&format!("{path}?{query}")).await;
    if stored.deleted {
        read.expect(404);
        return;
    }
    let read = read.expect(200).json();
    assert_eq!(read["_rev"], json!(text(winner)));
    assert_eq!(read["n"], json!(stored.value));
    check_files(&read, stored, false);
    let beside = |gone: bool| -> Value {
        let list: Vec<String> = leaves[1..]
            .iter()
            .filter(|leaf| leaf.1.deleted == gone)
            .map(|leaf| text(&leaf.0))
            .collect();
        if list.is_empty() {
            Value::Null
        } else {
            json!(list)
        }
    };
    assert_eq!(read["_conflicts"], beside(false));
    assert_eq!(read["_deleted_conflicts"], beside(true));
    let history: Vec<String> = doc.history(winner).into_iter().map(|rev| rev.1).collect();
    assert_eq!(
        read["_revisions"],
        json!({"start": winner.0, "ids": history})
    );
    for (name, file) in &stored.files {
        let read = client.get(&format!("{path}/{name}")).await.expect(200);
        assert_eq!(read.body, file.sent.bytes, "{id}/{name}");
        assert_eq!(read.headers["content-type"], file.sent.content_type());
    }
    client.get(&format!("{path}/none")).await.expect(404);
}

async fn check_leaves(client: &Client, db: &str, id: &str, doc: &Doc) {
    let path = format!("{db}/{id}?open_revs=all&attachments=true");
    let headers = [("accept", "application/json")];
    let open = client.call("GET", &path, &headers, b"").await;
    let open = open.expect(200).json();
    let mut found: Vec<&Value> = open
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["ok"])
        .collect();
    let mut leaves = doc.leaves();
    found.sort_by_key(|leaf| leaf["_rev"].as_str().unwrap());
    leaves.sort_by_key(|leaf| text(&leaf.0));
    assert_eq!(found.len(), leaves.len(), "{id}");
    for (found, (rev, stored)) in found.into_iter().zip(leaves) {
        assert_eq!(found["_rev"], json!(text(&rev)));
        assert_eq!(found["_deleted"] == true, stored.deleted, "{id} {found}");
        assert_eq!(found["n"], json!(stored.value), "{id} {found}");
        check_files(found, &stored, true);
    }
}

/// Compares the attachments in a document with those of the model.
fn check_files(found: &Value, stored: &Stored, with_data: bool) {
    let none = serde_json::Map::new();
    let found = found["_attachments"].as_object().unwrap_or(&none);
    let mut names: Vec<&String> = found.keys().collect();
    names.sort_unstable();
    assert!(names.into_iter().eq(stored.files.keys()), "{found:?}");
    for (name, file) in &stored.files {
        let found = &found[name];
        assert_eq!(found["content_type"], file.sent.content_type(), "{name}");
        assert_eq!(found["revpos"], json!(file.revpos), "{name}");
        if let Some(digest) = file.sent.digest() {
            assert_eq!(found["digest"], digest, "{name}");
        }
        if with_data {
            let data = STANDARD.encode(&file.sent.bytes);
            assert_eq!(found["data"], data, "{name}");
        } else {
            assert_eq!(found["stub"], true, "{name}");
            assert_eq!(found["length"], file.sent.bytes.len(), "{name}");
        }
    }
}
