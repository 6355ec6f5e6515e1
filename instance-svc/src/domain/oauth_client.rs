//! OAuth clients: programs that the owner of an instance can let in.

use std::collections::HashSet;

use serde_json::{Map, Value, json};
use url::Url;

use super::{fields::formats::text, name::Name, spec::InvalidField, time::Time};

/// The longest text of a registration, in bytes.
const LONGEST: usize = 1024;

/// What is asked for a client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registration {
    /// Where browsers are sent with the answer of the owner.
    pub(crate) redirect_uri: String,
    /// Its name, for the owner.
    pub(crate) client_name: String,
    /// What software it is.
    pub(crate) software_id: String,
    /// Whether it may ask for a login alone.
    pub(crate) allow_login_scope: bool,
}

impl Registration {
    /// Checks what is asked for. `domain` is that of the instance.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub(crate) fn check(&self, domain: &str) -> Result<(), Vec<InvalidField>> {
        let wrong: Vec<InvalidField> = [
            (
                "redirect_uri",
                check_redirect_uri(&self.redirect_uri, domain),
            ),
            ("client_name", check_text(&self.client_name)),
            ("software_id", check_text(&self.software_id)),
        ]
        .into_iter()
        .filter_map(|(field, checked)| {
            let field = field.to_owned();
            checked.err().map(|wrong| InvalidField { field, wrong })
        })
        .collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// The name under which it is kept: another client may have the name already.
    pub(crate) fn free_name(&self, taken: &HashSet<String>) -> String {
        let name = &self.client_name;
        if !taken.contains(name) {
            return name.clone();
        }
        let numbered = (2_u32..).map(|number| format!("{name}-{number}"));
        let mut free = numbered.filter(|name| !taken.contains(name));
        free.next().unwrap_or_default()
    }

    /// The document of the client, with the members of the compatible software.
    pub(crate) fn document(&self, name: &str, secret: &str, now: Time) -> Map<String, Value> {
        let document = json!({
            "client_secret": secret,
            "client_secret_expires_at": 0,
            "redirect_uris": [self.redirect_uri],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "client_name": name,
            "software_id": self.software_id,
            "cozyMetadata": {
                "doctypeVersion": "1", "metadataVersion": 1, "createdAt": now.to_string(),
                "updatedAt": now.to_string()
            }
        });
        let mut document = match document {
            Value::Object(document) => document,
            _ => Map::new(),
        };
        if self.allow_login_scope {
            document.insert("allow_login_scope".to_owned(), true.into());
        }
        document
    }
}

fn check_text(given: &str) -> Result<(), String> {
    if given.is_empty() {
        return Err("is missing".to_owned());
    }
    if given.len() > LONGEST {
        return Err(format!("is longer than {LONGEST} bytes; use a shorter one"));
    }
    text::check(given)
}

fn check_redirect_uri(given: &str, domain: &str) -> Result<(), String> {
    check_text(given)?;
    let wrong =
        "is no address to which a browser can be sent; it looks like https://app.example/callback";
    let url = Url::parse(given).map_err(|_| wrong.to_owned())?;
    // A browser would run what these hold.
    if matches!(url.scheme(), "javascript" | "data" | "vbscript" | "file") {
        return Err(wrong.to_owned());
    }
    if url.fragment().is_some() {
        return Err("has a fragment; leave out what follows the #".to_owned());
    }
    let own: Option<Name> = domain.parse().ok();
    if own.is_some_and(|own| url.host_str() == Some(own.host())) {
        return Err("is on the host of the instance itself; use that of the program".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use std::collections::HashSet;

    use super::{Registration, Time};

    fn registration(redirect_uri: &str) -> Registration {
        Registration {
            redirect_uri: redirect_uri.to_owned(),
            client_name: "Reader".to_owned(),
            software_id: "org.example.reader".to_owned(),
            allow_login_scope: false,
        }
    }

    #[test]
    fn browsers_are_sent_to_programs_only() {
        for uri in ["https://app.example/cb", "http://localhost/cb", "app://cb"] {
            assert_eq!(registration(uri).check("a.example:8080"), Ok(()), "{uri}");
        }
        for uri in [
            "",
            "/cb",
            "https://app.example/cb#x",
            "https://a.example/cb",
            "javascript:alert(1)",
            "https://app.example/\ncb",
        ] {
            let wrong = registration(uri).check("a.example:8080").unwrap_err();
            assert_eq!(wrong.first().unwrap().field, "redirect_uri", "{uri}");
        }
        let wrong = Registration::default().check("a.example").unwrap_err();
        assert_eq!(wrong.len(), 3);
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
        assert!(text.starts_with(r#"{"client_secret":"secret","client_secret_expires_at":0,"#));
        assert!(!document.contains_key("allow_login_scope"));
    }
}
