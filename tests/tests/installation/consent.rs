//! An update that asks for more waits for the owner, who is asked on a page.

use std::fs;

use hamlet_tests::{
    admin_door::AdminDoor,
    browser::{Browser, Page},
    daemon::{Daemon, Options},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

const PASSPHRASE: &str = "a-passphrase-of-many-words";

/// A `hamletd` with an instance that has the app `pad`, whose maker publishes new versions.
struct World {
    place: TempDir,
    daemon: Daemon,
    domain: String,
}

impl World {
    fn start() -> Self {
        let place = tempfile::tempdir().unwrap();
        publish(
            &place,
            "1.0.0",
            &json!({"files": rule("io.cozy.files", &["GET"])}),
        );
        let daemon = Options::new(&place.path().join("data"))
            .flag(format!(
                "--app-folder={}",
                place.path().join("apps").display()
            ))
            .start();
        let domain = daemon.domain("ann");
        let world = Self {
            place,
            daemon,
            domain,
        };
        world.cli("instances add ANN --apps pad");
        world.cli(&format!(
            "instances set-passphrase ANN --force {PASSPHRASE}"
        ));
        world
    }

    fn publish(&self, version: &str, permissions: &Value) {
        publish(&self.place, version, permissions);
    }

    fn cli(&self, words: &str) -> String {
        let words = words.replace("ANN", &self.domain);
        self.daemon.cli().run(&words).done().out.trim().to_owned()
    }

    fn app(&self) -> Value {
        serde_json::from_str(&self.cli("apps show ANN pad -o json")).unwrap()
    }

    /// What the app may do, by the rules of its token.
    async fn granted(&self) -> Value {
        let token = self.cli("instances token-app ANN pad");
        let door = AdminDoor::at(
            &self.daemon.public,
            &self.daemon.data().join("admin-credential"),
        );
        let own = door
            .without_credential(Method::GET, "/permissions/self")
            .header("host", &self.domain)
            .bearer_auth(&token);
        door.send(own).await.json()["data"]["attributes"]["permissions"].clone()
    }

    /// A browser in which the owner is logged in.
    async fn owner(&self) -> Browser {
        let mut browser = Browser::new(&self.daemon.public, &self.domain);
        let led = browser.log_in(PASSPHRASE, &[]).await;
        assert!(led.status.is_redirection(), "{led:?}");
        browser
    }
}

fn rule(doctype: &str, verbs: &[&str]) -> Value {
    json!({"type": doctype, "verbs": verbs, "description": "To show what you wrote"})
}

fn publish(place: &TempDir, version: &str, permissions: &Value) {
    let folder = place.path().join("apps/pad");
    fs::create_dir_all(&folder).unwrap();
    let manifest = json!({
        "name": "Pad", "slug": "pad", "type": "webapp", "version": version,
        "permissions": permissions,
        "routes": {"/": {"folder": "/", "index": "index.html", "public": false}}
    });
    fs::write(folder.join("manifest.webapp"), manifest.to_string()).unwrap();
    fs::write(
        folder.join("index.html"),
        format!("<!doctype html><title>Pad</title>{version}"),
    )
    .unwrap();
}

/// The hidden fields of the form in a page.
fn hidden(page: &str) -> Vec<(String, String)> {
    let inputs = page.split("<input type=\"hidden\" name=\"").skip(1);
    inputs
        .map(|input| {
            let (name, rest) = input.split_once("\" value=\"").unwrap();
            let value = rest.split('"').next().unwrap().replace("&quot;", "\"");
            (name.to_owned(), value)
        })
        .collect()
}

async fn agree(browser: &mut Browser, form: &[(String, String)]) -> Page {
    let fields = form
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let fields: Vec<_> = fields.collect();
    browser.post("/settings/apps/pad", &fields).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_asks_for_more_waits_for_the_owner() {
    let world = World::start();
    let more = json!({
        "files": rule("io.cozy.files", &["GET", "DELETE"]),
        "contacts": rule("io.cozy.contacts", &[]),
    });
    world.publish("2.0.0", &more);
    let said = world.cli("apps update ANN pad --safe");
    assert!(said.contains("waits for the owner"), "{said}");
    let app = world.app();
    assert!(
        app["version"].as_str().unwrap().starts_with("1.0.0"),
        "{app}"
    );
    let waits = app["availableVersion"].as_str().unwrap().to_owned();
    assert!(waits.starts_with("2.0.0"), "{app}");
    assert_eq!(world.granted().await.as_object().unwrap().len(), 1);
    // Asking again changes nothing.
    world.cli("apps update ANN pad --safe");
    assert_eq!(world.app(), app);

    // A stranger is led to the login, and from there to the page.
    let mut stranger = Browser::new(&world.daemon.public, &world.domain);
    let led = stranger.get("/settings/apps/pad").await;
    assert_eq!(led.status, StatusCode::SEE_OTHER);
    assert!(led.location().contains("/auth/login?redirect="), "{led:?}");

    let mut browser = world.owner().await;
    let settings = browser.get("/settings").await;
    assert!(
        settings.text.contains("href=\"/settings/apps/pad\""),
        "{settings:?}"
    );
    let page = browser.get("/settings/apps/pad").await;
    assert_eq!(page.status, StatusCode::OK);
    for part in [
        "An update waits for your word",
        "Pad, version 2.0.0",
        "Your files and folders",
        "see · delete",
        "Your contacts",
        "see · add · change · delete",
        "The app says: To show what you wrote",
    ] {
        assert!(page.text.contains(part), "{part}: {page:?}");
    }
    let form = hidden(&page.text);

    // What was not shown is not granted: the maker has published another version meanwhile.
    let mut most = more.clone();
    most["bank"] = rule("io.cozy.bank.*", &[]);
    world.publish("3.0.0", &most);
    let own = format!("http://{}", world.domain);
    let again = agree(&mut browser, &form).await;
    assert_eq!(again.location(), format!("{own}/settings/apps/pad"));
    assert!(
        world.app()["version"]
            .as_str()
            .unwrap()
            .starts_with("1.0.0")
    );
    let page = browser.get("/settings/apps/pad").await;
    assert!(page.text.contains("io.cozy.bank.*"), "{page:?}");
    let form = hidden(&page.text);

    // Only the page itself may send the form, and only what it has shown counts.
    let elsewhere = browser
        .request(Method::POST, "/settings/apps/pad")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("origin", "http://evil.example")
        .body("version=1");
    let other = browser.send(elsewhere).await;
    assert_eq!(other.status, StatusCode::FORBIDDEN);
    let less: Vec<_> = form
        .iter()
        .map(|(name, value)| match name.as_str() {
            "permissions" => (name.clone(), "{}".to_owned()),
            _ => (name.clone(), value.clone()),
        })
        .collect();
    let refused = agree(&mut browser, &less).await;
    assert_eq!(refused.location(), format!("{own}/settings/apps/pad"));
    assert!(
        world.app()["version"]
            .as_str()
            .unwrap()
            .starts_with("1.0.0")
    );

    let agreed = agree(&mut browser, &form).await;
    assert_eq!(agreed.location(), format!("{own}/settings"));
    let app = world.app();
    assert!(
        app["version"].as_str().unwrap().starts_with("3.0.0"),
        "{app}"
    );
    assert!(
        app.get("availableVersion").is_none_or(|it| it == ""),
        "{app}"
    );
    assert_eq!(world.granted().await.as_object().unwrap().len(), 3);
    let page = browser.get("/settings/apps/pad").await;
    assert_eq!(page.location(), format!("{own}/settings"), "nothing waits");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_grants_what_a_new_version_asks_for_only_where_it_says_so() {
    let world = World::start();
    let door = AdminDoor::at(
        &world.daemon.public,
        &world.daemon.data().join("admin-credential"),
    );
    let token = world.cli("instances token-cli ANN io.cozy.apps");
    let update = async |query: &str| {
        let request = door
            .without_credential(Method::PUT, &format!("/apps/pad{query}"))
            .header("host", &world.domain)
            .bearer_auth(&token);
        let answer = door.send(request).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        answer.json()["data"]["attributes"].clone()
    };
    // Less, or the same in other words, needs no word.
    let same = json!({"other name": {"type": "io.cozy.files", "verbs": ["GET"]}});
    world.publish("1.1.0", &same);
    let updated = update("").await;
    assert!(
        updated["version"].as_str().unwrap().starts_with("1.1.0"),
        "{updated}"
    );
    world.publish("2.0.0", &json!({"files": {"type": "io.cozy.files"}}));
    let held = update("").await;
    assert!(
        held["version"].as_str().unwrap().starts_with("1.1.0"),
        "{held}"
    );
    assert!(
        held["available_version"]
            .as_str()
            .unwrap()
            .starts_with("2.0.0"),
        "{held}"
    );
    assert_eq!(held["state"], "ready");
    // What waits may be withdrawn.
    world.publish(
        "1.1.0",
        &json!({"other name": {"type": "io.cozy.files", "verbs": ["GET"]}}),
    );
    let withdrawn = update("").await;
    assert_eq!(withdrawn.get("available_version"), None, "{withdrawn}");
    world.publish("2.0.0", &json!({"files": {"type": "io.cozy.files"}}));
    let updated = update("?PermissionsAcked=true").await;
    assert!(
        updated["version"].as_str().unwrap().starts_with("2.0.0"),
        "{updated}"
    );
    assert_eq!(updated.get("available_version"), None, "{updated}");
    assert_eq!(
        world.granted().await,
        json!({"files": {"type": "io.cozy.files"}})
    );
}
