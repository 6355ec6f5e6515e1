//! Runs the command line as a user does.

use std::{
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::programs::program;

/// Runs `hamlet` against one installation.
#[derive(Clone, Debug)]
pub struct Cli {
    server: String,
    credential_file: PathBuf,
}

/// The result of a command.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The exit code; -1 when a signal ended the command.
    pub code: i32,
    /// What it printed on standard output.
    pub out: String,
    /// What it printed on standard error.
    pub err: String,
}

impl Answer {
    /// That of a program that has ended.
    #[must_use]
    pub fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Returns the result of a successful command.
    ///
    /// # Panics
    /// When the command failed.
    #[must_use]
    pub fn done(self) -> Self {
        assert_eq!(self.code, 0, "exit code; it printed: {self:#?}");
        self
    }

    /// Standard output, parsed as one JSON document.
    ///
    /// # Panics
    /// When it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// Standard output, parsed as one JSON document per line.
    ///
    /// # Panics
    /// When a line is not JSON.
    #[must_use]
    pub fn json_lines(&self) -> Vec<Value> {
        self.out
            .lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
            })
            .collect()
    }
}

impl Cli {
    /// A command line for the installation at `server` (`http://host:port`).
    #[must_use]
    pub fn new(server: String, credential_file: PathBuf) -> Self {
        Self {
            server,
            credential_file,
        }
    }

    /// The command, not started yet.
    #[must_use]
    pub fn command(&self, words: &str) -> Command {
        let mut command = Command::new(program("hamlet"));
        command
            .args(words.split_whitespace())
            .env_remove("HAMLET_AT")
            .env_remove("HAMLET_CA_FILE")
            .env("HAMLET_SERVER", &self.server)
            .env("HAMLET_CREDENTIAL_FILE", &self.credential_file)
            .stdin(Stdio::null());
        command
    }

    /// Runs `hamlet` with these arguments and waits for it to exit.
    ///
    /// # Panics
    /// When the program cannot be started.
    #[must_use]
    pub fn run(&self, words: &str) -> Answer {
        Answer::of(&self.command(words).output().expect("hamlet can be run"))
    }

    /// As [`Self::run`], with text on standard input.
    ///
    /// # Panics
    /// When the program cannot be started.
    #[must_use]
    pub fn run_typing(&self, words: &str, typed: &str) -> Answer {
        use std::io::Write as _;
        let mut child = self
            .command(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("hamlet can be run");
        if let Some(mut stdin) = child.stdin.take() {
            // A command that fails early does not read its input.
            let _ = stdin.write_all(typed.as_bytes());
        }
        Answer::of(&child.wait_with_output().expect("hamlet ends"))
    }
}
