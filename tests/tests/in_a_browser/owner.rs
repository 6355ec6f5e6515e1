//! The way of a person, in a real browser: from the link to an app, out and in again.

use std::{fs, path::Path, time::Duration};

use hamlet_tests::{
    browser::Browser,
    chromium::{Chromium, Window},
    daemon::{Daemon, Options},
    programs::root,
};
use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    time::{Instant, sleep},
};

const PASSPHRASE: &str = "four words for nobody";
const NEXT: &str = "other words for somebody";

/// A `hamletd` with instances that have the example of a first page, and a small app beside it.
struct World {
    _place: TempDir,
    daemon: Daemon,
}

impl World {
    fn start() -> Self {
        let place = tempfile::tempdir().unwrap();
        let apps = place.path().join("apps");
        copy(&root().join("examples/apps/home"), &apps.join("home"));
        let notes = apps.join("notes");
        fs::create_dir_all(notes.join("assets")).unwrap();
        let manifest = r#"{"name": "Notes", "slug": "notes", "type": "webapp", "version": "1.0.0", "editor": "Tests",
            "permissions": {}, "routes": {"/": {"folder": "/", "index": "index.html", "public": false}}}"#;
        fs::write(notes.join("manifest.webapp"), manifest).unwrap();
        let page = r#"<!doctype html><html lang="{{.Locale}}"><head><title>Notes</title>
            <link rel="stylesheet" href="/assets/notes.css"></head>
            <body data-cozy="{{.CozyData}}"><main><h1>Notes of {{.Domain}}</h1></main></body></html>"#;
        fs::write(notes.join("index.html"), page).unwrap();
        fs::write(notes.join("assets/notes.css"), "h1 { color: #123 }").unwrap();
        let daemon = Options::new(&place.path().join("data"))
            .flag(format!("--app-folder={}", apps.display()))
            .start();
        Self {
            _place: place,
            daemon,
        }
    }

    /// Adds an instance. Returns its domain.
    fn add(&self, name: &str, flags: &str) -> String {
        let domain = self.daemon.domain(name);
        let add = format!("instances add {domain} --apps home,notes {flags}");
        let _ = self.daemon.cli().run(&add).done();
        domain
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_arrives_opens_an_app_and_comes_back() {
    let world = World::start();
    for (window, name) in [(Window::Wide, "alice"), (Window::Phone, "bob")] {
        let Some(browser) = Chromium::start(window, true).await else {
            return;
        };
        let domain = world.add(name, "--locale en");
        let link = format!("instances register-link {domain}");
        let link = world.daemon.cli().run(&link).done().out;

        // The link leads to a form, and the passphrase into the first page.
        browser.open(link.trim()).await;
        browser.see("input[name=passphrase]").await;
        browser.inspect("choose", window).await;
        browser.fill("input[name=passphrase]", PASSPHRASE).await;
        browser.click("form button[type=submit]").await;
        browser.see("#apps a").await;
        assert_eq!(browser.address().await, format!("http://home.{domain}/"));
        browser.see("#sessions li").await;
        browser.inspect("home", window).await;

        // An app opens on a host of its own, for whoever is logged in.
        browser.click("#apps a").await;
        assert_eq!(browser.text("h1").await, format!("Notes of {domain}"));
        assert_eq!(browser.address().await, format!("http://notes.{domain}/"));

        // The passphrase is changed, and the old one opens nothing.
        browser.open(&format!("http://{domain}/")).await;
        browser.fill("#current", PASSPHRASE).await;
        browser.fill("#next", NEXT).await;
        browser.fill("#again", NEXT).await;
        browser.click("#passphrase button[type=submit]").await;
        browser.see("#log-out").await;
        wait_for_change(&browser).await;
        browser.click("#log-out").await;
        browser.see("form[action='/auth/login']").await;
        browser.inspect("login", window).await;
        browser.fill("#passphrase", PASSPHRASE).await;
        browser.click("form button[type=submit]").await;
        browser.see("#error").await;
        browser.inspect("wrong", window).await;
        browser.fill("#passphrase", NEXT).await;
        browser.click("form button[type=submit]").await;
        browser.see("#apps a").await;

        // The pages of the instance itself know who it is.
        browser.open(&format!("http://{domain}/settings")).await;
        browser.see("h1").await;
        browser.inspect("settings", window).await;

        // A block is seen by the next click.
        let block = format!("instances block {domain} --reason Invoice-42");
        let _ = world.daemon.cli().run(&block).done();
        let blocked = async || {
            browser.open(&format!("http://{domain}/settings")).await;
            browser.text("main").await.contains("Invoice-42")
        };
        let end = Instant::now() + Duration::from_secs(30);
        while !blocked().await {
            assert!(Instant::now() < end, "the block is never seen");
        }
        browser.inspect("blocked", window).await;
        browser.close().await;
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The home page says that the passphrase was changed, and goes on with a new session.
async fn wait_for_change(browser: &Chromium) {
    let end = Instant::now() + Duration::from_secs(60);
    while !browser.text("#status").await.contains("changed") {
        assert!(Instant::now() < end, "nothing tells of the change");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_gets_in_without_scripts() {
    let Some(browser) = Chromium::start(Window::Wide, false).await else {
        return;
    };
    let world = World::start();
    let domain = world.add("carol", "--locale en");
    let link = format!("instances register-link {domain}");
    let link = world.daemon.cli().run(&link).done().out;
    browser.open(link.trim()).await;
    browser.fill("input[name=passphrase]", PASSPHRASE).await;
    browser.click("form button[type=submit]").await;
    browser.see("noscript p").await;
    assert_eq!(browser.address().await, format!("http://home.{domain}/"));
    browser.open(&format!("http://{domain}/settings")).await;
    browser.see("h1").await;
    browser
        .inspect("settings-without-scripts", Window::Wide)
        .await;
    browser.close().await;
}

/// A program of somebody else: it waits for the browser at an address of this machine.
async fn program() -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!(
        "http://localhost:{}/callback",
        listener.local_addr().unwrap().port()
    );
    let answers = tokio::spawn(async move {
        const ANSWER: &[u8] =
            b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n\r\n\
            <!doctype html><title>Reader</title><h1 id=\"arrived\">Welcome back</h1>";
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _read = stream.read(&mut request).await;
            let _written = stream.write_all(ANSWER).await;
        }
    });
    (address, answers)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_lets_a_program_in_and_puts_it_out() {
    let world = World::start();
    let (callback, answers) = program().await;
    for (window, name) in [(Window::Wide, "dora"), (Window::Phone, "emil")] {
        let Some(browser) = Chromium::start(window, true).await else {
            return;
        };
        let domain = world.add(name, "--locale en");
        let link = format!("instances register-link {domain}");
        let link = world.daemon.cli().run(&link).done().out;
        let token = link.trim().split_once("registerToken=").unwrap().1;
        let mut program = Browser::new(&world.daemon.public, &domain);
        let fields = [("register_token", token), ("passphrase", PASSPHRASE)];
        program.post("/settings/passphrase", &fields).await;
        program.cookies.clear();
        let registration = json!({
            "redirect_uris": [callback], "client_name": "Reader", "software_id": "org.example.reader",
            "client_uri": "https://reader.example/"
        });
        let register = program
            .request(Method::POST, "/auth/register")
            .header("accept", "application/json")
            .header("content-type", "application/json")
            .body(registration.to_string());
        let client = program.send(register).await.json();
        let text = |name: &str| client[name].as_str().unwrap().to_owned();
        let (id, secret) = (text("client_id"), text("client_secret"));

        // Who is not logged in logs in first, and comes back.
        let ask = format!(
            "http://{domain}/auth/authorize?client_id={id}&redirect_uri={callback}&response_type=code&state=s\
             &scope=io.cozy.files:GET+io.cozy.contacts+org.example.songs:GET,POST"
        );
        browser.open(&ask).await;
        browser.fill("#passphrase", PASSPHRASE).await;
        browser.click("form button[type=submit]").await;
        browser.see("#authorize").await;
        assert_eq!(browser.text("h1").await, "Reader asks for access");
        browser.inspect("consent", window).await;
        browser.click("button[value=refuse]").await;
        browser.see("#arrived").await;
        let refused = browser.address().await;
        assert!(refused.contains("error=access_denied"), "{refused}");
        browser.open(&ask).await;
        browser.click("button[value=allow]").await;
        browser.see("#arrived").await;
        let address = browser.address().await;
        let code = address.split_once("&code=").unwrap().1;
        let code = code.split('&').next().unwrap();

        // The program gets tokens, and others.
        let proof = [("client_id", id.as_str()), ("client_secret", &secret)];
        let fetch = [
            proof[0],
            proof[1],
            ("grant_type", "authorization_code"),
            ("code", code),
        ];
        let tokens = program.post("/auth/access_token", &fetch).await.json();
        let refresh = tokens["refresh_token"].as_str().unwrap();
        let renew = [
            proof[0],
            proof[1],
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh),
        ];
        let renewed = program.post("/auth/access_token", &renew).await;
        assert_eq!(renewed.status.as_u16(), 200, "{renewed:?}");

        // The owner takes the access away.
        browser.open(&format!("http://{domain}/settings")).await;
        browser.see("#programs").await;
        browser.inspect("settings-with-programs", window).await;
        browser
            .click("form[action='/auth/clients/end'] button")
            .await;
        let end = Instant::now() + Duration::from_secs(30);
        while program
            .post("/auth/access_token", &renew)
            .await
            .status
            .as_u16()
            != 400
        {
            assert!(Instant::now() < end, "the program is never put out");
            sleep(Duration::from_millis(50)).await;
        }
        browser.close().await;
    }
    answers.abort();
}
