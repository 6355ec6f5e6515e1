//! Programs of others come in: they register themselves, the owner lets them in, and takes that away again.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed expectation is the test failing"
)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hamlet_tests::{
    admin_door::{AdminDoor, Reply},
    browser::{Browser, Page},
    daemon::{Daemon, Options},
    database::{Database, encode},
    programs::root,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

const PASSPHRASE: &str = "four words for nobody";
const CALLBACK: &str = "https://reader.example/cb?x=1";
/// Of RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A `hamletd` with an instance whose owner has the passphrase above.
struct World {
    _place: TempDir,
    daemon: Daemon,
    public: AdminDoor,
    domain: String,
}

impl World {
    async fn start() -> Self {
        Self::with("--passphrase-score=0").await
    }

    async fn with(flag: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        let apps = root().join("examples/apps");
        let daemon = Options::new(&place.path().join("data"))
            .flag(format!("--app-folder={}", apps.display()))
            .flag(flag)
            .flag("--trusted-proxies=127.0.0.1/32")
            .start();
        let domain = daemon.domain("alice");
        let add = format!("instances add {domain} --apps home --locale en");
        let _ = daemon.cli().run(&add).done();
        let link = format!("instances register-link {domain}");
        let link = daemon.cli().run(&link).done().out;
        let token = link.trim().split_once("registerToken=").unwrap().1;
        let fields = [("register_token", token), ("passphrase", PASSPHRASE)];
        let mut browser = Browser::new(&daemon.public, &domain);
        let chosen = browser.post("/settings/passphrase", &fields).await;
        assert_eq!(chosen.status, StatusCode::SEE_OTHER, "{chosen:?}");
        Self {
            public: AdminDoor::at(&daemon.public, &daemon.data().join("admin-credential")),
            _place: place,
            daemon,
            domain,
        }
    }

    fn browser(&self) -> Browser {
        Browser::new(&self.daemon.public, &self.domain)
    }

    async fn owner(&self) -> Browser {
        let mut browser = self.browser();
        let logged_in = browser.log_in(PASSPHRASE, &[]).await;
        assert_eq!(logged_in.status, StatusCode::SEE_OTHER, "{logged_in:?}");
        browser
    }

    /// Sends JSON as a program does.
    async fn send(&self, method: Method, path: &str, token: &str, body: &Value) -> Reply {
        let request = self
            .public
            .without_credential(method, path)
            .header("host", &self.domain)
            .header("accept", "application/json")
            .header("content-type", "application/json");
        let request = if token.is_empty() {
            request
        } else {
            request.bearer_auth(token)
        };
        self.public.send(request.body(body.to_string())).await
    }

    async fn register(&self, more: Value) -> Value {
        let mut body = json!({
            "redirect_uris": [CALLBACK, "com.example.reader:/cb"], "client_name": "Reader",
            "software_id": "org.example.reader", "client_uri": "https://reader.example/"
        });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        let made = self.send(Method::POST, "/auth/register", "", &body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        made.json()
    }

    /// The id of the instance's databases.
    fn prefix(&self) -> String {
        let show = format!("instances show-db-prefix {}", self.domain);
        self.daemon.cli().run(&show).done().out.trim().to_owned()
    }

    /// Asks for tokens.
    async fn tokens(&self, fields: &[(&str, &str)]) -> Page {
        self.browser().post("/auth/access_token", fields).await
    }

    async fn status(&self, path: &str, token: &str) -> u16 {
        let request = self
            .public
            .without_credential(Method::GET, path)
            .header("host", &self.domain)
            .bearer_auth(token);
        self.public.send(request).await.status.as_u16()
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn authorize(client: &Value, more: &str) -> String {
    let callback = "https%3A%2F%2Freader.example%2Fcb%3Fx%3D1";
    format!(
        "/auth/authorize?client_id={}&redirect_uri={callback}&response_type=code&state=a%26b{more}",
        text(&client["client_id"])
    )
}

/// The owner says yes on the page. Returns where that leads.
async fn allow(browser: &mut Browser, path: &str, answer: &str) -> Page {
    let page = browser.get(path).await;
    assert_eq!(page.status, StatusCode::OK, "{page:?}");
    let fields = [
        "csrf_token",
        "client_id",
        "redirect_uri",
        "state",
        "response_type",
        "scope",
        "code_challenge",
        "code_challenge_method",
    ];
    let fields = fields.map(|name| (name, unescaped(&page.field(name))));
    let mut fields: Vec<(&str, &str)> = fields
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    fields.push(("answer", answer));
    browser.post("/auth/authorize", &fields).await
}

fn unescaped(text: &str) -> String {
    text.replace("&amp;", "&")
}

/// A parameter of the address to which the browser is sent.
fn parameter(page: &Page, name: &str) -> String {
    assert_eq!(page.status, StatusCode::FOUND, "{page:?}");
    let location = page.location();
    let query = location.strip_prefix(CALLBACK).unwrap();
    let query = query.strip_suffix('#').unwrap();
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let found = pairs.find(|(of, _)| *of == name);
    found.map_or("", |(_, value)| value).to_owned()
}

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
async fn a_registration_is_changed_by_its_client_only() {
    let world = World::start().await;
    let client = world.register(json!({"client_kind": "desktop"})).await;
    let second = world.register(json!({})).await;
    assert_eq!(second["client_name"], "Reader-2");
    let id = text(&client["client_id"]);
    let token = text(&client["registration_access_token"]);
    let path = format!("/auth/register/{id}");
    let nothing = json!({});
    for wrong in ["", "x", text(&second["registration_access_token"])] {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let refused = world.send(method, &path, wrong, &nothing).await;
            assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{refused:?}");
            assert_eq!(refused.json()["error"], "invalid_token");
        }
    }
    let read = world.send(Method::GET, &path, token, &nothing).await.json();
    assert_eq!(read["client_kind"], "desktop");
    assert_eq!(read["client_secret"], client["client_secret"]);
    let body = |more: Value| {
        let mut body = json!({
            "client_id": id, "redirect_uris": ["com.example.reader:/cb"], "client_name": "Reader-2",
            "software_id": "org.example.reader", "software_version": "2"
        });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    for (more, code) in [
        (json!({"client_id": "x"}), "invalid_client_id"),
        (json!({"client_secret": "x"}), "invalid_client_secret"),
        (json!({"redirect_uris": []}), "invalid_redirect_uri"),
        (json!({"software_id": "other"}), "invalid_client_metadata"),
        (json!({"client_name": 1}), "invalid_client_metadata"),
    ] {
        let refused = world.send(Method::PUT, &path, token, &body(more)).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{refused:?}");
        assert_eq!(refused.json()["error"], code);
    }
    let changed = world
        .send(Method::PUT, &path, token, &body(json!({})))
        .await;
    assert_eq!(changed.status, StatusCode::OK, "{changed:?}");
    let changed = changed.json();
    assert_eq!(changed["client_name"], "Reader-2-2");
    assert_eq!(changed["software_version"], "2");
    assert!(changed.get("client_kind").is_none(), "{changed}");
    assert!(changed.get("registration_access_token").is_none());
    assert_eq!(changed["client_secret"], client["client_secret"]);
    let rotate = body(json!({"client_secret": client["client_secret"]}));
    let rotated = world.send(Method::PUT, &path, token, &rotate).await.json();
    assert_ne!(rotated["client_secret"], client["client_secret"]);
    assert_eq!(text(&rotated["client_secret"]).len(), 32);
    for status in [204, 204] {
        let removed = world.send(Method::DELETE, &path, token, &nothing).await;
        assert_eq!(removed.status.as_u16(), status, "{removed:?}");
    }
    let gone = world.send(Method::GET, &path, token, &nothing).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    assert_eq!(gone.json(), json!({"error": "Client not found"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_register_a_few_programs_and_no_more() {
    let world = World::start().await;
    let right = json!({"redirect_uris": ["app://cb"], "client_name": "x", "software_id": "y"});
    for (accept, kind, body, code) in [
        ("text/html", "application/json", right.to_string(), "bad_accept_header"),
        ("*/*", "text/plain", right.to_string(), "bad_content_type"),
        ("*/*", "application/json", "{".to_owned(), "invalid_client_metadata"),
        ("*/*", "application/json", "[]".to_owned(), "invalid_client_metadata"),
        ("*/*", "application/json; charset=utf-8", "{}".to_owned(), "invalid_redirect_uri"),
        (
            "*/*",
            "application/json",
            json!({"redirect_uris": ["app://cb"], "client_name": "x", "software_id": "registry://settings"}).to_string(),
            "unapproved_software_id",
        ),
        (
            "*/*",
            "application/json",
            json!({"redirect_uris": ["app://cb"], "client_name": "x".repeat(2000), "software_id": "y"}).to_string(),
            "invalid_client_metadata",
        ),
        (
            "*/*",
            "application/json",
            json!({"redirect_uris": [format!("http://{}/", world.domain)], "client_name": "x", "software_id": "y"})
                .to_string(),
            "invalid_redirect_uri",
        ),
        (
            "*/*",
            "application/json",
            json!({"redirect_uris": [format!("http://home.{}/", world.domain)], "client_name": "x", "software_id": "y"})
                .to_string(),
            "invalid_redirect_uri",
        ),
    ] {
        let request = world
            .public
            .without_credential(Method::POST, "/auth/register")
            .header("host", &world.domain)
            .header("accept", accept)
            .header("content-type", kind)
            .body(body);
        let refused = world.public.send(request).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{refused:?}");
        assert_eq!(refused.json()["error"], code);
    }
    // One network has its share. 50 programs wait, and the next one takes the place of the oldest.
    let register = async |address: &str| {
        let request = world
            .public
            .without_credential(Method::POST, "/auth/register")
            .header("host", &world.domain)
            .header("x-forwarded-for", address)
            .header("content-type", "application/json")
            .body(right.to_string());
        world.public.send(request).await
    };
    let is_known = async |client: &Value| {
        let path = format!("/auth/register/{}", text(&client["client_id"]));
        let token = text(&client["registration_access_token"]);
        let read = world.send(Method::GET, &path, token, &json!({})).await;
        read.status == StatusCode::OK
    };
    let mut first = Vec::new();
    for _ in 0..2 {
        first.push(register("192.0.2.1").await.json());
    }
    let mut of_one = 2;
    loop {
        let made = register("192.0.2.1").await;
        if made.status != StatusCode::CREATED {
            assert_eq!(made.status, StatusCode::TOO_MANY_REQUESTS, "{made:?}");
            assert!(made.headers.get("retry-after").is_some());
            break;
        }
        of_one += 1;
    }
    assert_eq!(of_one, 30);
    for _ in 0..20 {
        assert_eq!(register("192.0.2.2").await.status, StatusCode::CREATED);
    }
    assert!(is_known(&first[0]).await);
    let next = register("192.0.2.3").await;
    assert_eq!(next.status, StatusCode::CREATED, "{next:?}");
    assert!(!is_known(&first[0]).await);
    assert!(is_known(&first[1]).await && is_known(&next.json()).await);
    // The owner does not see what nobody has let in.
    let mut owner = world.owner().await;
    let settings = owner.get("/settings").await;
    assert!(
        !settings.text.contains("Programs with access"),
        "{settings:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_are_listed_and_removed_with_a_token() {
    let world = World::start().await;
    let admin = AdminDoor::of(&world.daemon);
    let make = |name: &str, uri: &str| {
        format!(
            "/instances/oauth_client?Domain={}&RedirectURI={uri}&ClientName={name}&SoftwareID=soft",
            world.domain
        )
    };
    let mut ids = Vec::new();
    for name in ["One", "Two"] {
        let made = admin
            .ask(Method::POST, &make(name, "http%3A%2F%2Flocalhost%2F"))
            .await;
        assert_eq!(made.status, StatusCode::OK, "{made:?}");
        ids.push(text(&made.json()["client_id"]).to_owned());
    }
    world.register(json!({})).await;
    let cli = |words: &str| {
        let words = words.replace("ALICE", &world.domain);
        world.daemon.cli().run(&words).done().out.trim().to_owned()
    };
    let token = cli("instances token-cli ALICE io.cozy.oauth.clients");
    let access = cli(&format!(
        "instances token-oauth ALICE {} io.cozy.apps",
        ids[0]
    ));
    assert_eq!(world.status("/settings/clients", &access).await, 403);
    let nothing = json!({});
    let get = async |path: &str| world.send(Method::GET, path, &token, &nothing).await.json();
    let listed = get("/settings/clients").await;
    let data = listed["data"].as_array().unwrap();
    assert_eq!((data.len(), &listed["meta"]["count"]), (2, &json!(2)));
    assert_eq!(data[0]["type"], "io.cozy.oauth.clients");
    assert_eq!(data[0]["attributes"]["client_name"], "One");
    assert!(data[0]["attributes"].get("client_secret").is_none());
    assert_eq!(
        data[0]["links"]["self"],
        format!("/settings/clients/{}", ids[0])
    );
    let first = get("/settings/clients?page%5Blimit%5D=1").await;
    let next = text(&first["links"]["next"]);
    let second = get(&next.replace('[', "%5B").replace(']', "%5D")).await;
    assert_eq!(second["data"][0]["id"], ids[1].as_str());
    assert!(second.get("links").is_none(), "{second}");
    assert_eq!(world.status("/apps/", &access).await, 200);
    let path = format!("/settings/clients/{}", ids[0]);
    for status in [204, 404] {
        let removed = world.send(Method::DELETE, &path, &token, &nothing).await;
        assert_eq!(removed.status.as_u16(), status, "{removed:?}");
    }
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(world.status("/apps/", &access).await, 401);

    // A request that is sent again finds what the first has made.
    let again = async |name: &str, key: &str| {
        let request = admin
            .request(Method::POST, &make(name, "http%3A%2F%2Flocalhost%2F"))
            .header("idempotency-key", key);
        admin.send(request).await
    };
    let one = again("Three", "key-1").await;
    assert_eq!(one.status, StatusCode::OK, "{one:?}");
    assert_eq!(again("Three", "key-1").await.text, one.text);
    let other = again("Four", "key-1").await;
    assert_eq!(other.status, StatusCode::CONFLICT, "{other:?}");
    assert_eq!(other.code(), "REQUEST_ID_REUSED");
    assert_ne!(
        again("Three", "key-2").await.json()["client_id"],
        one.json()["client_id"]
    );
    assert_eq!(
        again("Three", "a b").await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(get("/settings/clients").await["meta"]["count"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_registers_a_program_once_however_often_it_is_said() {
    let world = World::start().await;
    let run = |words: &str| {
        let words = words.replace("ALICE", &world.domain);
        world.daemon.cli().run(&words)
    };
    let id = "018f0000-0000-7000-8000-000000000001";
    let add = format!("instances client-oauth ALICE http://localhost/ Five soft --request-id {id}");
    let first = run(&add).done().out;
    assert_eq!(first.trim().len(), 32, "{first}");
    assert_eq!(run(&add).done().out, first);
    let whole = run(&format!("{add} -o json")).done().json();
    assert_eq!(whole["clientId"], first.trim());
    assert_eq!(text(&whole["clientSecret"]).len(), 32);
    assert_eq!(whole, run(&format!("{add} -o json")).done().json());
    let other = run(&add.replace("Five", "Six"));
    assert_ne!(other.code, 0, "{other:?}");
    assert!(other.err.contains("used with other arguments"), "{other:?}");
    // Without an id it is another program.
    let again = run("instances client-oauth ALICE http://localhost/ Five soft")
        .done()
        .out;
    assert_ne!(again, first);
    let found = run("instances find-oauth-client ALICE soft -o json")
        .done()
        .json();
    assert_eq!(found["softwareId"], "soft");
    assert!(found.get("clientSecret").is_none(), "{found}");
    let token = format!("instances token-oauth ALICE {} io.cozy.apps", first.trim());
    let token = run(&token).done().out;
    assert_eq!(world.status("/apps/", token.trim()).await, 200);
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
