//! Sends recorded requests to the public door, byte for byte: those of pages of other origins, and those of an instance whose
//! terms await a signature. It compares what a client reads of the answers. Each part that differs on purpose has a line in
//! the table of differences, and is told in docs/json-api.md or docs/gateway.md; a line that nothing needs fails.

use std::collections::BTreeMap;

use hamlet_tests::{
    admin_door::AdminDoor,
    browser::{Browser, Page},
    daemon::{Daemon, Options},
    programs::root,
    raw,
};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

const RECORDED: &str = include_str!("../../data/recorded-door.json");
/// Section, exchange, part, what was recorded, what it is here, and why. The first line that fits a part counts; names of
/// sections and exchanges only begin so.
const DIFFERENT: &str = include_str!("../../data/recorded-door-differences.txt");
const PASSPHRASE: &str = "a-passphrase-of-many-words";

/// A `hamletd` with what the recorded one had.
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
            .start();
        Self {
            admin: AdminDoor::of(&daemon),
            _place: place,
            daemon,
        }
    }

    fn run(&self, words: &str) {
        let _ = self.daemon.cli().run(words).done();
    }

    /// Adds an instance with the app `home`, and an owner.
    fn add(&self, domain: &str, flags: &str) {
        self.run(&format!(
            "instances add {domain} --apps home --locale en {flags}"
        ));
        self.run(&format!(
            "instances set-passphrase {domain} --force {PASSPHRASE}"
        ));
    }

    async fn token(&self, domain: &str, more: &str) -> String {
        let target = format!("/instances/token?Domain={domain}&{more}");
        let reply = self.admin.ask(Method::POST, &target).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        reply.text
    }
}

/// Sends the exchanges of sections for one instance.
struct Replay<'a> {
    world: &'a World,
    browser: Browser,
    token: String,
    app_token: String,
    wrong: Vec<String>,
    used: Vec<usize>,
    count: usize,
}

impl<'a> Replay<'a> {
    /// Replays with the session and the tokens of the instance at this domain.
    async fn of(world: &'a World, domain: &str) -> Self {
        let mut browser = Browser::new(&world.daemon.public, domain);
        let page = browser.log_in(PASSPHRASE, &[]).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{page:?}");
        let scopes = "Audience=cli&Scope=io.cozy.apps+io.cozy.files+io.cozy.settings";
        Self {
            token: world.token(domain, scopes).await,
            app_token: world.token(domain, "Audience=app&Subject=home").await,
            world,
            browser,
            wrong: Vec::new(),
            used: Vec::new(),
            count: 0,
        }
    }

    /// A recorded text with the values of this run.
    fn filled(&self, text: &str) -> String {
        let port = self.world.daemon.public.rsplit(':').next().unwrap();
        text.replace(":8085", &format!(":{port}"))
            .replace(":8095", &format!(":{port}"))
    }

    /// Replays a section, or those of its exchanges whose names begin so.
    async fn section(&mut self, section: &str, begin: &str) {
        for exchange in exchanges(section) {
            if exchange["what"].as_str().unwrap().starts_with(begin) {
                self.exchange(section, &exchange).await;
            }
        }
    }

    async fn exchange(&mut self, section: &str, exchange: &Value) {
        let what = exchange["what"].as_str().unwrap();
        let page = self.send(exchange).await;
        self.count += 1;
        let at = format!(
            "{section}: {what}: {} {}",
            exchange["request"]["method"], exchange["request"]["path"]
        );
        let expected = self.recorded(exchange);
        let found = of_page(&page);
        for (part, recorded) in &expected {
            let rows = differences();
            let row = rows.iter().position(|[begin, of, at, is, ..]| {
                section.starts_with(begin) && what.starts_with(of) && at == part && is == recorded
            });
            let wanted = row.map_or(recorded.as_str(), |row| rows[row][4]);
            self.used.extend(row);
            let found = found.get(part).map_or("", String::as_str);
            if found != wanted {
                self.wrong.push(format!(
                    "{at}: {part} is {found:?} and not {wanted:?} (recorded: {recorded:?})"
                ));
            } else if *part == "body" && wanted == "json" {
                let found = serde_json::from_str(&page.text).unwrap_or_default();
                self.same(&at, &found, &exchange["body"]["value"]);
            }
        }
        let missing = page.missing_of_forms(&exchange["body"]["forms"]);
        self.wrong
            .extend(missing.iter().map(|it| format!("{at}: has no {it}")));
    }

    async fn send(&self, exchange: &Value) -> Page {
        let asked = &exchange["request"];
        let what = exchange["what"].as_str().unwrap();
        let headers = asked["headers"].as_object().cloned().unwrap_or_default();
        let mut head = format!(
            "{} {} HTTP/1.1\r\nConnection: close\r\n",
            asked["method"].as_str().unwrap(),
            self.filled(asked["path"].as_str().unwrap())
        );
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
        raw::exchange(&self.world.daemon.public, &format!("{head}\r\n{body}")).await
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
    fn same(&mut self, at: &str, found: &Value, expected: &Value) {
        match (found, expected) {
            (Value::Object(found), Value::Object(expected)) => {
                for (name, value) in expected {
                    let found = found.get(name).unwrap_or(&Value::Null);
                    self.same(&format!("{at}.{name}"), found, value);
                }
            }
            (Value::Array(found), Value::Array(expected)) if found.len() == expected.len() => {
                for (found, expected) in found.iter().zip(expected) {
                    self.same(at, found, expected);
                }
            }
            (Value::String(found), Value::String(text)) => {
                let is_masked = text.contains('<') || at.ends_with(".detail");
                if !is_masked && *found != self.filled(text) {
                    self.wrong.push(format!("{at} is {found} and not {text}"));
                }
            }
            (_, Value::String(text)) if text.contains('<') => {}
            // Recorded by the first item, and a text about the others.
            (Value::Array(_), Value::Array(items))
                if items
                    .iter()
                    .all(|it| it.as_str().is_some_and(|it| it.contains('<'))) => {}
            _ if found == expected => {}
            _ => self
                .wrong
                .push(format!("{at} is {found} and not {expected}")),
        }
    }

    /// Ends the replay of sections whose names begin so: everything was as expected, and no row of the table is needless.
    fn end(mut self, count: usize, sections: &[&str]) {
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

fn exchanges(section: &str) -> Vec<Value> {
    let recorded: Value = serde_json::from_str(RECORDED).unwrap();
    let mut sections = recorded["sections"].as_array().unwrap().iter();
    let found = sections.find(|it| it["section"] == section);
    let found = found.unwrap_or_else(|| panic!("no section {section:?} is recorded"));
    found["exchanges"].as_array().unwrap().clone()
}

/// What a client reads of an answer, by names.
fn parts(
    status: String,
    body: String,
    header: impl Fn(&str) -> String,
) -> BTreeMap<&'static str, String> {
    let cookies = header("Set-Cookie");
    let session = cookies.lines().find(|line| line.contains("sess"));
    let attributes = session.and_then(|line| line.split_once("; "));
    let varies = header("Vary").to_ascii_lowercase().contains("origin");
    BTreeMap::from([
        ("status", status),
        ("body", body),
        (
            "type",
            header("Content-Type").split(';').next().unwrap().to_owned(),
        ),
        ("location", header("Location")),
        ("allow", header("Allow")),
        ("hsts", header("Strict-Transport-Security")),
        ("session", attributes.map_or("", |(_, it)| it).to_owned()),
        ("origin", header("Access-Control-Allow-Origin")),
        ("credentials", header("Access-Control-Allow-Credentials")),
        ("methods", header("Access-Control-Allow-Methods")),
        ("headers", header("Access-Control-Allow-Headers")),
        ("age", header("Access-Control-Max-Age")),
        (
            "varies by origin",
            if varies { "yes" } else { "no" }.to_owned(),
        ),
    ])
}

fn of_page(page: &Page) -> BTreeMap<&'static str, String> {
    let header = |name: &str| {
        let lines = page.headers.get_all(name).iter();
        let lines = lines.map(|line| line.to_str().unwrap());
        lines.collect::<Vec<_>>().join("\n")
    };
    let json: Result<Value, _> = serde_json::from_str(&page.text);
    let is_page = header("Content-Type").starts_with("text/html");
    let body = match &json {
        _ if page.text.is_empty() => "empty".to_owned(),
        Ok(json) => match json["errors"][0]["code"].as_str() {
            Some(code) if json["errors"][0]["code"] != "tos-updated" => code.to_owned(),
            _ => "json".to_owned(),
        },
        Err(_) if is_page => "page".to_owned(),
        Err(_) => "text".to_owned(),
    };
    parts(page.status.as_u16().to_string(), body, header)
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_are_answered_as_recorded() {
    let world = World::start();
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
    let world = World::start();
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
