//! OAuth clients: programs that the owner of an instance can let in (RFC 7591, RFC 7592).
//!
//! A client is a document of the instance, with the members of the compatible software. What other software keeps in it stays.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use crate::{invalid_field::InvalidField, scope::is_slug, text, time::Time};

/// The longest text of a registration, in bytes.
const LONGEST: usize = 1024;
/// The most addresses of one client to which browsers are sent.
const MOST_URIS: usize = 10;
/// How a client that is an installed app names its software: this, and the slug of the app.
const LINKED: &str = "registry://";
/// Apps that no other program may stand for: the whole instance depends on them.
const UNAPPROVED: [&str; 2] = ["store", "settings"];
const GRANT_TYPES: [&str; 2] = ["authorization_code", "refresh_token"];
/// How a client proves who it is: with its secret in the form, or not at all.
const WITH_SECRET: &str = "client_secret_post";
const WITHOUT_SECRET: &str = "none";
/// Schemes of addresses that a browser itself opens, and what they hold would be run or read there.
const UNSAFE_SCHEMES: [&str; 10] = [
    "about",
    "blob",
    "data",
    "file",
    "filesystem",
    "javascript",
    "vbscript",
    "view-source",
    "ws",
    "wss",
];

/// What a client says of itself. It has no `Debug`: a device token is a secret of somebody else.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct Registration {
    /// Where browsers are sent with the answer of the owner.
    pub redirect_uris: Vec<String>,
    /// Its name, for the owner.
    pub client_name: String,
    /// What it is: `mobile`, `desktop`, `browser`, …
    pub client_kind: String,
    /// A page about it.
    pub client_uri: String,
    /// A picture of it.
    pub logo_uri: String,
    /// A page about what it does with data.
    pub policy_uri: String,
    /// What software it is.
    pub software_id: String,
    /// The version of the software.
    pub software_version: String,
    /// How it is notified.
    pub notification_platform: String,
    /// Where it is notified.
    pub notification_device_token: String,
    /// Grants that it will use; empty for all.
    pub grant_types: Vec<String>,
    /// Answers that it will ask for; empty for all.
    pub response_types: Vec<String>,
    /// Whether it can keep a secret.
    pub token_endpoint_auth_method: String,
    /// Whether it may ask for a login alone. Nobody grants that to themselves.
    #[serde(skip)]
    pub allow_login_scope: bool,
}

impl Registration {
    /// Checks what is asked for. `own_hosts` are those of the instance, without ports; the hosts of
    /// its apps follow from them.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn check(&self, own_hosts: &[&str]) -> Result<(), Vec<InvalidField>> {
        let grants = check_known(&self.grant_types, &GRANT_TYPES);
        let answers = check_known(&self.response_types, &["code"]);
        let optional = [
            ("client_kind", &self.client_kind),
            ("software_version", &self.software_version),
            ("notification_platform", &self.notification_platform),
            ("notification_device_token", &self.notification_device_token),
        ];
        let pages = [
            ("client_uri", &self.client_uri),
            ("logo_uri", &self.logo_uri),
            ("policy_uri", &self.policy_uri),
        ];
        let checked = [
            (
                "redirect_uris",
                check_redirect_uris(&self.redirect_uris, own_hosts),
            ),
            ("client_name", check_required(&self.client_name)),
            ("software_id", check_software(&self.software_id)),
            ("grant_types", grants),
            ("response_types", answers),
            (
                "token_endpoint_auth_method",
                check_method(&self.token_endpoint_auth_method),
            ),
        ];
        let checked = checked
            .into_iter()
            .chain(optional.map(|(field, given)| (field, text::check(given))))
            .chain(pages.map(|(field, given)| (field, check_page(given))));
        let wrong: Vec<InvalidField> = checked
            .filter_map(|(field, checked)| Some(InvalidField::new(field, checked.err()?)))
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// Whether it gets a secret. Programs in which everybody could read it get none, and have to prove each request instead.
    #[must_use]
    pub fn keeps_secret(&self) -> bool {
        self.token_endpoint_auth_method != WITHOUT_SECRET
    }

    /// The name under which it is kept: another client may have the name already.
    #[must_use]
    pub fn free_name(&self, taken: &HashSet<String>) -> String {
        let name = &self.client_name;
        if !taken.contains(name) {
            return name.clone();
        }
        let numbered = (2_u32..).map(|number| format!("{name}-{number}"));
        let mut free = numbered.filter(|name| !taken.contains(name));
        free.next().unwrap_or_default()
    }

    /// The document of a new client. `secret` is empty for one that keeps none.
    #[must_use]
    pub fn document(&self, name: &str, secret: &str, now: Time) -> Map<String, Value> {
        let mut document = Map::new();
        if !secret.is_empty() {
            document.insert("client_secret".to_owned(), secret.into());
        }
        document.insert("client_secret_expires_at".to_owned(), 0.into());
        self.write(name, &mut document);
        if self.allow_login_scope {
            document.insert("allow_login_scope".to_owned(), true.into());
        }
        let metadata = json!({
            "doctypeVersion": "1", "metadataVersion": 1, "createdAt": now.to_string(), "updatedAt": now.to_string()
        });
        document.insert("cozyMetadata".to_owned(), metadata);
        document
    }

    /// Brings a document up to date with what its client says now. What it leaves out is forgotten (RFC 7592).
    /// How it proves who it is does not change.
    pub fn update(&self, name: &str, document: &mut Map<String, Value>, now: Time) {
        const METHOD: &str = "token_endpoint_auth_method";
        let method = document.get(METHOD).cloned();
        self.write(name, document);
        document.shift_remove(METHOD);
        if let Some(method) = method {
            document.insert(METHOD.to_owned(), method);
        }
        if let Some(Value::Object(metadata)) = document.get_mut("cozyMetadata") {
            metadata.insert("updatedAt".to_owned(), now.to_string().into());
        }
    }

    fn write(&self, name: &str, document: &mut Map<String, Value>) {
        document.insert("redirect_uris".to_owned(), json!(self.redirect_uris));
        document.insert("grant_types".to_owned(), json!(GRANT_TYPES));
        document.insert("response_types".to_owned(), json!(["code"]));
        let method = if self.keeps_secret() {
            ""
        } else {
            WITHOUT_SECRET
        };
        for (member, text) in [
            ("client_name", name),
            ("client_kind", self.client_kind.as_str()),
            ("client_uri", self.client_uri.as_str()),
            ("logo_uri", self.logo_uri.as_str()),
            ("policy_uri", self.policy_uri.as_str()),
            ("software_id", self.software_id.as_str()),
            ("software_version", self.software_version.as_str()),
            ("notification_platform", self.notification_platform.as_str()),
            (
                "notification_device_token",
                self.notification_device_token.as_str(),
            ),
            ("token_endpoint_auth_method", method),
        ] {
            if text.is_empty() {
                document.shift_remove(member);
            } else {
                document.insert(member.to_owned(), text.into());
            }
        }
    }
}

/// What is known of a registered client. It reads documents that other software wrote, too.
#[derive(Clone, Copy)]
pub struct Client<'a>(&'a Map<String, Value>);

impl<'a> Client<'a> {
    /// The client of a document.
    #[must_use]
    pub const fn of(document: &'a Map<String, Value>) -> Self {
        Self(document)
    }

    fn text(self, member: &str) -> &'a str {
        let text = self.0.get(member).and_then(Value::as_str);
        text.unwrap_or_default()
    }

    fn is(self, member: &str) -> bool {
        self.0.get(member).and_then(Value::as_bool) == Some(true)
    }

    /// Its name, for the owner.
    #[must_use]
    pub fn name(self) -> &'a str {
        self.text("client_name")
    }

    /// A page about it: an address of the web; empty when there is none.
    #[must_use]
    pub fn home(self) -> &'a str {
        let home = self.text("client_uri");
        if check_page(home).is_ok() { home } else { "" }
    }

    /// What software it is.
    #[must_use]
    pub fn software(self) -> &'a str {
        self.text("software_id")
    }

    /// The app for which it stands, if it does.
    #[must_use]
    pub fn linked_app(self) -> Option<&'a str> {
        let slug = self.software().strip_prefix(LINKED)?;
        is_slug(slug).then_some(slug)
    }

    /// Its secret; empty when it keeps none.
    #[must_use]
    pub fn secret(self) -> &'a str {
        self.text("client_secret")
    }

    /// Whether it has registered itself, and nobody has let it in yet.
    #[must_use]
    pub fn is_pending(self) -> bool {
        self.is("pending")
    }

    /// Whether the compatible software has certified that it may do everything.
    #[must_use]
    pub fn may_do_everything(self) -> bool {
        self.is("flagship")
    }

    /// Whether it may ask for a login alone.
    #[must_use]
    pub fn may_ask_for_login(self) -> bool {
        self.is("allow_login_scope")
    }

    /// What it is, in its own words.
    #[must_use]
    pub fn kind(self) -> &'a str {
        self.text("client_kind")
    }

    /// The addresses that were registered.
    pub fn redirect_uris(self) -> impl Iterator<Item = &'a str> {
        let uris = self.0.get("redirect_uris").and_then(Value::as_array);
        uris.into_iter().flatten().filter_map(Value::as_str)
    }

    /// Whether browsers may be sent to this address: it is, to the letter, one of those that were registered.
    #[must_use]
    pub fn redirects_to(self, uri: &str) -> bool {
        self.redirect_uris().any(|registered| registered == uri)
            && parse_redirect_uri(uri).is_some()
    }

    /// When it was registered; `None` where that is not known.
    #[must_use]
    pub fn registered_at(self) -> Option<Time> {
        let metadata = self.0.get("cozyMetadata")?;
        metadata.get("createdAt")?.as_str()?.parse().ok()
    }

    /// When it last got a token, or synchronized; `None` where that is not known.
    #[must_use]
    pub fn used_at(self) -> Option<Time> {
        let times = ["last_refreshed_at", "synchronized_at"];
        let times = times.iter().filter_map(|it| self.text(it).parse().ok());
        times.max()
    }
}

/// Whether a text has the form of the id of a client, or of a code. Ids that begin with `_` are reserved by the database.
#[must_use]
pub fn is_id(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && !text.starts_with('_')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Whether a program may not call itself that.
#[must_use]
pub fn is_unapproved(software: &str) -> bool {
    let slug = software.strip_prefix(LINKED);
    slug.is_some_and(|slug| UNAPPROVED.contains(&slug))
}

/// The address of a registered redirect, as far as a browser may be sent there.
#[must_use]
pub fn parse_redirect_uri(uri: &str) -> Option<Url> {
    let url = Url::parse(uri).ok()?;
    let is_safe = !UNSAFE_SCHEMES.contains(&url.scheme()) && url.fragment().is_none();
    (is_safe && !uri.contains(char::is_control)).then_some(url)
}

fn check_required(given: &str) -> Result<(), String> {
    if given.is_empty() {
        return Err("is missing".to_owned());
    }
    if given.len() > LONGEST {
        return Err(format!("is longer than {LONGEST} bytes; use a shorter one"));
    }
    text::check(given)
}

fn check_known(given: &[String], known: &[&str]) -> Result<(), String> {
    match given.iter().find(|it| !known.contains(&it.as_str())) {
        None => Ok(()),
        Some(_) => Err(format!(
            "holds one that is not known; use {}",
            known.join(", ")
        )),
    }
}

fn check_method(given: &str) -> Result<(), String> {
    if ["", WITH_SECRET, WITHOUT_SECRET].contains(&given) {
        Ok(())
    } else {
        Err(format!(
            "is not known; use {WITH_SECRET}, or {WITHOUT_SECRET} for a program that cannot keep a secret"
        ))
    }
}

fn check_software(given: &str) -> Result<(), String> {
    check_required(given)?;
    if is_unapproved(given) {
        return Err("is an app that no other program may stand for".to_owned());
    }
    match given.strip_prefix(LINKED) {
        Some(slug) if !is_slug(slug) => Err(format!(
            "names no app; it looks like {LINKED}drive, or is a name of your own"
        )),
        _ => Ok(()),
    }
}

fn check_page(given: &str) -> Result<(), String> {
    text::check(given)?;
    if given.is_empty() {
        return Ok(());
    }
    match Url::parse(given) {
        Ok(url) if matches!(url.scheme(), "https" | "http") => Ok(()),
        _ => Err("is no address of a page; it looks like https://app.example/".to_owned()),
    }
}

fn check_redirect_uris(given: &[String], own_hosts: &[&str]) -> Result<(), String> {
    if given.is_empty() {
        return Err("is missing".to_owned());
    }
    if given.len() > MOST_URIS {
        return Err(format!("holds more than {MOST_URIS}; use fewer"));
    }
    given
        .iter()
        .try_for_each(|uri| check_redirect_uri(uri, own_hosts))
}

fn check_redirect_uri(given: &str, own_hosts: &[&str]) -> Result<(), String> {
    check_required(given)?;
    if given.contains('#') {
        return Err("has a fragment; leave out what follows the #".to_owned());
    }
    let url = parse_redirect_uri(given).ok_or_else(|| {
        "is no address to which a browser can be sent; it looks like https://app.example/callback"
            .to_owned()
    })?;
    let host = url.host_str().unwrap_or_default().trim_end_matches('.');
    if own_hosts.iter().any(|own| belongs_to(host, own)) {
        return Err(
            "is on the host of the instance itself, or of its apps; use that of the program"
                .to_owned(),
        );
    }
    Ok(())
}

/// Whether a host is that of an instance or of one of its apps, below it or beside it.
fn belongs_to(host: &str, instance: &str) -> bool {
    let is_below = |above: &str| above.is_empty() || above.ends_with('.');
    if host.strip_suffix(instance).is_some_and(is_below) {
        return true;
    }
    match (host.split_once('.'), instance.split_once('.')) {
        (Some((first, parent)), Some((label, rest))) => {
            let slug = first.strip_prefix(label);
            parent == rest && slug.is_some_and(|slug| slug.starts_with('-'))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a failed expectation is the test failing"
    )]

    use std::collections::HashSet;

    use serde_json::{Map, Value, json};

    use super::{Client, Registration, Time};

    fn registration(redirect_uri: &str) -> Registration {
        Registration {
            redirect_uris: vec![redirect_uri.to_owned()],
            client_name: "Reader".to_owned(),
            software_id: "org.example.reader".to_owned(),
            ..Registration::default()
        }
    }

    fn wrong_field(registration: &Registration) -> Option<String> {
        let wrong = registration.check(&["a.example"]).err()?;
        wrong.into_iter().next().map(|it| it.field)
    }

    #[test]
    fn browsers_are_sent_to_programs_only() {
        for uri in [
            "https://app.example/cb",
            "http://localhost/cb",
            "app://cb",
            "com.example.app:/cb",
            "https://ab.example/cb",
            "https://evila.example/cb",
            "https://a-drive.b.example/cb",
        ] {
            assert_eq!(wrong_field(&registration(uri)), None, "{uri}");
        }
        for uri in [
            "",
            "/cb",
            "https://app.example/cb#x",
            "https://app.example/cb#",
            "https://a.example/cb",
            "https://A.example:8080/cb",
            "https://a.example./cb",
            "https://drive.a.example/cb",
            "https://x.drive.A.example:8080/cb",
            "https://a-drive.example/cb",
            "javascript:alert(1)",
            "data:text/html,x",
            "https://app.example/\ncb",
        ] {
            assert_eq!(
                wrong_field(&registration(uri)).as_deref(),
                Some("redirect_uris"),
                "{uri}"
            );
        }
        let wrong = Registration::default().check(&[]).unwrap_err();
        assert_eq!(wrong.len(), 3);
        let many = Registration {
            redirect_uris: vec!["app://cb".to_owned(); 11],
            ..registration("")
        };
        assert_eq!(wrong_field(&many).as_deref(), Some("redirect_uris"));
    }

    #[test]
    fn each_member_is_checked() {
        let long = "x".repeat(1025);
        for (member, value) in [
            ("client_name", json!(long)),
            ("client_name", json!("a\u{202e}b")),
            ("software_id", json!("registry://settings")),
            ("software_id", json!("registry://Drive")),
            ("client_kind", json!(long)),
            ("client_uri", json!("javascript:alert(1)")),
            ("logo_uri", json!("/x")),
            ("grant_types", json!(["password"])),
            ("response_types", json!(["token"])),
            ("token_endpoint_auth_method", json!("private_key_jwt")),
        ] {
            let mut given = json!({
                "redirect_uris": ["app://cb"], "client_name": "Reader", "software_id": "registry://drive",
                "unknown": 1, "allow_login_scope": true
            });
            let read: Registration = serde_json::from_value(given.clone()).unwrap();
            assert_eq!(wrong_field(&read), None);
            assert!(!read.allow_login_scope);
            given[member] = value;
            let read: Registration = serde_json::from_value(given).unwrap();
            assert_eq!(wrong_field(&read).as_deref(), Some(member));
        }
    }

    #[test]
    fn a_name_that_is_taken_gets_a_number() {
        let taken: HashSet<String> = ["Reader", "Reader-2"].map(str::to_owned).into();
        let asked = registration("app://cb");
        assert_eq!(asked.free_name(&taken), "Reader-3");
        assert_eq!(asked.free_name(&HashSet::new()), "Reader");
    }

    #[test]
    fn the_document_is_that_of_the_compatible_software() {
        let now = Time::from_unix(1_800_000_000, 0).unwrap();
        let document = registration("app://cb").document("Reader", "secret", now);
        let text = serde_json::to_string(&document).unwrap();
        assert_eq!(
            text,
            r#"{"client_secret":"secret","client_secret_expires_at":0,"redirect_uris":["app://cb"],"#.to_owned()
                + r#""grant_types":["authorization_code","refresh_token"],"response_types":["code"],"#
                + r#""client_name":"Reader","software_id":"org.example.reader","cozyMetadata":{"#
                + r#""doctypeVersion":"1","metadataVersion":1,"createdAt":"2027-01-15T08:00:00.000000Z","#
                + r#""updatedAt":"2027-01-15T08:00:00.000000Z"}}"#
        );
        let client = Client::of(&document);
        assert!(client.redirects_to("app://cb") && !client.redirects_to("app://cb/"));
        assert_eq!(client.registered_at(), Some(now));
        assert_eq!(client.secret(), "secret");
    }

    #[test]
    fn an_update_forgets_what_is_left_out_and_keeps_what_others_wrote() {
        let now = Time::from_unix(1_800_000_000, 0).unwrap();
        let later = Time::from_unix(1_800_000_060, 0).unwrap();
        let first = Registration {
            client_kind: "mobile".to_owned(),
            ..registration("app://cb")
        };
        let mut document = first.document("Reader", "secret", now);
        document.insert("flagship".to_owned(), true.into());
        registration("app://other").update("Reader-2", &mut document, later);
        assert_eq!(document["client_name"], "Reader-2");
        assert_eq!(document["client_secret"], "secret");
        assert_eq!(document.get("client_kind"), None);
        assert_eq!(
            document["cozyMetadata"]["updatedAt"],
            "2027-01-15T08:01:00.000000Z"
        );
        assert!(Client::of(&document).may_do_everything());
    }

    #[test]
    fn what_is_no_address_of_a_program_is_gone_to_by_nobody() {
        let Value::Object(document) = json!({"redirect_uris": ["javascript:alert(1)", 1, "app://a#b"],
            "client_uri": "javascript:alert(1)", "software_id": "registry://drive"})
        else {
            unreachable!("it is an object")
        };
        let client = Client::of(&document);
        assert!(!client.redirects_to("javascript:alert(1)"));
        assert!(!client.redirects_to("app://a#b"));
        assert_eq!(client.home(), "");
        assert_eq!(client.linked_app(), Some("drive"));
        assert!(!Client::of(&Map::new()).redirects_to(""));
    }
}
