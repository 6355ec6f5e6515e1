//! The owner comes in: the first passphrase, logging in and out, sessions, changing the passphrase.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use hamlet_tests::{
    browser::{Browser, Page},
    daemon::{Daemon, Options},
    programs::root,
};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tempfile::TempDir;

const PASSPHRASE: &str = "four words for nobody";
const NEXT: &str = "other words for somebody";

/// A `hamletd` with an instance whose owner has the passphrase above.
struct World {
    _place: TempDir,
    daemon: Daemon,
    domain: String,
}

impl World {
    async fn start(flags: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        let apps = root().join("examples/apps");
        let config = place.path().join("hamlet.toml");
        fs::write(
            &config,
            "[contexts.strict]\nblock_after_failed_logins = 3\n",
        )
        .unwrap();
        let daemon = Options::new(&place.path().join("data"))
            .flag(format!("--app-folder={}", apps.display()))
            .flag(format!("--config={}", config.display()))
            .flag("--trusted-proxies=127.0.0.1/32")
            .start();
        let domain = daemon.domain("alice");
        let add = format!("instances add {domain} {flags}");
        let _ = daemon.cli().run(&add).done();
        Self {
            _place: place,
            daemon,
            domain,
        }
    }

    async fn with_owner(flags: &str) -> Self {
        let world = Self::start(flags).await;
        let (mut browser, link) = (world.browser(), world.link());
        let query = link.split_once('/').unwrap().1;
        let token = query.split_once('=').unwrap().1;
        let fields = [("register_token", token), ("passphrase", PASSPHRASE)];
        let chosen = browser.post("/settings/passphrase", &fields).await;
        assert_eq!(chosen.status, StatusCode::SEE_OTHER, "{chosen:?}");
        world
    }

    fn browser(&self) -> Browser {
        Browser::new(&self.daemon.public, &self.domain)
    }

    /// The register link, without its scheme.
    fn link(&self) -> String {
        let link = format!("instances register-link {}", self.domain);
        let link = self.daemon.cli().run(&link).done().out;
        link.trim().strip_prefix("http://").unwrap().to_owned()
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.domain)
    }
}

/// The line that sets the session cookie, with its value left out; empty when there is none.
fn session_line(page: &Page) -> String {
    let lines = page.set_cookies();
    let found = lines.iter().find(|line| line.starts_with("cozysessid="));
    let rest = found.and_then(|line| line.split_once(';'));
    rest.map_or_else(String::new, |(_, rest)| rest.trim().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_link_leads_to_a_passphrase_and_the_owner_is_logged_in() {
    let world = World::start("--apps home").await;
    let mut browser = world.browser();
    let waiting = browser.get("/auth/login").await;
    assert_eq!(waiting.status, StatusCode::OK);
    assert!(waiting.text.contains("waits for its owner"), "{waiting:?}");
    let path = format!("/{}", world.link().split_once('/').unwrap().1);
    let start = browser.get(&format!("{path}&x=1")).await;
    assert_eq!(start.status, StatusCode::SEE_OTHER);
    let choose = format!("/auth/passphrase{}&x=1", path.strip_prefix('/').unwrap());
    assert_eq!(start.location(), world.url(&choose));
    let form = browser.get(&choose).await;
    for part in [
        "<h1>Choose your passphrase</h1>",
        "action=\"/settings/passphrase\"",
        "data-iterations=\"650000\"",
        "name=\"iterations\" value=\"0\"",
        "<script src=\"/assets/passphrase.js\" type=\"module\">",
    ] {
        assert!(form.text.contains(part), "{part} in {form:?}");
    }
    let policy = form.headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.contains("script-src 'self'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!(form.headers["referrer-policy"], "same-origin");
    let script = browser.get("/assets/derive.js").await;
    assert!(script.text.contains("PBKDF2"), "{script:?}");

    let token = form.field("register_token");
    let wrong = [
        ("register_token", token.as_str()),
        ("passphrase", "x"),
        ("hint", "mine"),
    ];
    let weak = browser.post("/settings/passphrase", &wrong).await;
    assert_eq!(weak.status, StatusCode::UNPROCESSABLE_ENTITY, "{weak:?}");
    assert!(weak.text.contains("too easy to guess"), "{weak:?}");
    assert_eq!(weak.field("hint"), "");
    assert!(weak.text.contains("value=\"mine\""), "the hint is kept");
    let foreign = browser
        .request(Method::POST, "/settings/passphrase")
        .header("origin", "https://evil.example")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!(
            "register_token={token}&passphrase=four+words+of+evil"
        ));
    let foreign = browser.send(foreign).await;
    assert_eq!(foreign.status, StatusCode::FORBIDDEN, "{foreign:?}");

    let right = [
        ("register_token", token.as_str()),
        ("passphrase", PASSPHRASE),
    ];
    let done = browser.post("/settings/passphrase", &right).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{done:?}");
    let home = format!("http://home.{}/", world.domain);
    assert_eq!(done.location(), home);
    assert_eq!(
        session_line(&done),
        "Path=/; Domain=alice.localhost; Max-Age=315360000; HttpOnly; SameSite=Lax"
    );
    assert_eq!(browser.cookies["cozysessid"].len(), 96);
    for path in ["/", "/auth/login", &choose] {
        let next = browser.get(path).await;
        assert_eq!(next.location(), home, "{path}");
    }
    // The link has done its work.
    let mut other = world.browser();
    assert_eq!(other.get(&path).await.location(), world.url("/auth/login"));
    let again = other.post("/settings/passphrase", &right).await;
    assert_eq!(again.status, StatusCode::FORBIDDEN, "{again:?}");
    other.accept = "application/json";
    let again = other.post("/settings/passphrase", &right).await;
    assert_eq!(again.status, StatusCode::BAD_REQUEST);
    assert_eq!(again.json()["errors"][0]["detail"], "Empty register token");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_passphrase_opens_the_instance_and_nothing_else_does() {
    let world = World::with_owner("").await;
    let mut browser = world.browser();
    let start = browser.get("/").await;
    assert_eq!(start.location(), world.url("/auth/login"));
    let form = browser.get("/auth/login").await;
    assert_eq!(form.status, StatusCode::OK, "{form:?}");
    for part in [
        "data-salt=\"me@alice.localhost\"",
        "data-iterations=\"650000\"",
        "autocomplete=\"current-password\"",
        "name=\"long-run-session\"",
    ] {
        assert!(form.text.contains(part), "{part}: {form:?}");
    }
    let csrf = form.field("csrf_token");
    assert_eq!(csrf, browser.cookies["_csrf"]);
    assert!(
        form.set_cookies()[0].ends_with("; Path=/auth; Max-Age=3600; HttpOnly; SameSite=Strict")
    );

    let wrong = browser.log_in("not these words", &[]).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert!(wrong.text.contains("This passphrase is wrong"), "{wrong:?}");
    assert_eq!(session_line(&wrong), "");
    for (fields, status) in [
        (vec![("passphrase", PASSPHRASE)], StatusCode::BAD_REQUEST),
        (
            vec![("passphrase", PASSPHRASE), ("csrf_token", "x")],
            StatusCode::FORBIDDEN,
        ),
    ] {
        let stale = browser.post("/auth/login", &fields).await;
        assert_eq!(stale.status, status, "{stale:?}");
        assert!(stale.text.contains("too old"), "{stale:?}");
    }

    let right = browser.log_in(PASSPHRASE, &[]).await;
    assert_eq!(right.status, StatusCode::SEE_OTHER, "{right:?}");
    // There is no app.
    assert_eq!(right.location(), world.url("/settings"));
    assert_eq!(
        session_line(&right),
        "Path=/; Domain=alice.localhost; HttpOnly; SameSite=Lax"
    );
    let settings = browser.get("/settings").await;
    assert_eq!(settings.status, StatusCode::OK, "{settings:?}");
    // The page finds the logins of its sessions by their index.
    let log = fs::read_to_string(world.daemon.data().with_extension("log")).unwrap();
    assert!(!log.contains("no index fits"), "{log}");

    // A session of one instance opens no other.
    let bob = world.daemon.domain("bob");
    let _ = world
        .daemon
        .cli()
        .run(&format!("instances add {bob}"))
        .done();
    browser.host = bob;
    let other = browser.get("/settings").await;
    assert_eq!(other.status, StatusCode::SEE_OTHER, "{other:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_logs_in_with_the_hash_that_a_client_makes() {
    let world = World::with_owner("--apps home").await;
    let mut browser = world.browser();
    browser.accept = "application/json";
    let wrong = browser.log_in("no", &[]).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert!(wrong.json()["error"].is_string(), "{wrong:?}");
    // What a client makes of the passphrase.
    let hash = hash(PASSPHRASE, "me@alice.localhost", 650_000);
    let long = [("long-run-session", "1"), ("redirect", "home/#/apps")];
    let right = browser.log_in(&hash, &long).await;
    assert_eq!(right.status, StatusCode::OK, "{right:?}");
    let home = format!("http://home.{}/#/apps", world.domain);
    assert_eq!(right.json(), json!({"redirect": home}));
    assert!(session_line(&right).contains("Max-Age=315360000"));
    for (redirect, error) in [
        ("https://evil.test/", "bad url: should be subdomain"),
        ("javascript:alert(1)", "bad url: bad scheme"),
        ("//evil.test", "bad url: could not parse"),
    ] {
        let mut stranger = world.browser();
        stranger.accept = "application/json";
        let bad = stranger.log_in(&hash, &[("redirect", redirect)]).await;
        assert_eq!(bad.status, StatusCode::BAD_REQUEST);
        assert_eq!(bad.json(), json!({"error": error}));
        let page = stranger
            .get(&format!("/auth/login?redirect={redirect}"))
            .await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST);
    }
}

/// PBKDF2-HMAC-SHA256 twice, by the program that every machine with the tests has.
fn hash(passphrase: &str, salt: &str, rounds: u32) -> String {
    let script = "import sys,hashlib,base64\np,s,n=sys.argv[1].encode(),sys.argv[2].encode(),int(sys.argv[3])\n\
                  m=hashlib.pbkdf2_hmac('sha256',p,s,n)\n\
                  print(base64.b64encode(hashlib.pbkdf2_hmac('sha256',m,p,1)).decode())";
    let made = std::process::Command::new("python3")
        .args(["-c", script, passphrase, salt, &rounds.to_string()])
        .output()
        .unwrap();
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_sees_sessions_ends_them_and_logs_out() {
    let world = World::with_owner("").await;
    let [mut here, mut there, mut elsewhere] = [(); 3].map(|()| world.browser());
    for browser in [&mut here, &mut there, &mut elsewhere] {
        let _ = browser.log_in(PASSPHRASE, &[]).await;
    }
    let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    let request = here
        .request(Method::POST, "/auth/login")
        .header("user-agent", agent)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!(
            "csrf_token={}&passphrase=four+words+for+nobody",
            here.cookies["_csrf"]
        ));
    let _ = here.send(request).await;
    let settings = here.get("/settings").await;
    assert!(settings.text.contains("Firefox, Linux"), "{settings:?}");
    assert!(settings.text.contains("this browser"), "{settings:?}");
    assert!(settings.text.contains("Used: 0 B."), "{settings:?}");

    // One form of another site, and one of an app, which is of the same site.
    for site in ["cross-site", "same-site"] {
        let forged = here
            .request(Method::POST, "/auth/logout")
            .header("sec-fetch-site", site);
        assert_eq!(
            here.send(forged).await.status,
            StatusCode::FORBIDDEN,
            "{site}"
        );
    }
    let rows = |page: &Page| page.text.matches("<li>").count();
    let before = rows(&settings);
    let gone = [("id", &*settings.field("id"))];
    let gone = here.post("/auth/sessions/end", &gone).await;
    assert_eq!(gone.location(), world.url("/settings"), "{gone:?}");
    assert_eq!(rows(&here.get("/settings").await), before - 1);
    let others = here.post("/auth/sessions/others", &[]).await;
    assert_eq!(others.status, StatusCode::SEE_OTHER, "{others:?}");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    for browser in [&mut there, &mut elsewhere] {
        let closed = browser.get("/settings").await;
        let login = world.url("/auth/login?redirect=");
        assert!(closed.location().starts_with(&login), "{closed:?}");
    }
    let settings = here.get("/settings").await;
    assert_eq!(settings.status, StatusCode::OK, "{settings:?}");
    let cookie = here.cookies["cozysessid"].clone();
    let out = here.post("/auth/logout", &[]).await;
    assert_eq!(out.location(), world.url("/auth/login"));
    assert_eq!(
        session_line(&out),
        "Path=/; Domain=alice.localhost; Max-Age=0"
    );
    // What was copied from the browser opens nothing any more.
    here.cookies.insert("cozysessid".to_owned(), cookie);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(here.get("/").await.location(), world.url("/auth/login"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_passphrase_ends_every_other_session() {
    let world = World::with_owner("").await;
    let (mut here, mut there) = (world.browser(), world.browser());
    for browser in [&mut here, &mut there] {
        let _ = browser.log_in(PASSPHRASE, &[]).await;
    }
    let key = |page: &Page| {
        let rest = page.text.split_once("data-vault-key=\"").unwrap().1;
        rest.split_once('"').unwrap().0.to_owned()
    };
    let before = key(&here.get("/settings").await);
    assert!(before.starts_with("0."), "{before}");
    for (current, new, status, told) in [
        (
            "wrong words",
            NEXT,
            StatusCode::FORBIDDEN,
            "present passphrase is wrong",
        ),
        (
            PASSPHRASE,
            "alice",
            StatusCode::UNPROCESSABLE_ENTITY,
            "too easy to guess",
        ),
    ] {
        let fields = [("current_passphrase", current), ("new_passphrase", new)];
        let refused = here.post("/auth/passphrase", &fields).await;
        assert_eq!(refused.status, status, "{refused:?}");
        assert!(refused.text.contains(told), "{told}: {refused:?}");
    }
    let fields = [("current_passphrase", PASSPHRASE), ("new_passphrase", NEXT)];
    let changed = here.post("/auth/passphrase", &fields).await;
    assert_eq!(
        changed.location(),
        world.url("/settings?changed=1"),
        "{changed:?}"
    );
    let page = here.get("/settings?changed=1").await;
    assert!(page.text.contains("The passphrase is changed"), "{page:?}");
    // The key of the vault is encrypted anew.
    let after = key(&page);
    assert!(after.starts_with("0.") && after != before, "{after}");
    assert_eq!(page.text.matches("<li>").count(), 1, "{page:?}");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let closed = there.get("/").await;
    assert_eq!(closed.location(), world.url("/auth/login"), "{closed:?}");
    let old = there.log_in(PASSPHRASE, &[]).await;
    assert_eq!(old.status, StatusCode::UNAUTHORIZED);
    let new = there.log_in(NEXT, &[]).await;
    assert_eq!(new.status, StatusCode::SEE_OTHER, "{new:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guesser_is_slowed_and_the_owner_comes_in() {
    let world = World::with_owner("").await;
    // The owner has been here before.
    let mut owner = world.browser();
    let _ = owner.log_in(PASSPHRASE, &[]).await;
    let _ = owner.post("/auth/logout", &[]).await;
    let mut guesser = world.browser();
    guesser.accept = "application/json";
    let mut refused = None;
    for number in 0..30 {
        let tried = guesser.log_in(&format!("guess {number}"), &[]).await;
        if tried.status == StatusCode::TOO_MANY_REQUESTS {
            refused = Some(tried);
            break;
        }
        assert_eq!(tried.status, StatusCode::UNAUTHORIZED, "{tried:?}");
    }
    let refused = refused.unwrap();
    assert!(refused.headers.contains_key("retry-after"), "{refused:?}");
    // From the same address, and from a browser that is known.
    let back = owner.log_in(PASSPHRASE, &[]).await;
    assert_eq!(back.status, StatusCode::SEE_OTHER, "{back:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_who_has_forgotten_the_passphrase_chooses_a_new_one() {
    let world = World::with_owner("").await;
    let mut browser = world.browser();
    let help = browser.get("/auth/passphrase_reset").await;
    assert_eq!(help.status, StatusCode::OK);
    assert!(help.text.contains("Forgotten passphrase"), "{help:?}");
    let make = format!("instances reset-link {}", world.domain);
    let link = world.daemon.cli().run(&make).done().out;
    let path = link.trim().strip_prefix(&world.url("")).unwrap();
    for (wrong, status) in [
        ("/auth/passphrase_renew", StatusCode::BAD_REQUEST),
        ("/auth/passphrase_renew?token=00ff", StatusCode::FORBIDDEN),
    ] {
        assert_eq!(browser.get(wrong).await.status, status, "{wrong}");
    }
    let form = browser.get(path).await;
    assert!(form.text.contains("Choose a new passphrase"), "{form:?}");
    assert!(
        form.text.contains("action=\"/auth/passphrase_renew\""),
        "{form:?}"
    );
    let token = form.field("passphrase_reset_token");
    let fields = [
        ("passphrase_reset_token", token.as_str()),
        ("passphrase", NEXT),
    ];
    let set = browser.post("/auth/passphrase_renew", &fields).await;
    assert_eq!(set.location(), world.url("/settings"), "{set:?}");
    let again = browser.post("/auth/passphrase_renew", &fields).await;
    assert_eq!(again.status, StatusCode::FORBIDDEN, "{again:?}");
    let mut other = world.browser();
    let old = other.log_in(PASSPHRASE, &[]).await;
    assert_eq!(old.status, StatusCode::UNAUTHORIZED);
    let new = other.log_in(NEXT, &[]).await;
    assert_eq!(new.status, StatusCode::SEE_OTHER, "{new:?}");
}

/// Many addresses guess at the passphrase as fast as they can.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_guesses_keeps_neither_the_owner_out_nor_a_neighbour() {
    let world = World::with_owner("").await;
    let mut owner = world.browser();
    let _ = owner.log_in(PASSPHRASE, &[]).await;
    let _ = owner.post("/auth/logout", &[]).await;
    let bob = world.daemon.domain("bob");
    let _ = world
        .daemon
        .cli()
        .run(&format!("instances add {bob}"))
        .done();
    let stop = Arc::new(AtomicBool::new(false));
    let counts: [Arc<AtomicUsize>; 2] = Default::default();
    let floods: Vec<_> = (0..48_u8)
        .map(|number| {
            let (mut guesser, stop) = (world.browser(), Arc::clone(&stop));
            let [tried, answered] = counts.clone();
            tokio::spawn(async move {
                guesser.accept = "application/json";
                let csrf = guesser.get("/auth/login").await.field("csrf_token");
                for round in 0_u32.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let [_, a, b, c] = round.to_be_bytes();
                    let request = guesser
                        .request(Method::POST, "/auth/login")
                        .header("x-forwarded-for", format!("{}.{a}.{b}.{c}", number + 11))
                        .header("content-type", "application/x-www-form-urlencoded")
                        .body(format!("csrf_token={csrf}&passphrase=guess{round}"));
                    let page = guesser.send(request).await;
                    tried.fetch_add(1, Ordering::Relaxed);
                    let was_seen = page.status == StatusCode::UNAUTHORIZED;
                    answered.fetch_add(usize::from(was_seen), Ordering::Relaxed);
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let back = owner.log_in(PASSPHRASE, &[]).await;
    assert_eq!(back.status, StatusCode::SEE_OTHER, "{back:?}");
    let mut neighbour = world.browser();
    neighbour.host = bob;
    let theirs = neighbour.get("/").await;
    assert_eq!(theirs.status, StatusCode::OK, "{theirs:?}");
    stop.store(true, Ordering::Relaxed);
    for flood in floods {
        flood.await.unwrap();
    }
    let [tried, answered] = counts.map(|count| count.load(Ordering::Relaxed));
    // Nearly all were refused unseen.
    assert!(
        answered <= 60 && tried > 4 * answered,
        "{answered} of {tried}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_blocked_by_failed_logins_where_its_context_says_so() {
    let world = World::with_owner("--context-name strict").await;
    let mut guesser = world.browser();
    for number in 0..3 {
        let tried = guesser.log_in(&format!("guess {number}"), &[]).await;
        assert_eq!(tried.status, StatusCode::UNAUTHORIZED, "{tried:?}");
    }
    let blocked = test_kit::eventually("the block", async || {
        let page = guesser.get("/auth/login").await;
        (page.status == StatusCode::SERVICE_UNAVAILABLE).then_some(page)
    })
    .await;
    assert!(
        blocked.text.contains("too many failed logins"),
        "{blocked:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_asks_for_more_is_not_opened_by_the_passphrase() {
    let world = World::with_owner("").await;
    let mode = format!("instances auth-mode {} two_factor_mail", world.domain);
    let _ = world.daemon.cli().run(&mode).done();
    let mut browser = world.browser();
    let half = browser.log_in(PASSPHRASE, &[]).await;
    // No mail is sent here.
    assert_eq!(half.status, StatusCode::SERVICE_UNAVAILABLE, "{half:?}");
    assert!(half.text.contains("A second step is needed"), "{half:?}");
    assert_eq!(session_line(&half), "");
}
