//! Multipart bodies.

use md5::{Digest as _, Md5};

use crate::{
    http::multipart::{Part, RelatedBody, parse, parse_related, revisions_body},
    json::Json,
    storage::attachments,
};

/// The most attachments of a document.
const MOST: usize = 6;

/// Parses the bytes as a body, the first line as its content type. Then takes them as the data of attachments, and reads
/// what is written for these.
///
/// # Panics
/// If a part is not inside the body, or if what is written is not what was to be written.
pub fn multipart(bytes: &[u8]) {
    let (first, rest) = split(bytes, b'\n');
    let content_type = String::from_utf8_lossy(first);
    if let Ok(parts) = parse(&content_type, rest) {
        let contents: usize = parts.iter().map(|(_, data)| data.len()).sum();
        assert!(
            contents <= rest.len(),
            "there is more in the parts than in the body"
        );
        for (_, data) in parts {
            assert!(rest.as_ptr_range().contains(&data.as_ptr()) || data.is_empty());
        }
    }
    if let Ok(doc) = parse_related(&content_type, rest) {
        assert!(doc.following.is_empty(), "an attachment has no data");
    }
    write_and_read(bytes);
}

fn split(bytes: &[u8], at: u8) -> (&[u8], &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == at);
    (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    )
}

/// The pieces between zeros are the data of an attachment each; the first byte of a piece tells about its form.
fn write_and_read(bytes: &[u8]) {
    let pieces: Vec<&[u8]> = bytes.split(|byte| *byte == 0).take(MOST).collect();
    let mut files = Vec::new();
    let mut members = Vec::new();
    for (n, data) in pieces.iter().enumerate() {
        let form = data.first().copied().unwrap_or_default();
        let is_gzip = form & 1 == 1;
        let name = format!(
            "{n}{}",
            String::from_utf8_lossy(data.get(..8).unwrap_or_default())
        );
        let kind = match form >> 1 & 3 {
            0 => "image/png",
            1 => "text/plain",
            2 => "a\r\nb: c",
            _ => "",
        };
        let length = i64::try_from(data.len()).unwrap_or(i64::MAX);
        let mut entry = vec![
            name.as_str().into(),
            kind.into(),
            1_i64.into(),
            length.into(),
            hex::encode(Md5::digest(data)).into(),
            1_i64.into(),
        ];
        entry.extend(is_gzip.then_some(Json::Int(length)));
        let stored = attachments::parse(&Json::Arr(vec![Json::Arr(entry)]).to_string());
        for attachment in stored.unwrap_or_default() {
            let mut described = attachment.describe(true);
            described.push(("length".to_owned(), attachment.length.into()));
            described.push(("follows".to_owned(), true.into()));
            members.push((name.clone(), Json::Obj(described)));
            files.push((attachment, data.to_vec()));
        }
    }
    assert_eq!(
        files.len(),
        pieces.len(),
        "a list of attachments cannot be read"
    );
    let document = Json::Obj(vec![
        ("_id".to_owned(), "doc".into()),
        ("_attachments".to_owned(), Json::Obj(members)),
    ]);
    let body = RelatedBody::new(document.to_string(), files);
    // No data has its own digest inside.
    let boundary = hex::encode(Md5::digest(bytes));
    let mut alone = Vec::new();
    body.write(&boundary, &mut alone);
    read(
        &format!("multipart/related; boundary={boundary}"),
        &alone,
        &pieces,
    );

    let outer = format!("outer-{boundary}");
    let parts = vec![
        Part::Json("{}".to_owned()),
        Part::Related(body),
        Part::Error("[]".to_owned()),
    ];
    let several = revisions_body(parts, &outer, &boundary);
    let parts = parse(&format!("multipart/mixed; boundary=\"{outer}\""), &several);
    let parts = parts.unwrap_or_default();
    let contents: Vec<&[u8]> = parts.iter().map(|(_, data)| *data).collect();
    assert_eq!(contents, [b"{}".as_slice(), &alone, b"[]"]);
    let head = parts.get(1).map(|(head, _)| head.trim());
    read(head.unwrap_or_default(), &alone, &pieces);
}

fn read(content_type: &str, body: &[u8], pieces: &[&[u8]]) {
    let doc = parse_related(content_type, body);
    assert!(
        doc.is_ok(),
        "what was written cannot be read: {content_type}"
    );
    let found = doc.unwrap_or_default().attachments;
    assert_eq!(found.len(), pieces.len());
    for (attachment, piece) in found.iter().zip(pieces) {
        let plain = attachment.data.as_ref().map(|data| {
            assert!(data.is_gzip || data.bytes == *piece, "the data has changed");
            data.length
        });
        assert_eq!(plain, i64::try_from(piece.len()).ok());
    }
}
