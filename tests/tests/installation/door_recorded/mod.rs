//! Sends recorded requests to the public door, byte for byte: those of pages of other origins, to odd hosts, to blocked and
//! disappearing instances, to one whose terms await a signature, to flat hosts of apps, and without a database. It compares
//! what a client reads of the answers. Each part that differs on purpose has a line in the table of differences, and is told
//! in docs/json-api.md or docs/gateway.md; a line that nothing needs fails.

mod answer;
mod replay;

use hamlet_tests::database::Database;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use test_kit::eventually;
use time::{Duration, OffsetDateTime};

use self::{
    answer::exchange_bytes,
    replay::{Replay, World, exchanges},
};

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_are_answered_as_recorded() {
    let world = World::start(&[]);
    let domain = world.daemon.domain("pete");
    world.add(&domain, "");
    let mut replay = Replay::of(&world, &domain).await;
    replay.section("CORS and methods", "").await;
    replay.end(15, &["CORS"]);
}

/// The version of terms that hold from a day on.
fn terms_in(days: i64) -> String {
    let day = OffsetDateTime::now_utc() + Duration::days(days);
    let (year, month, day) = day.to_calendar_date();
    format!("2.0.0-{year}{:02}{day:02}", u8::from(month))
}

#[tokio::test(flavor = "multi_thread")]
async fn terms_that_await_a_signature_are_told_as_recorded() {
    const WITHOUT: &str = "terms of service pending, no manager configured";
    const WITH: &str = "terms of service pending, manager configured";
    let world = World::start(&[]);
    let pete = world.daemon.domain("pete");
    world.add(&pete, "--tos 1.0.0-20200101");
    let mut replay = Replay::of(&world, &pete).await;
    let modify = |domain: &str, flag: String| {
        world.run(&format!("instances modify {domain} {flag}"));
    };
    let latest = |days| format!("--tos-latest {}", terms_in(days));
    modify(&pete, latest(-30));
    for exchange in exchanges(WITHOUT) {
        if exchange["what"] == "warnings afterwards" {
            modify(&pete, format!("--tos {}", terms_in(-30)));
        }
        replay.exchange(WITHOUT, &exchange).await;
    }
    replay.end(5, &[WITHOUT]);

    let tess = world.daemon.domain("tess");
    world.add(&tess, "--tos 1.0.0-20200101 --uuid uuid-1");
    let mut replay = Replay::of(&world, &tess).await;
    replay.section(WITH, "login").await;
    for (state, flag) in [
        ("deadline passed", latest(-30)),
        ("deadline in about 13 days", latest(13)),
        ("deadline in 60 days", latest(60)),
        ("same major", "--tos 2.1.0-20200101".to_owned()),
    ] {
        modify(&tess, flag);
        replay.section(WITH, state).await;
    }
    replay.end(42, &[WITH]);
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_hosts_are_answered_as_recorded() {
    let world = World::start(&[]);
    let domain = world.daemon.domain("pete");
    world.add(&domain, "");
    world.add(&world.daemon.domain("olga"), "");
    let mut replay = Replay::of(&world, &domain).await;
    replay.section("odd Host values", "").await;
    replay.end(30, &["odd"]);

    // Load balancers that look for the health send no host with HTTP/1.0.
    for (version, status) in [("1.0", StatusCode::OK), ("1.1", StatusCode::BAD_REQUEST)] {
        let request = format!("GET /status HTTP/{version}\r\nConnection: close\r\n\r\n");
        let page = exchange_bytes(&world.daemon.public, &request).await;
        assert_eq!(page.status, status, "{page:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blocked_instances_are_answered_as_recorded() {
    const WITH_MANAGER: &str = "blocked, manager configured";
    let world = World::start(&[]);
    let block = async |domain: &str, reason: &str| {
        world.run(&format!("instances unblock {domain}"));
        world.until(domain, "").await;
        let flag = match reason {
            "None" => String::new(),
            reason => format!("--reason {reason}"),
        };
        world.run(&format!("instances block {domain} {flag}"));
        let code = match reason {
            "None" => "UNKNOWN",
            reason => reason,
        };
        world.until(domain, code).await;
    };
    let domain = world.daemon.domain("pete");
    world.add(&domain, "");
    let mut replay = Replay::of(&world, &domain).await;
    for reason in [
        "None",
        "PAYMENT_FAILED",
        "LOGIN_FAILED",
        "IMPORTING",
        "MOVING",
        "UNKNOWN",
        "SOMETHING_ELSE",
    ] {
        block(&domain, reason).await;
        let section = format!("blocked, reason {reason}");
        replay.section(&section, "").await;
    }
    replay.end(7 * 21, &["blocked, reason"]);

    let tess = world.daemon.domain("tess");
    world.add(&tess, "--uuid uuid-1");
    let mut replay = Replay::of(&world, &tess).await;
    for reason in ["PAYMENT_FAILED", "UNKNOWN", "LOGIN_FAILED"] {
        block(&tess, reason).await;
        replay.section(WITH_MANAGER, reason).await;
    }
    replay.end(15, &[WITH_MANAGER]);
}

/// Sets a mark of an instance as other software does.
async fn mark(database: &Database, domain: &str, name: &str) {
    let instances = database.plain_documents("global/instances").await;
    let found = instances.into_iter().find(|it| it["domain"] == domain);
    let mut document = found.expect("the instance has a document");
    document[name] = json!(true);
    let id = document["_id"].as_str().unwrap();
    let target = format!("global%2Finstances/{id}");
    let (status, told): (_, Value) = database.call(Method::PUT, &target, Some(document)).await;
    assert!(status.is_success(), "{status}: {told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_that_disappear_are_answered_as_recorded() {
    let database = Database::embedded().await;
    let world = World::start(&[format!("--couchdb={}", database.url())]);
    let domain = world.daemon.domain("pete");
    world.add(&domain, "");
    let mut replay = Replay::of(&world, &domain).await;
    mark(&database, &domain, "deleting").await;
    world.until(&domain, "INSTANCE_DELETING").await;
    replay.section("deleting", "").await;
    mark(&database, &domain, "blocked").await;
    replay.section("blocked and deleting", "").await;
    replay.end(21 + 2, &["deleting", "blocked and"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn flat_hosts_behind_https_are_answered_as_recorded() {
    const SECTION: &str = "production build, flat subdomains";
    let flags = [
        "--instance-scheme=https",
        "--hsts=365d",
        "--passphrase-score=0",
        "--trusted-proxies=127.0.0.1/32",
    ];
    let world = World::start(&flags.map(str::to_owned));
    world.add("wanda.test", "--context-name flat");
    world.run("instances add walt.test --apps home --locale en --context-name flat");
    let mut replay = Replay::of(&world, "wanda.test").await;
    let link = world.daemon.cli().run("instances register-link walt.test");
    let link = link.done().out;
    let (_, token) = link.trim().split_once("registerToken=").unwrap();
    token.clone_into(&mut replay.register_token);
    replay.by_https("wanda-home.test").await;
    for exchange in exchanges(SECTION) {
        if exchange["what"] == "start page after logout" {
            replay.until_logged_out().await;
        }
        replay.exchange(SECTION, &exchange).await;
    }
    replay.end(29, &[SECTION]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_without_its_database_answers_as_recorded() {
    const SECTION: &str = "database unreachable";
    let database = Database::embedded().await;
    let world = World::start(&[format!("--couchdb={}", database.url())]);
    let domain = world.daemon.domain("dbd");
    world.add(&domain, "");
    let mut replay = Replay::of(&world, &domain).await;
    assert_eq!(world.get(&domain, "/status").await.status, StatusCode::OK);
    database.close().await;
    // What is told of the cache follows when changes of hosts are no longer told.
    eventually("the database is missed", async || {
        let told = world.get(&domain, "/status").await;
        let is_missed = told.status == StatusCode::BAD_GATEWAY;
        (is_missed && told.json()["cache"] == "unhealthy").then_some(())
    })
    .await;
    let ready = world.get(&domain, "/readyz").await;
    assert_eq!(ready.status, StatusCode::OK);
    assert!(
        ready.text.contains("the database does not answer"),
        "{ready:?}"
    );
    replay.section(SECTION, "").await;
    replay.end(9, &[SECTION]);
    for host in [&domain, &world.daemon.domain("nobody")] {
        let refused = world.get(host, "/").await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(refused.headers.contains_key("retry-after"), "{refused:?}");
    }
}
