//! Which server, and with which credential.
//!
//! Whatever is named wins. Else a local `hamletd` is found by its data folder: `HAMLET_DATA`, or `hamlet-data` in the
//! working directory or in one of the folders above it.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use service_kit::secret::Secret;

use crate::failure::Failure;

/// The data folder's name when nobody chooses another.
const FOLDER: &str = "hamlet-data";
/// The file in it that says where the admin door is.
const ADDRESS: &str = "admin-address";
/// The file in it that holds the credential.
const CREDENTIAL: &str = "admin-credential";

/// A server and what it wants to see.
#[derive(Debug)]
pub(crate) struct Server {
    /// Its address, `http://host:port`.
    pub(crate) url: String,
    /// The admin credential.
    pub(crate) credential: Secret,
}

/// Finds the server.
///
/// # Errors
/// When there is none, or its credential cannot be read; the message says what was looked at.
pub(crate) fn find(
    server: Option<&str>,
    credential_file: Option<&Path>,
) -> Result<Server, Failure> {
    let folder = data_folder();
    let url = match server {
        Some(url) => with_scheme(url),
        None => url_in(folder.as_deref())?,
    };
    let file = match (credential_file, &folder) {
        (Some(file), _) => file.to_owned(),
        (None, Some(folder)) => folder.join(CREDENTIAL),
        (None, None) => {
            return Err(Failure::Usage(format!(
                "no credential: name its file with --credential-file or HAMLET_CREDENTIAL_FILE ({})",
                looked_at()
            )));
        }
    };
    let credential = Secret::from_file(&file).map_err(|error| {
        Failure::Usage(format!(
            "cannot read the admin credential in {}: {error}",
            file.display()
        ))
    })?;
    Ok(Server { url, credential })
}

fn with_scheme(url: &str) -> String {
    if url.contains("://") {
        url.to_owned()
    } else {
        format!("http://{url}")
    }
}

fn url_in(folder: Option<&Path>) -> Result<String, Failure> {
    let Some(folder) = folder else {
        return Err(Failure::Unavailable(format!(
            "no hamletd found ({}); start one with `cargo run --release -- --demo`, or name a server with --server",
            looked_at()
        )));
    };
    let file = folder.join(ADDRESS);
    match fs::read_to_string(&file) {
        Ok(address) => Ok(with_scheme(address.trim())),
        Err(_) => Err(Failure::Unavailable(format!(
            "the hamletd of {} does not run (there is no {ADDRESS} in it); start it, or name a server with --server",
            folder.display()
        ))),
    }
}

fn looked_at() -> String {
    format!("looked for {FOLDER} here and in the folders above, and at HAMLET_DATA")
}

fn data_folder() -> Option<PathBuf> {
    if let Some(named) = env::var_os("HAMLET_DATA").filter(|named| !named.is_empty()) {
        return Some(PathBuf::from(named));
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

    use super::{folder_above, url_in, with_scheme};

    #[test]
    fn a_local_hamletd_is_found_from_below() {
        let place = tempfile::tempdir().unwrap();
        let data = place.path().join("hamlet-data");
        let below = place.path().join("a/b");
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
}
