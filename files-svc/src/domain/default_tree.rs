//! The directories of a new instance.

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{ROOT_ID, TRASH_ID, TRASH_NAME, locale, node::Reference, path::join};

/// The input from which the default directories follow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// The locale of the instance, such as `fr` or `de_AT`.
    pub(crate) locale: &'a str,
    /// The address of the instance in a browser, with a final slash.
    pub(crate) url: &'a str,
    /// When the creation of the instance was requested: RFC 3339, UTC.
    pub(crate) created_at: &'a str,
    /// The id of the operation. The same operation always gets the same document ids.
    pub(crate) operation: &'a str,
    /// Whether a directory for administrative papers is created.
    pub(crate) administrative: bool,
    /// Whether directories for photos are created.
    pub(crate) photos: bool,
}

/// A directory in the form of its document: fields and their order are those of the compatible data.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Directory {
    #[serde(skip)]
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    dir_id: String,
    created_at: String,
    updated_at: String,
    path: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    referenced_by: Vec<Reference>,
    #[serde(rename = "cozyMetadata", skip_serializing_if = "Option::is_none")]
    cozy_metadata: Option<CozyMetadata>,
}

/// Which instance created a document, and when.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CozyMetadata {
    doctype_version: &'static str,
    metadata_version: u32,
    created_at: String,
    updated_at: String,
    created_on: String,
}

impl Directory {
    /// The id of its document.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The names in its path; none for the root.
    pub(crate) fn names(&self) -> Vec<String> {
        let names = self.path.split('/').filter(|name| !name.is_empty());
        names.map(str::to_owned).collect()
    }

    /// When it was created: RFC 3339, UTC.
    pub(crate) fn created_at(&self) -> &str {
        &self.created_at
    }

    /// Whether every tree has this directory under the same id (root and trash).
    pub(crate) fn is_fixed(&self) -> bool {
        self.cozy_metadata.is_none()
    }

    /// A directory with a fixed id (root or trash).
    fn fixed(id: &str, wanted: &Wanted<'_>, path: &str) -> Self {
        Self {
            id: id.to_owned(),
            kind: "directory",
            name: String::new(),
            dir_id: String::new(),
            created_at: wanted.created_at.to_owned(),
            updated_at: wanted.created_at.to_owned(),
            path: path.to_owned(),
            referenced_by: Vec::new(),
            cozy_metadata: None,
        }
    }

    fn below(parent: &Self, key: &str, name: &str, wanted: &Wanted<'_>) -> Self {
        let id = derived_id(wanted.operation, key);
        let mut directory = Self::fixed(&id, wanted, &join(&parent.path, name));
        name.clone_into(&mut directory.name);
        directory.dir_id.clone_from(&parent.id);
        directory.cozy_metadata = Some(CozyMetadata {
            doctype_version: "1",
            metadata_version: 1,
            created_at: wanted.created_at.to_owned(),
            updated_at: wanted.created_at.to_owned(),
            created_on: wanted.url.to_owned(),
        });
        directory
    }
}

/// The directories of a new instance: root, trash, then the others, each after its parent.
pub(crate) fn default_tree(wanted: &Wanted<'_>) -> Vec<Directory> {
    let names = locale::names(wanted.locale);
    let papers = Reference {
        id: "io.cozy.apps/administrative".to_owned(),
        kind: "io.cozy.apps".to_owned(),
    };
    let mut root = Directory::fixed(ROOT_ID, wanted, "/");
    let mut trash = Directory::fixed(TRASH_ID, wanted, &join("/", TRASH_NAME));
    TRASH_NAME.clone_into(&mut trash.name);
    ROOT_ID.clone_into(&mut trash.dir_id);
    let mut made = Vec::new();
    if wanted.administrative {
        let mut directory = Directory::below(&root, "administrative", names.administrative, wanted);
        directory.referenced_by.push(papers);
        made.push(directory);
    } else {
        // Other software finds the directory for papers by this reference, so without one the root carries it.
        root.referenced_by.push(papers);
    }
    if wanted.photos {
        let photos = Directory::below(&root, "photos", names.photos, wanted);
        let uploaded = Directory::below(&photos, "photos/uploaded", names.uploaded, wanted);
        let backed_up = Directory::below(&photos, "photos/backed-up", names.backed_up, wanted);
        made.extend([photos, uploaded, backed_up]);
    }
    [root, trash].into_iter().chain(made).collect()
}

/// The id of the directory `key` that `operation` creates: 32 hex digits.
fn derived_id(operation: &str, key: &str) -> String {
    // Without the separator, two different pairs could join to the same text.
    let hash = Sha256::new()
        .chain_update(operation)
        .chain_update("\0")
        .chain_update(key)
        .finalize();
    let mut digits = hex::encode(hash);
    digits.truncate(32);
    digits
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use std::collections::HashSet;

    use serde_json::json;

    use super::{Wanted, default_tree};

    const ALL: Wanted<'_> = Wanted {
        locale: "de_AT",
        url: "http://bob.localhost/",
        created_at: "2026-11-24T01:02:03.4Z",
        operation: "op",
        administrative: true,
        photos: true,
    };

    fn paths(wanted: &Wanted<'_>) -> Vec<String> {
        default_tree(wanted).into_iter().map(|it| it.path).collect()
    }

    #[test]
    fn all_directories_exist_each_after_its_parent() {
        assert_eq!(
            paths(&ALL),
            [
                "/",
                "/.cozy_trash",
                "/Administrativ",
                "/Fotos",
                "/Fotos/Aus Cozy Photos hochgeladen",
                "/Fotos/Von meinem Handy gesichert",
            ]
        );
    }

    #[test]
    fn without_a_directory_for_papers_the_root_has_their_reference() {
        let wanted = Wanted {
            administrative: false,
            photos: false,
            ..ALL
        };
        assert_eq!(paths(&wanted), ["/", "/.cozy_trash"]);
        let root = serde_json::to_value(default_tree(&wanted).first().unwrap()).unwrap();
        let expected = json!({
            "type": "directory",
            "created_at": ALL.created_at,
            "updated_at": ALL.created_at,
            "path": "/",
            "referenced_by": [{"id": "io.cozy.apps/administrative", "type": "io.cozy.apps"}],
        });
        assert_eq!(root.to_string(), expected.to_string());
    }

    #[test]
    fn ids_are_derived_from_the_operation() {
        let ids = |operation| -> HashSet<String> {
            default_tree(&Wanted { operation, ..ALL })
                .into_iter()
                .map(|it| it.id)
                .collect()
        };
        let one = ids("one");
        assert_eq!(one, ids("one"));
        assert_eq!(one.len(), 6, "no two are the same");
        assert_eq!(one.intersection(&ids("other")).count(), 2, "root and trash");
        let made = |id: &&String| id.len() == 32 && id.bytes().all(|it| it.is_ascii_hexdigit());
        assert_eq!(one.iter().filter(made).count(), 4);
    }
}
