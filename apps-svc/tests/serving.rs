//! Web apps on their hosts, as browsers get them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed expectation is the test failing"
)]

mod support;

use std::{io::Read as _, time::Duration};

use hamlet_proto::hamlet::apps::v1::UninstallAppRequest;
use reqwest::Method;
use serde_json::{Value, json};
use service_kit::caller::Door;
use support::World;

const HASHED: &str = "/assets/home.0a1b2c3d4e5f.js";

async fn with(apps: &[&str]) -> World {
    let world = World::new().await;
    for app in apps {
        world.install(app).await.unwrap();
    }
    world
}

#[tokio::test]
async fn a_public_file_is_for_everybody_and_a_private_one_for_the_owner() {
    let world = with(&["home", "drive"]).await;
    let icon = world.visit("home", "/assets/icon.svg").get().await;
    assert_eq!(icon.status, 200, "{icon:?}");
    assert_eq!(icon.header("content-type"), "image/svg+xml");
    assert_eq!(icon.header("cache-control"), "no-cache");
    assert_eq!(icon.header("x-content-type-options"), "nosniff");
    assert_eq!(icon.header("content-length"), icon.body.len().to_string());

    let stranger = world.visit("drive", "/app.js").get().await;
    assert_eq!(stranger.status, 401);
    let owner = world.visit("drive", "/app.js").logged_in().get().await;
    assert_eq!(owner.status, 200);
    assert_eq!(
        owner.header("content-type"),
        "text/javascript; charset=utf-8"
    );
    assert_eq!(owner.header("cache-control"), "private, no-cache");
    let service = world.visit("drive", "/services/daily-count.js").get().await;
    assert_eq!(service.status, 401);
}

#[tokio::test]
async fn a_stranger_is_led_to_the_login_and_back() {
    let world = with(&["home"]).await;
    for (path, back) in [
        ("/", "%2F"),
        ("/index.html?x=1", "%2Findex.html%3Fx%3D1"),
        ("//index.html", "%2F%2Findex.html"),
    ] {
        let led = world.visit("home", path).get().await;
        assert_eq!(led.status, 302, "{path}");
        assert_eq!(
            led.header("location"),
            format!(
                "http://bob.localhost:8085/auth/login?redirect=http%3A%2F%2Fhome.bob.localhost%3A8085{back}"
            )
        );
        assert_eq!(led.header("cache-control"), "no-store");
    }
    let with_jwt = world.visit("home", "/?jwt=a.b").get().await;
    let to = with_jwt.header("location");
    assert!(
        to.starts_with("http://bob.localhost:8085/auth/login?jwt=a.b&redirect="),
        "{to}"
    );
    let by_alias = world
        .visit("home", "/")
        .at("home.robert.example")
        .get()
        .await;
    assert_eq!(
        by_alias.header("location"),
        "http://robert.example/auth/login?redirect=http%3A%2F%2Fhome.robert.example%2F"
    );
}

#[tokio::test]
async fn a_page_holds_values_for_whoever_opens_it() {
    let mut world = with(&["home", "drive"]).await;
    world.tenant.locale = "fr".to_owned();
    let page = world.visit("home", "/").logged_in().get().await;
    assert_eq!(page.status, 200, "{page:?}");
    assert_eq!(page.header("content-type"), "text/html; charset=UTF-8");
    assert_eq!(
        page.header("cache-control"),
        "private, no-store, must-revalidate"
    );
    let text = page.text();
    assert!(text.contains("<html lang=\"fr\">"), "{text}");
    assert!(text.contains("<title>Accueil</title>"), "{text}");
    let data = cozy_data(&text);
    assert_eq!(
        data,
        json!({
            "token": "home for session", "domain": "bob.localhost:8085", "subdomain": "nested", "tracking": false,
            "locale": "fr", "isLoggedIn": true,
            "app": {"editor": "Fixtures", "name": "Accueil", "prefix": "Sample", "slug": "home", "icon": "assets/icon.svg"},
            "flags": {"a.flag": true}, "capabilities": {"can_auth_with_password": true},
        })
    );

    let guest = world.visit("drive", "/public/?sharecode=abc").get().await;
    assert_eq!(guest.status, 200);
    let data = cozy_data(&guest.text());
    assert_eq!(
        (&data["token"], &data["isLoggedIn"]),
        (&json!("abc"), &json!(false))
    );
    let guest = world.visit("drive", "/public/").get().await;
    assert_eq!(cozy_data(&guest.text())["token"], "");
    let head = world
        .visit("home", "/")
        .logged_in()
        .send(Method::HEAD)
        .await;
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-length"), page.body.len().to_string());
    assert!(head.body.is_empty());
}

/// What a script reads from a page.
fn cozy_data(page: &str) -> Value {
    let (_, data) = page.split_once("data-cozy=\"").unwrap();
    let (data, _) = data.split_once('"').unwrap();
    let mut text = String::new();
    let mut rest = data;
    while let Some((before, after)) = rest.split_once("&#") {
        let (number, after) = after.split_once(';').unwrap();
        text.push_str(before);
        text.push(char::from_u32(number.parse().unwrap()).unwrap());
        rest = after;
    }
    text.push_str(rest);
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn files_are_kept_by_their_hash_and_sent_in_parts() {
    let world = with(&["home"]).await;
    let whole = world.visit("home", HASHED).get().await;
    assert_eq!(whole.status, 200);
    assert_eq!(whole.header("cache-control"), "max-age=31536000, immutable");
    assert_eq!(whole.header("accept-ranges"), "bytes");
    let etag = whole.header("etag");
    let visit = || world.visit("home", HASHED);

    let known = visit().header("if-none-match", etag).get().await;
    assert_eq!(known.status, 304);
    assert!(known.body.is_empty() && known.header("etag") == etag);

    let packed = visit().header("accept-encoding", "gzip, br").get().await;
    assert_eq!(packed.header("content-encoding"), "br");
    assert_ne!(packed.header("etag"), etag);
    assert_eq!(packed.header("vary"), "accept-encoding");
    let mut unpacked = Vec::new();
    brotli::Decompressor::new(&*packed.body, 4096)
        .read_to_end(&mut unpacked)
        .unwrap();
    assert_eq!(unpacked, whole.body);
    let gzip = visit().header("accept-encoding", "gzip").get().await;
    assert_eq!(gzip.body, whole.body);

    let part = visit()
        .header("range", "bytes=5-9")
        .header("accept-encoding", "br");
    let part = part.get().await;
    assert_eq!(part.status, 206);
    assert_eq!(part.body, whole.body.get(5..10).unwrap());
    let size = whole.body.len();
    assert_eq!(part.header("content-range"), format!("bytes 5-9/{size}"));
    let old = visit()
        .header("range", "bytes=5-9")
        .header("if-range", "\"old\"");
    assert_eq!(old.get().await.status, 200);
    let beyond = visit().header("range", "bytes=99999999-").get().await;
    assert_eq!(beyond.status, 416);
    assert_eq!(beyond.header("content-range"), format!("bytes */{size}"));
    let head = visit().send(Method::HEAD).await;
    assert_eq!(head.header("content-length"), size.to_string());
}

#[tokio::test]
async fn what_is_not_there_says_why() {
    let world = with(&["home"]).await;
    let ask = async |slug: &str, path: &str| {
        let visit = world.visit(slug, path).header("accept", "application/json");
        let answer = visit.logged_in().get().await;
        let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let code = told.pointer("/errors/0/code").and_then(Value::as_str);
        (answer.status.as_u16(), code.unwrap_or_default().to_owned())
    };
    let refused = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(ask("jotter", "/").await, refused(404, "APP_NOT_INSTALLED"));
    assert_eq!(ask("no_such", "/").await, refused(400, "APP_SLUG_INVALID"));
    assert_eq!(ask("home", "/no/such").await, refused(404, "NO_SUCH_PATH"));
    assert_eq!(ask("home", "/assets").await, refused(404, "NO_SUCH_PATH"));
    assert_eq!(ask("home", "/a%00b").await, refused(404, "NO_SUCH_PATH"));
    for method in [Method::POST, Method::OPTIONS, Method::DELETE] {
        let answer = world.visit("home", "/").logged_in().send(method).await;
        assert_eq!(answer.status, 405);
        assert_eq!(answer.header("allow"), "GET, HEAD");
    }
    let page = world.visit("jotter", "/").header("accept", "text/html");
    let page = page.header("accept-language", "de").get().await;
    assert!(
        page.text()
            .contains("<h1>Diese App ist nicht installiert</h1>")
    );
    assert!(
        page.header("content-security-policy")
            .contains("style-src 'sha256-")
    );
    let robots = world.visit("home", "/robots.txt").get().await;
    assert_eq!(robots.text(), "User-agent: *\nDisallow: /\n");
    let former = world.visit("collect", "/").get().await;
    assert_eq!(former.status, 301);
    assert_eq!(former.header("location"), "http://bob.localhost:8085/");
}

#[tokio::test]
async fn an_app_that_is_not_installed_is_looked_for_in_the_store() {
    let world = with(&["home"]).await;
    let found = world
        .install_with("jotter", |it| it.slug = "store".to_owned())
        .await;
    found.unwrap();
    let visit = world.visit("drive", "/").header("accept", "text/html");
    let led = visit.get().await;
    assert_eq!(led.status, 307);
    let to = "http://store.bob.localhost:8085/#/discover/drive";
    assert_eq!(led.header("location"), to);
    assert_eq!(world.visit("drive", "/").get().await.status, 404);
}

#[tokio::test]
async fn a_change_of_an_app_is_seen_within_a_second() {
    let world = with(&["home"]).await;
    let visit = async || world.visit("home", "/assets/icon.svg").get().await.status;
    assert_eq!(visit().await, 200);
    let app = world.get("home").await.unwrap();
    let database = world.database("io.cozy.apps");
    let document: couch::Document<Value> =
        database.get("io.cozy.apps/home").await.unwrap().unwrap();
    let mut changed = document.body;
    changed["state"] = "installing".into();
    let id = "io.cozy.apps/home";
    let _ = database
        .compare_and_set(id, &couch::Rev::new(&app.etag), &changed)
        .await
        .unwrap();
    let soon = Duration::from_secs(1);
    tokio::time::sleep(soon).await;
    assert_eq!(visit().await, 503);
    let uninstall = UninstallAppRequest {
        slug: "home".to_owned(),
        ..UninstallAppRequest::default()
    };
    let mut apps = world.apps(Door::Admin);
    apps.uninstall_app(world.request(uninstall)).await.unwrap();
    tokio::time::sleep(soon).await;
    assert_eq!(visit().await, 404);
}

#[tokio::test]
async fn flat_hosts_name_the_apps_of_one_instance_only() {
    let mut world = World::new().await;
    world.tenant.context = "flat".to_owned();
    for app in ["home", "drive"] {
        world.install(app).await.unwrap();
    }
    let page = world.visit("home", "/").logged_in().get().await;
    assert_eq!(page.status, 200, "{page:?}");
    let policy = page.header("content-security-policy");
    assert!(
        policy.contains(
            "frame-src http://bob-drive.localhost:8085 http://bob-home.localhost:8085 'self' http://bob.localhost:8085"
        ),
        "{policy}"
    );
    assert!(!policy.contains('*'), "{policy}");
    assert_eq!(cozy_data(&page.text())["subdomain"], "flat");
    let led = world.visit("drive", "/").get().await;
    let to =
        "http://bob.localhost:8085/auth/login?redirect=http%3A%2F%2Fbob-drive.localhost%3A8085%2F";
    assert_eq!(led.header("location"), to);
}

#[tokio::test]
async fn a_page_with_a_fault_says_what_is_wrong() {
    let world = World::new().await;
    let install = async |slug: &str, page: &str| {
        let folder = world.folder.path().join(slug);
        std::fs::create_dir(&folder).unwrap();
        let manifest = json!({"name": slug, "slug": slug, "version": "1.0.0"});
        std::fs::write(folder.join("manifest.webapp"), manifest.to_string()).unwrap();
        std::fs::write(folder.join("index.html"), page).unwrap();
        let source = format!("file://{}", folder.display());
        world.install(&source).await.unwrap();
        let visit = world.visit(slug, "/").header("accept", "application/json");
        visit.logged_in().get().await
    };
    let unknown = install("unknown", "<p>{{.Nothing}}").await;
    assert_eq!(unknown.status, 500);
    assert!(unknown.text().contains("{{.Nothing}}"), "{unknown:?}");
    let script = install("script", "<script>let a = '{{.Token}}'</script>").await;
    assert!(script.text().contains("stands in <script>"), "{script:?}");
    let other = install("other", "<p>{{ message }}{{.Token}}").await;
    assert_eq!(other.status, 200);
    assert_eq!(other.text(), "<p>{{ message }}{{.Token}}");
}

#[tokio::test]
async fn a_page_waits_for_nobody_who_is_away() {
    let world = with(&["home"]).await;
    world.instances.refuse(tonic::Status::unavailable("away"));
    let page = world.visit("home", "/").logged_in().get().await;
    assert_eq!(page.status, 503);
    assert_eq!(page.header("retry-after"), "5");
    // Files need nobody else.
    assert_eq!(world.visit("home", HASHED).get().await.status, 200);
}

#[tokio::test]
async fn only_the_gateway_says_whose_app_it_is() {
    let world = with(&["home"]).await;
    let answer = reqwest::Client::new()
        .get(format!("http://{}/assets/icon.svg", world.address))
        .header("x-hamlet-app", "home")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 401);
}

#[tokio::test]
async fn an_icon_is_for_who_may_read_the_app() {
    use hamlet_proto::hamlet::instance::v1::identity::Kind;
    let world = with(&["home", "drive", "jotter"]).await;
    world.install_konnector("lumen-bills").await.unwrap();
    let icon = |path: &str| world.visit("", path).without_app();
    assert_eq!(icon("/apps/drive/icon").get().await.status, 401);
    let owner = icon("/apps/drive/icon/1.0.0").logged_in().get().await;
    assert_eq!(owner.status, 200, "{owner:?}");
    assert_eq!(owner.header("content-type"), "image/svg+xml");
    let kept = "private, max-age=31536000, immutable";
    assert_eq!(owner.header("cache-control"), kept);
    assert!(owner.header("content-security-policy").contains("sandbox"));
    let newest = icon("/apps/drive/icon").logged_in().get().await;
    assert_eq!(newest.header("cache-control"), "private, no-cache");
    let bills = icon("/konnectors/lumen-bills/icon").logged_in().get().await;
    assert_eq!(bills.status, 200);
    for none in [
        "/apps/drive/icon/9.9.9",
        "/apps/nosuch/icon",
        "/konnectors/drive/icon",
        "/apps/drive/other",
    ] {
        let answer = icon(none).logged_in().get().await;
        assert_eq!(answer.status, 404, "{none}");
    }

    let token = async |kind: Kind, subject: &str, scope: &str| {
        let visit = icon("/apps/drive/icon").identity(kind, subject, scope);
        visit.get().await.status.as_u16()
    };
    // What an app may do is in its permissions.
    assert_eq!(token(Kind::App, "home", "io.cozy.apps:GET").await, 200);
    assert_eq!(token(Kind::App, "jotter", "io.cozy.files").await, 403);
    assert_eq!(token(Kind::App, "nosuch", "").await, 403);
    assert_eq!(token(Kind::Cli, "", "*").await, 200);
    assert_eq!(token(Kind::Cli, "", "io.cozy.apps:POST").await, 403);
    assert_eq!(token(Kind::Cli, "", "io.cozy.files").await, 403);
    let one = |id: &str| format!("io.cozy.apps:GET:{id}");
    assert_eq!(
        token(Kind::Oauth, "x", &one("io.cozy.apps/drive")).await,
        200
    );
    assert_eq!(
        token(Kind::Oauth, "x", &one("io.cozy.apps/home")).await,
        403
    );
    assert_eq!(token(Kind::Oauth, "x", &one("drive:slug")).await, 200);
    assert_eq!(token(Kind::Oauth, "x", &one("ready:state")).await, 403);
}

#[tokio::test]
async fn the_code_of_an_app_is_downloaded_as_an_archive() {
    let world = with(&["drive"]).await;
    let visit = |path: &str| world.visit("", path).without_app();
    let stranger = visit("/apps/drive/download").get().await;
    assert_eq!(stranger.status, 401);
    let other = visit("/apps/drive/download/9.9.9").logged_in().get().await;
    assert_eq!(other.status, 404);
    let archive = visit("/apps/drive/download/1.0.0").logged_in().get().await;
    assert_eq!(archive.status, 200, "{archive:?}");
    assert_eq!(archive.header("content-type"), "application/gzip");
    let mut packed = tar::Archive::new(flate2::read::GzDecoder::new(&*archive.body));
    let mut names = Vec::new();
    for entry in packed.entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let file = support::fixtures().join("drive").join(&name);
        let is_same = content == std::fs::read(file).unwrap();
        // That of the registry is written in another way.
        assert!(is_same || name == "manifest.webapp", "{name}");
        names.push(name);
    }
    assert!(names.contains(&"public/icon.svg".to_owned()), "{names:?}");
    assert_eq!(names.len(), 10, "{names:?}");
}
