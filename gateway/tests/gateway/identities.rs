//! Who calls: found out by the gateway, and told to the service behind.

use std::time::Duration;

use gateway::{HttpRoutes, Service};
use hamlet_proto::hamlet::instance::v1::{Identity, identity::Kind};
use service_kit::caller::header_value;

use crate::support::{Web, World, http};

async fn world() -> (World, Web) {
    let web = Web::start().await;
    let world = World::with(|config| {
        config.files_service = format!("http://{}", web.address);
        config.http_routes = HttpRoutes {
            paths: vec![("/files".to_owned(), Service::Files)],
            alone: Vec::new(),
            app_hosts: Service::Apps,
        };
    })
    .await;
    (world, web)
}

fn owner() -> Identity {
    Identity {
        kind: Kind::Session.into(),
        session_id: "it".to_owned(),
        ..Identity::default()
    }
}

/// What the service hears of a request with these headers.
async fn heard(world: &World, more: &str) -> String {
    let request = format!(
        "GET /files/headers HTTP/1.1\r\nhost: alice.example\r\nconnection: close\r\n{more}\r\n"
    );
    let answer = http(world.public, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

fn told(answer: &str) -> Option<&str> {
    let mut lines = answer.lines();
    lines.find_map(|line| line.strip_prefix("x-hamlet-identity-bin: "))
}

#[tokio::test]
async fn a_session_and_a_token_are_told_and_nobody_can_say_so_himself() {
    let (world, _web) = world().await;
    let program = Identity {
        kind: Kind::Cli.into(),
        scope: "io.cozy.files".to_owned(),
        ..Identity::default()
    };
    world.directory.identify("a cookie", Some(owner()));
    world
        .directory
        .identify("a.good.token", Some(program.clone()));
    let forged = format!("x-hamlet-identity-bin: {}\r\n", header_value(&owner()));
    for (more, who) in [
        (String::new(), None),
        (forged.clone(), None),
        ("cookie: other=1; _csrf=x\r\n".to_owned(), None),
        ("cookie: cozysessid=wrong\r\n".to_owned(), None),
        (
            format!("cookie: x=1; cozysessid=a cookie\r\n{forged}"),
            Some(owner()),
        ),
        // One of a neighbour, and the own one.
        (
            "cookie: sess-cozy4567=wrong; sess-cozy0123=a cookie\r\n".to_owned(),
            Some(owner()),
        ),
        (
            "cookie: cozysessid=wrong; cozysessid=a cookie\r\n".to_owned(),
            Some(owner()),
        ),
        (
            "authorization: Bearer a.good.token\r\n".to_owned(),
            Some(program.clone()),
        ),
        // What opens nothing is as if it were not there.
        (
            "authorization: Bearer a.bad.token\r\ncookie: cozysessid=a cookie\r\n".to_owned(),
            Some(owner()),
        ),
        ("authorization: Bearer a.bad.token\r\n".to_owned(), None),
    ] {
        let answer = heard(&world, &more).await;
        let who = who.as_ref().map(header_value);
        assert_eq!(told(&answer), who.as_deref(), "{more}: {answer}");
    }
}

#[tokio::test]
async fn an_answer_is_used_for_a_second_and_a_stranger_costs_no_question() {
    let (world, _web) = world().await;
    for more in ["", "cookie: a=b\r\n", "authorization: Basic eDp5\r\n"] {
        let _ = heard(&world, more).await;
    }
    assert_eq!(world.directory.identity_questions(), 0);
    world.directory.identify("a cookie", Some(owner()));
    let cookie = "cookie: cozysessid=a cookie\r\n";
    for _ in 0..3 {
        assert!(told(&heard(&world, cookie).await).is_some());
    }
    // How fast the test runs is not known.
    assert!(world.directory.identity_questions() < 3);
    world.directory.identify("a cookie", None);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(told(&heard(&world, cookie).await), None);
    // That nobody has it is kept, too.
    let asked = world.directory.identity_questions();
    assert_eq!(told(&heard(&world, cookie).await), None);
    assert!(world.directory.identity_questions() <= asked + 1);
}
