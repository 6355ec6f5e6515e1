//! Mutual TLS between servers: each presents a certificate of the installation's own authority, and accepts
//! no others.
//!
//! The three files are read again when a connection is made, at most every two seconds. When the new
//! content cannot be used, the previous one stays in use.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

/// How often the files are read at most.
const EVERY: Duration = Duration::from_secs(2);
/// The only protocol offered: gRPC runs over HTTP/2.
const ALPN: &[u8] = b"h2";

/// Whether servers speak TLS with each other. All or none of the three have to be given.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TlsFlags {
    /// A PEM file with the certificate that this server shows to others, and those between it and the
    /// authority. With it, servers speak TLS with each other, and take nobody without a certificate of
    /// the authority.
    #[arg(long, env = "HAMLET_TLS_CERT_FILE", value_name = "FILE", requires_all = ["tls_key_file", "tls_ca_file"])]
    tls_cert_file: Option<PathBuf>,
    /// A PEM file with the certificate's private key.
    #[arg(long, env = "HAMLET_TLS_KEY_FILE", value_name = "FILE", requires_all = ["tls_cert_file", "tls_ca_file"])]
    tls_key_file: Option<PathBuf>,
    /// A PEM file with the certificates of the authority.
    #[arg(long, env = "HAMLET_TLS_CA_FILE", value_name = "FILE", requires_all = ["tls_cert_file", "tls_key_file"])]
    tls_ca_file: Option<PathBuf>,
}

impl TlsFlags {
    /// TLS, when it is set up.
    ///
    /// # Errors
    /// When a file cannot be used.
    pub fn open(&self) -> Result<Option<Tls>, Error> {
        match (&self.tls_cert_file, &self.tls_key_file, &self.tls_ca_file) {
            (Some(cert), Some(key), Some(ca)) => Tls::open(cert, key, ca).map(Some),
            _ => Ok(None),
        }
    }
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("{flag}: cannot read {}: {source}", path.display())]
    Unreadable {
        /// The setting that names the file.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The content of a file cannot be used.
    #[error("{flag}: {} {what}", path.display())]
    Content {
        /// The setting that names the file.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// The TLS configuration of this installation. Clones share it.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    files: Files,
    state: Mutex<State>,
}

struct State {
    looked: Instant,
    texts: Texts,
    configs: Configs,
    trouble: Option<String>,
}

#[derive(Clone)]
struct Configs {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    /// The same for health checks of the own machine: the certificate need not name `localhost`.
    nameless: Arc<ClientConfig>,
}

struct Files {
    cert: PathBuf,
    key: PathBuf,
    ca: PathBuf,
}

#[derive(PartialEq, Eq)]
struct Texts {
    cert: Vec<u8>,
    key: Vec<u8>,
    ca: Vec<u8>,
}

impl Tls {
    /// TLS with these files.
    pub fn open(cert: &Path, key: &Path, ca: &Path) -> Result<Self, Error> {
        let files = Files {
            cert: cert.to_owned(),
            key: key.to_owned(),
            ca: ca.to_owned(),
        };
        let texts = files.read()?;
        let configs = files.configs(&texts)?;
        Ok(Self(Arc::new(Inner {
            files,
            state: Mutex::new(State {
                looked: Instant::now(),
                texts,
                configs,
                trouble: None,
            }),
        })))
    }

    /// The server's handshake. The caller sets the timeout.
    ///
    /// # Errors
    /// When the client presents no certificate of the authority.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let stream = TlsAcceptor::from(self.configs().server)
            .accept(stream)
            .await?;
        Ok(stream.into())
    }

    /// The client's handshake with `host`.
    ///
    /// # Errors
    /// When the server presents no certificate of the authority for that name.
    pub(crate) async fn connect(
        &self,
        stream: TcpStream,
        host: &str,
    ) -> io::Result<TlsStream<TcpStream>> {
        connect(self.configs().client, stream, host).await
    }

    /// The client's handshake with a server on the same machine, whatever name its certificate has.
    ///
    /// # Errors
    /// When the server presents no certificate of the authority.
    pub(crate) async fn connect_nameless(
        &self,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        connect(self.configs().nameless, stream, "localhost").await
    }

    fn configs(&self) -> Configs {
        let inner = &self.0;
        let mut state = inner.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() < EVERY {
            return state.configs.clone();
        }
        state.looked = Instant::now();
        let read = inner.files.read().and_then(|texts| {
            if texts == state.texts {
                return Ok(None);
            }
            let configs = inner.files.configs(&texts)?;
            Ok(Some((texts, configs)))
        });
        match read {
            Ok(None) => state.trouble = None,
            Ok(Some((texts, configs))) => {
                tracing::info!("the certificates have changed");
                state.texts = texts;
                state.configs = configs;
                state.trouble = None;
            }
            Err(error) => {
                let trouble = error.to_string();
                if state.trouble.as_ref() != Some(&trouble) {
                    tracing::warn!(
                        error = trouble,
                        "the certificates cannot be used; those before stay in use"
                    );
                    state.trouble = Some(trouble);
                }
            }
        }
        state.configs.clone()
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("cert", &self.0.files.cert)
            .finish_non_exhaustive()
    }
}

async fn connect(
    config: Arc<ClientConfig>,
    stream: TcpStream,
    host: &str,
) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let stream = TlsConnector::from(config).connect(name, stream).await?;
    Ok(stream.into())
}

impl Files {
    fn read(&self) -> Result<Texts, Error> {
        let read = |flag, path: &Path| {
            fs::read(path).map_err(|source| Error::Unreadable {
                flag,
                path: path.to_owned(),
                source,
            })
        };
        Ok(Texts {
            cert: read("tls-cert-file", &self.cert)?,
            key: read("tls-key-file", &self.key)?,
            ca: read("tls-ca-file", &self.ca)?,
        })
    }

    fn configs(&self, texts: &Texts) -> Result<Configs, Error> {
        let wrong = |flag, path: &Path, what: String| Error::Content {
            flag,
            path: path.to_owned(),
            what,
        };
        let certificates = |flag, path: &Path, text: &[u8]| {
            let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
            match read {
                Ok(certificates) if !certificates.is_empty() => Ok(certificates),
                Ok(_) => Err(wrong(flag, path, "holds no certificate in PEM".to_owned())),
                Err(error) => Err(wrong(flag, path, format!("holds no certificate: {error}"))),
            }
        };
        let chain = certificates("tls-cert-file", &self.cert, &texts.cert)?;
        let key = PrivateKeyDer::from_pem_slice(&texts.key).map_err(|_| {
            wrong(
                "tls-key-file",
                &self.key,
                "holds no private key in PEM".to_owned(),
            )
        })?;
        let of_ca = |error: &dyn std::fmt::Display| {
            wrong(
                "tls-ca-file",
                &self.ca,
                format!("holds no authority: {error}"),
            )
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates("tls-ca-file", &self.ca, &texts.ca)? {
            roots.add(certificate).map_err(|error| of_ca(&error))?;
        }
        let roots = Arc::new(roots);
        let of_pair = |error: rustls::Error| {
            let what = format!("does not fit the private key: {error}");
            wrong("tls-cert-file", &self.cert, what)
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
                .build()
                .map_err(|error| of_ca(&error))?;
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(of_pair)?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(of_pair)?;
        server.alpn_protocols = vec![ALPN.to_vec()];
        let builder = || {
            ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_safe_default_protocol_versions()
                .map_err(of_pair)
        };
        let mut client = builder()?
            .with_root_certificates(Arc::clone(&roots))
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(of_pair)?;
        client.alpn_protocols = vec![ALPN.to_vec()];
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .build()
            .map_err(|error| of_ca(&error))?;
        let mut nameless = builder()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyName {
                verifier,
                provider: Arc::clone(&provider),
            }))
            .with_client_auth_cert(chain, key)
            .map_err(of_pair)?;
        nameless.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Configs {
            server: Arc::new(server),
            client: Arc::new(client),
            nameless: Arc::new(nameless),
        })
    }
}

/// Accepts every certificate of the authority, whatever name it has. Only for health checks on the same
/// machine, which send nothing secret to a server that is known by no name.
#[derive(Debug)]
struct AnyName {
    verifier: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match verified {
            // The name is looked at last, when everything else is as it should be.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
