//! Who asks: the administrator, by password or cookie, or nobody.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use hmac::{Hmac, Mac as _};
use http::{StatusCode, header};
use secret::{Keyring, Secret};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{
    App,
    answer::Answer,
    call::{Call, decode},
    root::now,
};
use crate::{
    failure::Failure,
    json::{Json, obj},
};

/// A cookie lasts as long as CouchDB's.
const COOKIE_SECONDS: i64 = 600;

/// What is needed to tell the administrator from others.
pub(crate) struct Auth {
    user: String,
    password: Keyring,
    /// What cookies are signed with, together with the password.
    secret: String,
}

/// How somebody was recognized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Nobody,
    ByPassword,
    ByCookie,
}

impl Auth {
    pub(crate) const fn new(user: String, password: Keyring, secret: String) -> Self {
        Self {
            user,
            password,
            secret,
        }
    }

    fn accepts(&self, user: &str, password: &str) -> bool {
        // Both are compared, whatever the first says.
        let same_password = self.password.accepts(password);
        let same_user = bool::from(user.as_bytes().ct_eq(self.user.as_bytes()));
        same_password & same_user
    }

    fn sign(&self, message: &str, password: &Secret) -> Vec<u8> {
        // A cookie ends with the password that it was given for.
        let mut key = self.secret.as_bytes().to_vec();
        key.extend_from_slice(&Sha256::digest(password.expose().as_bytes()));
        match Hmac::<Sha256>::new_from_slice(&key) {
            Ok(mut mac) => {
                mac.update(message.as_bytes());
                mac.finalize().into_bytes().to_vec()
            }
            // A key of any length is fine for HMAC.
            Err(_) => Vec::new(),
        }
    }

    fn cookie(&self, now: i64) -> String {
        let message = format!("{}:{now:X}", self.user);
        let mut token = message.clone().into_bytes();
        token.push(b':');
        token.extend(self.sign(&message, &self.password.current()));
        URL_SAFE_NO_PAD.encode(token)
    }

    fn accepts_cookie(&self, cookie: &str, now: i64) -> bool {
        let Ok(token) = URL_SAFE_NO_PAD.decode(cookie) else {
            return false;
        };
        let Some(at) = token.len().checked_sub(32) else {
            return false;
        };
        let (front, signature) = token.split_at(at);
        let Some(message) = front
            .strip_suffix(b":")
            .and_then(|front| std::str::from_utf8(front).ok())
        else {
            return false;
        };
        let Some((user, made)) = message.rsplit_once(':') else {
            return false;
        };
        let Ok(made) = i64::from_str_radix(made, 16) else {
            return false;
        };
        user == self.user
            && (made..made + COOKIE_SECONDS).contains(&now)
            && self.password.all().iter().any(|password| {
                self.sign(message, password)
                    .as_slice()
                    .ct_eq(signature)
                    .into()
            })
    }

    /// Recognizes the caller. A wrong password is refused, wherever it is used.
    pub(crate) fn caller(&self, call: &Call) -> Result<Caller, Failure> {
        let cookies = call.header(header::COOKIE).unwrap_or_default();
        let cookie = cookies
            .split(';')
            .find_map(|part| part.trim().strip_prefix("AuthSession="));
        if cookie.is_some_and(|cookie| self.accepts_cookie(cookie.trim_matches('"'), now())) {
            return Ok(Caller::ByCookie);
        }
        let given = call.header(header::AUTHORIZATION).unwrap_or_default();
        let encoded = given
            .strip_prefix("Basic ")
            .or_else(|| given.strip_prefix("basic "));
        let Some(encoded) = encoded else {
            return Ok(Caller::Nobody);
        };
        let pair = STANDARD
            .decode(encoded.trim())
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = pair.unwrap_or_default();
        let (user, password) = pair.split_once(':').unwrap_or((&pair, ""));
        if self.accepts(user, password) {
            Ok(Caller::ByPassword)
        } else {
            Err(wrong())
        }
    }
}

fn wrong() -> Failure {
    Failure::unauthorized("Name or password is incorrect.")
}

fn set_cookie(value: &str, seconds: i64) -> String {
    format!("AuthSession={value}; Version=1; Max-Age={seconds}; Path=/; HttpOnly")
}

/// `/_session`
pub(crate) fn session(app: &App, call: &Call, caller: Caller) -> Result<Answer, Failure> {
    match call.method.as_str() {
        "GET" | "HEAD" => {
            let known = caller != Caller::Nobody;
            let name = if known {
                Json::from(app.auth.user.as_str())
            } else {
                Json::Null
            };
            let roles = if known {
                vec!["_admin".into()]
            } else {
                Vec::new()
            };
            let mut info = vec![(
                "authentication_handlers".to_owned(),
                Json::Arr(vec!["cookie".into(), "default".into()]),
            )];
            match caller {
                Caller::ByPassword => info.push(("authenticated".to_owned(), "default".into())),
                Caller::ByCookie => info.push(("authenticated".to_owned(), "cookie".into())),
                Caller::Nobody => {}
            }
            Ok(Answer::ok(&obj([
                ("ok", true.into()),
                ("userCtx", obj([("name", name), ("roles", roles.into())])),
                ("info", Json::Obj(info)),
            ])))
        }
        "POST" => log_in(app, call),
        "DELETE" => Ok(Answer::ok(&obj([("ok", true.into())]))
            .with(header::SET_COOKIE, set_cookie("", COOKIE_SECONDS))),
        _ => Err(Failure::method_not_allowed("GET,HEAD,POST,DELETE")),
    }
}

fn log_in(app: &App, call: &Call) -> Result<Answer, Failure> {
    let kind = call.header(header::CONTENT_TYPE).unwrap_or_default();
    let (user, password) = if kind.starts_with("application/json") {
        let body = call.json_object()?;
        let text = |key| {
            body.get(key)
                .and_then(Json::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let user = if body.get("name").is_some() {
            text("name")
        } else {
            text("username")
        };
        (user, text("password"))
    } else if kind.starts_with("application/x-www-form-urlencoded") {
        let form = String::from_utf8_lossy(&call.body);
        let text = |key: &str| {
            form.split('&')
                .filter_map(|pair| pair.split_once('='))
                .find(|(name, _)| *name == key)
                .and_then(|(_, value)| decode(value))
        };
        (
            text("name")
                .or_else(|| text("username"))
                .unwrap_or_default(),
            text("password").unwrap_or_default(),
        )
    } else {
        return Err(Failure::bad_content_type(
            "Content-Type must be application/x-www-form-urlencoded or application/json",
        ));
    };
    if !app.auth.accepts(&user, &password) {
        return Ok(
            Answer::failure(&wrong()).with(header::SET_COOKIE, set_cookie("", COOKIE_SECONDS))
        );
    }
    let answer = obj([
        ("ok", true.into()),
        ("name", user.into()),
        ("roles", Json::Arr(vec!["_admin".into()])),
    ]);
    let answer = Answer::json(StatusCode::OK, &answer).with(
        header::SET_COOKIE,
        set_cookie(&app.auth.cookie(now()), COOKIE_SECONDS),
    );
    match call.query.get("next") {
        Some(next) => {
            let mut answer = answer.with(header::LOCATION, format!("{}{next}", call.base()));
            answer.status = StatusCode::FOUND;
            Ok(answer)
        }
        None => Ok(answer),
    }
}
