//! The admin door.

use base64::Engine as _;
use hamlet_proto::hamlet::instance::v1::resolve_host_response::HostState;
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_types::StatusExt as _;

use test_kit::{doors::ADMIN_CREDENTIAL, eventually, fake::active_instance};

use crate::support::{World, http};

fn bearer() -> String {
    format!("Bearer {ADMIN_CREDENTIAL}")
}

fn basic(user: &str, password: &str) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {encoded}")
}

#[tokio::test]
async fn who_has_the_credential_comes_in() {
    let world = World::new().await;
    let client = world.administrator().await;
    for credential in [
        bearer(),
        format!("bearer {ADMIN_CREDENTIAL}"),
        basic("", ADMIN_CREDENTIAL),
        basic("anyone", ADMIN_CREDENTIAL),
    ] {
        let answer = client
            .call(
                "alice.example",
                "Headers",
                &[("authorization", &credential), ("x-hamlet-door", "public")],
            )
            .await;
        assert_eq!(answer.code(), Code::Ok, "{credential}");
        let told = answer.text();
        assert!(told.contains("x-hamlet-door: admin\n"), "{told}");
        assert!(told.contains("x-hamlet-tenant-bin: "), "{told}");
        assert!(
            !told.contains("authorization"),
            "the credential went on: {told}"
        );
    }
}

#[tokio::test]
async fn who_has_it_not_stays_outside() {
    let world = World::new().await;
    let client = world.administrator().await;
    for wrong in [
        None,
        Some("Bearer ".to_owned()),
        Some("Bearer wrong".to_owned()),
        Some(ADMIN_CREDENTIAL.to_owned()),
        Some(basic(ADMIN_CREDENTIAL, "")),
        Some(basic("user", "wrong")),
        Some("Basic !".to_owned()),
        Some(format!("Digest {ADMIN_CREDENTIAL}")),
    ] {
        let headers: Vec<_> = wrong
            .iter()
            .map(|wrong| ("authorization", wrong.as_str()))
            .collect();
        for path in [
            "/hamlet.files.v1.FilesService/Headers",
            "/hamlet.instance.v1.InstanceService/ListInstances",
            "/nothing.Service/Method",
        ] {
            let answer = client.call_path("alice.example", path, &headers).await;
            assert!(answer.trailers_only);
            assert_eq!(answer.code(), Code::Unauthenticated, "{wrong:?}");
        }
    }
    // Two credentials are no credential.
    let two = [
        ("authorization", "Bearer wrong"),
        ("authorization", &bearer()),
    ];
    let answer = client.call("alice.example", "Headers", &two).await;
    assert_eq!(answer.code(), Code::Unauthenticated);
    assert!(world.files.was_left_alone().await);
}

#[tokio::test]
async fn administrators_reach_what_is_closed_to_others() {
    let world = World::new().await;
    world.directory.block("blocked.example", "UNKNOWN");
    let mut going = active_instance("going.example");
    going.set_state(HostState::Deleting);
    world.directory.set("going.example", going);
    let client = world.administrator().await;
    let authorization = bearer();
    let headers = [("authorization", authorization.as_str())];
    for host in ["blocked.example", "going.example"] {
        assert_eq!(
            client.call(host, "Headers", &headers).await.code(),
            Code::Ok
        );
    }
    let unknown = client.call("nobody.example", "Headers", &headers).await;
    assert_eq!(unknown.code(), Code::NotFound);
    let info = unknown.status().get_details_error_info().unwrap();
    assert_eq!(info.reason, "INSTANCE_NOT_FOUND");
}

#[tokio::test]
async fn calls_between_services_are_forwarded_through_no_door() {
    let world = World::new().await;
    let client = world.administrator().await;
    let authorization = bearer();
    for path in [
        "/hamlet.instance.v1.DirectoryService/ResolveHost",
        "/hamlet.files.v1.FilesLifecycleService/PurgeContents",
        "/hamlet.apps.v1.AppsLifecycleService/PurgeContents",
    ] {
        let answer = client
            .call_path("alice.example", path, &[("authorization", &authorization)])
            .await;
        assert_eq!(answer.code(), Code::Unimplemented, "{path}");
    }
    assert_eq!(world.directory.questions(), 0);
    // What the instance service does not know itself, it says itself.
    let forwarded = client
        .call_path(
            "127.0.0.1",
            "/hamlet.instance.v1.InstanceService/ListInstances",
            &[("authorization", &authorization)],
        )
        .await;
    assert_eq!(forwarded.code(), Code::Unimplemented);
    assert!(forwarded.status().get_details_error_info().is_none());
}

#[tokio::test]
async fn anybody_may_ask_for_health() {
    let mut world = World::new().await;
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", world.admin))
        .unwrap()
        .connect()
        .await
        .unwrap();
    let client = HealthClient::new(channel);
    let health = |service: &str| {
        let mut client = client.clone();
        let service = service.to_owned();
        async move {
            client
                .check(HealthCheckRequest { service })
                .await
                .map(|answer| answer.into_inner().status())
        }
    };
    assert_eq!(health("").await.unwrap(), ServingStatus::Serving);
    // The fake files service has no health, so it is not healthy.
    eventually("the state of the services is known", async || {
        health("hamlet.files.v1.FilesService")
            .await
            .is_ok_and(|status| status == ServingStatus::NotServing)
    })
    .await;
    assert!(health("nothing").await.is_err());
    world.stop.cancel();
    (&mut world.gateway).await.unwrap().unwrap();
}

#[tokio::test]
async fn plain_http_needs_the_credential_too_and_answers_in_json() {
    let world = World::new().await;
    let get = |path: &str, authorization: &str| {
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{authorization}\r\n"
        );
        async move { http(world.admin, request.as_bytes()).await }
    };
    let stranger = get("/version", "").await;
    assert!(stranger.starts_with("HTTP/1.1 401"), "{stranger}");
    assert!(
        stranger.contains("www-authenticate: Basic realm=\"hamlet\""),
        "{stranger}"
    );
    let wrong = get("/version", "authorization: Bearer nope\r\n").await;
    assert!(wrong.starts_with("HTTP/1.1 401"), "{wrong}");

    let authorization = format!("authorization: {}\r\n", basic("", ADMIN_CREDENTIAL));
    for (path, status, text) in [
        ("/version", "200", env!("CARGO_PKG_VERSION")),
        ("/instances", "501", "NOT_BUILT_YET"),
        (
            "/instances/alice.example?Blocked=true",
            "501",
            "NOT_BUILT_YET",
        ),
        ("/elsewhere", "404", "NO_SUCH_PATH"),
    ] {
        let answer = get(path, &authorization).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{path}: {answer}"
        );
        assert!(
            answer.contains("content-type: application/json") && answer.contains(text),
            "{answer}"
        );
    }
}
