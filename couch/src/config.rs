//! How to reach the database.

use std::fmt;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use secret::{Keyring, Secret};
use url::Url;

use crate::credentials::Credentials;
use crate::error::{Error, Result};

/// Settings of a connection. Its `Debug` shows neither the password nor credentials in the URL.
#[derive(Clone)]
pub struct CouchConfig {
    /// Root URL of the server, `http` or `https`, without a path. It may carry `user:password@`,
    /// which is taken out before anything is sent or shown.
    pub url: String,
    /// User; wins over the one in the URL.
    pub user: Option<String>,
    /// Password; wins over the one in the URL. It may change while it is in use.
    pub password: Option<Keyring>,
    /// Shards of each new database. An instance is small: 1.
    pub q: u16,
    /// Copies of each shard of a new database; `None` leaves it to the server.
    pub n: Option<u16>,
    /// How long a call may take, repeats included.
    pub call_timeout: Duration,
    /// How long a claim or a compare-and-set may go on trying, all its calls together.
    pub race_timeout: Duration,
    /// How long one poll of a changes feed waits for something to happen.
    pub feed_timeout: Duration,
    /// Idle connections kept open for reuse.
    pub idle_connections: usize,
    /// Seed of the random pauses; `None` draws one from the system. Tests set it.
    pub seed: Option<u64>,
}

impl CouchConfig {
    /// The defaults, for the server at `url`.
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

    /// The same with these credentials.
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
            Endpoint::of(self).map_or_else(|_| "(not usable)".to_owned(), |it| it.url.to_string());
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

/// Where to connect and as whom, taken apart.
pub(crate) struct Endpoint {
    /// Holds no credentials.
    pub(crate) url: Url,
    pub(crate) credentials: Option<Credentials>,
}

impl Endpoint {
    pub(crate) fn of(config: &CouchConfig) -> Result<Self> {
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
                return Err(Error::Config {
                    setting: "password",
                    reason: "there is a user but no password: give both or none".to_owned(),
                });
            }
            (None, Some(_)) => {
                return Err(Error::Config {
                    setting: "user",
                    reason: "there is a password but no user: give both or none".to_owned(),
                });
            }
        };
        // Both fail only for URLs without a host, which were refused above.
        let cleared = url.set_username("").is_ok() && url.set_password(None).is_ok();
        if !cleared {
            return Err(refuse("its credentials cannot be taken out".to_owned()));
        }
        Ok(Self { url, credentials })
    }
}
