//! The rules of files, without I/O: names, locales, paths, documents, order.

pub(crate) mod cursor;
pub(crate) mod databases;
pub(crate) mod default_tree;
pub(crate) mod finding;
pub(crate) mod integrity;
pub(crate) mod locale;
pub(crate) mod node;
pub(crate) mod object;
pub(crate) mod order;
pub(crate) mod path;
pub(crate) mod prefix;
pub(crate) mod siblings;

/// The id of the root's document.
pub(crate) const ROOT_ID: &str = "io.cozy.files.root-dir";
/// The id of the trash's document.
pub(crate) const TRASH_ID: &str = "io.cozy.files.trash-dir";
/// The name of the trash.
pub(crate) const TRASH_NAME: &str = ".cozy_trash";
/// Limit on the depth of a tree: a path has fewer slashes than this.
pub(crate) const MAX_DEPTH: usize = 512;
