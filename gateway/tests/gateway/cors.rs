//! Requests of pages of other origins.

use ::http::Request;
use gateway::{HttpRoutes, Service};
use hamlet_proto::hamlet::instance::v1::{Backend, resolve_host_response::HostState};
use test_kit::fake::active_instance;

use crate::support::{Answer, Web, World};

/// An instance with an app, and a service that answers `/files`.
async fn town() -> (World, Web) {
    let web = Web::start().await;
    let world = World::with(|config| {
        config.files_service = format!("http://{}", web.address);
        config.http_routes = HttpRoutes {
            paths: vec![
                ("/files".to_owned(), Service::Files),
                ("/auth".to_owned(), Service::Files),
            ],
            alone: Vec::new(),
            app_hosts: Service::Apps,
        };
    })
    .await;
    for (host, instance, slug) in [
        ("ann.example", "ann.example", ""),
        ("drive.ann.example", "ann.example", "drive"),
        ("bob.ann.example", "bob.ann.example", ""),
    ] {
        let mut answer = active_instance(instance);
        answer.app_slug = slug.to_owned();
        answer.tenant.as_mut().unwrap().url = format!("https://{instance}/");
        world.directory.set(host, answer);
    }
    (world, web)
}

async fn ask(
    world: &World,
    method: &str,
    path: &str,
    origin: &str,
    more: &[(&str, &str)],
) -> Answer {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("http://ann.example{path}"))
        .header("origin", origin);
    for (name, value) in more {
        request = request.header(*name, *value);
    }
    let request = request.body(()).unwrap();
    world.client().await.request(request).await
}

const TOKEN: (&str, &str) = ("authorization", "Bearer token");
const PUT: (&str, &str) = ("access-control-request-method", "PUT");

fn allowed(answer: &Answer) -> (&str, bool) {
    let header = |name: &str| answer.headers.get(name).map(|it| it.to_str().unwrap());
    (
        header("access-control-allow-origin").unwrap_or_default(),
        header("access-control-allow-credentials") == Some("true"),
    )
}

#[tokio::test]
async fn an_app_of_the_instance_may_send_the_session_and_nobody_else() {
    let (world, _web) = town().await;
    let app = "https://drive.ann.example";
    let answer = ask(&world, "GET", "/files/headers", app, &[TOKEN]).await;
    assert_eq!(answer.http_status, 200);
    assert_eq!(allowed(&answer), (app, true));
    assert_eq!(answer.headers["vary"], "origin");
    for other in [
        "http://drive.ann.example",
        // An instance of its own, whose host has the form of an app's.
        "https://bob.ann.example",
        "https://ann.example",
        "https://evil.test",
        "https://evil.test/drive.ann.example",
        "null",
    ] {
        let answer = ask(&world, "GET", "/files/headers", other, &[TOKEN]).await;
        assert_eq!(allowed(&answer), ("*", false), "{other}");
    }
}

#[tokio::test]
async fn what_the_session_alone_opens_is_for_no_script() {
    let (world, _web) = town().await;
    let app = "https://drive.ann.example";
    let cookie = ("cookie", "cozysessid=x");
    let answer = ask(&world, "GET", "/files/headers", app, &[cookie]).await;
    assert_eq!(allowed(&answer), ("", false));
    let anonymous = ask(&world, "GET", "/files/headers", "https://evil.test", &[]).await;
    assert_eq!(allowed(&anonymous), ("*", false));
    let page = ask(
        &world,
        "GET",
        "/nothing",
        app,
        &[TOKEN, ("accept", "text/html")],
    )
    .await;
    assert_eq!(allowed(&page), ("", false));
    let pages = ask(&world, "GET", "/auth/headers", app, &[TOKEN]).await;
    assert_eq!(allowed(&pages), ("", false));
}

#[tokio::test]
async fn a_page_is_told_before_what_it_may_send() {
    let (world, _web) = town().await;
    let app = "https://drive.ann.example";
    let wanted = ("access-control-request-headers", "authorization");
    let told = ask(&world, "OPTIONS", "/files/x", app, &[PUT, wanted]).await;
    assert_eq!(told.http_status, 204);
    assert_eq!(allowed(&told), (app, true));
    assert_eq!(
        told.headers["access-control-allow-headers"],
        "authorization"
    );
    let methods = told.headers["access-control-allow-methods"].to_str();
    assert!(methods.unwrap().contains("PUT"));
    let stranger = ask(&world, "OPTIONS", "/files/x", "https://evil.test", &[PUT]).await;
    assert_eq!(allowed(&stranger), ("*", false));

    let log_out = ("access-control-request-method", "DELETE");
    let told = ask(&world, "OPTIONS", "/auth/login", app, &[log_out]).await;
    assert_eq!(allowed(&told), (app, true));
    let post = ("access-control-request-method", "POST");
    for path in ["/auth/login", "/auth/authorize"] {
        let refused = ask(&world, "OPTIONS", path, app, &[post]).await;
        assert_eq!(allowed(&refused), ("", false), "{path}");
    }
}

#[tokio::test]
async fn a_script_may_read_why_it_is_refused() {
    let (world, _web) = town().await;
    let mut blocked = active_instance("ann.example");
    blocked.set_state(HostState::Blocked);
    blocked.tenant.as_mut().unwrap().url = "https://ann.example/".to_owned();
    world.directory.set("ann.example", blocked);
    let app = "https://drive.ann.example";
    let json = ("accept", "application/json");
    let told = ask(&world, "OPTIONS", "/files/x", app, &[PUT]).await;
    assert_eq!(
        (told.http_status.as_u16(), allowed(&told)),
        (204, (app, true))
    );
    let refused = ask(&world, "GET", "/files/x", app, &[TOKEN, json]).await;
    assert_eq!(
        (refused.http_status.as_u16(), allowed(&refused)),
        (503, (app, true))
    );
    let page = ask(
        &world,
        "GET",
        "/files/x",
        app,
        &[TOKEN, ("accept", "text/html")],
    )
    .await;
    assert_eq!(
        (page.http_status.as_u16(), allowed(&page)),
        (503, ("", false))
    );
}

#[tokio::test]
async fn robots_are_sent_away_from_instances_and_from_nobody() {
    let (world, _web) = town().await;
    for host in ["ann.example", "nobody.example"] {
        for (method, body) in [("GET", "User-agent: *\nDisallow: /\n"), ("HEAD", "")] {
            let request = Request::builder()
                .method(method)
                .uri(format!("http://{host}/robots.txt"));
            let answer = world
                .client()
                .await
                .request(request.body(()).unwrap())
                .await;
            assert_eq!(answer.http_status, 200, "{method} {host}");
            assert_eq!(answer.text(), body, "{method} {host}");
        }
    }
}

#[tokio::test]
async fn a_backend_says_itself_who_may_read() {
    let (world, web) = town().await;
    let mut answer = active_instance("ann.example");
    answer.backend = Some(Backend {
        addresses: vec![format!("http://{}", web.address)],
        ..Backend::default()
    });
    world.directory.set("ann.example", answer);
    let app = "https://drive.ann.example";
    let told = ask(&world, "OPTIONS", "/files/headers", app, &[PUT]).await;
    assert_eq!(told.http_status, 200);
    assert!(
        told.text().starts_with("OPTIONS /files/headers"),
        "{told:?}"
    );
    assert_eq!(allowed(&told), ("", false));
    let read = ask(&world, "GET", "/files/headers", app, &[TOKEN]).await;
    assert_eq!(allowed(&read), ("", false));
}
