//! The admin door.

use base64::Engine as _;
use hamlet_proto::hamlet::instance::v1::resolve_host_response::HostState;
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_types::StatusExt as _;

use test_kit::{doors::ADMIN_CREDENTIAL, eventually, fake::active_instance};

use crate::support::{Web, World, http};

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

/// A request to the admin door over HTTP/1.1.
async fn get(world: &World, path: &str, headers: &str) -> String {
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n");
    http(world.admin, request.as_bytes()).await
}

#[tokio::test]
async fn plain_http_needs_the_credential_too_and_answers_in_json() {
    let world = World::new().await;
    for path in ["/version", "/instances", "/elsewhere"] {
        let stranger = get(&world, path, "x-request-id: r-1\r\n").await;
        assert!(stranger.starts_with("HTTP/1.1 401"), "{stranger}");
        for told in [
            "www-authenticate: Basic realm=\"hamlet\"",
            "content-type: application/vnd.api+json",
            "\"code\":\"ADMIN_CREDENTIAL_MISSING\"",
            "x-request-id: r-1",
        ] {
            assert!(stranger.contains(told), "{told}: {stranger}");
        }
        for wrong in ["Bearer nope".to_owned(), basic("", "nope")] {
            let wrong = get(&world, path, &format!("authorization: {wrong}\r\n")).await;
            assert!(wrong.starts_with("HTTP/1.1 403"), "{wrong}");
            assert!(wrong.contains("ADMIN_CREDENTIAL_WRONG"), "{wrong}");
            assert!(!wrong.contains("nope"), "{wrong}");
        }
    }
    let authorization = format!("authorization: {}\r\n", basic("", ADMIN_CREDENTIAL));
    let version = get(&world, "/version", &authorization).await;
    assert!(version.starts_with("HTTP/1.1 200"), "{version}");
    assert!(
        version.contains("content-type: application/json"),
        "{version}"
    );
    for member in ["version", "build_mode", "build_time", "runtime_version"] {
        assert!(version.contains(&format!("\"{member}\":")), "{version}");
    }
    let nothing = get(&world, "/elsewhere", &authorization).await;
    assert!(nothing.starts_with("HTTP/1.1 404"), "{nothing}");
    assert!(nothing.contains("NO_SUCH_PATH"), "{nothing}");
}

#[tokio::test]
async fn plain_http_goes_to_the_service_of_its_path() {
    let web = Web::start().await;
    let world =
        World::with(|config| config.instance_service = format!("http://{}", web.address)).await;
    for credential in [basic("anyone", ADMIN_CREDENTIAL), bearer()] {
        let answer = get(
            &world,
            "/instances/headers?Passphrase=a+b",
            &format!(
                "authorization: {credential}\r\nx-hamlet-door: public\r\nx-request-id: r-2\r\n\
                 idempotency-key: k\r\n"
            ),
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        for told in [
            "GET /instances/headers?Passphrase=a+b\n",
            "x-hamlet-door: admin\n",
            "idempotency-key: k\n",
            "x-request-id: r-2\n",
        ] {
            assert!(answer.contains(told), "{told}: {answer}");
        }
        let credential = credential.rsplit(' ').next().unwrap();
        assert!(!answer.contains(credential), "the credential went on");
    }
}

#[tokio::test]
async fn an_administrator_is_told_that_a_service_is_away() {
    let world =
        World::with(|config| config.instance_service = "http://127.0.0.1:1".to_owned()).await;
    let headers = format!("authorization: {}\r\naccept: text/html\r\n", bearer());
    let answer = get(&world, "/instances/count", &headers).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    for told in [
        "SERVICE_OUT_OF_REACH",
        "retry-after: 1",
        "application/vnd.api+json",
    ] {
        assert!(answer.contains(told), "{told}: {answer}");
    }
}
