//! What the checks of old versions have in common, wherever the bytes lie.

use couch::Document;
use serde_json::Value;

use super::{Report, Stop};
use crate::{
    domain::{
        finding::{Finding, FindingKind},
        integrity::Entry,
        node::Fields,
    },
    store::Store,
};

/// The fields of an old version; `None` when its document cannot be read.
pub(super) fn fields_of(version: &Document<Value>) -> Option<Fields> {
    let mut body = version.body.clone();
    // A version has the same fields as its file, except the type.
    if let Some(body) = body.as_object_mut() {
        body.insert("type".to_owned(), "file".into());
    }
    Entry::read(version.id.clone(), body).fields
}

/// Reports what is wrong with an old version, unless it has been removed since its document was read.
pub(super) async fn tell(
    store: &Store,
    report: &Report,
    version: &str,
    (kind, detail): (FindingKind, String),
) -> Result<(), Stop> {
    if !store.versions(&[version]).await?.contains_key(version) {
        return Ok(());
    }
    let finding = Finding {
        kind,
        id: version.to_owned(),
        path: String::new(),
        detail,
    };
    report.tell(finding).await
}
