//! Sends the recorded requests of an existing command line to the admin door, and compares status, content type, fields and
//! types of the answers. What differs on purpose is in one table here, and in docs/json-api.md.

use std::{collections::BTreeSet, fs, ops::RangeInclusive};

use hamlet_tests::{
    admin_door::{AdminDoor, Reply},
    daemon::Options,
};
use reqwest::Method;
use serde_json::{Map, Value};

const RECORDED: &str = include_str!("../../data/recorded-admin-exchanges.json");

/// How an answer differs from the recorded one.
#[derive(Clone, Copy, Debug)]
enum Instead {
    /// It is this refusal.
    Refused(u16, &'static str),
    /// The attribute has this value, in JSON; null when it is not there.
    Has(&'static str, &'static str),
    /// The body is this JSON.
    Body(&'static str),
    /// The request is sent with the second text in place of the first.
    Sent(&'static str, &'static str),
}

use Instead::{Body, Has, Refused, Sent};

/// The differences, by the numbers of the commands.
const DIFFERENCES: &[(RangeInclusive<u64>, Instead)] = &[
    // A passphrase does not go with other ways in.
    (2..=2, Sent("&MagicLink=true", "")),
    (2..=2, Sent("FranceConnectID=fc-1", "FranceConnectID=")),
    (2..=16, Has("magic_link", "null")),
    (2..=29, Has("franceconnect_id", "null")),
    // The sponsors are not lost.
    (2..=2, Has("sponsorships", r#"["a","b"]"#)),
    (15..=16, Has("sponsorships", r#"["a","b"]"#)),
    // Languages and time zones have to exist.
    (4..=4, Refused(422, "INVALID_FIELD")),
    (10..=10, Refused(422, "INVALID_FIELD")),
    (24..=24, Refused(422, "INVALID_FIELD")),
    (27..=29, Has("locale", r#""fr""#)),
    (47..=47, Body(r#"{"count":6}"#)),
    // A reason goes with the block.
    (18..=19, Has("blocking_reason", r#""UNKNOWN""#)),
    (21..=29, Has("blocking_reason", "null")),
    // The mark of a destruction is set by destroying.
    (22..=22, Refused(422, "INVALID_FIELD")),
    // The command named another instance than its user, which does not exist.
    (32..=32, Refused(404, "INSTANCE_NOT_FOUND")),
    // This konnector is not among the apps of the test.
    (41..=41, Refused(404, "APP_NOT_FOUND")),
    // Hamlet has two indexes of its own, and the recorded directory was made at the public door.
    (
        70..=70,
        Body(r#"{"used":"0","versions_count":"1","doc_count":17}"#),
    ),
];

/// Attributes that the original tells and that are secret.
const SECRET: [&str; 4] = [
    "passphrase_hash",
    "session_secret",
    "oauth_secret",
    "cli_secret",
];

#[tokio::test(flavor = "multi_thread")]
async fn existing_command_lines_are_answered_as_recorded() {
    let place = tempfile::tempdir().unwrap();
    let apps = place.path().join("apps");
    let home = apps.join("home");
    fs::create_dir_all(&home).unwrap();
    // The version of the recorded app.
    let manifest = r#"{"name": "Home", "slug": "home", "type": "webapp", "version": "1.0.0", "editor": "Tests"}"#;
    fs::write(home.join("manifest.webapp"), manifest).unwrap();
    fs::write(
        home.join("index.html"),
        "<!doctype html><title>Home</title>",
    )
    .unwrap();
    let daemon = Options::new(&place.path().join("data"))
        .flag(format!("--app-folder={}", apps.display()))
        // The recorded passphrase is easy to guess.
        .flag("--passphrase-score=0")
        .start();
    let door = AdminDoor::of(&daemon);
    let recorded: Value = serde_json::from_str(RECORDED).unwrap();
    let mut wrong = Vec::new();
    let mut count = 0;
    for command in recorded["commands"].as_array().unwrap() {
        let number = command["n"].as_u64().unwrap();
        let instead: Vec<Instead> = DIFFERENCES
            .iter()
            .filter(|(of, _)| of.contains(&number))
            .map(|(_, instead)| *instead)
            .collect();
        for exchange in command["exchanges"].as_array().unwrap() {
            let reply = send(&door, exchange, &instead).await;
            let mut compared = Compared {
                place: format!("{number}: {}", command["command"]),
                instead: &instead,
                wrong: &mut wrong,
            };
            compared.reply(&reply, exchange);
            count += 1;
        }
    }
    assert!(count > 70, "{count}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn send(door: &AdminDoor, exchange: &Value, instead: &[Instead]) -> Reply {
    let method = Method::from_bytes(exchange["method"].as_str().unwrap().as_bytes()).unwrap();
    let mut target = exchange["target"].as_str().unwrap().to_owned();
    for instead in instead {
        if let Sent(recorded, sent) = instead {
            target = target.replace(recorded, sent);
        }
    }
    let mut request = door.request(method, &target);
    if let Some(body) = exchange.get("body") {
        request = request
            .header("content-type", "application/json")
            .body(body.to_string());
    }
    door.send(request).await
}

struct Compared<'a> {
    place: String,
    instead: &'a [Instead],
    wrong: &'a mut Vec<String>,
}

impl Compared<'_> {
    fn check(&mut self, is_right: bool, told: impl FnOnce() -> String) {
        if !is_right {
            self.wrong.push(format!("{}: {}", self.place, told()));
        }
    }

    fn reply(&mut self, reply: &Reply, exchange: &Value) {
        for secret in SECRET {
            self.check(!reply.text.contains(secret), || format!("shows {secret}"));
        }
        let refused = self.instead.iter().find_map(|instead| match instead {
            Refused(status, code) => Some((*status, *code)),
            Has(..) | Body(_) | Sent(..) => None,
        });
        if let Some((status, code)) = refused {
            let is_told = reply.status.as_u16() == status && reply.code() == code;
            self.check(is_told, || format!("is not {status} {code} but {reply:?}"));
            return;
        }
        let status = exchange["status"].as_u64().unwrap();
        if u64::from(reply.status.as_u16()) != status {
            self.check(false, || format!("is not {status} but {reply:?}"));
            return;
        }
        let kind = exchange["content_type"]
            .as_str()
            .map(|kind| kind.split(';').next().unwrap());
        // An empty body has no type.
        if status != 204 {
            self.check(reply.kind.as_deref() == kind, || {
                format!("has the type {:?}", reply.kind)
            });
        }
        let body = self.instead.iter().find_map(|instead| match instead {
            Body(body) => Some(serde_json::from_str(body).unwrap()),
            Has(..) | Refused(..) | Sent(..) => None,
        });
        match body.as_ref().unwrap_or(&exchange["response"]) {
            Value::Null => self.check(reply.text.is_empty(), || "has a body".to_owned()),
            Value::String(_) => self.check(!reply.text.is_empty(), || "has no body".to_owned()),
            expected => self.document(&reply.json(), expected),
        }
    }

    fn document(&mut self, found: &Value, expected: &Value) {
        if let Some(errors) = expected.get("errors") {
            return self.errors(&found["errors"], errors);
        }
        match &expected["data"] {
            Value::Null => self.same("body", found, expected),
            Value::Array(resources) => {
                let found_resources = found["data"].as_array().unwrap();
                self.resource(&found_resources[0], &resources[0]);
                let told = &found["meta"]["count"];
                self.check(*told == found_resources.len(), || {
                    format!("counts {told}, not {}", found_resources.len())
                });
            }
            resource => self.resource(&found["data"], resource),
        }
    }

    fn errors(&mut self, found: &Value, expected: &Value) {
        for member in ["status", "title", "source"] {
            let (found, expected) = (&found[0][member], &expected[0][member]);
            self.check(found == expected, || format!("{member} is {found}"));
        }
        for member in ["detail", "code"] {
            let text = &found[0][member];
            self.check(text.is_string(), || format!("{member} is {text}"));
        }
    }

    fn resource(&mut self, found: &Value, expected: &Value) {
        let names: BTreeSet<&String> = found.as_object().unwrap().keys().collect();
        let wanted: BTreeSet<&String> = expected.as_object().unwrap().keys().collect();
        self.check(names == wanted, || format!("has the members {names:?}"));
        let mut attributes: Map<String, Value> =
            expected["attributes"].as_object().unwrap().clone();
        attributes.retain(|name, _| !SECRET.contains(&name.as_str()));
        for instead in self.instead {
            if let Has(name, value) = instead {
                let value: Value = serde_json::from_str(value).unwrap();
                if value.is_null() {
                    attributes.remove(*name);
                } else {
                    attributes.insert((*name).to_owned(), value);
                }
            }
        }
        self.same("attributes", &found["attributes"], &attributes.into());
        self.same("type", &found["type"], &expected["type"]);
        let id = found["id"].as_str().unwrap();
        let path = &found["links"]["self"];
        self.check(*path == format!("/instances/{id}"), || path.to_string());
        let rev = found["meta"]["rev"].as_str().unwrap_or_default();
        self.check(rev.contains('-'), || format!("has the revision {rev:?}"));
    }

    fn same(&mut self, what: &str, found: &Value, expected: &Value) {
        match (found, expected) {
            (Value::Object(found), Value::Object(expected)) => {
                for name in found.keys().filter(|name| !expected.contains_key(*name)) {
                    self.check(false, || format!("{what} has more: {name}"));
                }
                for (name, expected) in expected {
                    let found = found.get(name).unwrap_or(&Value::Null);
                    self.same(&format!("{what}.{name}"), found, expected);
                }
            }
            (Value::String(_), Value::String(mask)) if mask.starts_with('<') => {}
            _ => self.check(found == expected, || {
                format!("{what} is {found} and not {expected}")
            }),
        }
    }
}
