//! Typing commands as a person does.

use std::{
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::programs::program;

/// A terminal at which somebody administers one installation.
#[derive(Clone, Debug)]
pub struct Cli {
    server: String,
    credential_file: PathBuf,
}

/// What a command answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its exit code; -1 when a signal ended it.
    pub code: i32,
    /// What it printed on standard output.
    pub out: String,
    /// What it printed on standard error.
    pub err: String,
}

impl Answer {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The same, when the command did what was asked.
    ///
    /// # Panics
    /// When it did not.
    #[must_use]
    pub fn done(self) -> Self {
        assert_eq!(self.code, 0, "exit code; it printed: {self:#?}");
        self
    }

    /// Its standard output as one JSON document.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// Its standard output as one JSON document a line.
    ///
    /// # Panics
    /// When a line is none.
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
    /// A terminal for the installation at `server` (`http://host:port`).
    #[must_use]
    pub fn new(server: String, credential_file: PathBuf) -> Self {
        Self {
            server,
            credential_file,
        }
    }

    /// The command, ready to be run or changed.
    #[must_use]
    pub fn command(&self, words: &str) -> Command {
        let mut command = Command::new(program("hamlet"));
        command
            .args(words.split_whitespace())
            .env("HAMLET_SERVER", &self.server)
            .env("HAMLET_CREDENTIAL_FILE", &self.credential_file)
            .stdin(Stdio::null());
        command
    }

    /// Types `hamlet` and these words, and waits for the answer.
    ///
    /// # Panics
    /// When the program cannot be run.
    #[must_use]
    pub fn run(&self, words: &str) -> Answer {
        Answer::of(&self.command(words).output().expect("hamlet can be run"))
    }

    /// The same, with something typed on standard input.
    ///
    /// # Panics
    /// When the program cannot be run.
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
            // A command that refuses at once reads nothing.
            let _ = stdin.write_all(typed.as_bytes());
        }
        Answer::of(&child.wait_with_output().expect("hamlet ends"))
    }
}
