//! Secret values.

use std::{fmt, fs, io, path::Path, sync::Arc};

use subtle::ConstantTimeEq as _;

/// A secret text. `Debug` hides it, and it is compared in constant time.
#[derive(Clone)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Wraps `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into().into())
    }

    /// A new secret: 32 random bytes of the system as 64 hex digits.
    ///
    /// # Errors
    /// If the system provides no random bytes.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0_u8; 32];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        Ok(Self::new(hex::encode(bytes)))
    }

    /// Reads the first non-empty line of a file, without surrounding white space. In a file with several
    /// values, that is the current one (see [`Keyring`](crate::Keyring)).
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] if the file has no such line.
    pub fn from_file(path: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(path)?;
        text.lines()
            .map(str::trim)
            .find(|line| !line.is_empty())
            .map(Self::new)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the file is empty"))
    }

    /// The plain text, for the place where it is sent or hashed.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `other` equals the secret, compared in constant time.
    #[must_use]
    pub fn matches(&self, other: &str) -> bool {
        self.0.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl std::str::FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::new(text))
    }
}
