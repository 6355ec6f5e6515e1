//! Reduced views of many rows: what is kept of them is right after each change.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed expectation is the test failing"
)]

mod support;

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use embedded_couchdb::{Config, faults::Faults};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use support::{Client, Embedded};
use test_kit::dice::{self, Rng};

const VIEWS: [(&str, &str); 4] = [
    ("sum", "_sum"),
    ("count", "_count"),
    ("stats", "_stats"),
    (
        "own",
        "function (keys, values, rereduce) { return sum(values); }",
    ),
];

/// A database whose documents are rows: the key is `[a, b]`, or only `a`.
struct World {
    client: Client,
    db: String,
    dice: Rng,
    revs: BTreeMap<String, String>,
    made: usize,
}

impl World {
    async fn new(client: &Client) -> Self {
        let db = client.fresh("db").await;
        let map = "function (doc) { for (const row of doc.rows) emit(row[0], row[1]); }";
        let views: serde_json::Map<String, Value> = VIEWS
            .iter()
            .map(|(name, reduce)| ((*name).to_owned(), json!({"map": map, "reduce": reduce})))
            .collect();
        let design = json!({ "views": views });
        client
            .put(&format!("{db}/_design/d"), &design)
            .await
            .expect(201);
        Self {
            client: client.clone(),
            db,
            dice: dice::seeded(),
            revs: BTreeMap::new(),
            made: 0,
        }
    }

    fn key(&mut self) -> Value {
        match self.dice.u8(..20) {
            0 => json!(self.dice.u8(..4)),
            _ => json!([self.dice.u8(..4), self.dice.u8(..30)]),
        }
    }

    fn rows(&mut self) -> Value {
        let count = if self.dice.u8(..10) == 0 { 0..3 } else { 0..1 };
        count
            .map(|_| json!([self.key(), self.dice.i32(-1000..1000)]))
            .collect()
    }

    async fn write(&mut self, docs: Vec<Value>) {
        let written = self
            .client
            .post(&format!("{}/_bulk_docs", self.db), &json!({ "docs": docs }))
            .await
            .expect(201)
            .json();
        for (doc, written) in docs.iter().zip(written.as_array().unwrap()) {
            let id = written["id"].as_str().unwrap().to_owned();
            if doc["_deleted"] == true {
                self.revs.remove(&id);
            } else {
                self.revs
                    .insert(id, written["rev"].as_str().unwrap().to_owned());
            }
        }
    }

    async fn add(&mut self, count: usize) {
        let docs = (0..count)
            .map(|_| {
                self.made += 1;
                json!({"_id": format!("doc-{:06}", self.made), "rows": self.rows()})
            })
            .collect();
        self.write(docs).await;
    }

    async fn change_some(&mut self) {
        let count = self.dice.usize(1..40);
        let ids: Vec<String> = self.revs.keys().cloned().collect();
        let mut docs = BTreeMap::new();
        for _ in 0..count {
            let id = ids[self.dice.usize(..ids.len())].clone();
            let (rev, deleted, rows) = (&self.revs[&id], self.dice.u8(..3) == 0, self.dice.bool());
            let doc = json!({"_id": id, "_rev": rev, "_deleted": deleted});
            docs.insert(id, (doc, rows));
        }
        let mut changed = Vec::new();
        for (mut doc, _) in docs.into_values() {
            doc["rows"] = self.rows();
            changed.push(doc);
        }
        self.write(changed).await;
    }

    async fn purge_one(&mut self) {
        let (id, rev) = self.revs.pop_first().unwrap();
        self.client
            .post(&format!("{}/_purge", self.db), &json!({ id: [rev] }))
            .await
            .expect(201);
    }

    /// A range, as a query string.
    fn range(&mut self) -> String {
        let mut query = String::new();
        let descending = self.dice.u8(..4) == 0;
        let low = self.dice.u8(..4);
        let high = self.dice.u8(low + 1..6);
        let (low, high) = if descending {
            query.push_str("&descending=true");
            (high, low)
        } else {
            (low, high)
        };
        for (name, first) in [("start", low), ("end", high)] {
            match self.dice.u8(..4) {
                0 => {}
                1 => query.push_str(&format!("&{name}key=[{first}]")),
                2 => query.push_str(&format!("&{name}key=[{first},{}]", self.dice.u8(..30))),
                _ => {
                    let id = self.dice.usize(..self.made.max(1));
                    query.push_str(&format!(
                        "&{name}key=[{first},{}]&{name}key_docid=doc-{id:06}",
                        self.dice.u8(..30)
                    ));
                }
            }
        }
        if query.contains("endkey=") && self.dice.bool() {
            query.push_str("&inclusive_end=false");
        }
        query
    }

    async fn ask(&self, view: &str, query: &str) -> Vec<Value> {
        let answer = self.answer(view, query).await;
        answer["rows"].as_array().unwrap().clone()
    }

    async fn answer(&self, view: &str, query: &str) -> Value {
        let path = format!("{}/_design/d/_view/{view}?{query}", self.db);
        self.client.get(&path).await.expect(200).json()
    }

    /// Compares the offset of a query with the rows that are there from its first one on.
    async fn check_offset(&mut self) {
        let range = self.range();
        let start: String = range
            .split('&')
            .filter(|part| !part.contains("end") || part.starts_with("descending"))
            .map(|part| format!("&{part}"))
            .collect();
        let skip = self.dice.usize(..3) * 100;
        let asked = format!("reduce=false{range}&skip={skip}&limit=1");
        let answer = self.answer("sum", &asked).await;
        let total = self.ask("sum", "reduce=false").await.len();
        let from_first = self.ask("sum", &format!("reduce=false{start}")).await.len();
        assert_eq!(answer["total_rows"], total, "{asked}");
        assert_eq!(
            answer["offset"],
            (total - from_first + skip).min(total),
            "{asked}"
        );
    }

    /// Compares what a query is answered with its rows.
    async fn check(&mut self) {
        let range = self.range();
        let rows = self.ask("sum", &format!("reduce=false{range}")).await;
        let level = self.dice.usize(..4);
        let grouping = match level {
            0 => "group=false".to_owned(),
            3 => "group=true".to_owned(),
            level => format!("group_level={level}"),
        };
        let mut groups: Vec<(Value, Vec<i64>)> = Vec::new();
        for row in &rows {
            let key = match (level, &row["key"]) {
                (0, _) => Value::Null,
                (1 | 2, Value::Array(parts)) => parts.iter().take(level).cloned().collect(),
                (_, key) => key.clone(),
            };
            let value = row["value"].as_i64().unwrap();
            match groups.last_mut() {
                Some((last, values)) if *last == key => values.push(value),
                _ => groups.push((key, vec![value])),
            }
        }
        let (skip, limit) = (self.dice.usize(..3) / 2, self.dice.usize(1..20));
        for (view, _) in VIEWS {
            let query = format!("{grouping}{range}&skip={skip}&limit={limit}");
            let expected: Vec<Value> = groups
                .iter()
                .map(|(key, values)| json!({"key": key, "value": reduced(view, values)}))
                .skip(skip)
                .take(limit)
                .collect();
            assert_eq!(self.ask(view, &query).await, expected, "{view} {query}");
        }
    }
}

fn reduced(view: &str, values: &[i64]) -> Value {
    let sum: i64 = values.iter().sum();
    match view {
        "count" => json!(values.len()),
        "stats" => json!({
            "sum": sum,
            "count": values.len(),
            "min": values.iter().min(),
            "max": values.iter().max(),
            "sumsqr": values.iter().map(|value| value * value).sum::<i64>(),
        }),
        _ => json!(sum),
    }
}

#[tokio::test]
async fn reductions_follow_each_change_whatever_is_asked() {
    let server = Embedded::start().await;
    let mut world = World::new(&server.client).await;
    world.add(3000).await;
    for round in 0..25 {
        match round % 5 {
            // A block becomes so large that it is divided.
            3 => world.add(700).await,
            4 => world.purge_one().await,
            _ => world.change_some().await,
        }
        for _ in 0..6 {
            world.check().await;
        }
    }
    // The test would show nothing if all rows had been read each time.
    let summaries = summaries(&server);
    assert!(summaries > 10, "{summaries}");
    counted_blocks(&server);

    // A block without rows goes away; the others are right.
    let all: Vec<Value> = world
        .revs
        .iter()
        .take(world.revs.len() - 10)
        .map(|(id, rev)| json!({"_id": id, "_rev": rev, "_deleted": true}))
        .collect();
    world.write(all).await;
    for _ in 0..20 {
        world.check().await;
    }
    server.stop().await;
}

/// Compares the counts of all blocks with the rows that are there, and returns how many blocks there are.
fn counted_blocks(server: &Embedded) -> usize {
    let file = server.data.join("couch.sqlite");
    let conn = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut statement = conn
        .prepare("SELECT view, n, key, id, rows FROM view_blocks ORDER BY view, n, key, id")
        .unwrap();
    let blocks: Vec<(i64, i64, Vec<u8>, String, i64)> = statement
        .query_map([], |row| {
            Ok((
                row.get(0)?,
                row.get(1)?,
                row.get(2)?,
                row.get(3)?,
                row.get(4)?,
            ))
        })
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    for (place, (view, n, key, id, rows)) in blocks.iter().enumerate() {
        let from = |key: &[u8], id: &str| -> i64 {
            conn.query_row(
                "SELECT count(*) FROM view_rows WHERE view = ?1 AND n = ?2 AND (key, id) >= (?3, ?4)",
                rusqlite::params![view, n, key, id],
                |row| row.get(0),
            )
            .unwrap()
        };
        let after = match blocks.get(place + 1) {
            Some((next_view, next_n, key, id, _)) if (next_view, next_n) == (view, n) => {
                from(key, id)
            }
            _ => 0,
        };
        assert_eq!(*rows, from(key, id) - after, "block {place} of {view} {n}");
    }
    blocks.len()
}

#[tokio::test]
async fn offsets_follow_each_change_and_read_few_rows() {
    let server = Embedded::start().await;
    let mut world = World::new(&server.client).await;
    world.add(4000).await;
    for round in 0..20 {
        for _ in 0..6 {
            world.check_offset().await;
        }
        let blocks = counted_blocks(&server);
        // The test would show nothing if the rows were not divided.
        assert!(round == 0 || blocks > 5, "{round}: {blocks}");
        match round % 5 {
            3 => world.add(1200).await,
            4 => world.purge_one().await,
            _ => world.change_some().await,
        }
        // Summaries divide the same rows.
        if round % 3 == 0 {
            world.check().await;
        }
    }
    server.stop().await;
}

fn summaries(server: &Embedded) -> i64 {
    let file = server.data.join("couch.sqlite");
    let conn = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    conn.query_row(
        "SELECT count(*) FROM view_blocks WHERE value IS NOT NULL",
        [],
        |row| row.get(0),
    )
    .unwrap()
}

#[tokio::test]
async fn blocks_go_with_their_views_and_their_database() {
    let server = Embedded::start().await;
    let mut world = World::new(&server.client).await;
    world.add(2500).await;
    assert_eq!(world.ask("count", "").await.len(), 1);
    assert!(summaries(&server) > 0);
    world.client.delete(&world.db).await.expect(200);
    for _ in 0..100 {
        if summaries(&server) == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(summaries(&server), 0);
    server.stop().await;
}

/// Makes `count` documents that each have `bytes` of text, and a view of them that is up to date.
async fn with_texts(client: &Client, count: usize, bytes: usize, reduce: &str) -> String {
    let db = client.fresh("db").await;
    let map = "function (doc) { emit(doc.n, doc.text); }";
    let design = json!({"views": {"v": {"map": map, "reduce": reduce}}});
    client
        .put(&format!("{db}/_design/d"), &design)
        .await
        .expect(201);
    for first in (0..count).step_by(100) {
        let docs: Vec<Value> = (first..count.min(first + 100))
            .map(|n| json!({"_id": format!("doc-{n:06}"), "n": n, "text": "x".repeat(bytes)}))
            .collect();
        let docs = json!({ "docs": docs });
        client
            .post(&format!("{db}/_bulk_docs"), &docs)
            .await
            .expect(201);
    }
    client
        .get(&format!("{db}/_design/d/_view/v?reduce=false&limit=1"))
        .await
        .expect(200);
    db
}

#[tokio::test]
async fn blocks_of_an_earlier_format_are_made_anew() {
    let server = Embedded::start().await;
    let db = with_texts(&server.client, 2500, 10, "_count").await;
    let path = format!("{db}/_design/d/_view/v");
    server.client.get(&path).await.expect(200);
    let data = server.data.clone();
    let _folder = server.stop().await;
    let conn = Connection::open(data.join("couch.sqlite")).unwrap();
    // As format 3 had them, with a summary that is wrong.
    conn.execute_batch(
        "CREATE TABLE earlier (view INTEGER NOT NULL, n INTEGER NOT NULL, key BLOB NOT NULL, id TEXT NOT NULL, \
         emitted TEXT NOT NULL, stamp INTEGER NOT NULL, value TEXT, first TEXT, PRIMARY KEY (view, n, key, id)) \
         STRICT, WITHOUT ROWID; \
         INSERT INTO earlier SELECT view, n, key, id, emitted, stamp, '7', first FROM view_blocks; \
         DROP TABLE view_blocks; ALTER TABLE earlier RENAME TO view_blocks; PRAGMA user_version = 3;",
    )
    .unwrap();
    drop(conn);
    let server = Embedded::over(&data).await;
    for _ in 0..2 {
        let counted = server.client.get(&path).await.expect(200).json();
        assert_eq!(counted["rows"][0]["value"], 2500);
        let query = format!("{path}?reduce=false&startkey=2400&limit=1");
        let answer = server.client.get(&query).await.expect(200).json();
        assert_eq!(
            (&answer["offset"], &answer["total_rows"]),
            (&json!(2400), &json!(2500))
        );
    }
    assert!(counted_blocks(&server) > 2);
    server.stop().await;
}

#[tokio::test]
async fn a_full_disk_does_not_end_queries() {
    let server = Embedded::start().await;
    let db = with_texts(&server.client, 1500, 10, "_count").await;
    let data = server.data.clone();
    let folder = server.stop().await;
    let pages = pages(&data);
    let mut config = Config::new(&data, "admin", "password");
    config.max_pages = Some(pages);
    config.javascript = Some(env!("CARGO_BIN_EXE_embedded-couchdb").into());
    let full = Embedded::with(config, Faults::new()).await;
    let text = json!({"n": -1, "text": "x".repeat(100_000)});
    full.client
        .put(&format!("{db}/more"), &text)
        .await
        .expect(507);
    for _ in 0..2 {
        let answer = full.client.get(&format!("{db}/_design/d/_view/v")).await;
        assert_eq!(answer.expect(200).json()["rows"][0]["value"], 1500);
    }
    full.stop().await;
    drop(folder);
}

fn pages(data: &Path) -> u32 {
    let conn = Connection::open(data.join("couch.sqlite")).unwrap();
    // What lies in the journal counts, too.
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    conn.query_row("PRAGMA page_count", [], |row| row.get(0))
        .unwrap()
}

#[tokio::test]
async fn long_values_are_reduced_in_small_portions() {
    let server = Embedded::start().await;
    // The process that runs functions has 128 MiB; the rows have 100.
    let lengths = "function (keys, values, again) { \
         return again ? sum(values) : values.reduce((a, b) => a + b.length, 0); }";
    let db = with_texts(&server.client, 1500, 70_000, lengths).await;
    for _ in 0..2 {
        let answer = server.client.get(&format!("{db}/_design/d/_view/v")).await;
        assert_eq!(answer.expect(200).json()["rows"][0]["value"], 1500 * 70_000);
    }
    assert!(summaries(&server) > 100);
    server.stop().await;
}

#[tokio::test]
async fn a_function_that_never_ends_is_not_tried_for_each_block() {
    let server = Embedded::start().await;
    let db = with_texts(&server.client, 20_000, 10, "function () { for (;;); }").await;
    let begun = Instant::now();
    let answer = server.client.get(&format!("{db}/_design/d/_view/v")).await;
    assert_eq!(answer.status, 500, "{}", answer.text());
    // A function has five seconds. For each of the forty blocks, they would be minutes.
    assert!(begun.elapsed() < Duration::from_secs(60));
    assert_eq!(summaries(&server), 0);
    server.stop().await;
}
