//! Requests to the host of an app, as the gateway forwards them.

use hamlet_proto::hamlet::instance::v1::{
    Identity,
    identity::{Kind, Rule},
};
use reqwest::{Method, StatusCode, redirect::Policy};
use service_kit::caller::{
    APP_HEADER, DOOR_HEADER, IDENTITY_HEADER, KEY_HEADER, TENANT_HEADER, header_value,
};
use test_kit::doors::CLUSTER_KEY;

use super::World;

/// A request to the host of an app.
pub(crate) struct Visit {
    request: reqwest::RequestBuilder,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    headers: reqwest::header::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl World {
    /// A browser at the host of the app `slug`. It takes pages.
    pub(crate) fn visit(&self, slug: &str, path: &str) -> Visit {
        let host = if self.tenant.context == "flat" {
            self.tenant.domain.replacen('.', &format!("-{slug}."), 1)
        } else {
            format!("{slug}.{}", self.tenant.domain)
        };
        let client = reqwest::Client::builder()
            .redirect(Policy::none())
            .build()
            .unwrap();
        let request = client
            .request(Method::GET, format!("http://{}{path}", self.address))
            .header("host", host)
            .header(KEY_HEADER, CLUSTER_KEY)
            .header(DOOR_HEADER, "public")
            .header(TENANT_HEADER, header_value(&self.tenant))
            .header(APP_HEADER, slug);
        Visit { request }
    }
}

impl Visit {
    /// With the session of the owner.
    pub(crate) fn logged_in(self) -> Self {
        self.identity(Kind::Session, "", "")
    }

    /// With a token, or a session. The rules are in the form of scopes.
    pub(crate) fn identity(self, kind: Kind, subject: &str, rules: &str) -> Self {
        let rules = rules
            .split(' ')
            .filter(|rule| !rule.is_empty())
            .map(|rule| {
                let list = |part: Option<&str>| {
                    let items = part.unwrap_or_default().split(',');
                    let items = items.filter(|item| !item.is_empty());
                    items.map(str::to_owned).collect()
                };
                let mut parts = rule.split(':');
                Rule {
                    doctype: parts.next().unwrap_or_default().to_owned(),
                    verbs: list(parts.next()),
                    values: list(parts.next()),
                    selector: parts.next().unwrap_or_default().to_owned(),
                }
            });
        let identity = Identity {
            rules: rules.collect(),
            kind: kind.into(),
            session_id: "session".to_owned(),
            subject: subject.to_owned(),
            scope: String::new(),
            expire_time: None,
        };
        self.header(IDENTITY_HEADER, &header_value(&identity))
    }

    /// At the host of the instance itself.
    pub(crate) fn without_app(self) -> Self {
        self.change(|request| {
            request.headers_mut().remove(APP_HEADER);
        })
    }

    fn change(self, change: impl FnOnce(&mut reqwest::Request)) -> Self {
        let (client, request) = self.request.build_split();
        let mut request = request.unwrap();
        change(&mut request);
        Self {
            request: reqwest::RequestBuilder::from_parts(client, request),
        }
    }

    pub(crate) fn header(self, name: &str, value: &str) -> Self {
        Self {
            request: self.request.header(name, value),
        }
    }

    /// At another host.
    pub(crate) fn at(self, host: &str) -> Self {
        let host = host.parse().unwrap();
        self.change(|request| {
            request.headers_mut().insert("host", host);
        })
    }

    pub(crate) async fn get(self) -> Answer {
        self.send(Method::GET).await
    }

    pub(crate) async fn send(self, method: Method) -> Answer {
        let (client, request) = self.request.build_split();
        let mut request = request.unwrap();
        *request.method_mut() = method;
        let answer = client.execute(request).await.unwrap();
        Answer {
            status: answer.status(),
            headers: answer.headers().clone(),
            body: answer.bytes().await.unwrap().to_vec(),
        }
    }
}

impl Answer {
    /// A header; empty when it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
