//! The program as a process that can be killed.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is the test failing; not every test uses every part"
)]

use std::{
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, Command},
};

use super::support::Client;

/// A running server.
pub(crate) struct Program {
    pub(crate) client: Client,
    pub(crate) child: Child,
}

pub(crate) fn command(data: &Path, extra: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_embedded-couchdb"));
    command
        .args(["--listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .args(extra)
        .env("HAMLET_COUCHDB_USER", "admin")
        .env("HAMLET_COUCHDB_PASSWORD", "password")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

impl Program {
    /// Starts the program and waits until it serves.
    pub(crate) async fn start(data: &Path, extra: &[&str]) -> Self {
        let mut child = command(data, extra).spawn().unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let read = out.read_line(&mut line);
        tokio::time::timeout(Duration::from_secs(30), read)
            .await
            .expect("ready within 30 s")
            .unwrap();
        let address = line.trim().strip_prefix("ready http://").map(str::to_owned);
        let Some(address) = address else {
            let mut why = String::new();
            child
                .stderr
                .take()
                .unwrap()
                .read_to_string(&mut why)
                .await
                .unwrap();
            panic!("not ready: {line}{why}");
        };
        Self {
            client: Client::new(&address),
            child,
        }
    }

    /// `kill -9`
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Sends `SIGTERM` and returns the exit status.
    pub(crate) async fn terminate(mut self) -> ExitStatus {
        let id = self.child.id().unwrap().to_string();
        let sent = Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .await
            .unwrap();
        assert!(sent.success());
        tokio::time::timeout(Duration::from_secs(5), self.child.wait())
            .await
            .expect("an end within 5 s")
            .unwrap()
    }
}

/// The exit code and the error message of a start that fails.
pub(crate) async fn refused(data: &Path, extra: &[&str]) -> (i32, String) {
    let output = tokio::time::timeout(Duration::from_secs(30), command(data, extra).output());
    let output = output.await.expect("a refusal within 30 s").unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}
