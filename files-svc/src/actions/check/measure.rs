//! Compares a file or folder on a disk with what its document says. This blocks.

use std::io::{self, Read as _};

use file_store::Kind;
use md5::{Digest as _, Md5};

use super::on_disk::{Place, is_away};
use crate::domain::{finding::FindingKind, node::Fields};

/// What is wrong with what lies under these names: with a file whose document has these fields, or else with a folder.
pub(super) fn measure(
    place: &Place,
    names: &[String],
    file: Option<&Fields>,
) -> io::Result<Option<(FindingKind, String)>> {
    let missing = |what: &str| {
        Ok(Some((
            FindingKind::ContentsMissing,
            format!("its {what} is not on the file store"),
        )))
    };
    let other = |what: &str| Ok(Some((FindingKind::TypeMismatch, what.to_owned())));
    let what = if file.is_some() { "file" } else { "folder" };
    let Some((name, above)) = names.split_last() else {
        return Ok(None);
    };
    let folder = match place.open()?.enter_all(above) {
        Ok(folder) => folder,
        Err(error) if is_away(&error) => return missing(what),
        Err(error) => return Err(error),
    };
    match (folder.kind(name)?, file) {
        (None, _) => missing(what),
        (Some(Kind::Folder), None) => Ok(None),
        (Some(Kind::File), None) => other("it is a file on the file store"),
        (Some(Kind::Folder), Some(_)) => other("it is a folder on the file store"),
        (Some(Kind::Other), _) => other("it is neither file nor folder on the file store"),
        (Some(Kind::File), Some(fields)) => match folder.read(name) {
            Ok(opened) => mismatch(opened, fields),
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing(what),
            Err(error) => Err(error),
        },
    }
}

/// Contents whose size is wrong are not read.
fn mismatch(
    mut opened: std::fs::File,
    fields: &Fields,
) -> io::Result<Option<(FindingKind, String)>> {
    let wrong = |detail: String| Ok(Some((FindingKind::ContentMismatch, detail)));
    let size = opened.metadata()?.len();
    let promised = fields.size_in_digits();
    if let Some(promised) = promised.filter(|promised| *promised != size) {
        return wrong(format!(
            "it should have {promised} bytes, and on the file store it has {size}"
        ));
    }
    let Some(promised) = fields.md5() else {
        return Ok(None);
    };
    let mut md5 = Md5::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = opened.read(&mut buffer)?;
        let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else {
            break;
        };
        md5.update(piece);
    }
    let found: [u8; 16] = md5.finalize().into();
    if promised == found {
        return Ok(None);
    }
    wrong(format!(
        "its MD5 should be {}, and on the file store it is {}",
        hex::encode(promised),
        hex::encode(found)
    ))
}
