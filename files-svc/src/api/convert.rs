//! Conversions between the domain's types and the messages of the contract.

use hamlet_proto::hamlet::files::v1::{self as files, CheckTreeRequest, File, file::Type};
use prost_types::Timestamp;
use time::{Duration, OffsetDateTime};

use crate::{
    actions::{check::Scope, get::Target},
    domain::{
        finding::Finding,
        node::{Node, NodeType},
        path::AbsolutePath,
    },
    error::Error,
};

/// The message for a file or directory.
pub(crate) fn file(node: Node) -> File {
    let kind = match node.fields.kind {
        NodeType::Directory => Type::Directory,
        NodeType::File => Type::File,
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
    // The nanoseconds of a timestamp count forward, even before 1970.
    let seconds = time.unix_timestamp();
    let nanos = (since - Duration::seconds(seconds)).subsec_nanoseconds();
    Timestamp { seconds, nanos }
}

/// A required time of a request.
///
/// # Errors
/// [`Error::Field`] when the time is missing or out of range.
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

/// A request that names a file by its id.
///
/// # Errors
/// [`Error::Field`] when the id is empty.
pub(crate) fn by_id(id: String) -> Result<Target, Error> {
    if id.is_empty() {
        return Err(Error::field("id", "is empty; give the id of a document"));
    }
    Ok(Target::Id(id))
}

/// A request that names a file by its path.
///
/// # Errors
/// [`Error::Field`] when the path is not valid.
pub(crate) fn by_path(path: &str) -> Result<Target, Error> {
    AbsolutePath::parse(path)
        .map(Target::Path)
        .map_err(|wrong| Error::field("path", wrong))
}

/// The parts that a request wants checked; all of them by default.
///
/// # Errors
/// [`Error::Field`] when the request excludes both parts.
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

/// The message for a finding.
pub(crate) fn finding(finding: Finding) -> files::Finding {
    files::Finding {
        r#type: finding.kind.as_str().to_owned(),
        file_id: finding.id,
        path: finding.path,
        detail: finding.detail,
    }
}

/// The error for a request that names neither an id nor a path.
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
    fn times_survive_a_round_trip() {
        for (seconds, nanos) in [(0, 0), (1_795_000_000, 123_456_789), (-2, 999_999_999)] {
            let sent = Timestamp { seconds, nanos };
            assert_eq!(timestamp(required_time("t", Some(sent)).unwrap()), sent);
        }
    }

    #[test]
    fn invalid_times_are_refused() {
        let bad = |seconds, nanos| required_time("t", Some(Timestamp { seconds, nanos })).is_err();
        assert!(bad(0, -1) && bad(0, 1_000_000_000) && bad(i64::MAX, 0) && bad(-99_999_999_999, 0));
        assert!(required_time("t", None).is_err());
    }
}
