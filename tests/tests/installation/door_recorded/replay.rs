//! Sends recorded exchanges to an installation, and compares.

use std::{collections::BTreeMap, fmt};

use hamlet_tests::{
    admin_door::AdminDoor,
    browser::{Browser, Page},
    daemon::{Daemon, Options},
    programs::root,
};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use test_kit::eventually;

use super::answer::{exchange_bytes, of_page, parts};

const RECORDED: &str = include_str!("../../../data/recorded-door.json");
/// Section, exchange, part, what was recorded, what it is here, and why. The first line that fits a part counts; names of
/// sections and exchanges only begin so. A part that begins with a dot is a member of a JSON body.
const DIFFERENT: &str = include_str!("../../../data/recorded-door-differences.txt");
const PASSPHRASE: &str = "a-passphrase-of-many-words";

/// A `hamletd` with what the recorded one had.
pub(super) struct World {
    _place: TempDir,
    pub(super) daemon: Daemon,
    admin: AdminDoor,
}

impl World {
    pub(super) fn start(flags: &[String]) -> Self {
        let place = tempfile::tempdir().unwrap();
        let apps = root().join("apps-svc/tests/fixtures");
        let config = place.path().join("hamlet.toml");
        std::fs::write(&config, "[contexts.flat]\nsubdomains = \"flat\"\n").unwrap();
        let options = Options::new(&place.path().join("data"))
            .flag(format!("--config={}", config.display()))
            .flag(format!("--app-folder={}", apps.display()));
        let daemon = flags.iter().fold(options, Options::flag).start();
        Self {
            admin: AdminDoor::of(&daemon),
            _place: place,
            daemon,
        }
    }

    pub(super) fn run(&self, words: &str) {
        let _ = self.daemon.cli().run(words).done();
    }

    /// Adds an instance with the recorded apps, and an owner.
    pub(super) fn add(&self, domain: &str, flags: &str) {
        self.run(&format!(
            "instances add {domain} --apps home,drive --locale en {flags}"
        ));
        self.run(&format!(
            "instances set-passphrase {domain} --force {PASSPHRASE}"
        ));
    }

    /// What a program gets at a path of a host.
    pub(super) async fn get(&self, host: &str, path: &str) -> Page {
        let request = format!(
            "GET {path} HTTP/1.1\r\nConnection: close\r\nHost: {host}\r\nAccept: application/json\r\n\r\n"
        );
        exchange_bytes(&self.daemon.public, &request).await
    }

    /// Waits until the gateway knows of a state, and refuses with this code; with none, when it lets pass.
    pub(super) async fn until(&self, domain: &str, code: &str) {
        eventually("the state is known", async || {
            let page = self.get(domain, "/").await;
            let told: Value = serde_json::from_str(&page.text).unwrap_or_default();
            let told = told["errors"][0]["code"].as_str().unwrap_or_default();
            (told == code).then_some(())
        })
        .await;
    }

    async fn token(&self, domain: &str, more: &str) -> String {
        let target = format!("/instances/token?Domain={domain}&{more}");
        let reply = self.admin.ask(Method::POST, &target).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        reply.text
    }
}

/// The exchange that a part is of.
struct Of<'a> {
    section: &'a str,
    what: &'a str,
    request: String,
}

impl fmt::Display for Of<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.section, self.what, self.request)
    }
}

/// A value of JSON as the table of differences has it: a text as it is, an object by the order of its names.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(members) => {
            let sorted: BTreeMap<_, _> = members.iter().collect();
            serde_json::to_string(&sorted).unwrap()
        }
        other => other.to_string(),
    }
}

/// Sends the exchanges of sections for one instance.
pub(super) struct Replay<'a> {
    world: &'a World,
    browser: Browser,
    token: String,
    pub(super) app_token: String,
    pub(super) register_token: String,
    /// Whether a proxy in front of the gateway tells it that the request came by https.
    is_by_https: bool,
    wrong: Vec<String>,
    used: Vec<usize>,
    count: usize,
}

impl<'a> Replay<'a> {
    /// Replays with the session and the tokens of the instance at this domain.
    pub(super) async fn of(world: &'a World, domain: &str) -> Self {
        let mut browser = Browser::new(&world.daemon.public, domain);
        let page = browser.log_in(PASSPHRASE, &[]).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{page:?}");
        let scopes = "Audience=cli&Scope=io.cozy.apps+io.cozy.files+io.cozy.settings";
        Self {
            token: world.token(domain, scopes).await,
            app_token: world.token(domain, "Audience=app&Subject=home").await,
            world,
            browser,
            register_token: String::new(),
            is_by_https: false,
            wrong: Vec::new(),
            used: Vec::new(),
            count: 0,
        }
    }

    /// Lets the requests come by https, through a proxy, with the token of the page of an app at this host.
    pub(super) async fn by_https(&mut self, app_host: &str) {
        self.is_by_https = true;
        let request = format!(
            "GET / HTTP/1.1\r\nConnection: close\r\nX-Forwarded-Proto: https\r\nHost: {app_host}\r\n\
             Accept: text/html\r\nCookie: {}\r\n\r\n",
            self.cookies(true)
        );
        let page = exchange_bytes(&self.world.daemon.public, &request).await;
        let text = page.text.replace("&quot;", "\"").replace("&#34;", "\"");
        let Some((_, rest)) = text.split_once("\"token\":\"") else {
            panic!("there is no token in {page:#?}");
        };
        rest.split('"')
            .next()
            .unwrap()
            .clone_into(&mut self.app_token);
    }

    /// Waits until the session has ended: a gateway takes it for what it was within a second.
    pub(super) async fn until_logged_out(&mut self) {
        let browser = &mut self.browser;
        eventually("the session has ended", async || {
            let page = browser.get("/").await;
            page.location().ends_with("/auth/login").then_some(())
        })
        .await;
    }

    /// A recorded text with the values of this run.
    fn filled(&self, text: &str) -> String {
        let port = self.world.daemon.public.rsplit(':').next().unwrap();
        text.replace("<register token, 32 hex digits>", &self.register_token)
            .replace(":8085", &format!(":{port}"))
            .replace(":8095", &format!(":{port}"))
    }

    /// Replays a section, or those of its exchanges whose names begin so.
    pub(super) async fn section(&mut self, section: &str, begin: &str) {
        for exchange in exchanges(section) {
            if exchange["what"].as_str().unwrap().starts_with(begin) {
                self.exchange(section, &exchange).await;
            }
        }
    }

    pub(super) async fn exchange(&mut self, section: &str, exchange: &Value) {
        let what = exchange["what"].as_str().unwrap();
        let asked = &exchange["request"];
        let page = self.send(exchange).await;
        self.count += 1;
        let of = Of {
            section,
            what,
            request: format!("{} {}", asked["method"], asked["path"]),
        };
        let expected = self.recorded(exchange);
        let found = of_page(&page);
        for (part, recorded) in &expected {
            let found = found.get(part).map_or("", String::as_str);
            let wanted = self.compare(&of, part, found, recorded);
            if *part == "body" && wanted == "json" && found == "json" {
                let found = serde_json::from_str(&page.text).unwrap_or_default();
                self.same(&of, "", &found, &exchange["body"]["value"]);
            }
        }
        let missing = page.missing_of_forms(&exchange["body"]["forms"]);
        self.wrong
            .extend(missing.iter().map(|it| format!("{of}: has no {it}")));
    }

    /// Compares a part of an answer, and returns what it should be: as the table says, or else as it was recorded.
    fn compare(&mut self, of: &Of<'_>, part: &str, found: &str, recorded: &str) -> String {
        let rows = differences();
        let row = rows.iter().position(|[begin, what, at, is, ..]| {
            of.section.starts_with(begin)
                && of.what.starts_with(what)
                && *at == part
                && self.filled(is) == recorded
        });
        self.used.extend(row);
        let wanted = row.map_or_else(|| recorded.to_owned(), |row| self.filled(rows[row][4]));
        if found != wanted {
            self.wrong.push(format!(
                "{of}: {part} is {found:?} and not {wanted:?} (recorded: {recorded:?})"
            ));
        }
        wanted
    }

    async fn send(&self, exchange: &Value) -> Page {
        let asked = &exchange["request"];
        let what = exchange["what"].as_str().unwrap();
        let headers = asked["headers"].as_object().cloned().unwrap_or_default();
        let version = match what {
            "HTTP/1.0 without Host" => "1.0",
            _ => "1.1",
        };
        let mut head = format!(
            "{} {} HTTP/{version}\r\nConnection: close\r\n",
            asked["method"].as_str().unwrap(),
            self.filled(asked["path"].as_str().unwrap())
        );
        if self.is_by_https {
            head.push_str("X-Forwarded-Proto: https\r\n");
        }
        if let Some(host) = asked["host"].as_str() {
            head.push_str(&format!("Host: {}\r\n", self.filled(host)));
        }
        for (name, value) in &headers {
            let value = self.filled(value.as_str().unwrap());
            let value = match name.as_str() {
                "Cookie" if value.contains("sess") => self.cookies(true),
                "Cookie" => self.cookies(false),
                "Authorization" if what.contains("app token") => {
                    format!("Bearer {}", self.app_token)
                }
                "Authorization" => format!("Bearer {}", self.token),
                _ => value,
            };
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let body = self.body(asked["body"].as_str().unwrap_or_default());
        if !body.is_empty() {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        exchange_bytes(&self.world.daemon.public, &format!("{head}\r\n{body}")).await
    }

    fn cookies(&self, with_session: bool) -> String {
        let cookies = self.browser.cookies.iter();
        let kept = cookies.filter(|(name, _)| with_session || *name == "_csrf");
        let pairs: Vec<_> = kept
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.join("; ")
    }

    /// The body of a form with the values of this run.
    fn body(&self, recorded: &str) -> String {
        let csrf = self.browser.cookies.get("_csrf").map_or("", String::as_str);
        let fields = recorded
            .split('&')
            .map(|field| match field.split_once('=') {
                Some(("csrf_token", _)) => format!("csrf_token={csrf}"),
                Some(("passphrase", "<login hash>")) => format!("passphrase={PASSPHRASE}"),
                _ => self.filled(field),
            });
        fields.collect::<Vec<_>>().join("&")
    }

    /// What a client reads of the recorded answer.
    fn recorded(&self, exchange: &Value) -> BTreeMap<&'static str, String> {
        let header = |name: &str| match &exchange["headers"][name] {
            Value::String(text) => self.filled(text),
            Value::Array(lines) => {
                let lines = lines.iter().filter_map(Value::as_str);
                lines.collect::<Vec<_>>().join("\n")
            }
            _ => String::new(),
        };
        let body = match exchange["body"]["kind"].as_str().unwrap() {
            "html page" => "page".to_owned(),
            kind => kind.to_owned(),
        };
        parts(exchange["status"].to_string(), body, header)
    }

    /// Compares fields of JSON. Hamlet may have more.
    fn same(&mut self, of: &Of<'_>, path: &str, found: &Value, expected: &Value) {
        match (found, expected) {
            (Value::Object(found), Value::Object(expected)) => {
                for (name, value) in expected {
                    let found = found.get(name).unwrap_or(&Value::Null);
                    self.same(of, &format!("{path}.{name}"), found, value);
                }
            }
            (Value::Array(found), Value::Array(expected)) if found.len() == expected.len() => {
                for (found, expected) in found.iter().zip(expected) {
                    self.same(of, path, found, expected);
                }
            }
            // Recorded by the first item, and a text about the others.
            (Value::Array(_), Value::Array(items))
                if items
                    .iter()
                    .all(|it| it.as_str().is_some_and(|it| it.contains('<'))) => {}
            (_, Value::String(text)) if text.contains('<') || path.ends_with(".detail") => {}
            _ => {
                let recorded = self.filled(&shown(expected));
                let _ = self.compare(of, path, &shown(found), &recorded);
            }
        }
    }

    /// Ends the replay of sections whose names begin so: everything was as expected, and no row of the table is needless.
    pub(super) fn end(mut self, count: usize, sections: &[&str]) {
        for (at, row) in differences().iter().enumerate() {
            let is_of = sections.iter().any(|section| row[0].starts_with(section));
            if is_of && !self.used.contains(&at) {
                self.wrong.push(format!("nothing needs {row:?}"));
            }
        }
        assert_eq!(self.count, count);
        let wrong = self.wrong.join("\n");
        assert!(self.wrong.is_empty(), "{}:\n{wrong}", self.wrong.len());
    }
}

fn differences() -> Vec<[&'static str; 6]> {
    let lines = DIFFERENT.lines();
    let rows = lines.map(|line| line.split(" | ").collect::<Vec<_>>().try_into());
    rows.map(|row| row.expect("a line has six parts")).collect()
}

pub(super) fn exchanges(section: &str) -> Vec<Value> {
    let recorded: Value = serde_json::from_str(RECORDED).unwrap();
    let mut sections = recorded["sections"].as_array().unwrap().iter();
    let found = sections.find(|it| it["section"] == section);
    let found = found.unwrap_or_else(|| panic!("no section {section:?} is recorded"));
    found["exchanges"].as_array().unwrap().clone()
}
