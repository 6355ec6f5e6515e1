//! The documents of one instance's tree.

mod scan;

use couch::{BulkDoc, Couch, Database, DbName, Document, Find};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    domain::{
        ROOT_ID,
        databases::{BY_PARENT, BY_PATH, FILES, Plan, VERSIONS},
        default_tree::Directory,
        node::{Fields, Kind, Node},
        order::Place,
        path::AbsolutePath,
        prefix::Prefix,
    },
    error::Error,
};

/// One child of a directory, as far as its order needs it.
#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    name: String,
    #[serde(default)]
    dir_id: String,
}

/// The tree of one instance.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    couch: Couch,
    prefix: Prefix,
    files: Database,
    versions: Database,
}

impl Store {
    /// The tree of the instance with this prefix. Nothing is sent yet.
    ///
    /// # Errors
    /// When the prefix makes no name of a database.
    pub(crate) fn new(couch: Couch, prefix: Prefix) -> Result<Self, Error> {
        let open = |doctype| DbName::new(prefix.database(doctype)).map(|it| couch.database(&it));
        let (files, versions) = (open(FILES)?, open(VERSIONS)?);
        Ok(Self {
            couch,
            prefix,
            files,
            versions,
        })
    }

    /// The prefix of the instance.
    pub(crate) fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    /// Makes a database with its indexes, views and first directories, these three in one write. Its name,
    /// and how many documents it then holds. May be repeated.
    ///
    /// # Errors
    /// When the database fails, or holds other definitions of these names; [`Error::MadeByAnother`] as in
    /// [`Store::add`].
    pub(crate) async fn prepare(
        &self,
        plan: &Plan,
        directories: &[Directory],
    ) -> Result<(String, usize), Error> {
        let name = DbName::new(self.prefix.database(plan.doctype))?;
        self.couch.create_database(&name).await?;
        let indexes = plan.indexes.iter().map(|it| (it.id(), it.body()));
        let views = plan.views.iter().map(|it| (it.id(), it.body()));
        let documents = indexes
            .chain(views)
            .map(|(id, body)| BulkDoc::create(id, &body))
            .collect::<Result<Vec<_>, _>>()?;
        let all = directories
            .iter()
            .map(|it| BulkDoc::create(it.id(), it))
            .chain(documents.iter().cloned().map(Ok))
            .collect::<Result<Vec<_>, _>>()?;
        let database = self.couch.database(&name);
        match database.bulk_ensure(&all).await {
            Ok(_) => {}
            // A repeat meets what the owner has changed since: directories are not definitions.
            Err(couch::Error::Bulk { .. }) if !directories.is_empty() => {
                database.bulk_ensure(&documents).await?;
                self.add(directories).await?;
            }
            Err(error) => return Err(error.into()),
        }
        Ok((name.as_str().to_owned(), all.len()))
    }

    /// Writes the directories of a new instance, the root first, in one call. A repeat makes nothing
    /// twice, and leaves alone what the owner has changed meanwhile.
    ///
    /// # Errors
    /// [`Error::MadeByAnother`] when another operation made the root; nothing of this one is left then.
    pub(crate) async fn add(&self, directories: &[Directory]) -> Result<Vec<Node>, Error> {
        let documents = directories
            .iter()
            .map(|it| BulkDoc::create(it.id(), it))
            .collect::<Result<Vec<_>, _>>()?;
        match self.files.bulk_ensure(&documents).await {
            Ok(revs) => directories
                .iter()
                .map(|directory| {
                    let id = directory.id();
                    let rev = revs
                        .get(id)
                        .ok_or_else(|| self.broken(id, "it was written without a revision"))?;
                    let body = serde_json::to_value(directory)
                        .map_err(|_| self.broken(id, "it cannot be written as JSON"))?;
                    let document = Document {
                        id: id.to_owned(),
                        rev: rev.clone(),
                        body,
                    };
                    self.node(self.read(document)?, "")
                })
                .collect(),
            Err(error @ couch::Error::Bulk { .. }) => self.as_they_are(directories, error).await,
            Err(error) => Err(error.into()),
        }
    }

    /// The directories that were there before `refusal`, if they are the ones that were to be written.
    async fn as_they_are(
        &self,
        directories: &[Directory],
        refusal: couch::Error,
    ) -> Result<Vec<Node>, Error> {
        let ids: Vec<&str> = directories.iter().map(Directory::id).collect();
        let mut found = self.files.get_many::<Value>(&ids).await?;
        let made_here = |it: &Directory| {
            let root = found.get(it.id());
            root.is_none_or(|root| root.body.get("created_at") == Some(&json!(it.created_at())))
        };
        if directories.first().is_none_or(made_here) {
            if found.len() < directories.len() {
                return Err(refusal.into());
            }
            return ids
                .into_iter()
                .filter_map(|id| found.remove(id))
                .map(|document| self.node(self.read(document)?, ""))
                .collect();
        }
        // Ids come from the operation, so that these are of no other; root and trash are the other's.
        let ours: Vec<BulkDoc> = directories
            .iter()
            .filter(|it| !it.is_fixed())
            .filter_map(|it| found.get(it.id()))
            .map(|document| BulkDoc::delete(&document.id, &document.rev))
            .collect();
        self.files.bulk(&ours).await?.all_committed()?;
        Err(Error::MadeByAnother)
    }

    /// Reads a file or directory by its id.
    ///
    /// # Errors
    /// [`Error::Broken`] for a file whose directory does not exist.
    pub(crate) async fn by_id(&self, id: &str) -> Result<Option<Node>, Error> {
        // Design and local documents are none of the tree; the empty id is no document's.
        if id.is_empty() || id.starts_with('_') || matches!(id, "." | "..") {
            return Ok(None);
        }
        let Some(document) = self.files.get::<Value>(id).await? else {
            return Ok(None);
        };
        let document = self.read(document)?;
        let parent = if document.body.is_directory() {
            String::new()
        } else {
            self.directory_path(&document.id, &document.body.dir_id)
                .await?
        };
        self.node(document, &parent).map(Some)
    }

    /// Reads a file or directory by its path.
    ///
    /// # Errors
    /// When the database fails or a document is broken.
    pub(crate) async fn by_path(&self, path: &AbsolutePath) -> Result<Option<Node>, Error> {
        if let Some(directory) = self.directory_at(path).await? {
            return Ok(Some(directory));
        }
        let Some((parent, name)) = path.split() else {
            return Ok(None);
        };
        let Some(parent) = self.directory_at(&parent).await? else {
            return Ok(None);
        };
        let query =
            Find::new(json!({ "dir_id": parent.id, "name": name })).use_index(BY_PARENT, None);
        let mut found = self.files.find::<Value>(query).boxed();
        while let Some(document) = found.try_next().await? {
            let document = self.read(document)?;
            if document.body.kind == Kind::File && document.body.dir_id == parent.id {
                let node = self.node(document, &parent.path)?;
                if node.lies_at(path) {
                    return Ok(Some(node));
                }
            }
        }
        Ok(None)
    }

    async fn directory_at(&self, path: &AbsolutePath) -> Result<Option<Node>, Error> {
        if path.is_root() {
            return self.by_id(ROOT_ID).await;
        }
        let query = Find::new(json!({ "path": path.as_str() })).use_index(BY_PATH, None);
        let mut found = self.files.find::<Value>(query).boxed();
        while let Some(document) = found.try_next().await? {
            let document = self.read(document)?;
            if document.body.is_directory() {
                let node = self.node(document, "")?;
                if node.lies_at(path) {
                    return Ok(Some(node));
                }
            }
        }
        Ok(None)
    }

    /// The places of all children of a directory, in order. They are read by pages and sorted here: the
    /// index has them by id, and the database's own order of names takes different spellings for the
    /// same. A child costs its name and its id in memory.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn children(&self, directory: &str) -> Result<Vec<Place>, Error> {
        let query = Find::new(json!({ "dir_id": directory }))
            .use_index(BY_PARENT, None)
            .fields(["name", "dir_id"])
            .page_size(1000);
        let mut found = self.files.find::<Named>(query).boxed();
        let mut places = Vec::new();
        while let Some(Document { id, body, .. }) = found.try_next().await? {
            if body.dir_id == directory {
                places.push(Place {
                    name: body.name,
                    id,
                });
            }
        }
        places.sort();
        Ok(places)
    }

    /// Reads the children that stand at these places, in the same order. One that was moved or removed
    /// since then is left out, and so is one that is neither a file nor a directory.
    ///
    /// # Errors
    /// When the database fails or a document is broken.
    pub(crate) async fn nodes(
        &self,
        places: &[Place],
        directory: &Node,
    ) -> Result<Vec<Node>, Error> {
        let ids: Vec<&str> = places.iter().map(|place| place.id.as_str()).collect();
        let mut found = self.files.get_many::<Value>(&ids).await?;
        let mut nodes = Vec::with_capacity(ids.len());
        for id in ids {
            let Some(document) = found.remove(id) else {
                continue;
            };
            let node = self.read(document).and_then(|document| {
                let moved = document.body.dir_id != directory.id;
                Ok((!moved).then_some(self.node(document, &directory.path)?))
            });
            match node {
                Ok(node) => nodes.extend(node),
                // One odd document of other software's must not hide its whole directory.
                Err(error) => tracing::warn!(id, %error, "left out of its directory"),
            }
        }
        Ok(nodes)
    }

    async fn directory_path(&self, child: &str, directory: &str) -> Result<String, Error> {
        let orphan = || self.broken(child, "the directory in which it lies does not exist");
        if directory.is_empty() {
            return Err(orphan());
        }
        let parent = self
            .files
            .get::<Value>(directory)
            .await?
            .ok_or_else(orphan)?;
        let parent = self.read(parent)?;
        parent
            .body
            .stored_path()
            .map(str::to_owned)
            .ok_or_else(orphan)
    }

    /// Takes a document for one of the tree, and names it when it is none.
    fn read(&self, document: Document<Value>) -> Result<Document<Fields>, Error> {
        let Document { id, rev, body } = document;
        match serde_json::from_value(body) {
            Ok(body) => Ok(Document { id, rev, body }),
            Err(_) => Err(self.broken(&id, "its fields are not those of a file or directory")),
        }
    }

    fn node(&self, document: Document<Fields>, parent: &str) -> Result<Node, Error> {
        let Document { id, rev, body } = document;
        let node = Node::in_directory(id, rev.to_string(), body, parent);
        if node.size().is_none() {
            return Err(self.broken(&node.id, "its size should be a text of digits"));
        }
        if !node.path.starts_with('/') {
            return Err(self.broken(&node.id, "its path should begin with /"));
        }
        Ok(node)
    }

    pub(crate) fn broken(&self, id: &str, what: &'static str) -> Error {
        Error::Broken {
            database: self.files.name().to_string(),
            id: id.to_owned(),
            what,
        }
    }
}
