//! What the gateway knows of hosts, and for how long.

use std::time::{Duration, Instant};

use test_kit::{
    eventually,
    fake::{Changes, active_instance},
};
use tokio::time::sleep;
use tonic::{Code, Status};

use crate::support::{Client, World, http};

const ALICE: &str = "alice.example";
/// Answers live for so long without a stream.
const LIFE: Duration = Duration::from_millis(500);

async fn readiness(world: &World) -> String {
    let request = b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    http(world.public, request).await
}

async fn code(client: &Client, host: &str) -> Code {
    client.call(host, "Headers", &[]).await.code()
}

/// A gateway that is told of changes and knows these hosts beside `alice.example`, without a question.
async fn told_of(hosts: &[&str]) -> (World, Changes, Client) {
    told(hosts, |_| {}).await
}

async fn told(
    hosts: &[&str],
    change: impl FnOnce(&mut gateway::Config),
) -> (World, Changes, Client) {
    let world = World::with(change).await;
    for service in [
        "hamlet.instance.v1.InstanceService",
        "hamlet.files.v1.FilesService",
        "hamlet.apps.v1.AppsService",
    ] {
        world.directory.report_health(service, true);
    }
    let changes = world.directory.tell_changes();
    for host in hosts {
        world.directory.set(host, active_instance(host));
    }
    let client = world.client().await;
    settle(&world, &client, &[hosts, &[ALICE]].concat()).await;
    (world, changes, client)
}

/// Calls until these hosts cost no question.
async fn settle(world: &World, client: &Client, hosts: &[&str]) {
    eventually("the hosts are known", async || {
        let before = world.directory.questions();
        let begun = Instant::now();
        while begun.elapsed() < LIFE * 2 {
            for host in hosts {
                code(client, host).await;
            }
            sleep(Duration::from_millis(20)).await;
        }
        world.directory.questions() == before
    })
    .await;
}

/// Calls until the answer is `wanted`. Returns how long that took.
async fn until(client: &Client, host: &str, wanted: Code) -> Duration {
    let begun = Instant::now();
    eventually("the change is seen", async || {
        let code = code(client, host).await;
        if code == wanted { Ok(()) } else { Err(code) }
    })
    .await;
    begun.elapsed()
}

#[tokio::test]
async fn a_known_host_costs_no_question_until_it_changes() {
    let (world, changes, client) = told_of(&["other.example"]).await;
    let before = world.directory.questions();
    for _ in 0..100 {
        assert_eq!(code(&client, ALICE).await, Code::Ok);
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(world.directory.questions(), before);

    world.directory.block(ALICE, "");
    sleep(LIFE * 2).await;
    assert_eq!(code(&client, ALICE).await, Code::Ok, "nobody told it");
    changes.instance_of(ALICE);
    let seen = until(&client, ALICE, Code::FailedPrecondition).await;
    assert!(seen < LIFE, "{seen:?}");
    assert_eq!(world.directory.questions(), before + 1);
    settle(&world, &client, &[ALICE, "other.example"]).await;

    world.directory.set(ALICE, active_instance(ALICE));
    changes.host(ALICE);
    let seen = until(&client, ALICE, Code::Ok).await;
    assert!(seen < LIFE, "{seen:?}");
}

#[tokio::test]
async fn a_change_during_a_question_is_not_lost() {
    let (world, changes, client) = told_of(&[]).await;
    world.directory.answer_after(LIFE);
    let before = world.directory.questions();
    changes.instance_of(ALICE);
    let mut earlier = Vec::new();
    eventually("a question is under way", async || {
        let client = client.clone();
        earlier.push(tokio::spawn(async move { code(&client, ALICE).await }));
        sleep(Duration::from_millis(5)).await;
        world.directory.questions() > before
    })
    .await;
    // The answer on its way was made before the block.
    world.directory.answer_after(Duration::ZERO);
    world.directory.block(ALICE, "");
    changes.instance_of(ALICE);
    sleep(LIFE / 5).await;
    assert_eq!(code(&client, ALICE).await, Code::FailedPrecondition);
    let last = earlier.pop().unwrap();
    assert_eq!(last.await.unwrap(), Code::FailedPrecondition);
}

#[tokio::test]
async fn without_heartbeats_answers_live_shortly_and_health_says_so() {
    // A service that answers questions about its health, and has no files.
    let (world, changes, client) = told(&[], |config| {
        config.files_service.clone_from(&config.instance_service);
        config.apps_service.clone_from(&config.instance_service);
    })
    .await;
    let ready = async |wanted: &str| {
        eventually("the health is told", async || {
            let answer = readiness(&world).await;
            if answer.contains("200 OK") && answer.contains(wanted) {
                Ok(())
            } else {
                Err(answer)
            }
        })
        .await;
    };
    ready("\r\n\r\nready\n").await;
    let status = async |method: &str, path: &str| {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        http(world.public, request.as_bytes()).await
    };
    // As clients of the original ask.
    for path in ["/status", "/status/"] {
        let told = status("GET", path).await;
        assert!(told.starts_with("HTTP/1.1 200"), "{told}");
        assert!(told.contains("content-type: application/json"), "{told}");
        assert!(
            told.contains(r#""cache":"healthy""#) && told.contains(r#""status":"OK""#),
            "{told}"
        );
    }
    assert!(status("HEAD", "/status").await.ends_with("\r\n\r\n"));
    changes.be_silent(true);
    for wanted in [Code::FailedPrecondition, Code::Unimplemented] {
        match wanted {
            Code::FailedPrecondition => world.directory.block(ALICE, ""),
            _ => world.directory.set(ALICE, active_instance(ALICE)),
        }
        let seen = until(&client, ALICE, wanted).await;
        assert!(seen < LIFE * 2, "{seen:?}");
    }
    ready("degraded").await;
    let told = status("GET", "/status").await;
    assert!(
        told.contains(r#""cache":"unhealthy""#) && told.contains(r#""status":"OK""#),
        "{told}"
    );
    changes.be_silent(false);
    settle(&world, &client, &[ALICE]).await;
    ready("\r\n\r\nready\n").await;
}

#[tokio::test]
async fn a_stream_that_ends_is_continued() {
    let (world, changes, client) = told_of(&[]).await;
    let before = world.directory.questions();
    changes.end();
    eventually("the stream is continued", async || {
        let resumed = world.directory.resumed();
        if resumed.len() > 1 && resumed.last().is_some_and(|token| !token.is_empty()) {
            Ok(())
        } else {
            Err(resumed)
        }
    })
    .await;
    sleep(LIFE).await;
    assert_eq!(code(&client, ALICE).await, Code::Ok);
    assert_eq!(world.directory.questions(), before);
}

#[tokio::test]
async fn without_the_instance_service_known_hosts_go_on_for_a_time_and_blocked_ones_stay_blocked() {
    let grace = Duration::from_secs(4);
    let (world, changes, client) = told(&["blocked.example"], |config| {
        config.limits.host_grace = grace;
    })
    .await;
    world.directory.block("blocked.example", "");
    changes.instance_of("blocked.example");
    settle(&world, &client, &[ALICE, "blocked.example"]).await;
    changes.be_silent(true);
    world.directory.fail(Some(Status::unavailable("away")));
    let away = Instant::now();
    while away.elapsed() < grace * 3 / 4 {
        assert_eq!(code(&client, ALICE).await, Code::Ok);
        assert_eq!(
            code(&client, "blocked.example").await,
            Code::FailedPrecondition
        );
        assert_eq!(code(&client, "new.example").await, Code::Unavailable);
        sleep(Duration::from_millis(50)).await;
    }
    until(&client, ALICE, Code::Unavailable).await;
    assert_eq!(
        code(&client, "blocked.example").await,
        Code::FailedPrecondition
    );
    world.directory.fail(None);
    until(&client, ALICE, Code::Ok).await;
}

#[tokio::test]
async fn a_service_that_hangs_keeps_nobody_waiting_who_is_known() {
    let (world, changes, client) = told_of(&[]).await;
    changes.be_silent(true);
    world.directory.answer_after(Duration::from_secs(60));
    sleep(LIFE * 2).await;
    // The first call finds out.
    assert_eq!(code(&client, ALICE).await, Code::Ok);
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(code(&client, ALICE).await, Code::Ok);
    }
    // If each of them found out anew, they would wait ten times as long.
    assert!(begun.elapsed() < LIFE * 4, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn what_was_announced_to_have_changed_is_not_used_while_the_service_is_away() {
    let (world, changes, client) = told_of(&[]).await;
    world.directory.fail(Some(Status::unavailable("away")));
    changes.instance_of(ALICE);
    until(&client, ALICE, Code::Unavailable).await;
}

#[tokio::test]
async fn after_a_reset_each_host_is_asked_for_once_and_not_all_at_once() {
    let hosts: Vec<String> = (0..200)
        .map(|number| format!("h{number}.example"))
        .collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let (world, changes, client) = told_of(&hosts).await;
    world.directory.answer_after(Duration::from_millis(100));
    let before = world.directory.questions();
    assert!(world.directory.peak() <= 128);
    changes.reset();
    sleep(LIFE * 2).await;
    let calls = hosts.iter().cycle().take(hosts.len() * 5).map(|host| {
        let (client, host) = (client.clone(), (*host).to_owned());
        async move { assert_eq!(code(&client, &host).await, Code::Ok) }
    });
    futures::future::join_all(calls).await;
    sleep(LIFE * 2).await;
    for host in &hosts {
        assert_eq!(code(&client, host).await, Code::Ok);
    }
    assert_eq!(world.directory.questions() - before, hosts.len());
    let peak = world.directory.peak();
    assert!(peak <= 96, "{peak}");
}

#[tokio::test]
async fn invented_hosts_do_not_keep_known_ones_waiting() {
    let (world, changes, client) = told_of(&[]).await;
    let delay = Duration::from_millis(300);
    world.directory.answer_after(delay);
    let _ = world.directory.peak();
    let strangers = [
        world.client().await,
        world.client().await,
        world.client().await,
    ];
    let calls: Vec<_> = (0..300)
        .map(|number| {
            let client = strangers[number % 3].clone();
            let host = format!("invented{number}.example");
            tokio::spawn(async move { code(&client, &host).await })
        })
        .collect();
    eventually("strangers are asked for", async || {
        world.directory.questions() > 30
    })
    .await;
    let begun = Instant::now();
    assert_eq!(code(&client, ALICE).await, Code::Ok);
    assert!(begun.elapsed() < delay, "{:?}", begun.elapsed());
    // Nor when it has to be asked for.
    changes.instance_of(ALICE);
    sleep(Duration::from_millis(100)).await;
    let begun = Instant::now();
    assert_eq!(code(&client, ALICE).await, Code::Ok);
    assert!(begun.elapsed() < delay * 3, "{:?}", begun.elapsed());
    let peak = world.directory.peak();
    assert!(peak <= 33, "{peak}");
    for call in calls {
        // Some of them do not wait for their turn for ever.
        let code = call.await.unwrap();
        assert!(
            [Code::NotFound, Code::Unavailable].contains(&code),
            "{code:?}"
        );
    }
}
