//! The folders of instances on file stores, which other software uses, too ([`file_store`]).
//!
//! A folder is named after the domain of its instance, so its name does not say whose it is: the domain may get another
//! instance, and other software makes folders itself. For each folder that is made here, the content store has a note
//! `folders/PREFIX`, from before the folder exists until after it is gone. A folder without a note is touched only for a
//! caller who says that the domain belongs to the instance now.

mod place;

use std::{
    collections::BTreeSet,
    io,
    path::{Path as FolderPath, PathBuf},
    sync::Arc,
};

use file_store::Identity;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use object_store::{
    ObjectStore as _, ObjectStoreExt as _, PutPayload, local::LocalFileSystem, path::Path,
};
use serde::{Deserialize, Serialize};

use self::place::{Appearance, Name};
use crate::{domain::prefix::Prefix, error::Error};

const NOTES: &str = "folders";

/// The folders of instances on file stores. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Folders {
    notes: Arc<LocalFileSystem>,
    roots: Arc<BTreeSet<PathBuf>>,
}

/// A note about a folder that is made here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// The file store.
    root: PathBuf,
    /// The name of the folder.
    domain: String,
    /// The folder that was built completely, and may have appeared; `None` until then.
    built: Option<Built>,
}

/// Which folder was built: later ones may have its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Built {
    inode: u64,
    born: i128,
}

impl Built {
    /// The folder under its name.
    fn named(self, name: &str) -> Name {
        let Self { inode, born } = self;
        Name {
            name: name.to_owned(),
            identity: Some(Identity { inode, born }),
        }
    }
}

/// An instance, as far as its folder is concerned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holder<'a> {
    /// Its prefix.
    pub(crate) prefix: &'a Prefix,
    /// Its domain; empty when its folder is to be left alone.
    pub(crate) domain: &'a str,
    /// Whether the domain belongs to it and to no other now.
    pub(crate) owns_domain: bool,
}

/// What lies on file stores of one instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Placed {
    /// The prefix of the instance.
    pub(crate) prefix: String,
    /// The domain whose folder exists, or is being made; empty when there is none.
    pub(crate) domain: String,
    /// The number of files in that folder.
    pub(crate) files: u64,
    /// The number of files in folders that stand aside.
    pub(crate) aside: u64,
}

impl Folders {
    /// The folders on these file stores. The notes lie in the content store.
    pub(crate) fn new(notes: Arc<LocalFileSystem>, roots: BTreeSet<PathBuf>) -> Self {
        Self {
            notes,
            roots: Arc::new(roots),
        }
    }

    /// Makes the folder of a new instance with these directories. Idempotent.
    ///
    /// # Errors
    /// [`Error::FolderTaken`] when the domain has a folder already that was not made for this instance.
    pub(crate) async fn make(
        &self,
        root: &FolderPath,
        prefix: &Prefix,
        domain: &str,
        directories: Vec<Vec<String>>,
    ) -> Result<(), Error> {
        let name = file_store::folder_name(domain).ok_or_else(no_folder)?;
        let taken = || Error::FolderTaken(domain.to_owned());
        let mut note = Note {
            root: root.to_owned(),
            domain: name.to_owned(),
            built: None,
        };
        loop {
            let step = (root.to_owned(), prefix.as_str().to_owned(), name.to_owned());
            match self.note(prefix).await? {
                Some(found) if found.root != note.root || found.domain != note.domain => {
                    // The file store of the context was changed between two tries.
                    self.remove_noted(prefix, &found, &found.domain).await?;
                }
                Some(Note {
                    built: Some(built), ..
                }) => {
                    let name = built.named(name);
                    let appeared = blocking(move || place::appear(&step.0, &step.1, &name)).await?;
                    match appeared {
                        Appearance::There => return Ok(()),
                        Appearance::Nothing => {
                            note.built = None;
                            self.write_note(prefix, &note).await?;
                        }
                        Appearance::Taken => {
                            self.remove_noted(prefix, &note, "").await?;
                            return Err(taken());
                        }
                    }
                }
                Some(_) => {
                    let directories = directories.clone();
                    let Identity { inode, born } =
                        blocking(move || place::build(&step.0, &step.1, &directories)).await?;
                    // A second owner of the creation may have been faster.
                    if self
                        .note(prefix)
                        .await?
                        .is_some_and(|it| it.built.is_none())
                    {
                        note.built = Some(Built { inode, born });
                        self.write_note(prefix, &note).await?;
                    }
                }
                None => {
                    if blocking(move || place::is_taken(&step.0, &step.2)).await? {
                        return Err(taken());
                    }
                    self.write_note(prefix, &note).await?;
                }
            }
        }
    }

    /// Removes what lies on file stores of an instance. Returns the number of files. Idempotent.
    ///
    /// # Errors
    /// When a file store fails. A part may then be gone.
    pub(crate) async fn purge(&self, holder: Holder<'_>) -> Result<u64, Error> {
        let mut removed = 0;
        if let Some(note) = self.note(holder.prefix).await? {
            removed += self
                .remove_noted(holder.prefix, &note, holder.domain)
                .await?;
        }
        let name = holder.owns_domain.then(|| any_of(holder.domain)).flatten();
        for root in &*self.roots {
            let (root, prefix, name) = (
                root.clone(),
                holder.prefix.as_str().to_owned(),
                name.clone(),
            );
            removed += blocking(move || place::remove(&root, &prefix, name.as_ref())).await?;
        }
        Ok(removed)
    }

    /// Removes what a note is about, then the note. The folder of the domain is left alone if it is not that of
    /// `domain`, or did not appear here.
    async fn remove_noted(&self, prefix: &Prefix, note: &Note, domain: &str) -> Result<u64, Error> {
        let built = note.built.filter(|_| note.domain == domain);
        let name = built.map(|built| built.named(&note.domain));
        let is_configured = self.roots.contains(&note.root);
        let (root, prefix_text) = (note.root.clone(), prefix.as_str().to_owned());
        let removed = blocking(move || {
            if is_configured && place::open(&root)?.is_none() {
                return Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    format!("the file store {} is missing", root.display()),
                ));
            }
            place::remove(&root, &prefix_text, name.as_ref())
        })
        .await?;
        match self.notes.delete(&place_of(prefix)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(removed),
            Err(error) => Err(error.into()),
        }
    }

    /// What lies on file stores of one instance; `None` when there is nothing.
    ///
    /// # Errors
    /// When a file store fails.
    pub(crate) async fn of(&self, holder: Holder<'_>) -> Result<Option<Placed>, Error> {
        let note = self.note(holder.prefix).await?;
        let mut found = note.is_some();
        let (mut placed, is_there) = match &note {
            Some(note) => self.noted(holder.prefix.as_str(), note).await?,
            None => (Placed::default(), false),
        };
        holder.prefix.as_str().clone_into(&mut placed.prefix);
        for (prefix, files) in self.aside().await? {
            if prefix == holder.prefix.as_str() {
                found = true;
                placed.aside += files;
            }
        }
        if holder.owns_domain
            && !is_there
            && let Some(name) = any_of(holder.domain)
        {
            for root in &*self.roots {
                let (root, owned) = (root.clone(), name.clone());
                if let Some(files) = blocking(move || place::count(&root, &owned)).await? {
                    found = true;
                    name.name.clone_into(&mut placed.domain);
                    placed.files += files;
                }
            }
        }
        Ok(found.then_some(placed))
    }

    /// What lies on file stores of all instances for which folders were made here, and what stands aside.
    ///
    /// # Errors
    /// When the notes cannot be listed. Later errors are items of the stream.
    pub(crate) async fn all(
        &self,
    ) -> Result<impl Stream<Item = Result<Placed, Error>> + Send + use<>, Error> {
        let notes: Vec<Path> = self
            .notes
            .list(Some(&Path::from(NOTES)))
            .map_ok(|object| object.location)
            .try_collect()
            .await?;
        let aside = self.aside().await?.into_iter().map(|(prefix, aside)| {
            Ok(Placed {
                prefix,
                aside,
                ..Placed::default()
            })
        });
        let folders = self.clone();
        let noted = stream::iter(notes).then(move |at| {
            let folders = folders.clone();
            async move {
                let prefix = at.filename().unwrap_or_default().to_owned();
                match folders.read(&at).await? {
                    Some(note) => Ok(Some(folders.noted(&prefix, &note).await?.0)),
                    None => Ok(None),
                }
            }
        });
        let noted = noted.try_filter_map(|found| std::future::ready(Ok(found)));
        Ok(stream::iter(aside).chain(noted))
    }

    /// What a note is about, and whether the folder has appeared.
    async fn noted(&self, prefix: &str, note: &Note) -> Result<(Placed, bool), Error> {
        let name = note.built.map(|built| built.named(&note.domain));
        let root = note.root.clone();
        let files = blocking(move || match name {
            Some(name) => place::count(&root, &name),
            None => Ok(None),
        })
        .await?;
        let placed = Placed {
            prefix: prefix.to_owned(),
            domain: note.domain.clone(),
            files: files.unwrap_or_default(),
            aside: 0,
        };
        Ok((placed, files.is_some()))
    }

    async fn aside(&self) -> Result<Vec<(String, u64)>, Error> {
        let mut all = Vec::new();
        for root in &*self.roots {
            let root = root.clone();
            all.extend(blocking(move || place::aside(&root)).await?);
        }
        Ok(all)
    }

    async fn note(&self, prefix: &Prefix) -> Result<Option<Note>, Error> {
        self.read(&place_of(prefix)).await
    }

    async fn read(&self, at: &Path) -> Result<Option<Note>, Error> {
        let json = match self.notes.get(at).await {
            Ok(found) => found.bytes().await?,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let note = serde_json::from_slice(&json);
        note.map(Some).map_err(|error| {
            Error::Folder(io::Error::other(format!(
                "the note {at} is broken: {error}"
            )))
        })
    }

    async fn write_note(&self, prefix: &Prefix, note: &Note) -> Result<(), Error> {
        let json = serde_json::to_vec(note).map_err(|error| Error::Folder(error.into()))?;
        self.notes
            .put(&place_of(prefix), PutPayload::from(json))
            .await?;
        Ok(())
    }
}

/// The folder of a domain, whichever it is.
fn any_of(domain: &str) -> Option<Name> {
    let name = file_store::folder_name(domain)?.to_owned();
    Some(Name {
        name,
        identity: None,
    })
}

/// The error about a domain that cannot be the name of a folder.
pub(crate) fn no_folder() -> Error {
    let wrong = "cannot be the name of a folder on the file store of its context";
    Error::field("domain", wrong)
}

fn place_of(prefix: &Prefix) -> Path {
    Path::from_iter([NOTES, prefix.as_str()])
}

/// Runs what waits for a disk.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(Error::Folder),
        Err(broken) => Err(Error::Folder(io::Error::other(broken))),
    }
}
