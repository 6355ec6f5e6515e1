//! The findings of a check.

/// Something that is wrong with a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What is wrong.
    pub(crate) kind: FindingKind,
    /// The id of the document; empty when the finding is about no document.
    pub(crate) id: String,
    /// The path at which it lies or should lie; empty when unknown.
    pub(crate) path: String,
    /// A description for people.
    pub(crate) detail: String,
}

/// The kinds of findings. The names are those of the compatible checks, except [`Self::BadDocument`] and
/// [`Self::BadName`], which only Hamlet checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FindingKind {
    /// The document of the root is missing.
    MissingRoot,
    /// The document of the trash is missing.
    MissingTrash,
    /// The parent directory does not exist or is a file, or the document lies below itself.
    OrphanTree,
    /// The stored path of a directory differs from its parent's path and its name.
    BadFullpath,
    /// A file stores a path.
    FileWithPath,
    /// Two entries of one directory have the same name.
    DuplicateName,
    /// A file is marked as trashed but does not lie in the trash.
    TrashedNotInTrash,
    /// A file in the trash is not marked as trashed.
    NotTrashedInTrash,
    /// The document has conflicting revisions beside the winning one.
    Conflict,
    /// The file of a version does not exist.
    FileMissing,
    /// A document is neither a file nor a directory.
    BadDocument,
    /// The name is not allowed.
    BadName,
    /// The contents of a file or version are missing.
    ContentsMissing,
    /// Contents belong to no file or version.
    IndexMissing,
    /// Contents belong to a directory.
    TypeMismatch,
    /// The size or hash of contents differs from the document.
    ContentMismatch,
    /// The file of a thumbnail does not exist.
    ThumbnailWithoutFile,
}

impl FindingKind {
    /// The name of the kind in the contract.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::MissingRoot => "index_missing_root",
            Self::MissingTrash => "index_missing_trash",
            Self::OrphanTree => "index_orphan_tree",
            Self::BadFullpath => "index_bad_fullpath",
            Self::FileWithPath => "index_file_with_path",
            Self::DuplicateName => "index_duplicate_name",
            Self::TrashedNotInTrash => "trashed_not_in_trash",
            Self::NotTrashedInTrash => "not_trashed_in_trash",
            Self::Conflict => "conflict_in_index",
            Self::FileMissing => "file_missing",
            Self::BadDocument => "index_bad_document",
            Self::BadName => "index_bad_name",
            Self::ContentsMissing => "filesystem_missing",
            Self::IndexMissing => "index_missing",
            Self::TypeMismatch => "type_mismatch",
            Self::ContentMismatch => "content_mismatch",
            Self::ThumbnailWithoutFile => "thumbnail_with_no_file",
        }
    }
}
