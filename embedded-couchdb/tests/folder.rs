//! The data folder: locking, format version, full disk, and stopping the program.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

#[path = "support/process.rs"]
mod process;
mod support;

use std::os::unix::fs::PermissionsExt as _;

use std::time::Duration;

use embedded_couchdb::{Config, Error, Server};
use http_body_util::BodyExt as _;
use process::{Program, refused};
use serde_json::{Value, json};

#[tokio::test]
async fn a_folder_in_use_is_refused_with_a_message_of_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(folder.path(), &[]).await;
    let (code, said) = refused(folder.path(), &[]).await;
    assert_eq!(code, 1);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("in use by another process"), "{said}");
    assert!(program.terminate().await.success());
    let again = Program::start(folder.path(), &[]).await;
    assert!(again.terminate().await.success());
}

#[tokio::test]
async fn a_newer_format_is_refused_and_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    assert!(
        Program::start(folder.path(), &[])
            .await
            .terminate()
            .await
            .success()
    );
    let file = folder.path().join("couch.sqlite");
    let conn = rusqlite::Connection::open(&file).unwrap();
    conn.execute_batch("PRAGMA user_version = 99").unwrap();
    drop(conn);
    let (code, said) = refused(folder.path(), &[]).await;
    assert_eq!((code, said.lines().count()), (1, 1), "{said}");
    assert!(said.contains("data format 99"), "{said}");
    let conn = rusqlite::Connection::open(&file).unwrap();
    let format: i64 = conn
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .unwrap();
    assert_eq!(format, 99);
}

#[tokio::test]
async fn an_error_names_a_folder_that_cannot_be_created() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let below = file.join("data");
    let (code, said) = refused(&below, &[]).await;
    assert_eq!((code, said.lines().count()), (1, 1), "{said}");
    assert!(said.contains(below.to_str().unwrap()), "{said}");
    let opened = Server::open(Config::new(&below, "admin", "password")).await;
    assert!(matches!(opened.err(), Some(Error::Folder { .. })));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    // Otherwise a line warns of what others may enter.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::write(
        folder.path().join("couch.sqlite"),
        "this is no database, and long enough to show it",
    )
    .unwrap();
    let (code, said) = refused(folder.path(), &[]).await;
    assert_eq!((code, said.lines().count()), (1, 1), "{said}");
}

#[tokio::test]
async fn credentials_are_required_and_may_come_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut command = process::command(&data, &[]);
    command.env_remove("HAMLET_COUCHDB_PASSWORD");
    let output = command.output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), said.lines().count()),
        (Some(1), 1),
        "{said}"
    );
    assert!(said.contains("HAMLET_COUCHDB_PASSWORD"), "{said}");

    let secret = folder.path().join("secret");
    std::fs::write(&secret, "password\n").unwrap();
    command.env("HAMLET_COUCHDB_PASSWORD_FILE", &secret);
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    let mut out = tokio::io::BufReader::new(child.stdout.take().unwrap());
    tokio::io::AsyncBufReadExt::read_line(&mut out, &mut line)
        .await
        .unwrap();
    let client = support::Client::new(line.trim().strip_prefix("ready http://").unwrap());
    client.get("/_all_dbs").await.expect(200);
    child.kill().await.unwrap();
}

/// With a full disk, simulated by a size limit, writes are refused and reads succeed. With space again, all
/// acknowledged documents exist.
#[tokio::test]
async fn a_full_disk_is_an_error_and_corrupts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(folder.path(), &["--max-pages", "200"]).await;
    let client = &program.client;
    client.put("/db", &Value::Null).await.expect(201);
    client
        .post(
            "/db/_index",
            &json!({"index": {"fields": ["n"]}, "ddoc": "by-n"}),
        )
        .await
        .expect(200);
    let filler = "x".repeat(2000);
    let mut written = Vec::new();
    let refused = loop {
        let id = format!("doc-{:05}", written.len());
        let reply = client
            .put(
                &format!("/db/{id}"),
                &json!({"n": written.len(), "filler": filler}),
            )
            .await;
        if reply.status != 201 {
            break reply;
        }
        written.push(id);
        assert!(written.len() < 10_000, "the disk never filled up");
    };
    assert_eq!(refused.status, 507, "{}", refused.text());
    assert_eq!(
        refused.json()["error"],
        "insufficent_storage",
        "CouchDB's own word"
    );
    // Other writes in the transaction of a refused write are refused too or succeed.
    let batch = json!({"docs": (0..50).map(|n| json!({"_id": format!("late-{n}"), "filler": filler})).collect::<Vec<_>>()});
    client.post("/db/_bulk_docs", &batch).await.expect(507);
    client.get("/db/late-0").await.expect(404);
    check(client, &written).await;
    assert!(program.terminate().await.success());

    let program = Program::start(folder.path(), &[]).await;
    check(&program.client, &written).await;
    program
        .client
        .post("/db/_bulk_docs", &batch)
        .await
        .expect(201);
    assert!(program.terminate().await.success());
    let conn = rusqlite::Connection::open(folder.path().join("couch.sqlite")).unwrap();
    let verdict: String = conn
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(verdict, "ok");
}

/// On a full disk, deletions and the documents of an installation use the room that is kept aside. When enough is
/// deleted, everything is written again.
#[tokio::test]
async fn on_a_full_disk_room_can_be_made() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(folder.path(), &["--max-pages", "3000"]).await;
    let client = &program.client;
    for name in ["big", "small", "global%2Fhamlet-operations"] {
        client
            .put(&format!("/{name}"), &Value::Null)
            .await
            .expect(201);
    }
    let rev = client.put("/small/doc", &json!({})).await.json()["rev"].clone();
    let filler = "x".repeat(1 << 20);
    let mut written = 0;
    while client
        .put(&format!("/big/doc-{written}"), &json!({"filler": filler}))
        .await
        .status
        == 201
    {
        written += 1;
        assert!(written < 100, "the disk never filled up");
    }
    for round in 0..3 {
        client
            .put(&format!("/small/more-{round}"), &json!({}))
            .await
            .expect(507);
        client
            .put(
                &format!("/global%2Fhamlet-operations/{round}"),
                &json!({"work": "destroy"}),
            )
            .await
            .expect(201);
    }
    let rev = rev.as_str().unwrap();
    client
        .delete(&format!("/small/doc?rev={rev}"))
        .await
        .expect(200);
    client.delete("/big").await.expect(200);
    // The documents of a deleted database go step by step.
    let end = std::time::Instant::now() + Duration::from_secs(30);
    while client.put("/small/again", &json!({})).await.status != 201 {
        assert!(std::time::Instant::now() < end, "there is no room again");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(program.terminate().await.success());
}

async fn check(client: &support::Client, written: &[String]) {
    let all = client
        .get("/db/_all_docs?startkey=%22doc-%22&endkey=%22doc-z%22")
        .await
        .expect(200)
        .json();
    let ids: Vec<&str> = all["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, written);
    let query = json!({"selector": {"n": {"$gte": 0}}, "limit": 100_000, "fields": ["_id"]});
    let found = client.post("/db/_find", &query).await.expect(200).json();
    assert_eq!(found["docs"].as_array().unwrap().len(), written.len());
}

#[tokio::test]
async fn open_feeds_do_not_prevent_a_shutdown() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(folder.path(), &[]).await;
    let client = program.client.clone();
    client.put("/db", &Value::Null).await.expect(201);
    let mut feeds = Vec::new();
    for feed in ["longpoll", "continuous&heartbeat=10000", "eventsource"] {
        feeds.push(
            client
                .open("GET", &format!("/db/_changes?feed={feed}"), &[], b"")
                .await
                .unwrap(),
        );
    }
    assert!(program.terminate().await.success());
    for mut feed in feeds {
        // The feed ends with its body or with its connection.
        let end = async { while let Some(Ok(_)) = feed.frame().await {} };
        tokio::time::timeout(Duration::from_secs(5), end)
            .await
            .unwrap();
    }
}
