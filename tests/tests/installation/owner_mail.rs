//! What comes by mail: a link for an owner who has forgotten the passphrase, the hint, news of a login; and handing mails over to
//! a server.

use std::{fs, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hamlet_tests::{
    browser::{Browser, Page},
    certificates::Authority,
    daemon::Options,
    mailed::{Mailed, PASSPHRASE, path, query},
};
use reqwest::{Method, StatusCode};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::json;
use tempfile::TempDir;
use test_kit::mail::{MailSink, Protection};

const NEXT: &str = "other words for somebody";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// Sends the form of the page at which an owner asks for a link.
async fn forget(browser: &mut Browser) -> Page {
    let form = browser.get("/auth/passphrase_reset").await;
    let csrf = form.field("csrf_token");
    let fields = [("csrf_token", csrf.as_str())];
    browser.post("/auth/passphrase_reset", &fields).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_who_has_forgotten_the_passphrase_gets_a_link() {
    let world = Mailed::start().await;
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
    assert!(chosen.is_logged_in());
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
    let world = Mailed::start().await;
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

fn passphrase_file(place: &TempDir) -> String {
    let file = place.path().join("passphrase");
    fs::write(&file, PASSPHRASE).unwrap();
    file.display().to_string()
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
        stopped.text.contains("can help") && !stopped.is_logged_in(),
        "{stopped:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_hears_of_new_browsers_gets_the_hint_and_the_first_link() {
    let world = Mailed::start().await;
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
    let world = Mailed::start().await;
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
        let world = Mailed::start_in(place, sink, &lines, "localhost");
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
    let world = Mailed::start_in(place, sink, "security = 'tls'", "localhost");
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
