#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed expectation is the test failing"
)]

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use serde_json::Value;

use super::{Caller, Closed, Group, Passage};
use crate::directory::{HostEntry, InstanceState};

fn observed() -> Value {
    serde_json::from_str(include_str!("observed.json")).unwrap()
}

fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().unwrap().iter();
    list.map(|it| it.as_str().unwrap().to_owned()).collect()
}

fn entry(state: InstanceState, by_others: bool) -> HostEntry {
    HostEntry::of_state(state, by_others)
}

fn blocked(reason: &str, by_others: bool) -> HostEntry {
    let reason = reason.into();
    entry(InstanceState::Blocked { reason }, by_others)
}

fn passage(path: &str, is_app_host: bool) -> Passage {
    Passage::to_backend(path, is_app_host, &InstanceState::Active, &HeaderMap::new())
}

/// A path of a group, or of a list in words: `/auth/*`, `app hosts, robots.txt included`.
fn request(text: &str) -> (String, bool) {
    if text.starts_with("app ") {
        return ("/any".to_owned(), true);
    }
    let path = text.split_whitespace().next().unwrap();
    (
        path.replace('*', "x").trim_end_matches(',').to_owned(),
        false,
    )
}

#[test]
fn a_block_of_other_software_closes_the_groups_that_were_observed() {
    let blocked = blocked("UNKNOWN", true);
    for group in observed()["groups"].as_array().unwrap() {
        let is_closed = texts(&group["gates"]).contains(&"blocked".to_owned());
        for text in texts(&group["paths"]) {
            let (path, is_app_host) = request(&text);
            let below = format!("{}/below", path.trim_end_matches('/'));
            let mut paths = vec![path.clone()];
            if path != "/" {
                paths.push(below);
            }
            for path in paths {
                let closed = passage(&path, is_app_host).closed(&blocked);
                assert_eq!(closed.is_some(), is_closed, "{path}");
            }
        }
    }
    for text in texts(&observed()["not_gated_when_blocked"]) {
        let (path, _) = request(&text);
        assert_eq!(passage(&path, false).closed(&blocked), None, "{path}");
    }
}

#[test]
fn a_deletion_of_other_software_closes_the_groups_that_were_observed() {
    let deleting = entry(InstanceState::Deleting, true);
    for group in observed()["groups"].as_array().unwrap() {
        let is_closed = texts(&group["gates"]).contains(&"deleting".to_owned());
        for text in texts(&group["paths"]) {
            let (path, is_app_host) = request(&text);
            let closed = passage(&path, is_app_host).closed(&deleting);
            assert_eq!(closed.is_some(), is_closed, "{path}");
        }
    }
    for text in texts(&observed()["deleting"]["closed"]) {
        let (path, is_app_host) = request(&text);
        assert!(
            passage(&path, is_app_host).closed(&deleting).is_some(),
            "{text}"
        );
    }
    assert!(passage("/robots.txt", true).closed(&deleting).is_some());
    for text in texts(&observed()["deleting"]["open"]) {
        let (path, is_app_host) = request(&text);
        if path.starts_with('/') {
            assert_eq!(
                passage(&path, is_app_host).closed(&deleting),
                None,
                "{text}"
            );
        }
    }
}

#[test]
fn the_reason_decides_as_was_observed() {
    let rows = observed()["reasons"].clone();
    let passes = |when: &str| {
        let row = rows.as_array().unwrap().iter();
        let row = row.clone().find(|row| row["when"] == when);
        row.unwrap()["passes"].as_bool().unwrap()
    };
    for reason in ["IMPORTING", "MOVING"] {
        let blocked = blocked(reason, true);
        assert!(passes("IMPORTING or MOVING and path under /move/"));
        assert_eq!(passage("/move/importing", false).closed(&blocked), None);
        assert!(!passes("IMPORTING or MOVING"));
        assert_eq!(
            passage("/files", false).closed(&blocked),
            Some(Closed::Moving)
        );
        assert_eq!(passage("/", true).closed(&blocked), Some(Closed::Moving));
    }
    for reason in ["LOGIN_FAILED", "PAYMENT_FAILED", "UNKNOWN", "anything"] {
        let blocked = blocked(reason, true);
        assert_eq!(
            passage("/move/x", false).closed(&blocked),
            Some(Closed::State)
        );
        assert_eq!(passage("/robots.txt", true).closed(&blocked), None);
    }
    assert!(passes("account clean-up window and konnector token"));
    let konnector = Passage::Backend(Group::Api, Caller::Konnector);
    assert_eq!(konnector.closed(&blocked("MOVING", true)), None);
    assert_eq!(
        konnector.closed(&blocked("LOGIN_FAILED", true)),
        Some(Closed::State)
    );
    assert_eq!(
        konnector.closed(&blocked("MOVING", false)),
        Some(Closed::State)
    );
}

#[test]
fn what_hamlet_has_set_closes_everything() {
    let states = [
        InstanceState::Deleting,
        InstanceState::Deleted { until: None },
        InstanceState::Blocked {
            reason: "IMPORTING".into(),
        },
    ];
    for state in states {
        for path in [
            "/",
            "/files/1",
            "/settings",
            "/move/importing",
            "/status",
            "/assets/x",
            "/robots.txt",
        ] {
            for is_app_host in [false, true] {
                let closed = passage(path, is_app_host).closed(&entry(state.clone(), false));
                assert_eq!(closed, Some(Closed::State), "{path} {state:?}");
            }
        }
        let by_others = entry(state, true);
        assert_eq!(Passage::Active.closed(&by_others), Some(Closed::State));
        assert_eq!(Passage::Free.closed(&by_others), None);
    }
    assert_eq!(
        passage("/", false).closed(&entry(InstanceState::Active, false)),
        None
    );
}

#[test]
fn a_path_means_what_a_lenient_server_may_read() {
    let blocked = blocked("UNKNOWN", true);
    for path in [
        "//files",
        "/%66iles/1",
        "/settings/../files",
        "/settings/%2e%2e/files",
        "/settings/..%2ffiles",
        "/./auth/login",
        "/settings/..",
        "/\\files",
    ] {
        assert!(passage(path, false).closed(&blocked).is_some(), "{path}");
    }
    assert_eq!(passage("/filesystem", false).closed(&blocked), None);
    assert_eq!(passage("/settings/files", false).closed(&blocked), None);
}

#[test]
fn the_token_of_a_konnector_is_known_by_its_audience() {
    use base64::Engine as _;
    let token = |claims: &str| {
        let part = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims);
        let mut headers = HeaderMap::new();
        let value = HeaderValue::try_from(format!("Bearer e30.{part}.x")).unwrap();
        headers.insert(AUTHORIZATION, value);
        let state = InstanceState::Blocked {
            reason: "MOVING".into(),
        };
        Passage::to_backend("/data/x", false, &state, &headers)
    };
    let konnector = Passage::Backend(Group::Api, Caller::Konnector);
    assert_eq!(token(r#"{"aud":["konn"]}"#), konnector);
    assert_eq!(token(r#"{"aud":"konn"}"#), konnector);
    for other in [r#"{"aud":["app"]}"#, "{}", "x", ""] {
        assert_eq!(token(other), passage("/data/x", false), "{other}");
    }
}
