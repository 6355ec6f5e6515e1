//! Finds the server and the credential for it.
//!
//! `--at` comes first, then `--server` and `--credential-file`, `HAMLET_DATA`, and the installation that `hamlet use`
//! chose. Without them a local `hamletd` is found by its data folder: `HAMLET_DATA`, or `hamlet-data` in the
//! working directory or in one of the folders above it. A credential of a data folder is sent to the server of that
//! folder and to no other.

use std::{
    env, fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use http::Uri;
use service_kit::secret::Secret;

use crate::{
    client_file::{ClientFile, Installation},
    error::CommandError,
};

/// The default name of the data folder.
const FOLDER: &str = "hamlet-data";
/// The file in it that holds the address of the admin door.
const ADDRESS: &str = "admin-address";
/// The file in it that holds the credential.
const CREDENTIAL: &str = "admin-credential";
/// The default address of the admin door.
const DEFAULT_SERVER: &str = "http://127.0.0.1:6060";

/// A server and the credential for it.
#[derive(Debug)]
pub(crate) struct Server {
    /// Its address, `http://host:port`.
    pub(crate) url: String,
    /// The admin credential.
    pub(crate) credential: Secret,
    /// Where the credential was found.
    pub(crate) credential_file: PathBuf,
}

/// Finds the server.
///
/// # Errors
/// When there is none, or its credential cannot be read; the message says what was looked at.
pub(crate) fn find(
    server: Option<&str>,
    credential_file: Option<&Path>,
    at: Option<&str>,
) -> Result<Server, CommandError> {
    // An empty variable counts as not set.
    let server = server.filter(|server| !server.is_empty());
    let credential_file = credential_file.filter(|file| !file.as_os_str().is_empty());
    let file = ClientFile::read()?;
    let named = match at.filter(|name| !name.is_empty()) {
        Some(name) => Some(name),
        // A server, a credential or a folder that somebody names comes before what was chosen once.
        None if server.is_some() || credential_file.is_some() || named_folder().is_some() => None,
        None => file.chosen.as_deref(),
    };
    if let Some(name) = named {
        let Installation {
            server,
            credential_file,
        } = file.get(name)?;
        let url = checked(name, server)?;
        return with_credential(url, credential_file.clone());
    }
    let folder = data_folder();
    let url = match (server, credential_file, &folder) {
        (Some(url), _, _) => with_scheme(url),
        // Without a data folder, the credential is for a server at the default address.
        (None, Some(_), None) => DEFAULT_SERVER.to_owned(),
        (None, _, folder) => url_in(folder.as_deref())?,
    };
    check("--server", &url)?;
    let credential_file = match (credential_file, &folder) {
        (Some(file), _) => file.to_owned(),
        (None, Some(folder)) if address_in(folder).is_some_and(|own| is_same(&url, own)) => {
            folder.join(CREDENTIAL)
        }
        (None, _) => {
            return Err(CommandError::Usage(format!(
                "no credential for {url}: name its file with --credential-file or HAMLET_CREDENTIAL_FILE ({})",
                looked_at()
            )));
        }
    };
    with_credential(url, credential_file)
}

fn with_credential(url: String, credential_file: PathBuf) -> Result<Server, CommandError> {
    let credential = Secret::from_file(&credential_file).map_err(|error| {
        CommandError::Usage(format!(
            "cannot read the admin credential in {}: {error}",
            credential_file.display()
        ))
    })?;
    Ok(Server {
        url,
        credential,
        credential_file,
    })
}

/// The address of an admin door, with its scheme. An error names `what` holds it.
///
/// # Errors
/// When it is no such address.
pub(crate) fn checked(what: &str, url: &str) -> Result<String, CommandError> {
    let url = with_scheme(url);
    check(what, &url)?;
    Ok(url)
}

/// Refuses a text that is not the address of an admin door.
fn check(what: &str, url: &str) -> Result<(), CommandError> {
    let wrong = || {
        CommandError::Usage(format!(
            "{what}: {url} is no address; it looks like {DEFAULT_SERVER}"
        ))
    };
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    if uri.scheme_str() == Some("https") {
        return Err(CommandError::Usage(format!(
            "{what}: {url}: the admin door speaks plain http; reach another machine through a tunnel, such as \
             `ssh -L 6060:127.0.0.1:6060 HOST`, and name {DEFAULT_SERVER}"
        )));
    }
    let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
    let named = uri
        .authority()
        .is_some_and(|authority| !authority.host().is_empty() && !authority.as_str().contains('@'));
    if uri.scheme_str() == Some("http") && bare && named {
        Ok(())
    } else {
        Err(wrong())
    }
}

/// The address of the hamletd of a folder, if it runs. One that listens on all interfaces listens on loopback, too.
fn address_in(folder: &Path) -> Option<SocketAddr> {
    let text = fs::read_to_string(folder.join(ADDRESS)).ok()?;
    let address: SocketAddr = text.trim().parse().ok()?;
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    Some(SocketAddr::new(ip, address.port()))
}

/// Whether `url` leads to the address `own`; `localhost` is any loopback address.
fn is_same(url: &str, own: SocketAddr) -> bool {
    let Ok(uri) = url.parse::<Uri>() else {
        return false;
    };
    let Some(authority) = uri.authority() else {
        return false;
    };
    let host = authority.host().trim_matches(['[', ']']);
    authority.port_u16().unwrap_or(80) == own.port()
        && match host.parse::<IpAddr>() {
            Ok(ip) => ip == own.ip(),
            Err(_) => host == "localhost" && own.ip().is_loopback(),
        }
}

fn with_scheme(url: &str) -> String {
    if url.contains("://") {
        url.to_owned()
    } else {
        format!("http://{url}")
    }
}

fn url_in(folder: Option<&Path>) -> Result<String, CommandError> {
    let Some(folder) = folder else {
        return Err(CommandError::Unavailable(format!(
            "no hamletd found ({}); start one with `cargo run --release -- --demo`, or name a server with --server",
            looked_at()
        )));
    };
    match address_in(folder) {
        Some(address) => Ok(format!("http://{address}")),
        None => Err(CommandError::Unavailable(format!(
            "the hamletd of {} does not run (there is no {ADDRESS} in it); start it, or name a server with --server",
            folder.display()
        ))),
    }
}

fn looked_at() -> String {
    format!("looked for {FOLDER} here and in the folders above, and at HAMLET_DATA")
}

/// The folder that HAMLET_DATA names.
fn named_folder() -> Option<PathBuf> {
    env::var_os("HAMLET_DATA")
        .filter(|named| !named.is_empty())
        .map(PathBuf::from)
}

fn data_folder() -> Option<PathBuf> {
    if let Some(named) = named_folder() {
        return Some(named);
    }
    let here = env::current_dir().ok()?;
    folder_above(&here)
}

fn folder_above(here: &Path) -> Option<PathBuf> {
    here.ancestors()
        .map(|folder| folder.join(FOLDER))
        .find(|folder| folder.join(CREDENTIAL).is_file())
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use std::fs;

    use super::{check, folder_above, is_same, url_in, with_scheme};

    #[test]
    fn a_local_hamletd_is_found_from_below() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("hamlet-data");
        let below = directory.path().join("a/b");
        fs::create_dir_all(&below).unwrap();
        fs::create_dir_all(&data).unwrap();
        assert_eq!(folder_above(&below), None);
        fs::write(data.join("admin-credential"), "x").unwrap();
        assert_eq!(folder_above(&below).unwrap(), data);
        assert!(
            url_in(Some(&data))
                .unwrap_err()
                .to_string()
                .contains("does not run")
        );
        fs::write(data.join("admin-address"), "127.0.0.1:6060\n").unwrap();
        assert_eq!(url_in(Some(&data)).unwrap(), "http://127.0.0.1:6060");
    }

    #[test]
    fn a_server_may_be_named_without_its_scheme() {
        assert_eq!(with_scheme("h:1"), "http://h:1");
        assert_eq!(with_scheme("https://h"), "https://h");
    }

    #[test]
    fn a_found_credential_is_for_its_own_server_only() {
        let own = "127.0.0.1:6060".parse().unwrap();
        for same in ["http://127.0.0.1:6060", "http://localhost:6060/"] {
            assert!(is_same(same, own), "{same}");
        }
        for other in [
            "http://127.0.0.1:6061",
            "http://127.0.0.2:6060",
            "http://example.org:6060",
            "http://127.0.0.1",
        ] {
            assert!(!is_same(other, own), "{other}");
        }
        assert!(is_same("http://[::1]:7", "[::1]:7".parse().unwrap()));
    }

    #[test]
    fn an_invalid_address_is_refused() {
        for wrong in [
            "https://h:1",
            "http://",
            "ftp://h",
            "http://u:p@h:1",
            "http://h:1/x",
            "http://h?x",
        ] {
            assert!(check("--server", wrong).is_err(), "{wrong}");
        }
        assert!(check("--server", "http://h:1").is_ok());
    }
}
