//! The typical use: start an installation, administer it, stop it, start it again.

use std::{process::Stdio, time::Duration};

use hamlet_tests::{daemon::Options, programs::root};
use test_kit::eventually_blocking;

#[test]
fn an_instance_is_added_shown_and_destroyed() {
    let place = tempfile::tempdir().unwrap();
    let daemon = Options::new(&place.path().join("data")).start();
    let cli = daemon.cli();
    let bob = daemon.domain("bob");

    let added = cli
        .run(&format!(
            "instances add {bob} --locale de --apps home --public-name Bob --email bob@example.org"
        ))
        .done();
    assert!(added.out.contains("registerToken="), "{added:#?}");

    assert!(cli.run("instances ls").done().out.contains(&bob));
    assert_eq!(
        cli.run("instances count -o json").done().json()["count"],
        "1"
    );

    let shown = cli
        .run(&format!("instances show {bob} -o json"))
        .done()
        .json();
    assert_eq!(shown["domain"], bob);
    assert_eq!(shown["locale"], "de");
    assert_eq!(shown["publicName"], "Bob");
    assert_eq!(shown["email"], "bob@example.org");
    assert_eq!(shown["state"], "STATE_ONBOARDING");
    assert_eq!(shown["indexesVersion"], 38);

    let tree = cli.run(&format!("files tree {bob}")).done().out;
    for directory in ["Administrativ", "Fotos", ".cozy_trash"] {
        assert!(tree.contains(directory), "{directory} in\n{tree}");
    }
    let apps = cli
        .run(&format!("apps ls {bob} -o json"))
        .done()
        .json_lines();
    assert_eq!(apps[0]["slug"], "home");
    assert_eq!(apps[0]["state"], "ready");

    let refused = cli.run_typing(&format!("instances destroy {bob}"), "alice\n");
    assert_eq!(refused.code, 1, "{refused:#?}");
    assert!(cli.run(&format!("instances show {bob}")).code == 0);

    let destroyed = cli.run_typing(&format!("instances destroy {bob}"), &format!("{bob}\n"));
    assert_eq!(destroyed.code, 0, "{destroyed:#?}");
    assert_eq!(cli.run(&format!("instances show {bob}")).code, 3);
    assert_eq!(
        cli.run("instances count -o json").done().json()["count"],
        serde_json::Value::Null
    );

    // The name is free again, and the new instance shares nothing with the old one.
    let again = cli
        .run(&format!("instances add {bob} -o json"))
        .done()
        .json();
    assert_ne!(again["instance"]["prefix"], shown["prefix"]);
}

#[test]
fn a_second_start_of_the_demo_finds_the_same_instance() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let log = place.path().join("data.log");
    // A relative path counts from the folder in which the program was started.
    let options = Options::new(&data)
        .flag("--demo")
        .flag("--app-folder=examples/apps");
    let mut daemon = options.start();
    let told = eventually_blocking("the demonstration", || {
        let told = std::fs::read_to_string(&log).unwrap();
        told.contains("cargo hamlet instances ls").then_some(told)
    });
    assert!(told.contains("/?registerToken="), "{told}");
    let apps = daemon
        .cli()
        .run(&format!("apps ls {}", daemon.domain("alice")))
        .done();
    assert!(apps.out.contains("home"), "{apps:?} {told}");
    let shown = daemon
        .cli()
        .run(&format!(
            "instances show {} -o json",
            daemon.domain("alice")
        ))
        .done()
        .json();
    assert_eq!(shown["locale"], "fr");
    daemon.signal("TERM");
    assert!(daemon.wait(Duration::from_secs(10)).success());
    assert!(!data.join("admin-address").exists());

    // The second start uses another port. Names are compared without their port.
    let daemon = options.start();
    eventually_blocking("the second demonstration", || {
        let told = std::fs::read_to_string(&log).unwrap();
        told.contains("is there already").then_some(())
    });
    let again = daemon
        .cli()
        .run("instances show alice.localhost -o json")
        .done()
        .json();
    assert_eq!(again["prefix"], shown["prefix"]);
    assert_eq!(again["id"], shown["id"]);
}

#[test]
fn both_signals_stop_it_cleanly() {
    for signal in ["INT", "TERM"] {
        let place = tempfile::tempdir().unwrap();
        let mut daemon = Options::new(&place.path().join("data")).start();
        let _ = daemon.cli().run("instances ls").done();
        daemon.signal(signal);
        // The promise is five seconds. The rest is for slow machines.
        assert!(daemon.wait(Duration::from_secs(15)).success(), "{signal}");
    }
}

/// Asserts that the start fails with one clear line, exit code 1 and no standard output. Returns the line.
fn refusal(options: &Options) -> String {
    let output = options
        .command()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(output.stdout.is_empty());
    let errors: Vec<_> = told
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(errors.len(), 1, "{told}");
    errors[0].to_owned()
}

#[test]
fn a_port_in_use_is_reported_in_one_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let place = tempfile::tempdir().unwrap();
    for flag in ["admin-listen", "listen"] {
        let told = refusal(&Options::new(place.path()).flag(format!("--{flag}={address}")));
        assert!(told.contains(&address) && told.contains(flag), "{told}");
    }
}

#[test]
fn an_unusable_folder_is_reported_in_one_line() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("file");
    std::fs::write(&file, "").unwrap();
    let told = refusal(&Options::new(&file));
    assert!(told.contains(file.to_str().unwrap()), "{told}");

    let data = place.path().join("data");
    let _daemon = Options::new(&data).start();
    let told = refusal(&Options::new(&data));
    assert!(told.contains("in use by another process"), "{told}");
}

#[test]
fn an_invalid_configuration_is_reported_with_its_line() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("hamlet.toml");
    std::fs::write(&file, "# ours\nlisten = \"nowhere\"\n").unwrap();
    let options = Options::new(&place.path().join("data"));
    // The flag of the tests would override the file, and hide the error in it.
    let output = std::process::Command::new(options.command().get_program())
        .current_dir(root())
        .arg("--config")
        .arg(&file)
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("hamlet.toml:2: listen:"), "{told}");
}

#[test]
fn an_app_that_fails_does_not_fail_the_instance() {
    let place = tempfile::tempdir().unwrap();
    let daemon = Options::new(&place.path().join("data")).start();
    let bob = daemon.domain("bob");
    let added = daemon
        .cli()
        .run(&format!("instances add {bob} --apps home,nosuchapp"));
    assert_eq!(added.code, 1, "{added:#?}");
    assert!(added.err.contains("nosuchapp"), "{added:#?}");
    let apps = daemon.cli().run(&format!("apps ls {bob} -o name")).done();
    assert!(apps.out.contains("home") && !apps.out.contains("nosuchapp"));
}

#[test]
fn a_name_is_given_to_one_instance_only() {
    let place = tempfile::tempdir().unwrap();
    let daemon = Options::new(&place.path().join("data")).start();
    let cli = daemon.cli();
    let domain = daemon.domain("carol");
    let racers: Vec<_> = (0..12)
        .map(|_| {
            let (cli, domain) = (cli.clone(), domain.clone());
            std::thread::spawn(move || cli.run(&format!("instances add {domain}")))
        })
        .collect();
    let mut codes: Vec<_> = racers
        .into_iter()
        .map(|racer| racer.join().unwrap().code)
        .collect();
    codes.sort_unstable();
    assert_eq!(codes[0], 0, "{codes:?}");
    assert!(codes[1..].iter().all(|&code| code == 4), "{codes:?}");
    assert_eq!(
        cli.run("instances count -o json").done().json()["count"],
        "1"
    );
}
