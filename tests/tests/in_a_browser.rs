//! The way of a person, in a real browser: from the link to an app, out and in again.
#![allow(
    clippy::unwrap_used,
    reason = "a failed expectation is the test failing"
)]

use std::{fs, path::Path, time::Duration};

use hamlet_tests::{
    chromium::{Chromium, Window},
    daemon::{Daemon, Options},
    programs::root,
};
use tempfile::TempDir;
use test_kit::mail::{MailSink, Received};
use tokio::time::{Instant, sleep};

const PASSPHRASE: &str = "four words for nobody";
const NEXT: &str = "other words for somebody";

/// A `hamletd` with instances that have the example of a first page, and a small app beside it.
struct World {
    place: TempDir,
    daemon: Daemon,
    sink: MailSink,
}

impl World {
    async fn start() -> Self {
        let sink = MailSink::start().await;
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
        let config = place.path().join("hamlet.toml");
        let text = format!(
            "[contexts.default]\noperator_name = 'Our clouds'\noperator_contact = 'help@example.org'\n\
             [contexts.default.mail]\nserver = '127.0.0.1'\nport = {}\nsecurity = 'none'\n\
             from = 'noreply@clouds.example'\n",
            sink.address.port()
        );
        fs::write(&config, text).unwrap();
        let daemon = Options::new(&place.path().join("data"))
            .flag(format!("--app-folder={}", apps.display()))
            .flag(format!("--config={}", config.display()))
            .start();
        Self {
            place,
            daemon,
            sink,
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
    let world = World::start().await;
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
    let world = World::start().await;
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

/// The next mail that is no news of a login.
async fn next_mail(world: &World, mails: &mut usize) -> Received {
    loop {
        *mails += 1;
        let mail = world.sink.mail(*mails).await;
        if !mail.subject.contains("new login") {
            return mail;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_forgets_the_passphrase_and_wants_a_code_from_then_on() {
    let world = World::start().await;
    let mut mails = 0;
    for (window, name) in [(Window::Wide, "dora"), (Window::Phone, "emil")] {
        let Some(browser) = Chromium::start(window, true).await else {
            return;
        };
        let flags = format!("--locale en --email {name}@home.example --public-name {name}");
        let domain = world.add(name, &flags);
        browser.open(&format!("http://{domain}/")).await;
        browser.see("form[action='/auth/onboarding/resend']").await;
        browser.inspect("waiting", window).await;
        browser.click("form button[type=submit]").await;
        let mail = next_mail(&world, &mut mails).await;
        browser.open(mail.link()).await;
        browser.fill("input[name=passphrase]", PASSPHRASE).await;
        browser.click("form button[type=submit]").await;
        browser.see("#apps a").await;
        browser.click("#log-out").await;

        // The way from the login to a new passphrase.
        browser.see("form[action='/auth/login']").await;
        browser.click("a[href='/auth/passphrase_reset']").await;
        browser.see("form[action='/auth/passphrase_reset']").await;
        browser.inspect("forgotten", window).await;
        browser
            .click("form[action='/auth/passphrase_reset'] button")
            .await;
        let mail = next_mail(&world, &mut mails).await;
        browser.inspect("mail-sent", window).await;
        browser.open(mail.link()).await;
        browser.see("input[name=passphrase]").await;
        browser.inspect("renew", window).await;
        browser.fill("input[name=passphrase]", NEXT).await;
        browser.click("form button[type=submit]").await;
        browser.see("#apps a").await;

        // The second factor is turned on with a code.
        let settings = format!("http://{domain}/settings");
        browser.open(&settings).await;
        browser
            .click("form[action='/auth/second_factor'] button")
            .await;
        let code = next_mail(&world, &mut mails).await.code().to_owned();
        browser.see("#factor-code").await;
        browser.inspect("factor-asked", window).await;
        browser.fill("#factor-code", &code).await;
        browser
            .click("form[action='/auth/second_factor'] button")
            .await;
        let on = "form[action='/auth/second_factor'] input[value=basic] ~ button";
        browser.see(on).await;
        browser.inspect("factor-on", window).await;

        // A change of the passphrase needs one, too, and goes on with the session.
        browser
            .click("form[action='/auth/passphrase/code'] button")
            .await;
        let code = next_mail(&world, &mut mails).await.code().to_owned();
        browser.fill("#current", NEXT).await;
        browser.fill("#next", PASSPHRASE).await;
        browser.fill("#change-code", &code).await;
        browser.inspect("change-with-code", window).await;
        browser.click("#change button[type=submit]").await;
        browser.see(".done").await;
        browser.click("form[action='/auth/logout'] button").await;

        // From now on the passphrase leads to the second step.
        browser.see("form[action='/auth/login']").await;
        browser.fill("#passphrase", PASSPHRASE).await;
        browser.click("form button[type=submit]").await;
        browser.see("#code").await;
        browser.inspect("twofactor", window).await;
        let code = next_mail(&world, &mut mails).await.code().to_owned();
        let wrong = if code == "000000" { "000001" } else { "000000" };
        browser.fill("#code", wrong).await;
        browser.click("form button[type=submit]").await;
        browser.see("#error").await;
        browser.inspect("twofactor-wrong", window).await;
        browser.fill("#code", &code).await;
        browser
            .click("input[name=two-factor-generate-trusted-device-token]")
            .await;
        browser.click("form button[type=submit]").await;
        browser.see("#apps a").await;

        // A browser that is trusted is not asked again.
        browser.click("#log-out").await;
        browser.see("form[action='/auth/login']").await;
        browser.fill("#passphrase", PASSPHRASE).await;
        browser.click("form button[type=submit]").await;
        browser.see("#apps a").await;
        browser.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_logs_in_with_a_link_and_sees_mails() {
    let world = World::start().await;
    let mut mails = 0;
    for (window, name) in [(Window::Wide, "frida"), (Window::Phone, "gus")] {
        let Some(browser) = Chromium::start(window, true).await else {
            return;
        };
        let flags = format!("--locale en --email {name}@home.example --magic_link");
        let domain = world.add(name, &flags);
        browser.open(&format!("http://{domain}/")).await;
        browser.see("form[action='/auth/magic_link']").await;
        browser.inspect("magic", window).await;
        browser.click("form button[type=submit]").await;
        let mail = next_mail(&world, &mut mails).await;
        // Readers of mail show the HTML.
        let file = world.place.path().join("mail.html");
        fs::write(&file, &mail.html).unwrap();
        browser.open(&format!("file://{}", file.display())).await;
        browser.see("h1").await;
        browser.inspect("mail", window).await;
        browser.open(mail.link()).await;
        browser
            .see("form[action='/auth/magic_link/twofactor']")
            .await;
        browser.inspect("magic-open", window).await;
        browser.click("form button[type=submit]").await;
        browser.see("#apps a").await;
        browser.open(mail.link()).await;
        browser.click("form button[type=submit]").await;
        browser.see("h1").await;
        browser.inspect("magic-dead", window).await;
        browser.close().await;
    }
}
