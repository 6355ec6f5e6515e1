//! Makes requests of plain HTTP to the admin door, as existing command lines do.

use std::path::Path;

use reqwest::{Method, RequestBuilder, Response, StatusCode, header::CONTENT_TYPE};
use serde_json::Value;

use crate::{
    cluster::{Cluster, Part},
    daemon::Daemon,
};

/// The admin door.
#[derive(Clone, Debug)]
pub struct AdminDoor {
    client: reqwest::Client,
    server: String,
    credential: String,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The type of the body, without parameters; `None` without one.
    pub kind: Option<String>,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body.
    pub text: String,
}

impl Reply {
    async fn of(response: Response) -> Self {
        let kind = response.headers().get(CONTENT_TYPE);
        let kind = kind.map(|kind| kind.to_str().unwrap().split(';').next().unwrap().to_owned());
        Self {
            status: response.status(),
            kind,
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }

    /// The body, parsed as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// The code of the first error object.
    #[must_use]
    pub fn code(&self) -> String {
        let body: Value = serde_json::from_str(&self.text).unwrap_or_default();
        body["errors"][0]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

impl AdminDoor {
    /// The door of a `hamletd`.
    ///
    /// # Panics
    /// When its credential cannot be read.
    #[must_use]
    pub fn of(daemon: &Daemon) -> Self {
        Self::at(&daemon.admin, &daemon.data().join("admin-credential"))
    }

    /// The door of the first gateway of an installation of separate processes.
    ///
    /// # Panics
    /// When its credential cannot be read.
    #[must_use]
    pub fn of_cluster(cluster: &Cluster) -> Self {
        let address = cluster.address(Part::Gateway, 0).to_string();
        Self::at(&address, &cluster.path("admin-credential"))
    }

    /// The door at this address, `host:port`.
    ///
    /// # Panics
    /// When the credential cannot be read.
    #[must_use]
    pub fn at(address: &str, credential: &Path) -> Self {
        // Another test of the process may have chosen it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let credential = std::fs::read_to_string(credential).unwrap();
        Self {
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            server: format!("http://{address}"),
            credential: credential.trim().to_owned(),
        }
    }

    /// A request with the credential, not sent yet.
    pub fn request(&self, method: Method, target: &str) -> RequestBuilder {
        self.without_credential(method, target)
            .basic_auth("", Some(&self.credential))
    }

    /// A request without the credential, not sent yet.
    pub fn without_credential(&self, method: Method, target: &str) -> RequestBuilder {
        self.client
            .request(method, format!("{}{target}", self.server))
    }

    /// Sends a request.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn send(&self, request: RequestBuilder) -> Reply {
        Reply::of(request.send().await.unwrap()).await
    }

    /// Sends a request without a body, with the credential.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn ask(&self, method: Method, target: &str) -> Reply {
        self.send(self.request(method, target)).await
    }

    /// Reads a path.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn get(&self, target: &str) -> Reply {
        self.ask(Method::GET, target).await
    }
}
