//! Contexts: the groups of settings in `hamlet.toml` that instances choose from.
//!
//! ```toml
//! [contexts.default]
//! registries = ["https://apps.example.org"]
//!
//! [contexts.school]
//! registries = ["https://school.example.org"]
//! init_photos_folder = false
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Map, Value};
use toml::de::{DeValue, ValueDeserializer};
use url::Url;

use crate::{
    backend::{self, BackendAddress, RouteGroup},
    clusters::TableError,
    mail::MailSettings,
};

/// The context of instances that name none.
pub const DEFAULT: &str = "default";

/// One group of settings.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// Where apps are looked up, in this order. The registries of the default context follow.
    #[serde(default, deserialize_with = "registries")]
    pub registries: Vec<String>,
    /// Whether a new instance gets a directory for papers.
    #[serde(default = "yes")]
    pub init_administrative_folder: bool,
    /// Whether a new instance gets directories for photos.
    #[serde(default = "yes")]
    pub init_photos_folder: bool,
    /// Whether app hosts are `slug.instance` or `name-slug.parent`.
    #[serde(default)]
    pub subdomains: Subdomains,
    /// The folder of a file store that other software uses, too. Each instance has a folder there, named after its domain.
    /// `None` when the instances of the context have none.
    #[serde(default, deserialize_with = "storage")]
    pub storage: Option<PathBuf>,
    /// The name of whoever runs the installation, for the owners of its instances.
    #[serde(default, deserialize_with = "line")]
    pub operator_name: String,
    /// How owners reach them: a mail address, a telephone number.
    #[serde(default, deserialize_with = "line")]
    pub operator_contact: String,
    /// A page of theirs.
    #[serde(default, deserialize_with = "web_link")]
    pub operator_link: String,
    /// After how many wrong passphrases in an hour an instance is blocked with the reason `LOGIN_FAILED`, until an
    /// administrator unblocks it. By default, and with 0, never: a stranger could lock owners out.
    #[serde(default)]
    pub block_after_failed_logins: u32,
    /// The feature flags of all instances of the context, by name.
    #[serde(default, deserialize_with = "features")]
    pub features: Map<String, Value>,
    /// The addresses of the server that serves the instances of the context in Hamlet's stead. None when Hamlet serves them.
    #[serde(default, deserialize_with = "backend::addresses")]
    pub backend: Vec<BackendAddress>,
    /// The groups of routes that Hamlet serves all the same.
    #[serde(default, deserialize_with = "backend::own")]
    pub own: Vec<RouteGroup>,
    /// The admin door of that server.
    #[serde(default, deserialize_with = "backend::admin_backend")]
    pub admin_backend: Option<Url>,
    /// The file with the password of that door.
    #[serde(default)]
    pub admin_backend_password_file: Option<PathBuf>,
    /// How mail to owners is sent. `None` when it is sent as the default context says, or not at all.
    #[serde(default)]
    pub mail: Option<MailSettings>,
}

/// Who runs an installation, as owners see it. Each part may be empty, not all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// Their name.
    pub name: String,
    /// How owners reach them.
    pub contact: String,
    /// A page of theirs.
    pub link: String,
}

/// How the host of an app is made from that of its instance.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Subdomains {
    /// `slug.instance`.
    #[default]
    Nested,
    /// `name-slug.parent`, for the instance `name.parent`.
    Flat,
}

const fn yes() -> bool {
    true
}

/// A text that fits into a line of a page.
fn line<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    const LONGEST: usize = 200;
    let text = String::deserialize(from)?;
    if text.len() > LONGEST || text.contains(char::is_control) {
        return Err(D::Error::custom(format!(
            "the text about the operator is longer than {LONGEST} bytes or has more than one line"
        )));
    }
    Ok(text)
}

fn web_link<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let link = line(from)?;
    let is_usable = link.is_empty()
        || Url::parse(&link).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    if is_usable {
        return Ok(link);
    }
    Err(D::Error::custom(
        "operator_link: is no address; it looks like https://example.org/help",
    ))
}

/// Values of TOML that JSON has, too.
fn features<'de, D: Deserializer<'de>>(from: D) -> Result<Map<String, Value>, D::Error> {
    let flags = Map::<String, Value>::deserialize(from)?;
    // In JSON, a date of TOML becomes an object with a member whose name begins so.
    if Value::Object(flags.clone()).to_string().contains("$__toml") {
        return Err(D::Error::custom(
            "features: a flag has a date, which JSON does not have; write it in quotes",
        ));
    }
    Ok(flags)
}

/// Checks each URL at the start: otherwise a wrong one would only fail with the first installation.
fn registries<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let registries = Vec::<String>::deserialize(from)?;
    for registry in &registries {
        let usable = Url::parse(registry).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
        });
        if !usable {
            return Err(D::Error::custom(
                "registries: one is no address of a registry; each looks like https://apps.example.org, \
                 without credentials",
            ));
        }
    }
    Ok(registries)
}

/// Checks the URL of a file store at the start. Only local folders are supported.
fn storage<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
    const WRONG: &str = "storage: is no folder of this machine; it looks like file:///var/lib/files, with an absolute path";
    let text = String::deserialize(from)?;
    let wrong = || D::Error::custom(WRONG);
    // The parser would make an absolute path of `file:files` and `file://files`.
    let url = Url::parse(&text).map_err(|_| wrong())?;
    if !text.to_ascii_lowercase().starts_with("file:///")
        || url.query().is_some()
        || url.fragment().is_some()
    {
        return Err(wrong());
    }
    let path = url.to_file_path().map_err(|()| wrong())?;
    let is_usable = path.parent().is_some()
        && path
            .to_str()
            .is_some_and(|text| !text.contains(char::is_control));
    if !is_usable {
        return Err(wrong());
    }
    Ok(Some(path))
}

/// Reads the tables. `at` is the offset of their key.
pub(crate) fn read(at: usize, tables: DeValue<'_>) -> Result<Contexts, TableError> {
    let DeValue::Table(tables) = tables else {
        return Err(TableError {
            at,
            what: "contexts: is no table; write [contexts.NAME]".to_owned(),
        });
    };
    let mut contexts = BTreeMap::new();
    for (name, context) in tables {
        let at = name.span().start;
        let name = name.into_inner().into_owned();
        if name.is_empty() || name.chars().any(|it| it.is_control() || it.is_whitespace()) {
            return Err(TableError {
                at,
                what: format!(
                    "contexts.{name:?}: is no name; use one word, such as [contexts.school]"
                ),
            });
        }
        let context =
            Context::deserialize(ValueDeserializer::from(context)).map_err(|error| TableError {
                at: error.span().map_or(at, |span| span.start),
                what: format!("contexts.{name}: {}", error.message()),
            })?;
        if let Some(wrong) = context.contradiction() {
            return Err(TableError {
                at,
                what: format!("contexts.{name}: {wrong}"),
            });
        }
        contexts.insert(name, context);
    }
    Ok(Contexts::new(contexts))
}

impl Default for Context {
    fn default() -> Self {
        Self {
            registries: Vec::new(),
            init_administrative_folder: true,
            init_photos_folder: true,
            subdomains: Subdomains::Nested,
            storage: None,
            operator_name: String::new(),
            operator_contact: String::new(),
            operator_link: String::new(),
            block_after_failed_logins: 0,
            features: Map::new(),
            backend: Vec::new(),
            own: Vec::new(),
            admin_backend: None,
            admin_backend_password_file: None,
            mail: None,
        }
    }
}

impl Context {
    /// Why settings of the context do not fit each other; `None` when they do.
    fn contradiction(&self) -> Option<String> {
        if let Some(group) = self.own.first()
            && self.backend.is_empty()
        {
            return Some(format!(
                "own: has {:?}, but there is no backend, so all is Hamlet's; leave own out, or name the backend",
                group.name()
            ));
        }
        if let Some(group) = self.own.iter().find(|group| group.needs_storage())
            && self.storage.is_none()
        {
            return Some(format!(
                "own: {:?} needs storage, the file store in which the backend finds the code of apps; set it, or leave \
                 the group to the backend",
                group.name()
            ));
        }
        if self.admin_backend.is_some() != self.admin_backend_password_file.is_some() {
            return Some(
                "admin_backend and admin_backend_password_file belong together; set both, or none"
                    .to_owned(),
            );
        }
        None
    }
}

/// All contexts of an installation.
#[derive(Clone, Debug, Default)]
pub struct Contexts(BTreeMap<String, Context>);

impl Contexts {
    /// The contexts with these names.
    #[must_use]
    pub const fn new(contexts: BTreeMap<String, Context>) -> Self {
        Self(contexts)
    }

    /// Whether the configuration has this context. The default one always exists.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        name.is_empty() || name == DEFAULT || self.0.contains_key(name)
    }

    /// The names of the configured contexts, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The settings of a context: those of the default one when `name` is empty or unknown.
    #[must_use]
    pub fn get(&self, name: &str) -> Context {
        self.0
            .get(name)
            .or_else(|| self.0.get(DEFAULT))
            .cloned()
            .unwrap_or_default()
    }

    /// Who runs the installation: as the context says, or else as the default one says.
    #[must_use]
    pub fn operator(&self, name: &str) -> Option<Operator> {
        [name, DEFAULT].iter().find_map(|name| {
            let context = self.get(name);
            let operator = Operator {
                name: context.operator_name,
                contact: context.operator_contact,
                link: context.operator_link,
            };
            let parts = [&operator.name, &operator.contact, &operator.link];
            let is_told = parts.iter().any(|part| !part.is_empty());
            is_told.then_some(operator)
        })
    }

    /// The context that says how mail of the instances of a context is sent: itself, or else the default one. `None` when no
    /// mail is sent.
    #[must_use]
    pub fn mailing<'a>(&self, name: &'a str) -> Option<&'a str> {
        let has_mail = |name: &str| self.0.get(name).is_some_and(|it| it.mail.is_some());
        [name, DEFAULT].into_iter().find(|name| has_mail(name))
    }

    /// The folders of all file stores, each once.
    #[must_use]
    pub fn storages(&self) -> BTreeSet<PathBuf> {
        let all = self.0.values();
        all.filter_map(|context| context.storage.clone()).collect()
    }

    /// Where a context looks up apps: its own registries, then those of the default one.
    #[must_use]
    pub fn registries(&self, name: &str) -> Vec<String> {
        let mut registries = self.get(name).registries;
        if let Some(default) = self.0.get(DEFAULT) {
            for registry in &default.registries {
                if !registries.contains(registry) {
                    registries.push(registry.clone());
                }
            }
        }
        registries
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::Value;
    use toml::de::{DeTable, DeValue};

    use super::{Context, Contexts, read};

    #[test]
    fn flags_have_the_values_of_json() {
        let flags = |lines: &str| {
            let text = format!("[dev.features]\n{lines}");
            let tables = DeTable::parse(&text).map(toml::Spanned::into_inner);
            let contexts = read(0, DeValue::Table(tables.unwrap_or_default()));
            contexts.map(|it| Value::Object(it.get("dev").features).to_string())
        };
        let read = flags("'drive.office' = true\nlimits = [1, { a = 'b' }]");
        let expected = r#"{"drive.office":true,"limits":[1,{"a":"b"}]}"#;
        assert_eq!(read.ok().as_deref(), Some(expected));
        let refused = flags("since = 2026-11-30").err();
        assert!(refused.is_some_and(|error| error.what.contains("in quotes")));
    }

    #[test]
    fn a_backend_has_one_address_or_several() {
        let read = |lines: &str| {
            let text = format!("[one]\n{lines}");
            let tables = DeTable::parse(&text).map(toml::Spanned::into_inner);
            read(0, DeValue::Table(tables.unwrap_or_default()))
                .map(|it| it.get("one"))
                .map_err(|error| error.what)
        };
        let addresses = |lines: &str| {
            let context = read(lines).unwrap_or_default();
            let addresses = context.backend.iter().map(ToString::to_string);
            addresses.collect::<Vec<_>>()
        };
        assert_eq!(
            addresses("backend = 'http://127.0.0.1:8085'"),
            ["http://127.0.0.1:8085"]
        );
        let two = "backend = ['http://a:1', 'http://b:2']\nown = ['flags']";
        assert_eq!(addresses(two), ["http://a:1", "http://b:2"]);
        for (wrong, told) in [
            ("backend = 7", "neither an address nor a list"),
            ("backend = []", "0 addresses"),
            ("backend = ['http://a', 'http://a:80']", "twice"),
            ("backend = 'http://u:secret@a'", "number 1 is no address"),
            ("backend = 'https://a'", "with TLS"),
            ("own = ['flags']", "there is no backend"),
            (
                "backend = 'http://a'\nown = ['files']",
                "choose from apps, konnectors, flags, passphrase",
            ),
            ("backend = 'http://a'\nown = ['apps']", "needs storage"),
            ("admin_backend = 'http://a'", "belong together"),
            (
                "admin_backend = 'http://u:secret@a'",
                "admin_backend: is no address",
            ),
        ] {
            let refused = read(wrong).err().unwrap_or_default();
            assert!(refused.contains(told), "{wrong}: {refused}");
            assert!(!refused.contains("secret"), "{refused}");
        }
    }

    fn context(registries: &[&str]) -> Context {
        Context {
            registries: registries.iter().map(|&text| text.to_owned()).collect(),
            ..Context::default()
        }
    }

    #[test]
    fn a_context_without_an_operator_has_that_of_the_default_one() {
        let run_by = |name: &str| Context {
            operator_name: name.to_owned(),
            ..Context::default()
        };
        let contexts = Contexts::new(
            [
                ("default".to_owned(), run_by("Us")),
                ("school".to_owned(), run_by("The school")),
                ("plain".to_owned(), run_by("")),
            ]
            .into(),
        );
        let name = |context: &str| contexts.operator(context).map(|it| it.name);
        assert_eq!(name("school").as_deref(), Some("The school"));
        assert_eq!(name("plain").as_deref(), Some("Us"));
        assert_eq!(name("unknown").as_deref(), Some("Us"));
        assert_eq!(Contexts::default().operator(""), None);
    }

    #[test]
    fn a_file_store_is_an_absolute_folder_of_this_machine() {
        let read = |url: &str| {
            let table = format!("storage = {url:?}");
            toml::from_str::<Context>(&table).map(|context| context.storage)
        };
        let folder = |path: &str| Ok(Some(PathBuf::from(path)));
        assert_eq!(read("file:///var/lib/files"), folder("/var/lib/files"));
        assert_eq!(read("file:///var/lib/files/"), folder("/var/lib/files/"));
        assert_eq!(read("file:///a%20b/../c"), folder("/c"));
        for bad in [
            "",
            "/var/lib",
            "file:files",
            "file://files",
            "file://host/files",
            "file:///",
            "swift://openstack/",
            "mem://",
            "s3://bucket/",
            "file:///a?b",
            "file:///a#b",
            "file:///a%00b",
        ] {
            let refused = read(bad).map_err(|error| error.to_string());
            assert!(refused.is_err_and(|it| it.contains("storage:")), "{bad:?}");
        }
    }

    #[test]
    fn the_default_registries_follow_those_of_a_context() {
        let contexts = Contexts::new(
            [
                ("default".to_owned(), context(&["http://d"])),
                ("school".to_owned(), context(&["http://s"])),
            ]
            .into(),
        );
        assert_eq!(contexts.registries("school"), ["http://s", "http://d"]);
        assert_eq!(contexts.registries(""), ["http://d"]);
        assert_eq!(contexts.registries("unknown"), ["http://d"]);
        assert!(!contexts.knows("unknown"));
    }
}
