//! How `hamlet` finds its server, and what it does when the server is lost.
#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed expectation is the test failing; other tests use the rest of the support code"
)]

mod support;

use std::{fs, io::Write as _, net::TcpListener, path::Path, process::Command};

use hamlet_proto::{
    google::longrunning::{Operation, operation},
    hamlet::instance::v1::{CreateInstanceRequest, CreateInstanceResult, Instance},
    pack,
};
use support::program::{Server, finish, hamlet, run};
use test_kit::{
    doors::ADMIN_CREDENTIAL,
    fake::{Script, Watch, WatchEnd},
};
use tonic::{Code, Status};

fn running() -> Operation {
    Operation {
        name: "operations/op-1".to_owned(),
        ..Operation::default()
    }
}

fn ended() -> Operation {
    Operation {
        done: true,
        result: Some(operation::Result::Response(pack(&CreateInstanceResult {
            instance: Some(Instance {
                domain: "bob.example".to_owned(),
                ..Instance::default()
            }),
            ..CreateInstanceResult::default()
        }))),
        ..running()
    }
}

fn accepting(watches: Vec<Watch>) -> Server {
    Server::start(Script {
        accepted: running(),
        watches: watches.into(),
        ..Script::default()
    })
}

/// What a running hamletd keeps in its folder.
fn data_folder(folder: &Path, address: Option<&str>, credential: &str) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("admin-credential"), credential).unwrap();
    if let Some(address) = address {
        fs::write(folder.join("admin-address"), format!("{address}\n")).unwrap();
    }
}

#[test]
fn an_installation_has_a_name_and_is_chosen_by_it() {
    let (near, far) = (
        Server::start(Script::default()),
        Server::start(Script::default()),
    );
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    fs::write(folder.join("credential"), ADMIN_CREDENTIAL).unwrap();
    let none = run(hamlet(folder, "--at near instances count")).failed(2);
    assert!(
        none.contains("none has a name yet") && none.contains("hamlet use near --url"),
        "{none}"
    );
    for (name, url) in [("near", near.url()), ("far", far.url())] {
        run(hamlet(
            folder,
            &format!("use {name} --url {url} --credential credential"),
        ))
        .done();
    }
    let list = run(hamlet(folder, "use -o csv")).done();
    assert!(
        list.contains(&near.url()) && list.contains(&far.url()),
        "{list}"
    );
    let kept = fs::read_to_string(folder.join("hamlet/client.json")).unwrap();
    assert!(!kept.contains(ADMIN_CREDENTIAL), "{kept}");

    // The one that was stored last is chosen. It is the one that is asked when it is away.
    drop(far);
    run(hamlet(folder, "instances count")).failed(6);
    run(hamlet(folder, "--at near instances count")).done();
    run(hamlet(folder, "use near")).done();
    run(hamlet(folder, "instances count")).done();
    let wrong = run(hamlet(folder, "use neer")).failed(2);
    assert!(wrong.contains("far, near"), "{wrong}");

    run(hamlet(folder, "use --none")).done();
    run(hamlet(folder, "instances count")).failed(6);
    run(hamlet(folder, "use --forget near")).done();
    let gone = run(hamlet(folder, "--at near instances count")).failed(2);
    assert!(gone.contains("far"), "{gone}");
}

#[test]
fn a_local_hamletd_is_found_from_its_folder_and_from_below() {
    let fake = Server::start(Script::default());
    let place = tempfile::tempdir().unwrap();
    let below = place.path().join("a/b");
    fs::create_dir_all(&below).unwrap();
    data_folder(
        &place.path().join("hamlet-data"),
        Some(&fake.address().to_string()),
        ADMIN_CREDENTIAL,
    );
    for folder in [place.path(), &below] {
        let counted = run(hamlet(folder, "instances count")).done();
        assert_eq!(counted, "0 instances\n");
    }
}

#[test]
fn a_data_folder_that_is_named_comes_first() {
    let fake = Server::start(Script::default());
    let place = tempfile::tempdir().unwrap();
    data_folder(&place.path().join("hamlet-data"), None, "of another");
    let named = place.path().join("elsewhere");
    data_folder(&named, Some(&fake.address().to_string()), ADMIN_CREDENTIAL);
    let mut command = hamlet(place.path(), "instances count");
    command.env("HAMLET_DATA", &named);
    run(command).done();
}

#[test]
fn the_credential_of_a_folder_is_for_its_own_server_and_the_error_says_so() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("hamlet-data");
    let other = "--server 127.0.0.1:9 instances count";
    data_folder(&folder, Some("127.0.0.1:6060"), ADMIN_CREDENTIAL);
    let told = run(hamlet(place.path(), other)).failed(2);
    assert!(
        told.contains("no credential for http://127.0.0.1:9")
            && told.contains("hamlet-data is for 127.0.0.1:6060 only"),
        "{told}"
    );
    fs::remove_file(folder.join("admin-address")).unwrap();
    let told = run(hamlet(place.path(), other)).failed(2);
    assert!(told.contains("which does not run"), "{told}");
}

#[test]
fn an_error_about_the_address_in_a_folder_names_its_file() {
    // A server of HTTP/1.1 has taken the port since.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("hamlet-data");
    data_folder(&folder, Some(&address.to_string()), ADMIN_CREDENTIAL);
    let told = run(hamlet(place.path(), "status")).failed(2);
    assert!(
        told.contains("hamlet-data/admin-address: ") && !told.contains("--server"),
        "{told}"
    );
}

#[test]
fn a_door_that_is_open_everywhere_is_open_here() {
    let fake = Server::start(Script::default());
    let place = tempfile::tempdir().unwrap();
    let port = fake.address().port();
    data_folder(
        &place.path().join("hamlet-data"),
        Some(&format!("0.0.0.0:{port}")),
        ADMIN_CREDENTIAL,
    );
    run(hamlet(place.path(), "instances count")).done();
}

#[test]
fn a_hamletd_that_does_not_run_is_told_from_none() {
    let place = tempfile::tempdir().unwrap();
    let told = run(hamlet(place.path(), "instances ls")).failed(6);
    assert!(
        told.contains("hamlet-data") && told.contains("--server"),
        "{told}"
    );
    let data = place.path().join("hamlet-data");
    data_folder(&data, None, ADMIN_CREDENTIAL);
    let told = run(hamlet(place.path(), "instances ls")).failed(6);
    assert!(told.contains(data.to_str().unwrap()), "{told}");
}

#[test]
fn a_found_credential_is_not_sent_to_another_server() {
    let own = Server::start(Script::default());
    let other = Server::start(Script::default());
    let place = tempfile::tempdir().unwrap();
    data_folder(
        &place.path().join("hamlet-data"),
        Some(&own.address().to_string()),
        ADMIN_CREDENTIAL,
    );
    let to = |server: &Server| {
        let mut command = hamlet(place.path(), "instances count");
        command.arg("--server").arg(server.url());
        run(command)
    };
    let told = to(&other).failed(2);
    assert!(told.contains("--credential-file"), "{told}");
    assert!(other.calls().is_empty());
    to(&own).done();
}

#[test]
fn flags_win_over_the_environment() {
    let fake = Server::start(Script::default());
    let mut command = fake.hamlet("instances count");
    command
        .env("HAMLET_SERVER", "http://127.0.0.1:1")
        .arg("--server")
        .arg(fake.url());
    run(command).done();
}

#[test]
fn a_flag_comes_before_every_variable_and_two_flags_may_not_contradict() {
    let (near, far) = (
        Server::start(Script::default()),
        Server::start(Script::default()),
    );
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    fs::write(folder.join("credential"), ADMIN_CREDENTIAL).unwrap();
    fs::write(folder.join("wrong"), "of another").unwrap();
    for (name, url) in [("near", near.url()), ("far", far.url())] {
        let line = format!("use {name} --url {url} --credential credential");
        run(hamlet(folder, &line)).done();
    }
    let with = |line: &str, variables: &[(&str, &str)]| {
        let mut command = hamlet(folder, line);
        command.envs(variables.iter().copied());
        run(command)
    };
    let (near_url, far_url) = (near.url(), far.url());
    let asked = || (near.called("CountInstances"), far.called("CountInstances"));

    // The server of the flag, whatever HAMLET_AT says; its credential is not that of HAMLET_AT.
    let to_far = format!("--server {far_url} instances count");
    with(
        &to_far,
        &[
            ("HAMLET_AT", "near"),
            ("HAMLET_CREDENTIAL_FILE", "credential"),
        ],
    )
    .done();
    assert_eq!(asked(), (0, 1));
    let told = with(&to_far, &[("HAMLET_AT", "near")]).failed(2);
    assert!(told.contains("no credential for"), "{told}");
    // The credential of the flag, for the server of HAMLET_AT.
    let own = "--credential-file credential instances count";
    with(own, &[("HAMLET_AT", "near")]).done();
    assert_eq!(asked(), (1, 1));
    // The installation of the flag, whatever the variables say.
    with(
        "--at near instances count",
        &[
            ("HAMLET_AT", "far"),
            ("HAMLET_SERVER", &far_url),
            ("HAMLET_CREDENTIAL_FILE", "wrong"),
            ("HAMLET_DATA", "/nope"),
        ],
    )
    .done();
    assert_eq!(asked(), (2, 1));
    for flags in [
        format!("--at near --server {near_url}"),
        "--at near --credential-file credential".to_owned(),
        "--at near --ca credential".to_owned(),
    ] {
        let told = with(&format!("{flags} instances count"), &[]).failed(2);
        assert!(told.contains("contradict each other"), "{told}");
    }
    assert_eq!(asked(), (2, 1));
}

#[test]
fn an_error_of_a_variable_names_the_variable() {
    let place = tempfile::tempdir().unwrap();
    for (variable, value) in [
        ("HAMLET_SERVER", "ftp://x"),
        ("HAMLET_SERVER", "x:yy"),
        ("HAMLET_AT", "nope"),
        ("HAMLET_CREDENTIAL_FILE", "/nope"),
        ("HAMLET_DATA", "/nope"),
    ] {
        let mut command = hamlet(place.path(), "instances count");
        command.env(variable, value);
        let told = run(command);
        let first = told.err.lines().next().unwrap_or_default();
        assert!(
            first.starts_with(&format!("error: {variable}: ")) && first.contains(value),
            "{told:#?}"
        );
    }
}

#[test]
fn the_usage_is_the_same_whatever_the_environment_is() {
    let fake = Server::start(Script::default());
    for line in ["instances show", "apps install", "use --url x"] {
        let plain = run(hamlet(fake.folder(), line)).failed(2);
        let mut command = fake.hamlet(line);
        command.env("HAMLET_AT", "x");
        let told = run(command).failed(2);
        assert_eq!(plain, told);
        assert!(!told.contains("--server"), "{told}");
    }
}

#[test]
fn nobody_at_the_address_is_told_at_once() {
    let nobody = test_kit::Nobody::at_loopback();
    let address = nobody.address;
    let fake = Server::start(Script::default());
    let mut command = fake.hamlet("instances ls");
    command.env("HAMLET_SERVER", format!("http://{address}"));
    let told = run(command).failed(6);
    assert!(told.contains(&address.to_string()), "{told}");
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    // The system takes connections for it; nobody reads them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let fake = Server::start(Script::default());
    let mut command = fake.hamlet("instances ls");
    command.env(
        "HAMLET_SERVER",
        format!("http://{}", silent.local_addr().unwrap()),
    );
    run(command).failed(6);
}

#[test]
fn an_authority_is_for_servers_with_tls() {
    let fake = Server::start(Script::default());
    let told = fake.run("instances count --ca credential").failed(2);
    let url = fake.url();
    assert!(
        told.starts_with(&format!("error: --ca: {url} is without TLS"))
            && told.contains("https://"),
        "{told}"
    );
    let use_it = format!("use near --url {url} --credential credential --ca credential");
    let told = fake.run(&use_it).failed(2);
    assert!(told.starts_with("error: --ca: "), "{told}");
    let told = fake.run("use near --ca credential").failed(2);
    assert!(told.contains("--url"), "{told}");
    // A variable may be set for other servers.
    let mut command = fake.hamlet("instances count");
    command.env("HAMLET_CA_FILE", "/nowhere");
    run(command).done();
    let mut command = fake.hamlet("instances count");
    command.envs([
        ("HAMLET_CA_FILE", "/nowhere"),
        ("HAMLET_SERVER", "https://localhost:1"),
    ]);
    let told = run(command).failed(2);
    assert!(
        told.starts_with("error: HAMLET_CA_FILE: /nowhere: "),
        "{told}"
    );
}

#[test]
fn a_server_that_dies_leaves_an_operation_that_is_named() {
    let mut fake = accepting(vec![(vec![running()], WatchEnd::Hang)]);
    let child = fake.hamlet("instances add bob.example").spawn().unwrap();
    fake.wait_for("WatchOperation", 1);
    fake.die();
    let told = finish(child).failed(6);
    assert!(told.contains("operations/op-1 goes on"), "{told}");
    assert!(told.contains("hamlet operations wait op-1"), "{told}");
}

#[test]
fn a_watch_that_breaks_is_taken_up_again() {
    let breaks = [
        WatchEnd::Stop,
        WatchEnd::Fail(Status::unavailable("the service starts again")),
    ];
    for broken in breaks {
        let fake = accepting(vec![
            (vec![running()], broken),
            (vec![running(), ended()], WatchEnd::Stop),
        ]);
        fake.run("instances add bob.example").done();
        assert_eq!(fake.called("WatchOperation"), 2);
    }
}

#[test]
fn a_watch_that_is_refused_is_not_taken_up_again() {
    let fake = accepting(vec![(
        vec![running()],
        WatchEnd::Fail(Status::new(Code::NotFound, "the operation was swept")),
    )]);
    let told = fake.run("instances add bob.example").failed(3);
    assert!(told.contains("swept"), "{told}");
    assert_eq!(fake.called("WatchOperation"), 1);
}

#[test]
fn a_creation_without_an_answer_is_asked_for_again_under_its_id() {
    let fake = Server::start(Script {
        accepted: ended(),
        failing_creations: [Status::unavailable("a moment")].into(),
        ..Script::default()
    });
    fake.run("instances add bob.example").done();
    let creations = fake.asked::<CreateInstanceRequest>();
    let ids: Vec<_> = creations
        .iter()
        .map(|request| request.request_id.clone())
        .collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn a_creation_that_is_never_answered_says_how_to_find_out() {
    let fake = Server::start(Script {
        refuse: Some(Status::unavailable("down for long")),
        ..Script::default()
    });
    let id = "6f1c2a52-6f0e-4d0c-9a3e-0d5c2b1f7a10";
    let told = fake
        .run(&format!("instances add bob.example --request-id {id}"))
        .failed(6);
    assert!(told.contains(&format!("--request-id {id}")), "{told}");
}

#[test]
fn ctrl_c_leaves_the_operation_and_says_how_to_follow_it() {
    let fake = accepting(vec![(vec![running()], WatchEnd::Hang)]);
    let child = fake.hamlet("instances add bob.example").spawn().unwrap();
    fake.wait_for("WatchOperation", 1);
    let status = Command::new("sh")
        .args(["-c", &format!("kill -INT {}", child.id())])
        .status()
        .unwrap();
    assert!(status.success());
    let told = finish(child).failed(130);
    assert!(told.contains("hamlet operations wait op-1"), "{told}");
}

#[test]
fn the_version_says_why_that_of_the_server_is_not_known() {
    let fake = Server::start(Script::default());
    let known = fake.run("version");
    assert_eq!(known.err, "");
    assert!(known.done().contains("9.9.9"));
    let place = tempfile::tempdir().unwrap();
    let unknown = run(hamlet(place.path(), "version"));
    assert!(unknown.err.contains("no hamletd found"), "{unknown:#?}");
    assert!(unknown.done().contains("server  -"));
}
