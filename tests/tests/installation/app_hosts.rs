//! Web apps on their hosts, through the public door.

use hamlet_tests::{
    browser::{Browser, Page},
    daemon::{Daemon, Options},
    programs::root,
};
use reqwest::{Method, StatusCode};
use tempfile::TempDir;

const PASSPHRASE: &str = "a-passphrase-of-many-words";

/// A `hamletd` with two instances that have the app `home`: `ann`, and `ben` with flat hosts.
fn start() -> (TempDir, Daemon, String, String) {
    let place = tempfile::tempdir().unwrap();
    let apps = root().join("examples/apps");
    let config = place.path().join("hamlet.toml");
    std::fs::write(&config, "[contexts.flat]\nsubdomains = \"flat\"\n").unwrap();
    let daemon = Options::new(&place.path().join("data"))
        .flag(format!("--config={}", config.display()))
        .flag(format!("--app-folder={}", apps.display()))
        .start();
    let (ann, ben) = (daemon.domain("ann"), daemon.domain("ben"));
    for words in [
        format!("instances add {ann} --apps home --domain-aliases annie.localhost"),
        format!("instances add {ben} --apps home --context-name flat"),
    ] {
        let _ = daemon.cli().run(&words).done();
    }
    (place, daemon, ann, ben)
}

fn with_owner(daemon: &Daemon, domain: &str) {
    let words = format!("instances set-passphrase {domain} --force {PASSPHRASE}");
    let _ = daemon.cli().run(&words).done();
}

async fn open(daemon: &Daemon, host: &str, path: &str) -> Page {
    Browser::new(&daemon.public, host).get(path).await
}

fn header<'a>(page: &'a Page, name: &str) -> &'a str {
    let value = page.headers.get(name);
    value.map_or("", |value| value.to_str().unwrap())
}

/// The token in a page.
fn token_in(page: &str) -> String {
    let (_, rest) = page.split_once("token&#34;:&#34;").unwrap();
    rest.split('&').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_is_opened_by_its_host() {
    let (_place, daemon, ann, ben) = start();
    let home = format!("home.{ann}");

    // Before there is an owner, every app leads to the start page.
    let early = open(&daemon, &home, "/x?y=z").await;
    assert_eq!(early.status, StatusCode::FOUND);
    assert_eq!(early.location(), format!("http://{ann}/"));

    with_owner(&daemon, &ann);
    with_owner(&daemon, &ben);
    let public = open(&daemon, &home, "/assets/home.css").await;
    assert_eq!(public.status, StatusCode::OK);
    assert_eq!(header(&public, "content-type"), "text/css; charset=utf-8");
    let policy = header(&public, "content-security-policy");
    assert!(policy.contains(&format!("http://*.{ann}")), "{policy}");

    let escaped = |host: &str| host.replace(':', "%3A");
    for (host, instance) in [
        (home.as_str(), ann.as_str()),
        ("home.annie.localhost", "annie.localhost"),
        (&ben.replacen("ben.", "ben-home.", 1), ben.as_str()),
    ] {
        let private = open(&daemon, host, "/").await;
        assert_eq!(private.status, StatusCode::FOUND, "{host}");
        let login = format!(
            "http://{instance}/auth/login?redirect=http%3A%2F%2F{}%2F",
            escaped(host)
        );
        assert_eq!(private.location(), login);
        let file = open(&daemon, host, "/manifest.webapp").await;
        assert_eq!(file.status, StatusCode::UNAUTHORIZED, "{host}");
    }
    let none = open(&daemon, &format!("nosuch.{ann}"), "/").await;
    assert_eq!(none.status, StatusCode::NOT_FOUND);
    assert!(none.text.contains("nosuch"), "{none:?}");

    // What the gateway refuses never reaches the app.
    let _ = daemon.cli().run(&format!("instances block {ann}")).done();
    let blocked = open(&daemon, &home, "/assets/home.css").await;
    assert_eq!(blocked.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_an_app_has_a_token_for_its_owner() {
    let (_place, daemon, ann, ben) = start();
    with_owner(&daemon, &ann);
    with_owner(&daemon, &ben);
    let mut browser = Browser::new(&daemon.public, &ann);
    let home = format!("http://home.{ann}");
    let led = browser.log_in(PASSPHRASE, &[("redirect", "home/")]).await;
    assert_eq!(led.location(), format!("{home}/"));
    browser.host = format!("home.{ann}");
    let page = browser.get("/").await;
    assert_eq!(page.status, StatusCode::OK);
    let token = token_in(&page.text);

    // The session counts for one instance only, and a token only with its session.
    let mut stranger = browser.clone();
    stranger.host = ben.replacen("ben.", "ben-home.", 1);
    assert_eq!(stranger.get("/").await.status, StatusCode::FOUND);
    browser.host = ann.clone();
    let ask = |browser: &Browser, path: &str| {
        let request = browser.request(Method::GET, path);
        request.bearer_auth(&token).header("origin", &home)
    };
    let apps = browser.send(ask(&browser, "/apps/")).await;
    assert_eq!(apps.status, StatusCode::OK, "{apps:?}");
    assert_eq!(header(&apps, "access-control-allow-origin"), home);
    assert_eq!(header(&apps, "access-control-allow-credentials"), "true");
    assert_eq!(apps.json()["data"][0]["attributes"]["slug"], "home");
    let icon = browser.send(ask(&browser, "/apps/home/icon")).await;
    assert_eq!(icon.status, StatusCode::OK);
    assert_eq!(header(&icon, "content-type"), "image/svg+xml");
    // A token that proves nothing opens nothing to a page, although there is a session. A proxy in front may send a password
    // of its own with what the pages of the instance ask for.
    for wrong in ["Bearer x", "Bearer a.b.c", "Basic eDp5"] {
        for path in ["/apps/home/download", "/apps/home/icon"] {
            let request = browser.request(Method::GET, path);
            let request = request.header("authorization", wrong);
            let own = request.try_clone().unwrap();
            let hidden = browser.send(request.header("origin", &home)).await;
            assert_eq!(
                hidden.status,
                StatusCode::UNAUTHORIZED,
                "{path} with {wrong}"
            );
            let own = own.header("origin", format!("http://{ann}"));
            let shown = browser.send(own).await;
            assert_eq!(shown.status, StatusCode::OK, "{path} with {wrong}");
        }
    }
    let mut without = browser.clone();
    without.cookies.clear();
    let refused = without.send(ask(&without, "/apps/")).await;
    assert!(refused.status.is_client_error(), "{refused:?}");
    // What the session alone opens is for no script.
    let pages = browser.send(ask(&browser, "/auth/login")).await;
    assert_eq!(header(&pages, "access-control-allow-origin"), "");
}
