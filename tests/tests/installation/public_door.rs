//! What existing command lines send to the public door, with the token that the admin door gave them.

use hamlet_tests::{
    admin_door::{AdminDoor, Reply},
    daemon::{Daemon, Options},
    programs::root,
};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A `hamletd` with an instance, and both of its doors.
struct World {
    _place: TempDir,
    daemon: Daemon,
    admin: AdminDoor,
    public: AdminDoor,
    domain: String,
}

impl World {
    async fn start() -> Self {
        let place = tempfile::tempdir().unwrap();
        let apps = root().join("examples/apps");
        let daemon = Options::new(&place.path().join("data"))
            .flag(format!("--app-folder={}", apps.display()))
            .start();
        let domain = daemon.domain("alice");
        let _ = daemon.cli().run(&format!("instances add {domain}")).done();
        Self {
            _place: place,
            admin: AdminDoor::of(&daemon),
            public: AdminDoor::at(&daemon.public, &daemon.data().join("admin-credential")),
            daemon,
            domain,
        }
    }

    async fn token(&self, scope: &str) -> String {
        let target = format!(
            "/instances/token?Audience=cli&Domain={}&Scope={scope}&Subject=CLI",
            self.domain
        );
        let reply = self.admin.ask(Method::POST, &target).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        reply.text
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.public
            .without_credential(method, path)
            .header("host", &self.domain)
    }

    async fn send(&self, method: Method, path: &str, token: &str) -> Reply {
        let request = self.request(method, path).bearer_auth(token);
        self.public.send(request).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn apps_are_installed_shown_updated_and_removed() {
    let world = World::start().await;
    let token = world.token("io.cozy.apps").await;
    let none = world.send(Method::GET, "/apps/", &token).await;
    assert_eq!(
        (none.status, none.json()),
        (
            StatusCode::OK,
            json!({"data": [], "links": {}, "meta": {"count": 0}})
        )
    );

    let request = world
        .request(Method::POST, "/apps/home?Deactivated=false")
        .header("accept", "text/event-stream")
        .bearer_auth(&token);
    let installed = world.public.send(request).await;
    assert_eq!(installed.kind.as_deref(), Some("text/event-stream"));
    let data = installed
        .text
        .strip_prefix("event: state\r\ndata: ")
        .and_then(|rest| rest.strip_suffix("\r\n\r\n"));
    let event: Value = serde_json::from_str(data.unwrap()).unwrap();
    assert_eq!(event["data"]["attributes"]["state"], "ready");

    for path in ["/apps", "/apps/", "/apps?limit=1"] {
        let listed = world.send(Method::GET, path, &token).await.json();
        assert_eq!(listed["meta"]["count"], 1, "{path}");
        let app = &listed["data"][0];
        assert_eq!(app["id"], "io.cozy.apps/home");
        assert_eq!(app["attributes"]["slug"], "home");
        assert!(app["attributes"]["permissions"].is_object());
        let host = format!("http://home.{}/", world.domain);
        assert_eq!(app["links"]["related"], host);
    }
    let shown = world.send(Method::GET, "/apps/home", &token).await.json();
    assert!(shown["data"]["meta"]["rev"].is_string());

    let path = "/apps/home?PermissionsAcked=true&Source=";
    let updated = world.send(Method::PUT, path, &token).await;
    assert_eq!(updated.status, StatusCode::ACCEPTED, "{updated:?}");
    let removed = world.send(Method::DELETE, "/apps/home", &token).await;
    assert_eq!(removed.status, StatusCode::OK, "{removed:?}");
    assert_eq!(removed.json()["data"]["attributes"]["slug"], "home");
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let gone = world.send(method, "/apps/home", &token).await;
        assert_eq!(gone.status, StatusCode::NOT_FOUND);
        assert_eq!(gone.code(), "APP_NOT_INSTALLED");
    }
    // An event tells of an error, too.
    let request = world
        .request(
            Method::POST,
            "/apps/nosuch?Source=registry%3A%2F%2Fnosuch%2Fstable",
        )
        .header("accept", "text/event-stream")
        .bearer_auth(&token);
    let failed = world.public.send(request).await;
    assert_eq!(failed.status, StatusCode::OK);
    assert!(
        failed.text.starts_with("event: error\r\ndata: \""),
        "{failed:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_what_it_says_and_its_own_instance() {
    let world = World::start().await;
    let bob = world.daemon.domain("bob");
    let _ = world
        .daemon
        .cli()
        .run(&format!("instances add {bob}"))
        .done();
    let apps = world.token("io.cozy.apps:GET").await;

    for (what, method, path, token, status, code) in [
        ("nothing", Method::GET, "/apps/", None, 401, "TOKEN_MISSING"),
        (
            "no token",
            Method::GET,
            "/apps/",
            Some("a.b.c"),
            401,
            "TOKEN_WRONG",
        ),
        (
            "the right one",
            Method::GET,
            "/apps/",
            Some(apps.as_str()),
            200,
            "",
        ),
        (
            "another verb",
            Method::DELETE,
            "/apps/home",
            Some(&apps),
            403,
            "TOKEN_SCOPE",
        ),
        (
            "another doctype",
            Method::GET,
            "/konnectors/",
            Some(&apps),
            403,
            "TOKEN_SCOPE",
        ),
        (
            "any token",
            Method::GET,
            "/settings/flags",
            Some(&apps),
            200,
            "",
        ),
        (
            "another doctype",
            Method::PUT,
            "/settings/passphrase",
            Some(&apps),
            403,
            "TOKEN_SCOPE",
        ),
    ] {
        let request = world.request(method, path);
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let reply = world.public.send(request).await;
        assert_eq!(reply.status.as_u16(), status, "{what} at {path}: {reply:?}");
        assert_eq!(reply.code(), code, "{what} at {path}");
        let asks = reply.headers.contains_key("www-authenticate");
        assert_eq!(asks, code.starts_with("TOKEN"), "{what} at {path}");
    }
    // The admin credential is no token, and a token opens no other instance.
    let other = world.public.without_credential(Method::GET, "/apps/");
    let other = other.header("host", &bob).bearer_auth(&apps);
    assert_eq!(world.public.send(other).await.code(), "TOKEN_WRONG");
    let credential = world.public.request(Method::GET, "/apps/");
    let credential = credential.header("host", &world.domain);
    assert_eq!(world.public.send(credential).await.code(), "TOKEN_WRONG");
    // As compatible clients carry it.
    let basic = world.request(Method::GET, "/settings/flags");
    let basic = world.public.send(basic.basic_auth("", Some(&apps))).await;
    assert_eq!(basic.status, StatusCode::OK);
    let query = format!("/settings/flags?bearer_token={apps}");
    let query = world.public.send(world.request(Method::GET, &query)).await;
    assert_eq!(query.status, StatusCode::OK);

    // A block refuses the owner's programs, too.
    let block = format!("instances block {}", world.domain);
    let _ = world.daemon.cli().run(&block).done();
    let blocked = world.send(Method::GET, "/apps/", &apps).await;
    assert_eq!(
        blocked.status,
        StatusCode::SERVICE_UNAVAILABLE,
        "{blocked:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_are_shown_with_their_sources() {
    let world = World::start().await;
    let flags = format!("features flags {} own=true", world.domain);
    let _ = world.daemon.cli().run(&flags).done();
    let _ = world.daemon.cli().run("features defaults all=1").done();
    let token = world.token("io.cozy.settings").await;
    let path = "/settings/flags?include=source";
    let shown = world.send(Method::GET, path, &token).await.json();
    assert_eq!(shown["data"]["attributes"], json!({"all": 1, "own": true}));
    let included = shown["included"].as_array().unwrap();
    let ids: Vec<&str> = included
        .iter()
        .map(|it| it["id"].as_str().unwrap())
        .collect();
    assert_eq!(
        ids,
        [
            "io.cozy.settings.flags.instance",
            "io.cozy.settings.flags.default"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_passphrase_is_set_and_never_told() {
    let world = World::start().await;
    let token = world.token("io.cozy.settings").await;
    let put = async |body: Value| {
        let request = world.request(Method::PUT, "/settings/passphrase");
        let request = request.bearer_auth(&token).body(body.to_string());
        world.public.send(request).await
    };
    let weak = put(json!({"new_passphrase": "alice", "force": true})).await;
    assert_eq!(weak.status, StatusCode::BAD_REQUEST, "{weak:?}");
    let hashed = put(json!({"new_passphrase": "x", "force": true, "iterations": 5000})).await;
    assert_eq!(hashed.status, StatusCode::NOT_IMPLEMENTED);
    let malformed = put(json!({"new_passphrase": ["secret words"]})).await;
    assert_eq!(malformed.status, StatusCode::BAD_REQUEST);
    assert!(!malformed.text.contains("secret words"), "{malformed:?}");
    let set = put(json!({"new_passphrase": "four words for nobody", "force": true})).await;
    assert_eq!(set.status, StatusCode::NO_CONTENT, "{set:?}");
    let show = format!("instances show {} -o json", world.domain);
    let shown = world.daemon.cli().run(&show).done().json();
    assert_eq!(shown["passwordDefined"], true, "{shown}");
}
