//! Etags (AIP-154): whether an instance is still what a caller has read.

use sha2::{Digest as _, Sha256};

use super::record::Record;

/// The etag of an instance: it changes with every change of the documents that are ours to change.
///
/// Of our own record its content counts, without what says which operations were and are at work, and not its
/// revision: that an operation takes an instance, or frees it having changed nothing, is no change of the instance.
#[must_use]
pub fn etag(document_rev: &str, record: Option<&Record>, settings_rev: Option<&str>) -> String {
    let record = record.map_or_else(Vec::new, |record| {
        let idle = Record {
            operation: None,
            created: false,
            ..record.clone()
        };
        // Texts, flags and lists of texts: JSON has a form for each.
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
            created: true,
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
