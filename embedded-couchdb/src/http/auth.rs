//! Authentication: by a cookie of `/_session`, or by name and password.

use std::net::IpAddr;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, Mac as _};
use http::header;
use secret::{Keyring, Secret};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{
    clock::now,
    logins::Logins,
    request::ApiRequest,
    users::{self, User},
};
use crate::{
    api_error::ApiError,
    json::{Json, obj},
    storage::Store,
};

/// The lifetime of a cookie in seconds, as in CouchDB.
pub(crate) const COOKIE_SECONDS: i64 = 600;

/// The age in seconds from which a cookie that is used is renewed: a tenth of its life.
const RENEWED_AFTER: i64 = COOKIE_SECONDS / 10;

/// The role of server administrators.
pub(crate) const ADMIN: &str = "_admin";

/// The length of an HMAC in bytes.
const SIGNATURE: usize = 32;

/// The credentials of the administrator, and what is known of those of users.
pub(crate) struct Auth {
    pub(crate) user: String,
    password: Keyring,
    /// The key that signs cookies, together with the password of the administrator or the salt of a user.
    secret: String,
    pub(crate) logins: Logins,
}

/// Who sent a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller {
    /// `None` for a stranger.
    pub(crate) name: Option<String>,
    pub(crate) roles: Vec<String>,
    pub(crate) proof: Option<Proof>,
    /// A new cookie in place of one that has become old.
    pub(crate) renewed: Option<String>,
}

/// How a caller was authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    Password,
    Cookie,
}

impl Caller {
    pub(crate) fn is_admin(&self) -> bool {
        self.has_role(ADMIN)
    }

    pub(crate) fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|own| own == role)
    }

    /// The members `name` and `roles` of what CouchDB calls the user's context.
    pub(crate) fn context(&self) -> [(&'static str, Json); 2] {
        let roles = self.roles.iter().map(|role| role.as_str().into()).collect();
        [
            ("name", self.name.as_deref().map_or(Json::Null, Json::from)),
            ("roles", Json::Arr(roles)),
        ]
    }

    /// The context in a database, as functions of design documents see it.
    pub(crate) fn context_in(&self, db: &str) -> Json {
        let [name, roles] = self.context();
        obj([("db", db.into()), name, roles])
    }
}

/// Someone whose password was right, and what signs the cookies.
pub(crate) struct Known {
    pub(crate) caller: Caller,
    key: Vec<u8>,
}

impl Known {
    /// The value of a new cookie, signed at `now` (seconds since 1970).
    pub(crate) fn cookie(&self, now: i64) -> String {
        let name = self.caller.name.as_deref().unwrap_or_default();
        let message = format!("{name}:{now:X}");
        let mut token = message.clone().into_bytes();
        token.push(b':');
        token.extend(sign(&self.key, &message));
        URL_SAFE_NO_PAD.encode(token)
    }
}

impl Auth {
    pub(crate) fn new(user: String, password: Keyring, secret: String) -> Self {
        Self {
            user,
            password,
            secret,
            logins: Logins::new(),
        }
    }

    fn is_admin(&self, name: &str, password: &str) -> bool {
        // Both comparisons always run, so that the time does not reveal which one failed.
        let same_password = self.password.accepts(password);
        let same_user = bool::from(name.as_bytes().ct_eq(self.user.as_bytes()));
        same_password & same_user
    }

    /// The key of an administrator's cookies. It changes with the password.
    fn admin_key(&self, password: &Secret) -> Vec<u8> {
        let mut key = self.secret.as_bytes().to_vec();
        key.extend_from_slice(&Sha256::digest(password.expose().as_bytes()));
        key
    }

    /// The key of a user's cookies. It changes with the salt, so with each new password.
    fn user_key(&self, user: &User) -> Vec<u8> {
        let mut key = self.secret.as_bytes().to_vec();
        key.extend_from_slice(user.salt.as_bytes());
        key
    }

    /// The roles of the administrator: a user of the same name adds its own.
    async fn admin_roles(&self, store: &Store) -> Result<Vec<String>, ApiError> {
        let mut roles = vec![ADMIN.to_owned()];
        if let Some(user) = users::find(store, &self.user).await? {
            roles.extend(user.roles.into_iter().filter(|role| role != ADMIN));
        }
        Ok(roles)
    }

    /// Checks a name and a password.
    ///
    /// # Errors
    /// 401 if they are wrong, 403 after too many wrong ones.
    pub(crate) async fn log_in(
        &self,
        store: &Store,
        peer: IpAddr,
        name: &str,
        password: &str,
    ) -> Result<Known, ApiError> {
        if self.is_admin(name, password) {
            return Ok(Known {
                caller: Caller {
                    name: Some(name.to_owned()),
                    roles: self.admin_roles(store).await?,
                    proof: Some(Proof::Password),
                    renewed: None,
                },
                key: self.admin_key(&self.password.current()),
            });
        }
        if name == self.user {
            return Err(wrong_credentials());
        }
        let user = users::find(store, name).await?;
        let user = self.logins.check(peer, name, password, user).await?;
        Ok(Known {
            key: self.user_key(&user),
            caller: Caller {
                name: Some(name.to_owned()),
                roles: user.roles,
                proof: Some(Proof::Password),
                renewed: None,
            },
        })
    }

    /// Authenticates the caller. A cookie that is valid counts, whatever else was sent.
    ///
    /// # Errors
    /// 400 for what is malformed. A wrong password is an error even where none is needed.
    pub(crate) async fn caller(
        &self,
        store: &Store,
        request: &ApiRequest,
    ) -> Result<Caller, ApiError> {
        if let Some(caller) = self.by_cookie(store, request).await? {
            return Ok(caller);
        }
        let given = request.header(header::AUTHORIZATION).unwrap_or_default();
        let Some(encoded) = given.strip_prefix("Basic ") else {
            return Ok(Caller::default());
        };
        let pair = STANDARD
            .decode(encoded.trim())
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| {
                ApiError::bad_request("Authorization header has invalid base64 value")
            })?;
        let Some((name, password)) = pair.split_once(':') else {
            return Ok(Caller::default());
        };
        let known = self.log_in(store, request.peer, name, password).await?;
        Ok(known.caller)
    }

    async fn by_cookie(
        &self,
        store: &Store,
        request: &ApiRequest,
    ) -> Result<Option<Caller>, ApiError> {
        let cookies = request.header(header::COOKIE).unwrap_or_default();
        let cookie = cookies
            .split(';')
            .find_map(|part| part.trim().strip_prefix("AuthSession="))
            .map(|cookie| cookie.trim_matches('"'))
            .filter(|cookie| !cookie.is_empty());
        let Some(cookie) = cookie else {
            return Ok(None);
        };
        let token = Token::parse(cookie)?;
        let now = now();
        let Some(made) = token
            .made
            .filter(|made| (*made..made + COOKIE_SECONDS).contains(&now))
        else {
            return Ok(None);
        };
        let (keys, roles) = if token.name == self.user {
            let passwords = self.password.all();
            let keys = passwords.iter().map(|password| self.admin_key(password));
            (keys.collect(), self.admin_roles(store).await?)
        } else {
            match users::find(store, &token.name).await? {
                Some(user) => (vec![self.user_key(&user)], user.roles),
                None => return Ok(None),
            }
        };
        let is_signed = |key: &Vec<u8>| -> bool {
            sign(key, &token.message)
                .as_slice()
                .ct_eq(&token.signature)
                .into()
        };
        let Some(key) = keys.into_iter().find(is_signed) else {
            return Ok(None);
        };
        let mut known = Known {
            caller: Caller {
                name: Some(token.name),
                roles,
                proof: Some(Proof::Cookie),
                renewed: None,
            },
            key,
        };
        if now - made > RENEWED_AFTER {
            known.caller.renewed = Some(known.cookie(now));
        }
        Ok(Some(known.caller))
    }
}

/// The parts of a cookie: `name:HEX-SECONDS:signature`.
struct Token {
    message: String,
    name: String,
    /// Seconds since 1970; `None` if they are no number.
    made: Option<i64>,
    signature: Vec<u8>,
}

impl Token {
    fn parse(cookie: &str) -> Result<Self, ApiError> {
        let malformed =
            || ApiError::bad_request("Malformed AuthSession cookie. Please clear your cookies.");
        let token = URL_SAFE_NO_PAD
            .decode(cookie.trim_end_matches('='))
            .map_err(|_| malformed())?;
        let mut parts = token.splitn(3, |byte| *byte == b':');
        let (Some(name), Some(made), Some(signature)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed());
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (name, made) = (text(name), text(made));
        Ok(Self {
            message: format!("{name}:{made}"),
            made: i64::from_str_radix(&made, 16).ok(),
            name,
            signature: signature.to_vec(),
        })
    }
}

fn sign(key: &[u8], message: &str) -> [u8; SIGNATURE] {
    match Hmac::<Sha256>::new_from_slice(key) {
        Ok(mut mac) => {
            mac.update(message.as_bytes());
            mac.finalize().into_bytes().into()
        }
        // HMAC accepts a key of any length.
        Err(_) => [0; SIGNATURE],
    }
}

/// The error for wrong credentials.
pub(crate) fn wrong_credentials() -> ApiError {
    ApiError::unauthorized("Name or password is incorrect.")
}
