//! Sends recorded requests to the hosts of apps, and compares status and headers of the answers. What differs on purpose is
//! here, and in docs/apps.md.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed expectation is the test failing"
)]

mod support;

use serde_json::Value;
use support::{
    World,
    browser::{Answer, Visit},
};

/// The host of the instance of the tests.
const INSTANCE: &str = "bob.localhost:8085";
const RECORDED: &str = include_str!("recorded/hosts.json");

/// The status, where it differs.
fn status_instead(what: &str) -> Option<u64> {
    match what {
        // Parts are sent.
        "icon range" => Some(206),
        // There it is the version of each file, so that nobody sees a change.
        "icon if none match" => Some(200),
        _ => None,
    }
}

/// Whether this header is compared.
fn is_compared(what: &str, name: &str) -> bool {
    match name {
        // A version is that of a file's contents.
        "etag" => false,
        // Texts are those of this server, pages hold other tokens, and one text can be compressed in many ways.
        "content-length" => what == "icon" || what == "asset hash",
        // What the file is.
        "content-type" => what != "manifest logged in",
        // So small a file is not made smaller.
        "content-encoding" => what != "app public file drive",
        // Old links lead to the start page, which knows where the owner begins.
        "location" => !["app collect", "app onboarding"].contains(&what),
        _ => true,
    }
}

fn visit(world: &World, exchange: &Value) -> Visit {
    let text = |name: &str| exchange[name].as_str().unwrap();
    let mut visit = world.visit(text("slug"), text("path"));
    if exchange["logged_in"] == true {
        visit = visit.logged_in();
    }
    let headers = exchange["headers"].as_object().unwrap();
    for (name, value) in headers {
        visit = visit.header(name, value.as_str().unwrap());
    }
    visit
}

fn compare(exchange: &Value, answer: &Answer) -> Vec<String> {
    let what = exchange["what"].as_str().unwrap();
    let mut wrong = Vec::new();
    let status = status_instead(what).or(exchange["status"].as_u64());
    if Some(u64::from(answer.status.as_u16())) != status {
        wrong.push(format!("{what}: {} and not {status:?}", answer.status));
    }
    let expected = exchange["response"].as_object().unwrap();
    for (name, expected) in expected {
        let expected = expected.as_str().unwrap();
        let expected = expected
            .replace("<instance>", INSTANCE)
            .replace("<instance, escaped>", &INSTANCE.replace(':', "%3A"))
            // Refusals are JSON:API everywhere.
            .replace("application/json", "application/vnd.api+json");
        let found = answer.header(name);
        // Who takes anything gets JSON and not a bare text.
        let is_json_instead = name == "content-type"
            && answer.status.as_u16() >= 400
            && exchange["headers"].get("Accept").is_none();
        let is_same = found.eq_ignore_ascii_case(&expected);
        if is_compared(what, name) && !is_json_instead && !is_same {
            wrong.push(format!("{what}: {name} is {found:?} and not {expected:?}"));
        }
    }
    if let Some(text) = exchange["text"].as_str()
        && answer.status == 200
        && answer.text() != text
    {
        wrong.push(format!("{what}: {}", answer.text()));
    }
    wrong
}

#[tokio::test]
async fn requests_to_the_hosts_of_apps_are_answered_as_recorded() {
    let world = World::new().await;
    for app in ["home", "drive"] {
        world.install(app).await.unwrap();
    }
    let recorded: Value = serde_json::from_str(RECORDED).unwrap();
    let exchanges = recorded["exchanges"].as_array().unwrap();
    assert!(exchanges.len() > 30);
    let mut wrong = Vec::new();
    for exchange in exchanges {
        let method = exchange["method"].as_str().unwrap().parse().unwrap();
        let answer = visit(&world, exchange).send(method).await;
        wrong.extend(compare(exchange, &answer));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
