//! Every route.

use std::fs;

use hamlet_tests::{admin_door::AdminDoor, daemon::Options, programs::root};
use reqwest::{Method, StatusCode};

use super::{
    ANOTHER,
    Open::{self, To, ToTokens},
    World,
};

/// A route as the services list it: its methods, and its path with parameters in braces.
struct Route {
    methods: Vec<Method>,
    path: String,
    /// What is not built answers every method alike.
    is_built: bool,
}

/// The routes of the public door that a service has, from the list that a test of the service compares with its router.
fn routes_of(service: &str) -> Vec<Route> {
    let list = root().join(service).join("public-routes.txt");
    let list = fs::read_to_string(&list).unwrap();
    let routes = list.lines().map(|line| {
        let (methods, path) = line.split_once(' ').unwrap();
        let is_built = methods != "ANY";
        let methods = if is_built {
            methods
        } else {
            "GET,POST,PUT,PATCH,DELETE"
        };
        Route {
            methods: methods
                .split(',')
                .map(|method| method.parse().unwrap())
                .collect(),
            path: path.to_owned(),
            is_built,
        }
    });
    routes.collect()
}

/// A path of a route, with something for each parameter.
pub(super) fn path_of(route: &str) -> String {
    route
        .replace("{slug}", "home")
        .replace("{version}", "1.0.0")
        .replace("{*rest}", "rest")
        .replace("{*below}", "logs")
        .replace("{*name}", "login.js")
        .replace("{id}", "none")
}

/// The routes of pages and their forms, and of what strangers may do: those of which [`route_is_open`] says nothing.
pub(super) fn pages() -> Vec<(Method, String)> {
    let routes = routes_of("instance-svc").into_iter();
    let routes = routes.chain(routes_of("apps-svc"));
    let pages = routes.filter(|route| route.is_built).flat_map(|route| {
        let methods = route.methods.clone().into_iter();
        let pages = methods.filter(|method| route_is_open(method, &route).is_none());
        pages
            .map(|method| (method, route.path.clone()))
            .collect::<Vec<_>>()
    });
    pages.collect()
}

/// Who may use a route. `None` for the pages of people, which are in [`super::pages`].
fn route_is_open(method: &Method, route: &Route) -> Option<Open> {
    let read = *method == Method::GET || *method == Method::HEAD;
    Some(match route.path.as_str() {
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
        // What every token of the instance opens.
        "/settings/instance"
        | "/settings/capabilities"
        | "/settings/flags"
        | "/settings/warnings"
        | "/permissions/self" => ToTokens,
        _ if !route.is_built => ToTokens,
        other => panic!("{method} {other} is at the public door: say for whom it is"),
    })
}

/// A scope for the same documents, and to do something else with them.
fn with_another_verb(scope: &str) -> String {
    let (doctype, verb) = scope.split_once(':').unwrap();
    let other = if verb == "GET" { "DELETE" } else { "GET" };
    format!("{doctype}:{other}")
}

/// What the gateway answers itself, on the host of an instance.
const OF_GATEWAY: [&str; 5] = [
    "/favicon.ico",
    "/healthz",
    "/readyz",
    "/robots.txt",
    "/status",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_path_says_which_methods_it_has() {
    const ALL: [&str; 9] = [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "FOO",
    ];
    let place = tempfile::tempdir().unwrap();
    let daemon = Options::new(&place.path().join("data")).start();
    let ann = daemon.domain("ann");
    let _ = daemon.cli().run(&format!("instances add {ann}")).done();
    let public = AdminDoor::at(&daemon.public, &daemon.data().join("admin-credential"));
    let of_gateway = OF_GATEWAY.map(|path| Route {
        methods: vec![Method::GET, Method::HEAD],
        path: path.to_owned(),
        is_built: true,
    });
    let routes = routes_of("instance-svc").into_iter();
    let routes = routes.chain(routes_of("apps-svc")).chain(of_gateway);
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for route in routes.filter(|route| route.is_built) {
        // Who can read can ask for the head alone.
        let reads = |method| route.methods.contains(method);
        assert_eq!(reads(&Method::GET), reads(&Method::HEAD), "{}", route.path);
        let mut has: Vec<&str> = route.methods.iter().map(Method::as_str).collect();
        has.sort_unstable();
        for method in ALL.into_iter().filter(|method| !has.contains(method)) {
            let request = public
                .without_credential(method.parse().unwrap(), &path_of(&route.path))
                .header("host", &ann);
            let answer = public.send(request).await;
            seen += 1;
            let status = match method {
                "OPTIONS" => StatusCode::NO_CONTENT,
                _ => StatusCode::METHOD_NOT_ALLOWED,
            };
            let allow = answer.headers.get("allow");
            let allow = allow.map_or("", |it| it.to_str().unwrap());
            let mut told: Vec<&str> = allow.split(',').map(str::trim).collect();
            told.sort_unstable();
            let is_told =
                ["HEAD", "OPTIONS"].contains(&method) || answer.code() == "METHOD_NOT_ALLOWED";
            if answer.status != status || told != has || !is_told {
                wrong.push(format!("{method} {}: {answer:?}", route.path));
            }
        }
    }
    assert!(seen > 200, "only {seen} requests were sent");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    // At a host of nobody, only what needs no instance has methods.
    for (path, status) in [("/status", 405), ("/robots.txt", 405), ("/auth/login", 404)] {
        let request = public
            .without_credential(Method::PUT, path)
            .header("host", "nobody.localhost");
        let answer = public.send(request).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
    }
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
    let (mut seen, mut right) = (0, Vec::new());
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
            let Some(open) = route_is_open(method, &route) else {
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
                let of_another_verb = world.token(ann, &with_another_verb(scope));
                let refused = send(method, &path, ann, &of_another_verb).await;
                assert_eq!(
                    refused.status,
                    StatusCode::FORBIDDEN,
                    "{method} {path} without {scope}: {refused:?}"
                );
                right.push((method.clone(), path.clone(), scope));
            }
        }
    }
    assert!(seen > 40, "only {seen} routes were tried");
    // Reading first: the others change something, and say what is wrong with an empty request.
    right.sort_by_key(|(method, ..)| (*method != Method::GET, *method == Method::DELETE));
    for (method, path, scope) in right {
        let token = world.token(ann, scope);
        let answer = send(&method, &path, ann, &token).await;
        let is_refused = [StatusCode::FORBIDDEN, StatusCode::UNAUTHORIZED].contains(&answer.status);
        let is_broken = answer.status.is_server_error() && answer.code() != "NOT_BUILT_YET";
        assert!(
            !is_refused && !is_broken,
            "{method} {path} with {scope}: {answer:?}"
        );
    }
    // What the last ones did.
    let apps = world.cli(&format!("apps ls {ann} -o json"));
    assert!(!apps.contains("\"home\""), "{apps}");

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
