//! Another server behind Hamlet: whose states are whose, and what is passed on to its admin door.

use std::{net::SocketAddr, path::Path, sync::Arc};

use couch::DbName;
use hamlet_proto::hamlet::instance::v1::{
    BlockInstanceRequest, CheckContextRequest, Instance, UnblockInstanceRequest,
    UpdateInstanceRequest, check_context_response::Verdict, resolve_host_response::HostState,
};
use instance_svc::operations::failpoints::Failpoints;
use prost_types::FieldMask;
use serde_json::{Value, json};
use service_kit::{
    backend::{BackendAddress, admin_address},
    caller::{DOOR_HEADER, KEY_HEADER},
    contexts::{Context, Contexts},
    status,
};
use test_kit::{doors::cluster_key, eventually::eventually};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};
use tonic::Code;

use crate::support::{Replica, World, config, failure, hasty};

/// The server: public and admin door in one. It answers a request when there is a permit, unless it is a question.
struct Server {
    address: SocketAddr,
    /// The requests: heads in lower case, and bodies.
    requests: mpsc::UnboundedReceiver<String>,
    permits: Arc<Semaphore>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = mpsc::unbounded_channel();
        let permits = Arc::new(Semaphore::new(0));
        let waits = Arc::clone(&permits);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, sender.clone(), Arc::clone(&waits)));
            }
        });
        Self {
            address,
            requests,
            permits,
        }
    }

    /// Waits until a request arrives that is not answered before it does.
    async fn arrival_of(
        &mut self,
        request: &mut JoinHandle<reqwest::Result<reqwest::Response>>,
    ) -> String {
        tokio::select! {
            arrived = self.requests.recv() => arrived.unwrap(),
            answer = request => panic!("it is answered and did not arrive: {answer:?}"),
        }
    }

    /// Contexts with this server, whose password is in that file.
    fn contexts(&self, password_file: &Path) -> Contexts {
        let url = format!("http://{}", self.address);
        let context = Context {
            backend: vec![BackendAddress::parse(&url).unwrap()],
            admin_backend: admin_address(&url),
            admin_backend_password_file: Some(password_file.to_owned()),
            ..Context::default()
        };
        Contexts::new([("default".to_owned(), context)].into())
    }
}

async fn serve(
    mut stream: TcpStream,
    sender: mpsc::UnboundedSender<String>,
    permits: Arc<Semaphore>,
) {
    let mut read = Vec::new();
    let head = loop {
        let end = read.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            break String::from_utf8(read.get(..end).unwrap().to_vec())
                .unwrap()
                .to_lowercase();
        }
        if stream.read_buf(&mut read).await.unwrap() == 0 {
            return;
        }
    };
    let answer = if head.contains("authorization: basic omhpzgrlbg==")
        || head.contains("/status ")
        || head.starts_with("get / ")
    {
        "200 OK"
    } else {
        "401 Unauthorized"
    };
    if !head.starts_with("get ") {
        while !read.ends_with(b"end") {
            if stream.read_buf(&mut read).await.unwrap() == 0 {
                break;
            }
        }
        sender
            .send(String::from_utf8_lossy(&read).into_owned())
            .ok();
        permits.acquire().await.unwrap().forget();
    } else if head.contains("/exports/") {
        sender.send(head).ok();
    }
    let answer = format!(
        "HTTP/1.1 {answer}\r\ncontent-length: 4\r\nx-kept: yes\r\nx-hamlet-odd: no\r\nconnection: close\r\n\r\ndone"
    );
    stream.write_all(answer.as_bytes()).await.ok();
}

fn password(folder: &Path, text: &str) -> std::path::PathBuf {
    let file = folder.join("password");
    std::fs::write(&file, text).unwrap();
    file
}

/// A request as the gateway forwards it.
fn ask(replica: &Replica, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
    let url = format!("http://{}{path}", replica.address);
    reqwest::Client::new()
        .request(method, url)
        .header(KEY_HEADER, cluster_key().expose())
        .header(DOOR_HEADER, "admin")
        .header("forwarded", "for=192.0.2.1")
}

async fn set(world: &World, id: &str, change: impl Fn(&mut Value)) {
    let instances = world.couch.database(&DbName::global("instances").unwrap());
    let found = instances.get::<Value>(id).await.unwrap().unwrap();
    let mut body = found.body;
    change(&mut body);
    let written = instances.put(id, Some(&found.rev), &body).await.unwrap();
    assert!(written.committed().is_some());
}

async fn block(replica: &Replica, reason: &str) {
    let request = BlockInstanceRequest {
        name: "instances/a.example".to_owned(),
        reason: reason.to_owned(),
        ..BlockInstanceRequest::default()
    };
    let mut instances = replica.instances.clone();
    let accepted = instances.block_instance(request).await.unwrap();
    let ended = replica.end_of(&accepted.get_ref().name).await;
    assert_eq!(failure(&ended), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_of_hamlets_is_told_from_one_of_other_software() {
    let world = World::new().await;
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let contexts = server.contexts(&password(folder.path(), "hidden"));
    let replica = world
        .replica_in(config(), contexts, hasty("one", Failpoints::default()))
        .await;
    assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
    let id = world.documents("a.example").await.id;
    let resolve = async || replica.resolve("a.example").await.unwrap();
    let told = resolve().await;
    let backend = told.backend.unwrap();
    assert_eq!(backend.addresses, [format!("http://{}", server.address)]);
    assert!(!told.set_by_other_software);

    block(&replica, "PAYMENT_FAILED").await;
    let told = resolve().await;
    assert_eq!(told.state(), HostState::Blocked);
    assert!(!told.set_by_other_software);

    // Other software takes the block away, and sets another one.
    set(&world, &id, |document| {
        document["blocked"] = json!(true);
        document["blocking_reason"] = json!("LOGIN_FAILED");
    })
    .await;
    assert!(resolve().await.set_by_other_software);
    // Hamlet makes it its own.
    block(&replica, "").await;
    let told = resolve().await;
    assert_eq!(told.blocking_reason, "LOGIN_FAILED");
    assert!(!told.set_by_other_software);

    let request = UnblockInstanceRequest {
        name: "instances/a.example".to_owned(),
        ..UnblockInstanceRequest::default()
    };
    let accepted = replica.instances.clone().unblock_instance(request).await;
    replica.end_of(&accepted.unwrap().get_ref().name).await;
    set(&world, &id, |document| document["deleting"] = json!(true)).await;
    let told = resolve().await;
    assert_eq!(told.state(), HostState::Deleting);
    assert!(told.set_by_other_software);
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_that_hamlet_lacks_are_passed_on_while_the_instance_is_held() {
    let world = World::new().await;
    let mut server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let contexts = server.contexts(&password(folder.path(), "hidden"));
    let replica = world
        .replica_in(config(), contexts, hasty("one", Failpoints::default()))
        .await;
    assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);

    let passing = ask(
        &replica,
        reqwest::Method::POST,
        "/instances/a.example/fixers/x?secret=1",
    )
    .header("x-kept", "yes")
    .body("the end");
    let mut passing = tokio::spawn(passing.send());
    let seen = server.arrival_of(&mut passing).await;
    let head = seen.to_lowercase();
    assert!(
        head.starts_with("post /instances/a.example/fixers/x?secret=1 http/1.1\r\n"),
        "{head}"
    );
    assert!(seen.ends_with("the end"));
    assert!(head.contains("x-kept: yes") && head.contains("authorization: basic omhpzgrlbg=="));
    for hidden in ["x-hamlet-", cluster_key().expose()] {
        assert!(!seen.contains(hidden), "{hidden}: {seen}");
    }
    // Nobody else works on it meanwhile.
    let request = BlockInstanceRequest {
        name: "instances/a.example".to_owned(),
        ..BlockInstanceRequest::default()
    };
    let busy = replica.instances.clone().block_instance(request).await;
    let busy = busy.unwrap_err();
    assert_eq!(
        status::reason(&busy).as_deref(),
        Some("INSTANCE_BUSY"),
        "{busy:?}"
    );
    server.permits.add_permits(1);
    let answer = passing.await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["x-kept"], "yes");
    assert!(!answer.headers().contains_key("x-hamlet-odd"));
    assert_eq!(answer.text().await.unwrap(), "done");
    // It is free again.
    eventually("the instance is free", async || {
        let records = DbName::global("hamlet-instances").unwrap();
        let id = world.documents("a.example").await.id;
        let record = world.document(&records, &id).await;
        if record.get("operation").is_none() {
            Ok(())
        } else {
            Err(record)
        }
    })
    .await;
    block(&replica, "").await;

    // Without a domain; and a read, which needs no permit.
    let reading = ask(&replica, reqwest::Method::GET, "/instances/assets").send();
    assert_eq!(reading.await.unwrap().status(), 200);
    let reading = ask(
        &replica,
        reqwest::Method::GET,
        "/instances/a.example/exports/1/data",
    )
    .send();
    assert_eq!(reading.await.unwrap().text().await.unwrap(), "done");
    server.requests.recv().await.unwrap();

    // A caller that goes away frees the instance, too.
    let gone = ask(
        &replica,
        reqwest::Method::POST,
        "/instances/a.example/import",
    )
    .body("the end");
    let mut gone = tokio::spawn(gone.send());
    server.arrival_of(&mut gone).await;
    gone.abort();
    eventually("the instance is free", async || {
        let request = UnblockInstanceRequest {
            name: "instances/a.example".to_owned(),
            ..UnblockInstanceRequest::default()
        };
        replica.instances.clone().unblock_instance(request).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_passed_on_is_refused() {
    let world = World::new().await;
    let mut server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = password(folder.path(), "hidden");
    let contexts = server.contexts(&file);
    let replica = world
        .replica_in(config(), contexts, hasty("one", Failpoints::default()))
        .await;
    assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
    let fix = async |path: &str| {
        let answer = ask(&replica, reqwest::Method::POST, path)
            .body("the end")
            .send()
            .await;
        let answer = answer.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(fix("/instances/b.example/fixers/x").await.0, 404);
    for odd in [
        "/instances/a.example/fixers/%2e%2e",
        "/instances/a.example/checks/%2E",
    ] {
        let (status, text) = fix(odd).await;
        assert!(matches!(status, 404 | 502), "{odd}: {status} {text}");
    }
    // Only through the door of administrators.
    let url = format!("http://{}/instances/a.example/fixers/x", replica.address);
    let stranger = reqwest::Client::new()
        .post(url)
        .header(KEY_HEADER, cluster_key().expose())
        .header(DOOR_HEADER, "public");
    let stranger = stranger.send().await.unwrap();
    assert!(stranger.status().is_client_error(), "{stranger:?}");

    let lock = UpdateInstanceRequest {
        instance: Some(Instance {
            name: "instances/a.example".to_owned(),
            locked: true,
            ..Instance::default()
        }),
        update_mask: Some(FieldMask {
            paths: vec!["locked".to_owned()],
        }),
        ..UpdateInstanceRequest::default()
    };
    let mut instances = replica.instances.clone();
    let locked = instances.update_instance(lock.clone()).await.unwrap();
    replica.end_of(&locked.get_ref().name).await;
    let (status, text) = fix("/instances/a.example/fixers/x").await;
    assert!(text.contains("INSTANCE_LOCKED"), "{status} {text}");
    let mut unlock = lock;
    unlock.instance.as_mut().unwrap().locked = false;
    let unlocked = instances.update_instance(unlock).await.unwrap();
    replica.end_of(&unlocked.get_ref().name).await;
    assert!(server.requests.try_recv().is_err());

    // The backend's word on the password is not the administrator's.
    password(folder.path(), "wrong");
    server.permits.add_permits(1);
    let (status, text) = fix("/instances/a.example/fixers/x").await;
    assert_eq!(status, 502, "{text}");
    assert!(
        text.contains("ADMIN_BACKEND_UNUSABLE") && !text.contains("wrong"),
        "{text}"
    );

    // Without a backend nothing is passed on.
    replica.stop().await;
    let replica = world.replica("two", Failpoints::default()).await;
    let answer = ask(
        &replica,
        reqwest::Method::POST,
        "/instances/a.example/fixers/x",
    )
    .send()
    .await;
    assert_eq!(answer.unwrap().status(), 501);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_context_is_checked() {
    let world = World::new().await;
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = password(folder.path(), "hidden");
    let replica = world
        .replica_in(
            config(),
            server.contexts(&file),
            hasty("one", Failpoints::default()),
        )
        .await;
    let check = async |domain: &str, name: &str| {
        let request = CheckContextRequest {
            name: name.to_owned(),
            domain: domain.to_owned(),
        };
        let checked = replica.instances.clone().check_context(request).await;
        checked.map(tonic::Response::into_inner)
    };
    assert_eq!(check("", "default").await.unwrap().instance_count, 0);
    assert_eq!(failure(&replica.create("a.example").await.unwrap()), None);
    let checked = check("", "default").await.unwrap();
    assert_eq!(checked.instance_count, 1);
    let problems: Vec<_> = checked
        .findings
        .iter()
        .filter(|it| it.verdict() == Verdict::Problem)
        .collect();
    assert!(problems.is_empty(), "{problems:?}");
    let subjects: Vec<_> = checked
        .findings
        .iter()
        .map(|it| it.subject.as_str())
        .collect();
    for wanted in [
        "backend http://",
        "a.example at http://",
        "admin_backend http://",
        "storage",
        "design documents of a.example",
    ] {
        assert!(
            subjects.iter().any(|it| it.starts_with(wanted)),
            "{wanted}: {subjects:?}"
        );
    }
    // What is wrong is a problem, and says what helps.
    password(folder.path(), "wrong");
    let checked = check("a.example", "default").await.unwrap();
    let wrong = checked
        .findings
        .iter()
        .find(|it| it.subject.starts_with("admin_backend"));
    let wrong = wrong.unwrap();
    assert_eq!(wrong.verdict(), Verdict::Problem);
    assert!(wrong.detail.contains("refuses the password"), "{wrong:?}");
    let unknown = check("", "nothing").await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    assert_eq!(
        check("b.example", "default").await.unwrap_err().code(),
        Code::NotFound
    );
}
