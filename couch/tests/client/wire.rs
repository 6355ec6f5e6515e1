//! Tests of the HTTP level: requests, connections, deadlines and malformed responses.

use std::time::Duration;

use couch::{BulkDoc, Couch, CouchConfig, DbName, Error};
use serde_json::{Value, json};

use crate::support::{Reply, ScriptedServer, TestServer};

fn name() -> DbName {
    DbName::instance("cozy1", "io.cozy.files").unwrap()
}

#[tokio::test]
async fn consecutive_calls_share_a_connection() {
    let script =
        ScriptedServer::serve(vec![Reply::Answer(200, r#"{"_id":"a","_rev":"1-a"}"#)]).await;
    let database = script.client().database(&name());
    for _ in 0..20 {
        database.get::<Value>("a").await.unwrap();
    }
    assert_eq!(script.connections(), 1);
    assert_eq!(database.couch().requests(), 20);
}

#[tokio::test]
async fn names_are_one_path_segment_and_no_needless_headers_are_sent() {
    let script = ScriptedServer::serve(vec![Reply::Answer(
        201,
        r#"{"ok":true,"id":"a/b","rev":"1-a"}"#,
    )])
    .await;
    let couch = script.client();
    let database = couch.database(&name());
    database
        .put("a/b", None, &json!({}))
        .await
        .unwrap()
        .committed()
        .unwrap();
    couch.create_database(&name()).await.unwrap();
    let heads = script.heads();
    assert!(
        heads[0].starts_with("put /cozy1%2fio-cozy-files/a%2fb http/1.1"),
        "{}",
        heads[0]
    );
    assert!(
        heads[1].starts_with("put /cozy1%2fio-cozy-files?q=1 http/1.1"),
        "{}",
        heads[1]
    );
    assert!(heads[0].contains("authorization: basic "), "{}", heads[0]);
    assert!(!heads[0].contains("referer"), "{}", heads[0]);
}

#[tokio::test]
async fn a_call_to_a_hanging_server_ends_at_its_deadline() {
    let script = ScriptedServer::serve(vec![Reply::Hang]).await;
    let database = script.client().database(&name());
    let error = database.get::<Value>("a").await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "get document in cozy1/io-cozy-files: the database did not answer within 700ms"
    );
    let error = database.put("a", None, &json!({})).await.unwrap_err();
    assert!(error.is_outcome_unknown() && error.is_retryable());
}

#[tokio::test]
async fn after_a_refused_connection_nothing_was_written() {
    let nobody = test_kit::Nobody::at_loopback();
    let url = format!("http://{}", nobody.address);
    let couch = Couch::connect(&CouchConfig::new(url)).unwrap();
    let error = couch
        .database(&name())
        .put("a", None, &json!({}))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    assert!(error.is_retryable() && !error.is_outcome_unknown());
    assert!(
        couch
            .wait_until_up(Duration::from_millis(300))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn waiting_ends_when_the_server_is_up() {
    let script = ScriptedServer::serve(vec![
        Reply::CutOff,
        Reply::Answer(503, "starting"),
        Reply::Answer(404, r#"{"status":"maintenance_mode"}"#),
    ])
    .await;
    let error = script
        .client()
        .wait_until_up(Duration::from_secs(20))
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Refused { status: 404, .. }),
        "{error}"
    );
    let server = TestServer::embedded().await;
    server
        .couch
        .wait_until_up(Duration::from_secs(20))
        .await
        .unwrap();
}

#[tokio::test]
async fn wrong_credentials_end_the_waiting_at_once() {
    let server = TestServer::embedded().await;
    for settings in [
        CouchConfig::new(&server.url).with_credentials("admin", "wrong"),
        CouchConfig::new(&server.url),
    ] {
        let couch = Couch::connect(&settings).unwrap();
        let error = couch
            .wait_until_up(Duration::from_secs(600))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    }
}

#[tokio::test]
async fn unexpected_responses_lead_to_different_errors() {
    let script = ScriptedServer::serve(vec![
        Reply::Answer(200, "<html>a proxy's page</html>"),
        Reply::Answer(200, "<html>a proxy's page</html>"),
        Reply::Answer(200, "<html>a proxy's page</html>"),
        Reply::CutOff,
        Reply::Answer(413, r#"{"error":"document_too_large","reason":"a"}"#),
        Reply::Answer(403, r#"{"error":"forbidden","reason":"no"}"#),
        Reply::Answer(418, r#"{"error":"teapot","reason":"short and stout"}"#),
    ])
    .await;
    let database = script.client().database(&name());
    let put = async || {
        database
            .put("a", None, &json!({ "secret": "hush" }))
            .await
            .unwrap_err()
    };
    let error = database.get::<Value>("a").await.unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    let error = put().await;
    assert!(
        matches!(error, Error::Corrupt { .. }) && error.is_outcome_unknown(),
        "{error}"
    );
    let error = database
        .bulk(&[BulkDoc::create("a", &json!({})).unwrap()])
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    let error = put().await;
    assert!(
        matches!(error, Error::Unavailable { .. }) && error.is_outcome_unknown(),
        "{error}"
    );
    let error = put().await;
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    let error = put().await;
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    let error = put().await;
    assert_eq!(
        error.to_string(),
        "put document in cozy1/io-cozy-files: the database answered 418 teapot: short and stout"
    );
    assert!(!format!("{error:?}").contains("hush"));
}

#[tokio::test]
async fn a_bulk_write_with_202_is_no_success() {
    let script = ScriptedServer::serve(vec![Reply::Answer(
        202,
        r#"[{"ok":true,"id":"a","rev":"1-a"}]"#,
    )])
    .await;
    let database = script.client().database(&name());
    let docs = [BulkDoc::create("a", &json!({})).unwrap()];
    let error = database
        .bulk(&docs)
        .await
        .unwrap()
        .all_committed()
        .unwrap_err();
    let Error::Bulk { failure, .. } = &error else {
        panic!("{error}");
    };
    assert!(failure.contested && failure.failed.is_empty());
    assert!(error.is_retryable());
}

#[tokio::test]
async fn a_document_without_a_row_in_the_response_has_failed() {
    let script = ScriptedServer::serve(vec![Reply::Answer(201, "[]")]).await;
    let database = script.client().database(&name());
    let docs = [BulkDoc::create("a", &json!({})).unwrap()];
    assert!(database.bulk(&docs).await.unwrap().all_committed().is_err());
}

#[test]
fn credentials_in_the_url_are_never_shown() {
    let config = CouchConfig::new("http://admin:hu%3Ash@127.0.0.1:5984");
    let shown = format!("{config:?}{:?}", Couch::connect(&config).unwrap());
    assert!(
        !shown.contains("hu:sh") && !shown.contains("hu%3Ash"),
        "{shown}"
    );
    let config = CouchConfig::new("http://127.0.0.1:5984").with_credentials("admin", "hu:sh");
    assert!(!format!("{config:?}").contains("hu:sh"));
}

#[test]
fn invalid_settings_are_reported_by_name() {
    let refused = |config: CouchConfig| match Couch::connect(&config).unwrap_err() {
        Error::Config { setting, .. } => setting,
        other => panic!("{other}"),
    };
    for url in [
        "",
        "localhost:5984",
        "ftp://h",
        "http://h/path",
        "http://h/?q",
        "http://h/#f",
    ] {
        assert_eq!(refused(CouchConfig::new(url)), "url", "{url}");
    }
    assert_eq!(refused(CouchConfig::new("http://admin@h")), "url");
    assert_eq!(
        refused(CouchConfig::new("http://h").with_credentials("a:b", "c")),
        "user"
    );
    let mut config = CouchConfig::new("http://h");
    config.q = 0;
    assert_eq!(refused(config.clone()), "q");
    config.q = 1;
    config.call_timeout = Duration::ZERO;
    assert_eq!(refused(config), "call_timeout");
}

const CHILD_URL: &str = "COUCH_TEST_CHILD_URL";

#[tokio::test]
async fn proxy_variables_of_the_environment_are_ignored() {
    let script = ScriptedServer::serve(vec![Reply::Answer(200, "[]")]).await;
    let url = script.url.clone();
    let status = tokio::task::spawn_blocking(move || {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "wire::child_behind_a_proxy"])
            .env(CHILD_URL, url)
            .env("http_proxy", "http://127.0.0.1:9")
            .env("HTTP_PROXY", "http://127.0.0.1:9")
            .env("ALL_PROXY", "http://127.0.0.1:9")
            .env_remove("no_proxy")
            .env_remove("NO_PROXY")
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap()
    })
    .await
    .unwrap();
    assert!(status.success());
    assert_eq!(script.heads().len(), 2);
}

#[tokio::test]
#[ignore = "run by `proxy_variables_of_the_environment_are_ignored`"]
async fn child_behind_a_proxy() {
    let Ok(url) = std::env::var(CHILD_URL) else {
        return;
    };
    Couch::connect(&CouchConfig::new(url))
        .unwrap()
        .up()
        .await
        .unwrap();
}
