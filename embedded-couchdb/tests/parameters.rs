//! The table of the parameters that CouchDB 3.4.3 knows, route by route, and a walk through it.
//!
//! A parameter that has an effect changes the answer, also if its value is wrong. One without an effect, and one that
//! no server knows, leaves the answer as it is. With `HAMLET_TEST_COUCHDB_URL` the table is held against a real CouchDB
//! too. The answers themselves are compared by `conformance.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    reason = "a failed expectation is the test failing"
)]

mod support;

use serde_json::{Value, json};
use support::{Client, Embedded, mask, real_couchdb};

/// A route with its parameters.
struct Route {
    method: &'static str,
    /// `{db}` stands for the database, `{n}` for a number that no request before had.
    path: &'static str,
    body: Option<&'static str>,
    /// Queries that change the answer.
    effective: &'static [&'static str],
    /// Queries that do not, on one node and with these documents.
    without_effect: &'static [&'static str],
}

const fn get(
    path: &'static str,
    effective: &'static [&'static str],
    without_effect: &'static [&'static str],
) -> Route {
    Route {
        method: "GET",
        path,
        body: None,
        effective,
        without_effect,
    }
}

const fn with_body(
    method: &'static str,
    path: &'static str,
    body: &'static str,
    effective: &'static [&'static str],
    without_effect: &'static [&'static str],
) -> Route {
    Route {
        method,
        path,
        body: Some(body),
        effective,
        without_effect,
    }
}

/// What all listings of documents take, and views.
macro_rules! listing {
    ($($more:expr),*) => {
        &[
            "limit=0",
            "limit=x",
            "skip=1",
            "descending=x",
            "startkey=x",
            "start_key=x",
            "endkey=x",
            "end_key=x",
            "key=%22none%22",
            "keys=[]",
            "keys=5",
            "inclusive_end=x",
            "include_docs=true",
            "conflicts=x",
            "attachments=x",
            "att_encoding_info=x",
            "update_seq=true",
            "reduce=true",
            "reduce=x",
            "group=true",
            "group_level=1",
            "sorted=x",
            "stable=x",
            "stale=x",
            "update=x",
            "partition=x",
            $($more),*
        ]
    };
}

/// What has no effect in listings of documents and in views that are not reduced.
const OF_LISTINGS: &[&str] = &[
    "limit=100",
    "skip=0",
    "descending=false",
    "inclusive_end=true",
    "inclusive_end=false",
    "include_docs=false",
    "conflicts=true",
    "attachments=true",
    "att_encoding_info=true",
    "update_seq=false",
    "reduce=false",
    "group=false",
    "group_level=0",
    "sorted=true",
    "sorted=false",
    "stable=true",
    "stale=ok",
    "update=true",
    "r=2",
    "unknown=1",
    "LIMIT=0",
];

const ROUTES: &[Route] = &[
    get(
        "{db}/_all_docs",
        listing!(
            "startkey_docid=b",
            "endkey_docid=b",
            "start_key_doc_id=b",
            "end_key_doc_id=b"
        ),
        OF_LISTINGS,
    ),
    get("{db}/_design_docs", listing!(), OF_LISTINGS),
    get(
        "{db}/_design/d/_view/m",
        listing!(
            "key=0&startkey_docid=b",
            "startkey=0&endkey=0&endkey_docid=a",
            "limit=268435457"
        ),
        OF_LISTINGS,
    ),
    get(
        "{db}/_design/d/_view/r",
        &[
            "reduce=false",
            "group=true",
            "group_level=1",
            "include_docs=true",
            "conflicts=false",
            "keys=[]",
            "startkey=2",
            "endkey=0",
            "key=1",
            "update_seq=true",
            "limit=0",
            "skip=1",
        ],
        &["descending=true", "sorted=false", "limit=1", "unknown=1"],
    ),
    get(
        "{db}/c",
        &[
            "rev=1-x",
            "rev=x",
            "revs=true",
            "revs_info=true",
            "conflicts=true",
            "deleted_conflicts=true",
            "meta=true",
            "local_seq=true",
            "open_revs=all",
            "open_revs=x",
            "atts_since=x",
            "rev=1-x&latest=true&revs=true",
        ],
        &[
            "revs=x",
            "revs=TRUE",
            "conflicts=false",
            "latest=true",
            "attachments=true",
            "att_encoding_info=true",
            "deleted=true",
            "r=2",
            "open_revs=[]",
            "new_edits=false",
            "unknown=1",
        ],
    ),
    get(
        "{db}/att",
        &[
            "attachments=true",
            "att_encoding_info=true",
            "atts_since=[]",
        ],
        &["attachments=x", "unknown=1"],
    ),
    get(
        "{db}/gone",
        &["deleted=true", "open_revs=all"],
        &["deleted=x"],
    ),
    get(
        "{db}/_local/l",
        &["revs=true", "rev=0-9", "open_revs=all"],
        &[
            "conflicts=true",
            "revs_info=true",
            "local_seq=true",
            "unknown=1",
        ],
    ),
    get(
        "{db}/att/f",
        &["rev=1-x", "rev=x"],
        &["attachments=true", "r=2", "unknown=1"],
    ),
    get(
        "{db}/_changes",
        &[
            "limit=1",
            "since=now",
            "since=5",
            "last-event-id=5",
            "descending=true",
            "include_docs=true",
            "include_docs=true&conflicts=true",
            "style=all_docs",
            "seq_interval=2",
            "seq_interval=x",
            "filter=_design",
            "filter=_doc_ids",
            "filter=_selector",
            "filter=_view",
            "filter=d/f",
            "feed=x",
            "feed=eventsource&timeout=1",
            "feed=continuous&timeout=1",
            "heartbeat=x",
            "Limit=1",
        ],
        &[
            "limit=-1",
            "since=0",
            "style=main_only",
            "filter=",
            "include_docs=x",
            "conflicts=true",
            "attachments=true",
            "att_encoding_info=true",
            "timeout=1",
            "heartbeat=1000",
            "feed=normal",
            "feed=longpoll",
            "view=d/m",
            "doc_ids=[]",
            "unknown=1",
        ],
    ),
    get(
        "{db}/_index",
        &["limit=x", "skip=1"],
        &["limit=10", "unknown=1"],
    ),
    get("{db}", &[], &["revs=true", "unknown=1"]),
    get("{db}/_security", &[], &["unknown=1"]),
    get("{db}/_revs_limit", &[], &["unknown=1"]),
    get("{db}/_design/d/_info", &[], &["unknown=1"]),
    get("/_up", &[], &["unknown=1"]),
    get("/_uuids", &["count=1001"], &["unknown=1"]),
    get(
        "/_all_dbs",
        &[
            "limit=0",
            "startkey=%22zzzz%22",
            "endkey=5",
            "key=5",
            "descending=x",
            "limit=x",
            "skip=x",
            "reduce=true",
            "group=true",
        ],
        &[
            "inclusive_end=true",
            "reduce=false",
            "include_docs=true",
            "conflicts=true",
            "unknown=1",
        ],
    ),
    get("/_session", &[], &["basic=true", "next=/x", "unknown=1"]),
    get(
        "/_scheduler/jobs",
        &["limit=x", "skip=-1"],
        &["limit=1", "unknown=1"],
    ),
    get(
        "/_scheduler/docs",
        &["limit=x", "skip=-1", "states=x"],
        &["states=running", "unknown=1"],
    ),
    with_body(
        "PUT",
        "{db}/new{n}",
        "{}",
        &["rev=x", "w=2", "batch=ok", "new_edits=false"],
        &[
            "w=1",
            "w=0",
            "batch=x",
            "new_edits=true",
            "new_edits=x",
            "r=x",
            "unknown=1",
        ],
    ),
    with_body(
        "POST",
        "{db}",
        r#"{"_id":"post{n}"}"#,
        &["w=2", "batch=ok"],
        &["w=1", "rev=1-x", "new_edits=false", "unknown=1"],
    ),
    with_body(
        "POST",
        "{db}/_bulk_docs",
        r#"{"docs":[{"_id":"bulk{n}"}]}"#,
        &["w=2"],
        &["w=1", "batch=ok", "new_edits=false", "unknown=1"],
    ),
    with_body(
        "PUT",
        "{db}/file{n}/f",
        "{}",
        &["rev=x", "w=2"],
        &["batch=ok", "w=1", "unknown=1"],
    ),
    with_body(
        "POST",
        "{db}/_bulk_get",
        r#"{"docs":[{"id":"c"},{"id":"att"}]}"#,
        &[
            "revs=true",
            "attachments=true",
            "att_encoding_info=true",
            "rev=1-x",
        ],
        &[
            "latest=true",
            "conflicts=true",
            "revs_info=true",
            "meta=true",
            "local_seq=true",
            "unknown=1",
        ],
    ),
    with_body(
        "POST",
        "{db}/_find",
        r#"{"selector":{}}"#,
        &["partition=x"],
        &["limit=1", "unknown=1"],
    ),
    with_body(
        "POST",
        "{db}/_revs_diff",
        r#"{"c":["9-x"]}"#,
        &[],
        &["latest=true", "unknown=1"],
    ),
    with_body(
        "POST",
        "{db}/_all_docs",
        "{}",
        &[
            "limit=1",
            "skip=1",
            "descending=true",
            "include_docs=true",
            "reduce=true",
        ],
        &["limit=100", "unknown=1"],
    ),
];

/// The name of the database.
const NAME: &str = "parameters%2Fwalk";

async fn ask(client: &Client, method: &str, path: &str, body: Option<&str>) -> Value {
    let headers = [
        ("Content-Type", "application/json"),
        ("Accept", "application/json"),
    ];
    let body = body.unwrap_or_default();
    let path = path
        .replace('[', "%5B")
        .replace(']', "%5D")
        .replace('"', "%22");
    let reply = client.call(method, &path, &headers, body.as_bytes()).await;
    let lines: Vec<Value> = reply
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| Value::from(line)))
        .collect();
    let mut answer = match serde_json::from_slice::<Value>(&reply.body) {
        Ok(whole) => json!([reply.status, whole]),
        Err(_) => json!([reply.status, lines]),
    };
    mask(&mut answer);
    answer
}

async fn seed(client: &Client) {
    let db = format!("/{NAME}");
    client.delete(&db).await;
    ask(client, "PUT", &format!("{db}?q=1"), None).await;
    for (n, id) in ["a", "b", "e"].into_iter().enumerate() {
        let doc = json!({"v": n / 2}).to_string();
        ask(client, "PUT", &format!("{db}/{id}"), Some(&doc)).await;
    }
    let text = r#"{"_attachments":{"f":{"content_type":"text/plain","data":"eA=="}}}"#;
    ask(client, "PUT", &format!("{db}/att"), Some(text)).await;
    let design = json!({
        "filters": {"f": "function(doc) { return doc.v > 0 }"},
        "views": {
            "m": {"map": "function(doc) { emit(0, doc.v) }"},
            "r": {"map": "function(doc) { emit(doc.v, 1) }", "reduce": "_count"},
        },
    });
    ask(
        client,
        "PUT",
        &format!("{db}/_design/d"),
        Some(&design.to_string()),
    )
    .await;
    ask(client, "PUT", &format!("{db}/_local/l"), Some("{}")).await;
    let leaves = r#"{"new_edits":false,"docs":[{"_id":"c","_rev":"1-x"},{"_id":"c","_rev":"1-y"},
        {"_id":"c","_rev":"2-z","_revisions":{"start":2,"ids":["z","w"]},"_deleted":true},
        {"_id":"gone","_rev":"1-x","_deleted":true}]}"#;
    ask(client, "POST", &format!("{db}/_bulk_docs"), Some(leaves)).await;
}

async fn walk(client: &Client) -> Vec<String> {
    seed(client).await;
    let mut wrong = Vec::new();
    let mut number = 0;
    for route in ROUTES {
        let mut answer = async |query: &str| {
            number += 1;
            let n = format!("x{number}x");
            let path = route
                .path
                .replace("{db}", &format!("/{NAME}"))
                .replace("{n}", &n);
            let mark = if path.contains('?') { '&' } else { '?' };
            let body = route.body.map(|body| body.replace("{n}", &n));
            let path = format!("{path}{mark}{query}");
            let heard = ask(client, route.method, &path, body.as_deref()).await;
            heard.to_string().replace(&n, "{n}")
        };
        let plain = answer("").await;
        for query in route.effective {
            if answer(query).await == plain {
                wrong.push(format!(
                    "{} {}?{query} has no effect",
                    route.method, route.path
                ));
            }
        }
        for query in route.without_effect {
            let heard = answer(query).await;
            if heard != plain {
                wrong.push(format!(
                    "{} {}?{query} has an effect:\n  {heard}\n  {plain}",
                    route.method, route.path
                ));
            }
        }
    }
    client.delete(&format!("/{NAME}")).await;
    wrong
}

#[tokio::test]
async fn every_parameter_has_the_effect_that_the_table_tells() {
    let server = Embedded::start().await;
    let wrong = walk(&server.client).await;
    server.stop().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn the_table_is_true_of_a_real_couchdb() {
    let Some(client) = real_couchdb() else {
        eprintln!("HAMLET_TEST_COUCHDB_URL names no CouchDB: only the embedded server was asked");
        return;
    };
    let wrong = walk(&client).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
