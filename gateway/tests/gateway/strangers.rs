//! What strangers cost who ask for hosts that they invent: counted in questions to the instance service, in hosts that are
//! remembered, and in lines of the log. Nothing here is measured in time.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::{Code, Status};

use crate::support::{Client, Process, World, http};

/// How many hosts are invented for each protocol. Those of both are more than the gateway remembers.
const INVENTED: usize = 3000;
/// How many of them are asked for once more.
const AGAIN: usize = 300;
/// How many lines thousands of requests may cause together. A slow machine takes longer, and there may be one in ten seconds.
const FEW_LINES: usize = 20;

/// One connection of HTTP/1.1.
struct Http1(http1::SendRequest<Empty<Bytes>>);

impl Http1 {
    async fn connect(address: std::net::SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    /// Asks for the front page of a host.
    async fn status(&mut self, host: &str) -> u16 {
        self.0.ready().await.unwrap();
        let request = Request::get("/").header("host", host);
        let answer = self.0.send_request(request.body(Empty::new()).unwrap());
        let answer = answer.await.unwrap();
        let status = answer.status().as_u16();
        let _ = answer.into_body().collect().await.unwrap();
        status
    }
}

async fn http2_status(client: &Client, host: &str) -> u16 {
    let request = Request::get(format!("http://{host}/")).body(()).unwrap();
    client.request(request).await.http_status.as_u16()
}

/// The name of an invented host, longer than that of an instance usually is.
fn invented(protocol: &str, number: usize) -> String {
    let long = "x".repeat(60);
    format!("{protocol}-{number}.{long}.{long}.{long}.example")
}

#[tokio::test]
async fn invented_hosts_cost_a_question_each_and_are_forgotten_and_known_hosts_cost_none() {
    // Answers live longer than the test, so each question that is not the first is one about a host that was forgotten.
    let world = World::with(|config| config.limits.host_ttl = Duration::from_secs(3600)).await;
    let owner = world.client().await;
    let is_served = async || owner.call("alice.example", "Headers", &[]).await.code() == Code::Ok;
    assert!(is_served().await);
    let (mut http1, http2) = (Http1::connect(world.public).await, world.client().await);
    let before = world.directory.questions();
    for number in 0..INVENTED {
        assert_eq!(http1.status(&invented("one", number)).await, 404);
        assert_eq!(http2_status(&http2, &invented("two", number)).await, 404);
        if number % 100 == 0 {
            assert!(is_served().await);
        }
    }
    let asked = || world.directory.questions() - before;
    assert_eq!(asked(), INVENTED * 2);

    // The last ones are remembered, over both protocols and gRPC.
    for number in INVENTED - AGAIN..INVENTED {
        for protocol in ["one", "two"] {
            let host = invented(protocol, number);
            assert_eq!(http1.status(&host).await, 404);
            assert_eq!(http2_status(&http2, &host).await, 404);
            assert_eq!(
                http2.call(&host, "Headers", &[]).await.code(),
                Code::NotFound
            );
        }
    }
    assert_eq!(asked(), INVENTED * 2);
    // The first ones are not: what is remembered has a bound.
    for number in 0..AGAIN {
        assert_eq!(http1.status(&invented("one", number)).await, 404);
    }
    assert_eq!(asked(), INVENTED * 2 + AGAIN);
    // Whom everybody knows is known as before.
    assert!(is_served().await);
    assert_eq!(asked(), INVENTED * 2 + AGAIN);
}

#[tokio::test(flavor = "multi_thread")]
async fn invented_hosts_cause_few_lines_of_the_log() {
    let process = Process::start().await;
    let known = b"GET /files/headers HTTP/1.1\r\nhost: alice.example\r\nconnection: close\r\n\r\n";
    let (mut http1, http2) = (
        Http1::connect(process.public).await,
        Client::connect(process.public).await,
    );
    let lines = || process.log().lines().count();
    for (failure, status) in [
        (None, 404),
        (Some(Status::unavailable("away")), 503),
        (Some(Status::internal("broken")), 503),
    ] {
        let before = lines();
        process.directory.fail(failure.clone());
        for number in 0..INVENTED / 3 {
            // A host that was asked for a moment ago is answered without a question.
            let [one, two] =
                ["one", "two"].map(|it| format!("{status}{it}{}", invented(it, number)));
            let told = [http1.status(&one).await, http2_status(&http2, &two).await];
            assert_eq!(told, [status; 2], "{failure:?}");
            let _ = http2.call(&two, "Headers", &[]).await;
        }
        let answer = http(process.public, known).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let more = lines() - before;
        assert!(more <= FEW_LINES, "{failure:?}: {more}: {}", process.log());
    }
    // It does write when there is something to say.
    assert!(
        process.log().contains("whose a host is"),
        "{}",
        process.log()
    );
}
