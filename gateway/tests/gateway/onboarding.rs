//! The way of an owner from the link to a passphrase, with and without a browser.

use http::{Request, request::Builder};
use serde_json::{Value, json};

use test_kit::fake::{EXPIRED_TOKEN, REGISTER_TOKEN, active_instance};

use crate::support::{Answer, World};

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const FORM: &str = "application/x-www-form-urlencoded";
const PASSPHRASE: &str = "correct horse battery staple";

/// An instance `new.example` that waits for its owner.
async fn town() -> World {
    let world = World::new().await;
    let mut waiting = active_instance("new.example");
    waiting.onboarding = true;
    waiting.tenant.as_mut().unwrap().url = "https://new.example/".to_owned();
    world.directory.set("new.example", waiting);
    world
}

async fn get(world: &World, path: &str, accept: &str) -> Answer {
    let request = Request::get(format!("http://new.example{path}"))
        .header("accept", accept)
        .header("accept-language", "en");
    world
        .client()
        .await
        .request(request.body(()).unwrap())
        .await
}

fn post(accept: &str, kind: &str) -> Builder {
    Request::post("http://new.example/settings/passphrase")
        .header("accept", accept)
        .header("content-type", kind)
        .header("accept-language", "en")
}

async fn send(world: &World, request: Builder, body: impl Into<bytes::Bytes>) -> Answer {
    world
        .client()
        .await
        .send(request.body(()).unwrap(), body)
        .await
}

fn json_of(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

fn fields(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

#[tokio::test]
async fn a_browser_without_script_goes_from_the_link_to_the_end() {
    let world = town().await;
    let start = get(
        &world,
        &format!("/?registerToken={REGISTER_TOKEN}&x=1"),
        BROWSER,
    )
    .await;
    assert_eq!(start.http_status, 303);
    let next = start.headers["location"].to_str().unwrap();
    assert_eq!(
        next,
        format!("/auth/passphrase?registerToken={REGISTER_TOKEN}&x=1")
    );

    let form = get(&world, next, BROWSER).await;
    assert_eq!(form.http_status, 200);
    let html = form.text();
    for part in [
        "<h1>Choose your passphrase</h1>",
        "action=\"/settings/passphrase\"",
        "method=\"post\"",
        "data-salt=\"me@new.example\"",
        "data-iterations=\"650000\"",
        &format!("name=\"register_token\" value=\"{REGISTER_TOKEN}\""),
        "name=\"iterations\" value=\"0\"",
        "<label for=\"passphrase\">",
        "<script src=\"/assets/passphrase.js\" defer>",
    ] {
        assert!(html.contains(part), "{part} in {html}");
    }
    let policy = form.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("script-src 'self'") && policy.contains("form-action 'self'"));
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(form.headers["referrer-policy"], "same-origin");
    assert_eq!(form.headers["cache-control"], "no-store");

    let body = fields(&[
        ("register_token", REGISTER_TOKEN),
        ("iterations", "0"),
        ("passphrase", PASSPHRASE),
        ("hint", "a comic"),
    ]);
    let request = post(BROWSER, FORM)
        .header("sec-fetch-site", "same-origin")
        .header("origin", "http://new.example");
    let sent = send(&world, request, body).await;
    assert_eq!(sent.http_status, 303);
    assert_eq!(sent.headers["location"], "/auth/done");
    let registered = world.directory.registered();
    assert_eq!(registered.len(), 1);
    assert_eq!(registered[0].passphrase, PASSPHRASE);
    assert_eq!(registered[0].hint, "a comic");

    let done = get(&world, "/auth/done", BROWSER).await;
    assert_eq!(done.http_status, 200);
    assert!(done.text().contains("Your passphrase is set"));
    // The link has done its work.
    let again = get(&world, next, BROWSER).await;
    assert_eq!(again.http_status, 303);
    assert_eq!(again.headers["location"], "/");
    let start = get(
        &world,
        &format!("/?registerToken={REGISTER_TOKEN}"),
        BROWSER,
    )
    .await;
    assert!(start.text().contains("new.example is here"));
}

#[tokio::test]
async fn a_link_that_opens_nothing_says_why() {
    let world = town().await;
    for path in ["/", "/auth/passphrase"] {
        for (query, status, code, title) in [
            (String::new(), 200, "", "new.example waits for its owner"),
            (
                "?registerToken=".to_owned(),
                400,
                "REGISTER_TOKEN_MALFORMED",
                "This link is not complete",
            ),
            (
                format!("?registerToken={}", REGISTER_TOKEN.replace('0', "1")),
                403,
                "REGISTER_TOKEN_WRONG",
                "This link does not work any more",
            ),
            (
                format!("?registerToken={EXPIRED_TOKEN}"),
                403,
                "REGISTER_TOKEN_EXPIRED",
                "This link has expired",
            ),
        ] {
            let page = get(&world, &format!("{path}{query}"), BROWSER).await;
            assert_eq!(page.http_status, status, "{path}{query}");
            assert!(page.text().contains(title), "{}", page.text());
            if status != 200 {
                let answer = get(&world, &format!("{path}{query}"), "application/json").await;
                assert_eq!(answer.http_status, status);
                assert_eq!(json_of(&answer)["errors"][0]["code"], code);
            }
        }
    }
    let done = get(&world, "/auth/done", BROWSER).await;
    assert!(done.text().contains("new.example waits for its owner"));
}

#[tokio::test]
async fn a_program_gets_the_documented_answers() {
    let world = town().await;
    let asks = |body: &[(&str, &str)]| {
        let body = fields(body);
        let world = &world;
        async move { send(world, post("application/json", FORM), body).await }
    };
    for (body, status, detail) in [
        (vec![], 400, "Missing new passphrase"),
        (
            vec![("register_token", REGISTER_TOKEN)],
            400,
            "Missing new passphrase",
        ),
        (
            vec![("register_token", "zz"), ("passphrase", "x")],
            400,
            "register_token is not made of hex digits",
        ),
        (
            vec![("register_token", "00ff"), ("passphrase", "x")],
            400,
            "Invalid register token",
        ),
        (
            vec![("register_token", EXPIRED_TOKEN), ("passphrase", "x")],
            400,
            "Expired register token",
        ),
        (
            vec![
                ("register_token", REGISTER_TOKEN),
                ("passphrase", "x"),
                ("iterations", "1000"),
            ],
            422,
            "The KdfIterations number is too low",
        ),
    ] {
        let answer = asks(&body).await;
        assert_eq!(answer.http_status, status, "{body:?}");
        assert_eq!(answer.headers["content-type"], "application/vnd.api+json");
        let error = &json_of(&answer)["errors"][0];
        assert_eq!(error["status"], status.to_string());
        assert_eq!(error["detail"], detail);
        if status == 422 {
            assert_eq!(error["title"], "Invalid Parameter");
            assert_eq!(error["source"]["parameter"], "KdfIterations");
        } else {
            assert_eq!(error["title"], "Bad Request");
        }
    }
    for (kind, body, status) in [
        (FORM, "iterations=abc".to_owned(), 400),
        (FORM, "passphrase=%ff".to_owned(), 400),
        ("application/json", "{".to_owned(), 400),
        ("text/plain", "x".to_owned(), 415),
        (FORM, format!("passphrase={}", "x".repeat(70_000)), 413),
    ] {
        let answer = send(&world, post("application/json", kind), body).await;
        assert_eq!(answer.http_status, status, "{kind}");
        assert_eq!(answer.headers["content-type"], "application/json");
        assert!(json_of(&answer)["error"].is_string());
    }
    assert!(world.directory.registered().is_empty());

    let hashed = json!({
        "register_token": REGISTER_TOKEN, "passphrase": "HEhAI609eizfa2S1eq290Osz7j+LywysXeXffnu+ASk=",
        "iterations": 650_000, "key": "0.aWk=|a2V5", "public_key": "", "private_key": "",
        "redirection": "home/", "hint": "a hint"
    });
    let answer = send(
        &world,
        post("application/json", "application/json; charset=utf-8"),
        hashed.to_string(),
    )
    .await;
    assert_eq!(answer.http_status, 200);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(
        json_of(&answer),
        json!({"redirect": "https://new.example/auth/done"})
    );
    let registered = world.directory.registered();
    assert_eq!(registered[0].iterations, 650_000);
    assert_eq!(registered[0].key, "0.aWk=|a2V5");

    let again = asks(&[("register_token", REGISTER_TOKEN), ("passphrase", "x")]).await;
    assert_eq!(again.http_status, 400);
    assert_eq!(
        json_of(&again)["errors"][0]["detail"],
        "Empty register token"
    );
}

/// What the compatible API documents stays word for word; what is Hamlet's own is in the reader's language.
#[tokio::test]
async fn a_program_is_told_in_the_readers_language() {
    let world = town().await;
    let asks = |language: &str, hint: &str, token: &str| {
        let request = Request::post("http://new.example/settings/passphrase")
            .header("accept", "application/json")
            .header("content-type", FORM)
            .header("accept-language", language);
        let body = fields(&[
            ("register_token", token),
            ("passphrase", PASSPHRASE),
            ("hint", hint),
        ]);
        let world = &world;
        async move { send(world, request, body).await }
    };
    for (language, words) in [
        ("de-AT, en;q=0.5", "Der Hinweis ist die Passphrase selbst."),
        ("ja", "ヒントがパスフレーズと同じです。"),
    ] {
        let answer = asks(language, PASSPHRASE, REGISTER_TOKEN).await;
        assert_eq!(answer.http_status, 422);
        assert_eq!(
            answer.headers["content-language"],
            language.split('-').next().unwrap()
        );
        assert_eq!(answer.headers["vary"], "accept, accept-language");
        let error = &json_of(&answer)["errors"][0];
        assert_eq!(error["code"], "INVALID_FIELD");
        assert_eq!(error["title"], "Invalid Parameter");
        let detail = error["detail"].as_str().unwrap();
        assert!(detail.starts_with(words), "{detail}");
    }
    let wrong = asks("de", "h", "00ff").await;
    assert_eq!(
        json_of(&wrong)["errors"][0]["detail"],
        "Invalid register token"
    );
}

#[tokio::test]
async fn a_person_is_shown_what_was_wrong_in_the_form() {
    let world = town().await;
    for (passphrase, hint, iterations, status, message) in [
        ("", "h", "0", 422, "Type a passphrase first."),
        (
            PASSPHRASE,
            PASSPHRASE,
            "0",
            422,
            "The hint is the passphrase itself.",
        ),
        (PASSPHRASE, "h", "7", 422, "This cannot be used"),
    ] {
        let body = fields(&[
            ("register_token", REGISTER_TOKEN),
            ("passphrase", passphrase),
            ("hint", hint),
            ("iterations", iterations),
        ]);
        let answer = send(&world, post(BROWSER, FORM), body).await;
        assert_eq!(answer.http_status, status, "{message}");
        let html = answer.text();
        assert!(html.contains(message), "{html}");
        assert!(
            html.contains(&format!("value=\"{hint}\"")),
            "the hint is kept"
        );
        if hint != PASSPHRASE {
            assert!(!html.contains(PASSPHRASE), "{html}");
        }
    }
    let body = fields(&[
        ("register_token", EXPIRED_TOKEN),
        ("passphrase", PASSPHRASE),
    ]);
    let answer = send(&world, post(BROWSER, FORM), body).await;
    assert_eq!(answer.http_status, 403);
    assert!(answer.text().contains("This link has expired"));
}

#[tokio::test]
async fn another_site_cannot_choose_a_passphrase() {
    let world = town().await;
    let body = fields(&[
        ("register_token", REGISTER_TOKEN),
        ("passphrase", PASSPHRASE),
    ]);
    for (header, value) in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
    ] {
        let request = post("application/json", FORM).header(header, value);
        let answer = send(&world, request, body.clone()).await;
        assert_eq!(answer.http_status, 403, "{header}: {value}");
        assert_eq!(json_of(&answer)["errors"][0]["code"], "CROSS_SITE");
    }
    assert!(world.directory.registered().is_empty());
}

#[tokio::test]
async fn the_paths_take_their_methods_only() {
    let world = town().await;
    for (method, path, allow) in [
        ("GET", "/settings/passphrase", "POST, PUT"),
        ("DELETE", "/settings/passphrase", "POST, PUT"),
        ("POST", "/auth/passphrase", "GET, HEAD"),
        ("POST", "/", "GET, HEAD"),
        ("DELETE", "/assets/passphrase.js", "GET, HEAD"),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://new.example{path}"))
            .body(())
            .unwrap();
        let answer = world.client().await.request(request).await;
        assert_eq!(answer.http_status, 405, "{method} {path}");
        assert_eq!(answer.headers["allow"], allow);
    }
    let script = get(&world, "/assets/passphrase.js", "*/*").await;
    assert_eq!(
        script.headers["content-type"],
        "text/javascript; charset=utf-8"
    );
    assert!(script.text().contains("PBKDF2"));
    assert_eq!(script.headers["x-content-type-options"], "nosniff");
}

#[tokio::test]
async fn a_blocked_instance_takes_no_passphrase() {
    let world = town().await;
    world.directory.block("blocked.example", "");
    let request = Request::post("http://blocked.example/settings/passphrase")
        .header("content-type", FORM)
        .header("accept", "application/json");
    let body = fields(&[
        ("register_token", REGISTER_TOKEN),
        ("passphrase", PASSPHRASE),
    ]);
    let answer = send(&world, request, body).await;
    assert_eq!(answer.http_status, 503);
    assert!(world.directory.registered().is_empty());
}
