//! The JSON API at the admin door: who may use it, and what it does better than the original.

use hamlet_tests::{
    admin_door::AdminDoor,
    certificates::Authority,
    cluster::{Cluster, Part},
    daemon::{Daemon, Options},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use test_kit::eventually;

fn start() -> (TempDir, Daemon, AdminDoor) {
    let place = tempfile::tempdir().unwrap();
    let daemon = Options::new(&place.path().join("data")).start();
    let door = AdminDoor::of(&daemon);
    (place, daemon, door)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_administrators_come_in() {
    let (_place, daemon, door) = start();
    for path in ["/instances", "/version", "/openapi.json", "/nowhere"] {
        let stranger = door.send(door.without_credential(Method::GET, path)).await;
        assert_eq!(stranger.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(stranger.code(), "ADMIN_CREDENTIAL_MISSING");
        assert!(stranger.headers.contains_key("www-authenticate"));
        let guess = door.without_credential(Method::GET, path);
        let guess = door.send(guess.basic_auth("admin", Some("guess"))).await;
        assert_eq!(guess.status, StatusCode::FORBIDDEN, "{path}");
        assert_eq!(guess.code(), "ADMIN_CREDENTIAL_WRONG");
    }
    // The public door has no such paths.
    let public = AdminDoor::at(&daemon.public, &daemon.data().join("admin-credential"));
    let host = daemon.domain("alice");
    for path in ["/instances", "/instances/count", "/openapi.json"] {
        let request = public.request(Method::GET, path).header("host", &host);
        let answer = public.send(request).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_lives_by_json_alone() {
    let (_place, daemon, door) = start();
    let alice = daemon.domain("alice");
    let target = format!(
        "/instances?Domain={alice}&Locale=fr&Settings=offer:free,tz:Europe/Paris&Email=a@example.org\
         &OrgDomain=org.example&OrgID=g1"
    );
    let request = door.request(Method::POST, &target);
    let request = request
        .header("idempotency-key", "\"key-1\"")
        .header("x-request-id", "request-1");
    let created = door.send(request.try_clone().unwrap()).await;
    assert_eq!(created.status, StatusCode::CREATED, "{created:?}");
    assert_eq!(created.headers["x-request-id"], "request-1");
    let body = created.json();
    let attributes = &body["data"]["attributes"];
    assert!(attributes["register_token"].is_string());
    assert_eq!(attributes["org_domain"], "org.example");
    assert_eq!(attributes["org_id"], "g1");
    assert!(body["meta"]["operation"].is_string());

    // The same key begins nothing new, and another request with it is refused.
    let again = door.send(request).await;
    assert_eq!(again.status, StatusCode::CREATED);
    assert_eq!(again.json()["meta"], body["meta"]);
    let other = door.request(Method::POST, "/instances?Domain=other.localhost");
    let other = door.send(other.header("idempotency-key", "key-1")).await;
    assert_eq!(other.status, StatusCode::CONFLICT);
    assert_eq!(other.code(), "REQUEST_ID_REUSED");

    // An escaped colon is a colon, and capitals mean nothing.
    let escaped = alice.replace(':', "%3A").replace("alice", "ALICE");
    for path in [alice.clone(), escaped] {
        let shown = door.get(&format!("/instances/{path}")).await;
        assert_eq!(shown.status, StatusCode::OK, "{path}: {shown:?}");
        assert_eq!(shown.json()["data"], body["data"]);
    }
    let settings = daemon.cli().run(&format!("instances show {alice} -o json"));
    let settings = settings.done().json();
    assert_eq!(settings["timezone"], "Europe/Paris");
    assert_eq!(settings["settings"]["offer"], "free");

    // A change of nothing writes nothing.
    let path = format!("/instances/{alice}");
    let same = door
        .ask(Method::PATCH, &format!("{path}?Locale=&DiskQuota=0"))
        .await;
    assert_eq!(same.json(), json!({"data": body["data"]}));
    let changed = door
        .ask(Method::PATCH, &format!("{path}?Locale=de&DiskQuota=7"))
        .await;
    let attributes = &changed.json()["data"]["attributes"];
    assert_eq!(
        (&attributes["locale"], &attributes["disk_quota"]),
        (&json!("de"), &json!("7"))
    );

    for (state, until) in [(StatusCode::NOT_FOUND, "DELETE"), (StatusCode::OK, "POST")] {
        let debug = format!("{path}/debug");
        let set = door
            .ask(until.parse().unwrap(), &format!("{debug}?TTL=1h0m0s"))
            .await;
        assert_eq!(set.status, StatusCode::NO_CONTENT, "{set:?}");
        let shown = door.get(&debug).await;
        assert_eq!(shown.status, state, "{shown:?}");
        if state == StatusCode::OK {
            assert_eq!(shown.json()[&alice], true);
            assert!(shown.json()["until"].is_string());
        }
    }
    let prefix = door.get(&format!("{path}/prefix")).await;
    assert_eq!(prefix.json(), body["data"]["attributes"]["prefix"]);
    assert_eq!(door.get(&format!("{path}/swift-prefix")).await.text, "null");

    let gone = door.ask(Method::DELETE, &path).await;
    assert_eq!(
        (gone.status, gone.text.as_str()),
        (StatusCode::NO_CONTENT, "")
    );
    assert_eq!(door.get("/instances/count").await.json()["count"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn separate_processes_speak_json_over_tls_too() {
    let place = tempfile::tempdir().unwrap();
    Authority::new().write(place.path(), "server");
    let flags = ["cert", "key", "ca"]
        .map(|file| format!("--tls-{file}-file={}", place.path().join(file).display()));
    let cluster = Cluster::new()
        .tls()
        .flags(move |part| match part {
            Part::Database => Vec::new(),
            _ => flags.to_vec(),
        })
        .start();
    let door = AdminDoor::of_cluster(&cluster);
    let created = door.ask(Method::POST, "/instances?Domain=a.example").await;
    assert_eq!(created.status, StatusCode::CREATED, "{created:?}");
    assert_eq!(door.get("/instances/count").await.json()["count"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_need_not_wait() {
    let (_place, _daemon, door) = start();
    let request = door.request(Method::POST, "/instances?Domain=later.example");
    let begun = door
        .send(request.header("prefer", "respond-async, wait=1"))
        .await;
    assert_eq!(begun.status, StatusCode::ACCEPTED, "{begun:?}");
    assert_eq!(begun.headers["preference-applied"], "respond-async");
    let path = begun.headers["location"].to_str().unwrap().to_owned();
    let body = begun.json();
    assert_eq!(body["data"]["type"], "operations");
    assert_eq!(body["data"]["links"]["self"], path);
    eventually("the operation has ended", async || {
        door.get(&path).await.json()["data"]["attributes"]["done"] == true
    })
    .await;
    let shown = door.get("/instances/later.example").await;
    assert_eq!(shown.status, StatusCode::OK);
    let unknown = door
        .get("/operations/00000000000000000000000000000000")
        .await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_have_pages() {
    let (_place, _daemon, door) = start();
    for number in 0..5 {
        let created = door
            .ask(
                Method::POST,
                &format!("/instances?Domain=n{number}.example"),
            )
            .await;
        assert_eq!(created.status, StatusCode::CREATED);
    }
    let domains = |body: &Value| -> Vec<String> {
        let data = body["data"].as_array().unwrap();
        assert_eq!(body["meta"]["count"], data.len());
        data.iter()
            .map(|it| it["attributes"]["domain"].as_str().unwrap().to_owned())
            .collect()
    };
    let whole = door.get("/instances").await;
    assert_eq!(whole.kind.as_deref(), Some("application/vnd.api+json"));
    let all = domains(&whole.json());
    assert_eq!(all.len(), 5);
    for query in [
        "page[limit]=0",
        "page[limit]=-1",
        "page[limit]=x",
        "page[skip]=2",
    ] {
        let body = door.get(&format!("/instances?{query}")).await.json();
        assert_eq!(domains(&body), all, "{query}");
        assert_eq!(body.get("links"), None);
    }
    let mut next = Some("/instances?page%5Blimit%5D=2".to_owned());
    let (mut seen, mut pages) = (Vec::new(), 0);
    while let Some(path) = next {
        let body = door.get(&path).await.json();
        seen.extend(domains(&body));
        next = body["links"]["next"].as_str().map(str::to_owned);
        pages += 1;
    }
    assert_eq!((seen, pages), (all.clone(), 3));
    let skipped = door
        .get("/instances?page[limit]=2&page[skip]=3")
        .await
        .json();
    assert_eq!(domains(&skipped), all[3..]);
    assert_eq!(skipped.get("links"), None);
    let beyond = door
        .get("/instances?page[limit]=2&page[cursor]=zzzz")
        .await
        .json();
    assert_eq!(beyond, json!({"data": [], "meta": {"count": 0}}));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_name_what_is_wrong() {
    let (_place, _daemon, door) = start();
    let created = door
        .ask(
            Method::POST,
            "/instances?Domain=a.example&DomainAliases=b.example",
        )
        .await;
    assert_eq!(created.status, StatusCode::CREATED);
    for (method, target, status, parameter) in [
        ("POST", "/instances", 422, json!("domain")),
        ("POST", "/instances?Domain=++", 422, json!("domain")),
        (
            "POST",
            "/instances?Domain=a%2Fb.example",
            422,
            json!("domain"),
        ),
        ("POST", "/instances?Domain=A.example", 409, Value::Null),
        ("POST", "/instances?Domain=b.example", 409, Value::Null),
        (
            "POST",
            "/instances?Domain=c.example&DomainAliases=a+b",
            422,
            json!("DomainAliases"),
        ),
        (
            "POST",
            "/instances?Domain=c.example&CouchCluster=7",
            422,
            json!("CouchCluster"),
        ),
        (
            "POST",
            "/instances?Domain=c.example&DiskQuota=x",
            422,
            json!("DiskQuota"),
        ),
        (
            "POST",
            "/instances?Domain=c.example&MagicLink=x",
            422,
            json!("MagicLink"),
        ),
        (
            "POST",
            "/instances?Domain=c.example&AuthMode=x",
            422,
            json!("AuthMode"),
        ),
        (
            "POST",
            "/instances?Domain=c.example&TOSSigned=x",
            400,
            json!("TOSSigned"),
        ),
        (
            "POST",
            "/instances?Domain=c.example&KdfIterations=100000",
            400,
            json!("Passphrase"),
        ),
        (
            "POST",
            "/instances?Domain=c.example&Passphrase=x&KdfIterations=1000",
            422,
            json!("KdfIterations"),
        ),
        (
            "POST",
            "/instances?Domain=c.example&OrgDomain=a%20b",
            422,
            json!("OrgDomain"),
        ),
        (
            "POST",
            "/instances?Domain=c.example&Passphrase=unguessable-Zq7-words&MagicLink=true",
            400,
            json!("Passphrase"),
        ),
        ("GET", "/instances/c.example", 404, Value::Null),
        ("GET", "/instances/a%20b", 422, json!("domain")),
        ("GET", "/instances/c.example/prefix", 404, Value::Null),
        (
            "PATCH",
            "/instances/a.example?TOSLatest=x",
            400,
            json!("TOSLatest"),
        ),
        (
            "PATCH",
            "/instances/a.example?Settings=auth_mode:x",
            422,
            json!("Settings"),
        ),
        ("DELETE", "/instances/b.example", 422, json!("domain")),
        ("DELETE", "/instances/c.example/sessions", 404, Value::Null),
        ("POST", "/instances/token", 422, json!("domain")),
        (
            "POST",
            "/instances/token?Domain=a.example&Audience=x",
            400,
            json!("Audience"),
        ),
        (
            "POST",
            "/instances/token?Domain=a.example&Audience=cli&Scope=x&Expire=x",
            422,
            json!("Expire"),
        ),
        ("POST", "/instances/a.example/auth-mode", 400, Value::Null),
        ("GET", "/instances/assets", 501, Value::Null),
        ("GET", "/instances/", 404, Value::Null),
        ("PUT", "/instances", 405, Value::Null),
    ] {
        let reply = door.ask(method.parse().unwrap(), target).await;
        assert_eq!(
            reply.status.as_u16(),
            status,
            "{method} {target}: {reply:?}"
        );
        assert_eq!(reply.kind.as_deref(), Some("application/vnd.api+json"));
        let error = &reply.json()["errors"][0];
        assert_eq!(error["status"], status.to_string());
        assert_eq!(error["source"]["parameter"], parameter, "{method} {target}");
        assert!(
            !error["code"].as_str().unwrap().is_empty(),
            "{method} {target}"
        );
        let detail = error["detail"].as_str().unwrap();
        assert!(!detail.is_empty());
        if status == 405 {
            assert!(detail.contains("Allow lists"), "{detail}");
            assert_eq!(reply.headers["allow"], "GET,HEAD,POST");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_registered_and_found_and_their_secret_is_told_once() {
    let (_place, daemon, door) = start();
    let alice = daemon.domain("alice");
    let created = door
        .ask(Method::POST, &format!("/instances?Domain={alice}"))
        .await;
    assert_eq!(created.status, StatusCode::CREATED, "{created:?}");
    let register = |redirect: &str, software: &str| {
        format!(
            "/instances/oauth_client?AllowLoginScope=false&ClientName=Reader&Domain={alice}&OnboardingApp=\
             &RedirectURI={redirect}&SoftwareID={software}"
        )
    };
    let mut names = Vec::new();
    for software in ["one", "two"] {
        let target = register("http%3A%2F%2Flocalhost%2Fcb", software);
        let reply = door.ask(Method::POST, &target).await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        let client = reply.json();
        assert_eq!(client["client_secret"].as_str().unwrap().len(), 32);
        assert!(client["registration_access_token"].is_string());
        names.push(client["client_name"].as_str().unwrap().to_owned());
        let found = format!("/instances/oauth_client?domain={alice}&software_id={software}");
        let found = door.get(&found).await.json();
        assert_eq!(found["_id"], client["client_id"]);
        assert_eq!(found.get("client_secret"), None);
        // Tokens for a client need one that exists.
        let token = format!(
            "/instances/token?Audience=access&Domain={alice}&Scope=io.cozy.files&Subject={}",
            client["client_id"].as_str().unwrap()
        );
        let token = door.ask(Method::POST, &token).await;
        assert_eq!(token.status, StatusCode::OK, "{token:?}");
    }
    assert_eq!(names, ["Reader", "Reader-2"]);
    let missing = format!("/instances/oauth_client?domain={alice}&software_id=three");
    assert_eq!(door.get(&missing).await.status, StatusCode::NOT_FOUND);
    let wrong = door
        .ask(Method::POST, &register("javascript%3Aalert(1)", "x"))
        .await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        wrong.json()["errors"][0]["source"]["parameter"],
        "RedirectURI"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_counted_is_told_to_administrators() {
    let place = tempfile::tempdir().unwrap();
    let daemon = Options::new(&place.path().join("data"))
        .flag("--metrics-listen=127.0.0.1:0")
        .start();
    let door = AdminDoor::of(&daemon);
    // Nobody has called an instance yet.
    eventually("the state of the directory", async || {
        let told = door.get("/metrics").await.text;
        told.lines()
            .any(|line| line == "hamlet_directory_fresh 1")
            .then_some(())
    })
    .await;
    let _ = door.get("/instances/count").await;
    let told = door.get("/metrics").await;
    assert_eq!(told.status, StatusCode::OK);
    assert!(
        told.text.contains("hamlet_http_requests_total"),
        "{}",
        told.text
    );
    let stranger = door.without_credential(Method::GET, "/metrics");
    assert_eq!(door.send(stranger).await.status, StatusCode::UNAUTHORIZED);
    let (_place, _daemon, without) = start();
    assert_eq!(without.get("/metrics").await.code(), "METRICS_OFF");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_use_of_an_instance_is_told() {
    let (_place, daemon, door) = start();
    let alice = daemon.domain("alice");
    let target = format!("/instances?Domain={alice}&DiskQuota=1000");
    let created = door.ask(Method::POST, &target).await;
    assert_eq!(created.status, StatusCode::CREATED, "{created:?}");
    let usage = door
        .get(&format!("/instances/{alice}/disk-usage?include=trash"))
        .await;
    let usage = usage.json();
    // Definitions of indexes and views count, too.
    let documents = usage["doc_count"].as_i64().unwrap();
    assert!(documents > 10, "{usage}");
    assert_eq!(
        usage,
        json!({"used": "0", "quota": "1000", "versions_count": "1", "doc_count": documents})
    );
    let activity = door.get(&format!("/instances/{alice}/last-activity")).await;
    assert_eq!(activity.json(), json!({"last-activity": "2018-01-01"}));
    for path in ["disk-usage", "last-activity", "fsck"] {
        let unknown = door
            .get(&format!("/instances/nobody.localhost/{path}"))
            .await;
        assert_eq!(unknown.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_describes_what_is_served() {
    let (_place, _daemon, door) = start();
    let document = door.get("/openapi.json").await;
    assert_eq!(document.kind.as_deref(), Some("application/json"));
    for (path, item) in document.json()["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let target = path.replace('{', "x").replace('}', "");
            let method = method.to_uppercase().parse().unwrap();
            let reply = door.ask(method, &target).await;
            let is_served =
                !["NO_SUCH_PATH", "METHOD_NOT_ALLOWED"].contains(&reply.code().as_str());
            assert!(is_served, "{target}: {reply:?}");
        }
    }
    let version = door.get("/version").await.json();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
}
