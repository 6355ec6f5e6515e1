//! Finds the server and the credential for it.
//!
//! The flags `--at`, or `--server` and `--credential-file`, come before every variable. Then come `HAMLET_AT`,
//! `HAMLET_SERVER` and `HAMLET_CREDENTIAL_FILE`, `HAMLET_DATA`, and the installation that `hamlet use` chose. Without them
//! a local `hamletd` is found by its data folder: `HAMLET_DATA`, or `hamlet-data` in the working directory or in one of
//! the folders above it. A credential of a data folder or of an installation is sent to its own server and to no other.
//!
//! The authority of a server with TLS is that of `--ca`. Without the flag it is that of the installation, or, for a server
//! that has no name, that of `HAMLET_CA_FILE`. Without any of them, those count that the system trusts.

use std::{
    env, fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use service_kit::secret::Secret;

use crate::{
    address::{self, DEFAULT_SERVER, has_tls, is_same, with_scheme},
    authority::{self, Authorities, CaFile},
    client_file::{ClientFile, Installation},
    error::CommandError,
    flags::global::GlobalFlags,
};

/// The default name of the data folder.
const FOLDER: &str = "hamlet-data";
/// The file in it that holds the address of the admin door.
const ADDRESS: &str = "admin-address";
/// The file in it that holds the credential.
const CREDENTIAL: &str = "admin-credential";

/// A server and the credential for it.
#[derive(Debug)]
pub(crate) struct Server {
    /// Its address, `https://host:port` or `http://host:port`.
    pub(crate) url: String,
    /// What names the address: a flag, a variable, or an installation.
    pub(crate) named_by: String,
    /// Whose certificates count; none without TLS.
    pub(crate) authorities: Option<Authorities>,
    /// The admin credential.
    pub(crate) credential: Secret,
    /// Where the credential was found.
    pub(crate) credential_file: PathBuf,
}

/// What somebody gave, and by what: a flag or a variable.
struct Given<T> {
    value: T,
    by: &'static str,
    is_flag: bool,
}

impl Given<&Path> {
    fn as_ca(&self) -> CaFile<'_> {
        CaFile {
            path: self.value,
            by: self.by,
        }
    }
}

/// A value with its origin, when there is one.
fn given<T>(value: Option<T>, is_flag: bool, names: [&'static str; 2]) -> Option<Given<T>> {
    let [flag, variable] = names;
    value.map(|value| Given {
        value,
        by: if is_flag { flag } else { variable },
        is_flag,
    })
}

/// Finds the server.
///
/// # Errors
/// When there is none, two flags name two, or its credential cannot be read; the message says what was looked at.
pub(crate) fn find(flags: &GlobalFlags) -> Result<Server, CommandError> {
    let typed = flags.typed;
    // An empty variable counts as not set.
    let server = flags.server.as_deref().filter(|it| !it.is_empty());
    let server = given(server, typed.server, ["--server", "HAMLET_SERVER"]);
    let credential_file = flags.credential_file.as_deref();
    let credential_file = given(
        credential_file.filter(|file| !file.as_os_str().is_empty()),
        typed.credential_file,
        ["--credential-file", "HAMLET_CREDENTIAL_FILE"],
    );
    let at = flags.at.as_deref().filter(|name| !name.is_empty());
    let at = given(at, typed.at, ["--at", "HAMLET_AT"]);
    let ca = flags.ca.as_deref();
    let ca = given(
        ca.filter(|file| !file.as_os_str().is_empty()),
        typed.ca,
        ["--ca", "HAMLET_CA_FILE"],
    );
    let file = ClientFile::read()?;
    if let Some(at) = at.filter(|at| at.is_flag || server.as_ref().is_none_or(|it| !it.is_flag)) {
        if at.is_flag
            && let Some(flag) = [
                server.as_ref().filter(|it| it.is_flag).map(|it| it.by),
                credential_file
                    .as_ref()
                    .filter(|it| it.is_flag)
                    .map(|it| it.by),
                ca.as_ref().filter(|it| it.is_flag).map(|it| it.by),
            ]
            .into_iter()
            .flatten()
            .next()
        {
            return Err(CommandError::Usage(format!(
                "--at and {flag} contradict each other: an installation has its own server, credential and \
                 authority; give one"
            )));
        }
        let installation = file
            .get(at.value)
            .map_err(|error| CommandError::Usage(format!("{}: {error}", at.by)))?;
        return at_installation(
            at.value,
            installation,
            credential_file.filter(|it| it.is_flag),
            ca.as_ref().filter(|it| it.is_flag),
        );
    }
    // A server, a credential or a folder that somebody names comes before what was chosen once.
    if server.is_none()
        && credential_file.is_none()
        && named_folder().is_none()
        && let Some(name) = file.chosen.as_deref()
    {
        return at_installation(
            name,
            file.get(name)?,
            None,
            ca.as_ref().filter(|it| it.is_flag),
        );
    }
    let folder = data_folder();
    let (named_by, url) = match (&server, &credential_file, &folder) {
        (Some(server), _, _) => (server.by.to_owned(), with_scheme(server.value)),
        // Without a data folder, the credential is for a server at the default address.
        (None, Some(_), None) => ("--server".to_owned(), DEFAULT_SERVER.to_owned()),
        (None, _, folder) => {
            let url = url_in(folder.as_deref())?;
            let file = folder.as_deref().map(|folder| folder.join(ADDRESS));
            (file.unwrap_or_default().display().to_string(), url)
        }
    };
    address::check(&named_by, &url)?;
    let named = Named {
        by: &named_by,
        ca: ca.as_ref().map(Given::as_ca),
        is_ca_typed: ca.as_ref().is_some_and(|ca| ca.is_flag),
    };
    match (credential_file, &folder) {
        (Some(file), _) => named.with_credential(url, file.value.to_owned(), Some(file.by)),
        (None, Some(folder)) if address_in(folder).is_some_and(|own| is_same(&url, own)) => {
            named.with_credential(url, folder.join(CREDENTIAL), None)
        }
        (None, folder) => Err(CommandError::Usage(format!(
            "no credential for {url}: name its file with --credential-file or HAMLET_CREDENTIAL_FILE ({})",
            folder.as_deref().map_or_else(looked_at, of_another)
        ))),
    }
}

/// The server of an installation, with its credential and authority or with others of the same server.
fn at_installation(
    name: &str,
    installation: &Installation,
    other: Option<Given<&Path>>,
    other_ca: Option<&Given<&Path>>,
) -> Result<Server, CommandError> {
    let url = address::checked(name, &installation.server)?;
    let own_ca = installation
        .ca_file
        .as_deref()
        .map(|path| CaFile { path, by: name });
    let named = Named {
        by: name,
        ca: other_ca.map(Given::as_ca).or(own_ca),
        is_ca_typed: other_ca.is_some(),
    };
    match other {
        Some(file) => named.with_credential(url, file.value.to_owned(), Some(file.by)),
        None => named.with_credential(url, installation.credential_file.clone(), None),
    }
}

/// By what a server is named, and by what authority it is known.
struct Named<'a> {
    by: &'a str,
    ca: Option<CaFile<'a>>,
    is_ca_typed: bool,
}

impl Named<'_> {
    /// The server at `url` with the credential of a file; `by` is the flag or variable that names the file.
    fn with_credential(
        self,
        url: String,
        credential_file: PathBuf,
        by: Option<&str>,
    ) -> Result<Server, CommandError> {
        let credential = Secret::from_file(&credential_file).map_err(|error| {
            let by = by.map(|by| format!("{by}: ")).unwrap_or_default();
            CommandError::Usage(format!(
                "{by}cannot read the admin credential in {}: {error}",
                credential_file.display()
            ))
        })?;
        Ok(Server {
            authorities: self.authorities(&url)?,
            named_by: self.by.to_owned(),
            url,
            credential,
            credential_file,
        })
    }

    /// Whose certificates count for the server at `url`.
    fn authorities(&self, url: &str) -> Result<Option<Authorities>, CommandError> {
        if !has_tls(url) {
            // A variable may be set for another server.
            if let Some(ca) = self.ca.filter(|_| self.is_ca_typed) {
                authority::check_has_use(ca.by, url)?;
            }
            return Ok(None);
        }
        match self.ca {
            Some(file) => Authorities::of_file(file),
            None => Authorities::of_system(),
        }
        .map(Some)
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

fn url_in(folder: Option<&Path>) -> Result<String, CommandError> {
    let Some(folder) = folder else {
        return Err(CommandError::Unavailable(format!(
            "no hamletd found ({}); start one with `cargo run --release -- --demo`, or name a server with --server",
            looked_at()
        )));
    };
    match address_in(folder) {
        Some(address) => Ok(format!("http://{address}")),
        None => {
            let by = match named_folder() {
                Some(named) if named == folder => "HAMLET_DATA: ",
                _ => "",
            };
            let folder_name = folder.display();
            Err(CommandError::Unavailable(if folder.is_dir() {
                format!(
                    "{by}the hamletd of {folder_name} does not run (there is no {ADDRESS} in it); start it, or name a \
                     server with --server"
                )
            } else {
                format!("{by}there is no folder {folder_name}; give the data folder of a hamletd")
            }))
        }
    }
}

/// Why the credential in a folder is not sent to the server that somebody named.
fn of_another(folder: &Path) -> String {
    let folder_name = folder.display();
    match address_in(folder) {
        Some(own) => format!("that of {folder_name} is for {own} only"),
        None => format!(
            "that of {folder_name} is for the hamletd of this folder only, which does not run"
        ),
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

    use super::{folder_above, url_in};

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
}
