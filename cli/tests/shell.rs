//! Manuals, and completion in a shell.
#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed expectation is the test failing; other tests use the rest of the support code"
)]

mod support;

use std::{
    path::Path,
    process::{Command, Stdio},
};

use hamlet_proto::hamlet::instance::v1::Instance;
use support::{
    answers::instance,
    program::{Server, hamlet, run},
};
use test_kit::fake::Script;

#[test]
fn every_command_has_a_manual_and_needs_no_server_for_it() {
    let place = tempfile::tempdir().unwrap();
    for command in [
        "instances add",
        "instances ls",
        "instances show",
        "instances count",
        "instances modify",
        "instances destroy",
        "instances undelete",
        "instances block",
        "instances unblock",
        "instances set-disk-quota",
        "instances set-passphrase",
        "instances auth-mode",
        "instances debug",
        "instances show-db-prefix",
        "instances token-cli",
        "instances token-app",
        "instances token-konnector",
        "instances token-oauth",
        "instances refresh-token-oauth",
        "instances clean-sessions",
        "instances revoke-tokens",
        "instances fsck",
        "instances register-link",
        "instances reset-link",
        "instances orphans",
        "operations ls",
        "operations show",
        "operations wait",
        "operations cancel",
        "operations retry",
        "files tree",
        "files ls",
        "apps ls",
        "apps show",
        "status",
        "completions",
    ] {
        let manual = run(hamlet(place.path(), &format!("{command} --help"))).done();
        assert!(manual.contains(&format!("hamlet {command}")), "{manual}");
        assert!(manual.contains("Examples:"), "{manual}");
    }
    let script = run(hamlet(place.path(), "completions bash")).done();
    assert!(script.contains("HAMLET_COMPLETE"));
}

/// Bash breaks words at `:` and `=`, as domains and flags have them within.
#[test]
fn bash_completes_what_has_a_colon_or_an_equals_sign_within() {
    if Command::new("bash").arg("--version").output().is_err() {
        return;
    }
    let built = Path::new(env!("CARGO_BIN_EXE_hamlet")).parent().unwrap();
    let path = format!("{}:{}", built.display(), std::env::var("PATH").unwrap());
    let fake = Server::start(Script {
        instances: vec![instance("bob.example:8080"), instance("bob.example:9090")],
        ..Script::default()
    });
    let script = fake.run("completions bash").done();
    // What bash hands over, and what it puts in the place of the last of these words.
    for (broken, offered) in [
        (
            &["hamlet", " instances", " show", " bob"][..],
            "bob.example:8080,bob.example:9090",
        ),
        (
            &["hamlet", " instances", " show", " bob.example", ":"],
            "8080,9090",
        ),
        (
            &["hamlet", " instances", " show", " bob.example", ":", "9"],
            "9090",
        ),
        (
            &[
                "hamlet",
                " instances",
                " show",
                " bob.example",
                ":",
                "9090",
                " --fields",
                "=",
                "disk",
            ],
            "diskQuotaBytes",
        ),
        (&["hamlet", " -o", " js"], "json"),
        (&["hamlet", "  instances", " "], "add"),
        // Nothing is broken within quotes.
        (
            &["hamlet", " instances", " show", " \"bob.example:9"],
            "bob.example:9090",
        ),
    ] {
        let last = broken.last().unwrap().trim();
        let last = last.trim_start_matches('"');
        let words: Vec<_> = broken
            .iter()
            .map(|word| format!("'{}'", word.trim()))
            .collect();
        let asked = format!(
            "{script}\nCOMP_LINE='{}'\nCOMP_WORDS=({})\nCOMP_CWORD={}\nCOMP_TYPE=9\n_hamlet_complete hamlet '{last}'\n\
             IFS=,\nprintf '%s' \"${{COMPREPLY[*]}}\"",
            broken.concat(),
            words.join(" "),
            words.len() - 1,
        );
        let as_hamlet = fake.hamlet("");
        let mut command = Command::new("bash");
        command.args(["--norc", "-c", &asked]).env("PATH", &path);
        for (variable, value) in as_hamlet.get_envs() {
            command.env(variable, value.unwrap_or_default());
        }
        command
            .current_dir(fake.folder())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let told = run(command).done();
        let starts = told.split(',').next() == Some(offered);
        assert!(told == offered || starts, "{broken:?}: {told}");
    }
}

#[test]
fn a_shell_completes_commands_names_of_fields_and_domains() {
    let fake = Server::start(Script {
        instances: vec![
            Instance {
                domain_aliases: vec!["robert.example".to_owned()],
                ..instance("bob.example")
            },
            instance("alice.example"),
        ],
        ..Script::default()
    });
    let complete = |words: &[&str]| {
        let mut command = fake.hamlet("--");
        command.env("HAMLET_COMPLETE", "fish").arg("hamlet");
        let offered = run({
            command.args(words);
            command
        });
        let lines: Vec<String> = offered.done().lines().map(str::to_owned).collect();
        let words = lines.iter().filter_map(|line| line.split('\t').next());
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    assert!(complete(&["instances", "reg"]).contains(&"register-link".to_owned()));
    assert_eq!(complete(&["instances", "show", "a"]), ["alice.example"]);
    assert_eq!(complete(&["instances", "add", "a"]), Vec::<String>::new());

    // Each command once, by its name; an alias only to whoever types what only it begins with.
    for (typed, offered) in [
        (["inst"].as_slice(), ["instances"].as_slice()),
        (&["comp"], &["completions"]),
        (&["konnector"], &["konnectors"]),
        (&["instances", "l"], &["ls"]),
        (&["instances", "li"], &["list"]),
        (&["instance", "de"], &["destroy", "debug"]),
        (&["operations", "l"], &["ls"]),
    ] {
        assert_eq!(complete(typed), offered, "{typed:?}");
    }
    // Aliases of instances, where a command takes them.
    assert_eq!(complete(&["instances", "show", "r"]), ["robert.example"]);
    let all = complete(&["instances", "show", ""]);
    assert!(!all.contains(&"robert.example".to_owned()), "{all:?}");
    for only_main in [
        ["instances", "destroy", "r"].as_slice(),
        &["operations", "ls", "--domain", "r"],
        &["instances", "modify", "bob.example", "--old-domain", ""],
    ] {
        assert_eq!(complete(only_main), Vec::<String>::new(), "{only_main:?}");
    }
    let clearable = complete(&["instances", "modify", "bob.example", "--unset", "settings"]);
    assert_eq!(clearable, ["settings"]);
    let fields = complete(&["instances", "ls", "--fields", "domain,disk"]);
    assert_eq!(fields, ["domain,diskQuotaBytes"]);

    // Without a server there is nothing to offer, and nothing is said.
    let place = tempfile::tempdir().unwrap();
    let mut command = hamlet(place.path(), "-- hamlet instances show a");
    command.env("HAMLET_COMPLETE", "fish");
    let alone = run(command);
    assert_eq!((alone.code, alone.err.as_str()), (Some(0), ""));
}
