//! Which pairs of certificate and key lie in a folder, and whether they have changed.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// The names of both files in a folder of its own, as certbot leaves them.
const CHAIN: &str = "fullchain.pem";
const PRIVATE_KEY: &str = "privkey.pem";

/// The two files of a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Files {
    /// The name that both files, or their folder, have in common.
    pub(super) name: String,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

/// What changes when a file is written, replaced, or reached by another link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamp([Option<[i64; 6]>; 2]);

/// The pairs of a folder, by the path of the certificate. A pair of which one file is missing is one, too: loading it
/// tells what is missing.
///
/// # Errors
/// When the folder cannot be read.
pub(super) fn pairs(folder: &Path) -> io::Result<BTreeMap<PathBuf, Files>> {
    let mut pairs = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if let Some(files) = Files::of(&path) {
            pairs.insert(files.certificate.clone(), files);
        }
    }
    Ok(pairs)
}

impl Files {
    /// The pair to which an entry of the folder belongs. Hidden entries belong to none: Kubernetes keeps the versions of
    /// a mounted secret in them.
    fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        if name.starts_with('.') {
            return None;
        }
        if path.is_dir() {
            let (certificate, key) = (path.join(CHAIN), path.join(PRIVATE_KEY));
            return (certificate.exists() || key.exists()).then(|| Self {
                name: name.to_owned(),
                certificate,
                key,
            });
        }
        let stem = name
            .strip_suffix(".crt")
            .or_else(|| name.strip_suffix(".key"))?;
        Some(Self {
            name: stem.to_owned(),
            certificate: path.with_file_name(format!("{stem}.crt")),
            key: path.with_file_name(format!("{stem}.key")),
        })
    }

    pub(super) fn stamp(&self) -> Stamp {
        let of = |path| {
            let file = fs::metadata(path).ok()?;
            Some([
                file.mtime(),
                file.mtime_nsec(),
                file.ctime(),
                file.ctime_nsec(),
                file.ino().cast_signed(),
                file.len().cast_signed(),
            ])
        };
        Stamp([of(&self.certificate), of(&self.key)])
    }

    /// Whether users that are neither owner nor in the group of the key's file can use it.
    pub(super) fn key_is_open_to_others(&self) -> bool {
        fs::metadata(&self.key).is_ok_and(|file| file.mode() & 0o007 != 0)
    }
}
