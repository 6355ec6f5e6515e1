//! Runs the program, and provides databases for it.

pub(crate) mod nodes;

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use embedded_couchdb::Config;
use test_kit::database::Embedded;

/// The administrator's password.
pub(crate) const PASSWORD: &str = "never-to-be-shown";

/// The exit code and output of the program.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs the program with these arguments and waits for it to exit.
pub(crate) fn run<'a>(words: impl IntoIterator<Item = &'a str>) -> Told {
    let output = Command::new(env!("CARGO_BIN_EXE_hamlet-setup"))
        .args(words)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .expect("hamlet-setup can be run");
    Told {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs a command for these nodes.
pub(crate) async fn couchdb(
    command: &'static str,
    password_file: &Path,
    patience: u32,
    nodes: Vec<String>,
) -> Told {
    let file = password_file.to_str().unwrap().to_owned();
    tokio::task::spawn_blocking(move || {
        let patience = patience.to_string();
        let mut words = vec![
            command,
            "--couchdb-password-file",
            &file,
            "--patience",
            &patience,
        ];
        words.extend(nodes.iter().map(String::as_str));
        run(words)
    })
    .await
    .unwrap()
}

/// A running single-node database.
pub(crate) struct SingleNode {
    pub(crate) url: String,
    pub(crate) password_file: PathBuf,
    _folder: tempfile::TempDir,
    _server: Embedded,
}

impl SingleNode {
    pub(crate) async fn set_up<'a>(&self, nodes: impl IntoIterator<Item = &'a str>) -> Told {
        let nodes = nodes.into_iter().map(str::to_owned).collect();
        couchdb("couchdb", &self.password_file, 30, nodes).await
    }
}

pub(crate) async fn single_node() -> SingleNode {
    let folder = tempfile::tempdir().unwrap();
    let password_file = folder.path().join("password");
    std::fs::write(&password_file, PASSWORD).unwrap();
    let config = Config::new(folder.path().join("data"), "admin", PASSWORD);
    let server = Embedded::open(config).await;
    SingleNode {
        url: format!("http://{}/", server.address()),
        password_file,
        _folder: folder,
        _server: server,
    }
}
