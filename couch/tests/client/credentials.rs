//! Changing the password while it is in use.

use std::fs;
use std::time::Duration;

use couch::{Couch, CouchConfig, Error};
use embedded_couchdb::Config;
use secret::{Keyring, Rule};
use test_kit::{database::Embedded, eventually};

/// A server and a client, each with its own password file.
struct RotatedPassword {
    folder: tempfile::TempDir,
    _server: Embedded,
    couch: Couch,
    /// A client with the first password only.
    outdated: Couch,
}

const LONG: Duration = Duration::from_secs(3600);

impl RotatedPassword {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = |name| {
            let path = folder.path().join(name);
            fs::write(&path, "first").unwrap();
            Keyring::open(&path, LONG, Rule::Line).unwrap()
        };
        let mut config = Config::new(folder.path().join("data"), "admin", "");
        // Without an overlap the server refuses the old password at once, as CouchDB does.
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

    /// Calls `meanwhile` repeatedly until the server has read its password file again and refuses the first
    /// password.
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
async fn no_call_fails_if_the_client_learns_the_new_password_first() {
    let setup = RotatedPassword::new().await;
    // The client knows both passwords. The server refuses the new one and accepts the old one.
    setup.write("client", "second\nfirst\n");
    setup.couch.up().await.unwrap();
    setup.write("server", "second\n");
    let calls = async || setup.couch.up().await.unwrap();
    setup.until_the_first_is_refused(calls).await;
    calls().await;
    setup.write("client", "second\n");
    setup.couch.up().await.unwrap();
}

#[tokio::test]
async fn a_client_reads_its_password_file_again_before_it_gives_up() {
    let setup = RotatedPassword::new().await;
    setup.write("server", "second");
    setup.until_the_first_is_refused(async || {}).await;
    setup.write("client", "second");
    setup.couch.up().await.unwrap();
}

#[tokio::test]
async fn a_refused_password_is_not_tried_first_again() {
    let setup = RotatedPassword::new().await;
    setup.write("client", "second\nfirst\n");
    // The call that tries the new password takes one more request.
    eventually("the new password is tried once", async || {
        let before = setup.couch.requests();
        setup.couch.up().await.unwrap();
        setup.couch.requests() - before > 2
    })
    .await;
    let before = setup.couch.requests();
    setup.couch.up().await.unwrap();
    assert_eq!(setup.couch.requests() - before, 2);
}
