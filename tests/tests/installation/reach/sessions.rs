//! What the owner's session reaches over gRPC.

use hamlet_tests::{browser::Browser, grpc::methods};
use reqwest::{Method, StatusCode};

use super::World;

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
