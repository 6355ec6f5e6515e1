//! Certificates for tests.

use std::{fs, path::Path};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};

/// A private certificate authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// Creates a new authority.
    ///
    /// # Panics
    /// When no key can be generated.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key can be made");
        Self(CertifiedIssuer::self_signed(params, key).expect("it signs itself"))
    }

    /// Writes `cert`, `key` and `ca` into a folder: a new certificate for `name` and for all addresses of the tests'
    /// network. Each file is replaced atomically.
    ///
    /// # Panics
    /// When they cannot be written.
    /// When they cannot be written.
    pub fn write(&self, folder: &Path, name: &str) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        // The clusters of this process use 127.x.NETWORK.1 and 127.x.NETWORK.2.
        for network in 0..32 {
            for replica in 1..=2 {
                params.subject_alt_names.push(SanType::IpAddress(
                    crate::cluster::ip(network, replica).into(),
                ));
            }
        }
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.signed_by(&key, &self.0).expect("it can be signed");
        for (file, text) in [
            ("ca", self.0.pem()),
            ("key", key.serialize_pem()),
            ("cert", certificate.pem()),
        ] {
            let unfinished = folder.join(format!("{file}.unfinished"));
            fs::write(&unfinished, text).expect("a file can be written");
            fs::rename(unfinished, folder.join(file)).expect("a file can be renamed");
        }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}
