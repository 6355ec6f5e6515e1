//! Plain HTTP through the public door: pages for people, JSON for programs, refusals for the malformed.

use http::Request;

use hamlet_proto::hamlet::instance::v1::{Operator, resolve_host_response::HostState};
use prost_types::Timestamp;
use test_kit::fake::active_instance;

use crate::support::{Answer, World, http};

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

async fn get(world: &World, url: &str, accept: &str, language: &str) -> Answer {
    let mut request = Request::get(format!("http://{url}"));
    for (name, value) in [("accept", accept), ("accept-language", language)] {
        if !value.is_empty() {
            request = request.header(name, value);
        }
    }
    world
        .client()
        .await
        .request(request.body(()).unwrap())
        .await
}

async fn town() -> World {
    let world = World::new().await;
    world.directory.block("blocked.example", "");
    world.directory.block("unpaid.example", "PAYMENT_FAILED");
    world.directory.delete("going.example");
    world
        .directory
        .block("late.example", "Invoice 42 <unpaid> & overdue");
    let mut deleted = active_instance("deleted.example");
    deleted.set_state(HostState::Deleted);
    deleted.purge_time = Some(Timestamp {
        seconds: 1_798_553_100,
        nanos: 0,
    });
    deleted.operator = Some(Operator {
        name: "The school".to_owned(),
        contact: "help@school.example".to_owned(),
        link: "https://school.example/help".to_owned(),
    });
    world.directory.set("deleted.example", deleted);
    let mut app = active_instance("blocked.example");
    app.app_slug = "drive".to_owned();
    app.set_state(HostState::Blocked);
    world.directory.set("drive.blocked.example", app);
    let mut app = active_instance("new.example");
    app.app_slug = "drive".to_owned();
    app.onboarding = true;
    app.tenant.as_mut().unwrap().url = "http://new.example/".to_owned();
    world.directory.set("drive.new.example", app);
    let mut old = active_instance("old.example");
    old.redirect_domain = "bücher.example:8080".to_owned();
    world.directory.set("old.example", old);
    world
}

#[tokio::test]
async fn every_state_has_its_answer_for_people_and_for_programs() {
    let world = town().await;
    for (url, status, code, title) in [
        (
            "alice.example/else",
            404,
            "NO_SUCH_PATH",
            "There is nothing here",
        ),
        (
            "nobody.example/",
            404,
            "INSTANCE_NOT_FOUND",
            "There is nobody at this address",
        ),
        (
            "going.example/any",
            404,
            "INSTANCE_DELETING",
            "This instance is being removed",
        ),
        (
            "blocked.example/any",
            503,
            "UNKNOWN",
            "This instance is blocked",
        ),
        (
            "late.example/",
            503,
            "UNKNOWN",
            "The reason given: Invoice 42 &lt;unpaid&gt; &amp; overdue",
        ),
        (
            "unpaid.example/",
            402,
            "PAYMENT_FAILED",
            "a payment is missing",
        ),
    ] {
        let page = get(&world, url, BROWSER, "en").await;
        assert_eq!(page.http_status, status, "{url}");
        let html = page.text();
        assert!(html.contains(title), "{url}: {html}");
        assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
        assert_eq!(page.headers["x-content-type-options"], "nosniff");
        assert_eq!(page.headers["referrer-policy"], "no-referrer");
        assert_eq!(page.headers["content-language"], "en");
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'; img-src 'self'; style-src 'sha256-"),
            "{policy}"
        );
        // Nothing comes from elsewhere.
        let links = html.matches("href=").count();
        assert_eq!(
            html.matches("href=\"/favicon.svg\"").count(),
            links,
            "{html}"
        );
        assert!(
            !html.contains("<script") && !html.contains("src="),
            "{html}"
        );

        for (accept, content_type) in [
            ("*/*", "application/json"),
            ("application/json", "application/json"),
            ("application/vnd.api+json", "application/vnd.api+json"),
        ] {
            let answer = get(&world, url, accept, "").await;
            assert_eq!(answer.http_status, status);
            assert_eq!(answer.headers["content-type"], content_type);
            let document: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            let error = &document["errors"][0];
            assert_eq!(error["status"], status.to_string());
            assert_eq!(error["code"], code);
        }
    }
}

#[tokio::test]
async fn a_free_blocking_reason_reaches_the_owner_and_programs() {
    let world = town().await;
    let answer = get(&world, "late.example/", "application/json", "").await;
    let document: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let detail = document["errors"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("Invoice 42 <unpaid> & overdue"), "{detail}");
}

#[tokio::test]
async fn an_instance_that_was_deleted_softly_says_until_when_and_by_whom_it_can_be_brought_back() {
    let world = town().await;
    let page = get(&world, "deleted.example/", BROWSER, "en").await;
    assert_eq!(page.http_status, 404);
    let html = page.text();
    for told in [
        "This instance was deleted",
        "until 2026-12-29 14:05 UTC",
        "<a href=\"https://school.example/help\" rel=\"noreferrer\">The school</a>",
        "<a href=\"mailto:help@school.example\">help@school.example</a>",
    ] {
        assert!(html.contains(told), "{told}: {html}");
    }
    let plain = get(&world, "deleted.example/", "text/plain", "en").await;
    let end = "\n\nThe school · help@school.example · https://school.example/help\n";
    assert!(plain.text().ends_with(end), "{}", plain.text());
    let answer = get(&world, "deleted.example/", "application/json", "en").await;
    let document: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(document["errors"][0]["code"], "INSTANCE_DELETED");
}

#[tokio::test]
async fn browsers_find_the_icon_of_every_page() {
    let world = town().await;
    for url in [
        "alice.example/favicon.svg",
        "blocked.example/favicon.ico",
        "drive.blocked.example/favicon.ico",
    ] {
        let icon = get(&world, url, "image/*", "").await;
        assert_eq!(icon.http_status, 200, "{url}");
        assert_eq!(icon.headers["content-type"], "image/svg+xml");
    }
}

#[tokio::test]
async fn the_app_of_an_instance_without_an_owner_leads_to_its_start_page() {
    let world = town().await;
    let led = get(&world, "drive.new.example/x?y=z", BROWSER, "").await;
    assert_eq!(led.http_status, 302);
    assert_eq!(led.headers["location"], "http://new.example/");
}

#[tokio::test]
async fn pages_speak_the_readers_language_and_then_the_instances() {
    let world = town().await;
    for (language, words) in [
        ("fr-CA,en;q=0.5", "Cette instance est bloquée"),
        ("de", "Diese Instanz ist gesperrt"),
        ("es", "Esta instancia está bloqueada"),
        ("ja", "このインスタンスは停止されています"),
        ("nl", "Deze instantie is geblokkeerd"),
        ("ru", "Этот экземпляр заблокирован"),
        ("vi", "Thực thể này đang bị khóa"),
        ("en;q=0.1,xx", "This instance is blocked"),
        // The instance's own locale is French.
        ("", "Cette instance est bloquée"),
        ("xx", "Cette instance est bloquée"),
    ] {
        let page = get(&world, "blocked.example/", BROWSER, language)
            .await
            .text();
        assert!(page.contains(words), "{language}: {page}");
    }
    let unknown = get(&world, "nobody.example/", BROWSER, "").await.text();
    assert!(unknown.contains("<html lang=\"en\">"), "{unknown}");
}

#[tokio::test]
async fn without_accept_the_root_is_for_people_and_the_rest_for_programs() {
    let world = town().await;
    let kind = |answer: Answer| answer.headers["content-type"].to_str().unwrap().to_owned();
    assert_eq!(
        kind(get(&world, "blocked.example/", "", "").await),
        "text/html; charset=utf-8"
    );
    assert_eq!(
        kind(get(&world, "drive.blocked.example/x", "", "").await),
        "text/html; charset=utf-8"
    );
    assert_eq!(
        kind(get(&world, "alice.example/nothing/x", "", "").await),
        "application/json"
    );
    assert_eq!(
        kind(get(&world, "blocked.example/", "text/plain", "").await),
        "text/plain; charset=utf-8"
    );
}

#[tokio::test]
async fn a_former_address_leads_to_the_new_one_with_path_and_query() {
    let world = town().await;
    let answer = get(&world, "old.example/a/b?c=d", BROWSER, "").await;
    assert_eq!(answer.http_status, 308);
    assert_eq!(
        answer.headers["location"],
        "//xn--bcher-kva.example:8080/a/b?c=d"
    );
    let twisted = get(&world, "old.example//evil.example/", BROWSER, "").await;
    assert_eq!(
        twisted.headers["location"],
        "//xn--bcher-kva.example:8080//evil.example/"
    );
}

#[tokio::test]
async fn a_page_can_be_asked_for_its_head() {
    let world = town().await;
    let head = Request::head("http://alice.example/else").body(()).unwrap();
    let answer = world.client().await.request(head).await;
    assert_eq!(answer.http_status, 404);
    assert!(answer.body.is_empty() && answer.headers["content-length"] != "0");
}

#[tokio::test]
async fn without_the_instance_service_people_are_asked_to_come_back() {
    let world =
        World::with(|config| "http://127.0.0.1:9".clone_into(&mut config.instance_service)).await;
    let page = get(&world, "alice.example/", BROWSER, "en").await;
    assert_eq!(page.http_status, 503);
    assert!(page.headers.contains_key("retry-after"));
    assert!(page.text().contains("try again in a moment"));
}

#[tokio::test]
async fn http_1_is_spoken_on_the_same_port() {
    let world = town().await;
    let answer = http(
        world.public,
        b"GET /favicon.svg HTTP/1.1\r\nHost: ALICE.example.:8080\r\nAccept: text/html\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // An absolute target is as good as a host that agrees with it.
    let answer = http(
        world.public,
        b"GET http://alice.example/favicon.svg HTTP/1.1\r\nHost: alice.example\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn what_names_no_host_or_two_is_malformed() {
    let world = town().await;
    let long = format!("Host: {}.example\r\n", "a".repeat(300));
    for head in [
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nHost: alice.example\r\nHost: alice.example\r\n",
        "GET http://bob.example/ HTTP/1.1\r\nHost: alice.example\r\n",
        "GET / HTTP/1.1\r\nHost: user@alice.example\r\n",
        "GET http://user:pass@alice.example/ HTTP/1.1\r\nHost: alice.example\r\n",
        "GET / HTTP/1.1\r\nHost: b\u{fc}cher.example\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n",
        "GET / HTTP/1.1\r\nHost: alice.example/path\r\n",
        "GET / HTTP/1.1\r\nHost: alice.example:port\r\n",
        &format!("GET / HTTP/1.1\r\n{long}"),
    ] {
        let answer = http(
            world.public,
            format!("{head}Connection: close\r\n\r\n").as_bytes(),
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{head}: {answer}");
    }
    assert_eq!(world.directory.questions(), 0);
}

#[tokio::test]
async fn a_head_without_end_is_cut_off() {
    let world = town().await;
    let endless = format!(
        "GET / HTTP/1.1\r\nHost: alice.example\r\nx: {}\r\n\r\n",
        "a".repeat(40_000)
    );
    let answer = http(world.public, endless.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}
