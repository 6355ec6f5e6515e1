//! The keys of the owner's password vault, in the texts that Bitwarden's clients understand.
//!
//! - `0.<iv>|<data>`: AES-256-CBC with PKCS#7
//! - `2.<iv>|<data>|<mac>`: the same, and HMAC-SHA-256 over iv and data
//!
//! Each part is standard base64.

use aes::cipher::{
    BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _, block_padding::Pkcs7,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::hmac;
use rsa::{
    PrivateKey,
    pkcs8::{EncodePrivateKey as _, EncodePublicKey as _},
    rand_core::{TryCryptoRng, TryRng},
};
use serde::{Deserialize, Serialize};

use super::{client::MasterKey, random};

/// The size of the key pair, in bits, as Bitwarden's clients generate it.
const RSA_BITS: usize = 2048;
/// The maximum length of a key from a client, in bytes. A private key has some 1 700.
const LONGEST_KEY: usize = 8192;

/// The keys of a vault. They can be decrypted only with the master key.
#[derive(Clone, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct VaultKeys {
    /// The symmetric key, encrypted with the master key.
    pub key: String,
    /// The public key of the pair: base64 of its PKIX DER.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub public_key: String,
    /// The private key of the pair, encrypted with the symmetric key.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub private_key: String,
}

impl std::fmt::Debug for VaultKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VaultKeys(…)")
    }
}

/// Why keys could not be generated.
#[derive(Debug, thiserror::Error)]
pub enum DrawError {
    /// The system provides no randomness.
    #[error("the system has no randomness to give")]
    Randomness(#[from] getrandom::Error),
    /// The key pair could not be generated.
    #[error("a key pair could not be made")]
    Rsa(#[from] rsa::Error),
    /// The private key could not be encoded.
    #[error("a private key could not be written")]
    PrivateKey(#[from] rsa::pkcs8::Error),
    /// The public key could not be encoded.
    #[error("a public key could not be written")]
    PublicKey(#[from] rsa::pkcs8::spki::Error),
}

impl VaultKeys {
    /// Generates a symmetric key and a key pair, as a client does. Finding the primes takes some 100 ms: never
    /// call it on a thread that serves requests.
    ///
    /// # Errors
    /// When the system provides no randomness.
    pub fn draw(master: &MasterKey) -> Result<Self, DrawError> {
        let (encryption, authentication) = (random()?, random()?);
        let symmetric = [encryption, authentication].concat();
        let pair = PrivateKey::new(&mut System, RSA_BITS)?;
        let public = pair.to_public_key().to_public_key_der()?;
        let private = pair.to_pkcs8_der()?;
        Ok(Self {
            key: encrypt(master.bytes(), &random()?, &symmetric),
            public_key: STANDARD.encode(public.as_bytes()),
            private_key: encrypt_and_sign(
                &encryption,
                &authentication,
                &random()?,
                private.as_bytes(),
            ),
        })
    }

    /// The same keys for another passphrase: the key of the vault is decrypted with the present master key, and encrypted
    /// with the next one. `None` when the present one does not decrypt it.
    ///
    /// # Errors
    /// When the system provides no randomness.
    pub fn for_next(
        &self,
        present: &MasterKey,
        next: &MasterKey,
    ) -> Result<Option<Self>, getrandom::Error> {
        let Some(key) = decrypt(present.bytes(), &self.key) else {
            return Ok(None);
        };
        Ok(Some(Self {
            key: encrypt(next.bytes(), &random()?, &key),
            ..self.clone()
        }))
    }

    /// Takes keys that a client generated. Only their form is checked; the server cannot read their content.
    ///
    /// # Errors
    /// The name of the first invalid key, and what would be valid.
    pub fn from_client(
        key: &str,
        public_key: &str,
        private_key: &str,
    ) -> Result<Self, (&'static str, &'static str)> {
        if !is_encrypted(key) {
            return Err((
                "key",
                "is not an encrypted key; it looks like 0.<iv>|<data>, both in base64",
            ));
        }
        match (public_key.is_empty(), private_key.is_empty()) {
            (true, true) => {}
            (false, false) => {
                let readable = public_key.len() <= LONGEST_KEY
                    && STANDARD
                        .decode(public_key)
                        .is_ok_and(|bytes| !bytes.is_empty());
                if !readable {
                    return Err(("public_key", "is not the base64 of a public key"));
                }
                if !is_encrypted(private_key) {
                    return Err((
                        "private_key",
                        "is not an encrypted key; it looks like 2.<iv>|<data>|<mac>, all in base64",
                    ));
                }
            }
            (true, false) => return Err(("public_key", "is missing, and private_key is not")),
            (false, true) => return Err(("private_key", "is missing, and public_key is not")),
        }
        Ok(Self {
            key: key.to_owned(),
            public_key: public_key.to_owned(),
            private_key: private_key.to_owned(),
        })
    }
}

/// `<kind>.<base64>|<base64>…`, up to three parts.
fn is_encrypted(text: &str) -> bool {
    let Some((kind, parts)) = text.split_once('.') else {
        return false;
    };
    text.len() <= LONGEST_KEY
        && kind.len() == 1
        && kind.bytes().all(|byte| byte.is_ascii_digit())
        && (1..=3).contains(&parts.split('|').count())
        && parts
            .split('|')
            .all(|part| STANDARD.decode(part).is_ok_and(|bytes| !bytes.is_empty()))
}

fn aes_cbc(key: &[u8; 32], iv: &[u8; 16], plain: &[u8]) -> Vec<u8> {
    cbc::Encryptor::<aes::Aes256>::new(key.into(), iv.into()).encrypt_padded_vec::<Pkcs7>(plain)
}

fn encrypt(key: &[u8; 32], iv: &[u8; 16], plain: &[u8]) -> String {
    let data = aes_cbc(key, iv, plain);
    format!("0.{}|{}", STANDARD.encode(iv), STANDARD.encode(data))
}

/// Decrypts what [`encrypt`] has made; `None` for everything else.
fn decrypt(key: &[u8; 32], text: &str) -> Option<Vec<u8>> {
    let (iv, data) = text.strip_prefix("0.")?.split_once('|')?;
    let iv: [u8; 16] = STANDARD.decode(iv).ok()?.try_into().ok()?;
    let data = STANDARD.decode(data).ok()?;
    cbc::Decryptor::<aes::Aes256>::new(key.into(), (&iv).into())
        .decrypt_padded_vec::<Pkcs7>(&data)
        .ok()
}

fn encrypt_and_sign(
    encryption: &[u8; 32],
    authentication: &[u8; 32],
    iv: &[u8; 16],
    plain: &[u8],
) -> String {
    let data = aes_cbc(encryption, iv, plain);
    let key = hmac::Key::new(hmac::HMAC_SHA256, authentication);
    let mut mac = hmac::Context::with_key(&key);
    mac.update(iv);
    mac.update(&data);
    format!(
        "2.{}|{}|{}",
        STANDARD.encode(iv),
        STANDARD.encode(&data),
        STANDARD.encode(mac.sign())
    )
}

/// The system's randomness, in the form that the generation of primes needs.
struct System;

impl TryRng for System {
    type Error = getrandom::Error;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        random().map(u32::from_le_bytes)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        random().map(u64::from_le_bytes)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        getrandom::fill(bytes)
    }
}

impl TryCryptoRng for System {}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a failed expectation is the test failing"
    )]

    use aes::cipher::{BlockModeDecrypt as _, KeyIvInit as _, block_padding::Pkcs7};
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use ring::hmac;
    use rsa::{
        PrivateKey, PublicKey,
        pkcs8::{DecodePrivateKey as _, DecodePublicKey as _},
        traits::PublicKeyParts as _,
    };

    use super::{
        super::client::{Iterations, MasterKey},
        VaultKeys, encrypt, encrypt_and_sign,
    };

    fn parts(text: &str) -> Vec<Vec<u8>> {
        let parts = text.split_once('.').unwrap().1;
        parts
            .split('|')
            .map(|part| STANDARD.decode(part).unwrap())
            .collect()
    }

    /// Decrypts as a client does.
    fn decrypt(key: &[u8], iv: &[u8], data: &[u8]) -> Vec<u8> {
        cbc::Decryptor::<aes::Aes256>::new_from_slices(key, iv)
            .unwrap()
            .decrypt_padded_vec::<Pkcs7>(data)
            .unwrap()
    }

    #[test]
    fn the_master_key_opens_all_keys() {
        let master = MasterKey::derive("cozy", "me@a.example", Iterations::new(50_000).unwrap());
        let keys = VaultKeys::draw(&master).unwrap();

        assert!(keys.key.starts_with("0."));
        let key = parts(&keys.key);
        // The sizes that were recorded of the model.
        assert_eq!(
            key.iter().map(Vec::len).collect::<Vec<_>>(),
            [16, 80],
            "iv and data"
        );
        let symmetric = decrypt(master.bytes(), &key[0], &key[1]);
        assert_eq!(symmetric.len(), 64);

        assert!(keys.private_key.starts_with("2."));
        let private = parts(&keys.private_key);
        assert_eq!((private[0].len(), private[2].len()), (16, 32));
        let mac_key = hmac::Key::new(hmac::HMAC_SHA256, &symmetric[32..]);
        let signed = [private[0].clone(), private[1].clone()].concat();
        hmac::verify(&mac_key, &signed, &private[2]).unwrap();
        let der = decrypt(&symmetric[..32], &private[0], &private[1]);
        let pair = PrivateKey::from_pkcs8_der(&der).unwrap();

        let public = STANDARD.decode(&keys.public_key).unwrap();
        assert_eq!(public.len(), 294, "as recorded of the model");
        let public = PublicKey::from_public_key_der(&public).unwrap();
        assert_eq!(public.size(), 256);
        assert_eq!(public, pair.to_public_key());

        let other = VaultKeys::draw(&master).unwrap();
        assert_ne!(keys, other, "keys are never drawn twice");
        assert_eq!(format!("{keys:?}"), "VaultKeys(…)");
    }

    #[test]
    fn encrypted_texts_match_other_implementations() {
        // Made with openssl enc and Python's hmac: keys 00 01 02 …, iv 00 01 …, plain text "hello".
        let iv: [u8; 16] = std::array::from_fn(|position| u8::try_from(position).unwrap());
        let key: [u8; 32] = std::array::from_fn(|position| u8::try_from(position).unwrap());
        let other = key.map(|byte| byte + 32);
        assert_eq!(
            encrypt(&key, &iv, b"hello"),
            "0.AAECAwQFBgcICQoLDA0ODw==|f9Etr7fpWZ0LhJrYwuPCHw=="
        );
        assert_eq!(
            encrypt_and_sign(&key, &other, &iv, b"hello"),
            "2.AAECAwQFBgcICQoLDA0ODw==|f9Etr7fpWZ0LhJrYwuPCHw==|+9qD9ssb/rXzQbhV1Ys+h8HsYzpeoyJSNu3s+7K09T8="
        );
    }

    #[test]
    fn the_form_of_client_keys_is_checked() {
        let key = "0.aWlpaWlpaWlpaWlpaWlpaQ==|ZGRk";
        let private = "2.aWk=|ZGRk|bWFj";
        assert!(VaultKeys::from_client(key, "", "").is_ok());
        assert!(VaultKeys::from_client(key, "cHVi", private).is_ok());
        let long = format!("0.{}", "A".repeat(9000));
        for (key, public, private, field) in [
            ("", "", "", "key"),
            ("plain", "", "", "key"),
            ("0.", "", "", "key"),
            ("0.not base64", "", "", "key"),
            ("00.aWk=", "", "", "key"),
            ("0.aWk=|aWk=|aWk=|aWk=", "", "", "key"),
            (long.as_str(), "", "", "key"),
            (key, "cHVi", "", "private_key"),
            (key, "", private, "public_key"),
            (key, "*", private, "public_key"),
            (key, "cHVi", "x", "private_key"),
        ] {
            let (wrong, _) = VaultKeys::from_client(key, public, private).unwrap_err();
            assert_eq!(wrong, field, "{key} {public} {private}");
        }
    }
}
