//! Hamlet in front of another server: the whole of Hamlet, and a stand-in that answers pages, tunnels and administrators.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use hamlet_tests::daemon::{Daemon, Options};

/// A server that tells its requests back. It switches where that is asked for, and is silent from then on.
fn stand_in() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || tell_back(stream.unwrap()));
        }
    });
    address
}

fn tell_back(mut stream: TcpStream) {
    let mut read = Vec::new();
    let mut piece = [0; 4096];
    while !read.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(bytes) => read.extend_from_slice(piece.get(..bytes).unwrap()),
        }
    }
    let head = String::from_utf8(read).unwrap();
    let answer = if head.contains("upgrade: websocket") {
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
            .to_owned()
    } else {
        format!(
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{head}",
            head.len()
        )
    };
    stream.write_all(answer.as_bytes()).ok();
    if head.contains("upgrade: websocket") {
        stream.read_to_end(&mut Vec::new()).ok();
    }
}

struct Place {
    daemon: Daemon,
    _folder: tempfile::TempDir,
}

fn start() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let server = stand_in();
    let password = folder.path().join("password");
    std::fs::write(&password, "hidden").unwrap();
    let file = folder.path().join("hamlet.toml");
    let text = format!(
        "[contexts.default]\nbackend = \"http://{server}\"\nadmin_backend = \"http://{server}\"\n\
         admin_backend_password_file = {password:?}\n[contexts.own]\n"
    );
    std::fs::write(&file, text).unwrap();
    let daemon = Options::new(&folder.path().join("data"))
        .flag(format!("--config={}", file.display()))
        .start();
    Place {
        daemon,
        _folder: folder,
    }
}

fn open(daemon: &Daemon, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(&daemon.public).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

fn get(daemon: &Daemon, domain: &str, path: &str) -> String {
    let head = format!("GET {path} HTTP/1.1\r\nhost: {domain}\r\nconnection: close\r\n\r\n");
    let mut answer = String::new();
    open(daemon, &head).read_to_string(&mut answer).unwrap();
    answer
}

/// An open tunnel to an instance.
fn tunnel(daemon: &Daemon, domain: &str) -> TcpStream {
    let head = format!(
        "GET /realtime/ HTTP/1.1\r\nhost: {domain}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    );
    let mut stream = open(daemon, &head);
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    stream
}

/// How long it takes until the tunnel has ended, from when this command has ended.
fn end_of(mut tunnel: TcpStream, daemon: &Daemon, command: &str) -> Duration {
    let _ = daemon.cli().run(command).done();
    let begun = Instant::now();
    tunnel.read_to_end(&mut Vec::new()).ok();
    begun.elapsed()
}

#[test]
fn what_hamlet_decides_takes_effect_within_a_second_and_the_rest_is_the_servers() {
    let Place { daemon, _folder } = &start();
    let cli = daemon.cli();
    let [alice, bob, own] = ["alice", "bob", "own"].map(|name| daemon.domain(name));
    for domain in [&alice, &bob] {
        let _ = cli.run(&format!("instances add {domain}")).done();
    }
    let add = format!("instances add {own} --context-name own");
    let _ = cli.run(&add).done();

    let answer = get(daemon, &alice, "/files/x?y=z");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("GET /files/x?y=z HTTP/1.1\r\n"), "{answer}");
    assert!(answer.contains(&format!("host: {alice}\r\n")), "{answer}");
    assert!(!answer.contains("x-hamlet-"), "{answer}");
    // A context without a backend is Hamlet's, which asks for a token first.
    assert!(get(daemon, &own, "/files/x").starts_with("HTTP/1.1 401"));

    let open = tunnel(daemon, &alice);
    let took = end_of(open, daemon, &format!("instances block {alice}"));
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(get(daemon, &alice, "/settings/x").starts_with("HTTP/1.1 503"));
    let _ = cli.run(&format!("instances unblock {alice}")).done();
    let open = tunnel(daemon, &alice);
    let took = end_of(
        open,
        daemon,
        &format!("instances destroy {alice} --keep 1d --force"),
    );
    assert!(took < Duration::from_secs(1), "{took:?}");
    let open = tunnel(daemon, &bob);
    let took = end_of(open, daemon, &format!("instances destroy {bob} --force"));
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(get(daemon, &bob, "/files/x").starts_with("HTTP/1.1 404"));
}

#[test]
fn a_context_is_checked() {
    let Place { daemon, _folder } = &start();
    let cli = daemon.cli();
    let alice = daemon.domain("alice");
    let _ = cli.run(&format!("instances add {alice}")).done();
    let checked = cli.run("contexts check default").done();
    assert!(checked.err.contains("1 instance"), "{checked:#?}");
    for told in [
        "backend http://127.0.0.1:",
        &format!("{alice} at http://"),
        "admin_backend http://",
        "design documents",
    ] {
        assert!(checked.out.contains(told), "{told}: {checked:#?}");
    }
    let findings = cli
        .run("contexts check default -o json")
        .done()
        .json_lines();
    assert!(findings.len() >= 4, "{findings:?}");
    let own = cli.run("contexts check own").done();
    assert!(own.out.contains("Hamlet serves"), "{own:#?}");
    assert_eq!(cli.run("contexts check nothing").code, 3);
    let shown = cli.run("contexts show default").done().out;
    assert!(shown.contains("backend"), "{shown}");
}
