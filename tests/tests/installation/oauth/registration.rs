//! Registering programs, and removing them.

use std::time::Duration;

use hamlet_tests::admin_door::AdminDoor;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{World, text};

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
