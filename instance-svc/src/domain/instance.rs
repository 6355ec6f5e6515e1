//! The documents of an instance that other software reads. They hold exactly the compatible fields and none of
//! Hamlet's own.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    claim::{Wanted, wanted},
    databases::INDEXES_VERSION,
    fields::AuthMode,
    location::DatabaseLocation,
    passphrase::Credentials,
    seed::Seed,
    spec::Spec,
    time::Time,
    token::Audience,
};

/// The document of an instance in `global/instances`.
///
/// Empty fields are absent, as in the compatible data. Unknown members are kept unchanged.
#[derive(Clone, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct InstanceDocument {
    /// The main domain, with its port.
    pub domain: String,
    /// Other domains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domain_aliases: Vec<String>,
    /// The domain of the organisation.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub org_domain: String,
    /// The id of the organisation.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub org_id: String,
    /// A former domain. Browsers are redirected from it, and it stays the salt of the passphrase.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub old_domain: String,
    /// The prefix of the databases.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// The language.
    #[serde(default)]
    pub locale: String,
    /// An id given by the hosting provider.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uuid: String,
    /// The subject at the OIDC provider.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub oidc_id: String,
    /// The subject at FranceConnect.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub franceconnect_id: String,
    /// The context.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub context: String,
    /// The sponsors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sponsorships: Vec<String>,
    /// The version of the terms that was signed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tos: String,
    /// The version of the terms that awaits a signature.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tos_latest: String,
    /// How the owner authenticates.
    #[serde(default, skip_serializing_if = "AuthMode::is_basic")]
    pub auth_mode: AuthMode,
    /// Whether the owner logs in with a mailed link.
    #[serde(default, skip_serializing_if = "is_false")]
    pub magic_link: bool,
    /// Whether the instance is being destroyed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub deleting: bool,
    /// Whether access is blocked.
    #[serde(default, skip_serializing_if = "is_false")]
    pub blocked: bool,
    /// Why access is blocked.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub blocking_reason: String,
    /// Whether apps are kept at their version.
    #[serde(default, skip_serializing_if = "is_false")]
    pub no_auto_update: bool,
    /// Whether the owner may log in.
    #[serde(default, skip_serializing_if = "is_false")]
    pub onboarding_finished: bool,
    /// Whether a passphrase is set; `None` when unknown.
    pub password_defined: Option<bool>,
    /// Bytes of files, as decimal digits; empty means no limit.
    #[serde(
        rename = "disk_quota",
        default,
        skip_serializing_if = "String::is_empty"
    )]
    pub disk_quota: String,
    /// The version of the indexes and views in place.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub indexes_version: i64,
    /// The position of the CouchDB cluster.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub couch_cluster: i64,
    /// The hash of the passphrase: base64 of its text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    passphrase_hash: String,
    /// The register token, with which the first passphrase is set: base64 of 16 bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub register_token: String,
    /// The key of session tokens: base64 of 64 bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    session_secret: String,
    /// The key of OAuth tokens: base64 of 128 bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    oauth_secret: String,
    /// The key of the command line's tokens: base64 of 128 bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    cli_secret: String,
    /// Further members, written by other software.
    #[serde(flatten)]
    pub(in crate::domain) rest: Map<String, Value>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_zero(number: &i64) -> bool {
    *number == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

impl std::fmt::Debug for InstanceDocument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InstanceDocument")
            .field("domain", &self.domain)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl InstanceDocument {
    /// Where the databases of the instance lie.
    #[must_use]
    pub fn location(&self) -> DatabaseLocation<'_> {
        DatabaseLocation {
            couch_cluster: self.couch_cluster,
            prefix: self.database_prefix(),
        }
    }

    /// The prefix of the names of its databases. Instances from before prefixes were introduced use their
    /// domain.
    #[must_use]
    pub fn database_prefix(&self) -> &str {
        if self.prefix.is_empty() {
            &self.domain
        } else {
            &self.prefix
        }
    }

    /// The document of a new instance, with secrets derived from `seed`.
    #[must_use]
    pub fn new(spec: &Spec, location: DatabaseLocation<'_>, seed: &Seed) -> Self {
        Self {
            prefix: location.prefix.to_owned(),
            password_defined: Some(false),
            indexes_version: INDEXES_VERSION,
            couch_cluster: location.couch_cluster,
            register_token: seed.base64::<16>("register_token"),
            session_secret: seed.base64::<64>("session_secret"),
            oauth_secret: seed.base64::<128>("oauth_secret"),
            cli_secret: seed.base64::<128>("cli_secret"),
            ..spec.documents().instance
        }
    }

    /// The feature sets to ask a manager for; empty when the document has none.
    #[must_use]
    pub fn feature_sets(&self) -> Vec<String> {
        let sets = self.rest.get("feature_sets").and_then(Value::as_array);
        let texts = sets.into_iter().flatten().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    }

    /// When OAuth clients that are deleted by now were used last, as other software has noted.
    pub(crate) fn last_activity_of_deleted_clients(&self) -> Option<Time> {
        let noted = self.rest.get("last_activity_from_deleted_oauth_clients");
        noted?.as_str()?.parse().ok()
    }

    /// The feature flags of this instance alone; `None` when the document has none.
    #[must_use]
    pub fn feature_flags(&self) -> Option<&Map<String, Value>> {
        self.rest.get("feature_flags")?.as_object()
    }

    /// Sets a passphrase. The owner may log in with it from now on. Everything that depended on the previous
    /// passphrase, or on a token to set or reset one, becomes invalid.
    pub fn take_credentials(&mut self, credentials: &Credentials) {
        self.passphrase_hash
            .clone_from(&credentials.passphrase_hash);
        self.session_secret.clone_from(&credentials.session_secret);
        self.password_defined = Some(credentials.defined);
        self.onboarding_finished = true;
        self.register_token.clear();
        for field in [RESET_TOKEN, RESET_TIME] {
            self.rest.shift_remove(field);
        }
    }

    /// Sets the token with which an owner who has forgotten the passphrase chooses a new one, until `end`.
    pub fn set_reset_token(&mut self, token: &str, end: Time) {
        for (field, text) in [
            (RESET_TOKEN, token.to_owned()),
            (RESET_TIME, end.to_string()),
        ] {
            self.rest.insert(field.to_owned(), text.into());
        }
    }

    /// That token as stored, empty when there is none, and when it expires. One without a readable time has expired.
    #[must_use]
    pub fn reset_token(&self) -> (&str, Time) {
        let text = |field: &str| self.rest.get(field).and_then(Value::as_str);
        let end = text(RESET_TIME).and_then(|end| end.parse().ok());
        (
            text(RESET_TOKEN).unwrap_or_default(),
            end.unwrap_or(Time::MIN),
        )
    }

    /// Takes new keys of sessions and tokens. What was signed with the former ones opens nothing any more.
    pub fn take_token_keys(&mut self, keys: &TokenKeys) {
        self.session_secret.clone_from(&keys.session);
        self.oauth_secret.clone_from(&keys.oauth);
        self.cli_secret.clone_from(&keys.cli);
    }

    /// The key that signs the tokens of an audience; `None` when the document holds no readable one.
    ///
    /// The two characters before the session secret are a version: the compatible software changed them once to
    /// end all sessions.
    #[must_use]
    pub fn token_key(&self, audience: Audience) -> Option<Vec<u8>> {
        let (version, secret) = match audience {
            Audience::App | Audience::Konnector => ("2:", &self.session_secret),
            Audience::Cli => ("", &self.cli_secret),
            Audience::Access | Audience::Refresh | Audience::Registration => {
                ("", &self.oauth_secret)
            }
        };
        let secret = STANDARD.decode(secret).ok()?;
        (!secret.is_empty()).then(|| [version.as_bytes(), &secret].concat())
    }

    /// The hash of the passphrase, as [`server`](super::passphrase::server) reads it; empty when there is none.
    #[must_use]
    pub fn stored_passphrase_hash(&self) -> &str {
        &self.passphrase_hash
    }

    /// The register token as stored; empty once the passphrase is set.
    #[must_use]
    pub const fn open_register_token(&self) -> &str {
        if self.onboarding_finished {
            ""
        } else {
            self.register_token.as_str()
        }
    }

    /// The claims of its names, in the order in which they are made.
    #[must_use]
    pub fn wanted(&self) -> Vec<Wanted> {
        wanted(&self.domain, &self.domain_aliases, &self.old_domain)
    }

    /// The register token as it appears in links: 32 hex digits. `None` once it was used, or when the document
    /// holds no readable one.
    #[must_use]
    pub fn register_token_hex(&self) -> Option<String> {
        if self.register_token.is_empty() || self.onboarding_finished {
            return None;
        }
        STANDARD.decode(&self.register_token).ok().map(hex::encode)
    }
}

/// The token of a link to choose a new passphrase, and when it expires, in documents.
const RESET_TOKEN: &str = "passphrase_reset_token";
const RESET_TIME: &str = "passphrase_reset_time";

/// The keys of sessions and tokens: base64. `Debug` does not show them.
#[derive(Clone, Deserialize, PartialEq, Eq, Serialize)]
pub struct TokenKeys {
    session: String,
    oauth: String,
    cli: String,
}

impl std::fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKeys(…)")
    }
}

impl TokenKeys {
    /// New keys.
    ///
    /// # Errors
    /// When the system provides no randomness.
    pub fn draw() -> Result<Self, getrandom::Error> {
        let seed = Seed::draw()?;
        Ok(Self {
            session: seed.base64::<64>("session_secret"),
            oauth: seed.base64::<128>("oauth_secret"),
            cli: seed.base64::<128>("cli_secret"),
        })
    }
}

/// The id of the owner's settings.
pub const SETTINGS_ID: &str = "io.cozy.settings.instance";

/// The owner's settings of a new instance.
#[must_use]
pub fn settings_document(spec: &Spec) -> Map<String, Value> {
    spec.documents().settings
}

/// The contact of the owner. `url` is the instance's address with its final slash.
#[must_use]
pub fn owner_contact(spec: &Spec, url: &str) -> Map<String, Value> {
    let url = url.trim_end_matches('/');
    let mut contact = Map::new();
    contact.insert("me".to_owned(), Value::Bool(true));
    let asked = |path| spec.asked.text(path).unwrap_or_default();
    let (email, name) = (asked("email"), asked("public_name"));
    let before_at = email.split('@').next().unwrap_or_default();
    let or_name = |other: &str| if name.is_empty() { other } else { name }.to_owned();
    for (field, value) in [
        ("fullname", or_name(before_at)),
        ("displayName", or_name(email)),
    ] {
        if !value.is_empty() {
            contact.insert(field.to_owned(), Value::String(value));
        }
    }
    if !email.is_empty() {
        contact.insert(
            "email".to_owned(),
            json!([{"address": email, "primary": true}]),
        );
    }
    contact.insert("cozy".to_owned(), json!([{"url": url, "primary": true}]));
    let sort_key = if email.is_empty() { url } else { email };
    contact.insert(
        "indexes".to_owned(),
        json!({"byFamilyNameGivenNameEmailCozyUrl": sort_key}),
    );
    contact
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a failed expectation is the test failing"
    )]

    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde_json::{Value, json};

    use crate::domain::{
        fields::Asked,
        passphrase::{Chosen, Credentials},
    };

    use super::{DatabaseLocation, InstanceDocument, Seed, Spec, owner_contact, settings_document};

    const LOCATION: DatabaseLocation<'_> = DatabaseLocation {
        couch_cluster: 0,
        prefix: "cozyabc",
    };

    fn spec() -> Spec {
        Spec {
            asked: Asked::default()
                .with("domain", "alice.localhost:8085")
                .with("locale", "fr")
                .with("context", "dev")
                .with("public_name", "Alice")
                .with("email", "alice@example.org")
                .with("settings", json!({"offer": "freemium"})),
            ..Spec::default()
        }
    }

    #[test]
    fn a_new_document_has_the_fields_of_the_model_and_no_other() {
        let document = InstanceDocument::new(&spec(), LOCATION, &Seed::draw().unwrap());
        let json = serde_json::to_value(&document).unwrap();
        let names: Vec<_> = json
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(
            names,
            [
                "domain",
                "prefix",
                "locale",
                "context",
                "password_defined",
                "indexes_version",
                "register_token",
                "session_secret",
                "oauth_secret",
                "cli_secret"
            ]
        );
        for (secret, length) in [
            ("register_token", 16),
            ("session_secret", 64),
            ("oauth_secret", 128),
            ("cli_secret", 128),
        ] {
            let bytes = STANDARD.decode(json[secret].as_str().unwrap()).unwrap();
            assert_eq!(bytes.len(), length, "{secret}");
        }
    }

    #[test]
    fn a_new_passphrase_invalidates_earlier_secrets() {
        let mut document: InstanceDocument = serde_json::from_value(json!({
            "domain": "a.example", "locale": "en", "password_defined": false,
            "passphrase_hash": "b2xk", "passphrase_reset_token": "b2xk",
            "passphrase_reset_time": "2026-01-01T00:00:00Z", "register_token": "b2xk",
            "session_secret": "b2xk", "oauth_secret": "b2xk", "cli_secret": "b2xk",
            "feature_flags": {"x": 1}
        }))
        .unwrap();
        let credentials = Credentials::derive(&Chosen::Random, "", "").unwrap();
        document.take_credentials(&credentials);
        assert_eq!(
            serde_json::to_value(&document).unwrap(),
            json!({
                "domain": "a.example", "locale": "en", "onboarding_finished": true,
                "password_defined": false, "passphrase_hash": credentials.passphrase_hash,
                "session_secret": credentials.session_secret,
                "oauth_secret": "b2xk", "cli_secret": "b2xk", "feature_flags": {"x": 1}
            })
        );
        let mut again = document.clone();
        again.take_credentials(&credentials);
        assert_eq!(
            serde_json::to_value(&document).unwrap(),
            serde_json::to_value(&again).unwrap()
        );
    }

    #[test]
    fn new_keys_replace_all_and_change_nothing_else() {
        let mut document = InstanceDocument::new(&spec(), LOCATION, &Seed::draw().unwrap());
        let before = serde_json::to_value(&document).unwrap();
        let keys = super::TokenKeys::draw().unwrap();
        document.take_token_keys(&keys);
        let after = serde_json::to_value(&document).unwrap();
        for (name, value) in before.as_object().unwrap() {
            let is_key = ["session_secret", "oauth_secret", "cli_secret"].contains(&name.as_str());
            assert_eq!(after[name] != *value, is_key, "{name}");
        }
        assert_eq!(format!("{keys:?}"), "TokenKeys(…)");
    }

    #[test]
    fn debug_shows_no_secret() {
        let document = InstanceDocument::new(&spec(), LOCATION, &Seed::draw().unwrap());
        let shown = format!("{document:?}");
        assert!(!shown.contains(&document.session_secret), "{shown}");
        assert!(!shown.contains(&document.register_token), "{shown}");
    }

    #[test]
    fn unknown_members_of_a_document_are_kept() {
        let theirs = json!({
            "domain": "a.example", "locale": "en", "password_defined": null,
            "feature_flags": {"x": 1}, "passphrase_hash": "aGFzaA=="
        });
        let document: InstanceDocument = serde_json::from_value(theirs.clone()).unwrap();
        assert_eq!(serde_json::to_value(&document).unwrap(), theirs);
    }

    #[test]
    fn settings_and_contact_are_those_of_the_model() {
        assert_eq!(
            Value::Object(settings_document(&spec())),
            json!({"offer": "freemium", "email": "alice@example.org", "public_name": "Alice"})
        );
        assert_eq!(
            Value::Object(owner_contact(&spec(), "http://alice.localhost:8085/")),
            json!({
                "me": true, "fullname": "Alice", "displayName": "Alice",
                "email": [{"address": "alice@example.org", "primary": true}],
                "cozy": [{"url": "http://alice.localhost:8085", "primary": true}],
                "indexes": {"byFamilyNameGivenNameEmailCozyUrl": "alice@example.org"}
            })
        );
    }
}
