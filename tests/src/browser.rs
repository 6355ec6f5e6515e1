//! A browser of a person, as far as a test needs one: it keeps cookies, sends forms, and follows nothing by itself.

use std::collections::BTreeMap;

use reqwest::{Method, RequestBuilder, Response, StatusCode, header::HeaderMap, redirect::Policy};
use serde_json::Value;

/// The browser.
#[derive(Clone, Debug)]
pub struct Browser {
    client: reqwest::Client,
    server: String,
    /// The host that it visits, with its port.
    pub host: String,
    /// What it accepts.
    pub accept: &'static str,
    /// The cookies by their names. Their hosts and paths are not looked at.
    pub cookies: BTreeMap<String, String>,
}

/// What a browser says that it accepts.
pub const PAGES: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

/// An answer.
#[derive(Clone, Debug)]
pub struct Page {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub text: String,
}

impl Page {
    /// Where it leads; empty when it leads nowhere.
    #[must_use]
    pub fn location(&self) -> &str {
        let location = self.headers.get("location");
        location.map_or("", |it| it.to_str().unwrap_or_default())
    }

    /// The lines that set cookies.
    #[must_use]
    pub fn set_cookies(&self) -> Vec<String> {
        let lines = self.headers.get_all("set-cookie").iter();
        lines
            .map(|line| line.to_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// Whether it sets the cookie of a session, where apps have hosts below that of the instance.
    #[must_use]
    pub fn is_logged_in(&self) -> bool {
        let mut cookies = self.set_cookies().into_iter();
        cookies.any(|cookie| cookie.starts_with("cozysessid="))
    }

    /// The value of the first field of a form with this name; empty when there is none.
    #[must_use]
    pub fn field(&self, name: &str) -> String {
        let mark = format!("name=\"{name}\" value=\"");
        let found = self.text.split_once(&mark);
        let value = found.and_then(|(_, rest)| rest.split_once('"'));
        value.map_or_else(String::new, |(value, _)| value.to_owned())
    }

    /// The body, parsed as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// What the page lacks of the forms that a recording has: their targets, and the names of their fields. Left out are
    /// fields of what is not built, and those of the original's scripts.
    ///
    /// # Panics
    /// When the recording of a form lacks its target or its fields.
    #[must_use]
    pub fn missing_of_forms(&self, recorded: &Value) -> Vec<String> {
        const LEFT_OUT: [&str; 4] = [
            "trusted-device-token",
            "email_verified_code",
            "password-visibility",
            "from",
        ];
        let mut missing = Vec::new();
        for form in recorded.as_array().into_iter().flatten() {
            let target = format!("action=\"{}\"", form["action"].as_str().unwrap());
            if !self.text.contains(&target) {
                missing.push(target);
            }
            for field in form["fields"].as_array().unwrap() {
                let name = field["name"].as_str().unwrap();
                if !LEFT_OUT.contains(&name) && !self.text.contains(&format!("name=\"{name}\"")) {
                    missing.push(format!("field {name}"));
                }
            }
        }
        missing
    }
}

impl Browser {
    /// A browser that visits `host` at the public door with this address, `host:port`.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(public: &str, host: &str) -> Self {
        // Another test of the process may have chosen it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .build();
        Self {
            client: client.expect("a client can be made"),
            server: format!("http://{public}"),
            host: host.to_owned(),
            accept: PAGES,
            cookies: BTreeMap::new(),
        }
    }

    /// A request with the cookies, not sent yet.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let cookies = self.cookies.iter();
        let cookies: Vec<String> = cookies.map(|(name, it)| format!("{name}={it}")).collect();
        let request = self
            .client
            .request(method, format!("{}{path}", self.server))
            .header("host", &self.host)
            .header("accept", self.accept)
            .header("accept-language", "en");
        if cookies.is_empty() {
            request
        } else {
            request.header("cookie", cookies.join("; "))
        }
    }

    /// Sends a request, and keeps the cookies of the answer.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn send(&mut self, request: RequestBuilder) -> Page {
        let response: Response = request.send().await.expect("there is an answer");
        let page = Page {
            status: response.status(),
            headers: response.headers().clone(),
            text: response.text().await.expect("the answer has an end"),
        };
        for line in page.set_cookies() {
            let pair = line.split(';').next().unwrap_or_default();
            let (name, value) = pair.split_once('=').unwrap_or_default();
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        page
    }

    /// Opens a path.
    pub async fn get(&mut self, path: &str) -> Page {
        let request = self.request(Method::GET, path);
        self.send(request).await
    }

    /// Sends a form, as the page of the host does.
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let mut body = String::new();
        for (name, value) in fields {
            if !body.is_empty() {
                body.push('&');
            }
            body.push_str(&format!("{name}={}", escaped(value)));
        }
        let request = self
            .request(Method::POST, path)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("sec-fetch-site", "same-origin")
            .body(body);
        self.send(request).await
    }

    /// Opens the login page and sends its form.
    pub async fn log_in(&mut self, passphrase: &str, more: &[(&str, &str)]) -> Page {
        let csrf = self.get("/auth/login").await.field("csrf_token");
        let mut fields = vec![("csrf_token", csrf.as_str()), ("passphrase", passphrase)];
        fields.extend_from_slice(more);
        self.post("/auth/login", &fields).await
    }
}

fn escaped(value: &str) -> String {
    let mut text = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}
