//! The original's admin door, for what only it can do: deleting accounts by the scripts of their konnectors, and the routes
//! that Hamlet does not have.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use reqwest::{
    Body, Client, Method, Response, StatusCode, Url, header::HeaderMap, redirect::Policy,
};
use serde_json::Value;
use service_kit::{
    backend,
    contexts::{Contexts, DEFAULT},
    secret::Secret,
};

use super::engine::StepError;
use crate::config::Config;

/// How long the original may take: it waits ten minutes for the scripts.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Why the settings of the backend cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// One of the two settings is missing.
    #[error("admin-backend and admin-backend-password-file belong together; set both, or none")]
    Incomplete,
    /// The address is none.
    #[error(
        "admin-backend: {0} is no address of an admin door; it looks like http://localhost:6060"
    )]
    Address(String),
    /// No client could be made.
    #[error("no HTTP client can be made")]
    Client(#[from] reqwest::Error),
}

/// How long it may take to say something of an instance.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A request of an administrator that is passed on.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) method: Method,
    pub(crate) path_and_query: &'a str,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

/// Why a request was not passed on, or got no response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayError {
    /// The password cannot be read.
    #[error("the file with the password of the admin backend cannot be read: {0}")]
    Password(#[source] std::io::Error),
    /// The password is not the right one.
    #[error("the admin backend refuses the password in admin_backend_password_file")]
    Refused,
    /// The path cannot be passed on as it is.
    #[error(
        "the path is not in its normal form; write it without dots and without characters that need encoding"
    )]
    Path,
    /// There was no response.
    #[error("the admin backend does not answer; what it began may still be done: {0}")]
    Away(#[source] reqwest::Error),
}

/// What the door says when it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// What it knows.
    Knows(String),
    /// Why it cannot be used.
    Wrong(String),
}

/// The original's admin door.
#[derive(Clone, Debug)]
pub struct Backend {
    client: Client,
    /// For requests that are passed on: they take as long as they take, while something comes.
    relay: Client,
    address: Url,
    /// The address of its list of instances.
    instances: Url,
    password_file: PathBuf,
}

/// The original's admin doors, by context.
#[derive(Clone, Debug, Default)]
pub struct Backends(Arc<Known>);

#[derive(Debug, Default)]
struct Known {
    by_context: BTreeMap<String, Backend>,
    /// For contexts that name none.
    otherwise: Option<Backend>,
}

impl Backends {
    /// The backends of the settings.
    ///
    /// # Errors
    /// When the settings cannot be used.
    pub fn of_settings(config: &Config, contexts: &Contexts) -> Result<Self, BackendError> {
        let client = Client::builder().timeout(PATIENCE).build()?;
        let relay = Client::builder()
            .connect_timeout(ANSWER_WITHIN)
            .read_timeout(PATIENCE)
            .redirect(Policy::none())
            .no_proxy()
            .build()?;
        let otherwise = match (&config.admin_backend, &config.admin_backend_password_file) {
            (None, None) => None,
            (Some(text), Some(file)) => {
                let address = backend::admin_address(text)
                    .ok_or_else(|| BackendError::Address(text.clone()))?;
                Some(Backend::new(&client, &relay, address, file.clone())?)
            }
            (None, Some(_)) | (Some(_), None) => return Err(BackendError::Incomplete),
        };
        let mut by_context = BTreeMap::new();
        for name in contexts.names() {
            let context = contexts.get(name);
            if let (Some(address), Some(file)) =
                (context.admin_backend, context.admin_backend_password_file)
            {
                by_context.insert(
                    name.to_owned(),
                    Backend::new(&client, &relay, address, file)?,
                );
            }
        }
        Ok(Self(Arc::new(Known {
            by_context,
            otherwise,
        })))
    }

    /// Whether no context has one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.by_context.is_empty() && self.0.otherwise.is_none()
    }

    /// The backend of the instances of a context, whose name is empty for the default one.
    #[must_use]
    pub fn of(&self, context: &str) -> Option<&Backend> {
        let name = if context.is_empty() { DEFAULT } else { context };
        let known = self.0.by_context.get(name);
        known.or(self.0.otherwise.as_ref())
    }
}

impl Backend {
    fn new(
        client: &Client,
        relay: &Client,
        address: Url,
        password_file: PathBuf,
    ) -> Result<Self, BackendError> {
        let instances = address.join("instances");
        Ok(Self {
            client: client.clone(),
            relay: relay.clone(),
            instances: instances.map_err(|_| BackendError::Address(address.to_string()))?,
            address,
            password_file,
        })
    }

    /// The address of the door.
    #[must_use]
    pub fn address(&self) -> &str {
        self.address.as_str().trim_end_matches('/')
    }

    /// Passes a request of an administrator on, with the door's own password. Its body and that of the response stream.
    pub(crate) async fn relay(&self, asked: Asked<'_>) -> Result<Response, RelayError> {
        let password = self.password().map_err(RelayError::Password)?;
        let url = format!("{}{}", self.address(), asked.path_and_query);
        let url = Url::parse(&url).map_err(|_| RelayError::Path)?;
        // A path that means another one is not the route that was looked up.
        let path = asked.path_and_query.split('?').next().unwrap_or_default();
        if url.path() != path {
            return Err(RelayError::Path);
        }
        let answer = self
            .relay
            .request(asked.method, url)
            .headers(asked.headers)
            .basic_auth("", Some(password.expose()))
            .body(asked.body)
            .send()
            .await
            .map_err(|error| RelayError::Away(error.without_url()))?;
        let is_refused = matches!(
            answer.status(),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
        );
        if is_refused {
            return Err(RelayError::Refused);
        }
        Ok(answer)
    }

    /// Asks the door about an instance, or about itself, and so whether it answers and takes the password.
    pub(crate) async fn say_of(&self, domain: Option<&str>) -> Said {
        let password = match self.password() {
            Ok(password) => password,
            Err(error) => {
                return Said::Wrong(format!(
                    "the file with its password cannot be read: {error}"
                ));
            }
        };
        let address = match domain {
            Some(domain) => self.instance(domain),
            None => self.instances.clone(),
        };
        let asked = self
            .client
            .get(address)
            .timeout(ANSWER_WITHIN)
            .basic_auth("", Some(password.expose()));
        let status = match asked.send().await {
            Ok(answer) => answer.status(),
            Err(error) => return Said::Wrong(format!("does not answer: {}", error.without_url())),
        };
        match (status, domain) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
                Said::Wrong("refuses the password in admin_backend_password_file".to_owned())
            }
            (StatusCode::NOT_FOUND, Some(domain)) => Said::Wrong(format!(
                "knows no instance {domain}; it has to use the same database"
            )),
            (status, Some(domain)) if status.is_success() => {
                Said::Knows(format!("answers, takes the password, and knows {domain}"))
            }
            (status, None) if status.is_success() => {
                Said::Knows("answers, and takes the password".to_owned())
            }
            (status, _) => Said::Wrong(format!("answers {status}")),
        }
    }

    /// The password, read anew, so that it can be changed at any time.
    fn password(&self) -> std::io::Result<Secret> {
        Secret::from_file(&self.password_file)
    }

    /// The address of an instance.
    fn instance(&self, domain: &str) -> Url {
        let mut instance = self.instances.clone();
        if let Ok(mut path) = instance.path_segments_mut() {
            path.push(domain);
        }
        instance
    }

    /// Has the original destroy an instance, and waits until it has. May be repeated: while the original is at work it
    /// refuses, and says so.
    pub(super) async fn destroy(&self, domain: &str) -> Result<(), StepError> {
        let later = |why: String| StepError::Later(format!("the admin backend {why}"));
        let password = self.password().map_err(|error| {
            later(format!(
                "needs its password, and the file cannot be read: {error}"
            ))
        })?;
        let answer = self
            .client
            .delete(self.instance(domain))
            .basic_auth("", Some(password.expose()))
            .send()
            .await
            .map_err(|error| later(format!("does not answer: {}", error.without_url())))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            // An instance with accounts to delete must not be passed over.
            StatusCode::NOT_FOUND => Err(later(
                "knows no such instance; it has to use the same database".to_owned(),
            )),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(later(
                "refuses the password in admin-backend-password-file".to_owned(),
            )),
            status => {
                let body: Value = answer.json().await.unwrap_or_default();
                let detail = body.pointer("/errors/0/detail").and_then(Value::as_str);
                let detail: String = detail.unwrap_or_default().chars().take(200).collect();
                Err(later(format!("answered {status} {detail}")))
            }
        }
    }
}
