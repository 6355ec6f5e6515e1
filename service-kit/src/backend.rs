//! The server that serves the instances of a context in Hamlet's stead: what a context says of it.

use std::fmt;

use http::uri::Authority;
use serde::{Deserialize, Deserializer, de::Error as _};
use url::Url;

/// The most addresses of one backend.
const MOST: usize = 16;

/// The address of a backend: `http://host:port`. Equal texts are equal addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BackendAddress {
    host: String,
    port: u16,
    authority: Authority,
}

/// Why a text is no address of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendAddressError {
    /// It is no address of a server.
    #[error(
        "is no address of a server; it looks like http://127.0.0.1:8085, without a path and without credentials"
    )]
    Malformed,
    /// It needs TLS.
    #[error(
        "is an address with TLS, which is not spoken with a backend; write http:// and keep the way to it private"
    )]
    Tls,
}

impl BackendAddress {
    /// Reads an address.
    ///
    /// # Errors
    /// When it is none that can be used.
    pub fn parse(text: &str) -> Result<Self, BackendAddressError> {
        let url = Url::parse(text).map_err(|_| BackendAddressError::Malformed)?;
        if url.scheme() == "https" {
            return Err(BackendAddressError::Tls);
        }
        let is_bare = url.scheme() == "http"
            && url.path() == "/"
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        let host = url.host_str().filter(|_| is_bare);
        let (host, port) = host
            .zip(url.port_or_known_default())
            .ok_or(BackendAddressError::Malformed)?;
        Ok(Self {
            authority: format!("{host}:{port}")
                .parse()
                .map_err(|_| BackendAddressError::Malformed)?,
            // Connecting needs an IPv6 address without its brackets.
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
        })
    }

    /// The host, as it is looked up.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Host and port.
    #[must_use]
    pub const fn authority(&self) -> &Authority {
        &self.authority
    }
}

impl fmt::Display for BackendAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

/// A group of the public door's routes that Hamlet can serve beside a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RouteGroup {
    /// `/apps`: the list of apps, and their installation.
    Apps,
    /// `/konnectors`: the same for konnectors.
    Konnectors,
    /// `/settings/flags`: the feature flags.
    Flags,
    /// `PUT /settings/passphrase`: the change of the passphrase.
    Passphrase,
}

impl RouteGroup {
    /// All groups.
    pub const ALL: [Self; 4] = [Self::Apps, Self::Konnectors, Self::Flags, Self::Passphrase];

    /// Its name in settings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Apps => "apps",
            Self::Konnectors => "konnectors",
            Self::Flags => "flags",
            Self::Passphrase => "passphrase",
        }
    }

    /// The group of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.name() == name)
    }

    /// Whether Hamlet writes code of apps for it, which the backend has to find in the file store that both use.
    #[must_use]
    pub const fn needs_storage(self) -> bool {
        matches!(self, Self::Apps | Self::Konnectors)
    }
}

/// One text, or a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

/// Reads the addresses of a backend: one, or a list.
pub(crate) fn addresses<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Vec<BackendAddress>, D::Error> {
    let texts = match OneOrMore::deserialize(from) {
        Ok(OneOrMore::One(text)) => vec![text],
        Ok(OneOrMore::More(texts)) => texts,
        Err(_) => {
            return Err(D::Error::custom(
                "backend: is neither an address nor a list of addresses; write backend = \"http://127.0.0.1:8085\"",
            ));
        }
    };
    if texts.is_empty() || texts.len() > MOST {
        return Err(D::Error::custom(format!(
            "backend: has {} addresses; give 1 to {MOST}, or leave it out",
            texts.len()
        )));
    }
    let mut addresses = Vec::with_capacity(texts.len());
    for (number, text) in texts.iter().enumerate() {
        // The text is not repeated: it may hold credentials.
        let address = BackendAddress::parse(text)
            .map_err(|wrong| D::Error::custom(format!("backend: number {} {wrong}", number + 1)))?;
        if addresses.contains(&address) {
            return Err(D::Error::custom(format!(
                "backend: {address} is there twice; leave one out"
            )));
        }
        addresses.push(address);
    }
    Ok(addresses)
}

/// Reads the groups of routes that stay with Hamlet.
pub(crate) fn own<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<RouteGroup>, D::Error> {
    let names = Vec::<String>::deserialize(from)?;
    let mut groups = Vec::with_capacity(names.len());
    for name in &names {
        let group = RouteGroup::named(name).ok_or_else(|| {
            let known: Vec<_> = RouteGroup::ALL.map(RouteGroup::name).into();
            D::Error::custom(format!(
                "own: {name:?} is no group of routes that Hamlet has; choose from {}",
                known.join(", ")
            ))
        })?;
        if groups.contains(&group) {
            return Err(D::Error::custom(format!("own: {name:?} is there twice")));
        }
        groups.push(group);
    }
    Ok(groups)
}

/// Reads the address of an admin door, which may have TLS.
pub(crate) fn admin_backend<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Url>, D::Error> {
    let text = String::deserialize(from)?;
    admin_address(&text).map(Some).ok_or_else(|| {
        D::Error::custom(
            "admin_backend: is no address of an admin door; it looks like http://127.0.0.1:6060, without credentials",
        )
    })
}

/// The address of an admin door.
#[must_use]
pub fn admin_address(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.path() == "/"
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::{BackendAddress, BackendAddressError};

    #[test]
    fn an_address_is_a_host_and_a_port() {
        let read = |text| BackendAddress::parse(text).map(|address| address.to_string());
        assert_eq!(
            read("http://127.0.0.1:8085"),
            Ok("http://127.0.0.1:8085".to_owned())
        );
        assert_eq!(read("http://stack/"), Ok("http://stack:80".to_owned()));
        assert_eq!(read("http://[::1]:1"), Ok("http://[::1]:1".to_owned()));
        assert_eq!(read("https://a"), Err(BackendAddressError::Tls));
        for wrong in [
            "",
            "a:1",
            "http://",
            "http://u:p@a",
            "http://a/b",
            "http://a?b",
            "ftp://a",
        ] {
            assert_eq!(read(wrong), Err(BackendAddressError::Malformed), "{wrong}");
        }
    }
}
