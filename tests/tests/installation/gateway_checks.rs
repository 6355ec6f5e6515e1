//! Checks of the original's doors, in flat mode and behind a proxy that ends TLS as a production build is: each is asked here,
//! and compared part by part. Each part that differs on purpose has a line in the table of differences, with the reason; a
//! line that nothing needs fails.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hamlet_tests::{
    admin_door::AdminDoor,
    browser::Page,
    cluster::{Cluster, Part},
    daemon::{Daemon, Options},
    programs::root,
    raw,
};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use test_kit::eventually;

const CHECKS: &str = include_str!("../../data/gateway-checks.json");
/// Check, exchange, part, what the original answers, what is answered here, and why.
const DIFFERENT: &str = include_str!("../../data/gateway-checks-differences.txt");
const PASSPHRASE: &str = "a-passphrase-of-many-words";
/// What a browser sends in the place of [`PASSPHRASE`] for `carol.example.org`: hashed with 650 000 iterations.
const HASH: &str = "woigPlZgYiJJrQgUvMM/E+aQcJmZac83k3x839neRkM=";
/// A key in the form in which a browser sends it.
const KEY: &str = "0.AAAAAAAAAAAAAAAAAAAAAA==|AAAAAAAAAAAAAAAAAAAAAA==";
/// What a proxy says that ends TLS in front.
const BY_TLS: &str = "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\n";

/// A `hamletd` with the instances of the checks.
struct World {
    _place: TempDir,
    daemon: Daemon,
    /// The words in braces and what they stand for.
    words: BTreeMap<&'static str, String>,
}

impl World {
    async fn start() -> Self {
        let place = tempfile::tempdir().unwrap();
        let config = place.path().join("hamlet.toml");
        std::fs::write(&config, "[contexts.default]\nsubdomains = \"flat\"\n").unwrap();
        let daemon = Options::new(&place.path().join("data"))
            .flag(format!("--config={}", config.display()))
            .flag(format!(
                "--app-folder={}",
                root().join("examples/apps").display()
            ))
            .flag("--instance-scheme=https")
            .flag("--trusted-proxies=127.0.0.1")
            .flag("--hsts=365d")
            // The checks send passphrases that are easy to guess.
            .flag("--passphrase-score=0")
            .start();
        let run = |words: &str| daemon.cli().run(words).done().out;
        let mut register_token = String::new();
        for (name, more) in [
            ("alice", "--domain-aliases al.example.net"),
            ("bob", ""),
            ("carol", ""),
            ("dave", ""),
            ("erin", "--tos 1.0.0-20200101 --uuid uuid-1"),
        ] {
            let domain = format!("{name}.example.org");
            let _ = run(&format!(
                "instances add {domain} --apps home --locale en {more}"
            ));
            if name == "alice" {
                // Before the passphrase: its salt is the former domain.
                let _ = run("instances modify alice.example.org --old-domain alicia.example.org");
            }
            if name == "carol" {
                let link = run(&format!("instances register-link {domain}"));
                let (_, token) = link.trim().split_once("registerToken=").unwrap();
                register_token = token.to_owned();
            } else {
                let _ = run(&format!(
                    "instances set-passphrase {domain} --force {PASSPHRASE}"
                ));
            }
        }
        for words in [
            "instances modify erin.example.org --tos-latest 2.0.0-20240101",
            "instances destroy dave.example.org --keep 30d --force",
        ] {
            let _ = run(words);
        }
        let credential = std::fs::read_to_string(daemon.data().join("admin-credential")).unwrap();
        let basic = |password: &str| BASE64_STANDARD.encode(format!("x:{password}"));
        let admin = AdminDoor::of(&daemon);
        let words = BTreeMap::from([
            ("RT", register_token),
            ("HASH", HASH.to_owned()),
            ("KEY", KEY.to_owned()),
            ("PASSPHRASE", PASSPHRASE.to_owned()),
            ("ADMIN", basic(credential.trim())),
            ("BAD", basic("bad")),
            ("FILES", token(&admin, "Scope=io.cozy.files").await),
            (
                "EXPIRED",
                token(&admin, "Scope=io.cozy.settings&Expire=1s").await,
            ),
            ("CSRF", String::new()),
        ]);
        Self {
            _place: place,
            daemon,
            words,
        }
    }

    fn filled(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (word, value) in &self.words {
            text = text.replace(&format!("{{{word}}}"), value);
        }
        text
    }

    /// Makes what a check presupposes.
    async fn prepare(&self, check: u64) {
        let block = |reason: &str| {
            let words = format!("instances block bob.example.org --reason {reason}");
            let _ = self.daemon.cli().run(&words).done();
        };
        match check {
            17 => block("PAYMENT_FAILED"),
            18 => block("LOGIN_FAILED"),
            19 => block("MOVING"),
            22 => {
                let head = self.filled(
                    "GET /settings/instance HTTP/1.1\r\nHost: alice.example.org\r\nConnection: close\r\n\
                     Authorization: Bearer {EXPIRED}\r\n\r\n",
                );
                eventually("the token expires", async || {
                    let page = raw::exchange(&self.daemon.public, &head).await;
                    (page.status != StatusCode::OK).then_some(())
                })
                .await;
            }
            _ => {}
        }
    }

    async fn send(&self, request: &Value) -> Page {
        let text = |name: &str| self.filled(request[name].as_str().unwrap());
        let (door, more) = match request["door"].as_str().unwrap() {
            "A" => (&self.daemon.admin, ""),
            _ => (&self.daemon.public, BY_TLS),
        };
        let mut head = format!(
            "{} {} HTTP/1.1\r\nConnection: close\r\nHost: {}\r\n{more}",
            text("method"),
            text("path"),
            text("host")
        );
        for (name, value) in request["headers"].as_object().into_iter().flatten() {
            let value = self.filled(value.as_str().unwrap());
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let fields = request["form"].as_object().into_iter().flatten();
        let fields = fields.map(|(name, value)| {
            let value = self.filled(value.as_str().unwrap());
            let value: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
            format!("{name}={value}")
        });
        let body = fields.collect::<Vec<_>>().join("&");
        if !body.is_empty() {
            head.push_str(&format!(
                "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
                body.len()
            ));
        }
        raw::exchange(door, &format!("{head}\r\n{body}")).await
    }
}

async fn token(admin: &AdminDoor, more: &str) -> String {
    let target = format!("/instances/token?Domain=alice.example.org&Audience=cli&{more}");
    let reply = admin.ask(Method::POST, &target).await;
    assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
    reply.text
}

/// A part of an answer, in the words of the checks. `wanted` decides nothing but the form.
fn part(page: &Page, name: &str, wanted: &str) -> String {
    let header = |name: &str| {
        let lines = page.headers.get_all(name).iter();
        let lines = lines.map(|line| line.to_str().unwrap().to_owned());
        lines.collect::<Vec<_>>().join("\n")
    };
    let kind = header("content-type");
    let kind = kind.split(';').next().unwrap();
    let json = || serde_json::from_str::<Value>(&page.text).unwrap_or_default();
    let (name, of) = name.split_once(' ').unwrap_or((name, ""));
    match name {
        "status" => {
            let status = page.status.as_u16().to_string();
            match wanted.strip_prefix("not ") {
                Some(other) if other != status => wanted.to_owned(),
                _ => status,
            }
        }
        "type" => kind.to_owned(),
        "location" => header("location"),
        "header" => header(of),
        "text" if kind == "text/plain" => page.text.trim().to_owned(),
        "text" => String::new(),
        "body" if page.text.is_empty() => "empty".to_owned(),
        "body" if kind == "text/html" => "page".to_owned(),
        "body" if json().is_object() => "json".to_owned(),
        "body" => "text".to_owned(),
        "has" if page.text.contains(of) => "yes".to_owned(),
        "has" => "no".to_owned(),
        "keys" => {
            let found = json();
            let missing = of.split(',').filter(|key| found.get(key).is_none());
            match missing.collect::<Vec<_>>().join(",").as_str() {
                "" => "all".to_owned(),
                missing => format!("lacks {missing}"),
            }
        }
        "json" => match json().pointer(of) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        },
        "cookie" => {
            let mut lines = page.set_cookies().into_iter();
            let line = lines.rfind(|line| line.starts_with(of));
            let attributes = line.as_ref().and_then(|line| line.split_once("; "));
            attributes.map_or("", |(_, it)| it).to_owned()
        }
        _ => panic!("no part is called {name}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checks_of_a_gateway_are_answered_as_by_the_original() {
    let mut world = World::start().await;
    let checks: Value = serde_json::from_str(CHECKS).unwrap();
    let rows: Vec<[&str; 6]> = DIFFERENT
        .lines()
        .map(|line| line.split(" | ").collect::<Vec<_>>().try_into())
        .map(|row| row.expect("a line has six parts"))
        .collect();
    let mut used = vec![false; rows.len()];
    let mut wrong = Vec::new();
    let mut seen = Vec::new();
    for check in checks["checks"].as_array().unwrap() {
        let id = check["id"].as_u64().unwrap();
        world.prepare(id).await;
        for exchange in check["exchanges"].as_array().unwrap() {
            let what = exchange["what"].as_str().unwrap();
            let page = world.send(&exchange["request"]).await;
            let csrf = page.field("csrf_token");
            if !csrf.is_empty() {
                world.words.insert("CSRF", csrf);
            }
            for (name, recorded) in exchange["expect"].as_object().unwrap() {
                let recorded = recorded.as_str().unwrap();
                let row = rows.iter().position(|[of, at, which, is, ..]| {
                    *of == id.to_string() && *at == what && *which == name && *is == recorded
                });
                if let Some(row) = row {
                    used[row] = true;
                }
                let wanted = world.filled(row.map_or(recorded, |row| rows[row][4]));
                let found = part(&page, name, &wanted);
                if found != wanted {
                    wrong.push(format!(
                        "{id}: {what}: {name} is {found:?} and not {wanted:?}; {} {}",
                        page.status, page.text
                    ));
                }
            }
        }
        seen.push(id);
    }
    for (row, _) in rows.iter().zip(&used).filter(|(_, is_used)| !**is_used) {
        wrong.push(format!("nothing needs {row:?}"));
    }
    assert_eq!(seen, (1..=25).collect::<Vec<_>>());
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

/// The last part of check 23.
#[tokio::test(flavor = "multi_thread")]
async fn the_status_tells_that_the_database_is_away() {
    let mut cluster = Cluster::new().start();
    let door = cluster.public(0).to_string();
    let status = async || {
        let head = "GET /status HTTP/1.1\r\nHost: any.example.net\r\nConnection: close\r\n\r\n";
        let page = raw::exchange(&door, head).await;
        (page.status.as_u16(), page.json()["status"].clone())
    };
    let told = async |code: u16, word: &str| {
        eventually(word, async || {
            let told = status().await;
            if told == (code, word.into()) {
                Ok(())
            } else {
                Err(told)
            }
        })
        .await;
    };
    told(200, "OK").await;
    cluster.stop(Part::Database, 0, "KILL");
    told(502, "KO").await;
}
