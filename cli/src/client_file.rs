//! The client file: the installations that have a name, and the chosen one.

use std::{
    collections::BTreeMap,
    env, fs, io,
    path::{Path, PathBuf},
};

use process_kit::folder::write_private;
use serde::{Deserialize, Serialize};

use crate::error::CommandError;

/// An installation.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Installation {
    /// The address of its admin door.
    pub(crate) server: String,
    /// The file with its admin credential.
    pub(crate) credential_file: PathBuf,
    /// The file with the certificates of its authority. Without one, those count that the system trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca_file: Option<PathBuf>,
}

/// What the file holds.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientFile {
    /// The name of the chosen installation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) chosen: Option<String>,
    /// The installations by their names.
    #[serde(default)]
    pub(crate) installations: BTreeMap<String, Installation>,
}

impl ClientFile {
    /// Reads the file; it is empty when it does not exist.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn read() -> Result<Self, CommandError> {
        match path() {
            Some(path) => Self::read_from(&path),
            None => Ok(Self::default()),
        }
    }

    fn read_from(path: &Path) -> Result<Self, CommandError> {
        let wrong = |why: String| CommandError::Usage(format!("{}: {why}", path.display()));
        match fs::read_to_string(path) {
            Ok(text) => serde_json::from_str(&text).map_err(|error| wrong(error.to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(wrong(error.to_string())),
        }
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When it cannot be written, or there is no place for it.
    pub(crate) fn write(&self) -> Result<(), CommandError> {
        let path = path().ok_or_else(|| {
            CommandError::Usage(
                "there is no folder of configurations; set HOME or XDG_CONFIG_HOME".to_owned(),
            )
        })?;
        let unwritable =
            |error: io::Error| CommandError::Failed(format!("{}: {error}", path.display()));
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(unwritable)?;
        }
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| unwritable(io::Error::other(error)))?;
        write_private(&path, &text).map_err(unwritable)
    }

    /// The installation with this name.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn get(&self, name: &str) -> Result<&Installation, CommandError> {
        self.installations.get(name).ok_or_else(|| {
            let known: Vec<_> = self.installations.keys().map(String::as_str).collect();
            let known = if known.is_empty() {
                "none has a name yet".to_owned()
            } else {
                format!("there are {}", known.join(", "))
            };
            CommandError::Usage(format!(
                "no installation is called {name}; {known}; `hamlet use {name} --url URL --credential FILE` stores \
                 it"
            ))
        })
    }

    /// Removes the installation with this name.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn forget(&mut self, name: &str) -> Result<(), CommandError> {
        self.get(name)?;
        self.installations.remove(name);
        if self.chosen.as_deref() == Some(name) {
            self.chosen = None;
        }
        Ok(())
    }
}

fn path() -> Option<PathBuf> {
    let folder = |name| {
        env::var_os(name)
            .filter(|folder| !folder.is_empty())
            .map(PathBuf::from)
    };
    let configurations =
        folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")))?;
    Some(configurations.join("hamlet/client.json"))
}
