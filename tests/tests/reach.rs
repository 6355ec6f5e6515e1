//! What each credential reaches: every method of the contracts and every route, through both doors.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a failed expectation is the test failing"
)]

use std::{collections::BTreeSet, fs, time::Duration};

use hamlet_tests::{
    admin_door::AdminDoor,
    browser::Browser,
    daemon::{Daemon, Options},
    database::Database,
    grpc::{Door, methods},
    programs::root,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Who may call a method or a route at the public door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    /// Whoever likes to.
    ToStrangers,
    /// Every token of the instance.
    ToTokens,
    /// Tokens with this scope, and not those with another one.
    To(&'static str),
    /// Nobody but administrators, at their door.
    ToAdministrators,
}

use Open::{To, ToAdministrators, ToStrangers, ToTokens};

/// The methods that the public door lets through.
const METHODS: [(&str, Open); 15] = [
    (
        "hamlet.apps.v1.AppsService/ListApps",
        To("io.cozy.apps:GET"),
    ),
    ("hamlet.apps.v1.AppsService/GetApp", To("io.cozy.apps:GET")),
    (
        "hamlet.apps.v1.AppsService/InstallApp",
        To("io.cozy.apps:POST"),
    ),
    (
        "hamlet.apps.v1.AppsService/UpdateApp",
        To("io.cozy.apps:POST"),
    ),
    (
        "hamlet.apps.v1.AppsService/UninstallApp",
        To("io.cozy.apps:DELETE"),
    ),
    (
        "hamlet.files.v1.FilesService/GetFile",
        To("io.cozy.files:GET"),
    ),
    (
        "hamlet.files.v1.FilesService/ListChildren",
        To("io.cozy.files:GET"),
    ),
    (
        "hamlet.files.v1.FilesService/WalkTree",
        To("io.cozy.files:GET"),
    ),
    ("hamlet.files.v1.FilesService/CheckTree", ToAdministrators),
    (
        "hamlet.files.v1.FilesService/GetUsage",
        To("io.cozy.settings:GET"),
    ),
    ("hamlet.instance.v1.OwnerService/GetSettings", ToTokens),
    ("hamlet.instance.v1.OwnerService/GetPermissions", ToTokens),
    ("hamlet.instance.v1.TenantService/GetTenant", ToStrangers),
    (
        "hamlet.instance.v1.TenantService/CheckRegisterToken",
        ToStrangers,
    ),
    (
        "hamlet.instance.v1.TenantService/RegisterPassphrase",
        ToStrangers,
    ),
];

/// The services of the admin door beside those.
const ADMIN_SERVICES: [&str; 4] = [
    "google.longrunning.Operations",
    "hamlet.instance.v1.FeatureService",
    "hamlet.instance.v1.InstanceService",
    "hamlet.instance.v1.OperationService",
];

/// A scope that opens none of the methods and routes that need one.
const ANOTHER: &str = "io.cozy.contacts";

/// A `hamletd` with three instances: `ann`, `ben` who is blocked, and `cat` who is being destroyed by other software.
struct World {
    _place: TempDir,
    daemon: Daemon,
    ann: String,
    ben: String,
    cat: String,
}

impl World {
    async fn start() -> Self {
        let place = tempfile::tempdir().unwrap();
        let apps = root().join("examples/apps");
        // The same ports after a new start: they are parts of the domains.
        let listen = |name: &str| {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            format!("--{name}={}", free.local_addr().unwrap())
        };
        let options = Options::new(&place.path().join("data"))
            .flag(listen("listen"))
            .flag(format!("--app-folder={}", apps.display()));
        let mut daemon = options.start();
        let [ann, ben, cat] = ["ann", "ben", "cat"].map(|name| daemon.domain(name));
        for domain in [&ann, &ben, &cat] {
            for words in [
                format!("instances add {domain} --apps home"),
                format!("instances set-passphrase {domain} --force a-passphrase-of-many-words"),
            ] {
                let _ = daemon.cli().run(&words).done();
            }
        }
        let _ = daemon.cli().run(&format!("instances block {ben}")).done();
        // Only other software leaves an instance in this state.
        daemon.signal("TERM");
        let _ = daemon.wait(Duration::from_secs(30));
        let database = Database::of_stopped(daemon.data()).await;
        let instances = database.plain_documents("global/instances").await;
        let mut document = instances
            .into_iter()
            .find(|it| it["domain"] == cat.as_str())
            .unwrap();
        document["deleting"] = json!(true);
        let id = document["_id"].as_str().unwrap();
        let target = format!("global%2Finstances/{id}");
        let (status, _) = database.call(Method::PUT, &target, Some(document)).await;
        assert!(status.is_success(), "{status}");
        database.close().await;
        let daemon = options.start();
        Self {
            _place: place,
            daemon,
            ann,
            ben,
            cat,
        }
    }

    fn cli(&self, words: &str) -> String {
        self.daemon.cli().run(words).done().out.trim().to_owned()
    }

    fn token(&self, domain: &str, scope: &str) -> String {
        self.cli(&format!("instances token-cli {domain} {scope}"))
    }

    /// A token of `ann` that has expired.
    async fn expired(&self) -> String {
        let token = self.cli(&format!(
            "instances token-app {} home --expire 1s",
            self.ann
        ));
        tokio::time::sleep(Duration::from_secs(2)).await;
        token
    }

    async fn call(&self, method: &str, host: &str, token: Option<&str>) -> Result<(), Status> {
        let door = Door::public(&self.daemon, host, token).await;
        door.call(method, &json!({})).await
    }
}

fn reason(refused: &Status) -> String {
    let details = refused.get_error_details();
    details
        .error_info()
        .map_or_else(String::new, |it| it.reason.clone())
}

/// The reason of a refusal of who calls; empty when the caller was let in, whatever came of the empty request.
fn refusal_of(answer: &Result<(), Status>) -> String {
    match answer {
        Ok(()) => String::new(),
        Err(status) if [Code::Unauthenticated, Code::PermissionDenied].contains(&status.code()) => {
            reason(status)
        }
        Err(_) => String::new(),
    }
}

fn of_public_door(method: &str) -> Option<Open> {
    let mut methods = METHODS.iter();
    methods.find(|(it, _)| *it == method).map(|(_, open)| *open)
}

fn is_public_service(service: &str) -> bool {
    METHODS
        .iter()
        .any(|(method, _)| method.split('/').next() == Some(service))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_opens_for_those_for_whom_it_is_made_and_nobody_else() {
    let world = World::start().await;
    let (ann, ben, cat) = (&world.ann, &world.ben, &world.cat);
    let expired = world.expired().await;
    let of_ben = world.token(ben, "*");
    let another = world.token(ann, ANOTHER);
    let login = world.token(ann, "login");
    let settings = "hamlet.instance.v1.OwnerService/GetSettings";
    let refused = world.call(settings, ann, Some(&login)).await;
    assert_eq!(refusal_of(&refused), "TOKEN_SCOPE", "{refused:?}");
    for method in methods() {
        let service = method.split('/').next().unwrap();
        let Some(open) = of_public_door(&method) else {
            assert!(
                !is_public_service(service),
                "{method} is at the public door: say for whom it is"
            );
            let refused = world.call(&method, ann, Some(&of_ben)).await.unwrap_err();
            assert_eq!(refused.code(), Code::Unimplemented, "{method}: {refused:?}");
            continue;
        };
        // A token that proves nothing is as if it were not there where everybody may call.
        let wrong = if open == ToStrangers {
            ""
        } else {
            "TOKEN_WRONG"
        };
        for (what, token, expected) in [
            (
                "nothing",
                None,
                if open == ToStrangers {
                    ""
                } else {
                    "TOKEN_MISSING"
                },
            ),
            ("no token", Some("x"), wrong),
            ("a wrong one", Some("eyJhbGciOiJIUzUxMiJ9.e30.AAAA"), wrong),
            ("another's", Some(of_ben.as_str()), wrong),
            (
                "an expired one",
                Some(expired.as_str()),
                if open == ToStrangers {
                    ""
                } else {
                    "TOKEN_EXPIRED"
                },
            ),
            (
                "another scope",
                Some(another.as_str()),
                match open {
                    ToStrangers | ToTokens => "",
                    To(_) => "TOKEN_SCOPE",
                    ToAdministrators => "ADMIN_DOOR_ONLY",
                },
            ),
        ] {
            let answer = world.call(&method, ann, token).await;
            // A register token is not one of those.
            let refused = refusal_of(&answer);
            let refused = refused
                .strip_prefix("REGISTER_")
                .map_or(refused.as_str(), |_| "");
            assert_eq!(refused, expected, "{method} with {what}: {answer:?}");
        }
        if let To(scope) = open {
            let right = world.token(ann, scope);
            let answer = world.call(&method, ann, Some(&right)).await;
            assert_eq!(refusal_of(&answer), "", "{method} with {scope}: {answer:?}");
        }
        let all = world.token(ann, "*");
        let answer = world.call(&method, ann, Some(&all)).await;
        let expected = if open == ToAdministrators {
            "ADMIN_DOOR_ONLY"
        } else {
            ""
        };
        let refused = refusal_of(&answer);
        let refused = refused
            .strip_prefix("REGISTER_")
            .map_or(refused.as_str(), |_| "");
        assert_eq!(refused, expected, "{method} with all rights: {answer:?}");
        for (host, expected) in [(ben, "INSTANCE_BLOCKED"), (cat, "INSTANCE_DELETING")] {
            for token in [None, Some(world.token(host, "*"))] {
                let refused = world
                    .call(&method, host, token.as_deref())
                    .await
                    .unwrap_err();
                assert_eq!(reason(&refused), expected, "{method}: {refused:?}");
            }
        }
    }
    let known: BTreeSet<String> = methods().into_iter().collect();
    for (method, _) in METHODS {
        assert!(known.contains(method), "{method} is in no contract");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_door_opens_to_its_credential_alone() {
    let world = World::start().await;
    let token = world.token(&world.ann, "*");
    let right = Door::open_for(&world.daemon, &world.ann).await;
    for method in methods() {
        for credential in [None, Some(token.as_str())] {
            let door = Door::admin_with(&world.daemon, &world.ann, credential).await;
            let refused = door.call(&method, &json!({})).await.unwrap_err();
            let expected = [Code::Unauthenticated, Code::Unimplemented];
            assert!(expected.contains(&refused.code()), "{method}: {refused:?}");
        }
        let service = method.split('/').next().unwrap();
        let is_served = is_public_service(service) || ADMIN_SERVICES.contains(&service);
        // These would wait, or remove what the others need.
        if is_served
            && ["PurgeOrphans", "WatchOperation", "WaitOperation"]
                .iter()
                .any(|it| method.ends_with(it))
        {
            continue;
        }
        let answer = right.call(&method, &json!({})).await;
        let is_unknown = matches!(&answer, Err(status) if status.code() == Code::Unimplemented);
        assert_eq!(is_unknown, !is_served, "{method}: {answer:?}");
        let is_refused = matches!(&answer, Err(status) if status.code() == Code::Unauthenticated);
        assert!(!is_refused, "{method}: {answer:?}");
    }
}

/// A route as the services list it: its methods, and its path with parameters in braces.
struct Route {
    methods: Vec<Method>,
    path: String,
}

/// The routes of the public door that a service has, from the list that a test of the service compares with its router.
fn routes_of(service: &str) -> Vec<Route> {
    let list = root().join(service).join("public-routes.txt");
    let list = fs::read_to_string(&list).unwrap();
    let routes = list.lines().map(|line| {
        let (methods, path) = line.split_once(' ').unwrap();
        let methods = match methods {
            // It answers every method alike.
            "ANY" => "GET,POST,PUT,PATCH,DELETE",
            some => some,
        };
        Route {
            methods: methods
                .split(',')
                .map(|method| method.parse().unwrap())
                .collect(),
            path: path.to_owned(),
        }
    });
    routes.collect()
}

/// A path of a route, with something for each parameter.
fn path_of(route: &str) -> String {
    route
        .replace("{slug}", "home")
        .replace("{version}", "1.0.0")
        .replace("{*rest}", "rest")
        .replace("{*below}", "logs")
        .replace("{*name}", "login.js")
        .replace("{id}", "none")
}

/// The first segments of paths whose routes are not built: programs with a token hear that.
const LATER: [&str; 19] = [
    "accounts",
    "ai",
    "bitwarden",
    "compat",
    "contacts",
    "data",
    "files",
    "intents",
    "jobs",
    "move",
    "notes",
    "notifications",
    "office",
    "oidc",
    "realtime",
    "registry",
    "remote",
    "sharings",
    "shortcuts",
];

/// Who may use a route. `None` for the pages of people, which are in other tests: a stranger is led to the login.
fn route_is_open(method: &Method, path: &str) -> Option<Open> {
    let read = *method == Method::GET || *method == Method::HEAD;
    Some(match path {
        "/" | "/settings" | "/.well-known/change-password" | "/assets/{*name}" => return None,
        auth if auth.starts_with("/auth/") => return None,
        "/public/prelogin" | "/public/{*rest}" => return None,
        "/settings/apps/{slug}" | "/settings/konnectors/{slug}" => return None,
        "/apps" | "/apps/" | "/apps/{slug}" if read => To("io.cozy.apps:GET"),
        "/konnectors" | "/konnectors/" | "/konnectors/{slug}" if read => {
            To("io.cozy.konnectors:GET")
        }
        "/apps/{slug}" if *method == Method::DELETE => To("io.cozy.apps:DELETE"),
        "/konnectors/{slug}" if *method == Method::DELETE => To("io.cozy.konnectors:DELETE"),
        "/apps/{slug}" => To("io.cozy.apps:POST"),
        "/konnectors/{slug}" => To("io.cozy.konnectors:POST"),
        "/apps/{slug}/icon"
        | "/apps/{slug}/icon/{version}"
        | "/apps/{slug}/download"
        | "/apps/{slug}/download/{version}" => To("io.cozy.apps:GET"),
        "/konnectors/{slug}/icon"
        | "/konnectors/{slug}/icon/{version}"
        | "/konnectors/{slug}/download"
        | "/konnectors/{slug}/download/{version}" => To("io.cozy.konnectors:GET"),
        "/settings/disk-usage" => To("io.cozy.settings:GET"),
        "/settings/passphrase" if *method == Method::POST => return None,
        "/settings/instance/auth_mode" => To("io.cozy.settings:PUT"),
        "/settings/instance" if *method == Method::PUT => To("io.cozy.settings:PUT"),
        "/settings/passphrase" | "/settings/hint" if read => To("io.cozy.settings:GET"),
        "/settings/passphrase" | "/settings/hint" => To("io.cozy.settings:PUT"),
        "/settings/clients" => To("io.cozy.oauth.clients:GET"),
        "/settings/clients/{id}" => To("io.cozy.oauth.clients:DELETE"),
        "/settings/sessions" => To("io.cozy.sessions:GET"),
        "/settings/sessions/{id}" => To("io.cozy.sessions:DELETE"),
        // What every token of the instance opens, and what is not built.
        "/settings/instance"
        | "/settings/capabilities"
        | "/settings/flags"
        | "/permissions/self" => ToTokens,
        "/settings/{*rest}"
        | "/permissions"
        | "/permissions/{*rest}"
        | "/apps/{slug}/{*below}"
        | "/konnectors/{slug}/{*below}" => ToTokens,
        other if LATER.contains(&other.split('/').nth(1).unwrap_or_default()) => ToTokens,
        other => panic!("{method} {other} is at the public door: say for whom it is"),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_opens_for_those_for_whom_it_is_made_and_nobody_else() {
    let world = World::start().await;
    let (ann, ben, cat) = (&world.ann, &world.ben, &world.cat);
    let expired = world.expired().await;
    let of_ben = world.token(ben, "*");
    let another = world.token(ann, ANOTHER);
    let public = AdminDoor::at(
        &world.daemon.public,
        &world.daemon.data().join("admin-credential"),
    );
    let send = async |method: &Method, path: &str, host: &str, token: &str| {
        let request = public
            .without_credential(method.clone(), path)
            .header("host", host)
            .header("accept", "application/vnd.api+json");
        let request = match token {
            "" => request,
            token => request.bearer_auth(token),
        };
        public.send(request).await
    };
    let mut seen = 0;
    for route in routes_of("instance-svc")
        .into_iter()
        .chain(routes_of("apps-svc"))
    {
        let path = path_of(&route.path);
        for method in &route.methods {
            for host in [ben, cat] {
                let closed = send(method, &path, host, "").await;
                assert!(
                    [
                        StatusCode::SERVICE_UNAVAILABLE,
                        StatusCode::NOT_FOUND,
                        StatusCode::GONE
                    ]
                    .contains(&closed.status),
                    "{method} {path} of {host}: {closed:?}"
                );
            }
            let Some(open) = route_is_open(method, &route.path) else {
                continue;
            };
            seen += 1;
            for token in ["", "x", "eyJhbGciOiJIUzUxMiJ9.e30.AAAA", &of_ben, &expired] {
                let refused = send(method, &path, ann, token).await;
                assert_eq!(
                    refused.status,
                    StatusCode::UNAUTHORIZED,
                    "{method} {path} with {token:?}: {refused:?}"
                );
            }
            let refused = send(method, &path, ann, &another).await.status;
            assert_eq!(
                refused == StatusCode::FORBIDDEN,
                matches!(open, To(_)),
                "{method} {path}: {refused}"
            );
            if let To(scope) = open {
                // Reading alone: the others are tested where they change something.
                if *method != Method::GET && *method != Method::HEAD {
                    continue;
                }
                let right = world.token(ann, scope);
                let answer = send(method, &path, ann, &right).await;
                assert!(
                    ![StatusCode::FORBIDDEN, StatusCode::UNAUTHORIZED].contains(&answer.status),
                    "{method} {path} with {scope}: {answer:?}"
                );
            }
        }
    }
    assert!(seen > 40, "only {seen} routes were tried");

    // The routes of the admin door are described, and open to its credential alone.
    let admin = AdminDoor::of(&world.daemon);
    let document = admin.ask(Method::GET, "/openapi.json").await.json();
    let token = world.token(ann, "*");
    for (path, item) in document["paths"].as_object().unwrap() {
        let target = path.split('{').next().unwrap();
        let target = if target == path {
            path.clone()
        } else {
            format!("{target}none")
        };
        for method in item.as_object().unwrap().keys() {
            let Ok(method) = method.to_uppercase().parse::<Method>() else {
                continue;
            };
            for token in ["", token.as_str()] {
                let request = admin.without_credential(method.clone(), &target);
                let request = if token.is_empty() {
                    request
                } else {
                    request.bearer_auth(token)
                };
                let refused = admin.send(request).await;
                assert!(
                    [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&refused.status),
                    "{method} {target}: {refused:?}"
                );
            }
            let elsewhere = send(&method, &target, ann, &token).await.status;
            let is_nowhere = [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED];
            assert!(
                is_nowhere.contains(&elsewhere),
                "{method} {target}: {elsewhere}"
            );
        }
    }
}

/// A request to gRPC with a cookie: the status that the call ends with.
async fn call_with(world: &World, headers: &[(&str, &str)]) -> String {
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .resolve(
            world.ann.split(':').next().unwrap(),
            world.daemon.public.parse().unwrap(),
        )
        .build()
        .unwrap();
    let mut request = client
        .post(format!(
            "http://{}/hamlet.files.v1.FilesService/GetUsage",
            world.ann
        ))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(vec![0_u8; 5]);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    let status = answer.headers().get("grpc-status");
    status.map_or_else(String::new, |it| it.to_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_opens_calls_and_pages_of_apps_cannot_use_it() {
    let world = World::start().await;
    let mut browser = Browser::new(&world.daemon.public, &world.ann);
    let led = browser.log_in("a-passphrase-of-many-words", &[]).await;
    assert!(led.status.is_redirection(), "{led:?}");
    let cookie: Vec<String> = browser
        .cookies
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let cookie = ("cookie", cookie.join("; "));
    let cookie = (cookie.0, cookie.1.as_str());
    let origin = format!("http://home.{}", world.ann);
    // The status of a call that succeeds comes after its message.
    assert_eq!(call_with(&world, &[cookie]).await, "");
    assert_eq!(
        call_with(&world, &[cookie, ("origin", &origin)]).await,
        "16"
    );
    assert_eq!(
        call_with(&world, &[cookie, ("authorization", "Bearer x")]).await,
        "16"
    );
    assert_eq!(call_with(&world, &[]).await, "16");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_opens_no_method_to_what_is_no_call() {
    let world = World::start().await;
    let ann = &world.ann;
    let mut browser = Browser::new(&world.daemon.public, ann);
    let led = browser.log_in("a-passphrase-of-many-words", &[]).await;
    assert!(led.status.is_redirection(), "{led:?}");
    let name = ann.split(':').next().unwrap();
    let public = world.daemon.public.parse().unwrap();
    let over_2 = reqwest::Client::builder()
        .no_proxy()
        .http2_prior_knowledge()
        .resolve(name, public)
        .resolve(&format!("home.{name}"), public)
        .build()
        .unwrap();
    // As `UninstallAppRequest` it names the app `home`.
    let frame = b"\0\0\0\0\x06\x0a\x04home";
    let session = browser.cookies["cozysessid"].clone();
    for host in [ann.clone(), format!("home.{ann}")] {
        browser.host.clone_from(&host);
        for called in methods() {
            for (method, kind, status) in [
                (Method::POST, "text/plain", 415),
                (Method::POST, "application/json", 415),
                (Method::POST, "application/grpc-web", 415),
                (Method::POST, "", 415),
                (Method::GET, "", 415),
                (Method::PUT, "text/plain", 415),
                // Over HTTP/1.1.
                (Method::POST, "application/grpc", 505),
            ] {
                let path = format!("/{called}");
                let mut request = browser
                    .request(method.clone(), &path)
                    .header("origin", format!("http://{host}"));
                if !kind.is_empty() {
                    request = request.header("content-type", kind);
                }
                if method != Method::GET {
                    request = request.body(frame.as_slice());
                }
                let refused = browser.send(request).await;
                assert_eq!(
                    refused.status, status,
                    "{method} {called} with {kind:?} at {host}: {refused:?}"
                );
            }
            let request = over_2
                .post(format!("http://{host}/{called}"))
                .header("cookie", format!("cozysessid={session}"))
                .header("content-type", "text/plain")
                .body(frame.as_slice());
            let refused = request.send().await.unwrap().status();
            assert_eq!(refused, 415, "{called} at {host} over HTTP/2");
        }
    }
    browser.host.clone_from(ann);
    let left = browser.get("/settings").await;
    assert_eq!(left.status, StatusCode::OK, "the session has ended");
    let apps = world.cli(&format!("apps list {ann} -o json"));
    assert!(apps.contains("\"home\""), "{apps}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_for_a_directory_is_for_all_that_is_in_it() {
    let world = World::start().await;
    let ann = &world.ann;
    let all = world.token(ann, "io.cozy.files:GET");
    let tree = world.daemon.cli().run(&format!("files tree {ann} -o json"));
    let lines = tree.done().json_lines();
    let entries: Vec<Value> = lines.iter().map(|line| line["file"].clone()).collect();
    let at = |path: &str| {
        let found = entries.iter().find(|it| it["path"] == path);
        found.unwrap_or_else(|| panic!("{path}: {entries:?}"))["id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let inner = entries
        .iter()
        .filter_map(|it| it["path"].as_str())
        .find(|path| path.matches('/').count() == 2 && !path.starts_with("/.cozy"))
        .unwrap()
        .to_owned();
    let outer = inner.rsplit_once('/').unwrap().0.to_owned();
    let some = world.token(ann, &format!("io.cozy.files:GET:{}", at(&outer)));
    let call = async |method: &str, token: &str, request: Value| {
        let door = Door::public(&world.daemon, ann, Some(token)).await;
        let method = format!("hamlet.files.v1.FilesService/{method}");
        door.call(&method, &request)
            .await
            .map_err(|status| status.code())
    };
    for (method, request) in [
        ("GetFile", json!({"path": outer})),
        ("GetFile", json!({"path": inner})),
        ("GetFile", json!({"id": at(&inner)})),
        ("ListChildren", json!({"path": outer})),
        ("WalkTree", json!({"path": inner})),
    ] {
        assert_eq!(
            call(method, &some, request.clone()).await,
            Ok(()),
            "{method} {request}"
        );
    }
    for (method, request) in [
        ("GetFile", json!({"path": "/"})),
        ("GetFile", json!({"path": "/nosuch"})),
        ("ListChildren", json!({"path": "/"})),
        ("WalkTree", json!({})),
    ] {
        let refused = call(method, &some, request.clone()).await;
        assert_eq!(refused, Err(Code::PermissionDenied), "{method} {request}");
    }
    assert_eq!(
        call("GetFile", &all, json!({"path": "/nosuch"})).await,
        Err(Code::NotFound)
    );
}

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
