//! A gateway that runs as a process of its own, so that what it uses and counts is its own.

use std::{
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
};

use hamlet_proto::hamlet::instance::v1::Backend;
use test_kit::{
    doors::cluster_key,
    fake::{Directory, active_instance},
};

use super::{Web, ask_until};

/// The file in its folder with what it logs.
const LOG: &str = "log";

/// A gateway, and the backend of `alice.example`.
pub(crate) struct Process {
    gateway: Child,
    pub(crate) public: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) metrics: SocketAddr,
    pub(crate) backend: SocketAddr,
    pub(crate) directory: Directory,
    _web: Web,
    folder: tempfile::TempDir,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.gateway.kill().ok();
        self.gateway.wait().ok();
    }
}

impl Process {
    pub(crate) async fn start() -> Self {
        let (directory, web) = (Directory::start(), Web::start().await);
        let _ = directory.tell_changes();
        let mut alice = active_instance("alice.example");
        alice.backend = Some(Backend {
            addresses: vec![format!("http://{}", web.address)],
            own: Vec::new(),
        });
        directory.set("alice.example", alice);
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let free = || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap()
        };
        let (public, admin, metrics) = (free(), free(), free());
        let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
        for service in ["instance", "files", "apps"] {
            command.arg(format!(
                "--{service}-service=http://{}",
                directory.address()
            ));
        }
        let gateway = command
            .arg(format!("--listen={public}"))
            .arg(format!("--admin-listen={admin}"))
            .arg(format!("--metrics-listen={metrics}"))
            .arg(format!(
                "--cluster-key-file={}",
                write("key", cluster_key().expose())
            ))
            .arg(format!(
                "--admin-credential-file={}",
                write("credential", "the credential of a measure")
            ))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join(LOG)).unwrap())
            .spawn()
            .unwrap();
        ask_until(
            public,
            "GET /files/nothing HTTP/1.1\r\nhost: alice.example\r\nconnection: close\r\n\r\n",
            "nothing here",
        )
        .await;
        Self {
            gateway,
            public,
            admin,
            metrics,
            backend: web.address,
            directory,
            _web: web,
            folder,
        }
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join(LOG)).unwrap()
    }

    /// The memory of the gateway now, or the most it ever had, in KiB.
    pub(crate) fn memory(&self, which: &str) -> i64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.gateway.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(which)).unwrap();
        let number = line.split_whitespace().nth(1).unwrap();
        number.parse().unwrap()
    }
}
