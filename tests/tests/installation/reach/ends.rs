//! What ends tokens of apps.

use std::time::Duration;

use hamlet_tests::{browser::Browser, grpc::Door};
use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{World, reason};

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_apps_end_within_a_second_over_grpc_too() {
    let world = World::start().await;
    let ann = &world.ann;
    let list = async |token: &str| {
        let door = Door::public(&world.daemon, ann, Some(token)).await;
        let answer = door
            .call("hamlet.apps.v1.AppsService/ListApps", &json!({}))
            .await;
        answer.map_err(|refused| reason(&refused))
    };
    let ended = async |token: &str| {
        tokio::time::sleep(Duration::from_millis(1100)).await;
        list(token).await
    };
    let wrong = Err("TOKEN_WRONG".to_owned());
    // What the manifest of home asks for.
    let app = world.cli(&format!("instances token-app {ann} home"));
    assert_eq!(list(&app).await, Ok(()));
    world.cli(&format!(
        "instances set-passphrase {ann} --force four-words-for-nobody"
    ));
    assert_eq!(ended(&app).await, wrong);
    let app = world.cli(&format!("instances token-app {ann} home"));
    assert_eq!(list(&app).await, Ok(()));
    world.cli(&format!("apps uninstall {ann} home"));
    assert_eq!(ended(&app).await, wrong);
    world.cli(&format!("apps install {ann} home"));
    assert_eq!(ended(&app).await, Ok(()));
    world.cli(&format!("instances revoke-tokens {ann}"));
    assert_eq!(ended(&app).await, wrong);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_apps_and_their_tokens_end_within_a_second() {
    let world = World::start().await;
    let ann = &world.ann;
    let mut passphrase = "a-passphrase-of-many-words";
    for (end, page, token) in [
        ("instances clean-sessions ANN", 302, 401),
        (
            "instances set-passphrase ANN --force four-words-for-nobody",
            302,
            401,
        ),
        ("apps uninstall ANN home", 404, 404),
    ] {
        let mut browser = Browser::new(&world.daemon.public, ann);
        let led = browser.log_in(passphrase, &[]).await;
        assert!(led.status.is_redirection(), "{led:?}");
        browser.host = format!("home.{ann}");
        let shown = browser.get("/").await;
        assert_eq!(shown.status, StatusCode::OK, "{shown:?}");
        let (_, rest) = shown.text.split_once("token&#34;:&#34;").unwrap();
        let own = rest.split('&').next().unwrap().to_owned();
        browser.host.clone_from(ann);
        let ask = |browser: &Browser| browser.request(Method::GET, "/apps/").bearer_auth(&own);
        let request = ask(&browser);
        assert_eq!(browser.send(request).await.status, StatusCode::OK);

        world.cli(&end.replace("ANN", ann));
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let request = ask(&browser);
        let refused = browser.send(request).await.status;
        assert_eq!(refused, token, "the token after {end}");
        browser.host = format!("home.{ann}");
        let left = browser.get("/").await.status;
        assert_eq!(left, page, "the page after {end}");
        if end.contains("set-passphrase") {
            passphrase = "four-words-for-nobody";
        }
    }
}
