//! Whom this program believes that a server with TLS is who it says: the authorities whose certificates count.

use std::{fs, io, path::Path, sync::Arc};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use crate::error::CommandError;

/// A file of certificates that somebody named, and by what: a flag, a variable, or an installation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CaFile<'a> {
    /// The file.
    pub(crate) path: &'a Path,
    /// What names it.
    pub(crate) by: &'a str,
}

/// The authorities whose certificates count.
#[derive(Clone, Debug)]
pub(crate) struct Authorities {
    roots: Arc<RootCertStore>,
    /// Where they are from, for messages.
    origin: Origin,
}

#[derive(Clone, Debug)]
enum Origin {
    System,
    File { path: String, by: String },
}

impl Authorities {
    /// Those of a file, and no others.
    ///
    /// # Errors
    /// When it holds none. The message begins with what names the file.
    pub(crate) fn of_file(file: CaFile<'_>) -> Result<Self, CommandError> {
        let path = file.path.display().to_string();
        let wrong = |why: &str| CommandError::Usage(format!("{}: {path}{why}", file.by));
        let text = fs::read(file.path).map_err(|error| {
            wrong(&format!(
                ": cannot be read: {error}; give a PEM file with the certificate of the server's authority"
            ))
        })?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let certificates = certificates.map_err(|error| {
            wrong(&format!(
                " holds a certificate that cannot be read: {error}; give it in PEM"
            ))
        })?;
        if certificates.is_empty() {
            return Err(wrong(
                " holds no certificate; give a PEM file with that of the server's authority: it has a line -----BEGIN \
                 CERTIFICATE-----",
            ));
        }
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            roots.add(certificate).map_err(|error| {
                wrong(&format!(
                    " holds a certificate that is none of an authority: {error}"
                ))
            })?;
        }
        Ok(Self {
            roots: Arc::new(roots),
            origin: Origin::File {
                path,
                by: file.by.to_owned(),
            },
        })
    }

    /// Those that this system trusts.
    ///
    /// # Errors
    /// When it trusts none.
    pub(crate) fn of_system() -> Result<Self, CommandError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        // A system may have certificates of forms that no longer count; those that do are enough.
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added > 0 {
            return Ok(Self {
                roots: Arc::new(roots),
                origin: Origin::System,
            });
        }
        let why = found
            .errors
            .first()
            .map(|error| format!(" ({error})"))
            .unwrap_or_default();
        Err(CommandError::Usage(format!(
            "--ca: is not given, and this system has no certificates of authorities{why}; give a PEM file with that of \
             the server's authority, or install those of the public ones (often a package ca-certificates)"
        )))
    }

    /// Their certificates.
    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.roots)
    }

    /// What is told when the certificate of `server` is by none of them. It begins with the setting.
    pub(crate) fn issued_by_none(&self, server: &str) -> String {
        match &self.origin {
            Origin::System => format!(
                "--ca: the certificate of {server} is by no authority that this system trusts; give a PEM file with that \
                 of its own authority (--ca, HAMLET_CA_FILE, or `hamlet use NAME --url URL --credential FILE --ca FILE`)"
            ),
            Origin::File { path, by } => format!(
                "{by}: the certificate of {server} is by no authority in {path}; give a PEM file with that of the \
                 server's own authority"
            ),
        }
    }
}

/// Refuses a file that holds no authority.
///
/// # Errors
/// As [`Authorities::of_file`].
pub(crate) fn check(path: &Path, by: &str) -> Result<(), CommandError> {
    Authorities::of_file(CaFile { path, by }).map(|_| ())
}

/// Refuses a file of authorities for a server without TLS, whose certificate nobody would look at.
///
/// # Errors
/// Names what names the file.
pub(crate) fn check_has_use(by: &str, url: &str) -> Result<(), CommandError> {
    match url.strip_prefix("http://") {
        None => Ok(()),
        Some(rest) => Err(CommandError::Usage(format!(
            "{by}: {url} is without TLS and shows no certificate; name the server as https://{rest}, or give no authority"
        ))),
    }
}

/// The TLS error within an error of a handshake.
pub(crate) fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}
