//! What comes by mail: a link for an owner who has forgotten the passphrase, codes, links that log in, news of a login. A
//! mail server of the test keeps the mails.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed expectation is the test failing"
)]

use std::{fs, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hamlet_tests::{
    browser::{Browser, Page},
    certificates::Authority,
    daemon::{Daemon, Options},
    programs::root,
};
use reqwest::{Method, StatusCode};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use test_kit::mail::{MailSink, Protection, Received};

const PASSPHRASE: &str = "four words for nobody";
const NEXT: &str = "other words for somebody";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// A `hamletd` whose mail goes to a server of the test.
struct World {
    place: TempDir,
    daemon: Daemon,
    sink: MailSink,
}

impl World {
    async fn start() -> Self {
        let sink = MailSink::start().await;
        Self::start_with(sink, "security = 'none'").await
    }

    async fn start_with(sink: MailSink, lines: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), sink, lines, "127.0.0.1").await
    }

    /// Starts it in a folder, whose file `ca` has the authority of certificates that are trusted, if it is there.
    async fn start_in(place: TempDir, sink: MailSink, lines: &str, server: &str) -> Self {
        let config = place.path().join("hamlet.toml");
        let text = format!(
            "[contexts.default]\noperator_name = 'Our clouds'\noperator_contact = 'help@example.org'\n\
             [contexts.default.mail]\nserver = '{server}'\nport = {}\nfrom = 'noreply@clouds.example'\n\
             reply_to = 'help@example.org'\n{lines}\n",
            sink.address.port()
        );
        fs::write(&config, text).unwrap();
        let apps = root().join("examples/apps");
        let mut options = Options::new(&place.path().join("data"))
            .flag(format!("--app-folder={}", apps.display()))
            .flag(format!("--config={}", config.display()))
            .flag("--trusted-proxies=127.0.0.1/32");
        let authority = place.path().join("ca");
        if authority.exists() {
            options = options.variable("SSL_CERT_FILE", &authority);
        }
        let daemon = options.start();
        Self {
            place,
            daemon,
            sink,
        }
    }

    /// Adds an instance. Returns its domain.
    fn add(&self, name: &str, flags: &str) -> String {
        let domain = self.daemon.domain(name);
        let add = format!("instances add {domain} {flags}");
        let _ = self.daemon.cli().run(&add).done();
        domain
    }

    /// Adds an instance whose owner has the passphrase above.
    async fn add_owner(&self, name: &str, flags: &str) -> String {
        let domain = self.add(name, flags);
        let link = self
            .daemon
            .cli()
            .run(&format!("instances register-link {domain}"));
        let link = link.done().out;
        let token = link
            .trim()
            .split_once("registerToken=")
            .unwrap()
            .1
            .to_owned();
        let fields = [
            ("register_token", token.as_str()),
            ("passphrase", PASSPHRASE),
        ];
        let mut browser = self.browser(&domain);
        let chosen = browser.post("/settings/passphrase", &fields).await;
        assert_eq!(chosen.status, StatusCode::SEE_OTHER, "{chosen:?}");
        domain
    }

    fn browser(&self, domain: &str) -> Browser {
        Browser::new(&self.daemon.public, domain)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.place.path().join("data.log")).unwrap()
    }

    /// A token with which an owner's settings may be changed.
    fn token(&self, domain: &str) -> String {
        let token = format!("instances token-cli {domain} io.cozy.settings");
        self.daemon.cli().run(&token).done().out.trim().to_owned()
    }
}

/// The path of a link, with its query.
fn path(link: &str) -> &str {
    let rest = link.split_once("://").unwrap().1;
    &rest[rest.find('/').unwrap()..]
}

fn query<'a>(link: &'a str, name: &str) -> &'a str {
    let found = link.split(['?', '&']).find_map(|pair| {
        let (of, value) = pair.split_once('=')?;
        (of == name).then_some(value)
    });
    found.unwrap_or_default()
}

/// Sends the form of the page at which an owner asks for a link.
async fn forget(browser: &mut Browser) -> Page {
    let form = browser.get("/auth/passphrase_reset").await;
    let csrf = form.field("csrf_token");
    let fields = [("csrf_token", csrf.as_str())];
    browser.post("/auth/passphrase_reset", &fields).await
}

fn is_logged_in(page: &Page) -> bool {
    page.set_cookies()
        .iter()
        .any(|it| it.starts_with("cozysessid="))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_who_has_forgotten_the_passphrase_gets_a_link() {
    let world = World::start().await;
    let alice = world
        .add_owner(
            "alice",
            "--locale fr --email alice@home.example --public-name Alice",
        )
        .await;
    let mut browser = world.browser(&alice);
    let login = browser.get("/auth/login").await;
    assert!(login.text.contains("href=\"/auth/passphrase_reset\""));
    let form = browser.get("/auth/passphrase_reset").await;
    assert!(form.text.contains("you can choose a new one"), "{form:?}");

    // The form needs its cookie.
    let forged = browser.post("/auth/passphrase_reset", &[]).await;
    assert_eq!(forged.status, StatusCode::BAD_REQUEST, "{forged:?}");
    let sent = forget(&mut browser).await;
    assert_eq!(sent.status, StatusCode::OK);
    assert!(sent.text.contains("Look into your mail"), "{sent:?}");

    // The mail is for the owner, in the language of the instance.
    let mail = world.sink.mail(1).await;
    assert_eq!(mail.to, "alice@home.example");
    assert_eq!(
        mail.subject,
        format!("Une nouvelle phrase secrète pour {alice}")
    );
    assert!(mail.plain.starts_with("Bonjour Alice,\n"), "{}", mail.plain);
    assert!(mail.plain.contains("15 minutes"), "{}", mail.plain);
    assert!(
        mail.plain.ends_with("-- \nOur clouds\nhelp@example.org\n"),
        "{}",
        mail.plain
    );
    for header in [
        "From: \"Our clouds\" <noreply@clouds.example>\r\n",
        "Reply-To: help@example.org\r\n",
        "Auto-Submitted: auto-generated\r\n",
        "@clouds.example>\r\n",
    ] {
        assert!(mail.raw.contains(header), "{header}: {}", mail.raw);
    }
    let link = mail.link().to_owned();
    assert!(
        link.starts_with(&format!("http://{alice}/auth/passphrase_renew?token=")),
        "{link}"
    );
    assert!(mail.html.contains(&link), "{}", mail.html);

    // Whoever asks again while it works gets the same.
    let _ = forget(&mut browser).await;
    assert_eq!(world.sink.mail(2).await.link(), link);

    let renew = browser.get(path(&link)).await;
    assert_eq!(renew.status, StatusCode::OK, "{renew:?}");
    let token = renew.field("passphrase_reset_token");
    let fields = [
        ("passphrase_reset_token", token.as_str()),
        ("passphrase", NEXT),
    ];
    let chosen = browser.post("/auth/passphrase_renew", &fields).await;
    assert_eq!(chosen.status, StatusCode::SEE_OTHER, "{chosen:?}");
    assert!(is_logged_in(&chosen));
    let mut other = world.browser(&alice);
    assert_eq!(
        other.log_in(PASSPHRASE, &[]).await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(other.log_in(NEXT, &[]).await.status, StatusCode::SEE_OTHER);
    let again = other.get(path(&link)).await;
    assert_eq!(again.status, StatusCode::FORBIDDEN, "{again:?}");
    let log = world.log();
    assert!(!log.contains(&token), "the token is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_learns_whether_a_mail_was_sent() {
    let world = World::start().await;
    let known = world.add_owner("known", "--email known@home.example").await;
    let unknown = world.add_owner("unknown", "").await;
    // More than an instance gets in an hour.
    for domain in [&known, &unknown] {
        for _ in 0..7 {
            let sent = forget(&mut world.browser(domain)).await;
            assert_eq!(sent.status, StatusCode::OK);
            assert!(sent.text.contains("Look into your mail"), "{sent:?}");
        }
    }
    assert_eq!(world.sink.mail(5).await.to, "known@home.example");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(world.sink.count(), 5);

    // An owner who is logged in and asks for a link is logged out.
    let mut browser = world.browser(&known);
    let _ = browser.log_in(PASSPHRASE, &[]).await;
    let _ = forget(&mut browser).await;
    assert!(!browser.cookies.contains_key("cozysessid"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_mail_server_the_pages_say_who_can_help() {
    let place = tempfile::tempdir().unwrap();
    let daemon = Options::new(&place.path().join("data")).start();
    let domain = daemon.domain("mute");
    let add = format!(
        "instances add {domain} --email m@home.example --passphrase-file {}",
        passphrase_file(&place)
    );
    let _ = daemon.cli().run(&add).done();
    let mut browser = Browser::new(&daemon.public, &domain);
    let page = browser.get("/auth/passphrase_reset").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(
        page.text
            .contains("Whoever runs this installation can send you a link"),
        "{page:?}"
    );
    assert!(!page.text.contains("<form"), "{page:?}");

    // Who has a second factor is told whom to ask; who has none cannot turn it on.
    let token = format!("instances token-cli {domain} io.cozy.settings");
    let token = daemon.cli().run(&token).done().out.trim().to_owned();
    let asked = browser
        .request(Method::PUT, "/settings/instance/auth_mode")
        .bearer_auth(&token)
        .json(&json!({"auth_mode": "two_factor_mail"}));
    let refused = browser.send(asked).await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{refused:?}");
    assert!(refused.text.contains("no mail can be sent"), "{refused:?}");
    let on = format!("instances auth-mode {domain} two_factor_mail");
    let _ = daemon.cli().run(&on).done();
    let stopped = browser.log_in(PASSPHRASE, &[]).await;
    assert_eq!(stopped.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        stopped.text.contains("can help") && !is_logged_in(&stopped),
        "{stopped:?}"
    );
}

fn passphrase_file(place: &TempDir) -> String {
    let file = place.path().join("passphrase");
    fs::write(&file, PASSPHRASE).unwrap();
    file.display().to_string()
}

/// Turns the second factor on, as an app does for its owner. Returns how many mails that took.
async fn turn_on(world: &World, domain: &str, mails: usize) -> usize {
    let token = world.token(domain);
    let mut browser = world.browser(domain);
    browser.accept = "application/json";
    let mut put = async |body: Value| {
        let request = browser
            .request(Method::PUT, "/settings/instance/auth_mode")
            .bearer_auth(&token)
            .json(&body);
        browser.send(request).await
    };
    let first = put(json!({"auth_mode": "two_factor_mail"})).await;
    assert_eq!(first.status, StatusCode::NO_CONTENT, "{first:?}");
    let mail = world.sink.mail(mails + 1).await;
    let wrong = if mail.code() == "000000" {
        "000001"
    } else {
        "000000"
    };
    let wrong = json!({"auth_mode": "two_factor_mail", "two_factor_activation_code": wrong});
    let refused = put(wrong).await;
    assert_eq!(
        refused.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "{refused:?}"
    );
    let right = json!({"auth_mode": "two_factor_mail", "two_factor_activation_code": mail.code()});
    let on = put(right).await;
    assert_eq!(on.status, StatusCode::NO_CONTENT, "{on:?}");
    let bad = put(json!({"auth_mode": "nonsense"})).await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY, "{bad:?}");
    mails + 1
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_second_factor_the_passphrase_alone_opens_nothing() {
    let world = World::start().await;
    let alice = world.add_owner("alice", "--email alice@home.example").await;
    let mut mails = turn_on(&world, &alice, 0).await;
    let mut browser = world.browser(&alice);

    // A wrong passphrase sends no mail.
    let wrong = browser.log_in("not these words", &[]).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED, "{wrong:?}");
    let first = browser
        .log_in(PASSPHRASE, &[("long-run-session", "1")])
        .await;
    assert_eq!(first.status, StatusCode::SEE_OTHER, "{first:?}");
    assert!(!is_logged_in(&first));
    let location = first.location().to_owned();
    assert!(
        location.contains("/auth/twofactor?two_factor_token="),
        "{location}"
    );
    mails += 1;
    let mail = world.sink.mail(mails).await;
    let form = browser.get(path(&location)).await;
    assert!(
        form.text.contains("autocomplete=\"one-time-code\""),
        "{form:?}"
    );
    let token = form.field("two-factor-token");

    // Guessing ends the challenge, even for the right code.
    let wrong = if mail.code() == "000000" {
        "000001"
    } else {
        "000000"
    };
    for count in 0..6 {
        let fields = [
            ("two-factor-token", token.as_str()),
            ("two-factor-passcode", wrong),
        ];
        let refused = browser.post("/auth/twofactor", &fields).await;
        assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{refused:?}");
        let told = if count < 5 {
            "This code is wrong"
        } else {
            "does not work any more"
        };
        assert!(refused.text.contains(told), "{count}: {refused:?}");
    }
    let right = [
        ("two-factor-token", token.as_str()),
        ("two-factor-passcode", mail.code()),
    ];
    let late = browser.post("/auth/twofactor", &right).await;
    assert_eq!(late.status, StatusCode::UNAUTHORIZED, "{late:?}");

    // The code of one login does not open another one.
    let second = browser
        .log_in(PASSPHRASE, &[("long-run-session", "1")])
        .await;
    mails += 1;
    let code = world.sink.mail(mails).await.code().to_owned();
    let token = query(second.location(), "two_factor_token").to_owned();
    let fields = |token, code| {
        [
            ("two-factor-token", token),
            ("two-factor-passcode", code),
            ("long-run-session", "1"),
            ("two-factor-generate-trusted-device-token", "true"),
        ]
    };
    let foreign = browser
        .request(Method::POST, "/auth/twofactor")
        .header("origin", "https://evil.example")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!(
            "two-factor-token={token}&two-factor-passcode={code}"
        ));
    assert_eq!(browser.send(foreign).await.status, StatusCode::FORBIDDEN);
    let done = browser
        .post("/auth/twofactor", &fields(&token, &code))
        .await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{done:?}");
    assert!(is_logged_in(&done));
    let line = done
        .set_cookies()
        .iter()
        .find(|it| it.starts_with("cozysessid="))
        .cloned();
    assert!(line.unwrap().contains("Max-Age=315360000"));
    assert_eq!(browser.get("/settings").await.status, StatusCode::OK);
    // The owner is told of a browser that was not known.
    mails += 1;
    assert!(world.sink.mail(mails).await.subject.contains("new login"));

    // It worked once.
    let mut other = world.browser(&alice);
    let again = other.post("/auth/twofactor", &fields(&token, &code)).await;
    assert_eq!(again.status, StatusCode::UNAUTHORIZED, "{again:?}");
    assert!(!is_logged_in(&again));

    // A trusted browser needs none; another one with its cookie does.
    browser.cookies.remove("cozysessid");
    let trusted = browser.log_in(PASSPHRASE, &[]).await;
    assert_eq!(
        trusted.location(),
        format!("http://{alice}/settings"),
        "{trusted:?}"
    );
    let trust = browser.cookies["hamlet-trusted"].clone();
    other.cookies.insert("hamlet-trusted".to_owned(), trust);
    let csrf = other.get("/auth/login").await.field("csrf_token");
    let request = other
        .request(Method::POST, "/auth/login")
        .header("user-agent", FIREFOX)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!(
            "csrf_token={csrf}&passphrase=four+words+for+nobody"
        ));
    let asked = other.send(request).await;
    assert!(asked.location().contains("/auth/twofactor"), "{asked:?}");
    mails += 1;
    let _ = world.sink.mail(mails).await;
    let log = world.log();
    assert!(!log.contains(&code) && !log.contains(&token));
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_answer_the_second_factor_too() {
    let world = World::start().await;
    let alice = world.add_owner("alice", "--email alice@home.example").await;
    let mut mails = turn_on(&world, &alice, 0).await;
    let mut program = world.browser(&alice);
    program.accept = "application/json";
    let first = program.log_in(PASSPHRASE, &[]).await;
    assert_eq!(first.status, StatusCode::OK, "{first:?}");
    let redirect = first.json()["redirect"].as_str().unwrap().to_owned();
    mails += 1;
    let mail = world.sink.mail(mails).await;
    let token = query(&redirect, "two_factor_token");
    let wrong = [("two-factor-token", token), ("two-factor-passcode", "x")];
    let refused = program.post("/auth/twofactor", &wrong).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert!(refused.json()["error"].is_string(), "{refused:?}");
    let right = [
        ("two-factor-token", token),
        ("two-factor-passcode", mail.code()),
        ("two-factor-generate-trusted-device-token", "true"),
    ];
    let done = program.post("/auth/twofactor", &right).await;
    assert_eq!(done.status, StatusCode::OK, "{done:?}");
    assert_eq!(done.json()["redirect"], format!("http://{alice}/settings"));
    let trusted = done.json()["two_factor_trusted_device_token"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut program = world.browser(&alice);
    program.accept = "application/json";
    let skipped = program
        .log_in(PASSPHRASE, &[("trusted-device-token", &trusted)])
        .await;
    assert!(is_logged_in(&skipped), "{skipped:?}");

    // The passphrase is changed in two steps.
    let bearer = world.token(&alice);
    let mut put = async |body: Value| {
        let request = program
            .request(Method::PUT, "/settings/passphrase")
            .bearer_auth(&bearer)
            .json(&body);
        program.send(request).await
    };
    let mut body = json!({"current_passphrase": PASSPHRASE, "new_passphrase": NEXT});
    let first = put(body.clone()).await;
    assert_eq!(first.status, StatusCode::OK, "{first:?}");
    // Both logins were from browsers that were not known.
    let mut mail = world.sink.mail(mails + 1).await;
    for number in 2..=3 {
        if mail.subject.contains("new login") {
            mail = world.sink.mail(mails + number).await;
        }
    }
    body["two_factor_token"] = first.json()["two_factor_token"].clone();
    body["two_factor_passcode"] = json!("000000");
    if mail.code() != "000000" {
        let refused = put(body.clone()).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
    }
    body["two_factor_passcode"] = json!(mail.code());
    let changed = put(body).await;
    assert_eq!(changed.status, StatusCode::NO_CONTENT, "{changed:?}");

    // It is turned off with the permission alone, as in the original.
    let bearer = world.token(&alice);
    let off = program
        .request(Method::PUT, "/settings/instance/auth_mode")
        .bearer_auth(&bearer)
        .json(&json!({"auth_mode": "basic"}));
    assert_eq!(program.send(off).await.status, StatusCode::NO_CONTENT);
    let mut browser = world.browser(&alice);
    assert!(is_logged_in(&browser.log_in(NEXT, &[]).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_way_leads_past_the_second_factor() {
    let world = World::start().await;
    // The first passphrase, and a new one, are chosen with links.
    let domain = world.add("alice", "--email alice@home.example");
    let on = format!("instances auth-mode {domain} two_factor_mail");
    let _ = world.daemon.cli().run(&on).done();
    for (command, field, path, passphrase) in [
        (
            "register-link",
            "register_token",
            "/settings/passphrase",
            PASSPHRASE,
        ),
        (
            "reset-link",
            "passphrase_reset_token",
            "/auth/passphrase_renew",
            NEXT,
        ),
    ] {
        let link = format!("instances {command} {domain}");
        let link = world.daemon.cli().run(&link).done().out;
        let token = link.trim().rsplit_once('=').unwrap().1.to_owned();
        let mut browser = world.browser(&domain);
        let fields = [(field, token.as_str()), ("passphrase", passphrase)];
        let chosen = browser.post(path, &fields).await;
        assert_eq!(chosen.status, StatusCode::SEE_OTHER, "{chosen:?}");
        assert!(chosen.location().contains("/auth/twofactor?"), "{chosen:?}");
        assert!(!is_logged_in(&chosen));
        let settings = browser.get("/settings").await;
        assert_eq!(settings.status, StatusCode::SEE_OTHER, "{settings:?}");
    }
}

/// The mail after so many that is about something else than a login.
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
async fn an_owner_logs_in_with_a_link() {
    let world = World::start().await;
    let domain = world.add(
        "alice",
        "--email alice@home.example --magic_link --apps home",
    );
    let mut browser = world.browser(&domain);
    let login = browser.get("/auth/login?redirect=home/%23/x").await;
    assert!(
        login.text.contains("action=\"/auth/magic_link\""),
        "{login:?}"
    );
    assert!(!login.text.contains("type=\"password\""), "{login:?}");
    let (csrf, redirect) = (login.field("csrf_token"), login.field("redirect"));
    let fields = [
        ("csrf_token", csrf.as_str()),
        ("redirect", redirect.as_str()),
    ];
    let sent = browser.post("/auth/magic_link", &fields).await;
    assert!(sent.text.contains("Look into your mail"), "{sent:?}");
    let mut mails = 0;
    let link = next_mail(&world, &mut mails).await.link().to_owned();

    // A program that looks at links in mails does not use it up.
    let mut scanner = world.browser(&domain);
    for _ in 0..2 {
        let opened = scanner.get(path(&link)).await;
        assert_eq!(opened.status, StatusCode::OK, "{opened:?}");
        assert!(!is_logged_in(&opened));
    }
    let enter = async |browser: &mut Browser, more: &[(&str, &str)]| {
        let page = browser.get(path(&link)).await;
        let names = ["csrf_token", "code", "redirect"];
        let values = names.map(|name| page.field(name));
        let mut fields: Vec<_> = names
            .into_iter()
            .zip(values.iter().map(String::as_str))
            .collect();
        fields.extend_from_slice(more);
        browser.post("/auth/magic_link/twofactor", &fields).await
    };
    let done = enter(&mut browser, &[]).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{done:?}");
    assert_eq!(done.location(), format!("http://home.{domain}/#/x"));
    assert!(is_logged_in(&done));
    let again = enter(&mut world.browser(&domain), &[]).await;
    assert_eq!(again.status, StatusCode::BAD_REQUEST, "{again:?}");
    assert!(!is_logged_in(&again));
    // Cleaning the sessions ends them, and does not bring the link back.
    let clean = format!("instances clean-sessions {domain}");
    let _ = world.daemon.cli().run(&clean).done();
    let asked = browser.request(Method::GET, "/settings");
    assert_ne!(browser.send(asked).await.status, StatusCode::OK);
    let again = enter(&mut world.browser(&domain), &[]).await;
    assert_eq!(again.status, StatusCode::BAD_REQUEST, "{again:?}");
    assert!(!is_logged_in(&again));
    let garbage = browser.get("/auth/magic_link?code=abc").await;
    assert_eq!(garbage.status, StatusCode::BAD_REQUEST, "{garbage:?}");

    // Where two things are asked for, the passphrase is the other one.
    let bob = world.add_owner("bob", "--email bob@home.example").await;
    for change in ["modify {} --magic_link", "auth-mode {} two_factor_mail"] {
        let change = format!("instances {}", change.replace("{}", &bob));
        let _ = world.daemon.cli().run(&change).done();
    }
    let mut browser = world.browser(&bob);
    let csrf = browser.get("/auth/login").await.field("csrf_token");
    let _ = browser
        .post("/auth/magic_link", &[("csrf_token", &csrf)])
        .await;
    let link = next_mail(&world, &mut mails).await.link().to_owned();
    let page = browser.get(path(&link)).await;
    assert!(page.text.contains("name=\"passphrase\""), "{page:?}");
    let (csrf, code) = (page.field("csrf_token"), page.field("code"));
    for (passphrase, status) in [
        ("", StatusCode::UNAUTHORIZED),
        ("not these words", StatusCode::UNAUTHORIZED),
        (PASSPHRASE, StatusCode::SEE_OTHER),
    ] {
        let fields = [
            ("csrf_token", csrf.as_str()),
            ("code", &code),
            ("passphrase", passphrase),
        ];
        let answer = browser.post("/auth/magic_link/twofactor", &fields).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(is_logged_in(&answer), status == StatusCode::SEE_OTHER);
    }
    // Who has no link by mail gets none.
    let carol = world.add_owner("carol", "--email carol@home.example").await;
    let mut browser = world.browser(&carol);
    let csrf = browser.get("/auth/login").await.field("csrf_token");
    let refused = browser
        .post("/auth/magic_link", &[("csrf_token", &csrf)])
        .await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_hears_of_new_browsers_gets_the_hint_and_the_first_link() {
    let world = World::start().await;
    let domain = world.add("alice", "--locale de --email alice@home.example");
    // The link for the first passphrase is sent again, twice in an hour.
    let mut browser = world.browser(&domain);
    let waiting = browser.get("/").await;
    assert!(
        waiting.text.contains("action=\"/auth/onboarding/resend\""),
        "{waiting:?}"
    );
    for _ in 0..4 {
        let sent = browser.post("/auth/onboarding/resend", &[]).await;
        assert_eq!(sent.status, StatusCode::OK, "{sent:?}");
    }
    let link = world.sink.mail(2).await.link().to_owned();
    let token = query(&link, "registerToken");
    let fields = [
        ("register_token", token),
        ("passphrase", PASSPHRASE),
        ("hint", "nobody"),
    ];
    let chosen = browser.post("/settings/passphrase", &fields).await;
    assert_eq!(chosen.status, StatusCode::SEE_OTHER, "{chosen:?}");
    let _ = browser.log_in(PASSPHRASE, &[]).await;

    let mut other = world.browser(&domain);
    let csrf = other.get("/auth/login").await.field("csrf_token");
    let request = other
        .request(Method::POST, "/auth/login")
        .header("user-agent", FIREFOX)
        .header("x-forwarded-for", "192.0.2.7")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!(
            "csrf_token={csrf}&passphrase=four+words+for+nobody"
        ));
    assert_eq!(other.send(request).await.status, StatusCode::SEE_OTHER);
    let mail = world.sink.mail(3).await;
    assert_eq!(mail.subject, format!("Eine neue Anmeldung bei {domain}"));
    for part in [
        "Firefox, Linux",
        "192.0.2.7",
        &format!("http://{domain}/settings"),
    ] {
        assert!(mail.plain.contains(part), "{part}: {}", mail.plain);
    }
    // The same browser is known now.
    let _ = other.log_in(PASSPHRASE, &[]).await;
    let hinted = other.post("/auth/hint", &[]).await;
    assert!(hinted.text.contains("Look into your mail"), "{hinted:?}");
    let hint = world.sink.mail(4).await;
    assert!(hint.plain.contains("\n\nnobody\n\n"), "{}", hint.plain);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_cannot_be_sent_is_tried_again_and_told_of() {
    let world = World::start().await;
    let alice = world.add_owner("alice", "--email alice@home.example").await;
    let mut browser = world.browser(&alice);
    world.sink.refuse("451 4.3.0 come back later");
    let _ = forget(&mut browser).await;
    let mail = world.sink.mail(1).await;
    let log = world.log();
    assert!(
        log.contains("is tried again") && log.contains("come back later"),
        "{log}"
    );
    world.sink.refuse("550 5.1.1 nobody here");
    let _ = forget(&mut browser).await;
    test_kit::eventually("the failure is told", async || {
        world.log().contains("is given up")
    })
    .await;
    assert_eq!(world.sink.count(), 1);
    assert!(!world.log().contains(query(mail.link(), "token")));
}

/// The settings of a server with the certificate in a folder.
fn tls(place: &TempDir) -> Arc<ServerConfig> {
    Authority::new().write(place.path(), "localhost");
    let certificate = CertificateDer::from_pem_file(place.path().join("cert")).unwrap();
    let key = PrivateKeyDer::from_pem_file(place.path().join("key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    Arc::new(config)
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_is_handed_over_by_tls_and_with_a_password() {
    const PASSWORD: &str = "the-password-of-the-mail-server";
    for security in ["starttls", "tls"] {
        let place = tempfile::tempdir().unwrap();
        let config = tls(&place);
        let password = place.path().join("smtp-password");
        fs::write(&password, PASSWORD).unwrap();
        let sink = MailSink::start_with(match security {
            "tls" => Protection::Tls(config),
            _ => Protection::StartTls(config),
        })
        .await;
        let lines = format!(
            "security = '{security}'\nuser = 'clouds'\npassword_file = '{}'",
            password.display()
        );
        let world = World::start_in(place, sink, &lines, "localhost").await;
        let alice = world.add_owner("alice", "--email alice@home.example").await;
        let _ = forget(&mut world.browser(&alice)).await;
        let _ = world.sink.mail(1).await;
        let proof = STANDARD.encode(format!("\0clouds\0{PASSWORD}"));
        assert_eq!(world.sink.credentials(), [proof]);
        assert!(!world.log().contains(PASSWORD));
    }

    // A server whose certificate nobody vouches for gets nothing.
    let (place, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let sink = MailSink::start_with(Protection::Tls(tls(&elsewhere))).await;
    let world = World::start_in(place, sink, "security = 'tls'", "localhost").await;
    let alice = world.add_owner("alice", "--email alice@home.example").await;
    let _ = forget(&mut world.browser(&alice)).await;
    test_kit::eventually("the failure is told", async || {
        world.log().contains("is tried again")
    })
    .await;
    assert_eq!(world.sink.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_be_used_end_the_start() {
    for (lines, told) in [
        ("server = 'smtp.example.org'", "from"),
        ("server = 'smtp.example.org'\nfrom = 'nobody'", "mail.from"),
        (
            "server = 'smtp.example.org'\nfrom = 'a@b.example'\nsecurity = 'none'",
            "another machine",
        ),
        (
            "server = 'smtp.example.org'\nfrom = 'a@b.example'\nuser = 'u'\npassword_file = '/nowhere/at/all'",
            "mail.password_file: cannot read /nowhere/at/all",
        ),
    ] {
        let place = tempfile::tempdir().unwrap();
        let config = place.path().join("hamlet.toml");
        fs::write(&config, format!("[contexts.default.mail]\n{lines}\n")).unwrap();
        let ended = Options::new(&place.path().join("data"))
            .flag(format!("--config={}", config.display()))
            .command()
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(
            !ended.status.success() && said.contains(told),
            "{lines}: {said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_hears_of_changes_where_mail_went_before() {
    let world = World::start().await;
    let alice = world.add_owner("alice", "--email alice@home.example").await;
    let mut mails = turn_on(&world, &alice, 0).await;
    let token = world.token(&alice);
    let mut browser = world.browser(&alice);
    for (path, body, to) in [
        (
            "/settings/instance",
            json!({"data": {"attributes": {"email": "mallory@elsewhere.example"}}}),
            "alice@home.example",
        ),
        (
            "/settings/instance/auth_mode",
            json!({"auth_mode": "basic"}),
            "mallory@elsewhere.example",
        ),
    ] {
        // Who changes nothing, the second time, causes no mail.
        for _ in 0..2 {
            let put = browser.request(Method::PUT, path);
            let changed = browser.send(put.bearer_auth(&token).json(&body)).await;
            assert!(changed.status.is_success(), "{changed:?}");
        }
        mails += 1;
        let mail = world.sink.mail(mails).await;
        assert_eq!(mail.to, to);
        assert_eq!(mail.subject, format!("A change to {alice}"));
        assert_eq!(mail.link(), format!("http://{alice}/settings"));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(world.sink.count(), mails);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_which_instances_have_a_second_factor() {
    let world = World::start().await;
    let with = world.add_owner("with", "--email with@home.example").await;
    let without = world.add_owner("without", "").await;
    let _ = turn_on(&world, &with, 0).await;
    for domain in [&with, &without] {
        let mut browser = world.browser(domain);
        let bare = browser.get("/auth/twofactor").await;
        assert_eq!(bare.status, StatusCode::SEE_OTHER, "{bare:?}");
        let form = browser.get("/auth/twofactor?two_factor_token=abc").await;
        assert_eq!(form.status, StatusCode::OK, "{form:?}");
        assert_eq!(form.field("two-factor-token"), "abc");
        let fields = [
            ("two-factor-token", "abc"),
            ("two-factor-passcode", "123456"),
        ];
        let dead = browser.post("/auth/twofactor", &fields).await;
        assert_eq!(dead.status, StatusCode::UNAUTHORIZED, "{dead:?}");
        assert!(dead.text.contains("does not work any more"), "{dead:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_turns_the_second_factor_on_and_changes_the_passphrase_on_the_page() {
    let world = World::start().await;
    let alice = world.add_owner("alice", "--email alice@home.example").await;
    let mut browser = world.browser(&alice);
    let _ = browser.log_in(PASSPHRASE, &[]).await;
    let mut mails = 0;
    let settings = browser.get("/settings").await;
    assert!(settings.text.contains("It is off"), "{settings:?}");
    let ask = [("auth_mode", "two_factor_mail")];
    let asked = browser.post("/auth/second_factor", &ask).await;
    let form = browser
        .get(path(asked.location()).split('#').next().unwrap())
        .await;
    assert!(
        form.text.contains("name=\"two_factor_activation_code\""),
        "{form:?}"
    );
    let code = next_mail(&world, &mut mails).await.code().to_owned();
    let confirm = [
        ("auth_mode", "two_factor_mail"),
        ("two_factor_activation_code", "no"),
    ];
    let wrong = browser.post("/auth/second_factor", &confirm).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.text.contains("This code is wrong"), "{wrong:?}");
    let confirm = [
        ("auth_mode", "two_factor_mail"),
        ("two_factor_activation_code", code.as_str()),
    ];
    let on = browser.post("/auth/second_factor", &confirm).await;
    assert_eq!(on.status, StatusCode::SEE_OTHER, "{on:?}");
    let settings = browser.get("/settings").await;
    assert!(settings.text.contains("It is on"), "{settings:?}");

    // A change of the passphrase needs a code, too.
    let change = [("current_passphrase", PASSPHRASE), ("new_passphrase", NEXT)];
    let refused = browser.post("/auth/passphrase", &change).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{refused:?}");
    assert!(
        refused.text.contains("A code is needed, too"),
        "{refused:?}"
    );
    let sent = browser.post("/auth/passphrase/code", &[]).await;
    let form = browser
        .get(path(sent.location()).split('#').next().unwrap())
        .await;
    let token = form.field("two_factor_token");
    let code = next_mail(&world, &mut mails).await.code().to_owned();
    let change = [
        ("current_passphrase", PASSPHRASE),
        ("new_passphrase", NEXT),
        ("two_factor_token", &token),
        ("two_factor_passcode", &code),
    ];
    let changed = browser.post("/auth/passphrase", &change).await;
    assert_eq!(changed.status, StatusCode::SEE_OTHER, "{changed:?}");
    assert!(is_logged_in(&changed));
}
