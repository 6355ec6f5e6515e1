//! A file or directory, as stored in its document.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    TRASH_NAME,
    path::{AbsolutePath, join},
};

/// A document that refers to a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reference {
    /// Its id.
    #[serde(default)]
    pub(crate) id: String,
    /// Its doctype.
    #[serde(rename = "type", default)]
    pub(crate) kind: String,
}

/// The type of a document of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum NodeType {
    /// A directory.
    Directory,
    /// A file.
    File,
}

/// The fields of a document that Hamlet reads. Other software wrote some of these documents, so fields that may be
/// missing there are optional here.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Fields {
    #[serde(rename = "type")]
    pub(crate) kind: NodeType,
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) dir_id: String,
    /// The stored path of a directory. A file has none.
    #[serde(default)]
    path: String,
    #[serde(default)]
    created_at: Option<String>,
    #[serde(default)]
    updated_at: Option<String>,
    #[serde(default)]
    size: Value,
    #[serde(default)]
    pub(crate) mime: String,
    #[serde(default)]
    pub(crate) class: String,
    #[serde(default)]
    md5sum: Option<String>,
    #[serde(default)]
    trashed: bool,
    #[serde(default)]
    tags: Option<Vec<String>>,
    #[serde(default)]
    referenced_by: Option<Vec<Reference>>,
    #[serde(default)]
    pub(crate) executable: bool,
    /// The name of the file's contents in the content store.
    #[serde(default)]
    pub(crate) internal_vfs_id: String,
}

/// A file or a directory.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// The id of its document.
    pub(crate) id: String,
    /// The revision of its document.
    pub(crate) rev: String,
    /// Its absolute path.
    pub(crate) path: String,
    /// The fields of its document.
    pub(crate) fields: Fields,
}

impl Fields {
    /// Whether it is a directory.
    pub(crate) fn is_directory(&self) -> bool {
        self.kind == NodeType::Directory
    }

    /// The path of a directory; `None` for a file, whose path is derived from its directory and its name.
    pub(crate) fn stored_path(&self) -> Option<&str> {
        self.is_directory().then_some(self.path.as_str())
    }

    /// Whether the document stores a path.
    pub(crate) fn has_path(&self) -> bool {
        !self.path.is_empty()
    }

    /// Whether the document is marked as trashed.
    pub(crate) fn is_marked_trashed(&self) -> bool {
        self.trashed
    }

    /// The size in the form that all software reads: a string of decimal digits.
    pub(crate) fn size_in_digits(&self) -> Option<u64> {
        let digits = self.size.as_str()?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse().ok()).flatten()
    }

    /// The MD5 hash of the contents; `None` when it is missing or malformed.
    pub(crate) fn md5(&self) -> Option<[u8; 16]> {
        let text = self.md5sum.as_deref()?;
        STANDARD.decode(text).ok()?.try_into().ok()
    }

    /// Whether the document has an MD5 hash, well-formed or not.
    pub(crate) fn tells_md5(&self) -> bool {
        self.md5sum.as_deref().is_some_and(|text| !text.is_empty())
    }
}

/// Whether a path lies below the trash.
pub(crate) fn is_below_trash(path: &str) -> bool {
    path.strip_prefix('/')
        .and_then(|path| path.strip_prefix(TRASH_NAME))
        .is_some_and(|rest| rest.starts_with('/'))
}

impl Node {
    /// A document whose parent directory has the path `parent`.
    pub(crate) fn in_directory(id: String, rev: String, fields: Fields, parent: &str) -> Self {
        let path = fields
            .stored_path()
            .map_or_else(|| join(parent, &fields.name), str::to_owned);
        Self {
            id,
            rev,
            path,
            fields,
        }
    }

    /// Its size in bytes: 0 for a directory, `None` when the document has no size.
    pub(crate) fn size(&self) -> Option<i64> {
        let size = match &self.fields.size {
            Value::Null if self.fields.is_directory() => Some(0),
            Value::String(digits) => digits.parse().ok(),
            Value::Number(number) => number.as_i64(),
            _ => None,
        };
        size.filter(|bytes| *bytes >= 0)
    }

    /// The MD5 hash of its contents; empty when it is missing or malformed.
    pub(crate) fn md5(&self) -> Vec<u8> {
        self.fields
            .md5sum
            .as_deref()
            .and_then(|text| STANDARD.decode(text).ok())
            .unwrap_or_default()
    }

    /// Whether it lies in the trash. Files are marked as trashed; directories are known by their path.
    pub(crate) fn is_trashed(&self) -> bool {
        self.fields.trashed || is_below_trash(&self.path)
    }

    /// When its owner created it.
    pub(crate) fn created_at(&self) -> Option<OffsetDateTime> {
        read_time(self.fields.created_at.as_deref())
    }

    /// When its owner last changed it.
    pub(crate) fn updated_at(&self) -> Option<OffsetDateTime> {
        read_time(self.fields.updated_at.as_deref())
    }

    /// Its tags.
    pub(crate) fn tags(&self) -> &[String] {
        self.fields.tags.as_deref().unwrap_or_default()
    }

    /// The documents that refer to it.
    pub(crate) fn references(&self) -> &[Reference] {
        self.fields.referenced_by.as_deref().unwrap_or_default()
    }

    /// Whether its path equals `path` byte by byte. The database treats the composed and the decomposed form of a
    /// letter as equal.
    pub(crate) fn lies_at(&self, path: &AbsolutePath) -> bool {
        self.path == path.as_str()
    }
}

fn read_time(text: Option<&str>) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text?, &Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use serde_json::{Value, json};

    use super::Node;

    fn node(document: Value, parent: &str) -> Node {
        let fields = serde_json::from_value(document).unwrap();
        Node::in_directory("id".to_owned(), "1-a".to_owned(), fields, parent)
    }

    #[test]
    fn the_path_of_a_file_follows_from_its_directory() {
        let file = node(
            json!({"type": "file", "name": "a.txt", "size": "3", "md5sum": "rL0Y20zC+Fzt72VPzMSk2A=="}),
            "/Photos",
        );
        assert_eq!(file.path, "/Photos/a.txt");
        assert_eq!(file.size(), Some(3));
        assert_eq!(file.md5().len(), 16);
        assert!(!file.is_trashed());
    }

    #[test]
    fn malformed_fields_of_other_software_are_tolerated() {
        let number = node(
            json!({"type": "file", "name": "a", "size": 7, "tags": null}),
            "/",
        );
        assert_eq!(number.size(), Some(7));
        assert_eq!(number.path, "/a");
        assert!(number.tags().is_empty());
        assert_eq!(number.created_at(), None);
        for size in [json!("x"), json!("-1"), json!(null), json!([])] {
            assert_eq!(
                node(json!({"type": "file", "size": size}), "/").size(),
                None
            );
        }
    }

    #[test]
    fn entries_of_the_trash_are_trashed_and_the_trash_is_not() {
        let at = |path: &str| node(json!({"type": "directory", "path": path}), "").is_trashed();
        assert!(at("/.cozy_trash/a"));
        assert!(!at("/.cozy_trash"));
        assert!(!at("/.cozy_trash_of_mine/a"));
        assert!(node(json!({"type": "file", "trashed": true}), "/x").is_trashed());
    }
}
