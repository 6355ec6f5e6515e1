//! A `hamletd` that sends mail to a server of the test.

use std::fs;

use reqwest::StatusCode;
use tempfile::TempDir;
use test_kit::mail::{MailSink, Received};

use crate::{
    browser::Browser,
    daemon::{Daemon, Options},
    programs::root,
};

/// The passphrase of owners who are made with one.
pub const PASSPHRASE: &str = "four words for nobody";

/// A `hamletd` whose owners get mail, which a server of the test keeps.
#[derive(Debug)]
pub struct Mailed {
    /// The folder of everything.
    pub place: TempDir,
    /// The installation.
    pub daemon: Daemon,
    /// The mails.
    pub sink: MailSink,
}

impl Mailed {
    /// Starts it with a mail server that speaks no TLS.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn start() -> Self {
        Self::start_with(MailSink::start().await, "security = 'none'")
    }

    /// Starts it with more lines for the settings of the mail server.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_with(sink: MailSink, lines: &str) -> Self {
        let place = tempfile::tempdir().expect("a folder");
        Self::start_in(place, sink, lines, "127.0.0.1")
    }

    /// Starts it in a folder, whose file `ca` has the authority of certificates that are trusted, if it is there. `server` is
    /// the name of the mail server.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start_in(place: TempDir, sink: MailSink, lines: &str, server: &str) -> Self {
        let config = place.path().join("hamlet.toml");
        let text = format!(
            "[contexts.default]\noperator_name = 'Our clouds'\noperator_contact = 'help@example.org'\n\
             [contexts.default.mail]\nserver = '{server}'\nport = {}\nfrom = 'noreply@clouds.example'\n\
             reply_to = 'help@example.org'\n{lines}\n",
            sink.address.port()
        );
        fs::write(&config, text).expect("the configuration can be written");
        let apps = root().join("examples/apps");
        let mut options = Options::new(&place.path().join("data"))
            .flag(format!("--app-folder={}", apps.display()))
            .flag(format!("--config={}", config.display()))
            .flag("--trusted-proxies=127.0.0.1/32");
        let authority = place.path().join("ca");
        if authority.exists() {
            options = options.variable("SSL_CERT_FILE", &authority);
        }
        let daemon = options.start();
        Self {
            place,
            daemon,
            sink,
        }
    }

    /// Adds an instance. Returns its domain.
    #[must_use]
    pub fn add(&self, name: &str, flags: &str) -> String {
        let domain = self.daemon.domain(name);
        let add = format!("instances add {domain} {flags}");
        let _ = self.daemon.cli().run(&add).done();
        domain
    }

    /// Adds an instance whose owner has chosen [`PASSPHRASE`].
    ///
    /// # Panics
    /// When the passphrase cannot be chosen.
    pub async fn add_owner(&self, name: &str, flags: &str) -> String {
        let domain = self.add(name, flags);
        let link = format!("instances register-link {domain}");
        let link = self.daemon.cli().run(&link).done().out;
        let (_, token) = link.trim().split_once("registerToken=").expect("a link");
        let fields = [("register_token", token), ("passphrase", PASSPHRASE)];
        let mut browser = self.browser(&domain);
        let chosen = browser.post("/settings/passphrase", &fields).await;
        assert_eq!(chosen.status, StatusCode::SEE_OTHER, "{chosen:?}");
        domain
    }

    /// A token with which an owner's settings may be changed.
    #[must_use]
    pub fn token(&self, domain: &str) -> String {
        let token = format!("instances token-cli {domain} io.cozy.settings");
        self.daemon.cli().run(&token).done().out.trim().to_owned()
    }

    /// What the installation has logged.
    ///
    /// # Panics
    /// When there is no log.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.place.path().join("data.log")).expect("a log")
    }

    /// A browser at an instance.
    #[must_use]
    pub fn browser(&self, domain: &str) -> Browser {
        Browser::new(&self.daemon.public, domain)
    }

    /// The next mail that is no news of a login. `mails` counts those that were read.
    pub async fn next_mail(&self, mails: &mut usize) -> Received {
        loop {
            *mails += 1;
            let mail = self.sink.mail(*mails).await;
            if !mail.subject.contains("new login") {
                return mail;
            }
        }
    }
}

/// The path of a link, with its query.
///
/// # Panics
/// When it is no link.
#[must_use]
pub fn path(link: &str) -> &str {
    let (_, rest) = link.split_once("://").expect("a link");
    &rest[rest.find('/').expect("a path")..]
}

/// A parameter of a link; empty when it has none of this name.
#[must_use]
pub fn query<'a>(link: &'a str, name: &str) -> &'a str {
    let found = link.split(['?', '&']).find_map(|pair| {
        let (of, value) = pair.split_once('=')?;
        (of == name).then_some(value)
    });
    found.unwrap_or_default()
}
