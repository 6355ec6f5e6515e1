//! How the doors are reached from outside: TLS, and proxies in front.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::Code;

use crate::support::{Client, SOON, World, http};

/// A folder with a certificate of its own authority, and a connector that trusts that.
fn certificates(names: &[&str]) -> (tempfile::TempDir, rustls::RootCertStore) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
    write("default.crt", made.cert.pem());
    write("default.key", made.signing_key.serialize_pem());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    (folder, roots)
}

async fn connect(
    address: SocketAddr,
    roots: &rustls::RootCertStore,
    name: &'static str,
    protocol: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from(name).unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

async fn answer(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    text: &str,
) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // The end of TLS may be missing.
    let _ = timeout(SOON, stream.read_to_end(&mut answer))
        .await
        .unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn both_protocols_are_served_by_tls() {
    let (folder, roots) = certificates(&["alice.example"]);
    let world = World::with(|config| {
        config.exposure.tls_certificates = Some(folder.path().to_owned());
    })
    .await;
    let stream = connect(world.public, &roots, "alice.example", b"h2")
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let client = Client::over(stream).await;
    let told = client.call("alice.example", "Headers", &[]).await;
    assert_eq!(told.code(), Code::Ok);
    assert!(told.text().contains("x-forwarded-proto: https"));

    let stream = connect(world.public, &roots, "alice.example", b"http/1.1")
        .await
        .unwrap();
    let page = "GET /nowhere HTTP/1.1\r\nhost: alice.example\r\nconnection: close\r\n\r\n";
    let answer = answer(stream, page).await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(
        answer.contains("strict-transport-security: max-age=31536000"),
        "{answer}"
    );

    // Without TLS, nothing is answered.
    let plain = http(world.public, page.as_bytes()).await;
    assert!(!plain.starts_with("HTTP"), "{plain}");
}

#[tokio::test]
async fn requests_without_tls_are_redirected() {
    let (folder, _) = certificates(&["alice.example"]);
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let world = World::with(|config| {
        config.exposure.tls_certificates = Some(folder.path().to_owned());
        config.exposure.redirect_listen = Some(port);
    })
    .await;
    test_kit::eventually("the redirect listens", async || {
        TcpStream::connect(port).await.is_ok()
    })
    .await;
    let answer = http(
        port,
        b"GET /a?b HTTP/1.1\r\nhost: alice.example\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 308"), "{answer}");
    assert!(
        answer.contains("location: https://alice.example/a?b"),
        "{answer}"
    );
    drop(world);
}

/// Who is not trusted cannot say who they are.
#[tokio::test]
async fn only_trusted_proxies_tell_who_the_client_is() {
    let forged = [
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=203.0.113.9"),
        ("x-real-ip", "203.0.113.9"),
    ];
    let world = World::new().await;
    let told = world
        .client()
        .await
        .call("alice.example", "Headers", &forged)
        .await;
    assert!(!told.text().contains("203.0.113.9"), "{}", told.text());
    assert!(told.text().contains("x-forwarded-for: 127.0.0.1"));
    assert!(told.text().contains("x-forwarded-host: alice.example"));

    let world = World::with(|config| {
        config.exposure.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let told = world
        .client()
        .await
        .call("alice.example", "Headers", &forged)
        .await;
    assert!(
        told.text()
            .contains("x-forwarded-for: 203.0.113.9, 127.0.0.1"),
        "{}",
        told.text()
    );
    assert!(told.text().contains("x-forwarded-proto: https"));
}

#[tokio::test]
async fn a_trusted_proxy_begins_with_its_header() {
    let world = World::with(|config| {
        config.exposure.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        config.exposure.proxy_protocol = true;
    })
    .await;
    let mut stream = TcpStream::connect(world.public).await.unwrap();
    stream
        .write_all(b"PROXY TCP4 203.0.113.7 192.0.2.1 40000 443\r\n")
        .await
        .unwrap();
    let client = Client::over(stream).await;
    let told = client.call("alice.example", "Headers", &[]).await;
    assert!(
        told.text().contains("x-forwarded-for: 203.0.113.7"),
        "{}",
        told.text()
    );

    let mut without = TcpStream::connect(world.public).await.unwrap();
    without
        .write_all(b"GET / HTTP/1.1\r\nhost: alice.example\r\n\r\n")
        .await
        .unwrap();
    let mut answered = Vec::new();
    // It is closed, perhaps by a reset.
    let _ = timeout(SOON, without.read_to_end(&mut answered))
        .await
        .unwrap();
    assert!(answered.is_empty());
}

#[tokio::test]
async fn an_address_as_host_means_the_default_instance() {
    let world = World::with(|config| {
        config.exposure.default_instance = Some("alice.example".to_owned());
    })
    .await;
    let client = world.client().await;
    for host in ["127.0.0.1:8080", "[::1]:80"] {
        let told = client.call(host, "Headers", &[]).await;
        assert_eq!(told.code(), Code::Ok, "{host}");
    }
    let unknown = client.call("bob.example", "Headers", &[]).await;
    assert_eq!(unknown.code(), Code::NotFound);
    let mut call = client
        .begin("127.0.0.1", "/hamlet.files.v1.FilesService/Headers", &[])
        .await;
    call.upload
        .send_data(Bytes::from_static(b"\0\0\0\0\0"), true)
        .unwrap();
    assert_eq!(call.finish().await.code(), Code::Ok);
}
