//! What a check of a tree finds.

/// Something that is wrong with a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What is wrong.
    pub(crate) kind: FindingKind,
    /// The id of the document; empty when it is about none.
    pub(crate) id: String,
    /// Where it lies or should lie; empty when that cannot be told.
    pub(crate) path: String,
    /// What is wrong, for people.
    pub(crate) detail: String,
}

/// What can be wrong. The names are those of the compatible checks, but for [`Self::BadDocument`] and
/// [`Self::BadName`], which those do not look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FindingKind {
    /// There is no document of the root.
    MissingRoot,
    /// There is no document of the trash.
    MissingTrash,
    /// Its directory does not exist, is a file, or it lies below itself.
    OrphanTree,
    /// A directory's path is not the one of its parent and its name.
    BadFullpath,
    /// A file stores a path.
    FileWithPath,
    /// Two entries of one directory have one name.
    DuplicateName,
    /// A file that is marked as trashed lies elsewhere.
    TrashedNotInTrash,
    /// A file in the trash is not marked.
    NotTrashedInTrash,
    /// Revisions lie beside the winning one.
    Conflict,
    /// A version whose file does not exist.
    FileMissing,
    /// A document that is none of a file or directory.
    BadDocument,
    /// A name that nothing can have.
    BadName,
    /// A file or version without its contents.
    ContentsMissing,
    /// Contents without a file or version.
    IndexMissing,
    /// Contents that belong to a directory.
    TypeMismatch,
    /// Contents of another size or hash than the document tells.
    ContentMismatch,
    /// A thumbnail of a file that does not exist.
    ThumbnailWithoutFile,
}

impl FindingKind {
    /// The word for callers.
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
