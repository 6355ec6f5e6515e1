//! The rules by which a document fits into its tree.

use serde_json::Value;

use super::{
    ROOT_ID, TRASH_ID, TRASH_NAME,
    finding::{Finding, FindingKind},
    node::{Fields, is_below_trash},
    path::{check_name, join},
};

/// A document of the tree, as far as a check needs it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Its id.
    pub(crate) id: String,
    /// Its fields; `None` when the document is neither a file nor a directory.
    pub(crate) fields: Option<Fields>,
}

impl Entry {
    /// Reads a document of the tree.
    pub(crate) fn read(id: String, body: Value) -> Self {
        Self {
            id,
            fields: serde_json::from_value(body).ok(),
        }
    }

    /// The id of its parent directory; empty for the root and when the document names none.
    pub(crate) fn parent_id(&self) -> &str {
        match &self.fields {
            Some(fields) if self.id != ROOT_ID => &fields.dir_id,
            _ => "",
        }
    }

    /// Its path, from its own path field or its parent's; empty when unknown.
    pub(crate) fn path(&self, parent: &Parent) -> String {
        match (&self.fields, parent) {
            (Some(fields), _) if fields.is_directory() => {
                fields.stored_path().unwrap_or_default().to_owned()
            }
            (Some(fields), Parent::Directory(path)) => join(path, &fields.name),
            _ => String::new(),
        }
    }

    fn finding(&self, kind: FindingKind, parent: &Parent, detail: impl Into<String>) -> Finding {
        Finding {
            kind,
            id: self.id.clone(),
            path: self.path(parent),
            detail: detail.into(),
        }
    }
}

/// What was found under the id that a document names as its parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Parent {
    /// A directory, with its stored path.
    Directory(String),
    /// A document that is not a directory.
    NotADirectory,
    /// No document.
    Missing,
}

impl Parent {
    /// Classifies the document found as a parent. A missing root or trash still counts as a directory here, so that it
    /// is reported once and not for each of its children.
    pub(crate) fn of(id: &str, found: Option<&Entry>) -> Self {
        match (found, id) {
            (None, ROOT_ID) => Self::Directory("/".to_owned()),
            (None, TRASH_ID) => Self::Directory(join("/", TRASH_NAME)),
            (None, _) => Self::Missing,
            (Some(entry), _) => match entry.fields.as_ref().and_then(Fields::stored_path) {
                Some(path) => Self::Directory(path.to_owned()),
                None => Self::NotADirectory,
            },
        }
    }
}

/// Everything that is wrong with a document, as far as the document and its parent show.
///
/// In every cycle of directories at least one stored path is reported as wrong: where each path is its parent's plus a
/// name, paths get longer from parent to child, so a cycle cannot have only correct paths.
pub(crate) fn judge(entry: &Entry, parent: &Parent) -> Vec<Finding> {
    let Some(fields) = &entry.fields else {
        let wrong = "its fields are not those of a file or directory";
        return vec![entry.finding(FindingKind::BadDocument, parent, wrong)];
    };
    if entry.id == ROOT_ID {
        return judge_root(entry, fields, parent);
    }
    let mut findings = Vec::new();
    let mut found = |kind, detail: String| findings.push(entry.finding(kind, parent, detail));
    if let Err(wrong) = check_name(&fields.name) {
        found(FindingKind::BadName, format!("its name {wrong}"));
    }
    let directory = match parent {
        Parent::Directory(path) => Some(path.as_str()),
        _ if fields.dir_id.is_empty() => {
            let wrong = "it names no directory in which it lies";
            found(FindingKind::OrphanTree, wrong.to_owned());
            None
        }
        Parent::NotADirectory => {
            let wrong = "in which it should lie, is no directory";
            found(
                FindingKind::OrphanTree,
                format!("{}, {wrong}", fields.dir_id),
            );
            None
        }
        Parent::Missing => {
            let wrong = "in which it should lie, does not exist";
            found(
                FindingKind::OrphanTree,
                format!("{}, {wrong}", fields.dir_id),
            );
            None
        }
    };
    if let Some(stored) = fields.stored_path() {
        let right = match directory {
            _ if entry.id == TRASH_ID => Some(join("/", TRASH_NAME)),
            Some(directory) => Some(join(directory, &fields.name)),
            None => None,
        };
        if let Some(right) = right.filter(|right| right != stored) {
            found(
                FindingKind::BadFullpath,
                format!("its path is {stored:?}; by its directory and its name it is {right:?}"),
            );
        }
        return findings;
    }
    if entry.id == TRASH_ID {
        found(FindingKind::BadDocument, "the trash is a file".to_owned());
    }
    if fields.has_path() {
        let wrong = "it stores a path, which a file has from its directory alone";
        found(FindingKind::FileWithPath, wrong.to_owned());
    }
    if fields.size_in_digits().is_none() {
        let wrong = "its size should be a text of decimal digits";
        found(FindingKind::BadDocument, wrong.to_owned());
    }
    if fields.tells_md5() && fields.md5().is_none() {
        let wrong = "its md5sum should be 24 characters of base64";
        found(FindingKind::BadDocument, wrong.to_owned());
    }
    if let Some(directory) = directory {
        let in_trash = is_below_trash(&join(directory, &fields.name));
        match (in_trash, fields.is_marked_trashed()) {
            (true, false) => found(
                FindingKind::NotTrashedInTrash,
                "it lies in the trash and is not marked as trashed".to_owned(),
            ),
            (false, true) => found(
                FindingKind::TrashedNotInTrash,
                "it is marked as trashed and does not lie in the trash".to_owned(),
            ),
            _ => {}
        }
    }
    findings
}

fn judge_root(entry: &Entry, fields: &Fields, parent: &Parent) -> Vec<Finding> {
    let (kind, wrong) = match fields.stored_path() {
        Some("/") if fields.dir_id.is_empty() => return Vec::new(),
        Some("/") => (
            FindingKind::BadFullpath,
            "the root lies in a directory, and should lie in none",
        ),
        Some(_) => (FindingKind::BadFullpath, "the path of the root should be /"),
        None => (FindingKind::BadDocument, "the root is a file"),
    };
    vec![entry.finding(kind, parent, wrong)]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Entry, Parent, judge};
    use crate::domain::{ROOT_ID, TRASH_ID};

    fn kinds(id: &str, body: Value, parent: &Parent) -> Vec<&'static str> {
        judge(&Entry::read(id.to_owned(), body), parent)
            .iter()
            .map(|finding| finding.kind.as_str())
            .collect()
    }

    fn at(path: &str) -> Parent {
        Parent::Directory(path.to_owned())
    }

    fn file(more: &Value) -> Value {
        let mut file = json!({
            "type": "file", "name": "a", "dir_id": "d", "size": "3", "trashed": false,
            "md5sum": "rL0Y20zC+Fzt72VPzMSk2A==",
        });
        if let (Some(file), Some(more)) = (file.as_object_mut(), more.as_object()) {
            file.extend(more.clone());
        }
        file
    }

    #[test]
    fn valid_documents_have_no_findings() {
        assert!(kinds("f", file(&json!({})), &at("/d")).is_empty());
        let trashed = file(&json!({"trashed": true}));
        assert!(kinds("f", trashed, &at("/.cozy_trash/d")).is_empty());
        let directory = json!({"type": "directory", "name": "b", "dir_id": "d", "path": "/d/b"});
        assert!(kinds("d2", directory, &at("/d")).is_empty());
        let root = json!({"type": "directory", "path": "/"});
        assert!(kinds(ROOT_ID, root, &Parent::Missing).is_empty());
        let of_mine = file(&json!({}));
        assert!(kinds("f", of_mine, &at("/.cozy_trash_of_mine")).is_empty());
    }

    #[test]
    fn each_problem_has_its_own_kind() {
        let directory =
            |path: &str| json!({"type": "directory", "name": "b", "dir_id": "d", "path": path});
        for (id, body, parent, expected) in [
            ("f", json!({"type": "link"}), at("/"), "index_bad_document"),
            (
                "f",
                json!({"type": "file", "name": 7}),
                at("/"),
                "index_bad_document",
            ),
            (
                "f",
                file(&json!({"size": 3})),
                at("/"),
                "index_bad_document",
            ),
            (
                "f",
                file(&json!({"size": "-3"})),
                at("/"),
                "index_bad_document",
            ),
            (
                "f",
                file(&json!({"md5sum": "x"})),
                at("/"),
                "index_bad_document",
            ),
            (
                "f",
                file(&json!({"name": "a/b"})),
                at("/"),
                "index_bad_name",
            ),
            (
                "f",
                file(&json!({"path": "/a"})),
                at("/"),
                "index_file_with_path",
            ),
            (
                "f",
                file(&json!({"trashed": true})),
                at("/d"),
                "trashed_not_in_trash",
            ),
            (
                "f",
                file(&json!({})),
                at("/.cozy_trash"),
                "not_trashed_in_trash",
            ),
            ("f", file(&json!({})), Parent::Missing, "index_orphan_tree"),
            (
                "f",
                file(&json!({})),
                Parent::NotADirectory,
                "index_orphan_tree",
            ),
            (
                "f",
                file(&json!({"dir_id": ""})),
                Parent::Missing,
                "index_orphan_tree",
            ),
            ("d2", directory("/b"), at("/d"), "index_bad_fullpath"),
            ("d2", directory(""), at("/d"), "index_bad_fullpath"),
            (ROOT_ID, directory("/"), at("/"), "index_bad_fullpath"),
            (TRASH_ID, directory("/b"), at("/"), "index_bad_fullpath"),
        ] {
            assert_eq!(kinds(id, body.clone(), &parent), [expected], "{id} {body}");
        }
    }

    #[test]
    fn a_missing_root_is_reported_once_and_not_for_its_children() {
        assert_eq!(Parent::of(ROOT_ID, None), at("/"));
        assert_eq!(Parent::of(TRASH_ID, None), at("/.cozy_trash"));
        assert_eq!(Parent::of("d", None), Parent::Missing);
        let entry = Entry::read("d".to_owned(), file(&json!({})));
        assert_eq!(Parent::of("d", Some(&entry)), Parent::NotADirectory);
    }
}
