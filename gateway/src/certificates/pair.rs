//! One pair of certificate and key.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    crypto::CryptoProvider,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    sign::CertifiedKey,
};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

use super::folder::Files;

/// A certificate that can be shown.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) name: String,
    /// The names of hosts that it is for, in lower case. The first label of one may be `*`.
    pub(super) hosts: Vec<String>,
    /// When it begins and ceases to be valid, in seconds of Unix time.
    pub(super) begins: i64,
    pub(super) expires: i64,
    pub(super) key: Arc<CertifiedKey>,
}

/// Whether a certificate is valid at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Validity {
    NotYet,
    Valid,
    /// Less than a tenth of its time is left: whatever renews it should have done so.
    Ending,
    Expired,
}

/// Why a pair cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// A file cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// A file does not hold what it should.
    #[error("{}: holds no {what} in PEM: {source}", path.display())]
    Pem {
        path: PathBuf,
        what: &'static str,
        source: pem::Error,
    },
    /// The first certificate of the file is none.
    #[error("{}: its first certificate cannot be read: {what}", path.display())]
    Certificate { path: PathBuf, what: String },
    /// Key and certificate cannot be used together.
    #[error("{}: cannot be used with its certificate: {source}", path.display())]
    Key {
        path: PathBuf,
        source: rustls::Error,
    },
}

impl Pair {
    /// Reads both files, and checks that they belong together.
    pub(super) fn load(files: &Files, provider: &CryptoProvider) -> Result<Self, Problem> {
        let text = read(&files.certificate)?;
        let of_chain = |source| Problem::Pem {
            path: files.certificate.clone(),
            what: "certificate",
            source,
        };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&text)
            .collect::<Result<_, _>>()
            .map_err(of_chain)?;
        let first = chain
            .first()
            .ok_or_else(|| of_chain(pem::Error::NoItemsFound))?;
        let wrong = |what| Problem::Certificate {
            path: files.certificate.clone(),
            what,
        };
        let (_, certificate) =
            X509Certificate::from_der(first).map_err(|error| wrong(error.to_string()))?;
        let hosts = hosts(&certificate).map_err(wrong)?;
        let validity = certificate.validity();
        let (begins, expires) = (
            validity.not_before.timestamp(),
            validity.not_after.timestamp(),
        );
        let key =
            PrivateKeyDer::from_pem_slice(&read(&files.key)?).map_err(|source| Problem::Pem {
                path: files.key.clone(),
                what: "private key",
                source,
            })?;
        let key = CertifiedKey::from_der(chain, key, provider).map_err(|source| Problem::Key {
            path: files.key.clone(),
            source,
        })?;
        Ok(Self {
            name: files.name.clone(),
            hosts,
            begins,
            expires,
            key: Arc::new(key),
        })
    }

    pub(super) fn validity(&self, now: i64) -> Validity {
        if now < self.begins {
            Validity::NotYet
        } else if now > self.expires {
            Validity::Expired
        } else if self.expires - now < (self.expires - self.begins) / 10 {
            Validity::Ending
        } else {
            Validity::Valid
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Problem> {
    fs::read(path).map_err(|source| Problem::Unreadable {
        path: path.to_owned(),
        source,
    })
}

/// The names of a certificate. Browsers look at no other field than the alternative names (RFC 9525, section 2).
fn hosts(certificate: &X509Certificate<'_>) -> Result<Vec<String>, String> {
    let names = certificate
        .subject_alternative_name()
        .map_err(|error| error.to_string())?;
    let names = names.iter().flat_map(|names| &names.value.general_names);
    Ok(names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.trim_end_matches('.').to_ascii_lowercase()),
            _ => None,
        })
        .collect())
}
