//! The list of CouchDB servers in `hamlet.toml` on which the databases of instances lie.
//!
//! ```toml
//! [[couch-clusters]]
//! url = "http://couch-one:5984"
//! user = "admin"
//! password_file = "/run/secrets/couch-one"
//!
//! [[couch-clusters]]
//! url = "http://couch-two:5984"
//! user = "admin"
//! password_file = "/run/secrets/couch-two"
//! instance_creation = false
//! ```
//!
//! An instance keeps its position in the list, counted from 0: the list may only grow at its end.

use std::{ops::Range, path::PathBuf};

use secret::Secret;
use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeValue, ValueDeserializer},
};
use url::Url;

/// The key of the list in the file.
pub const KEY: &str = "couch-clusters";

/// One server of the list.
#[derive(Clone, Debug)]
pub struct CouchCluster {
    /// Its root URL. It may contain user and password.
    pub url: Secret,
    /// Its administrator; wins over the user in the URL.
    pub user: Option<String>,
    /// A file with the administrator's password; wins over the password in the URL. It was readable when
    /// the settings were read.
    pub password_file: Option<PathBuf>,
    /// Whether new instances may be placed there.
    pub instance_creation: bool,
}

/// A table of the file that cannot be used.
#[derive(Debug)]
pub(crate) struct TableError {
    /// The offset in the file, in bytes.
    pub(crate) at: usize,
    /// What is wrong, and what would be right.
    pub(crate) what: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    url: Spanned<String>,
    user: Option<Spanned<String>>,
    password_file: Option<Spanned<PathBuf>>,
    #[serde(default = "yes")]
    instance_creation: bool,
}

const fn yes() -> bool {
    true
}

/// Reads the list. `at` is the offset of its key.
pub(crate) fn read(at: usize, list: DeValue<'_>) -> Result<Vec<CouchCluster>, TableError> {
    let DeValue::Array(tables) = list else {
        return Err(TableError {
            at,
            what: format!("{KEY}: is no list of tables; write [[{KEY}]] before each"),
        });
    };
    if tables.is_empty() {
        return Err(TableError {
            at,
            what: format!(
                "{KEY}: is empty; leave it out, and instances lie on the server of --couchdb"
            ),
        });
    }
    tables
        .into_iter()
        .enumerate()
        .map(|(position, table)| {
            let name = format!("{KEY}[{position}]");
            let table_at = table.span().start;
            let table = Table::deserialize(ValueDeserializer::from(table)).map_err(|error| {
                let span = error.span().filter(|span| span.start > table_at);
                TableError {
                    at: span.map_or(table_at, |span| span.start),
                    what: format!("{name}: {}", error.message()),
                }
            })?;
            table.check().map_err(|(span, key, what)| TableError {
                at: span.start,
                what: format!("{name}.{key}: {what}"),
            })
        })
        .collect()
}

type KeyError = (Range<usize>, &'static str, String);

impl Table {
    fn check(self) -> Result<CouchCluster, KeyError> {
        let url_at = self.url.span();
        // The message of no error may hold the URL: a password may stand in it.
        let url = Url::parse(self.url.get_ref()).map_err(|error| {
            let what = format!("is no URL ({error}); it looks like http://couch-one:5984");
            (url_at.clone(), "url", what)
        })?;
        let root = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() || !root {
            let what = "is no root URL of a CouchDB; it looks like http://couch-one:5984, with nothing after the port";
            return Err((url_at, "url", what.to_owned()));
        }
        if let Some(path) = &self.password_file {
            Secret::from_file(path.get_ref()).map_err(|error| {
                let what = format!("cannot read {}: {error}", path.get_ref().display());
                (path.span(), "password_file", what)
            })?;
        }
        let named = self.user.is_some() || !url.username().is_empty();
        let proven = self.password_file.is_some() || url.password().is_some();
        match (&self.user, &self.password_file) {
            (Some(user), _) if user.get_ref().is_empty() || user.get_ref().contains(':') => {
                let what =
                    "is empty or holds a colon, which no name of CouchDB can; it looks like admin";
                return Err((user.span(), "user", what.to_owned()));
            }
            (Some(user), _) if !proven => {
                let what = "has no password beside it; add password_file";
                return Err((user.span(), "user", what.to_owned()));
            }
            (_, Some(file)) if !named => {
                let what = "has no name beside it; add user";
                return Err((file.span(), "password_file", what.to_owned()));
            }
            _ if named != proven => {
                let what = "holds a name or a password alone; add the other";
                return Err((url_at, "url", what.to_owned()));
            }
            _ => {}
        }
        Ok(CouchCluster {
            url: Secret::new(self.url.into_inner()),
            user: self.user.map(Spanned::into_inner),
            password_file: self.password_file.map(Spanned::into_inner),
            instance_creation: self.instance_creation,
        })
    }
}
