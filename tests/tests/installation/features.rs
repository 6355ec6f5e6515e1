//! Feature flags, as administrators and existing command lines set them.

use std::fs;

use hamlet_tests::{
    admin_door::{AdminDoor, Reply},
    daemon::{Daemon, Options},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

fn start() -> (TempDir, Daemon, AdminDoor) {
    let place = tempfile::tempdir().unwrap();
    let config = place.path().join("hamlet.toml");
    fs::write(
        &config,
        "[contexts.dev.features]\n'config.on' = true\nshared = 'config'\n",
    )
    .unwrap();
    let daemon = Options::new(&place.path().join("data"))
        .flag(format!("--config={}", config.display()))
        .start();
    let door = AdminDoor::of(&daemon);
    (place, daemon, door)
}

async fn send(door: &AdminDoor, method: Method, path: &str, body: &Value) -> Reply {
    let request = door.request(method, path).body(body.to_string());
    door.send(request).await
}

async fn patch(door: &AdminDoor, path: &str, body: &Value) -> Value {
    let reply = send(door, Method::PATCH, path, body).await;
    assert_eq!(reply.status, StatusCode::OK, "{path}: {reply:?}");
    reply.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_source_of_flags_is_set_and_the_first_counts() {
    let (_place, daemon, door) = start();
    let cli = daemon.cli();
    let alice = daemon.domain("alice");
    let _ = cli
        .run(&format!("instances add {alice} --context-name dev"))
        .done();
    for path in ["defaults", "contexts/dev"] {
        let reply = door.get(&format!("/instances/feature/{path}")).await;
        assert_eq!((reply.status, reply.json()), (StatusCode::OK, Value::Null));
    }

    // As existing command lines do it.
    let defaults = patch(
        &door,
        "/instances/feature/defaults",
        &json!({"shared": "default", "own": 1, "list": ["a"], "gone": 1}),
    )
    .await;
    assert_eq!(defaults["list"], json!(["a"]));
    let defaults = patch(&door, "/instances/feature/defaults", &json!({"gone": null})).await;
    assert_eq!(
        defaults,
        json!({"list": ["a"], "own": 1, "shared": "default"})
    );
    let everyone = json!([{"ratio": 1, "value": "context"}]);
    let shares = patch(
        &door,
        "/instances/feature/contexts/dev",
        &json!({"shared": everyone, "some": everyone, "nobody": [{"ratio": 0, "value": 1}], "gone": everyone}),
    )
    .await;
    // Numbers stay as they were written.
    assert_eq!(shares["some"].to_string(), everyone.to_string());
    let shares = patch(
        &door,
        "/instances/feature/contexts/dev",
        &json!({"gone": []}),
    )
    .await;
    assert_eq!(shares.as_object().unwrap().len(), 3);
    let own = patch(
        &door,
        &format!("/instances/{alice}/feature/flags"),
        &json!({"own": {"b": 1, "a": 2}, "gone": 1}),
    )
    .await;
    assert_eq!(own, json!({"own": {"a": 2, "b": 1}, "gone": 1}));
    let path = format!("/instances/{alice}/feature/sets");
    let sets = send(&door, Method::PUT, &path, &json!(["z", "a"])).await;
    assert_eq!(
        (sets.status, sets.json()),
        (StatusCode::OK, json!(["a", "z"]))
    );
    let config = door.get("/instances/feature/config/dev").await;
    assert_eq!(
        config.json(),
        json!({"config.on": true, "shared": "config"})
    );

    // As an administrator does it.
    let _ = cli
        .run(&format!("features flags {alice} tier=2 --remove gone"))
        .done();
    let flags = cli
        .run(&format!("features flags {alice} -o json"))
        .done()
        .json();
    assert_eq!(flags, json!({"own": {"a": 2, "b": 1}, "tier": 2}));
    let shown = cli
        .run(&format!("features show {alice} --source -o json"))
        .done()
        .json();
    assert_eq!(
        shown["flags"],
        json!({
            "config.on": true, "list": ["a"], "own": {"a": 2, "b": 1}, "shared": "config", "some": "context", "tier": 2
        })
    );
    assert_eq!(shown["sources"]["defaults"], defaults);
    let ratio = cli.run("features ratio dev some=0.5:1 some=0.5:2 --remove nobody -o json");
    let two = json!([{"ratio": 0.5, "value": 1}, {"ratio": 0.5, "value": 2}]);
    assert_eq!(ratio.done().json()["some"], two);
    let would = cli.run("features defaults own=5 --dry-run -o json").done();
    assert_eq!(would.json()["own"], 5);
    let is = cli.run("features defaults -o json").done().json();
    assert_eq!(is["own"], 1);
    assert_eq!(
        cli.run(&format!("features sets {alice}")).done().out,
        "a\nz\n"
    );
    let _ = cli.run(&format!("features sets {alice} --clear")).done();
    let sets = door.get(&path).await;
    assert_eq!(sets.json(), Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_flag_is_refused_by_name() {
    let (_place, daemon, door) = start();
    let alice = daemon.domain("alice");
    let _ = daemon.cli().run(&format!("instances add {alice}")).done();
    let flags = format!("/instances/{alice}/feature/flags");
    let sets = format!("/instances/{alice}/feature/sets");
    let context = "/instances/feature/contexts/dev";
    let defaults = "/instances/feature/defaults";
    for (method, path, body, status) in [
        (Method::PATCH, flags.as_str(), "[", StatusCode::BAD_REQUEST),
        (Method::PATCH, &flags, "[1]", StatusCode::BAD_REQUEST),
        (
            Method::PATCH,
            &flags,
            r#"{"_id": 1}"#,
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (Method::PUT, &sets, r#"{"a": 1}"#, StatusCode::BAD_REQUEST),
        (
            Method::PUT,
            &sets,
            r#"["a b"]"#,
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            Method::PATCH,
            defaults,
            r#"{"_rev": "1-a"}"#,
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            Method::PATCH,
            context,
            r#"{"a": 5}"#,
            StatusCode::BAD_REQUEST,
        ),
        (
            Method::PATCH,
            context,
            r#"{"a": [{"ratio": 2, "value": 1}]}"#,
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            Method::PATCH,
            "/instances/nobody.localhost/feature/flags",
            "{}",
            StatusCode::NOT_FOUND,
        ),
    ] {
        let request = door.request(method, path).body(body.to_owned());
        let reply = door.send(request).await;
        assert_eq!(reply.status, status, "{path} {body}: {reply:?}");
    }
    let unknown = door.get("/instances/feature/config/nosuch").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    let told = daemon.cli().run("features defaults a=beta");
    assert!(told.code == 2 && told.err.contains("quotes"), "{told:#?}");
    let alone = daemon.cli().run("features defaults --dry-run");
    assert!(
        alone.code == 2 && alone.err.contains("has no effect"),
        "{alone:#?}"
    );
    // Nothing of it was written.
    let reply = door.get(defaults).await;
    assert_eq!(reply.json(), Value::Null);
}
