//! Unpacks archives, which are untrusted input.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use tar::EntryType;

use crate::{domain::path, error::Error};

/// The files of an app by their normalized path.
pub(crate) type Files = BTreeMap<String, Bytes>;

/// Limits on the size of an app.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of the archive as received.
    pub(crate) packed: usize,
    /// Bytes of all files after unpacking.
    pub(crate) unpacked: u64,
    /// Number of entries, directories included.
    pub(crate) entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            packed: 20 << 20,
            unpacked: 100 << 20,
            entries: 10_000,
        }
    }
}

impl Limits {
    fn too_large(self) -> Error {
        Error::Archive(format!(
            "unpacked it is larger than {} MiB",
            self.unpacked >> 20
        ))
    }
}

/// Collects the files of an app and enforces the limits.
#[derive(Debug)]
pub(crate) struct Collector {
    limits: Limits,
    entries: usize,
    bytes: u64,
    files: Files,
}

impl Collector {
    /// An empty collection.
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: 0,
            bytes: 0,
            files: Files::new(),
        }
    }

    /// Counts an entry, which may be a file or a directory.
    ///
    /// # Errors
    /// When there are more entries than allowed.
    pub(crate) fn count(&mut self) -> Result<(), Error> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(Error::Archive(format!(
                "it has more than {} entries",
                self.limits.entries
            )));
        }
        Ok(())
    }

    /// Reads a file whose declared size is `size`.
    ///
    /// # Errors
    /// When the path is already used, a limit is exceeded, or reading fails.
    pub(crate) fn add(&mut self, path: String, size: u64, from: impl Read) -> Result<(), Error> {
        let left = self.limits.unpacked.saturating_sub(self.bytes);
        if size > left {
            return Err(self.limits.too_large());
        }
        let mut content = Vec::new();
        // Reads one byte more than allowed, to detect a file that is longer than declared.
        from.take(left + 1)
            .read_to_end(&mut content)
            .map_err(|error| Error::Archive(format!("{path:?} cannot be read: {error}")))?;
        self.bytes += content.len() as u64;
        if self.bytes > self.limits.unpacked {
            return Err(self.limits.too_large());
        }
        if self.files.contains_key(&path) {
            return Err(Error::Archive(format!("the name {path:?} is in it twice")));
        }
        self.files.insert(path, Bytes::from(content));
        Ok(())
    }

    /// Returns the files.
    ///
    /// # Errors
    /// When a path is both a file and a directory.
    pub(crate) fn finish(self) -> Result<Files, Error> {
        for path in self.files.keys() {
            let mut above = path.as_str();
            while let Some((folder, _)) = above.rsplit_once('/') {
                if self.files.contains_key(folder) {
                    return Err(Error::Archive(format!(
                        "{folder:?} is both a file and a folder"
                    )));
                }
                above = folder;
            }
        }
        Ok(self.files)
    }
}

/// Unpacks a tar archive, gzipped or not. A single invalid entry refuses the whole archive.
///
/// # Errors
/// When the archive cannot be read, an entry is not allowed, or a limit is exceeded.
pub(crate) fn unpack(packed: &[u8], limits: Limits) -> Result<Files, Error> {
    if packed.starts_with(&[0x1f, 0x8b]) {
        read(MultiGzDecoder::new(packed), limits)
    } else {
        read(packed, limits)
    }
}

fn read(tar: impl Read, limits: Limits) -> Result<Files, Error> {
    let broken = |error: io::Error| Error::Archive(format!("it is no tar.gz: {error}"));
    // Headers count too, because extended headers are read into memory whatever their size.
    let headers = limits.entries as u64 * 2048;
    let mut archive = tar::Archive::new(Guard {
        inner: tar,
        left: limits.unpacked.saturating_add(headers),
    });
    let mut files = Collector::new(limits);
    for entry in archive.entries().map_err(broken)? {
        let entry = entry.map_err(broken)?;
        files.count()?;
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            continue;
        }
        let path = path::plain(&entry.path_bytes()).map_err(Error::Archive)?;
        match kind {
            EntryType::Regular | EntryType::Continuous if path.is_empty() => {
                return Err(Error::Archive("a file has no name".to_owned()));
            }
            EntryType::Regular | EntryType::Continuous => {
                let size = entry.size();
                files.add(path, size, entry)?;
            }
            EntryType::Directory => {}
            EntryType::Symlink | EntryType::Link => {
                return Err(Error::Archive(format!("{path:?} is a link")));
            }
            _ => {
                return Err(Error::Archive(format!(
                    "{path:?} is neither a file nor a folder"
                )));
            }
        }
    }
    files.finish()
}

/// A reader that fails when the archive unpacks to more than the limit.
struct Guard<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Guard<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        match self.left.checked_sub(got as u64) {
            Some(left) => {
                self.left = left;
                Ok(got)
            }
            None => Err(io::Error::other("it unpacks to more than an app may hold")),
        }
    }
}

/// Returns the files below `folder`, with paths relative to it.
///
/// # Errors
/// When a file lies outside of `folder`: the registry announced that all files are inside.
pub(crate) fn below(files: Files, folder: &str) -> Result<Files, Error> {
    files
        .into_iter()
        .map(|(name, content)| match path::below(&name, folder) {
            Some(rest) => Ok((rest.to_owned(), content)),
            None => Err(Error::Archive(format!(
                "{name:?} lies outside of the folder {folder:?} that holds the app"
            ))),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        reason = "a failed expectation is the test failing"
    )]

    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;

    use super::{Limits, unpack};

    fn tar(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in entries {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            // Bypasses the checks of the tar crate, as an attacker would.
            let field = header.as_old_mut().name.get_mut(..name.len()).unwrap();
            field.copy_from_slice(name.as_bytes());
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn refused(packed: &[u8], limits: Limits) -> String {
        unpack(packed, limits).unwrap_err().to_string()
    }

    #[test]
    fn unpacking_a_bomb_is_aborted() {
        let limits = Limits {
            unpacked: 1000,
            entries: 3,
            ..Limits::default()
        };
        let bomb = gzip(&tar(&[("a", &vec![0; 20_000_000])]));
        assert!(refused(&bomb, limits).contains("larger than"));
        let many = tar(&[("a", b""), ("b", b""), ("c", b""), ("d", b"")]);
        assert!(refused(&many, limits).contains("more than 3 entries"));
        let halves = gzip(&tar(&[("a", &[0; 600]), ("b", &[0; 600])]));
        assert!(refused(&halves, limits).contains("larger than"));
    }

    #[test]
    fn colliding_names_are_refused() {
        let limits = Limits::default();
        assert!(refused(&tar(&[("a", b"1"), ("./a", b"2")]), limits).contains("twice"));
        assert!(refused(&tar(&[("a", b"1"), ("a/b", b"2")]), limits).contains("both"));
        assert!(
            refused(b"no tar at all, but long enough to be looked at", limits)
                .contains("no tar.gz")
        );
        assert!(refused(&gzip(&tar(&[("a", b"1")]))[..30], limits).contains("no tar.gz"));
    }

    proptest! {
        #[test]
        fn any_bytes_and_names_are_taken_or_refused_without_harm(
            name in "[a./]{1,20}",
            noise in prop::collection::vec(any::<u8>(), 0..700),
            at in 0_usize..1500,
        ) {
            let mut packed = tar(&[(name.as_str(), b"content"), ("b", b"more")]);
            if let Ok(files) = unpack(&packed, Limits::default()) {
                prop_assert!(files.keys().all(|path| !path.split('/').any(|part| part == "..")));
                prop_assert!(files.keys().all(|path| !path.starts_with('/')));
            }
            for (byte, noise) in packed.iter_mut().skip(at).zip(&noise) {
                *byte = *noise;
            }
            let _ = unpack(&packed, Limits::default());
        }
    }
}
