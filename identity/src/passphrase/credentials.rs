//! What is stored for a new passphrase in the documents of an instance.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    client::{Iterations, MasterKey, is_login_hash},
    random, server,
    vault::{DrawError, VaultKeys},
};
use crate::{invalid_field::InvalidField, time::Time};

/// The id of the vault's settings in the settings database.
pub const VAULT_SETTINGS_ID: &str = "io.cozy.settings.bitwarden";
/// The longest passphrase in plain text, in bytes.
const LONGEST_PASSPHRASE: usize = 1024;
/// The longest hint, in bytes.
const LONGEST_HINT: usize = 1024;

/// A new passphrase.
#[derive(Clone)]
pub enum Chosen {
    /// In plain text: the client's derivations have still to be done.
    Plain(String),
    /// Hashed by the client, with the keys that it generated.
    Hashed {
        /// The login hash.
        login_hash: String,
        /// The parameters of its derivation.
        iterations: Iterations,
        /// The keys of the vault.
        keys: VaultKeys,
    },
    /// A random passphrase that nobody knows: the owner logs in by other means.
    Random,
}

impl std::fmt::Debug for Chosen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain(…)",
            Self::Hashed { .. } => "Hashed(…)",
            Self::Random => "Random",
        })
    }
}

impl Chosen {
    /// The first passphrase of a new instance. `passwordless` is whether the owner logs in by other means. `None` when the
    /// owner will set it later, with the register link.
    ///
    /// # Errors
    /// When one is given that could never be used, or that can only be a mistake.
    pub fn at_creation(given: Given<'_>, passwordless: bool) -> Result<Option<Self>, InvalidField> {
        let wrong = |field: &str, wrong: &str| {
            Err(InvalidField {
                field: field.to_owned(),
                wrong: wrong.to_owned(),
            })
        };
        let is_hashed = given.kdf_iterations != 0;
        match (given.passphrase.is_empty(), passwordless) {
            (true, _) if is_hashed => wrong(
                "passphrase",
                "is missing, and kdf_iterations says how a client hashed it",
            ),
            (true, _) if !given.key.is_empty() => {
                wrong("passphrase", "is missing, and key goes with a passphrase")
            }
            (true, true) => Ok(Some(Self::Random)),
            (true, false) => Ok(None),
            (false, true) => wrong(
                "passphrase",
                "cannot be used with instance.magic_link or instance.franceconnect_id, with which the owner gets in \
                 without one; leave one of them out",
            ),
            (false, false) if is_hashed => given.hashed().map(Some),
            (false, false) if !given.key.is_empty() => wrong(
                "key",
                "goes with a passphrase that a client hashed; give kdf_iterations too, or no key",
            ),
            (false, false) => {
                check_plain("passphrase", given.passphrase)?;
                Ok(Some(Self::Plain(given.passphrase.to_owned())))
            }
        }
    }
}

/// The first passphrase as a request to create an instance gives it.
#[derive(Clone, Copy, Default)]
pub struct Given<'a> {
    /// In plain text, or hashed by a client; empty when there is none.
    pub passphrase: &'a str,
    /// The number of iterations that the client made; 0 for plain text.
    pub kdf_iterations: i32,
    /// The client's vault key; empty with plain text.
    pub key: &'a str,
}

impl std::fmt::Debug for Given<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Given(…)")
    }
}

impl Given<'_> {
    fn hashed(self) -> Result<Chosen, InvalidField> {
        let wrong = |field: &str, wrong: String| InvalidField {
            field: field.to_owned(),
            wrong,
        };
        let iterations = Iterations::new(self.kdf_iterations)
            .map_err(|out_of_range| wrong("kdf_iterations", out_of_range.to_string()))?;
        if !is_login_hash(self.passphrase) {
            let told = "is not what a client makes with kdf_iterations: 32 bytes in base64; leave kdf_iterations out \
                        with a passphrase in plain text";
            return Err(wrong("passphrase", told.to_owned()));
        }
        let keys = VaultKeys::from_client(self.key, "", "")
            .map_err(|(field, told)| wrong(field, told.to_owned()))?;
        Ok(Chosen::Hashed {
            login_hash: self.passphrase.to_owned(),
            iterations,
            keys,
        })
    }
}

/// Checks a passphrase in plain text. This refuses only what must be a mistake; how hard it is to guess is asked
/// elsewhere.
///
/// # Errors
/// What is wrong, for the field `field`. The passphrase itself is not repeated.
pub fn check_plain(field: &str, passphrase: &str) -> Result<(), InvalidField> {
    let wrong = if passphrase.is_empty() {
        "is empty; give a passphrase".to_owned()
    } else if passphrase.len() > LONGEST_PASSPHRASE {
        format!("is longer than {LONGEST_PASSPHRASE} bytes; use a shorter one")
    } else if passphrase.chars().any(char::is_control) {
        "holds a control character, such as the end of a line; leave it out".to_owned()
    } else {
        return Ok(());
    };
    Err(InvalidField {
        field: field.to_owned(),
        wrong,
    })
}

/// Checks a hint: a short text that is not the passphrase itself.
///
/// # Errors
/// What is wrong with the hint.
pub fn check_hint(hint: &str, passphrase: &str) -> Result<(), InvalidField> {
    let wrong = if hint.len() > LONGEST_HINT {
        format!("is longer than {LONGEST_HINT} bytes; use a shorter one")
    } else if hint.chars().any(char::is_control) {
        "holds a control character; use printable text on one line".to_owned()
    } else if !hint.is_empty() && hint == passphrase {
        "is the passphrase itself; whoever asks for the hint would get it".to_owned()
    } else {
        return Ok(());
    };
    Err(InvalidField {
        field: "hint".to_owned(),
        wrong,
    })
}

/// Everything that is derived from a passphrase, and the secrets that are renewed with it. It is stored sealed,
/// and writing it repeatedly has the same effect as once.
#[derive(Clone, Deserialize, PartialEq, Eq, Serialize)]
pub struct Credentials {
    /// The hash as instance documents keep it.
    pub passphrase_hash: String,
    /// The key of sessions and of the tokens of apps: base64 of 64 bytes.
    pub session_secret: String,
    /// Whether the owner knows the passphrase.
    pub defined: bool,
    /// The hint for the owner; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
    iterations: u32,
    security_stamp: String,
    keys: VaultKeys,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// Why credentials could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DeriveError {
    /// The system provides no randomness.
    #[error("the system has no randomness to give")]
    Randomness(#[from] getrandom::Error),
    /// The keys of the vault could not be generated.
    #[error("the keys of the vault could not be made")]
    Vault(#[from] DrawError),
    /// The hash could not be computed.
    #[error("the passphrase could not be hashed")]
    Hash(#[from] server::Unusable),
}

impl Credentials {
    /// Derives everything, including the client's part where it is missing. Takes up to a second: never call it
    /// on a thread that serves requests. `salt` is that of [`super::client::salt`].
    ///
    /// # Errors
    /// When the system provides no randomness.
    pub fn derive(chosen: &Chosen, salt: &str, hint: &str) -> Result<Self, DeriveError> {
        let (login_hash, iterations, keys) = match chosen {
            Chosen::Plain(passphrase) => {
                let iterations = Iterations::DEFAULT;
                let master = MasterKey::derive(passphrase, salt, iterations);
                let keys = VaultKeys::draw(&master)?;
                (master.login_hash(passphrase), iterations, keys)
            }
            Chosen::Hashed {
                login_hash,
                iterations,
                keys,
            } => (login_hash.clone(), *iterations, keys.clone()),
            // Nobody knows the passphrase, so the key is drawn directly instead of being derived from a random
            // passphrase.
            Chosen::Random => {
                let keys = VaultKeys::draw(&MasterKey::draw()?)?;
                let login_hash = STANDARD.encode(random::<32>()?);
                (login_hash, Iterations::DEFAULT, keys)
            }
        };
        Ok(Self {
            passphrase_hash: server::hash(&login_hash, &random()?)?,
            session_secret: STANDARD.encode(random::<64>()?),
            defined: !matches!(chosen, Chosen::Random),
            hint: hint.to_owned(),
            iterations: iterations.get(),
            security_stamp: uuid::Uuid::now_v7().to_string(),
            keys,
        })
    }

    /// Whether the vault's settings hold these credentials already.
    #[must_use]
    pub fn are_in(&self, settings: &Map<String, Value>) -> bool {
        settings.get("security_stamp").and_then(Value::as_str) == Some(&self.security_stamp)
    }

    /// The vault's settings with these credentials. Members that other software keeps in `before` are kept, and
    /// so is the hint if there is no new one.
    ///
    /// The keys of an organisation are left out. The model encrypts them with a key of the host and, without
    /// such a key, with a constant that everybody knows. Other software could not decrypt them with a key of
    /// ours, and a key that everybody can decrypt is worse than none.
    #[must_use]
    pub fn vault_settings(
        &self,
        before: Option<Map<String, Value>>,
        now: Time,
    ) -> Map<String, Value> {
        let mut settings = before.unwrap_or_default();
        settings.insert(
            "passphrase_kdf_iterations".to_owned(),
            self.iterations.into(),
        );
        // 0, PBKDF2, is stored as an absent field.
        settings.shift_remove("passphrase_kdf");
        for (field, text) in [
            ("security_stamp", &self.security_stamp),
            ("key", &self.keys.key),
            ("public_key", &self.keys.public_key),
            ("private_key", &self.keys.private_key),
        ] {
            if text.is_empty() {
                settings.shift_remove(field);
            } else {
                settings.insert(field.to_owned(), text.as_str().into());
            }
        }
        if !self.hint.is_empty() {
            settings.insert("passphrase_hint".to_owned(), self.hint.as_str().into());
        }
        let metadata = settings.entry("cozyMetadata").or_insert_with(
            || json!({"doctypeVersion": "1", "metadataVersion": 1, "createdAt": now}),
        );
        if let Value::Object(metadata) = metadata {
            metadata.insert("updatedAt".to_owned(), now.to_string().into());
        }
        settings
    }
}

/// What the settings of the vault say of the present passphrase.
#[derive(Clone, Default)]
pub struct Stored {
    /// The rounds of the client's derivation; `None` when clients send the passphrase itself.
    pub iterations: Option<Iterations>,
    /// The keys.
    pub keys: VaultKeys,
    /// What helps the owner to remember; empty for none.
    pub hint: String,
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stored(…)")
    }
}

impl Stored {
    /// Reads it.
    #[must_use]
    pub fn read(settings: &Map<String, Value>) -> Self {
        let text = |field: &str| {
            let text = settings.get(field).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let iterations = settings
            .get("passphrase_kdf_iterations")
            .and_then(Value::as_i64);
        let iterations = iterations.and_then(|count| i32::try_from(count).ok());
        Self {
            iterations: iterations.and_then(|count| Iterations::new(count).ok()),
            keys: VaultKeys {
                key: text("key"),
                public_key: text("public_key"),
                private_key: text("private_key"),
            },
            hint: text("passphrase_hint"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a failed expectation is the test failing"
    )]

    use serde_json::json;

    use super::{
        super::{
            client::{Iterations, MasterKey, salt},
            server,
            vault::VaultKeys,
        },
        Chosen, Credentials, Given, check_hint, check_plain,
    };

    const NOW: &str = "2026-01-01T00:00:00.000000Z";

    fn hashed() -> Chosen {
        Chosen::Hashed {
            login_hash: "HEhAI609eizfa2S1eq290Osz7j+LywysXeXffnu+ASk=".to_owned(),
            iterations: Iterations::new(60_000).unwrap(),
            keys: VaultKeys::from_client("0.aWk=|a2V5", "", "").unwrap(),
        }
    }

    #[test]
    fn a_plain_passphrase_gives_the_same_result_as_a_client() {
        let salt = salt("alice.example.com", "");
        let plain = Chosen::Plain("cozy".to_owned());
        let credentials = Credentials::derive(&plain, &salt, "").unwrap();
        let login_hash = MasterKey::derive("cozy", &salt, Iterations::DEFAULT).login_hash("cozy");
        assert!(server::matches(&credentials.passphrase_hash, &login_hash));
        assert!(credentials.defined);
        let settings = credentials.vault_settings(None, NOW.parse().unwrap());
        let fields: Vec<_> = settings.keys().map(String::as_str).collect();
        assert_eq!(
            fields,
            [
                "passphrase_kdf_iterations",
                "security_stamp",
                "key",
                "public_key",
                "private_key",
                "cozyMetadata"
            ],
            "the fields of the model, without those of an organisation"
        );
        assert_eq!(settings["passphrase_kdf_iterations"], 650_000);
        let stamp: uuid::Uuid = settings["security_stamp"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(stamp.get_version_num(), 7);
        assert_eq!(
            settings["cozyMetadata"],
            json!({"doctypeVersion": "1", "metadataVersion": 1, "createdAt": NOW, "updatedAt": NOW})
        );
    }

    #[test]
    fn a_login_hash_of_a_client_is_used_unchanged() {
        let credentials = Credentials::derive(&hashed(), "", "my dog").unwrap();
        assert!(server::matches(
            &credentials.passphrase_hash,
            "HEhAI609eizfa2S1eq290Osz7j+LywysXeXffnu+ASk="
        ));
        let settings = credentials.vault_settings(None, NOW.parse().unwrap());
        assert_eq!(settings["passphrase_kdf_iterations"], 60_000);
        assert_eq!(settings["key"], "0.aWk=|a2V5");
        assert_eq!(settings["passphrase_hint"], "my dog");
        assert!(!settings.contains_key("public_key"));
    }

    #[test]
    fn every_derivation_renews_keys_and_secrets() {
        let one = Credentials::derive(&Chosen::Random, "", "").unwrap();
        let two = Credentials::derive(&Chosen::Random, "", "").unwrap();
        assert!(!one.defined);
        assert_ne!(one.passphrase_hash, two.passphrase_hash);
        assert_ne!(one.session_secret, two.session_secret);
        assert_ne!(one.security_stamp, two.security_stamp);
        assert_ne!(one.keys, two.keys);
    }

    #[test]
    fn other_members_of_the_vaults_settings_are_kept() {
        let before = json!({
            "passphrase_kdf": 1, "passphrase_kdf_iterations": 5, "security_stamp": "old", "key": "old",
            "private_key": "old", "public_key": "old", "passphrase_hint": "a hint",
            "organization_id": "theirs", "extension_installed": true,
            "cozyMetadata": {"doctypeVersion": "1", "createdAt": "2020-01-01T00:00:00Z"}
        });
        let credentials = Credentials::derive(&hashed(), "", "").unwrap();
        let after = credentials.vault_settings(before.as_object().cloned(), NOW.parse().unwrap());
        assert_eq!(after["organization_id"], "theirs");
        assert_eq!(after["extension_installed"], true);
        assert_eq!(after["passphrase_hint"], "a hint");
        assert_eq!(after["cozyMetadata"]["createdAt"], "2020-01-01T00:00:00Z");
        assert_eq!(after["cozyMetadata"]["updatedAt"], NOW);
        assert_eq!(after["key"], "0.aWk=|a2V5");
        assert!(credentials.are_in(&after));
        assert!(!credentials.are_in(before.as_object().unwrap()));
        for gone in ["passphrase_kdf", "public_key", "private_key"] {
            assert!(!after.contains_key(gone), "{gone}");
        }
    }

    #[test]
    fn a_passphrase_that_could_never_be_used_is_refused_and_not_replaced() {
        let plain = |passphrase| Given {
            passphrase,
            ..Given::default()
        };
        assert!(matches!(Chosen::at_creation(plain(""), false), Ok(None)));
        assert!(matches!(
            Chosen::at_creation(plain(""), true),
            Ok(Some(Chosen::Random))
        ));
        assert!(matches!(
            Chosen::at_creation(plain("cozy"), false),
            Ok(Some(Chosen::Plain(plain))) if plain == "cozy"
        ));
        for (given, passwordless) in [("cozy", true), ("a\nb", false)] {
            let error = Chosen::at_creation(plain(given), passwordless).unwrap_err();
            assert_eq!(error.field, "passphrase");
            assert!(!error.to_string().contains(given));
        }
    }

    #[test]
    fn a_first_passphrase_may_be_hashed_by_a_client() {
        let hash = "HEhAI609eizfa2S1eq290Osz7j+LywysXeXffnu+ASk=";
        let key = "0.aWk=|a2V5";
        let given = |passphrase, kdf_iterations, key| {
            let given = Given {
                passphrase,
                kdf_iterations,
                key,
            };
            Chosen::at_creation(given, false).map_err(|error| error.field)
        };
        assert!(matches!(
            given(hash, 60_000, key),
            Ok(Some(Chosen::Hashed { .. }))
        ));
        for (passphrase, iterations, key, field) in [
            (hash, 60_000, "", "key"),
            (hash, 60_000, "plain", "key"),
            (hash, 0, key, "key"),
            (hash, 1000, key, "kdf_iterations"),
            (hash, -1, key, "kdf_iterations"),
            ("cozy", 60_000, key, "passphrase"),
            ("", 60_000, key, "passphrase"),
            ("", 0, key, "passphrase"),
        ] {
            assert_eq!(
                given(passphrase, iterations, key).unwrap_err(),
                field,
                "{passphrase} {iterations} {key}"
            );
        }
    }

    #[test]
    fn nothing_of_it_is_shown() {
        let credentials = Credentials::derive(&hashed(), "", "hint").unwrap();
        assert_eq!(format!("{credentials:?}"), "Credentials(…)");
        assert_eq!(
            format!("{:?}", Chosen::Plain("secret".to_owned())),
            "Plain(…)"
        );
        assert_eq!(format!("{:?}", hashed()), "Hashed(…)");
    }

    #[test]
    fn an_obvious_mistake_is_refused_without_repeating_the_passphrase() {
        assert!(check_plain("passphrase", "correct horse, élève").is_ok());
        let long = "x".repeat(1025);
        for wrong in ["", "ends with\n", "a\0b", long.as_str()] {
            let error = check_plain("passphrase", wrong).unwrap_err();
            assert_eq!(error.field, "passphrase");
            assert!(wrong.is_empty() || !error.to_string().contains(wrong));
        }
        assert!(check_hint("", "x").is_ok());
        assert!(check_hint("my dog", "Rex").is_ok());
        assert!(check_hint("Rex", "Rex").is_err());
        assert!(check_hint("a\nb", "Rex").is_err());
        assert!(check_hint(&long, "Rex").is_err());
    }
}
