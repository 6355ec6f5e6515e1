//! Passphrases, as the compatible clients and servers treat them. The passphrase itself is never stored.
//!
//! ```text
//! passphrase --PBKDF2--> master key --PBKDF2, 1 round--> login hash --scrypt--> what is stored
//!                             `--AES--> vault key --AES, HMAC--> private key of a pair
//! ```
//!
//! - [`client`]: what a browser does, and what the server does in its place for a passphrase in plain text
//! - [`server`]: the hash that the instance document holds
//! - [`vault`]: the keys of the owner's password vault
//! - [`credentials`]: all of these together, and the documents that hold them
//! - [`strength`]: how hard a passphrase in plain text is to guess
//! - [`register`]: the token with which the first passphrase is set

pub mod client;
pub mod credentials;
pub mod register;
pub mod server;
pub mod strength;
pub mod vault;

pub use credentials::{Chosen, Credentials, Given};

/// Fresh random bytes from the system.
fn random<const LENGTH: usize>() -> Result<[u8; LENGTH], getrandom::Error> {
    let mut bytes = [0_u8; LENGTH];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}
