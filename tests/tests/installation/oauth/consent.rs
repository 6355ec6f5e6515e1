//! The owner lets programs in, which fetch their tokens.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hamlet_tests::{
    browser::Browser,
    database::{Database, encode},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    CALLBACK, CHALLENGE, PASSPHRASE, VERIFIER, World, allow, authorize, parameter, text, unescaped,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_program_is_let_in_and_put_out() {
    let world = World::start().await;
    let client = world.register(json!({})).await;
    assert_eq!(text(&client["client_secret"]).len(), 32);
    assert_eq!(client["client_secret_expires_at"], 0);
    assert_eq!(client["response_types"], json!(["code"]));
    assert!(client.get("pending").is_none(), "{client}");
    let (id, secret) = (text(&client["client_id"]), text(&client["client_secret"]));

    // A stranger logs in first, and comes back.
    let mut browser = world.browser();
    let path = authorize(&client, "&scope=io.cozy.apps%3AGET+io.cozy.settings");
    let led = browser.get(&path).await;
    assert_eq!(led.status, StatusCode::SEE_OTHER, "{led:?}");
    let login = led.location();
    assert!(
        login.contains("/auth/login?redirect=http%3A%2F%2Falice"),
        "{login}"
    );
    let csrf = browser.get(&login[login.find("/auth").unwrap()..]).await;
    let fields = [
        ("csrf_token", csrf.field("csrf_token")),
        ("redirect", unescaped(&csrf.field("redirect"))),
        ("passphrase", PASSPHRASE.to_owned()),
    ];
    let fields = fields.each_ref().map(|(name, it)| (*name, it.as_str()));
    let back = browser.post("/auth/login", &fields).await;
    let location = back.location();
    assert!(location.contains("/auth/authorize?client_id="), "{back:?}");
    // It is a session for this moment only.
    let cookies = back.set_cookies();
    let session = cookies
        .iter()
        .find(|it| it.starts_with("cozysessid="))
        .unwrap();
    assert!(session.contains("Max-Age=300"), "{session}");

    let page = browser.get(&path).await;
    let limited = authorize(&client, "&scope=io.cozy.files%3AALL%3Afile%3Atype");
    let limited = browser.get(&limited).await;
    let told = "<p class=\"help\">all whose type is: file</p>";
    assert!(limited.text.contains(told), "{limited:?}");
    for part in [
        "<h1>Reader asks for access</h1>",
        "href=\"https://reader.example/\"",
        "<div>Your apps<p class=\"help\">see</p></div>",
        "<div>Your settings, such as your name and mail address<p class=\"help\">see · add · change · delete</p>",
        "goes on to reader.example.",
        "name=\"state\" value=\"a&amp;b\"",
    ] {
        assert!(page.text.contains(part), "{part} in {page:?}");
    }
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains(" https://reader.example;"), "{policy}");
    assert_eq!(page.headers["x-frame-options"], "DENY");

    let refused = allow(&mut browser, &path, "refuse").await;
    assert_eq!(parameter(&refused, "error"), "access_denied");
    let allowed = allow(&mut browser, &path, "allow").await;
    let code = parameter(&allowed, "code");
    assert_eq!(parameter(&allowed, "access_code"), code);
    assert_eq!(parameter(&allowed, "state"), "a%26b");

    let fetch = [
        ("grant_type", "authorization_code"),
        ("client_id", id),
        ("client_secret", secret),
        ("code", code.as_str()),
        ("redirect_uri", CALLBACK),
    ];
    let tokens = world.tokens(&fetch).await;
    assert_eq!(tokens.status, StatusCode::OK, "{tokens:?}");
    assert_eq!(tokens.headers["cache-control"], "no-store");
    let tokens = tokens.json();
    assert_eq!(tokens["token_type"], "bearer");
    assert_eq!(tokens["scope"], "io.cozy.apps:GET io.cozy.settings");
    let again = world.tokens(&fetch).await;
    assert_eq!(again.status, StatusCode::BAD_REQUEST);
    assert_eq!(again.json(), json!({"error": "invalid code"}));

    let access = text(&tokens["access_token"]);
    assert_eq!(world.status("/apps/", access).await, 200);
    assert_eq!(world.status("/settings/disk-usage", access).await, 200);
    assert_eq!(world.status("/settings/sessions", access).await, 403);
    let refresh = text(&tokens["refresh_token"]);
    assert_eq!(world.status("/apps/", refresh).await, 401);
    let refreshed = world
        .tokens(&[
            ("grant_type", "refresh_token"),
            ("client_id", id),
            ("client_secret", secret),
            ("refresh_token", refresh),
        ])
        .await
        .json();
    assert_eq!(refreshed["scope"], tokens["scope"]);
    assert!(refreshed.get("refresh_token").is_none(), "{refreshed}");
    let refreshed = text(&refreshed["access_token"]).to_owned();
    assert_eq!(world.status("/apps/", &refreshed).await, 200);

    // The owner sees the program, and takes the access away.
    let settings = browser.get("/settings").await;
    assert!(
        settings.text.contains("Programs with access"),
        "{settings:?}"
    );
    assert!(
        settings
            .text
            .contains("aria-label=\"Take the access away: Reader\"")
    );
    let ended = browser.post("/auth/clients/end", &[("id", id)]).await;
    assert_eq!(ended.status, StatusCode::SEE_OTHER, "{ended:?}");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(world.status("/apps/", &refreshed).await, 401);
    let gone = world
        .tokens(&[
            ("grant_type", "refresh_token"),
            ("client_id", id),
            ("client_secret", secret),
            ("refresh_token", refresh),
        ])
        .await;
    assert_eq!(
        gone.json(),
        json!({"error": "the client must be registered"})
    );
    let settings = browser.get("/settings").await;
    assert!(!settings.text.contains("Programs with access"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_sent_to_an_address_that_is_not_registered() {
    let world = World::start().await;
    let client = world.register(json!({})).await;
    let mut browser = world.owner().await;
    let id = text(&client["client_id"]);
    let scope = "&scope=io.cozy.files";
    for (what, path) in [
        ("no parameters", "/auth/authorize".to_owned()),
        (
            "client_id",
            format!(
                "/auth/authorize?client_id=nobody&redirect_uri=https://reader.example/cb&response_type=code{scope}"
            ),
        ),
        (
            "client_id",
            format!("/auth/authorize?client_id=_design%2Fby-client-name&response_type=code{scope}"),
        ),
        (
            "redirect_uri",
            format!(
                "/auth/authorize?client_id={id}&redirect_uri=https%3A%2F%2Fevil.example%2F&response_type=code{scope}"
            ),
        ),
        (
            "redirect_uri",
            format!(
                "/auth/authorize?client_id={id}&redirect_uri=https%3A%2F%2Freader.example%2Fcb&response_type=code{scope}"
            ),
        ),
        ("scope", authorize(&client, "")),
        ("scope", authorize(&client, "&scope=*")),
        ("scope", authorize(&client, "&scope=login")),
        (
            "scope",
            authorize(&client, "&scope=%40io.cozy.apps%2Fsettings"),
        ),
        ("scope", authorize(&client, "&scope=io.cozy.files:READ")),
        (
            "code_challenge_method",
            authorize(
                &client,
                &format!("{scope}&code_challenge={CHALLENGE}&code_challenge_method=plain"),
            ),
        ),
    ] {
        for sender in [&mut browser, &mut world.browser()] {
            let page = sender.get(&path).await;
            assert_eq!(page.status, StatusCode::BAD_REQUEST, "{what}: {page:?}");
            assert!(page.headers.get("location").is_none());
            assert!(page.text.contains("This request cannot be answered"));
        }
    }
    // A form of another page, or without a session, gives no code.
    let path = authorize(&client, scope);
    let csrf = browser.get(&path).await.field("csrf_token");
    let fields = |csrf| {
        [
            ("csrf_token", csrf),
            ("client_id", id),
            ("redirect_uri", CALLBACK),
            ("response_type", "code"),
            ("scope", "io.cozy.files"),
        ]
    };
    let foreign = browser.post("/auth/authorize", &fields("x")).await;
    assert_eq!(foreign.status, StatusCode::FORBIDDEN, "{foreign:?}");
    // A page of an app, or of a neighbour, can set the cookie, and the session goes along. It cannot say that it is ours.
    let body = format!(
        "csrf_token={csrf}&client_id={id}&redirect_uri=https%3A%2F%2Freader.example%2Fcb%3Fx%3D1&response_type=code\
         &scope=io.cozy.files"
    );
    let post = |browser: &Browser, (name, value): (&str, String)| {
        browser
            .request(Method::POST, "/auth/authorize")
            .header("content-type", "application/x-www-form-urlencoded")
            .header(name, value)
            .body(body.clone())
    };
    let app = format!("http://home.{}", world.domain);
    for (header, status) in [
        (("sec-fetch-site", "same-site".to_owned()), 403),
        (("origin", app), 403),
        (("origin", "null".to_owned()), 403),
        (("cookie", format!("_csrf={}", "x".repeat(32))), 403),
        (("cookie", format!("_csrf={csrf}")), 302),
        (("origin", format!("http://{}", world.domain)), 302),
        // A program, which is no browser.
        (("x-requested-with", "x".to_owned()), 302),
    ] {
        let told = format!("{header:?}");
        let sent = post(&browser, header);
        let answer = browser.send(sent).await;
        assert_eq!(answer.status.as_u16(), status, "{told}: {answer:?}");
        assert_eq!(answer.location().contains("code="), status == 302, "{told}");
    }
    let mut stranger = world.browser();
    stranger
        .cookies
        .insert("_csrf".to_owned(), browser.cookies["_csrf"].clone());
    let stranger = stranger.post("/auth/authorize", &fields(&csrf)).await;
    assert!(
        stranger.location().contains("/auth/login?redirect="),
        "{stranger:?}"
    );
    browser.accept = "application/json";
    let deeplink = browser.post("/auth/authorize", &fields(&csrf)).await;
    assert_eq!(deeplink.status, StatusCode::OK, "{deeplink:?}");
    assert!(text(&deeplink.json()["deeplink"]).starts_with(CALLBACK));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_without_a_secret_proves_that_the_code_was_for_it() {
    let world = World::start().await;
    let client = world
        .register(json!({"token_endpoint_auth_method": "none", "client_kind": "mobile"}))
        .await;
    assert!(client.get("client_secret").is_none(), "{client}");
    let id = text(&client["client_id"]);
    let other = world.register(json!({})).await;
    let mut browser = world.owner().await;
    let without = browser
        .get(&authorize(&client, "&scope=io.cozy.apps"))
        .await;
    assert_eq!(without.status, StatusCode::BAD_REQUEST, "{without:?}");
    let path = authorize(
        &client,
        &format!("&scope=io.cozy.apps&code_challenge={CHALLENGE}&code_challenge_method=S256"),
    );
    let code = parameter(&allow(&mut browser, &path, "allow").await, "code");
    let fetch = async |fields: &[(&str, &str)]| {
        let mut all = vec![
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
        ];
        all.extend_from_slice(fields);
        let reply = world.tokens(&all).await;
        (reply.status.as_u16(), reply.json())
    };
    let (other_id, other_secret) = (text(&other["client_id"]), text(&other["client_secret"]));
    for (fields, told) in [
        (&[][..], "the client_id parameter is mandatory"),
        (&[("client_id", "nobody")], "the client must be registered"),
        (
            &[("client_id", other_id)],
            "the client_secret parameter is mandatory",
        ),
        (
            &[("client_id", other_id), ("client_secret", "x")],
            "invalid client_secret",
        ),
        (
            &[
                ("client_id", other_id),
                ("client_secret", other_secret),
                ("code_verifier", VERIFIER),
            ],
            "invalid code",
        ),
        (&[("client_id", id)], "invalid code_verifier"),
        (
            &[("client_id", id), ("code_verifier", CHALLENGE)],
            "invalid code_verifier",
        ),
        (
            &[
                ("client_id", id),
                ("code_verifier", VERIFIER),
                ("redirect_uri", "com.example.reader:/cb"),
            ],
            "invalid code",
        ),
    ] {
        assert_eq!(fetch(fields).await, (400, json!({"error": told})));
    }
    let right = [("client_id", id), ("code_verifier", VERIFIER)];
    let (status, tokens) = fetch(&right).await;
    assert_eq!(status, 200, "{tokens}");
    let refreshed = world
        .tokens(&[
            ("grant_type", "refresh_token"),
            ("client_id", id),
            ("refresh_token", text(&tokens["refresh_token"])),
        ])
        .await;
    assert_eq!(refreshed.status, StatusCode::OK, "{refreshed:?}");
    for (fields, told) in [
        (&[][..], "the grant_type parameter is mandatory"),
        (
            &[("grant_type", "password"), ("client_id", id)],
            "invalid grant type",
        ),
        (
            &[
                ("grant_type", "refresh_token"),
                ("client_id", id),
                ("refresh_token", text(&tokens["access_token"])),
            ],
            "invalid refresh token",
        ),
        (
            &[
                ("grant_type", "refresh_token"),
                ("client_id", other_id),
                ("client_secret", other_secret),
                ("refresh_token", text(&tokens["refresh_token"])),
            ],
            "invalid refresh token",
        ),
        (
            &[("grant_type", "authorization_code"), ("client_id", id)],
            "the code parameter is mandatory",
        ),
    ] {
        let refused = world.tokens(fields).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert_eq!(refused.json(), json!({"error": told}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_those_of_the_original_and_have_an_end() {
    let database = Database::empty().await;
    let world = World::with(&format!("--couchdb={}", database.url())).await;
    let prefix = world.prefix();
    let clients = encode(&format!("{prefix}/io-cozy-oauth-clients"));
    let at = |id: &str| format!("{clients}/{id}");
    let seconds = |ago: u64| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        now.as_secs() - ago
    };
    let put = async |path: String, body: Value| {
        let (status, answer) = database.call(Method::PUT, &path, Some(body)).await;
        assert!(status.is_success(), "{path}: {answer}");
    };
    // A client that the original has registered, and codes that it has given out.
    let theirs = json!({
        "client_secret": "their-secret", "client_secret_expires_at": 0, "redirect_uris": [CALLBACK],
        "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
        "client_name": "Theirs", "client_kind": "mobile", "software_id": "soft", "more": 1,
        "cozyMetadata": {"doctypeVersion": "1", "metadataVersion": 1, "createdAt": "2026-01-01T10:00:00.123456789Z",
            "updatedAt": "2026-01-01T10:00:00.123456789Z"}
    });
    put(at("theirs"), theirs).await;
    let codes = format!("{prefix}/io-cozy-oauth-access_codes");
    let name = encode(&codes);
    database.call(Method::PUT, &name, None).await;
    for (id, ago) in [("fresh", 10), ("old", 301)] {
        let code = json!({"client_id": "theirs", "issued_at": seconds(ago), "scope": "io.cozy.apps", "more": 1});
        put(format!("{name}/{id}"), code).await;
    }
    let fetch = async |code: &str| {
        let fields = [
            ("grant_type", "authorization_code"),
            ("client_id", "theirs"),
            ("client_secret", "their-secret"),
            ("code", code),
        ];
        world.tokens(&fields).await
    };
    assert_eq!(fetch("old").await.json(), json!({"error": "invalid code"}));
    let tokens = fetch("fresh").await;
    assert_eq!(tokens.status, StatusCode::OK, "{tokens:?}");
    assert_eq!(fetch("fresh").await.status, StatusCode::BAD_REQUEST);
    let (_, used) = database.call(Method::GET, &at("theirs"), None).await;
    assert_eq!(used["more"], 1, "{used}");
    assert!(used["last_refreshed_at"].is_string(), "{used}");

    // A program that nobody has let in for an hour is forgotten when the next one comes.
    let waiting = |at: &str| {
        json!({
            "pending": true, "client_name": "Waits", "redirect_uris": [CALLBACK], "software_id": "soft",
            "cozyMetadata": {"createdAt": at}
        })
    };
    put(at("waits"), waiting("2026-01-01T10:00:00Z")).await;
    let client = world.register(json!({})).await;
    let (status, _) = database.call(Method::GET, &at("waits"), None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let id = text(&client["client_id"]);
    let (_, stored) = database.call(Method::GET, &at(id), None).await;
    assert_eq!(stored["pending"], true, "{stored}");

    // A consent sweeps the codes whose time has passed, and writes one that is like those of the original.
    let mut browser = world.owner().await;
    let path = authorize(&client, "&scope=io.cozy.apps");
    let code = parameter(&allow(&mut browser, &path, "allow").await, "code");
    let (_, stored) = database.call(Method::GET, &at(id), None).await;
    assert!(stored.get("pending").is_none(), "{stored}");
    let left = database.plain_documents(&codes).await;
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0]["_id"], code.as_str());
    assert_eq!(left[0]["client_id"], client["client_id"]);
    assert_eq!(left[0]["scope"], "io.cozy.apps");
    database.close().await;
}
