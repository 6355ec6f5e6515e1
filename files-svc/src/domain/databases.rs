//! The databases of the files service, with their indexes and views.
//!
//! The names inside the indexes are those that CouchDB derives from these definitions. With other names, software that
//! defines the same indexes again would make CouchDB add a second copy of each. The views exist for such software;
//! Hamlet never reads them.

use couch::design::{Index, View};

/// The doctype of directories and files.
pub(crate) const FILES: &str = "io.cozy.files";
/// The doctype of old versions of files.
pub(crate) const VERSIONS: &str = "io.cozy.files.versions";

/// Finds the children of a directory.
pub(crate) const BY_PARENT: &str = "dir-children";
/// Finds a directory by its path.
pub(crate) const BY_PATH: &str = "dir-by-path";

/// The indexes of the database of files.
const FILES_INDEXES: &[Index] = &[
    Index::new(
        BY_PARENT,
        "5364afe797fe21f603eab842487b6d1d4a7386a4",
        &["dir_id", "_id"],
    ),
    Index::new(
        BY_PATH,
        "751bb0c2b8673f1a8a8bb0efe6a41f3fdbeb6662",
        &["path"],
    ),
    Index::new(
        "by-mime-updated-at",
        "521db4261ea643780b606541d6f63fcc113bb6d1",
        &["mime", "trashed", "updated_at"],
    ),
    Index::new(
        "with-conflicts",
        "d23dac1138add2ef5177509d42810801fc25b749",
        &["_conflicts"],
    ),
    Index::new(
        "by-sharing-status",
        "0635d695128dca50aba521fa4cf61a07f14de20e",
        &["metadata.sharing.status"],
    ),
    Index::new(
        "by-dir-id-updated-at",
        "165389831ece33c4b21def607cabcc7b8c20f1ab",
        &["dir_id", "updated_at"],
    ),
];

/// The views of the database of files.
const FILES_VIEWS: &[View] = &[
    View::new(
        "disk-usage",
        // A row without a number would make the sum of all rows fail.
        r"function (doc) {
  if (doc.type === 'file') {
    var bytes = Number(doc.size);
    emit(doc.dir_id, isFinite(bytes) ? bytes : 0);
  }
}",
        Some("_sum"),
    ),
    View::new(
        "not-synchronized-on",
        r"function (doc) {
  if (doc.type === 'directory' && Array.isArray(doc.not_synchronized_on)) {
    doc.not_synchronized_on.forEach(function (device) {
      if (device) {
        emit([device.type, device.id], null);
      }
    });
  }
}",
        Some("_count"),
    ),
    View::new(
        "referenced-by",
        r"function (doc) {
  if (Array.isArray(doc.referenced_by)) {
    doc.referenced_by.forEach(function (reference) {
      if (reference) {
        emit([reference.type, reference.id], null);
      }
    });
  }
}",
        Some("_count"),
    ),
    View::new(
        "referenced-by-sorted-by-datetime",
        r"function (doc) {
  if (Array.isArray(doc.referenced_by)) {
    var taken = (doc.metadata && doc.metadata.datetime) || '';
    doc.referenced_by.forEach(function (reference) {
      if (reference) {
        emit([reference.type, reference.id, taken], null);
      }
    });
  }
}",
        Some("_count"),
    ),
    View::new(
        "by-parent-type-name",
        r"function (doc) {
  emit([doc.dir_id, doc.type, doc.name], null);
}",
        Some("_count"),
    ),
];

/// The view of the database of old versions.
const VERSIONS_VIEWS: &[View] = &[View::new(
    "old-versions-disk-usage",
    r"function (doc) {
  var bytes = Number(doc.size);
  emit(doc._id, isFinite(bytes) ? bytes : 0);
}",
    Some("_sum"),
)];

/// One database of an instance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// The doctype, such as `io.cozy.files`.
    pub(crate) doctype: &'static str,
    /// Its indexes.
    pub(crate) indexes: &'static [Index],
    /// Its views.
    pub(crate) views: &'static [View],
}

/// The databases that the files service creates.
pub(crate) const PLANS: [Plan; 2] = [
    Plan {
        doctype: FILES,
        indexes: FILES_INDEXES,
        views: FILES_VIEWS,
    },
    Plan {
        doctype: VERSIONS,
        indexes: &[],
        views: VERSIONS_VIEWS,
    },
];
