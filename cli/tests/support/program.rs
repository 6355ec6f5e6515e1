//! Runs the built `hamlet` against a scripted server.

use std::{
    io::Write as _,
    ops::{Deref, DerefMut},
    path::Path,
    process::{Child, Command, Stdio},
};

use hamlet_proto::hamlet::files::v1::files_service_server;
use test_kit::{
    doors::ADMIN_CREDENTIAL,
    fake::{Fake, Script},
};

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    /// The output, of a run that must have succeeded.
    pub(crate) fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.out
    }

    /// What was told, of a run that must have ended with `code` and one line that begins with `error: `.
    pub(crate) fn failed(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:#?}");
        let errors = self.err.lines().filter(|line| line.starts_with("error: "));
        assert_eq!(errors.count(), 1, "{self:#?}");
        self.err
    }
}

/// `hamlet` in a folder, with nothing of this machine's environment that it reads.
pub(crate) fn hamlet(folder: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hamlet"));
    command
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .env("XDG_CONFIG_HOME", folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for variable in [
        "HAMLET_AT",
        "HAMLET_SERVER",
        "HAMLET_CREDENTIAL_FILE",
        "HAMLET_CA_FILE",
        "HAMLET_DATA",
        "HAMLET_DISABLE_INSTANCES_ADD_RM",
    ] {
        command.env_remove(variable);
    }
    command
}

/// Runs a command to its end.
pub(crate) fn run(mut command: Command) -> Run {
    finish(command.spawn().unwrap())
}

/// Waits for a command's end.
pub(crate) fn finish(child: Child) -> Run {
    let output = child.wait_with_output().unwrap();
    Run {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// An admin door that answers as a script says, and a folder in which `hamlet` runs.
pub(crate) struct Server {
    fake: Fake,
    folder: tempfile::TempDir,
}

impl Deref for Server {
    type Target = Fake;

    fn deref(&self) -> &Fake {
        &self.fake
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Fake {
        &mut self.fake
    }
}

impl Server {
    /// Starts a server whose files service is not healthy, and whose apps service tells nothing about its health.
    pub(crate) fn start(script: Script) -> Self {
        let fake = Fake::admin_door();
        fake.play(script);
        fake.report_health(files_service_server::SERVICE_NAME, false);
        Self {
            fake,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// The folder in which `hamlet` runs.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// `hamlet` with this server and its credential.
    pub(crate) fn hamlet(&self, arguments: &str) -> Command {
        let file = self.folder().join("credential");
        std::fs::write(&file, ADMIN_CREDENTIAL).unwrap();
        let mut command = hamlet(self.folder(), arguments);
        command
            .env("HAMLET_SERVER", self.url())
            .env("HAMLET_CREDENTIAL_FILE", file);
        command
    }

    /// Runs `hamlet` with this server and words that may hold spaces.
    pub(crate) fn run_words(&self, words: &[&str]) -> Run {
        let mut command = self.hamlet("");
        command.args(words);
        run(command)
    }

    /// Runs `hamlet` with this server to its end.
    pub(crate) fn run(&self, arguments: &str) -> Run {
        run(self.hamlet(arguments))
    }

    /// Runs `hamlet` with this server, typing something.
    pub(crate) fn run_typing(&self, arguments: &str, typed: &str) -> Run {
        let mut child = self
            .hamlet(arguments)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        // A program that has ended before reads nothing.
        let _ = child.stdin.take().unwrap().write_all(typed.as_bytes());
        finish(child)
    }
}
