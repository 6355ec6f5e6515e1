//! Programs of others come in: they register themselves, the owner lets them in, and takes that away again.

mod consent;
mod registration;

use hamlet_tests::{
    admin_door::{AdminDoor, Reply},
    browser::{Browser, Page},
    daemon::{Daemon, Options},
    programs::root,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

const PASSPHRASE: &str = "four words for nobody";
const CALLBACK: &str = "https://reader.example/cb?x=1";
/// Of RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A `hamletd` with an instance whose owner has the passphrase above.
struct World {
    _place: TempDir,
    daemon: Daemon,
    public: AdminDoor,
    domain: String,
}

impl World {
    async fn start() -> Self {
        Self::with("--passphrase-score=0").await
    }

    async fn with(flag: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        let apps = root().join("examples/apps");
        let daemon = Options::new(&place.path().join("data"))
            .flag(format!("--app-folder={}", apps.display()))
            .flag(flag)
            .flag("--trusted-proxies=127.0.0.1/32")
            .start();
        let domain = daemon.domain("alice");
        let add = format!("instances add {domain} --apps home --locale en");
        let _ = daemon.cli().run(&add).done();
        let link = format!("instances register-link {domain}");
        let link = daemon.cli().run(&link).done().out;
        let token = link.trim().split_once("registerToken=").unwrap().1;
        let fields = [("register_token", token), ("passphrase", PASSPHRASE)];
        let mut browser = Browser::new(&daemon.public, &domain);
        let chosen = browser.post("/settings/passphrase", &fields).await;
        assert_eq!(chosen.status, StatusCode::SEE_OTHER, "{chosen:?}");
        Self {
            public: AdminDoor::at(&daemon.public, &daemon.data().join("admin-credential")),
            _place: place,
            daemon,
            domain,
        }
    }

    fn browser(&self) -> Browser {
        Browser::new(&self.daemon.public, &self.domain)
    }

    async fn owner(&self) -> Browser {
        let mut browser = self.browser();
        let logged_in = browser.log_in(PASSPHRASE, &[]).await;
        assert_eq!(logged_in.status, StatusCode::SEE_OTHER, "{logged_in:?}");
        browser
    }

    /// Sends JSON as a program does.
    async fn send(&self, method: Method, path: &str, token: &str, body: &Value) -> Reply {
        let request = self
            .public
            .without_credential(method, path)
            .header("host", &self.domain)
            .header("accept", "application/json")
            .header("content-type", "application/json");
        let request = if token.is_empty() {
            request
        } else {
            request.bearer_auth(token)
        };
        self.public.send(request.body(body.to_string())).await
    }

    async fn register(&self, more: Value) -> Value {
        let mut body = json!({
            "redirect_uris": [CALLBACK, "com.example.reader:/cb"], "client_name": "Reader",
            "software_id": "org.example.reader", "client_uri": "https://reader.example/"
        });
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        let made = self.send(Method::POST, "/auth/register", "", &body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        made.json()
    }

    /// The id of the instance's databases.
    fn prefix(&self) -> String {
        let show = format!("instances show-db-prefix {}", self.domain);
        self.daemon.cli().run(&show).done().out.trim().to_owned()
    }

    /// Asks for tokens.
    async fn tokens(&self, fields: &[(&str, &str)]) -> Page {
        self.browser().post("/auth/access_token", fields).await
    }

    async fn status(&self, path: &str, token: &str) -> u16 {
        let request = self
            .public
            .without_credential(Method::GET, path)
            .header("host", &self.domain)
            .bearer_auth(token);
        self.public.send(request).await.status.as_u16()
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn authorize(client: &Value, more: &str) -> String {
    let callback = "https%3A%2F%2Freader.example%2Fcb%3Fx%3D1";
    format!(
        "/auth/authorize?client_id={}&redirect_uri={callback}&response_type=code&state=a%26b{more}",
        text(&client["client_id"])
    )
}

/// The owner says yes on the page. Returns where that leads.
async fn allow(browser: &mut Browser, path: &str, answer: &str) -> Page {
    let page = browser.get(path).await;
    assert_eq!(page.status, StatusCode::OK, "{page:?}");
    let fields = [
        "csrf_token",
        "client_id",
        "redirect_uri",
        "state",
        "response_type",
        "scope",
        "code_challenge",
        "code_challenge_method",
    ];
    let fields = fields.map(|name| (name, unescaped(&page.field(name))));
    let mut fields: Vec<(&str, &str)> = fields
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    fields.push(("answer", answer));
    browser.post("/auth/authorize", &fields).await
}

fn unescaped(text: &str) -> String {
    text.replace("&amp;", "&")
}

/// A parameter of the address to which the browser is sent.
fn parameter(page: &Page, name: &str) -> String {
    assert_eq!(page.status, StatusCode::FOUND, "{page:?}");
    let location = page.location();
    let query = location.strip_prefix(CALLBACK).unwrap();
    let query = query.strip_suffix('#').unwrap();
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let found = pairs.find(|(of, _)| *of == name);
    found.map_or("", |(_, value)| value).to_owned()
}
