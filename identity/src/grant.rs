//! What a client asks an owner for, and the code with which it fetches that (RFC 6749, RFC 7636).
//!
//! A code is a document of the instance, whose id is the code.

use std::{fmt, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{client::Client, invalid_field::InvalidField, scope, secrets::are_same, time::Time};

/// How long a code can be used.
pub const LIFE: Duration = Duration::from_secs(5 * 60);
/// How far the clock of whoever made a code may be ahead, in seconds.
const AHEAD: i64 = 60;
/// The longest `state` that is given back, in bytes.
const LONGEST_STATE: usize = 4096;
/// The only way to make a challenge of a verifier.
const METHOD: &str = "S256";
/// The rule that lets a client know that its user is the owner, and nothing else.
const LOGIN: &str = "login";
const EVERYTHING: &str = "*";

/// A request for access, as the browser of the owner brings it.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The id of the client.
    pub client_id: String,
    /// Where the browser goes with the answer.
    pub redirect_uri: String,
    /// What the client gets back with the answer.
    pub state: String,
    /// What kind of answer it wants.
    pub response_type: String,
    /// What it wants to do: rules, separated by spaces.
    pub scope: String,
    /// The challenge of a verifier that the client keeps; empty for none.
    pub code_challenge: String,
    /// How the challenge was made.
    pub code_challenge_method: String,
}

impl Asked {
    /// The parameters by their names.
    #[must_use]
    pub fn parameters(&self) -> [(&'static str, &str); 7] {
        [
            ("client_id", &self.client_id),
            ("redirect_uri", &self.redirect_uri),
            ("state", &self.state),
            ("response_type", &self.response_type),
            ("scope", &self.scope),
            ("code_challenge", &self.code_challenge),
            ("code_challenge_method", &self.code_challenge_method),
        ]
    }

    /// Checks the request of a client, and returns the rules that it asks for.
    ///
    /// # Errors
    /// The first parameter that cannot be used.
    pub fn check(&self, client: Client<'_>) -> Result<String, InvalidField> {
        if !client.redirects_to(&self.redirect_uri) {
            let wrong = "is not, to the letter, one of those that the client has registered";
            return Err(InvalidField::new("redirect_uri", wrong));
        }
        if self.response_type != "code" {
            let wrong = "is missing or not known; use code";
            return Err(InvalidField::new("response_type", wrong));
        }
        if self.state.len() > LONGEST_STATE {
            let wrong = format!("is longer than {LONGEST_STATE} bytes");
            return Err(InvalidField::new("state", wrong));
        }
        let scope = self.rules(client)?;
        self.check_challenge(client, &scope)?;
        Ok(scope)
    }

    fn rules(&self, client: Client<'_>) -> Result<String, InvalidField> {
        // A client that stands for an app may do what the app may do, whatever it asks for.
        if let Some(slug) = client.linked_app() {
            return Ok(format!("@io.cozy.apps/{slug}"));
        }
        let wrong = |wrong: String| InvalidField::new("scope", wrong);
        let rules: Vec<&str> = self.scope.split_whitespace().collect();
        if rules.is_empty() {
            let told = "is missing; say what the program wants to do, such as io.cozy.files:GET";
            return Err(wrong(told.to_owned()));
        }
        if rules.len() > scope::MOST {
            return Err(wrong(format!("holds more than {} rules", scope::MOST)));
        }
        for rule in &rules {
            if *rule == LOGIN && !(rules.len() == 1 && client.may_ask_for_login()) {
                let told = "is login, which an administrator has to allow for the client, and which stands alone";
                return Err(wrong(told.to_owned()));
            }
            if *rule == EVERYTHING && !client.may_do_everything() {
                let told = "is everything, which is for certified clients only";
                return Err(wrong(told.to_owned()));
            }
            // Otherwise any client could stand for any app, those among them for which none may.
            if rule.starts_with('@') {
                let told = "names what an installed app may do; a program gets that only when its software_id is that app";
                return Err(wrong(told.to_owned()));
            }
            scope::check(rule).map_err(wrong)?;
        }
        Ok(rules.join(" "))
    }

    fn check_challenge(&self, client: Client<'_>, scope: &str) -> Result<(), InvalidField> {
        if self.code_challenge.is_empty() {
            let has_to = client.secret().is_empty() || scope.split(' ').any(|it| it == EVERYTHING);
            if has_to {
                let wrong = "is missing; a client without a secret, and one that may do everything, proves with it that \
                             the code was for it";
                return Err(InvalidField::new("code_challenge", wrong));
            }
            return Ok(());
        }
        if self.code_challenge_method != METHOD {
            let wrong = "is missing or not known; use S256";
            return Err(InvalidField::new("code_challenge_method", wrong));
        }
        if is_base64url(&self.code_challenge, 43..=43) {
            Ok(())
        } else {
            let wrong = "is not the base64url of a SHA-256: 43 characters without padding";
            Err(InvalidField::new("code_challenge", wrong))
        }
    }
}

fn is_base64url(text: &str, length: std::ops::RangeInclusive<usize>) -> bool {
    length.contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// Whether rules say nothing but that the owner is the owner.
#[must_use]
pub fn is_login(scope: &str) -> bool {
    scope == LOGIN
}

/// The document of a code. Unknown members, written by other software, are kept.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Code {
    /// The client that asked for it.
    pub client_id: String,
    /// When it was made, in seconds since 1970.
    #[serde(default)]
    issued_at: i64,
    /// What the owner has allowed.
    pub scope: String,
    /// The challenge of the verifier that the client keeps; empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    code_challenge: String,
    /// Where the browser was sent with it; empty where that is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    redirect_uri: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Code {
    /// A code for what an owner has allowed now.
    #[must_use]
    pub fn new(asked: &Asked, scope: String, now: Time) -> Self {
        Self {
            client_id: asked.client_id.clone(),
            issued_at: now.to_unix().0,
            scope,
            code_challenge: asked.code_challenge.clone(),
            redirect_uri: asked.redirect_uri.clone(),
            rest: Map::new(),
        }
    }

    /// Whether its time has passed, or has not come.
    #[must_use]
    pub fn is_over(&self, now: Time) -> bool {
        let age = now.to_unix().0.saturating_sub(self.issued_at);
        let life = i64::try_from(LIFE.as_secs()).unwrap_or(i64::MAX);
        age >= life || age < -AHEAD
    }

    /// Checks that a client may use the code now.
    ///
    /// # Errors
    /// [`Refused::Code`], [`Refused::Verifier`].
    pub fn check(&self, redeemed: &Redeemed<'_>, now: Time) -> Result<(), Refused> {
        let was_sent_there = redeemed.redirect_uri.is_empty()
            || self.redirect_uri.is_empty()
            || redeemed.redirect_uri == self.redirect_uri;
        if self.is_over(now) || self.client_id != redeemed.client_id || !was_sent_there {
            return Err(Refused::Code);
        }
        // A verifier without a challenge is refused, too: somebody may have taken the challenge away.
        let is_proven = match (self.code_challenge.as_str(), redeemed.code_verifier) {
            ("", "") => true,
            ("", _) | (_, "") => false,
            (challenge, verifier) => {
                is_verifier(verifier) && are_same(&challenge_of(verifier), challenge)
            }
        };
        if is_proven {
            Ok(())
        } else {
            Err(Refused::Verifier)
        }
    }
}

/// The challenge of a verifier, by the only method that is known.
#[must_use]
pub fn challenge_of(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}

fn is_verifier(text: &str) -> bool {
    (43..=128).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

/// What a client sends with a code.
#[derive(Clone, Copy, Debug)]
pub struct Redeemed<'a> {
    /// The id of the client.
    pub client_id: &'a str,
    /// The verifier of the challenge; empty for none.
    pub code_verifier: &'a str,
    /// Where the browser was sent with the code; empty when the client does not say.
    pub redirect_uri: &'a str,
}

/// Why a client gets no token. The texts are those that compatible clients know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A parameter is missing.
    Missing(&'static str),
    /// There is no such client.
    Client,
    /// The secret is not that of the client.
    Secret,
    /// The code is none, was used, has expired, or is for somebody else.
    Code,
    /// The verifier is not that of the challenge.
    Verifier,
    /// The token is none of this client.
    RefreshToken,
    /// There is no such way to a token.
    GrantType,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(parameter) => write!(f, "the {parameter} parameter is mandatory"),
            Self::Client => f.write_str("the client must be registered"),
            Self::Secret => f.write_str("invalid client_secret"),
            Self::Code => f.write_str("invalid code"),
            Self::Verifier => f.write_str("invalid code_verifier"),
            Self::RefreshToken => f.write_str("invalid refresh token"),
            Self::GrantType => f.write_str("invalid grant type"),
        }
    }
}

impl std::error::Error for Refused {}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use serde_json::{Map, Value, json};

    use super::{Asked, Client, Code, Redeemed, Refused, Time, challenge_of};

    /// Of RFC 7636, appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    fn document(more: &Value) -> Map<String, Value> {
        let mut document = json!({"redirect_uris": ["app://cb"], "client_secret": "s"});
        for (name, value) in more.as_object().unwrap() {
            document
                .as_object_mut()
                .unwrap()
                .insert(name.clone(), value.clone());
        }
        document.as_object().unwrap().clone()
    }

    fn asked(scope: &str) -> Asked {
        Asked {
            client_id: "c".to_owned(),
            redirect_uri: "app://cb".to_owned(),
            state: "s".to_owned(),
            response_type: "code".to_owned(),
            scope: scope.to_owned(),
            ..Asked::default()
        }
    }

    fn with_challenge(scope: &str, challenge: &str, method: &str) -> Asked {
        Asked {
            code_challenge: challenge.to_owned(),
            code_challenge_method: method.to_owned(),
            ..asked(scope)
        }
    }

    fn at(seconds: i64) -> Time {
        Time::from_unix(1_800_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn each_parameter_of_a_request_is_checked() {
        let files = "io.cozy.files:GET";
        let uri = |uri: &str| Asked {
            redirect_uri: uri.to_owned(),
            ..asked(files)
        };
        let answer = Asked {
            response_type: "token".to_owned(),
            ..asked(files)
        };
        let state = Asked {
            state: "x".repeat(5000),
            ..asked(files)
        };
        let public = json!({"client_secret": ""});
        for (asked, client, wrong) in [
            (asked(files), json!({}), None),
            (asked(files), public.clone(), Some("code_challenge")),
            (with_challenge(files, CHALLENGE, "S256"), public, None),
            (
                with_challenge(files, CHALLENGE, "plain"),
                json!({}),
                Some("code_challenge_method"),
            ),
            (
                with_challenge(files, "x", "S256"),
                json!({}),
                Some("code_challenge"),
            ),
            (uri(""), json!({}), Some("redirect_uri")),
            (uri("app://cb/"), json!({}), Some("redirect_uri")),
            (
                uri("https://evil.example/"),
                json!({}),
                Some("redirect_uri"),
            ),
            (answer, json!({}), Some("response_type")),
            (state, json!({}), Some("state")),
            (asked(""), json!({}), Some("scope")),
            (asked("io.cozy.files:READ"), json!({}), Some("scope")),
            (asked("*"), json!({}), Some("scope")),
            (asked("@io.cozy.apps/settings"), json!({}), Some("scope")),
            (
                asked("io.cozy.files @io.cozy.apps/store"),
                json!({"flagship": true}),
                Some("scope"),
            ),
            (
                asked("*"),
                json!({"flagship": true}),
                Some("code_challenge"),
            ),
            (
                with_challenge("*", CHALLENGE, "S256"),
                json!({"flagship": true}),
                None,
            ),
            (asked("login"), json!({}), Some("scope")),
            (asked("login"), json!({"allow_login_scope": true}), None),
            (
                asked("login io.cozy.files"),
                json!({"allow_login_scope": true}),
                Some("scope"),
            ),
        ] {
            let document = document(&client);
            let checked = asked.check(Client::of(&document));
            let found = checked.err().map(|it| it.field);
            assert_eq!(found.as_deref(), wrong, "{asked:?}");
        }
        let linked = document(&json!({"software_id": "registry://drive"}));
        assert_eq!(
            asked("*").check(Client::of(&linked)),
            Ok("@io.cozy.apps/drive".to_owned())
        );
    }

    #[test]
    fn a_code_is_for_one_client_one_address_and_five_minutes() {
        let code = Code::new(&asked("login"), "login".to_owned(), at(0));
        let redeem = |client_id, redirect_uri| Redeemed {
            client_id,
            code_verifier: "",
            redirect_uri,
        };
        assert_eq!(code.check(&redeem("c", ""), at(299)), Ok(()));
        assert_eq!(code.check(&redeem("c", "app://cb"), at(0)), Ok(()));
        for (client, uri, now) in [
            ("d", "", 0),
            ("c", "app://other", 0),
            ("c", "", 300),
            ("c", "", -61),
        ] {
            assert_eq!(
                code.check(&redeem(client, uri), at(now)),
                Err(Refused::Code)
            );
        }
        // As the original writes it, seen in its database; and a member that it may have one day.
        let theirs: Code = serde_json::from_value(json!({
            "_id": "fa560b26d74c31a40f46aabde2002c89",
            "client_id": "c",
            "issued_at": 1_800_000_000,
            "scope": "io.cozy.files:GET io.cozy.settings:GET",
            "more": 1
        }))
        .unwrap();
        assert_eq!(theirs.check(&redeem("c", "app://cb"), at(1)), Ok(()));
        let kept = serde_json::to_value(theirs).unwrap();
        assert_eq!(kept.get("more"), Some(&json!(1)));
    }

    #[test]
    fn a_challenge_is_met_by_its_verifier_only() {
        assert_eq!(challenge_of(VERIFIER), CHALLENGE);
        let asked = with_challenge("login", CHALLENGE, "S256");
        let code = Code::new(&asked, "login".to_owned(), at(0));
        let plain = Code::new(&super::tests::asked("login"), "login".to_owned(), at(0));
        let other = "x".repeat(43);
        for (code, verifier, met) in [
            (&code, VERIFIER, true),
            (&code, "", false),
            (&code, CHALLENGE, false),
            (&code, other.as_str(), false),
            (&plain, "", true),
            (&plain, VERIFIER, false),
        ] {
            let redeemed = Redeemed {
                client_id: "c",
                code_verifier: verifier,
                redirect_uri: "",
            };
            let refused = code.check(&redeemed, at(0)).err();
            assert_eq!(refused, (!met).then_some(Refused::Verifier), "{verifier}");
        }
    }
}
