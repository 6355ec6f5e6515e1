//! Nodes and times as the contracts have them.

use hamlet_proto::hamlet::files::v1::{self as files, CheckTreeRequest, File, file::Type};
use prost_types::Timestamp;
use time::{Duration, OffsetDateTime};

use crate::{
    actions::{check::Scope, get::Target},
    domain::{
        finding::Finding,
        node::{Kind, Node},
        path::AbsolutePath,
    },
    error::Error,
};

/// A file or directory for callers.
pub(crate) fn file(node: Node) -> File {
    let kind = match node.fields.kind {
        Kind::Directory => Type::Directory,
        Kind::File => Type::File,
    };
    File {
        r#type: kind.into(),
        create_time: node.created_at().map(timestamp),
        update_time: node.updated_at().map(timestamp),
        // The store lets no node pass whose size cannot be read.
        size_bytes: node.size().unwrap_or_default(),
        md5: node.md5(),
        trashed: node.is_trashed(),
        tags: node.tags().to_vec(),
        referenced_by: node
            .references()
            .iter()
            .map(|it| files::Reference {
                doctype: it.kind.clone(),
                id: it.id.clone(),
            })
            .collect(),
        executable: node.fields.executable,
        id: node.id,
        display_name: node.fields.name,
        path: node.path,
        parent_id: node.fields.dir_id,
        mime: node.fields.mime,
        class: node.fields.class,
        etag: node.rev,
    }
}

fn timestamp(time: OffsetDateTime) -> Timestamp {
    let since = time - OffsetDateTime::UNIX_EPOCH;
    // A timestamp counts its nanoseconds forward, also before 1970.
    let seconds = time.unix_timestamp();
    let nanos = (since - Duration::seconds(seconds)).subsec_nanoseconds();
    Timestamp { seconds, nanos }
}

/// A time that a request has to hold.
///
/// # Errors
/// [`Error::Field`] when it is missing or no time.
pub(crate) fn required_time(
    field: &'static str,
    time: Option<Timestamp>,
) -> Result<OffsetDateTime, Error> {
    let time = time.ok_or_else(|| Error::field(field, "is missing; give a time"))?;
    let wrong = || Error::field(field, "is no time of the years 1 to 9999");
    if !(0..1_000_000_000).contains(&time.nanos) {
        return Err(wrong());
    }
    OffsetDateTime::from_unix_timestamp(time.seconds)
        .ok()
        .filter(|time| time.year() >= 1)
        .map(|whole| whole + Duration::nanoseconds(time.nanos.into()))
        .ok_or_else(wrong)
}

/// What a request is about, by id.
///
/// # Errors
/// [`Error::Field`] when the id is empty.
pub(crate) fn by_id(id: String) -> Result<Target, Error> {
    if id.is_empty() {
        return Err(Error::field("id", "is empty; give the id of a document"));
    }
    Ok(Target::Id(id))
}

/// What a request is about, by path.
///
/// # Errors
/// [`Error::Field`] when the path is none.
pub(crate) fn by_path(path: &str) -> Result<Target, Error> {
    AbsolutePath::parse(path)
        .map(Target::Path)
        .map_err(|wrong| Error::field("path", wrong))
}

/// What a check looks at: all when nothing is said.
///
/// # Errors
/// [`Error::Field`] when it is to be only one thing and only the other.
pub(crate) fn scope(request: &CheckTreeRequest) -> Result<Scope, Error> {
    if request.index_integrity && request.files_consistency {
        return Err(Error::field(
            "files_consistency",
            "contradicts index_integrity, each asks for its own checks only; set one of them, or \
             neither for both checks",
        ));
    }
    Ok(Scope {
        index: !request.files_consistency,
        contents: !request.index_integrity,
    })
}

/// A finding for callers.
pub(crate) fn finding(finding: Finding) -> files::Finding {
    files::Finding {
        r#type: finding.kind.as_str().to_owned(),
        file_id: finding.id,
        path: finding.path,
        detail: finding.detail,
    }
}

/// A request that says nothing of what it is about.
pub(crate) fn no_target() -> Error {
    Error::field("path", "is missing; give a path, or an id")
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        reason = "a failed expectation is the test failing"
    )]

    use prost_types::Timestamp;

    use super::{required_time, timestamp};

    #[test]
    fn times_come_back_as_they_went() {
        for (seconds, nanos) in [(0, 0), (1_795_000_000, 123_456_789), (-2, 999_999_999)] {
            let sent = Timestamp { seconds, nanos };
            assert_eq!(timestamp(required_time("t", Some(sent)).unwrap()), sent);
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        let bad = |seconds, nanos| required_time("t", Some(Timestamp { seconds, nanos })).is_err();
        assert!(bad(0, -1) && bad(0, 1_000_000_000) && bad(i64::MAX, 0) && bad(-99_999_999_999, 0));
        assert!(required_time("t", None).is_err());
    }
}
