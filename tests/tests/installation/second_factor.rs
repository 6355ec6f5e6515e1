//! Codes and links that come by mail: the second factor, and logging in with a link.

use std::time::Duration;

use hamlet_tests::{
    browser::Browser,
    mailed::{Mailed, PASSPHRASE, path, query},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

const NEXT: &str = "other words for somebody";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// Turns the second factor on, as an app does for its owner. Returns how many mails that took.
async fn turn_on(world: &Mailed, domain: &str, mails: usize) -> usize {
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
    let world = Mailed::start().await;
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
    assert!(!first.is_logged_in());
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
    assert!(done.is_logged_in());
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
    assert!(!again.is_logged_in());

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
    let world = Mailed::start().await;
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
    assert!(skipped.is_logged_in(), "{skipped:?}");

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
    assert!(browser.log_in(NEXT, &[]).await.is_logged_in());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_way_leads_past_the_second_factor() {
    let world = Mailed::start().await;
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
        assert!(!chosen.is_logged_in());
        let settings = browser.get("/settings").await;
        assert_eq!(settings.status, StatusCode::SEE_OTHER, "{settings:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_logs_in_with_a_link() {
    let world = Mailed::start().await;
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
    let link = world.next_mail(&mut mails).await.link().to_owned();

    // A program that looks at links in mails does not use it up.
    let mut scanner = world.browser(&domain);
    for _ in 0..2 {
        let opened = scanner.get(path(&link)).await;
        assert_eq!(opened.status, StatusCode::OK, "{opened:?}");
        assert!(!opened.is_logged_in());
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
    assert!(done.is_logged_in());
    let again = enter(&mut world.browser(&domain), &[]).await;
    assert_eq!(again.status, StatusCode::BAD_REQUEST, "{again:?}");
    assert!(!again.is_logged_in());
    // Cleaning the sessions ends them, and does not bring the link back.
    let clean = format!("instances clean-sessions {domain}");
    let _ = world.daemon.cli().run(&clean).done();
    let asked = browser.request(Method::GET, "/settings");
    assert_ne!(browser.send(asked).await.status, StatusCode::OK);
    let again = enter(&mut world.browser(&domain), &[]).await;
    assert_eq!(again.status, StatusCode::BAD_REQUEST, "{again:?}");
    assert!(!again.is_logged_in());
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
    let link = world.next_mail(&mut mails).await.link().to_owned();
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
        assert_eq!(answer.is_logged_in(), status == StatusCode::SEE_OTHER);
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
async fn an_owner_hears_of_changes_where_mail_went_before() {
    let world = Mailed::start().await;
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
    let world = Mailed::start().await;
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
    let world = Mailed::start().await;
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
    let code = world.next_mail(&mut mails).await.code().to_owned();
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
    let code = world.next_mail(&mut mails).await.code().to_owned();
    let change = [
        ("current_passphrase", PASSPHRASE),
        ("new_passphrase", NEXT),
        ("two_factor_token", &token),
        ("two_factor_passcode", &code),
    ];
    let changed = browser.post("/auth/passphrase", &change).await;
    assert_eq!(changed.status, StatusCode::SEE_OTHER, "{changed:?}");
    assert!(changed.is_logged_in());
}
