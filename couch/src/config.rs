//! Settings of a client.

use std::fmt;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use secret::{Keyring, Secret};
use url::Url;

use crate::credentials::Credentials;
use crate::error::{Error, Result};

/// Settings of a client. `Debug` hides the password and credentials in the URL.
#[derive(Clone)]
pub struct CouchConfig {
    /// The root URL of the server, `http` or `https`, without a path. It may contain `user:password@`, which
    /// is never sent or shown as part of the URL.
    pub url: String,
    /// The user; takes precedence over the URL.
    pub user: Option<String>,
    /// The password; takes precedence over the URL. It may change while the client is in use.
    pub password: Option<Keyring>,
    /// The number of shards of a new database. 1 suits the small databases of an instance.
    pub q: u16,
    /// The number of replicas of each shard of a new database; `None` for the server's default.
    pub n: Option<u16>,
    /// The time limit of a call, repeats included.
    pub call_timeout: Duration,
    /// The time limit of a claim or a compare-and-set, all its calls together.
    pub race_timeout: Duration,
    /// How long a poll of a changes feed waits for a change.
    pub feed_timeout: Duration,
    /// The most idle connections that are kept open.
    pub idle_connections: usize,
    /// The seed of random pauses, for tests; `None` for a random one.
    pub seed: Option<u64>,
}

impl CouchConfig {
    /// Default settings for the server at `url`.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            user: None,
            password: None,
            q: 1,
            n: None,
            call_timeout: Duration::from_secs(5),
            race_timeout: Duration::from_secs(10),
            feed_timeout: Duration::from_secs(30),
            idle_connections: 64,
            seed: None,
        }
    }

    /// These settings with other credentials.
    #[must_use]
    pub fn with_credentials(
        mut self,
        user: impl Into<String>,
        password: impl Into<String>,
    ) -> Self {
        self.user = Some(user.into());
        self.password = Some(Secret::new(password).into());
        self
    }
}

impl fmt::Debug for CouchConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url =
            Endpoint::new(self).map_or_else(|_| "(not usable)".to_owned(), |it| it.url.to_string());
        f.debug_struct("CouchConfig")
            .field("url", &url)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "(hidden)"))
            .field("q", &self.q)
            .field("n", &self.n)
            .field("call_timeout", &self.call_timeout)
            .field("race_timeout", &self.race_timeout)
            .field("feed_timeout", &self.feed_timeout)
            .field("idle_connections", &self.idle_connections)
            .field("seed", &self.seed)
            .finish()
    }
}

/// The URL and the credentials, separated.
pub(crate) struct Endpoint {
    /// Without credentials.
    pub(crate) url: Url,
    pub(crate) credentials: Option<Credentials>,
}

impl Endpoint {
    pub(crate) fn new(config: &CouchConfig) -> Result<Self> {
        let refuse = |reason: String| Error::Config {
            setting: "url",
            reason,
        };
        let mut url = Url::parse(&config.url).map_err(|cause| {
            refuse(format!(
                "it is no URL ({cause}); it should look like http://localhost:5984"
            ))
        })?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(refuse(
                "it has to begin with http:// or https:// and name a host".to_owned(),
            ));
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(refuse(
                "it has to end after host and port: CouchDB is spoken to at the root".to_owned(),
            ));
        }
        let in_url = |text: &str| {
            percent_decode_str(text)
                .decode_utf8()
                .map(std::borrow::Cow::into_owned)
                .map_err(|_| {
                    refuse("its credentials are not UTF-8 when percent-decoded".to_owned())
                })
        };
        let user = match &config.user {
            Some(user) => Some(user.clone()),
            None if url.username().is_empty() => None,
            None => Some(in_url(url.username())?),
        };
        let password = match (&config.password, url.password()) {
            (Some(password), _) => Some(password.clone()),
            (None, Some(password)) => Some(Secret::new(in_url(password)?).into()),
            (None, None) => None,
        };
        let credentials = match (user, password) {
            (None, None) => None,
            (Some(user), Some(_)) if user.contains(':') => {
                return Err(Error::Config {
                    setting: "user",
                    reason: "it must not hold a colon: basic authentication ends the name there"
                        .to_owned(),
                });
            }
            (Some(user), Some(password)) => Some(Credentials::new(user, password)?),
            (Some(_), None) => {
                // The message begins with what was given: that is what has a flag or a variable to name.
                let setting = config.user.as_ref().map_or("url", |_| "user");
                return Err(Error::Config {
                    setting,
                    reason: "there is a user but no password: give --couchdb-password-file too, or neither"
                        .to_owned(),
                });
            }
            (None, Some(_)) => {
                let setting = config.password.as_ref().map_or("url", |_| "password");
                return Err(Error::Config {
                    setting,
                    reason: "there is a password but no user: give --couchdb-user too, or neither"
                        .to_owned(),
                });
            }
        };
        // These fail only for a URL without a host, which is refused above.
        let cleared = url.set_username("").is_ok() && url.set_password(None).is_ok();
        if !cleared {
            return Err(refuse("its credentials cannot be taken out".to_owned()));
        }
        Ok(Self { url, credentials })
    }
}

#[cfg(test)]
mod tests {
    use secret::Secret;

    use super::{CouchConfig, Endpoint};

    #[test]
    fn half_of_the_credentials_is_told_by_what_was_given() {
        let told = |config: CouchConfig| match Endpoint::new(&config) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        let with_url = |url: &str| CouchConfig::new(url);
        let plain = || with_url("http://127.0.0.1:5984");
        for (config, begins, helps) in [
            (
                CouchConfig {
                    user: Some("a".to_owned()),
                    ..plain()
                },
                "couchdb-user: ",
                "--couchdb-password-file",
            ),
            (
                CouchConfig {
                    password: Some(Secret::new("b").into()),
                    ..plain()
                },
                "couchdb-password-file: ",
                "--couchdb-user",
            ),
            (
                with_url("http://a@127.0.0.1:5984"),
                "couchdb: ",
                "--couchdb-password-file",
            ),
            (
                with_url("http://:b@127.0.0.1:5984"),
                "couchdb: ",
                "--couchdb-user",
            ),
        ] {
            let told = told(config);
            assert!(told.starts_with(begins) && told.contains(helps), "{told}");
        }
    }
}
