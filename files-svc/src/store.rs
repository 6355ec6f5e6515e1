//! The store of one instance's tree: its documents.

mod scan;
mod usage;

use couch::{BulkDoc, Couch, Database, DbName, Document, Find};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    domain::{
        ROOT_ID,
        databases::{BY_PARENT, BY_PATH, FILES, Plan, VERSIONS},
        default_tree::Directory,
        node::{Fields, Node, NodeType},
        order::SortKey,
        path::AbsolutePath,
        prefix::Prefix,
    },
    error::Error,
};

/// A child of a directory, with only the fields that the order needs.
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
    /// The tree of the instance with this prefix. Sends no request.
    ///
    /// # Errors
    /// When the prefix is not valid in a database name.
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

    /// Creates a database with its indexes, views and first directories; these three are written in one request.
    /// Returns its name and the number of documents that it then holds. Idempotent.
    ///
    /// # Errors
    /// When the database holds different definitions under these names; [`Error::MadeByAnother`] as in [`Store::add`].
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
            // On a retry the owner may have changed a directory. Directories, unlike definitions, may differ then.
            Err(couch::Error::Bulk { .. }) if !directories.is_empty() => {
                database.bulk_ensure(&documents).await?;
                self.add(directories).await?;
            }
            Err(error) => return Err(error.into()),
        }
        Ok((name.as_str().to_owned(), all.len()))
    }

    /// Writes the directories of a new instance, the root first, in one call. A retry creates nothing twice, and keeps
    /// what the owner has changed in the meantime.
    ///
    /// # Errors
    /// [`Error::MadeByAnother`] when another operation created the root. The directories of this operation are then
    /// removed again.
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

    /// Handles a refused write. Returns the existing directories when this same operation created them before; otherwise
    /// removes what this operation wrote and returns [`Error::MadeByAnother`].
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
        // These ids are derived from the operation, so no other operation has them. Root and trash belong to the other
        // one.
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
        // Design documents and local documents are not part of the tree; no document has an empty id.
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
    /// [`Error::Broken`] when a document does not fit into the tree.
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
            if document.body.kind == NodeType::File && document.body.dir_id == parent.id {
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

    /// The sort keys of all children of a directory, in order. They are read in pages and sorted here: the index orders
    /// them by id, and the database's collation treats different spellings as equal. Each child takes its name and id
    /// in memory.
    pub(crate) async fn children(&self, directory: &str) -> Result<Vec<SortKey>, Error> {
        let query = Find::new(json!({ "dir_id": directory }))
            .use_index(BY_PARENT, None)
            .fields(["name", "dir_id"])
            .page_size(1000);
        let mut found = self.files.find::<Named>(query).boxed();
        let mut keys = Vec::new();
        while let Some(Document { id, body, .. }) = found.try_next().await? {
            if body.dir_id == directory {
                keys.push(SortKey {
                    name: body.name,
                    id,
                });
            }
        }
        keys.sort();
        Ok(keys)
    }

    /// Reads the children with these sort keys, in the same order. A child that has been moved or removed since is left
    /// out, and so is a document that is neither a file nor a directory.
    ///
    /// # Errors
    /// [`Error::Broken`] when a document does not fit into the tree.
    pub(crate) async fn nodes(
        &self,
        keys: &[SortKey],
        directory: &Node,
    ) -> Result<Vec<Node>, Error> {
        let ids: Vec<&str> = keys.iter().map(|key| key.id.as_str()).collect();
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
                // One malformed document of other software must not make its whole directory unreadable.
                Err(error) => tracing::warn!(id, %error, "document left out of its directory"),
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

    /// Parses a document of the tree. The error names the document.
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
