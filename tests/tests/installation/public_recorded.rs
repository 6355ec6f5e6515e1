//! Sends the recorded requests of an existing command line to the public door, with tokens from the admin door, and compares
//! status, content type, fields and types of the answers. What differs on purpose is in one table here, and in
//! docs/json-api.md.

use std::{convert::Infallible, fs, net::SocketAddr, path::PathBuf};

use bytes::Bytes;
use hamlet_tests::{
    admin_door::{AdminDoor, Reply},
    daemon::{Daemon, Options},
    programs::root,
};
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

const RECORDED: &str = include_str!("../../data/recorded-public-exchanges.json");

/// How an answer differs from the recorded one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Instead {
    /// It does not.
    Nothing,
    /// The installation of what is installed from the same source succeeds.
    Succeeds,
    /// The app is shown as it is in the end.
    Settled,
    /// It does not, and is no JSON.
    File,
    /// It is an archive, and leads nowhere.
    Archive,
    /// It is a refusal with this status.
    Refused(u16),
}

fn fixtures() -> PathBuf {
    root().join("apps-svc/tests/fixtures")
}

/// Serves the files of a registry as a static server would.
async fn registry() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(move |request: Request<Incoming>| {
                let response = file(request.uri().path(), address);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    address
}

fn file(path: &str, here: SocketAddr) -> Response<Full<Bytes>> {
    let file = fixtures()
        .join("registry")
        .join(path.trim_start_matches('/'));
    let json = fs::read_to_string(format!("{}.json", file.display()))
        .or_else(|_| fs::read_to_string(file.join("index.json")));
    let body = match json {
        Ok(text) => text
            .replace("http://registry.invalid", &format!("http://{here}"))
            .into(),
        Err(_) => fs::read(file).unwrap_or_default(),
    };
    let mut response = Response::new(Full::new(Bytes::from(body.clone())));
    if body.is_empty() {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    response
}

struct World {
    admin: AdminDoor,
    public: AdminDoor,
}

impl World {
    async fn token(&self, domain: &str, scope: &str) -> String {
        let target =
            format!("/instances/token?Audience=cli&Domain={domain}&Scope={scope}&Subject=CLI");
        let reply = self.admin.ask(Method::POST, &target).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        reply.text
    }

    async fn send(&self, domain: &str, exchange: &Value) -> Reply {
        let method = exchange["method"].as_str().unwrap().parse().unwrap();
        let target = exchange["target"].as_str().unwrap();
        let folder = fixtures().display().to_string();
        let folder = folder.trim_start_matches('/').replace('/', "%2F");
        let target = target.replace("<folder>", &folder);
        let scope = match target.split(['/', '?']).nth(1) {
            Some("konnectors") => "io.cozy.konnectors",
            Some("settings") => "io.cozy.settings",
            _ => "io.cozy.apps",
        };
        let token = self.token(domain, scope).await;
        let mut request = self
            .public
            .without_credential(method, &target)
            .header("host", domain)
            .bearer_auth(token);
        if let Some(headers) = exchange.get("headers").and_then(Value::as_object) {
            for (name, value) in headers {
                request = request.header(name, value.as_str().unwrap());
            }
        }
        if let Some(body) = exchange.get("body") {
            request = request.body(body.to_string());
        }
        self.public.send(request).await
    }
}

/// A `hamletd` with the apps of the fixtures, and the domain of an instance for each name. The first has the app `home`.
async fn start(names: [&str; 2]) -> (TempDir, Daemon, World, [String; 2]) {
    let place = tempfile::tempdir().unwrap();
    let config = place.path().join("hamlet.toml");
    let registries = format!("registries = [\"http://{}/main\"]", registry().await);
    fs::write(&config, format!("[contexts.default]\n{registries}\n")).unwrap();
    let daemon = Options::new(&place.path().join("data"))
        .flag(format!("--config={}", config.display()))
        .flag(format!("--app-roots={}", fixtures().display()))
        // The recorded passphrase is easy to guess.
        .flag("--passphrase-score=0")
        .start();
    let domains = names.map(|name| daemon.domain(name));
    let cli = daemon.cli();
    let [first, second] = &domains;
    let _ = cli
        .run(&format!("instances add {first} --apps home"))
        .done();
    let _ = cli.run(&format!("instances add {second}")).done();
    let world = World {
        admin: AdminDoor::of(&daemon),
        public: AdminDoor::at(&daemon.public, &daemon.data().join("admin-credential")),
    };
    (place, daemon, world, domains)
}

#[tokio::test(flavor = "multi_thread")]
async fn existing_command_lines_are_answered_as_recorded() {
    let (_place, _daemon, world, [bob, frank]) = start(["bob", "frank"]).await;
    let recorded: Value = serde_json::from_str(RECORDED).unwrap();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for command in recorded["commands"].as_array().unwrap() {
        let number = command["n"].as_u64().unwrap();
        let words = command["command"].as_str().unwrap();
        let domain = if words.contains("frank") {
            &frank
        } else {
            &bob
        };
        let instead = if number == 51 {
            Instead::Succeeds
        } else {
            Instead::Nothing
        };
        for exchange in command["exchanges"].as_array().unwrap() {
            let reply = world.send(domain, exchange).await;
            let mut compared = Compared {
                place: format!("{number}: {words}"),
                wrong: &mut wrong,
            };
            compared.reply(&reply, exchange, instead);
            count += 1;
        }
    }
    assert!(count >= 19, "{count}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_manage_apps_as_recorded() {
    let (_place, _daemon, world, [domain, _]) = start(["apx", "other"]).await;
    let recorded: Value = serde_json::from_str(RECORDED).unwrap();
    // It was there when the recording began.
    let before = json!({"method": "POST", "target": "/apps/jotter"});
    let _ = world.send(&domain, &before).await;
    let mut wrong = Vec::new();
    for exchange in recorded["apps"].as_array().unwrap() {
        let what = exchange["what"].as_str().unwrap();
        let reply = world.send(&domain, exchange).await;
        let mut compared = Compared {
            place: format!("{what}: {} {}", exchange["method"], exchange["target"]),
            wrong: &mut wrong,
        };
        compared.reply(&reply, exchange, instead_of(what));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// How the answer to a recorded request about apps differs.
fn instead_of(what: &str) -> Instead {
    match what {
        "install again" => Instead::Succeeds,
        // The answer comes when all is done.
        "install plain" | "konnector as konnector" | "other slug" => Instead::Settled,
        "kind mismatch" | "webapp as konnector" => Instead::Refused(409),
        "unknown channel" => Instead::Refused(422),
        "open" | "PUT logs" => Instead::Refused(501),
        "icon" | "icon version" => Instead::File,
        // That is not the one that is installed.
        "icon other version" => Instead::Refused(404),
        // What is installed is sent, wherever it came from.
        "download" | "download v" => Instead::Archive,
        "download other" => Instead::Refused(404),
        _ => Instead::Nothing,
    }
}

struct Compared<'a> {
    place: String,
    wrong: &'a mut Vec<String>,
}

impl Compared<'_> {
    fn check(&mut self, is_right: bool, told: impl FnOnce() -> String) {
        if !is_right {
            self.wrong.push(format!("{}: {}", self.place, told()));
        }
    }

    fn reply(&mut self, reply: &Reply, exchange: &Value, instead: Instead) {
        let status = match instead {
            Instead::Refused(status) => u64::from(status),
            Instead::Archive => 200,
            Instead::Succeeds if exchange["response"].get("events").is_none() => 202,
            _ => exchange["status"].as_u64().unwrap(),
        };
        if u64::from(reply.status.as_u16()) != status {
            return self.check(false, || format!("is not {status} but {reply:?}"));
        }
        if matches!(instead, Instead::Refused(_)) {
            return self.check(!reply.code().is_empty(), || {
                format!("has no code: {reply:?}")
            });
        }
        if instead == Instead::Archive {
            let is_archive = reply.kind.as_deref() == Some("application/gzip");
            return self.check(is_archive, || format!("is {:?}", reply.kind));
        }
        let kind = exchange["content_type"]
            .as_str()
            .map(|kind| kind.split(';').next().unwrap());
        self.check(reply.kind.as_deref() == kind, || {
            format!("has the type {:?}", reply.kind)
        });
        if instead == Instead::File {
            return self.check(!reply.text.is_empty(), || "has no body".to_owned());
        }
        match &exchange["response"] {
            Value::Null => self.check(reply.text.is_empty(), || "has a body".to_owned()),
            // The same as that of another command, or left out.
            Value::String(_) => self.check(reply.json()["data"] != Value::Null, || {
                "has no data".to_owned()
            }),
            expected => match expected.get("events") {
                Some(events) => self.event(reply, &events[0], instead == Instead::Succeeds),
                None if instead == Instead::Succeeds => {}
                None if instead == Instead::Settled => {
                    let mut expected = expected.clone();
                    expected["data"]["meta"] = json!({"rev": "<rev>"});
                    let attributes = &mut expected["data"]["attributes"];
                    attributes["state"] = "ready".into();
                    for made in ["checksum", "created_at", "updated_at"] {
                        attributes[made] = "<made>".into();
                    }
                    self.same("body", &reply.json(), &expected);
                }
                None => self.same("body", &reply.json(), expected),
            },
        }
    }

    fn event(&mut self, reply: &Reply, expected: &Value, succeeds: bool) {
        let mut lines = reply.text.lines();
        let event = lines.next().and_then(|line| line.strip_prefix("event: "));
        let data = lines.next().and_then(|line| line.strip_prefix("data: "));
        let wanted = if succeeds {
            Some("state")
        } else {
            expected["event"].as_str()
        };
        self.check(event == wanted, || format!("is {reply:?}"));
        let data: Value = serde_json::from_str(data.unwrap_or_default()).unwrap_or_default();
        if !succeeds {
            self.same("data", &data, &expected["data"]);
        }
    }

    /// Compares fields and types. Values that a run or a fixture makes are not compared.
    fn same(&mut self, what: &str, found: &Value, expected: &Value) {
        match (found, expected) {
            (Value::Object(found), Value::Object(expected)) => {
                for (name, value) in found {
                    // Errors have a code for programs.
                    let is_known = expected.contains_key(name) || name == "code";
                    self.check(is_known, || format!("{what} has more: {name} = {value}"));
                }
                for (name, expected) in expected {
                    let found = found.get(name).unwrap_or(&Value::Null);
                    self.same(&format!("{what}.{name}"), found, expected);
                }
            }
            (Value::Array(found), Value::Array(expected)) => {
                // Some lists are recorded by their first item, and a text about the others.
                let is_whole =
                    !matches!(expected.last(), Some(Value::String(text)) if is_of_this_run(text));
                let are_as_many = found.len() == expected.len();
                self.check(are_as_many || !is_whole, || {
                    format!("{what} has {} items, not {}", found.len(), expected.len())
                });
                let items = expected.len() - usize::from(!is_whole);
                for (found, expected) in found.iter().zip(expected).take(items) {
                    self.same(what, found, expected);
                }
            }
            (Value::String(_), Value::String(text)) if is_of_this_run(text) => {}
            // A text about the whole, in the place of an object.
            (Value::Object(_), Value::String(text)) if is_of_this_run(text) => {}
            _ => self.check(found == expected, || {
                format!("{what} is {found} and not {expected}")
            }),
        }
    }
}

/// Whether a recorded text differs in every run: masked, an address, a version with a random part.
fn is_of_this_run(text: &str) -> bool {
    text.contains('<') || text.starts_with("http://")
}
