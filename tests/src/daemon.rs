//! Runs `hamletd`.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    time::Duration,
};

use test_kit::eventually::eventually_blocking_within;

use crate::{
    cli::Cli,
    programs::{program, root},
};

/// A running `hamletd`. Dropping this value kills it.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    _stdout: BufReader<ChildStdout>,
    data: PathBuf,
    /// The address of the public door, `host:port`.
    pub public: String,
    /// The address of the admin door, `host:port`.
    pub admin: String,
}

/// The settings with which a `hamletd` is started.
#[derive(Clone, Debug)]
pub struct Options {
    data: PathBuf,
    flags: Vec<String>,
    environment: Vec<(&'static str, PathBuf)>,
}

impl Options {
    /// Uses this data folder and free ports.
    #[must_use]
    pub fn new(data: &Path) -> Self {
        Self {
            data: data.to_owned(),
            flags: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// Sets a variable of its environment to a path.
    #[must_use]
    pub fn variable(mut self, name: &'static str, path: &Path) -> Self {
        self.environment.push((name, path.to_owned()));
        self
    }

    /// Adds a flag.
    #[must_use]
    pub fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// The command that starts it.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(program("hamletd"));
        command
            .current_dir(root())
            .arg("--data")
            .arg(&self.data)
            .args(
                ["--listen=", "--admin-listen="]
                    .iter()
                    .filter(|door| !self.flags.iter().any(|flag| flag.starts_with(**door)))
                    .map(|door| format!("{door}127.0.0.1:0")),
            )
            .args(&self.flags)
            .envs(self.environment.iter().map(|(name, path)| (name, path)))
            .stdin(Stdio::null());
        command
    }

    /// Starts it and waits until it is ready. Its log goes to the file `log` beside the data folder.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    pub fn start(&self) -> Daemon {
        let log = self.data.with_extension("log");
        let stderr = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("the log can be written");
        let mut child = self
            .command()
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("hamletd can be run");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("stdout can be read");
        let mut words = line.split_whitespace();
        let doors = (words.next() == Some("ready"))
            .then(|| {
                let public = words.next()?.strip_prefix("public=")?;
                let admin = words.next()?.strip_prefix("admin=")?;
                Some((public.to_owned(), admin.to_owned()))
            })
            .flatten();
        let Some((public, admin)) = doors else {
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            panic!("hamletd said {line:?} instead of ready; its log:\n{log}");
        };
        Daemon {
            child,
            _stdout: stdout,
            data: self.data.clone(),
            public,
            admin,
        }
    }
}

impl Daemon {
    /// A command line for it.
    #[must_use]
    pub fn cli(&self) -> Cli {
        Cli::new(
            format!("http://{}", self.admin),
            self.data.join("admin-credential"),
        )
    }

    /// Its data folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The domain with this name at the public door.
    #[must_use]
    pub fn domain(&self, name: &str) -> String {
        let port = self.public.rsplit(':').next().unwrap_or_default();
        format!("{name}.localhost:{port}")
    }

    /// Kills it with SIGKILL.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it can be waited for");
    }

    /// Sends a signal by its name, such as `TERM`.
    ///
    /// # Panics
    /// When it cannot be sent.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.pid().to_string())
            .status()
            .expect("kill can be run");
        assert!(sent.success());
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// When it does not end in time.
    #[must_use]
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        eventually_blocking_within(patience, "its end", || {
            self.child.try_wait().expect("it can be waited for")
        })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
