//! An admin door with certificates, as the command line and the health checks reach it.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
};

use hamlet_tests::{
    certificates::Authority,
    cli::{Answer, Cli},
    daemon::{Daemon, Options},
    programs::program,
};
use rustls::{
    ServerConfig, ServerConnection, Stream,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tempfile::TempDir;
use test_kit::eventually_blocking;

/// A `hamletd` whose admin door has a certificate for `localhost`.
struct World {
    place: TempDir,
    daemon: Daemon,
}

impl World {
    fn start(flags: &[&str]) -> Self {
        let place = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let certificates = place.path().join("certificates");
        fs::create_dir(&certificates).unwrap();
        authority.write_pair(&certificates, "admin", &["localhost"]);
        fs::write(place.path().join("ca.pem"), authority.pem()).unwrap();
        let write = |name: &str, text: String| fs::write(place.path().join(name), text).unwrap();
        write("other.pem", Authority::called("another authority").pem());
        write("made-anew.pem", Authority::new().pem());
        let mut options = Options::new(&place.path().join("data")).flag(format!(
            "--admin-tls-certificates={}",
            certificates.display()
        ));
        for flag in flags {
            options = options.flag(*flag);
        }
        Self {
            daemon: options.start(),
            place,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn url(&self, scheme: &str, host: &str) -> String {
        let port = self.daemon.admin.rsplit(':').next().unwrap();
        format!("{scheme}://{host}:{port}")
    }

    fn https(&self) -> String {
        self.url("https", "localhost")
    }

    /// `hamlet` with the credential of the installation, in a folder with the certificates of authorities. The system
    /// trusts an authority of somebody else.
    fn hamlet(&self, server: &str, words: &str) -> Command {
        let credential = self.daemon.data().join("admin-credential");
        let mut command = Cli::new(server.to_owned(), credential).command(words);
        command
            .current_dir(self.place.path())
            .env("XDG_CONFIG_HOME", self.place.path())
            .env_remove("SSL_CERT_DIR")
            .env("SSL_CERT_FILE", self.path("other.pem"));
        command
    }

    fn run(&self, words: &str) -> Answer {
        run(self.hamlet(&self.https(), words))
    }
}

fn run(mut command: Command) -> Answer {
    Answer::of(&command.output().unwrap())
}

/// As a person would start it: the server is the one that `hamlet use` chose, or that of a flag.
fn without_variables(mut command: Command) -> Command {
    command
        .env_remove("HAMLET_SERVER")
        .env_remove("HAMLET_CREDENTIAL_FILE");
    command
}

#[test]
fn the_command_line_administers_over_tls() {
    let world = World::start(&[]);
    let alice = world.daemon.domain("alice");
    for words in [
        format!("instances add {alice} --ca ca.pem"),
        // Calls that are routed by the domain of an instance.
        format!("files ls {alice} --ca ca.pem"),
        format!("apps ls {alice} --ca ca.pem"),
        format!("instances modify {alice} --locale de --ca ca.pem"),
    ] {
        let _ = world.run(&words).done();
    }
    let status = world.run("status -o json --ca ca.pem").done().json();
    assert_eq!(status["address"], world.https());
    assert_eq!(status["instances"], "1");
    let version = world.run("version -o json --ca ca.pem").done().json();
    assert_eq!(version["server"], version["client"]);

    // The variable, and what the system trusts.
    let list = "instances ls -o name";
    for variable in ["HAMLET_CA_FILE", "SSL_CERT_FILE"] {
        let mut command = world.hamlet(&world.https(), list);
        command.env(variable, "ca.pem");
        let told = run(command).done();
        assert!(told.out.contains(&alice), "{variable}: {told:#?}");
    }

    // The credential of a data folder is for its own server, with TLS as without.
    let mut own = without_variables(world.hamlet("", list));
    own.env("HAMLET_DATA", world.daemon.data()).args([
        "--server",
        &world.https(),
        "--ca",
        "ca.pem",
    ]);
    let told = run(own).done();
    assert!(told.out.contains(&alice), "{told:#?}");

    // What a shell completes.
    let mut complete = world.hamlet(&world.https(), "-- hamlet instances show ali");
    complete
        .env("HAMLET_COMPLETE", "fish")
        .env("HAMLET_CA_FILE", "ca.pem");
    let told = run(complete).done();
    assert_eq!(told.out.split_whitespace().next(), Some(alice.as_str()));
}

#[test]
fn a_named_installation_has_an_authority_of_its_own() {
    let world = World::start(&[]);
    let url = world.https();
    let credential = world.daemon.data().join("admin-credential");
    let hamlet = |words: &str| without_variables(world.hamlet("", words));
    let store = |name: &str, ca: &str| {
        let words = format!(
            "use {name} --url {url} --credential {} --ca {ca}",
            credential.display()
        );
        run(hamlet(&words))
    };
    let _ = store("wrong", "other.pem").done();
    let _ = store("near", "ca.pem").done();
    let list = run(hamlet("use -o json")).done().json_lines();
    assert_eq!(list[0]["ca"], world.path("ca.pem").to_str().unwrap());

    // The chosen one, from any folder, whatever the variable says.
    let mut elsewhere = hamlet("instances count");
    elsewhere
        .current_dir("/")
        .env("HAMLET_CA_FILE", world.path("other.pem"));
    let _ = run(elsewhere).done();
    let _ = run(hamlet("--at near instances count")).done();

    let told = run(hamlet("--at wrong instances count"));
    assert_eq!(told.code, 2, "{told:#?}");
    assert!(
        told.err.starts_with("error: wrong: the certificate of ") && told.err.contains("other.pem"),
        "{told:#?}"
    );
    // A flag comes before what is stored.
    let mut mended = hamlet("instances count --ca ca.pem");
    mended.env("HAMLET_AT", "wrong");
    let _ = run(mended).done();

    let told = store("none", "certificates/admin.key");
    assert_eq!(told.code, 2, "{told:#?}");
    assert!(
        told.err
            .contains("--ca: certificates/admin.key holds no certificate")
    );
    let told = run(hamlet("--at none instances count"));
    assert!(
        told.err.contains("no installation is called none"),
        "{told:#?}"
    );
}

#[test]
fn an_error_names_the_setting_and_what_would_be_right() {
    let world = World::start(&[]);
    fs::write(world.path("empty.pem"), "").unwrap();
    fs::write(world.path("text.pem"), "no certificate\n").unwrap();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    fs::write(world.path("broken.pem"), broken).unwrap();
    fs::write(world.path("cut.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n").unwrap();
    let (https, http) = (world.https(), world.url("http", "localhost"));
    let by_address = world.url("https", "127.0.0.1");
    let plain = format!("https://{}", world.daemon.public);
    for (server, words, begin, says) in [
        (
            &https,
            "--ca empty.pem",
            "--ca: empty.pem holds no certificate",
            "BEGIN CERTIFICATE",
        ),
        (
            &https,
            "--ca text.pem",
            "--ca: text.pem holds no certificate",
            "PEM",
        ),
        (
            &https,
            "--ca certificates/admin.key",
            "--ca: certificates/admin.key holds no",
            "PEM",
        ),
        (
            &https,
            "--ca broken.pem",
            "--ca: broken.pem holds a certificate that",
            "authority",
        ),
        (&https, "--ca cut.pem", "--ca: cut.pem holds", "PEM"),
        (
            &https,
            "--ca nowhere.pem",
            "--ca: nowhere.pem: cannot be read",
            "PEM",
        ),
        (
            &https,
            "--ca certificates",
            "--ca: certificates: cannot be read",
            "PEM",
        ),
        (
            &https,
            "--ca other.pem",
            "--ca: the certificate of https://localhost",
            "in other.pem",
        ),
        (
            &https,
            "--ca made-anew.pem",
            "--ca: the certificate of https://localhost",
            "in made-anew.pem",
        ),
        (
            &https,
            "",
            "--ca: the certificate of https://localhost",
            "HAMLET_CA_FILE",
        ),
        (
            &by_address,
            "--ca ca.pem",
            "HAMLET_SERVER: the certificate of ",
            "certificate: localhost",
        ),
        (
            &http,
            "",
            "HAMLET_SERVER: ",
            "speaks TLS; name it as https://localhost",
        ),
        (
            &plain,
            "--ca ca.pem",
            "HAMLET_SERVER: ",
            "speaks no TLS; name it as http://127.0.0.1",
        ),
        (
            &http,
            "--ca ca.pem",
            "--ca: ",
            "name the server as https://localhost",
        ),
    ] {
        let line = format!("instances ls {words}");
        let told = run(world.hamlet(server, &line));
        assert_eq!(told.code, 2, "{server} {line}: {told:#?}");
        let first = told.err.lines().next().unwrap();
        assert!(
            first.starts_with(&format!("error: {begin}")) && first.contains(says),
            "{server} {line}: {told:#?}"
        );
    }
    let mut of_variable = world.hamlet(&https, "instances ls");
    of_variable.env("HAMLET_CA_FILE", "other.pem");
    let told = run(of_variable);
    assert!(told.err.starts_with("error: HAMLET_CA_FILE: "), "{told:#?}");
    let mut without_any = world.hamlet(&https, "instances ls");
    without_any.env("SSL_CERT_FILE", "/nowhere");
    let told = run(without_any);
    assert_eq!(told.code, 2, "{told:#?}");
    assert!(
        told.err
            .starts_with("error: --ca: is not given, and this system has no certificates"),
        "{told:#?}"
    );
    // For programs.
    let told = world.run("instances ls -o json --ca other.pem");
    let error: serde_json::Value = serde_json::from_str(told.err.lines().last().unwrap()).unwrap();
    assert_eq!(error["error"]["fieldViolations"][0]["argument"], "--ca");
    // The folder of a hamletd tells its address, and not that it speaks TLS.
    let mut local = without_variables(world.hamlet("", "instances ls"));
    local.env("HAMLET_DATA", world.daemon.data());
    let told = run(local);
    assert_eq!(told.code, 2, "{told:#?}");
    assert!(
        told.err
            .contains("speaks TLS; name it as https://127.0.0.1"),
        "{told:#?}"
    );

    // What no setting mends.
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    authority.write_expired_pair(folder.path(), "old", &["localhost"]);
    fs::write(world.path("old.pem"), authority.pem()).unwrap();
    Authority::write_own_pair(folder.path(), "own", &["localhost"]);
    fs::copy(folder.path().join("own.crt"), world.path("own.pem")).unwrap();
    for (name, says) in [("old", "expired"), ("own", "basicConstraints=CA:FALSE")] {
        let server = Recording::start(folder.path(), name, &[b"h2"]);
        let told = run(world.hamlet(&server.url, &format!("instances ls --ca {name}.pem")));
        assert_eq!(told.code, 6, "{told:#?}");
        assert!(told.err.contains(says), "{told:#?}");
        assert_eq!(server.heard(), 0);
    }
}

/// A server with TLS that records what it is told, and closes the connection at the first pause.
struct Recording {
    url: String,
    heard: Arc<std::sync::Mutex<Vec<u8>>>,
}

impl Recording {
    fn start(folder: &Path, name: &str, protocols: &[&[u8]]) -> Self {
        let read = |ending: &str| fs::read(folder.join(format!("{name}.{ending}"))).unwrap();
        let certificate = CertificateDer::from_pem_slice(&read("crt")).unwrap();
        let key = PrivateKeyDer::from_pem_slice(&read("key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|it| it.to_vec()).collect();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!(
            "https://localhost:{}",
            listener.local_addr().unwrap().port()
        );
        let heard = Arc::<std::sync::Mutex<Vec<u8>>>::default();
        let recorded = Arc::clone(&heard);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                stream
                    .set_read_timeout(Some(std::time::Duration::from_millis(500)))
                    .unwrap();
                let mut connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut tls = Stream::new(&mut connection, &mut stream);
                // Settings of HTTP/2, so that a client says what it came for.
                let _ = tls.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
                let mut bytes = [0; 4096];
                while let Ok(count @ 1..) = tls.read(&mut bytes) {
                    recorded.lock().unwrap().extend_from_slice(&bytes[..count]);
                }
            }
        });
        Self { url, heard }
    }

    fn heard(&self) -> usize {
        self.heard.lock().unwrap().len()
    }
}

#[test]
fn a_server_that_cannot_prove_who_it_is_hears_nothing() {
    let world = World::start(&[]);
    let strange = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.write_pair(strange.path(), "strange", &["localhost"]);
    fs::write(world.path("strange.pem"), authority.pem()).unwrap();
    let stranger = Recording::start(strange.path(), "strange", &[b"h2"]);
    let told = run(world.hamlet(&stranger.url, "instances ls --ca ca.pem"));
    assert_eq!(told.code, 2, "{told:#?}");
    assert_eq!(stranger.heard(), 0);
    // Who trusts it tells it all.
    let told = run(world.hamlet(&stranger.url, "instances ls --ca strange.pem"));
    assert_eq!(told.code, 6, "{told:#?}");
    assert!(stranger.heard() > 0);

    // Nor does one that does not speak HTTP/2.
    let old = Recording::start(strange.path(), "strange", &[]);
    let told = run(world.hamlet(&old.url, "instances ls --ca strange.pem"));
    assert_eq!(told.code, 2, "{told:#?}");
    assert!(told.err.contains("speaks no HTTP/2 over TLS"), "{told:#?}");
    assert_eq!(old.heard(), 0);
}

#[test]
fn health_checks_and_the_demo_pass_a_door_with_certificates() {
    let world = World::start(&["--demo"]);
    let certificates = world.path("certificates");
    let data = world.daemon.data();
    for (name, flags) in [
        ("hamletd", vec!["--data", data.to_str().unwrap()]),
        ("gateway", vec!["--admin-listen", &world.daemon.admin]),
    ] {
        let health = |with_certificates: bool| {
            let mut command = Command::new(program(name));
            command.arg("health").args(&flags);
            if with_certificates {
                command.arg("--admin-tls-certificates").arg(&certificates);
            }
            run(command)
        };
        let told = health(true).done();
        assert!(told.out.contains("serves"), "{told:#?}");
        assert_eq!(health(false).code, 1);
    }
    // The address that somebody names is asked, whatever lies in the data folder.
    let mut command = Command::new(program("hamletd"));
    command
        .args(["health", "--admin-listen", "127.0.0.1:1", "--data"])
        .arg(data);
    let told = run(command);
    assert!(
        told.code == 1 && told.err.contains("127.0.0.1:1 "),
        "{told:#?}"
    );
    eventually_blocking("the instance of the demo", || {
        let told = world.run("instances ls -o name --ca ca.pem");
        told.out.contains("alice.localhost").then_some(())
    });
}
