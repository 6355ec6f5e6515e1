//! Texts that are never shown.

use std::{fmt, fs, io, path::Path, sync::Arc};

use subtle::ConstantTimeEq as _;

/// A text that `Debug` does not show and that is compared in constant time.
#[derive(Clone)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Keeps `text` secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into().into())
    }

    /// Draws 32 random bytes and spells them in hex.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0_u8; 32];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        Ok(Self::new(hex::encode(bytes)))
    }

    /// Reads a secret from a file: its first line, or the one in use where the file holds several (see
    /// [`Keyring`](crate::Keyring)). White space around it does not count.
    ///
    /// # Errors
    /// When the file cannot be read or holds nothing.
    pub fn from_file(path: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(path)?;
        text.lines()
            .map(str::trim)
            .find(|line| !line.is_empty())
            .map(Self::new)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the file is empty"))
    }

    /// The text itself. Call it only where the text leaves for its destination.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `other` is the same text, found in constant time.
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
