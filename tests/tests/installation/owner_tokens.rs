//! Programs use an instance with tokens: what they open, and what ends them. And what a stranger may call.

use std::time::Duration;

use hamlet_tests::{
    admin_door::{AdminDoor, Reply},
    browser::Browser,
    cli::Answer,
    daemon::{Daemon, Options},
    programs::root,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A `hamletd` with an instance that has the app `home`.
struct World {
    place: TempDir,
    daemon: Daemon,
    admin: AdminDoor,
    public: AdminDoor,
    domain: String,
}

impl World {
    fn start() -> Self {
        let place = tempfile::tempdir().unwrap();
        let apps = root().join("examples/apps");
        let daemon = Options::new(&place.path().join("data"))
            .flag(format!("--app-folder={}", apps.display()))
            .flag(format!("--app-roots={}", place.path().display()))
            .start();
        let domain = daemon.domain("alice");
        let add = format!("instances add {domain} --apps home --email alice@example.org");
        let _ = daemon.cli().run(&add).done();
        Self {
            admin: AdminDoor::of(&daemon),
            public: AdminDoor::at(&daemon.public, &daemon.data().join("admin-credential")),
            place,
            daemon,
            domain,
        }
    }

    fn cli(&self, words: &str) -> String {
        let words = words.replace("ALICE", &self.domain);
        self.daemon.cli().run(&words).done().out.trim().to_owned()
    }

    async fn send(&self, method: Method, path: &str, token: &str) -> Reply {
        let request = self
            .public
            .without_credential(method, path)
            .header("host", &self.domain);
        let request = if token.is_empty() {
            request
        } else {
            request.bearer_auth(token)
        };
        self.public.send(request).await
    }

    async fn get(&self, path: &str, token: &str) -> Reply {
        self.send(Method::GET, path, token).await
    }

    /// Installs the konnector `bills`, which may read the list of apps.
    fn install_konnector(&self) {
        let folder = self.place.path().join("bills");
        std::fs::create_dir(&folder).unwrap();
        let manifest = json!({
            "name": "Bills", "slug": "bills", "version": "1.0.0", "type": "konnector", "language": "node",
            "permissions": {"apps": {"type": "io.cozy.apps", "verbs": ["GET"]}}
        });
        std::fs::write(folder.join("manifest.konnector"), manifest.to_string()).unwrap();
        std::fs::write(folder.join("index.js"), "").unwrap();
        let source = format!("file://{}", folder.display());
        self.cli(&format!("konnectors install ALICE {source}"));
    }

    /// An OAuth client of the instance.
    async fn client(&self) -> String {
        let target = format!(
            "/instances/oauth_client?Domain={}&RedirectURI=http%3A%2F%2Flocalhost%2F&ClientName=x&SoftwareID=y",
            self.domain
        );
        let made = self.admin.ask(Method::POST, &target).await;
        assert_eq!(made.status, StatusCode::OK, "{made:?}");
        made.json()["client_id"].as_str().unwrap().to_owned()
    }
}

/// Answers about who calls are kept for a second.
async fn a_second() {
    tokio::time::sleep(Duration::from_millis(1100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_token_opens_what_it_says() {
    let world = World::start();
    let client = world.client().await;
    let cli = world.cli("instances token-cli ALICE io.cozy.apps:GET io.cozy.settings");
    let app = world.cli("instances token-app ALICE home");
    let oauth = world.cli(&format!(
        "instances token-oauth ALICE {client} io.cozy.apps"
    ));
    let linked = world.cli(&format!(
        "instances token-oauth ALICE {client} @io.cozy.apps/home"
    ));
    let refresh = world.cli(&format!(
        "instances refresh-token-oauth ALICE {client} io.cozy.apps"
    ));
    for (what, token, apps, removal) in [
        ("cli", &cli, 200, 403),
        // What the manifest of home asks for.
        ("app", &app, 200, 403),
        ("oauth", &oauth, 200, 404),
        ("linked", &linked, 200, 403),
        ("refresh", &refresh, 401, 401),
    ] {
        let listed = world.get("/apps/", token).await;
        assert_eq!(listed.status.as_u16(), apps, "{what}: {listed:?}");
        let removed = world.send(Method::DELETE, "/apps/nosuch", token).await;
        assert_eq!(removed.status.as_u16(), removal, "{what}: {removed:?}");
    }
    let login = world.cli("instances token-cli ALICE login");
    let refused = world.get("/settings/instance", &login).await;
    assert_eq!(refused.status.as_u16(), 403, "{refused:?}");
    assert_eq!(world.get("/settings/instance", &cli).await.status, 200);
    let own = world.get("/permissions/self", &app).await.json();
    let attributes = &own["data"]["attributes"];
    assert_eq!(attributes["type"], "app");
    assert_eq!(attributes["source_id"], "io.cozy.apps/home");
    assert_eq!(attributes["permissions"]["apps"]["type"], "io.cozy.apps");
    // A list in one argument, as scripts have it in a variable.
    let mut command = world.daemon.cli().command("instances token-cli");
    command.args([&world.domain, "io.cozy.apps:GET  io.cozy.settings"]);
    let listed = Answer::of(&command.output().unwrap()).done().out;
    let listed = world.get("/permissions/self", listed.trim()).await.json();
    assert_eq!(
        listed["data"]["attributes"]["permissions"]["rule1"],
        json!({"type": "io.cozy.settings"})
    );
    let own = world.get("/permissions/self", &cli).await.json();
    assert_eq!(
        own["data"]["attributes"]["permissions"]["rule1"],
        json!({"type": "io.cozy.settings"})
    );

    let settings = world.get("/settings/instance", &oauth).await;
    assert_eq!(settings.status, StatusCode::OK);
    let settings = settings.json();
    assert_eq!(settings["data"]["id"], "io.cozy.settings.instance");
    assert_eq!(settings["data"]["attributes"]["email"], "alice@example.org");
    assert!(settings["data"]["meta"]["rev"].is_string(), "{settings}");
    let capabilities = world.get("/settings/capabilities", &oauth).await.json();
    assert_eq!(capabilities["data"]["attributes"]["flat_subdomains"], false);
    assert_eq!(
        world
            .get("/settings/disk-usage", &oauth)
            .await
            .status
            .as_u16(),
        403
    );
    let usage = world
        .get("/settings/disk-usage?include=trash", &cli)
        .await
        .json();
    assert_eq!(
        usage["data"]["attributes"],
        json!({"used": "0", "files": "0", "versions": "0", "trash": "0"})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_within_a_second_with_what_it_depends_on() {
    let world = World::start();
    let client = world.client().await;
    world.install_konnector();
    let cli = world.cli("instances token-cli ALICE io.cozy.apps");
    let app = world.cli("instances token-app ALICE home");
    let konnector = world.cli("instances token-konnector ALICE bills");
    let oauth = world.cli(&format!(
        "instances token-oauth ALICE {client} io.cozy.apps"
    ));
    let status = async |token: &str| world.get("/apps/", token).await.status.as_u16();
    for token in [&cli, &app, &konnector, &oauth] {
        assert_eq!(status(token).await, 200);
    }
    // A new passphrase ends the tokens of apps and konnectors, and no others.
    let forced = world.cli("instances token-cli ALICE io.cozy.settings");
    let body = json!({"new_passphrase": "four words for nobody", "force": true});
    let set = world
        .public
        .without_credential(Method::PUT, "/settings/passphrase")
        .header("host", &world.domain)
        .bearer_auth(&forced)
        .body(body.to_string());
    assert_eq!(world.public.send(set).await.status, StatusCode::NO_CONTENT);
    a_second().await;
    assert_eq!(status(&app).await, 401);
    assert_eq!(status(&konnector).await, 401);
    assert_eq!(status(&cli).await, 200);
    assert_eq!(status(&oauth).await, 200);
    // All end when an administrator says so, and others are made.
    for (flag, told) in [
        (" --dry-run", "sessions and tokens would end"),
        ("", "sessions and tokens ended"),
    ] {
        let ended = world.cli(&format!("instances revoke-tokens ALICE{flag}"));
        assert_eq!(ended.trim_end(), format!("{told}  {}", world.domain));
    }
    a_second().await;
    for token in [&cli, &oauth] {
        assert_eq!(status(token).await, 401);
    }
    let cli = world.cli("instances token-cli ALICE io.cozy.apps");
    assert_eq!(status(&cli).await, 200);
    // The token of an app ends with the app, that of a konnector with the konnector.
    let app = world.cli("instances token-app ALICE home");
    let konnector = world.cli("instances token-konnector ALICE bills");
    assert_eq!(status(&app).await, 200);
    assert_eq!(status(&konnector).await, 200);
    world.cli("apps uninstall ALICE home");
    world.cli("konnectors uninstall ALICE bills");
    a_second().await;
    for (slug, token) in [("home", &app), ("bills", &konnector)] {
        let gone = world.get("/apps/", token).await;
        assert_eq!(gone.status, StatusCode::NOT_FOUND, "{gone:?}");
        assert_eq!(
            gone.json()["errors"][0]["detail"],
            format!("no permission doc for {slug}")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_may_call_what_is_listed_and_nothing_else() {
    let world = World::start();
    let mut stranger = Browser::new(&world.daemon.public, &world.domain);
    stranger.accept = "*/*";
    for (method, path, status) in [
        (Method::GET, "/", 200),
        (Method::GET, "/auth/login", 200),
        (Method::POST, "/auth/login", 400),
        (Method::DELETE, "/auth/login", 401),
        (Method::DELETE, "/auth/login/others", 401),
        (Method::GET, "/auth/passphrase", 200),
        (Method::POST, "/auth/logout", 303),
        (Method::POST, "/auth/passphrase", 303),
        (Method::POST, "/auth/sessions/end", 303),
        (Method::POST, "/auth/sessions/others", 303),
        (Method::GET, "/auth/passphrase_reset", 200),
        (Method::GET, "/auth/passphrase_renew", 400),
        (Method::POST, "/auth/passphrase_renew", 415),
        (Method::POST, "/auth/passphrase_reset", 400),
        (Method::POST, "/auth/hint", 200),
        (Method::POST, "/auth/onboarding/resend", 501),
        (Method::GET, "/auth/twofactor", 303),
        (Method::POST, "/auth/twofactor", 401),
        (Method::GET, "/auth/magic_link", 400),
        (Method::POST, "/auth/magic_link", 400),
        (Method::POST, "/auth/magic_link/twofactor", 400),
        (Method::POST, "/auth/second_factor", 303),
        (Method::POST, "/auth/passphrase/code", 303),
        (Method::GET, "/auth/authorize", 200),
        (Method::POST, "/auth/authorize", 400),
        (Method::POST, "/auth/register", 400),
        (Method::GET, "/auth/register/x", 401),
        (Method::PUT, "/auth/register/x", 401),
        (Method::DELETE, "/auth/register/x", 401),
        (Method::POST, "/auth/access_token", 400),
        (Method::POST, "/auth/clients/end", 303),
        (Method::GET, "/auth/authorize/sharing", 501),
        (Method::POST, "/auth/session_code", 501),
        (Method::GET, "/assets/login.js", 200),
        (Method::GET, "/.well-known/change-password", 303),
        (Method::GET, "/settings", 303),
        (Method::POST, "/settings/passphrase", 415),
        (Method::GET, "/public/prelogin", 412),
        (Method::GET, "/public/avatar", 501),
        // All else needs a token.
        (Method::GET, "/apps/", 401),
        (Method::GET, "/apps/home", 401),
        (Method::POST, "/apps/home", 401),
        (Method::PUT, "/apps/home", 401),
        (Method::DELETE, "/apps/home", 401),
        (Method::GET, "/apps/home/icon", 401),
        (Method::GET, "/konnectors/", 401),
        (Method::POST, "/konnectors/x", 401),
        (Method::GET, "/settings/instance", 401),
        (Method::GET, "/settings/disk-usage", 401),
        (Method::GET, "/settings/capabilities", 401),
        (Method::GET, "/settings/flags", 401),
        (Method::GET, "/settings/passphrase", 401),
        (Method::PUT, "/settings/passphrase", 401),
        (Method::GET, "/settings/hint", 401),
        (Method::PUT, "/settings/hint", 401),
        (Method::GET, "/settings/sessions", 401),
        (Method::DELETE, "/settings/sessions/x", 401),
        (Method::GET, "/settings/clients", 401),
        (Method::DELETE, "/settings/clients/x", 401),
        (Method::GET, "/settings/warnings", 401),
        (Method::PUT, "/settings/instance/auth_mode", 401),
        (Method::PUT, "/settings/instance", 401),
        (Method::GET, "/permissions/self", 401),
        (Method::POST, "/permissions", 401),
        // Of the admin door.
        (Method::GET, "/instances", 404),
        (Method::GET, "/operations", 404),
        (Method::GET, "/openapi.json", 404),
    ] {
        let request = stranger.request(method.clone(), path);
        let page = stranger.send(request).await;
        assert_eq!(page.status.as_u16(), status, "{method} {path}: {page:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_apps_may_read_answers_and_those_of_others_without_cookies() {
    let world = World::start();
    let token = world.cli("instances token-cli ALICE io.cozy.apps");
    let own = format!("http://home.{}", world.domain);
    let allows = |reply: &Reply, name: &str| -> Value {
        let header = reply.headers.get(format!("access-control-allow-{name}"));
        header.map_or(Value::Null, |it| it.to_str().unwrap().into())
    };
    for (origin, credentials) in [
        (own.as_str(), json!("true")),
        ("https://o.test", Value::Null),
        ("http://home.evil.localhost", Value::Null),
    ] {
        let request = |method| {
            world
                .public
                .without_credential(method, "/settings/flags")
                .header("host", &world.domain)
                .header("origin", origin)
        };
        let asked = request(Method::OPTIONS)
            .header("access-control-request-method", "GET")
            .header("access-control-request-headers", "authorization");
        let asked = world.public.send(asked).await;
        assert_eq!(asked.status, StatusCode::NO_CONTENT, "{asked:?}");
        assert_eq!(allows(&asked, "headers"), "authorization");
        assert_eq!(
            allows(&asked, "methods"),
            "GET, HEAD, PUT, PATCH, POST, DELETE"
        );
        let read = world
            .public
            .send(request(Method::GET).bearer_auth(&token))
            .await;
        // Whoever has a token has it whatever the page.
        let allowed = if credentials.is_null() { "*" } else { origin };
        for reply in [&asked, &read] {
            assert_eq!(allows(reply, "origin"), allowed);
            assert_eq!(allows(reply, "credentials"), credentials, "{origin}");
        }
    }
    let login = world
        .public
        .without_credential(Method::GET, "/auth/login")
        .header("host", &world.domain)
        .header("origin", "https://o.test");
    assert_eq!(
        allows(&world.public.send(login).await, "origin"),
        Value::Null
    );
}
