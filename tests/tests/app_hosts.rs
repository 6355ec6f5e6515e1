//! Web apps on their hosts, through the public door.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed expectation is the test failing"
)]

use hamlet_tests::{
    daemon::{Daemon, Options},
    programs::root,
};
use reqwest::{Client, Response, StatusCode, redirect::Policy};

/// A browser that goes where it is sent by hand.
struct Browser {
    client: Client,
    public: String,
}

impl Browser {
    fn of(daemon: &Daemon) -> Self {
        Self {
            client: Client::builder().redirect(Policy::none()).build().unwrap(),
            public: daemon.public.clone(),
        }
    }

    async fn open(&self, host: &str, path: &str) -> Response {
        let url = format!("http://{}{path}", self.public);
        let request = self.client.get(url).header("host", host);
        let request = request.header("accept", "text/html,*/*;q=0.8");
        request.send().await.unwrap()
    }
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    let value = response.headers().get(name);
    value.map_or("", |value| value.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_is_opened_by_its_host() {
    let place = tempfile::tempdir().unwrap();
    let apps = root().join("examples/apps");
    let config = place.path().join("hamlet.toml");
    std::fs::write(&config, "[contexts.flat]\nsubdomains = \"flat\"\n").unwrap();
    let daemon = Options::new(&place.path().join("data"))
        .flag(format!("--config={}", config.display()))
        .flag(format!("--app-folder={}", apps.display()))
        .start();
    let cli = daemon.cli();
    let (ann, ben) = (daemon.domain("ann"), daemon.domain("ben"));
    let _ = cli
        .run(&format!(
            "instances add {ann} --apps home --domain-aliases annie.localhost"
        ))
        .done();
    let _ = cli
        .run(&format!(
            "instances add {ben} --apps home --context-name flat"
        ))
        .done();
    let browser = Browser::of(&daemon);
    let home = format!("home.{ann}");

    // Before there is an owner, every app leads to the start page.
    let early = browser.open(&home, "/x?y=z").await;
    assert_eq!(early.status(), StatusCode::FOUND);
    assert_eq!(header(&early, "location"), format!("http://{ann}/"));

    for domain in [&ann, &ben] {
        let words = format!("instances set-passphrase {domain} --force a-passphrase-of-many-words");
        let _ = cli.run(&words).done();
    }
    let public = browser.open(&home, "/assets/home.css").await;
    assert_eq!(public.status(), StatusCode::OK);
    assert_eq!(header(&public, "content-type"), "text/css; charset=utf-8");
    let policy = header(&public, "content-security-policy");
    assert!(policy.contains(&format!("http://*.{ann}")), "{policy}");

    let escaped = |host: &str| host.replace(':', "%3A");
    for (host, instance) in [
        (home.as_str(), ann.as_str()),
        ("home.annie.localhost", "annie.localhost"),
        (&ben.replacen("ben.", "ben-home.", 1), ben.as_str()),
    ] {
        let private = browser.open(host, "/").await;
        assert_eq!(private.status(), StatusCode::FOUND, "{host}");
        let login = format!(
            "http://{instance}/auth/login?redirect=http%3A%2F%2F{}%2F",
            escaped(host)
        );
        assert_eq!(header(&private, "location"), login);
        let file = browser.open(host, "/manifest.webapp").await;
        assert_eq!(file.status(), StatusCode::UNAUTHORIZED, "{host}");
    }
    let none = browser.open(&format!("nosuch.{ann}"), "/").await;
    assert_eq!(none.status(), StatusCode::NOT_FOUND);
    assert!(none.text().await.unwrap().contains("nosuch"));

    // What the gateway refuses never reaches the app.
    let _ = cli.run(&format!("instances block {ann}")).done();
    let blocked = browser.open(&home, "/assets/home.css").await;
    assert_eq!(blocked.status(), StatusCode::SERVICE_UNAVAILABLE);
}
