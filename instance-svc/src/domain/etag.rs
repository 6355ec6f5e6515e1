//! Etags (AIP-154): they tell whether an instance has changed since a caller read it.

use sha2::{Digest as _, Sha256};

use super::record::Record;

/// The etag of an instance. It changes with every change of the documents that Hamlet writes.
///
/// The content of the record counts, not its revision, and the entries that name operations are left out: an
/// operation that takes the instance, or frees it without a change, does not change the instance.
#[must_use]
pub fn etag(document_rev: &str, record: Option<&Record>, settings_rev: Option<&str>) -> String {
    let record = record.map_or_else(Vec::new, |record| {
        let idle = Record {
            operation: None,
            last_operation: None,
            created: false,
            // A copy of the settings, which count by their revision.
            email: None,
            ..record.clone()
        };
        // Strings, booleans and lists of strings can always be written as JSON.
        serde_json::to_vec(&idle).unwrap_or_default()
    });
    let mut hash = Sha256::new();
    for part in [
        document_rev.as_bytes(),
        record.as_slice(),
        settings_rev.unwrap_or_default().as_bytes(),
    ] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut etag = hex::encode(hash.finalize());
    etag.truncate(32);
    etag
}

#[cfg(test)]
mod tests {
    use super::{Record, etag};

    #[test]
    fn an_etag_changes_with_the_documents_and_not_with_the_operation_at_work() {
        let idle = Record::default();
        let taken = Record {
            operation: Some("o".to_owned()),
            last_operation: Some("n".to_owned()),
            created: true,
            email: Some("a@example.org".to_owned()),
            ..idle.clone()
        };
        let locked = Record {
            locked: true,
            ..idle.clone()
        };
        let of = |record| etag("1-a", Some(record), Some("1-b"));
        assert_eq!(of(&idle), of(&taken));
        assert_ne!(of(&idle), of(&locked));
        assert_ne!(of(&idle), etag("2-a", Some(&idle), Some("1-b")));
        assert_ne!(of(&idle), etag("1-a", Some(&idle), Some("2-b")));
        assert_ne!(of(&idle), etag("1-a", Some(&idle), None));
    }
}
