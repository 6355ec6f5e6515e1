//! TLS of a door: certificates from a folder, chosen by the name that the client sends (SNI, RFC 6066, section 3).
//!
//! The folder is looked at again every few seconds. What has changed there is loaded and takes the place of what was
//! before at once; a pair that cannot be loaded changes nothing.

mod folder;
mod pair;
mod set;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    server::Acceptor,
};
use service_kit::telemetry;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

use self::{
    folder::{Files, Stamp},
    pair::{Pair, Problem, Validity},
    set::{Resolver, Set},
};

/// How often the folder is looked at.
const EVERY: Duration = Duration::from_secs(2);
/// What the doors speak, the preferred protocol first (RFC 7301).
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// A record with the fatal alert `unrecognized_name` (RFC 8446, sections 5.1 and 6). The TLS library has no way to send
/// it.
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// Why a door cannot begin with TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The folder cannot be read.
    #[error("cannot read the folder {}: {source}", folder.display())]
    Folder { folder: PathBuf, source: io::Error },
    /// The folder has no pairs.
    #[error(
        "{} holds no certificates; put NAME.crt and NAME.key there, or NAME/fullchain.pem and NAME/privkey.pem",
        folder.display()
    )]
    Empty { folder: PathBuf },
    /// The folder has pairs, but none can be used.
    #[error("none of the certificates can be used: {0}")]
    Unusable(#[source] Problem),
    /// The TLS library refuses its configuration.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
}

/// The certificates of a door. Clones share them.
#[derive(Clone)]
pub(crate) struct Certificates(Arc<Inner>);

struct Inner {
    door: &'static str,
    folder: PathBuf,
    config: Arc<ServerConfig>,
    resolver: Arc<Resolver>,
    provider: Arc<CryptoProvider>,
    known: Mutex<Known>,
}

/// What is known about the folder.
#[derive(Default)]
struct Known {
    /// The pairs by their certificate's path.
    pairs: BTreeMap<PathBuf, Entry>,
    /// Why the folder as a whole cannot be used, as it was logged.
    trouble: Option<String>,
}

/// What is known about a pair.
struct Entry {
    stamp: Stamp,
    /// What was loaded last.
    pair: Option<Arc<Pair>>,
    /// What was logged about its validity.
    told: Validity,
}

impl Certificates {
    /// Loads the certificates of a folder for a door.
    ///
    /// # Errors
    /// When none of them can be used.
    pub(crate) fn open(folder: &Path, door: &'static str) -> Result<Self, Error> {
        let provider = Arc::new(ring::default_provider());
        let resolver = Arc::new(Resolver::default());
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&resolver) as _);
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        config.ticketer = ring::Ticketer::new()?;
        let inner = Inner {
            door,
            folder: folder.to_owned(),
            config: Arc::new(config),
            resolver,
            provider,
            known: Mutex::default(),
        };
        let files = folder::pairs(folder).map_err(|source| Error::Folder {
            folder: folder.to_owned(),
            source,
        })?;
        match inner.load(files) {
            Ok(()) => Ok(Self(Arc::new(inner))),
            Err(Some(problem)) => Err(Error::Unusable(problem)),
            Err(None) => Err(Error::Empty {
                folder: folder.to_owned(),
            }),
        }
    }

    /// The configuration of the TLS library. It stays the same when certificates change.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.config)
    }

    /// The server's handshake. The caller sets the time limit.
    ///
    /// # Errors
    /// Also when the client names a host that no certificate is for; it is told so by an alert.
    pub(crate) async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let is_known = {
            let hello = start.client_hello();
            self.0.resolver.set().find(hello.server_name()).is_some()
        };
        if !is_known {
            start.io.write_all(&UNRECOGNIZED_NAME).await?;
            start.io.shutdown().await?;
            return Err(io::Error::other("the client names an unknown host"));
        }
        start.into_stream(self.config()).await
    }

    /// Looks at the folder again and again until shutdown.
    pub(crate) async fn watch(self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
            let inner = Arc::clone(&self.0);
            // Folders may lie on a network.
            if let Err(error) = tokio::task::spawn_blocking(move || inner.look()).await {
                tracing::error!(%error, "the certificates cannot be looked at");
            }
        }
    }
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates")
            .field("folder", &self.0.folder)
            .finish_non_exhaustive()
    }
}

impl Inner {
    /// Takes over what has changed in the folder.
    fn look(&self) {
        let trouble = match folder::pairs(&self.folder) {
            Ok(files) => self
                .load(files)
                .err()
                .map(|_| "no certificate in it can be used".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        let mut known = self.known();
        if trouble != known.trouble
            && let Some(error) = &trouble
        {
            let folder = self.folder.display();
            tracing::warn!(
                %folder,
                error,
                "the folder of certificates cannot be used; those before stay in use"
            );
        }
        known.trouble = trouble;
    }

    /// Loads those pairs that have changed. When none is left that can be used, those before stay in use.
    ///
    /// # Errors
    /// When no pair can be used: the last problem that has just appeared.
    fn load(&self, files: BTreeMap<PathBuf, Files>) -> Result<(), Option<Problem>> {
        let mut known = self.known();
        let mut problem = None;
        let mut pairs = BTreeMap::new();
        for (path, files) in files {
            // Taken before the files are read: what changes meanwhile is read again.
            let stamp = files.stamp();
            let old = known.pairs.remove(&path);
            let entry = match old {
                Some(old) if old.stamp == stamp => old,
                old => {
                    let pair = match Pair::load(&files, &self.provider) {
                        Ok(pair) => {
                            self.greet(&files, &pair);
                            Some(Arc::new(pair))
                        }
                        Err(error) => {
                            let before = old.and_then(|old| old.pair);
                            let stays = before.is_some();
                            tracing::warn!(
                                %error,
                                door = self.door,
                                stays,
                                "a certificate cannot be used"
                            );
                            problem = Some(error);
                            before
                        }
                    };
                    Entry {
                        stamp,
                        pair,
                        told: Validity::Valid,
                    }
                }
            };
            pairs.insert(path, entry);
        }
        known.pairs = pairs;
        if known.loaded().next().is_none() {
            return Err(problem);
        }
        self.resolver.replace(Set::new(known.loaded()));
        known.tell_validity(now());
        if let Some(first) = known.loaded().map(|pair| pair.expires).min() {
            telemetry::certificates_expire(self.door, first);
        }
        Ok(())
    }

    fn greet(&self, files: &Files, pair: &Pair) {
        let (door, hosts) = (self.door, pair.hosts.join(" "));
        tracing::info!(door, pair = pair.name, hosts, "a certificate was loaded");
        if files.key_is_open_to_others() {
            let key = files.key.display();
            tracing::warn!(%key, "every user of this machine can use this private key");
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn loaded(&self) -> impl Iterator<Item = &Arc<Pair>> {
        self.pairs.values().filter_map(|entry| entry.pair.as_ref())
    }

    /// Logs what has changed about the validity of certificates.
    fn tell_validity(&mut self, now: i64) {
        for entry in self.pairs.values_mut() {
            let Some(pair) = &entry.pair else { continue };
            let validity = pair.validity(now);
            if validity == entry.told {
                continue;
            }
            entry.told = validity;
            let what = match validity {
                Validity::Valid => continue,
                Validity::NotYet => "a certificate is not valid yet",
                Validity::Ending => "a certificate expires soon and has not been renewed",
                Validity::Expired => "a certificate has expired",
            };
            let hosts = pair.hosts.join(" ");
            tracing::warn!(pair = pair.name, hosts, expires = pair.expires, "{what}");
        }
    }
}

/// Seconds of Unix time.
fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs().cast_signed())
}

#[cfg(test)]
mod tests;
