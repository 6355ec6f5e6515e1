//! Partitions of databases: the documents whose ids begin with the same name and a colon.

use http::StatusCode;

use super::databases::Database;
use crate::{api_error::ApiError, json::Json, mango::collation::AFTER_ALL};

fn illegal(reason: &'static str) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "illegal_partition", reason)
}

/// Refuses what cannot be the name of a partition.
pub(crate) fn check_name(partition: &str) -> Result<(), ApiError> {
    if partition.is_empty() {
        return Err(illegal("Partition must not be empty"));
    }
    if partition.starts_with('_') {
        return Err(illegal("Partition must not start with an underscore"));
    }
    if partition.contains(':') {
        return Err(illegal("Partition must not contain a colon"));
    }
    Ok(())
}

/// The error for a name that is no string.
pub(crate) fn no_name() -> ApiError {
    illegal("Partition must be a string")
}

/// Refuses an id that a partitioned database does not take.
pub(crate) fn check_id(db: &Database, id: &str) -> Result<(), ApiError> {
    if !db.partitioned || id.starts_with("_design/") || id.starts_with("_local/") {
        return Ok(());
    }
    let Some((partition, rest)) = id.split_once(':') else {
        return Err(ApiError::illegal_docid(
            "Doc id must be of form partition:id",
        ));
    };
    check_name(partition)?;
    if rest.is_empty() {
        return Err(ApiError::illegal_docid("Document id must not be empty"));
    }
    Ok(())
}

/// Whether the views and the indexes of a design document of a partitioned database are for one partition at a time.
pub(crate) fn is_for_one(design: &Json) -> bool {
    let options = design.get("options");
    options.and_then(|options| options.get("partitioned")) != Some(&Json::Bool(false))
}

/// Between these two are the ids of a partition.
pub(crate) fn ids(partition: &str) -> (String, String) {
    // The semicolon comes after the colon.
    (format!("{partition}:"), format!("{partition};"))
}

/// What the keys of a document's rows begin with in a view that is partitioned.
pub(crate) fn key_prefix_of(id: &str) -> Vec<u8> {
    key_prefix(id.split_once(':').map_or("", |(partition, _)| partition))
}

/// What the keys of a partition's rows begin with.
pub(crate) fn key_prefix(partition: &str) -> Vec<u8> {
    let mut prefix = partition.as_bytes().to_vec();
    // No text in UTF-8 has this byte.
    prefix.push(AFTER_ALL);
    prefix
}
