//! Certificates for tests.

use std::{fs, path::Path};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
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
        Self::called("an authority of a test")
    }

    /// Creates a new authority with a name.
    ///
    /// # Panics
    /// When no key can be generated.
    #[must_use]
    pub fn called(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key can be made");
        Self(CertifiedIssuer::self_signed(params, key).expect("it signs itself"))
    }

    /// Its certificate in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Writes the pair of a door into a folder, `NAME.crt` and `NAME.key`: a new certificate for `hosts`.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_pair(&self, folder: &Path, name: &str, hosts: &[&str]) {
        self.write_pair_of(folder, name, &params_for(hosts));
    }

    /// The same with a certificate that expired years ago.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_expired_pair(&self, folder: &Path, name: &str, hosts: &[&str]) {
        let mut params = params_for(hosts);
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 1);
        self.write_pair_of(folder, name, &params);
    }

    /// Writes the pair of a door whose certificate is that of the authority itself, made for `hosts`, too.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_own_pair(folder: &Path, name: &str, hosts: &[&str]) {
        let mut params = params_for(hosts);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.self_signed(&key).expect("it signs itself");
        write_files(folder, name, &key, &certificate.pem());
    }

    fn write_pair_of(&self, folder: &Path, name: &str, params: &CertificateParams) {
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.signed_by(&key, &self.0).expect("it can be signed");
        write_files(folder, name, &key, &certificate.pem());
    }

    /// Writes `cert`, `key` and `ca` into a folder: a new certificate for `name` and for all addresses of the tests'
    /// network. Each file is replaced atomically.
    ///
    /// # Panics
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

fn write_files(folder: &Path, name: &str, key: &KeyPair, certificate: &str) {
    let write = |ending: &str, text: &str| {
        fs::write(folder.join(format!("{name}.{ending}")), text).expect("it can be written");
    };
    write("key", &key.serialize_pem());
    write("crt", certificate);
}

fn params_for(hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("names of hosts");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
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
