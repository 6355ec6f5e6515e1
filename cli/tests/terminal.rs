//! What a person sees who sits at a terminal: questions, progress, and a terminal that works afterwards.
#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation is the test failing; other tests use the rest of the support code"
)]

mod support;

use std::{
    io::{Read as _, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use hamlet_proto::{
    google::longrunning::Operation,
    hamlet::apps::v1::{App, InstallAppRequest},
    hamlet::instance::v1::{
        CreateInstanceResult, OperationMetadata, SetPassphraseRequest, Step,
        operation_metadata::Phase, step,
    },
    pack,
};
use support::{
    answers::{changing, ended, instance},
    program::Server,
};
use test_kit::{
    doors::ADMIN_CREDENTIAL,
    eventually_blocking,
    fake::{Script, WatchEnd},
};
use tonic::{Request, Status};

/// A shell at a terminal of its own, made by `script`.
struct Terminal {
    child: Child,
    keyboard: ChildStdin,
    screen: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
}

impl Terminal {
    /// Runs a line in which `hamlet` is the built program.
    fn run(fake: &Server, line: &str) -> Self {
        let file = fake.folder().join("credential");
        std::fs::write(&file, ADMIN_CREDENTIAL).unwrap();
        let line = format!(
            "hamlet() {{ {} \"$@\"; }}; {line}",
            env!("CARGO_BIN_EXE_hamlet")
        );
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--command", &line, "/dev/null"])
            .env("SHELL", "/bin/sh")
            .env("HAMLET_SERVER", fake.url())
            .env("HAMLET_CREDENTIAL_FILE", file)
            .env_remove("HAMLET_DISABLE_INSTANCES_ADD_RM")
            .current_dir(fake.folder())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let screen = Arc::new(Mutex::new(String::new()));
        let mut stdout = child.stdout.take().unwrap();
        let shown = screen.clone();
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read) = stdout.read(&mut bytes)
                && read > 0
            {
                let text = String::from_utf8_lossy(&bytes[..read]);
                shown.lock().unwrap().push_str(&text);
            }
        });
        Self {
            keyboard: child.stdin.take().unwrap(),
            child,
            screen,
            reader,
        }
    }

    /// Waits until something is shown.
    fn until(&self, text: &str) {
        eventually_blocking(&format!("{text:?} on the screen"), || {
            let screen = self.screen.lock().unwrap();
            if screen.contains(text) {
                Ok(())
            } else {
                Err(screen.clone())
            }
        });
    }

    fn type_keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    /// The exit code and all that was shown.
    fn end(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().unwrap();
        drop(self.keyboard);
        self.reader.join().unwrap();
        let screen = self.screen.lock().unwrap().clone();
        (status.code(), screen)
    }
}

/// A call that is no operation is not mute either.
#[test]
fn a_slow_call_says_what_it_waits_for() {
    let fake = changing("create", &CreateInstanceResult::default());
    fake.answer_later(|_: Request<InstallAppRequest>| async {
        std::future::pending::<Result<App, Status>>().await
    });
    let mut terminal = Terminal::run(
        &fake,
        "hamlet apps install bob.example registry://home/stable",
    );
    terminal.until("bob.example: registry://home/stable");
    terminal.type_keys("\u{3}");
    let (_, screen) = terminal.end();
    let told =
        "error: stopped; it may be at work all the same: look with `hamlet apps ls bob.example`";
    assert!(screen.contains(told), "{screen}");
    // The line is gone before anything else is told.
    assert!(screen.contains("\u{1b}[2K"), "{screen}");
}

#[test]
fn a_passphrase_is_asked_for_twice_and_never_shown() {
    let fake = changing("passphrase", &instance("bob.example"));
    let mut terminal = Terminal::run(&fake, "hamlet instances set-passphrase bob.example");
    terminal.until("Passphrase");
    terminal.type_keys("one and a half\n");
    terminal.until("The same again");
    terminal.type_keys("one and a half\n");
    let (code, screen) = terminal.end();
    assert_eq!(code, Some(0), "{screen}");
    assert!(!screen.contains("one and a half"), "{screen}");
    assert_eq!(
        fake.asked::<SetPassphraseRequest>()[0].passphrase,
        "one and a half"
    );
}

#[test]
fn two_that_differ_change_nothing() {
    let result = CreateInstanceResult {
        instance: Some(instance("bob.example")),
        ..CreateInstanceResult::default()
    };
    let fake = changing("create", &result);
    let mut terminal = Terminal::run(
        &fake,
        "hamlet instances add bob.example --passphrase-prompt",
    );
    terminal.until("Passphrase");
    terminal.type_keys("one and a half\n");
    terminal.until("The same again");
    terminal.type_keys("one and a quarter\n");
    let (code, screen) = terminal.end();
    assert_eq!(code, Some(1), "{screen}");
    assert!(
        screen.contains("differ") && !screen.contains("one and"),
        "{screen}"
    );
    assert_eq!(fake.called("CreateInstance"), 0);
}

#[test]
fn ctrl_c_at_a_hidden_question_leaves_a_terminal_that_shows_what_is_typed() {
    let fake = changing("passphrase", &instance("bob.example"));
    // The shell hears Ctrl-C too, and goes on.
    let mut terminal = Terminal::run(
        &fake,
        "trap : INT; hamlet instances set-passphrase bob.example; echo code=$?; stty -a",
    );
    terminal.until("Passphrase");
    terminal.type_keys("half\u{3}");
    let (_, screen) = terminal.end();
    assert!(screen.contains("code=130"), "{screen}");
    assert!(
        screen.contains(" echo ") && !screen.contains(" -echo "),
        "{screen}"
    );
    assert_eq!(fake.called("SetPassphrase"), 0);
}

#[test]
fn a_list_or_check_of_nothing_says_so() {
    let fake = Server::start(Script {
        instances: vec![instance("bob.example")],
        ..Script::default()
    });
    for (words, told) in [
        ("instances fsck bob.example", "no findings in bob.example"),
        ("instances orphans", "there are no orphans"),
        ("operations ls", "there are no such operations"),
        ("apps ls bob.example", "no app is installed"),
        ("konnectors ls bob.example", "no konnector is installed"),
        ("files ls bob.example /", "the directory is empty"),
    ] {
        let (code, screen) = Terminal::run(&fake, &format!("hamlet {words}")).end();
        assert_eq!(code, Some(0), "{words}: {screen}");
        assert!(screen.contains(told), "{words}: {screen}");
    }
}

#[test]
fn a_header_is_that_of_a_table_alone() {
    let fake = Server::start(Script {
        instances: vec![instance("bob.example")],
        ..Script::default()
    });
    for (format, headers) in [
        ("table", 1),
        ("csv", 1),
        ("json", 0),
        ("yaml", 0),
        ("name", 0),
    ] {
        let line = format!("hamlet instances ls -o {format}");
        let (code, screen) = Terminal::run(&fake, &line).end();
        assert_eq!(code, Some(0), "{screen}");
        let found = screen.lines().filter(|line| {
            let line = line.to_lowercase();
            line.contains("domain") && line.contains("locale") && !line.contains("bob.example")
        });
        assert_eq!(found.count(), headers, "{format}: {screen}");
    }
}

#[test]
fn progress_is_shown_step_by_step() {
    let at = |done: usize, phase: Phase, queue: Option<i32>, error: &str| {
        let steps = ["claims", "databases"]
            .iter()
            .enumerate()
            .map(|(of, name)| Step {
                name: (*name).to_owned(),
                state: if of < done {
                    step::State::Done
                } else {
                    step::State::Pending
                }
                .into(),
                duration: None,
                detail: String::new(),
            });
        Operation {
            name: "operations/op-1".to_owned(),
            metadata: Some(pack(&OperationMetadata {
                kind: "create".to_owned(),
                phase: phase.into(),
                steps: steps.collect(),
                queue_position: queue,
                attempt: 2,
                last_error: error.to_owned(),
                ..OperationMetadata::default()
            })),
            ..Operation::default()
        }
    };
    let result = CreateInstanceResult {
        instance: Some(instance("bob.example")),
        ..CreateInstanceResult::default()
    };
    let fake = Server::start(Script {
        accepted: at(0, Phase::Queued, Some(3), ""),
        watches: vec![(
            vec![
                at(0, Phase::Queued, Some(3), ""),
                at(1, Phase::Running, None, ""),
                at(1, Phase::Waiting, None, "the database is away"),
                at(2, Phase::Running, None, ""),
                ended("create", &result),
            ],
            WatchEnd::Stop,
        )]
        .into(),
        ..Script::default()
    });
    let terminal = Terminal::run(&fake, "hamlet instances add bob.example");
    let (code, screen) = terminal.end();
    assert_eq!(code, Some(0), "{screen}");
    let mut rest = screen.as_str();
    for told in [
        "waiting in line: 3 before it",
        "databases",
        "trying again after 2 tries: the database is away",
    ] {
        let at = rest
            .find(told)
            .unwrap_or_else(|| panic!("{told}: {screen}"));
        rest = &rest[at..];
    }
    // The line of progress is gone; what was created is shown, and no step.
    assert!(!screen.contains("claims done"), "{screen}");
    assert!(screen.contains("cozy00"), "{screen}");
}
