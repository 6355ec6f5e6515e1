//! Sends the recorded requests of browsers and programs of an owner to the public door, and compares the answers: status,
//! cookies, where they lead, and JSON; of pages the action, method and fields of their form. What differs on purpose is in
//! one table here, and in docs/json-api.md.

use hamlet_tests::{
    admin_door::AdminDoor,
    browser::{Browser, Page},
    daemon::{Daemon, Options},
    programs::root,
};
use reqwest::Method;
use serde_json::Value;
use tempfile::TempDir;

const RECORDED: &str = include_str!("../../data/recorded-owner.json");
const PASSPHRASE: &str = "four words for nobody";

/// How answers differ from the recorded ones: the section, the request, the recorded status, the one here (0 where the
/// request is not sent), and why.
const DIFFERENT: &[(&str, &str, u16, u16, &str)] = &[
    (
        "not onboarded",
        "start page, JSON",
        200,
        200,
        "programs get JSON",
    ),
    (
        "not onboarded",
        "wrong token",
        200,
        403,
        "the page says why, and so does the status",
    ),
    ("not onboarded", "token not hex", 200, 400, "the same"),
    (
        "not onboarded",
        "GET /auth/passphrase wrong",
        200,
        403,
        "the same",
    ),
    (
        "not onboarded",
        "GET /auth/login json",
        200,
        200,
        "programs get JSON",
    ),
    (
        "not onboarded",
        "GET /settings/passphrase with registerToken",
        403,
        401,
        "that token opens one thing",
    ),
    (
        "not onboarded",
        "GET /apps/ with registerToken",
        403,
        401,
        "the same",
    ),
    (
        "not onboarded",
        "GET /settings/onboarded",
        303,
        401,
        "it is not built",
    ),
    (
        "not onboarded",
        "POST resend",
        500,
        501,
        "it is sent by mail, and there is no mail server",
    ),
    (
        "not onboarded",
        "GET /settings/instance no token",
        401,
        401,
        "refusals are JSON:API",
    ),
    (
        "not onboarded",
        "GET /settings/instance with wrong registerToken",
        401,
        401,
        "the same",
    ),
    (
        "choosing the first passphrase",
        "wrong token, HTML",
        400,
        403,
        "a person gets a page",
    ),
    (
        "choosing the first passphrase",
        "again, HTML",
        400,
        403,
        "the same",
    ),
    (
        "choosing the first passphrase",
        "token not hex",
        400,
        400,
        "the text names the field",
    ),
    (
        "choosing the first passphrase",
        "right token, iterations not a number",
        400,
        400,
        "the same",
    ),
    (
        "choosing the first passphrase",
        "JSON body broken",
        400,
        400,
        "the same",
    ),
    ("login", "HEAD login page", 404, 200, "HEAD is as GET"),
    (
        "login",
        "login page, redirect to an app",
        200,
        200,
        "there is a slash before a fragment",
    ),
    ("login", "POST right, HTML, long run", 303, 303, "the same"),
    (
        "login",
        "POST wrong passphrase, JSON",
        401,
        401,
        "the text is another one",
    ),
    (
        "login",
        "upper case",
        303,
        303,
        "the host is as it was sent",
    ),
    ("tokens", "no token", 401, 401, "refusals are JSON:API"),
    ("tokens", "no token, JSON", 401, 401, "the same"),
    ("tokens", "no token, JSON:API", 401, 401, "the same"),
    ("tokens", "garbage", 400, 401, "a wrong token is 401"),
    ("tokens", "signature changed", 400, 401, "the same"),
    ("tokens", "of another instance", 400, 401, "the same"),
    ("tokens", "alg none", 400, 401, "the same"),
    (
        "tokens",
        "expired (asked with Expire=1s, 2 s ago)",
        400,
        401,
        "the same",
    ),
    (
        "tokens",
        "valid, other scope",
        403,
        403,
        "refusals are JSON:API",
    ),
    (
        "tokens",
        "session cookie only, no token",
        401,
        401,
        "the same",
    ),
    (
        "tokens",
        "no final slash",
        404,
        200,
        "the slash may be left out",
    ),
    ("tokens", "right", 200, 200, "links are paths"),
    (
        "tokens",
        "token of the app home, no session, list apps",
        200,
        200,
        "the same",
    ),
    (
        "tokens",
        "token of the app home with cookie",
        200,
        200,
        "the same",
    ),
    (
        "tokens",
        "token of an app that is not installed",
        404,
        0,
        "there is no such token",
    ),
    (
        "public routes",
        "on an instance",
        401,
        401,
        "refusals are JSON:API",
    ),
    (
        "public routes",
        "on an instance",
        302,
        303,
        "it is another page",
    ),
    (
        "public routes",
        "on an instance",
        200,
        501,
        "it is not built",
    ),
    ("public routes", "HEAD", 404, 0, "HEAD is as GET"),
    ("public routes", "HEAD", 405, 0, "HEAD is as GET"),
    (
        "not onboarded",
        "GET /auth/passphrase no token",
        200,
        200,
        "only the form that checks a cookie sets it",
    ),
    (
        "not onboarded",
        "GET /auth/passphrase right",
        200,
        200,
        "only the form that checks a cookie sets it",
    ),
    (
        "not onboarded",
        "GET /auth/login",
        200,
        200,
        "only the form that checks a cookie sets it",
    ),
    (
        "choosing the first passphrase",
        "GET /auth/passphrase afterwards",
        303,
        303,
        "the same",
    ),
];

struct World {
    _place: TempDir,
    daemon: Daemon,
    admin: AdminDoor,
}

impl World {
    fn start() -> Self {
        let place = tempfile::tempdir().unwrap();
        let apps = root().join("examples/apps");
        let daemon = Options::new(&place.path().join("data"))
            .flag(format!("--app-folder={}", apps.display()))
            .flag("--passphrase-score=0")
            .flag("--trusted-proxies=127.0.0.1/32")
            .start();
        let cli = daemon.cli();
        for (name, public) in [("olga", "Olga"), ("pete", "Pete"), ("other", "Other")] {
            let domain = daemon.domain(name);
            let alias = match name {
                "pete" => format!("--domain-aliases {}", daemon.domain("petra")),
                _ => String::new(),
            };
            let add = format!(
                "instances add {domain} {alias} --apps home --locale en --email {name}@example.org --public-name {public}"
            );
            let _ = cli.run(&add).done();
        }
        Self {
            admin: AdminDoor::of(&daemon),
            _place: place,
            daemon,
        }
    }

    fn register_token(&self, name: &str) -> String {
        let link = format!("instances register-link {}", self.daemon.domain(name));
        let link = self.daemon.cli().run(&link).done().out;
        link.trim()
            .split_once("registerToken=")
            .unwrap()
            .1
            .to_owned()
    }

    async fn token(&self, name: &str, more: &str) -> String {
        let target = format!(
            "/instances/token?Domain={}&{more}",
            self.daemon.domain(name)
        );
        self.admin.ask(Method::POST, &target).await.text
    }

    /// The token of a recorded request about tokens.
    async fn token_for(&self, what: &str) -> String {
        const APPS: &str = "Audience=cli&Scope=io.cozy.apps+io.cozy.settings";
        match what {
            "of another instance" => self.token("other", APPS).await,
            "valid, other scope" => {
                self.token("pete", "Audience=cli&Scope=io.cozy.contacts")
                    .await
            }
            what if what.starts_with("token of the app home") => {
                self.token("pete", "Audience=app&Subject=home").await
            }
            "signature changed" => {
                let token = self.token("pete", APPS).await;
                let (signed, _) = token.rsplit_once('.').unwrap();
                format!("{signed}.{}", "A".repeat(86))
            }
            "alg none" => {
                let token = self.token("pete", APPS).await;
                let (_, rest) = token.split_once('.').unwrap();
                let (payload, _) = rest.split_once('.').unwrap();
                format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}.")
            }
            what if what.starts_with("expired") => {
                let token = self.token("pete", &format!("{APPS}&Expire=1s")).await;
                tokio::time::sleep(std::time::Duration::from_secs(2)).await;
                token
            }
            _ => self.token("pete", APPS).await,
        }
    }
}

struct Replay<'a> {
    world: &'a World,
    section: &'a str,
    browser: Browser,
    register_token: &'a str,
    hash: &'a str,
    wrong: Vec<String>,
}

impl Replay<'_> {
    /// A recorded text with the values of this run.
    fn filled(&self, text: &str) -> String {
        let csrf = self.browser.cookies.get("_csrf");
        text.replace("<register token, 32 hex digits>", self.register_token)
            .replace("<csrf>", csrf.map_or("", String::as_str))
            .replace(
                "<login hash>",
                &self
                    .hash
                    .replace('+', "%2B")
                    .replace('/', "%2F")
                    .replace('=', "%3D"),
            )
            .replace("olga.localhost:8085", &self.world.daemon.domain("olga"))
            .replace("petra.localhost:8085", &self.world.daemon.domain("petra"))
            .replace("pete.localhost:8085", &self.world.daemon.domain("pete"))
            .replace("PETE.LOCALHOST:8085", &self.world.daemon.domain("PETE"))
    }

    async fn send(&mut self, exchange: &Value) -> Page {
        let asked = &exchange["request"];
        let what = exchange["what"].as_str().unwrap();
        let path = self.filled(asked["path"].as_str().unwrap());
        let method = asked["method"].as_str().unwrap().parse().unwrap();
        let mut sender = self.browser.clone();
        sender.host = self.filled(asked["host"].as_str().unwrap());
        let headers = asked["headers"].as_object().cloned().unwrap_or_default();
        // The browser sends what it has, unless the recorded one had nothing.
        let cookie = headers
            .get("Cookie")
            .and_then(Value::as_str)
            .unwrap_or_default();
        sender
            .cookies
            .retain(|name, _| cookie.contains(name.as_str()));
        sender.accept = match headers.get("Accept").and_then(Value::as_str) {
            None => "*/*",
            Some("application/json") => "application/json",
            Some("application/vnd.api+json") => "application/vnd.api+json",
            Some("application/json, text/plain") => "application/json, text/plain",
            Some(_) => "text/html",
        };
        let token = if path.contains("<jwt>") || headers.contains_key("Authorization") {
            self.world.token_for(what).await
        } else {
            String::new()
        };
        // Each section is another client: the tries of one must not slow down the others.
        let client = format!("192.0.2.{}", self.section.len());
        let mut request = sender
            .request(method, &path.replace("<jwt>", &token))
            .header("x-forwarded-for", client);
        match headers.get("Authorization").and_then(Value::as_str) {
            Some("Bearer x") => request = request.bearer_auth("x"),
            Some(basic) if basic.starts_with("Basic") => {
                request = request.basic_auth("", Some(&token));
            }
            Some(_) => request = request.bearer_auth(&token),
            None => {}
        }
        if let Some(kind) = headers.get("Content-Type").and_then(Value::as_str) {
            request = request.header("content-type", kind);
        }
        if let Some(body) = asked["body"].as_str() {
            request = request.body(self.filled(body));
        }
        let page = sender.send(request).await;
        for (name, value) in sender.cookies {
            self.browser.cookies.insert(name, value);
        }
        page
    }

    fn compare(&mut self, exchange: &Value, page: &Page) {
        let what = exchange["what"].as_str().unwrap();
        let recorded = u16::try_from(exchange["status"].as_u64().unwrap()).unwrap();
        let different = DIFFERENT.iter().find(|(section, of, status, ..)| {
            *section == self.section && *of == what && *status == recorded
        });
        let status = match different {
            Some((_, _, _, 0, _)) => return,
            Some((_, _, _, status, _)) => *status,
            None => recorded,
        };
        let at = format!("{}: {what} {}", self.section, exchange["request"]["path"]);
        if page.status.as_u16() != status {
            self.wrong
                .push(format!("{at}: is not {status} but {page:?}"));
            return;
        }
        if different.is_some() {
            return;
        }
        if let Some(location) = exchange["headers"]["Location"].as_str() {
            let expected = self.filled(location);
            if page.location() != expected {
                self.wrong.push(format!(
                    "{at}: leads to {} and not {expected}",
                    page.location()
                ));
            }
        }
        self.compare_cookies(&at, &exchange["headers"]["Set-Cookie"], page);
        match exchange["body"]["kind"].as_str() {
            Some("json") => {
                let found = serde_json::from_str(&page.text).unwrap_or_default();
                self.compare_json(&at, &found, &exchange["body"]["value"]);
            }
            Some("html page") => {
                let missing = page.missing_of_forms(&exchange["body"]["forms"]);
                self.wrong
                    .extend(missing.iter().map(|it| format!("{at}: has no {it}")));
            }
            _ => {}
        }
    }

    fn compare_cookies(&mut self, at: &str, expected: &Value, page: &Page) {
        let shape = |line: &str| {
            let (name, rest) = line.split_once('=').unwrap();
            let rest = rest.split_once(';').unwrap().1;
            format!("{name}={rest}")
        };
        let lines: Vec<&str> = match expected {
            Value::String(line) => vec![line],
            Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect(),
            _ => return,
        };
        let found: Vec<String> = page.set_cookies().iter().map(|line| shape(line)).collect();
        for line in lines {
            if !found.contains(&shape(line)) {
                self.wrong
                    .push(format!("{at}: does not set {line} but {found:?}"));
            }
        }
    }

    fn compare_json(&mut self, at: &str, found: &Value, expected: &Value) {
        match (found, expected) {
            (Value::Object(found), Value::Object(expected)) => {
                for (name, value) in expected {
                    let found = found.get(name).unwrap_or(&Value::Null);
                    self.compare_json(&format!("{at}.{name}"), found, value);
                }
            }
            (Value::Array(found), Value::Array(expected)) if found.len() == expected.len() => {
                for (found, expected) in found.iter().zip(expected) {
                    self.compare_json(at, found, expected);
                }
            }
            (Value::String(_), Value::String(text)) if text.contains('<') => {}
            (Value::String(found), Value::String(text)) if *found == self.filled(text) => {}
            _ if found == expected => {}
            _ => self
                .wrong
                .push(format!("{at} is {found} and not {expected}")),
        }
    }
}

/// PBKDF2-HMAC-SHA256 twice, as clients do it.
fn hash(salt: &str) -> String {
    let script = "import sys,hashlib,base64\np,s=sys.argv[1].encode(),sys.argv[2].encode()\n\
                  m=hashlib.pbkdf2_hmac('sha256',p,s,650000)\n\
                  print(base64.b64encode(hashlib.pbkdf2_hmac('sha256',m,p,1)).decode())";
    let made = std::process::Command::new("python3")
        .args(["-c", script, PASSPHRASE, salt])
        .output()
        .unwrap();
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_is_answered_as_recorded() {
    let world = World::start();
    // Pete has a passphrase from the beginning.
    let mut pete = Browser::new(&world.daemon.public, &world.daemon.domain("pete"));
    let token = world.register_token("pete");
    let set = [
        ("register_token", token.as_str()),
        ("passphrase", PASSPHRASE),
    ];
    assert_eq!(
        pete.post("/settings/passphrase", &set)
            .await
            .status
            .as_u16(),
        303
    );
    let (token, hash) = (world.register_token("olga"), hash("me@pete.localhost"));
    let recorded: Value = serde_json::from_str(RECORDED).unwrap();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for section in recorded["sections"].as_array().unwrap() {
        let mut replay = Replay {
            world: &world,
            section: section["section"].as_str().unwrap(),
            browser: Browser::new(&world.daemon.public, ""),
            register_token: &token,
            hash: &hash,
            wrong: Vec::new(),
        };
        for exchange in section["exchanges"].as_array().unwrap() {
            let page = replay.send(exchange).await;
            replay.compare(exchange, &page);
            count += 1;
        }
        wrong.append(&mut replay.wrong);
    }
    assert!(count > 80, "{count}");
    assert!(
        wrong.is_empty(),
        "{} of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
