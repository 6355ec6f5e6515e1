#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed expectation is the test failing"
)]

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
    version::{TLS12, TLS13},
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::CancellationToken;

use super::{Certificates, Error, Validity, now};

/// An authority, and a folder with certificates of it.
struct Fixture {
    authority: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

/// A pair in PEM.
struct Made {
    certificate: String,
    key: String,
    der: CertificateDer<'static>,
}

impl Fixture {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self {
            authority: CertifiedIssuer::self_signed(params, key).unwrap(),
            folder: TempDir::new().unwrap(),
        }
    }

    fn made(&self, hosts: &[&str], until: i32) -> Made {
        let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        Made {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().clone(),
        }
    }

    /// Writes the pair NAME.crt and NAME.key.
    fn put(&self, name: &str, hosts: &[&str]) -> CertificateDer<'static> {
        self.put_until(name, hosts, 2100)
    }

    fn put_until(&self, name: &str, hosts: &[&str], until: i32) -> CertificateDer<'static> {
        let made = self.made(hosts, until);
        self.write(&format!("{name}.crt"), &made.certificate);
        self.write(&format!("{name}.key"), &made.key);
        made.der
    }

    /// Replaces a file as a whole.
    fn write(&self, name: &str, text: &str) {
        let new = self.path().join(".new");
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(new, self.path().join(name)).unwrap();
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn open(&self) -> Result<Certificates, Error> {
        Certificates::open(self.path(), "public")
    }

    fn connector(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsConnector::from(Arc::new(config))
    }

    /// Connects, and returns the client's end after the server has sent one byte.
    async fn meet(
        &self,
        certificates: &Certificates,
        connector: &TlsConnector,
        host: &str,
    ) -> std::io::Result<TlsStream<tokio::io::DuplexStream>> {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let certificates = certificates.clone();
        let serving = tokio::spawn(async move {
            let mut stream = certificates.accept(far).await?;
            stream.write_all(b"!").await?;
            stream.shutdown().await
        });
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let mut stream = connector.connect(name, near).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        assert_eq!(text, "!");
        serving.await.unwrap()?;
        Ok(stream)
    }

    /// The certificate that a client is shown for a host, or the error that it gets.
    async fn shown(
        &self,
        certificates: &Certificates,
        host: &str,
    ) -> Result<CertificateDer<'static>, String> {
        let connector = self.connector(&[&TLS13]);
        let stream = self.meet(certificates, &connector, host).await;
        let stream = stream.map_err(|error| error.to_string())?;
        Ok(stream.get_ref().1.peer_certificates().unwrap()[0].clone())
    }
}

#[tokio::test]
async fn each_name_has_its_certificate() {
    let fixture = Fixture::new();
    let exact = fixture.put("exact", &["a.example.org", "B.example.com"]);
    let wildcard = fixture.put("wildcard", &["*.example.org"]);
    // As certbot leaves them: links to files of another folder.
    let made = fixture.made(&["c.example.net"], 2100);
    let (live, archive) = (
        fixture.path().join("certbot"),
        fixture.path().join(".archive"),
    );
    fs::create_dir(&live).unwrap();
    fs::create_dir(&archive).unwrap();
    for (file, text) in [("fullchain", &made.certificate), ("privkey", &made.key)] {
        let target = archive.join(format!("{file}1.pem"));
        fs::write(&target, text).unwrap();
        symlink(target, live.join(format!("{file}.pem"))).unwrap();
    }
    fixture.write("README", "no certificate");
    let certificates = fixture.open().unwrap();
    for (host, expected) in [
        ("a.example.org", &exact),
        ("A.Example.ORG", &exact),
        ("b.example.com", &exact),
        ("b.example.org", &wildcard),
        ("c.example.net", &made.der),
    ] {
        let shown = fixture.shown(&certificates, host).await;
        assert_eq!(shown.as_ref(), Ok(expected), "{host}");
    }
    // A wildcard covers one label.
    for unknown in ["example.org", "a.b.example.org", "example.com"] {
        let refused = fixture.shown(&certificates, unknown).await.unwrap_err();
        assert!(refused.contains("UnrecognisedName"), "{unknown}: {refused}");
    }
}

#[tokio::test]
async fn a_pair_called_default_is_for_everybody_else() {
    let fixture = Fixture::new();
    let first = fixture.put("a", &["a.example", "127.0.0.1"]);
    let open = || fixture.open().unwrap();
    // Without a name, a client cannot mean another one.
    assert_eq!(fixture.shown(&open(), "127.0.0.1").await, Ok(first));
    let default = fixture.put("default", &["b.example", "127.0.0.1"]);
    assert_eq!(fixture.shown(&open(), "127.0.0.1").await, Ok(default));
    let other = fixture.shown(&open(), "c.example").await.unwrap_err();
    assert!(other.contains("not valid for name"), "{other}");
}

#[tokio::test]
async fn both_versions_and_protocols_are_spoken_and_sessions_resumed() {
    let fixture = Fixture::new();
    fixture.put("a", &["a.example"]);
    let certificates = fixture.open().unwrap();
    for version in [&TLS12, &TLS13] {
        let connector = fixture.connector(&[version]);
        for kind in [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed] {
            let stream = fixture.meet(&certificates, &connector, "a.example").await;
            let stream = stream.unwrap();
            let session = stream.get_ref().1;
            assert_eq!(session.protocol_version(), Some(version.version));
            assert_eq!(session.alpn_protocol(), Some(b"h2".as_slice()));
            assert_eq!(session.handshake_kind(), Some(kind), "{version:?}");
        }
    }
}

#[tokio::test]
async fn a_renewed_pair_is_shown_and_a_broken_one_is_not() {
    let fixture = Fixture::new();
    let old = fixture.put("a", &["a.example"]);
    let certificates = fixture.open().unwrap();
    let look = || certificates.0.look();
    let shown = || fixture.shown(&certificates, "a.example");

    let made = fixture.made(&["a.example"], 2100);
    // In the middle of a renewal, the key is another one's.
    fixture.write("a.key", &made.key);
    look();
    assert_eq!(shown().await, Ok(old.clone()));
    fixture.write("a.crt", &made.certificate);
    look();
    assert_eq!(shown().await, Ok(made.der.clone()));

    for (file, broken) in [
        ("a.crt", ""),
        (
            "a.crt",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ),
        ("a.key", "nonsense"),
    ] {
        fixture.write(file, broken);
        let other = fixture.put("b", &["b.example"]);
        look();
        assert_eq!(shown().await, Ok(made.der.clone()), "{broken:?}");
        // Others go on being renewed.
        let shown = fixture.shown(&certificates, "b.example").await;
        assert_eq!(shown, Ok(other));
    }
    fs::remove_file(fixture.path().join("b.crt")).unwrap();
    look();
    assert!(fixture.shown(&certificates, "b.example").await.is_ok());
    fs::remove_file(fixture.path().join("b.key")).unwrap();
    look();
    assert!(fixture.shown(&certificates, "b.example").await.is_err());

    // An empty folder is a mistake.
    for file in ["a.crt", "a.key"] {
        fs::remove_file(fixture.path().join(file)).unwrap();
    }
    look();
    assert_eq!(shown().await, Ok(made.der));
    let new = fixture.put("a", &["a.example"]);
    look();
    assert_eq!(shown().await, Ok(new));
}

#[tokio::test]
async fn of_two_for_one_name_the_later_one_is_shown() {
    let fixture = Fixture::new();
    fixture.put_until("a", &["a.example"], 2090);
    let later = fixture.put_until("b", &["a.example"], 2100);
    fixture.put_until("c", &["a.example"], 2095);
    let certificates = fixture.open().unwrap();
    assert_eq!(fixture.shown(&certificates, "a.example").await, Ok(later));
}

#[test]
fn a_door_does_not_begin_without_certificates() {
    let fixture = Fixture::new();
    let told = || fixture.open().unwrap_err().to_string();
    assert!(told().contains("holds no certificates"), "{}", told());
    let made = fixture.made(&["a.example"], 2100);
    fixture.write("a.crt", &made.certificate);
    assert!(told().contains("a.key: cannot be read"), "{}", told());
    fixture.write("a.key", &fixture.made(&["a.example"], 2100).key);
    assert!(
        told().contains("a.key: cannot be used with its certificate"),
        "{}",
        told()
    );
    fixture.write("a.key", &made.certificate);
    assert!(told().contains("a.key: holds no private key"), "{}", told());
    fixture.write("a.crt", &made.key);
    assert!(told().contains("a.crt: holds no certificate"), "{}", told());
    // One that can be used is enough.
    fixture.put("b", &["b.example"]);
    assert!(fixture.open().is_ok());
    let missing = Certificates::open(Path::new("/nowhere"), "public").unwrap_err();
    assert!(missing.to_string().contains("/nowhere"), "{missing}");
}

#[test]
fn the_end_of_a_certificate_is_seen_before_it_comes() {
    let fixture = Fixture::new();
    fixture.put_until("a", &["a.example"], 2020);
    let certificates = fixture.open().unwrap();
    let known = certificates.0.known();
    let pair = known.loaded().next().unwrap();
    let length = pair.expires - pair.begins;
    for (at, validity) in [
        (pair.begins - 1, Validity::NotYet),
        (pair.begins, Validity::Valid),
        (pair.expires - length / 10, Validity::Valid),
        (pair.expires - length / 10 + 1, Validity::Ending),
        (pair.expires, Validity::Ending),
        (pair.expires + 1, Validity::Expired),
        (now(), Validity::Expired),
    ] {
        assert_eq!(pair.validity(at), validity, "{at}");
    }
    assert_eq!(known.pairs.values().next().unwrap().told, Validity::Expired);
}

#[tokio::test]
async fn what_is_no_handshake_ends_the_connection() {
    let fixture = Fixture::new();
    fixture.put("a", &["a.example"]);
    let certificates = fixture.open().unwrap();
    let (mut near, far) = tokio::io::duplex(1024);
    near.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(certificates.accept(far).await.is_err());
}

#[tokio::test]
async fn the_folder_is_watched_until_shutdown() {
    let fixture = Fixture::new();
    fixture.put("a", &["a.example"]);
    let certificates = fixture.open().unwrap();
    let shutdown = CancellationToken::new();
    let watching = tokio::spawn(certificates.clone().watch(shutdown.clone()));
    let new = fixture.put("a", &["a.example"]);
    let until = Instant::now() + Duration::from_secs(20);
    while fixture.shown(&certificates, "a.example").await.as_ref() != Ok(&new) {
        assert!(Instant::now() < until, "the new certificate is not shown");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    shutdown.cancel();
    watching.await.unwrap();
}
