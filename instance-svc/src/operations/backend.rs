//! The original's admin door, for what only it can do: deleting accounts by the scripts of their konnectors.

use std::{path::PathBuf, time::Duration};

use reqwest::{Client, StatusCode, Url};
use serde_json::Value;
use service_kit::secret::Secret;

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

/// The original's admin door.
#[derive(Clone, Debug)]
pub struct Backend {
    client: Client,
    /// The address of its list of instances.
    instances: Url,
    password_file: PathBuf,
}

impl Backend {
    /// The backend of the settings, if there is one.
    ///
    /// # Errors
    /// When the settings cannot be used.
    pub fn of(config: &Config) -> Result<Option<Self>, BackendError> {
        let (url, password_file) =
            match (&config.admin_backend, &config.admin_backend_password_file) {
                (None, None) => return Ok(None),
                (Some(url), Some(file)) => (url, file.clone()),
                (None, Some(_)) | (Some(_), None) => return Err(BackendError::Incomplete),
            };
        let parsed = Url::parse(url).ok().filter(|url| {
            matches!(url.scheme(), "http" | "https") && url.has_host() && url.path() == "/"
        });
        let instances = parsed.and_then(|url| url.join("instances").ok());
        let instances = instances.ok_or_else(|| BackendError::Address(url.clone()))?;
        Ok(Some(Self {
            client: Client::builder().timeout(PATIENCE).build()?,
            instances,
            password_file,
        }))
    }

    /// Has the original destroy an instance, and waits until it has. May be repeated: while the original is at work it
    /// refuses, and says so.
    pub(super) async fn destroy(&self, domain: &str) -> Result<(), StepError> {
        let later = |why: String| StepError::Later(format!("the admin backend {why}"));
        // Read anew, so that it can be changed at any time.
        let password = Secret::from_file(&self.password_file).map_err(|error| {
            later(format!(
                "needs its password, and the file cannot be read: {error}"
            ))
        })?;
        let mut instance = self.instances.clone();
        if let Ok(mut path) = instance.path_segments_mut() {
            path.push(domain);
        }
        let answer = self
            .client
            .delete(instance)
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
