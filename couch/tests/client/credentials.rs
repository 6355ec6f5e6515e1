//! A password that changes while it is in use.

use std::fs;
use std::time::Duration;

use couch::{Couch, CouchConfig, Error};
use embedded_couchdb::Config;
use secret::{Keyring, Rule};
use test_kit::{database::Embedded, eventually};

/// A server and a client, each with its own file of the password.
struct Place {
    folder: tempfile::TempDir,
    _server: Embedded,
    couch: Couch,
    /// Somebody who knows the first password only.
    outdated: Couch,
}

const LONG: Duration = Duration::from_secs(3600);

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name| {
            let path = folder.path().join(name);
            fs::write(&path, "first").unwrap();
            Keyring::open(&path, LONG, Rule::Line).unwrap()
        };
        let mut config = Config::new(folder.path().join("data"), "admin", "");
        // The server's overlap is none, so that it refuses as a CouchDB does.
        let path = folder.path().join("server");
        fs::write(&path, "first").unwrap();
        config.password = Keyring::open(&path, Duration::ZERO, Rule::Line).unwrap();
        let server = Embedded::open(config).await;
        let mut settings = CouchConfig::new(format!("http://{}", server.address()));
        settings.user = Some("admin".to_owned());
        settings.password = Some(file("client"));
        let couch = Couch::connect(&settings).unwrap();
        couch.up().await.unwrap();
        let outdated = Couch::connect(&settings.with_credentials("admin", "first")).unwrap();
        Self {
            folder,
            _server: server,
            couch,
            outdated,
        }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    /// Waits until the server, which reads its file now and then, refuses the first password. Does
    /// `meanwhile` again and again.
    async fn until_the_first_is_refused(&self, meanwhile: impl AsyncFn()) {
        eventually("the first password is refused", async || {
            meanwhile().await;
            match self.outdated.up().await {
                Err(Error::Unauthorized { .. }) => true,
                other => {
                    other.unwrap();
                    false
                }
            }
        })
        .await;
    }
}

#[tokio::test]
async fn no_call_fails_when_the_new_password_is_announced_first() {
    let place = Place::new().await;
    // In the file of the client both, the new one first: the server refuses it and takes the old one.
    place.write("client", "second\nfirst\n");
    place.couch.up().await.unwrap();
    place.write("server", "second\n");
    let calls = async || place.couch.up().await.unwrap();
    place.until_the_first_is_refused(calls).await;
    calls().await;
    place.write("client", "second\n");
    place.couch.up().await.unwrap();
}

#[tokio::test]
async fn a_refused_password_is_read_again_before_giving_up() {
    let place = Place::new().await;
    place.write("server", "second");
    place.until_the_first_is_refused(async || {}).await;
    place.write("client", "second");
    place.couch.up().await.unwrap();
}

#[tokio::test]
async fn a_password_that_was_refused_is_not_tried_first_again() {
    let place = Place::new().await;
    place.write("client", "second\nfirst\n");
    // That call takes one request more.
    eventually("the new password is tried once", async || {
        let before = place.couch.requests();
        place.couch.up().await.unwrap();
        place.couch.requests() - before > 2
    })
    .await;
    let before = place.couch.requests();
    place.couch.up().await.unwrap();
    assert_eq!(place.couch.requests() - before, 2);
}
